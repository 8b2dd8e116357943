"""What is installed with an emitted wheel on one Python: as it was tried, or as pip resolves it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.tags import compatible_tags, cpython_tags
from packaging.version import Version

from repack.config import IndexSource
from repack.console import SILENT
from repack.errors import FetchError, InputError, ToolError
from repack.fetch.resolving import Question, pip_resolve
from repack.files import sha256_of
from repack.index.closures import Candidate, closure
from repack.index.pins import Pinned, PinnedFile, Target
from repack.lock import Pin
from repack.wheel import open_archive, parse_filename, parse_metadata, read_member
from repack.wheel.metadata import BrokenMetadataError
from repack.wheel.requiring import applicable, windows_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from packaging.requirements import Requirement
    from packaging.tags import Tag

    from repack.building.supply import Supply
    from repack.console import Progress
    from repack.index.closures import Closure
    from repack.record import BuildRecord, Seen, WheelRecord

_log = logging.getLogger(__name__)
_EXTRA = re.compile(r"""\bextra == ["']([^"']+)["']""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """One of our wheels, with its Requires-Dist lines."""

    name: str
    version: str
    file: PinnedFile
    requires: tuple[str, ...]


def own_wheel(path: Path, record: WheelRecord, progress: Progress) -> Own:
    """Return the wheel that `record` is of; raises InputError where the file is another."""
    with progress.task(f"Checking {path.name}", total=record.size) as task:
        sha256 = sha256_of(path, task=task)
    if sha256 != record.sha256:
        raise InputError(
            f"has SHA-256 {sha256}, build.json says {record.sha256}",
            code="sha256",
            file=path,
            hint="build again: no other file has been tried",
        )
    name = parse_filename(path)
    return Own(
        name=name.name,
        version=str(name.version),
        file=PinnedFile(filename=path.name, sha256=sha256),
        requires=_requires_of(path),
    )


def extras_of(record: BuildRecord) -> tuple[str, ...]:
    """Return the extras that the build has added to its wheels; upstream's are not ours to pin."""
    return tuple(sorted({found[1] for line in record.requires for found in _EXTRA.finditer(line)}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolver:
    """Finds what is installed with a wheel; `index_url` "" is the index of the user's pip.

    `obeys` says whether the lock is one that somebody keeps: what lies in the cache remembers
    wheels of any build, so that it is asked where nobody else may be.
    """

    supply: Supply
    index_url: str = ""
    obeys: bool = True

    def target(self, own: Own, seen: Seen, extras: Sequence[str]) -> Target:
        """Return all that is pinned for our wheel on the Python on which it was `seen`.

        The extras are resolved together with what comes without them, so that whoever adds one
        later gets no other version of anything.
        """
        python = seen.python
        roots = _roots(own, python, extras)
        found = self._found(roots, seen).values()
        base = closure(_roots(own, python), found, python).found
        bringing = {
            extra: closure(_roots(own, python, [extra]), found, python).found for extra in extras
        }
        others = [
            Pinned(
                name=each.name,
                version=str(each.version),
                file=PinnedFile(filename=each.filename, sha256=each.sha256),
                extras=None
                if each.name in base
                else frozenset(extra for extra, those in bringing.items() if each.name in those),
            )
            for each in sorted(found, key=lambda each: each.name)
        ]
        first = Pinned(name=own.name, version=own.version, file=own.file, own=True)
        return self._located(Target(python=python, pins=(first, *others)))

    def _found(self, roots: Sequence[Requirement], seen: Seen) -> Mapping[str, Candidate]:
        """Return what meets the requirements: what was tried, what the lock pins, or pip's choice.

        Where all of it is known already, nobody is asked.
        """
        known = closure(roots, self._known(seen), seen.python)
        if not known.missing:
            return known.found
        if self.supply.offline:
            raise FetchError(
                f"{', '.join(known.missing)}: neither tried with the wheel nor pinned in "
                "repack.lock and in the cache, and --offline asks nobody",
                code="offline",
                file=f"Python {seen.python}",
                hint="run `repack pin` without --offline, or build with the smoke test",
            )
        return self._asked(roots, known, seen.python)

    def _asked(
        self, roots: Sequence[Requirement], known: Closure, python: str
    ) -> Mapping[str, Candidate]:
        """Return pip's choice, which keeps to the versions that are known."""
        question = Question(
            requirements=tuple(sorted({str(root) for root in roots})),
            constraints=tuple(
                sorted(f"{each.name}=={each.version}" for each in known.found.values())
            ),
            python=python,
            markers=windows_environment(python),
            index_url=self.index_url,
        )
        chosen = [
            self._settled(
                Candidate(
                    name=each.name,
                    version=Version(each.version),
                    filename=each.filename,
                    sha256=each.sha256,
                    requires=each.requires,
                ),
                known.found.get(each.name),
                python,
            )
            for each in pip_resolve(question, self.supply.progress)
        ]
        whole = closure(roots, chosen, python)
        if whole.missing:
            raise ToolError(
                f"this pip leaves out what is required on Windows: {', '.join(whole.missing)}",
                code="pip-markers",
                file=f"Python {python}",
                hint="python -m pip install --upgrade pip",
            )
        return whole.found

    def _settled(self, chosen: Candidate, known: Candidate | None, python: str) -> Candidate:
        """Return what pip chose with its SHA-256; the file that was tried has to be that one."""
        if known is not None and known.version == chosen.version:
            if known.filename == chosen.filename and chosen.sha256 not in {"", known.sha256}:
                raise _another(chosen.filename, chosen.sha256, known.sha256)
            return known
        if chosen.sha256:
            return chosen
        # An index need not tell hashes; then only the file does.
        requirement = f"{chosen.name}=={chosen.version}"
        source = IndexSource(requirement=requirement, python=python)
        return replace(chosen, sha256=self.supply.fetch(source, pinned=False).sha256)

    def _located(self, target: Target) -> Target:
        """Return the target with the address of each file, where an index is to be named."""
        if not self.index_url:
            return target
        if self.supply.offline:
            raise FetchError(
                "where it has the files has to be asked, and --offline asks nobody",
                code="offline",
                file="--index-url",
                hint="leave out one of the two",
            )
        question = Question(
            requirements=tuple(f"{pin.name}=={pin.version}" for pin in target.pins),
            python=target.python,
            markers=windows_environment(target.python),
            index_url=self.index_url,
            dependencies=False,
        )
        there = {each.name: each for each in pip_resolve(question, self.supply.progress)}
        pins = []
        for pin in target.pins:
            found = there[pin.name]
            if found.filename != pin.file.filename or found.sha256 not in {"", pin.file.sha256}:
                raise _another(found.filename, found.sha256, pin.file.sha256)
            pins.append(replace(pin, file=replace(pin.file, url=found.url)))
        return replace(target, pins=tuple(pins))

    def _known(self, seen: Seen) -> list[Candidate]:
        """Return the wheels that were tried with ours, and of others those that the lock pins."""
        beside = [
            Pin(key="", url="", filename=each.filename, size=each.size, sha256=each.sha256)
            for each in seen.beside
        ]
        tried = list(self._candidates(beside, seen.python))
        names = {each.name for each in tried}
        lock = self.supply.pins if self.obeys or self.supply.offline else ()
        pinned = self._candidates(lock, seen.python)
        return [*tried, *(each for each in pinned if each.name not in names)]

    def _candidates(self, pins: Iterable[Pin], python: str) -> Iterator[Candidate]:
        """Yield the wheels for that Python whose METADATA is at hand, in the cache."""
        cache, supported = replace(self.supply.cache, sizes_only=True), _supported(python)
        for pin in pins:
            if not pin.filename.endswith(".whl"):
                continue
            path = cache.place(pin.sha256, pin.filename)
            name = parse_filename(path)
            if name.tags.isdisjoint(supported) or cache.find(pin, SILENT) is None:
                continue
            try:
                requires = _requires_of(path)
            except InputError as error:
                _log.warning("%s", error)
                continue
            yield Candidate(
                name=name.name,
                version=name.version,
                filename=pin.filename,
                sha256=pin.sha256,
                requires=requires,
            )


def _roots(own: Own, python: str, extras: Sequence[str] = ()) -> list[Requirement]:
    roots = applicable(own.requires, python, extras)
    at_url = next((root for root in roots if root.url), None)
    if at_url is not None:
        raise InputError(
            f"requires {at_url.name} from an address, which no index can answer",
            code="url-requirement",
            file=own.file.filename,
            hint="correct the METADATA of the source",
        )
    return roots


def _requires_of(wheel: Path) -> tuple[str, ...]:
    """Return the Requires-Dist lines of a wheel; raises InputError where there are none to read."""
    archive = open_archive(wheel)
    own = re.compile(r"[^/]+\.dist-info/METADATA")
    members = [name for name in archive.names if own.fullmatch(name)]
    try:
        (member,) = members
        return parse_metadata(read_member(archive, member)).requires
    except (BrokenMetadataError, ValueError) as error:
        raise InputError(
            f"its METADATA cannot be read: {error}", code="metadata", file=wheel
        ) from None


def _supported(python: str) -> set[Tag]:
    """Return the tags of the wheels that a 64-bit Windows `python` installs."""
    version = tuple(int(part) for part in python.removesuffix("t").split("."))
    interpreter = f"cp{python.replace('.', '')}".removesuffix("t")
    abi = f"{interpreter}t" if python.endswith("t") else interpreter
    platforms = ["win_amd64"]
    return {
        *cpython_tags(version, [abi], platforms),
        *compatible_tags(version, interpreter, platforms),
    }


def _another(filename: str, there: str, ours: str) -> FetchError:
    return FetchError(
        f"the index has it with SHA-256 {there or 'unknown'}, pinned is {ours}",
        code="sha256",
        file=filename,
        hint="publish the wheels of this build, and mirror NumPy and NVIDIA's as they are",
    )
