"""What is pinned: for one Python, and for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedFile:
    """A wheel's file, by its SHA-256; `url` is where the index has it, "" where none is named."""

    filename: str
    sha256: str
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned:
    """A distribution in the one version that is installed.

    `extras` are those of our wheel that bring it, None where it comes without any. `own` is our
    wheel itself.
    """

    name: str
    version: str
    file: PinnedFile
    extras: frozenset[str] | None = None
    own: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Python ("3.12", "3.14t") and all that is installed on it, our wheel first."""

    python: str
    pins: tuple[Pinned, ...]

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras that bring something."""
        return tuple(sorted({extra for pin in self.pins for extra in pin.extras or ()}))

    def chosen(self, extra: str | None) -> tuple[Pinned, ...]:
        """Return what is installed without an extra, or with that one."""
        return tuple(pin for pin in self.pins if pin.extras is None or extra in pin.extras)


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """A distribution in one version, on some of several Pythons.

    `conditions` are the versions of Python that it comes on, by the extras that bring it there.
    """

    name: str
    version: str
    files: tuple[PinnedFile, ...]
    conditions: Mapping[frozenset[str] | None, tuple[str, ...]]
    own: bool = False


def told_apart(targets: Sequence[Target]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets that one file can be for, and the Pythons for which it cannot be.

    No marker tells a free-threaded Python ("3.14t") from the other of its version: it is let in
    where the same is installed on both, so that the tags of the wheels decide.
    """
    plain = {each.python: _versions(each) for each in targets if not each.python.endswith("t")}
    kept = tuple(
        each
        for each in targets
        if plain.get(each.python.removesuffix("t"), _versions(each)) == _versions(each)
    )
    return kept, tuple(each.python for each in targets if each not in kept)


def merged(targets: Sequence[Target]) -> tuple[Merged, ...]:
    """Return what is installed on all the targets, our wheel first, then by name and version."""
    groups: dict[tuple[bool, str, str], list[tuple[str, Pinned]]] = {}
    for target in targets:
        for pin in target.pins:
            group = groups.setdefault((not pin.own, pin.name, pin.version), [])
            group.append((target.python.removesuffix("t"), pin))
    return tuple(_merged(groups[key]) for key in sorted(groups))


def marker(pin: Merged, pythons: Sequence[str]) -> str:
    """Return the marker of a distribution in a file for all of `pythons`; "" for always."""
    clauses = list(_clauses(pin, pythons))
    if "" in clauses:
        return ""
    return clauses[0] if len(clauses) == 1 else " or ".join(f"({each})" for each in clauses)


def version_key(python: str) -> tuple[int, int, bool]:
    """Return what "3.9", "3.10" and "3.14t" are sorted by."""
    major, minor = python.removesuffix("t").split(".")
    return int(major), int(minor), python.endswith("t")


def _merged(group: Sequence[tuple[str, Pinned]]) -> Merged:
    first = group[0][1]
    conditions: dict[frozenset[str] | None, set[str]] = {}
    for python, pin in group:
        conditions.setdefault(pin.extras, set()).add(python)
    return Merged(
        name=first.name,
        version=first.version,
        own=first.own,
        files=tuple(sorted({pin.file for _, pin in group}, key=lambda file: file.filename)),
        conditions={
            extras: tuple(sorted(those, key=version_key)) for extras, those in conditions.items()
        },
    )


def _clauses(pin: Merged, pythons: Sequence[str]) -> Iterator[str]:
    """Yield a marker for each set of extras; the variable `extras` is a lock file's (PEP 751)."""
    for extras, those in sorted(pin.conditions.items(), key=lambda each: sorted(each[0] or ())):
        parts = []
        if set(those) != {python.removesuffix("t") for python in pythons}:
            parts.append([f'python_version == "{python}"' for python in those])
        if extras is not None:
            parts.append([f'"{extra}" in extras' for extra in sorted(extras)])
        several = len(parts) > 1
        yield " and ".join(
            f"({' or '.join(part)})" if several and len(part) > 1 else " or ".join(part)
            for part in parts
        )


def _versions(target: Target) -> set[tuple[str, str, frozenset[str] | None]]:
    return {(pin.name, pin.version, pin.extras) for pin in target.pins}
