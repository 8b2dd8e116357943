"""What has to be installed with a wheel, and what that requires in its turn."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from repack.wheel.requiring import applicable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.requirements import Requirement
    from packaging.version import Version

#: No chain of requirements that people write changes its mind so often.
_PASSES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A wheel of the index, with its Requires-Dist lines; `url` "" where nobody asked for it."""

    name: str
    version: Version
    filename: str
    sha256: str
    requires: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """The candidates that were chosen, by name, and the requirements that none of them meets."""

    found: Mapping[str, Candidate]
    missing: tuple[str, ...] = ()


def closure(roots: Sequence[Requirement], pool: Iterable[Candidate], python: str) -> Closure:
    """Return what of `pool` meets `roots` and all that follows from them on a Windows `python`.

    The newest version that all requirements let in is taken. Which ones there are follows from
    what is taken: so it is asked again until nothing changes.
    """
    by_name: dict[str, list[Candidate]] = {}
    for candidate in sorted(pool, key=lambda each: each.version, reverse=True):
        by_name.setdefault(candidate.name, []).append(candidate)
    known: dict[str, SpecifierSet] = {}
    for _ in range(_PASSES):
        walk = _Walk(pool=by_name, known=known, python=python)
        walk.walk(roots)
        if walk.asked == known:
            break
        known = walk.asked
    else:
        # What has no end meets nobody's requirement.
        return Closure(found={}, missing=tuple(sorted(map(str, roots))))
    return Closure(found=walk.found, missing=tuple(sorted(walk.missing)))


@dataclass(kw_only=True, slots=True)
class _Walk:
    """One pass: `known` is what the pass before it found to be required of each name."""

    pool: Mapping[str, Sequence[Candidate]]
    known: Mapping[str, SpecifierSet]
    python: str
    asked: dict[str, SpecifierSet] = field(default_factory=dict)
    found: dict[str, Candidate] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def walk(self, roots: Sequence[Requirement]) -> None:
        waiting, met = deque(roots), set()
        while waiting:
            wanted = waiting.popleft()
            name = canonicalize_name(wanted.name)
            self.asked[name] = self.asked.get(name, SpecifierSet()) & wanted.specifier
            candidate = self._best(name)
            if candidate is None:
                self.missing.add(f"{name}{self.asked[name]}")
                continue
            self.found[name] = candidate
            key = (name, frozenset(wanted.extras))
            if key not in met:
                met.add(key)
                waiting += applicable(candidate.requires, self.python, wanted.extras)

    def _best(self, name: str) -> Candidate | None:
        specifiers = self.known.get(name, SpecifierSet()) & self.asked[name]
        return next(
            (
                candidate
                for candidate in self.pool.get(name, ())
                if specifiers.contains(candidate.version, prereleases=True)
            ),
            None,
        )
