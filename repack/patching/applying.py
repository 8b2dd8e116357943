"""Applies patches to the texts of a wheel, in order, and says where one does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import PatchError
from repack.patching.additions import added, appended
from repack.patching.diffs import apply_diff
from repack.patching.edits import Add, Append, Diff, DropElements, Edit, Note, Patch
from repack.patching.elements import dropped
from repack.patching.texts import read_text
from repack.patching.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Patched:
    """The members that patches add or change, with their content, and what to say of it."""

    files: Mapping[str, bytes]
    notes: tuple[Note, ...]


def texts_wanted(patches: Sequence[Patch], names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the wheel's members `names` that `apply` has to be given, sorted."""
    names = frozenset(names)
    return tuple(
        sorted(
            {
                member
                for patch in patches
                for edit in patch.edits
                for member in edit.members_among(names)
            }
        )
    )


def apply(
    patches: Sequence[Patch],
    texts: Mapping[str, bytes],
    values: Mapping[str, object],
    *,
    names: Iterable[str] = (),
    file: object = "",
) -> Patched:
    """Return what `patches`, one after the other, make of `texts` (member -> content).

    `values` holds what added files take their literals from; `names` all members of the wheel,
    among them those that are no texts; `file` is the wheel's name for an error. Pure, and
    idempotent: what it made of the texts, it leaves as it is. PatchError names patch, edit, member.
    """
    state = _State(texts=dict(texts), notes=[], names=frozenset(names) | texts.keys())
    for patch in patches:
        _apply_patch(patch, state, values, file)
    changed = {name: text for name, text in state.texts.items() if texts.get(name) != text}
    return Patched(files=dict(sorted(changed.items())), notes=tuple(state.notes))


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    texts: dict[str, bytes]
    notes: list[Note]
    names: frozenset[str]


def _apply_patch(patch: Patch, state: _State, values: Mapping[str, object], file: object) -> None:
    edit = patch.edits[0]
    try:
        for edit in patch.edits:
            _apply(edit, state, values)
    except PatchError as error:
        raise PatchError(
            f"patch {patch.name!r}, edit {edit.number} ({edit.kind}): {error.what}",
            code=error.code,
            file=file or patch.origin,
            member=error.member,
            hint=error.hint,
        ) from error


def _apply(edit: Edit, state: _State, values: Mapping[str, object]) -> None:
    members = edit.members_among(state.texts)
    if isinstance(edit.change, Add) or (isinstance(edit.change, Diff) and edit.change.new):
        members = edit.members
    if not members and not edit.optional:
        member = " or ".join(edit.members)
        raise PatchError(
            "the wheel has no such member",
            code="no-member",
            member=member,
            hint="take another wheel, or correct the path, or say `optional = true`",
        )
    for member in members:
        _apply_to(member, edit, state, values)


def _apply_to(member: str, edit: Edit, state: _State, values: Mapping[str, object]) -> None:
    before = state.texts.get(member)
    try:
        after = _changed(edit, member, state, values)
        _check(member, before, after)
    except PatchError as error:
        raise PatchError(error.what, code=error.code, member=member, hint=error.hint) from error
    state.texts[member] = after


def _changed(edit: Edit, member: str, state: _State, values: Mapping[str, object]) -> bytes:
    before = state.texts.get(member)
    content = b"" if before is None else before
    match edit.change:
        case Add() as change:
            after = added(change, values)
            if before is not None and before != after:
                message = "the wheel has this file already; it is replaced"
                state.notes.append(Note(code="replaced-file", message=message, member=member))
            return after
        case Append() as change:
            return appended(change, content)
        case DropElements() as change:
            after, notes = dropped(change, content, member, state.names)
            state.notes.extend(notes)
            return after
        case Diff() as change:
            return apply_diff(change, before)
        case change:
            return wrapped(change, content)


def _check(member: str, before: bytes | None, after: bytes) -> None:
    """Refuse an edit that leaves a Python file which cannot be read, if it could be before."""
    if not member.endswith(".py") or before == after:
        return
    try:
        read_text(after)
    except PatchError:
        if _is_readable(b"" if before is None else before):
            raise


def _is_readable(content: bytes) -> bool:
    try:
        read_text(content)
    except PatchError:
        return False
    return True
