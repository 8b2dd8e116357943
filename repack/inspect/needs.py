"""Follows import tables through the wheel: who needs which DLL, and which member answers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repack.dlls import classify, key_of
from repack.inspect.values import Need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repack.dlls import Image


def follow(native: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that the modules `native` lead to, sorted by name."""
    native = tuple(native)
    loaded = _Walk(images=images, delayed=False).through(native)
    everything = _Walk(images=images, delayed=True).through(native)
    return tuple(
        Need(
            dll=classify(min(everything.names[key])),
            needed_by=tuple(sorted(everything.needed_by[key])),
            delayed=key not in loaded.needed_by,
            in_wheel=everything.answers.get(key),
        )
        for key in sorted(everything.needed_by)
    )


@dataclass(kw_only=True, slots=True)
class _Walk:
    """A walk along import tables, by delay-loads too where `delayed`."""

    images: Mapping[str, Image]
    delayed: bool
    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    needed_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: dict[str, str] = field(default_factory=dict)

    def through(self, native: tuple[str, ...]) -> _Walk:
        by_name: dict[str, list[str]] = defaultdict(list)
        for member in sorted(self.images):
            by_name[_base(member)].append(member)
        seen = set(native)
        waiting = [(member, _folder(member)) for member in native]
        while waiting:
            member, root = waiting.pop(0)
            for name in self._wanted(member):
                key = key_of(name)
                self.names[key].add(name)
                self.needed_by[key].add(member)
                answer = _nearest(by_name.get(key, []), root, _folder(member))
                if answer:
                    self.answers.setdefault(key, answer)
                if answer and answer not in seen:
                    seen.add(answer)
                    waiting.append((answer, root))
        return self

    def _wanted(self, member: str) -> Iterator[str]:
        image = self.images[member]
        tables = (image.imports, image.delay_imports) if self.delayed else (image.imports,)
        for table in tables:
            for wanted in table:
                yield wanted.dll


def _nearest(members: list[str], *folders: str) -> str | None:
    """Return the member that the loader would take: beside the module, beside who asks, or any."""
    for folder in folders:
        for member in members:
            if _folder(member) == folder:
                return member
    return members[0] if members else None


def _base(member: str) -> str:
    return member.rsplit("/", 1)[-1].lower()


def _folder(member: str) -> str:
    return member.rpartition("/")[0].lower()
