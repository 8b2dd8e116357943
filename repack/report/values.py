"""What a report tells of finished builds, as values: all three forms of it are made from them."""

from __future__ import annotations

from dataclasses import dataclass

#: What a fixed wheel did on a Python; the first three are those of `records.Seen`.
WORKS, FAILS, NOT_RUN, NO_WHEEL = "passed", "failed", "not-run", "no-wheel"
#: Where a DLL comes from: inside the wheel, by pip from NVIDIA's wheels, or the machine has it.
IN_WHEEL, BY_PIP, MACHINE, SYSTEM = "wheel", "nvidia", "machine", "system"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnPython:
    """What the untouched wheel and the fixed one did on one Python.

    `log` is all that the fixed wheel printed, where it failed. `install` are the lines that
    install it, `pins` the file of requirements that they name, "" where none was written.
    """

    python: str
    status: str
    before: str
    after: str
    reason: str = ""
    driver: str = ""
    wheel: str = ""
    log: str = ""
    pins: str = ""
    install: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A wheel by its path from the report, and its SBOM's, "" where it has none or is not there."""

    path: str
    size: int
    sha256: str
    tag: str
    works: bool
    sbom: str = ""
    sbom_member: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A text of the wheels that is new or other than the source's, with its lines counted."""

    member: str
    new: bool
    added: int
    removed: int
    diff: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A DLL; `size` is None where nothing tells it, `origin` what it was taken from."""

    dll: str
    size: int | None
    needed_by: tuple[str, ...]
    delayed: bool
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """DLLs that belong together and come from the same place; `size` sums up what is known."""

    place: str
    family: str
    size: int | None
    dlls: tuple[Library, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """A finding."""

    code: str
    message: str
    member: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The wheel that a build started from."""

    filename: str
    name: str
    version: str
    url: str
    size: int
    sha256: str
    cuda: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build: all that its part of the report shows. `folder` is "" for the report's own."""

    name: str
    folder: str
    verdict: str
    headline: str
    tool: str
    mode: str
    driver_stub: bool
    source: Source
    pythons: tuple[OnPython, ...]
    wheels: tuple[File, ...]
    changes: tuple[Edit, ...]
    families: tuple[Family, ...]
    findings: tuple[Hint, ...]
    requires: tuple[str, ...]
    left_out: tuple[str, ...]

    def on(self, status: str) -> tuple[str, ...]:
        """Return the Pythons on which it came to `status`."""
        return tuple(each.python for each in self.pythons if each.status == status)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All builds of a folder, and in one line what became of them."""

    headline: str
    verdict: str
    builds: tuple[Build, ...]
