"""What binaries say: who needs which DLL."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from repack.dlls.families import Dll, classify, key_of, partners
from repack.dlls.pe import Image, Import


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A DLL that must be found before, or while, the wheel's modules run.

    `needed_by` are the members that ask for it, and `symbols` what they ask of it; `delayed` where
    no chain of load-time imports leads to it; `in_wheel` the member that answers, if one does.
    """

    dll: Dll
    needed_by: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    delayed: bool = False
    in_wheel: str | None = None


def find_needs(modules: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that `modules`, and the members of `images` they reach, need, by key.

    Of what NVIDIA's DLLs load by name those are needs that lie in the wheel.
    """
    modules = tuple(modules)
    at_load_time = _walk(modules, images, delayed=False)
    return tuple(
        Need(
            dll=classify(min(request.imported.dll for request in requests)),
            needed_by=tuple(sorted({request.asker for request in requests})),
            symbols=tuple(sorted({*chain(*(request.imported.symbols for request in requests))})),
            delayed=key not in at_load_time,
            in_wheel=requests[0].answer,
        )
        for key, requests in sorted(_walk(modules, images, delayed=True).items())
    )


class _Request(NamedTuple):
    """A member that asks for a DLL, and the member that answers, None where none does."""

    asker: str
    imported: Import
    answer: str | None


def _walk(
    modules: Sequence[str], images: Mapping[str, Image], *, delayed: bool
) -> dict[str, list[_Request]]:
    """Return by key what is asked for in import tables, where `delayed` also while modules run."""
    members: dict[str, list[str]] = defaultdict(list)
    for member in sorted(images):
        members[_split(member)[1]].append(member)
    requests: dict[str, list[_Request]] = defaultdict(list)
    waiting = [(module, _split(module)[0]) for module in modules]
    seen = set(modules)
    for asker, home in waiting:
        folder, file = _split(asker)
        asked = [*images[asker].imports]
        if delayed:
            asked += images[asker].delay_imports
            asked += [Import(dll=key) for key in partners(classify(file), members)]
        for imported in asked:
            key = key_of(imported.dll)
            answer = _find_nearest(members.get(key, []), home, folder)
            requests[key].append(_Request(asker, imported, answer))
            if answer and answer not in seen:
                seen.add(answer)
                waiting.append((answer, home))
    return requests


def _find_nearest(members: Iterable[str], home: str, folder: str) -> str | None:
    """Return the member that the loader would take: beside the module, beside who asks, or any."""

    def distance(member: str) -> tuple[bool, bool]:
        place, _ = _split(member)
        return place != home, place != folder

    return min(members, key=distance, default=None)


def _split(member: str) -> tuple[str, str]:
    """Return the folder and the name of the member as Windows compares them."""
    folder, _, name = member.lower().rpartition("/")
    return folder, name
