"""Follows import tables through a wheel: who needs which DLL, and which member answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


class _Request(NamedTuple):
    name: str
    asker: str
    answer: str | None


def find_needs(modules: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that `modules`, and the members of `images` they reach, need, by key."""
    modules = tuple(modules)
    at_load_time = {key_of(request.name) for request in _walk(modules, images, delayed=False)}
    requests: dict[str, list[_Request]] = defaultdict(list)
    for request in _walk(modules, images, delayed=True):
        requests[key_of(request.name)].append(request)
    return tuple(
        Need(
            dll=classify(min(request.name for request in requests[key])),
            needed_by=tuple(sorted({request.asker for request in requests[key]})),
            delayed=key not in at_load_time,
            in_wheel=next((request.answer for request in requests[key] if request.answer), None),
        )
        for key in sorted(requests)
    )


def _walk(
    modules: tuple[str, ...], images: Mapping[str, Image], *, delayed: bool
) -> list[_Request]:
    """Return what is asked for along import tables, by delay-loads too where `delayed`."""
    members: dict[str, list[str]] = defaultdict(list)
    for member in sorted(images):
        members[member.rpartition("/")[2].lower()].append(member)
    requests = []
    seen = set(modules)
    waiting = [(module, _folder(module)) for module in modules]
    for asker, home in waiting:
        image = images[asker]
        for imported in (*image.imports, *(image.delay_imports if delayed else ())):
            candidates = members[key_of(imported.dll)]
            answer = _nearest(candidates, home, _folder(asker))
            requests.append(_Request(imported.dll, asker, answer))
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
