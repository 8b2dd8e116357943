"""Follows import tables through a wheel: who needs which DLL, and which member answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repack.dlls import Dll, Image, classify, key_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A DLL that must be found before, or while, the wheel's modules run.

    `needed_by` are the members whose import tables name it; `delayed` where no chain of load-time
    imports leads to it; `in_wheel` the member that answers, if one does.
    """

    dll: Dll
    needed_by: tuple[str, ...]
    delayed: bool = False
    in_wheel: str | None = None


def find_needs(modules: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that `modules`, and the members of `images` they reach, need, by key."""
    modules = tuple(modules)
    at_load_time = _walk(modules, images, delayed=False)
    return tuple(
        Need(
            dll=classify(min(name for name, _ in askers.values())),
            needed_by=tuple(sorted(askers)),
            delayed=key not in at_load_time,
            in_wheel=next((answer for _, answer in askers.values() if answer), None),
        )
        for key, askers in sorted(_walk(modules, images, delayed=True).items())
    )


def _walk(
    modules: tuple[str, ...], images: Mapping[str, Image], *, delayed: bool
) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Return what is asked for along import tables, by delay-loads too where `delayed`.

    By the DLL's key and the member that asks: the name as it is written there, and the member that
    answers, None where none does.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for member in sorted(images):
        members[member.rpartition("/")[2].lower()].append(member)
    requests: dict[str, dict[str, tuple[str, str | None]]] = defaultdict(dict)
    seen = set(modules)
    waiting = [(module, _folder(module)) for module in modules]
    for asker, home in waiting:
        image = images[asker]
        for imported in (*image.imports, *(image.delay_imports if delayed else ())):
            key = key_of(imported.dll)
            answer = _nearest(members[key], home, _folder(asker))
            requests[key][asker] = imported.dll, answer
            if answer and answer not in seen:
                seen.add(answer)
                waiting.append((answer, home))
    return requests


def _nearest(members: list[str], *folders: str) -> str | None:
    """Return the member that the loader would take: beside the module, beside who asks, or any."""
    for folder in folders:
        for member in members:
            if _folder(member) == folder:
                return member
    return members[0] if members else None


def _folder(member: str) -> str:
    return member.rpartition("/")[0].lower()
