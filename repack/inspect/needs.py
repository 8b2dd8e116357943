"""Follows import tables through a wheel: who needs which DLL, and which member answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repack.dlls import Dll, Image, Kind, classify, key_of, partners


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A DLL that must be found before, or while, the wheel's modules run.

    `needed_by` are the members that ask for it; `delayed` where no chain of load-time imports
    leads to it; `in_wheel` the member that answers, if one does.
    """

    dll: Dll
    needed_by: tuple[str, ...]
    delayed: bool = False
    in_wheel: str | None = None

    @property
    def is_cuda(self) -> bool:
        """Whether it is of the CUDA toolkit or of cuDNN."""
        return self.dll.kind in {Kind.CUDA, Kind.CUDNN}

    @property
    def is_nvidia(self) -> bool:
        """Whether it is of these, or of the display driver."""
        return self.is_cuda or self.dll.family == "driver"


def find_needs(modules: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that `modules`, and the members of `images` they reach, need, by key.

    Of what NVIDIA's DLLs load by name those are needs that lie in the wheel.
    """
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
    modules: Sequence[str], images: Mapping[str, Image], *, delayed: bool
) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Return what is asked for along import tables, and where `delayed` also while modules run.

    By the DLL's key and the member that asks: the name as it is written there, and the member that
    answers, None where none does.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for member in sorted(images):
        members[_split(member)[1]].append(member)
    requests: dict[str, dict[str, tuple[str, str | None]]] = defaultdict(dict)
    waiting = [(module, _split(module)[0]) for module in modules]
    seen = set(modules)
    for asker, home in waiting:
        folder, file = _split(asker)
        names = [imported.dll for imported in images[asker].imports]
        if delayed:
            names += [imported.dll for imported in images[asker].delay_imports]
            patterns = partners(classify(file))
            names += [key for key in members if any(rule.fullmatch(key) for rule in patterns)]
        for name in names:
            answer = _find_nearest(members.get(key_of(name), []), home, folder)
            requests[key_of(name)][asker] = name, answer
            if answer and answer not in seen:
                seen.add(answer)
                waiting.append((answer, home))
    return requests


def _find_nearest(members: list[str], *folders: str) -> str | None:
    """Return the member that the loader would take: beside the module, beside who asks, or any."""
    for folder in folders:
        for member in members:
            if _split(member)[0] == folder:
                return member
    return members[0] if members else None


def _split(member: str) -> tuple[str, str]:
    """Return the folder and the name of the member as Windows compares them."""
    folder, _, name = member.lower().rpartition("/")
    return folder, name
