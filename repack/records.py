"""`build.json`, which a build leaves beside its wheels: pins, report and index are made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from repack import __version__, files
from repack.analysis import Finding
from repack.cargo import Cargo
from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Beside the wheels that it tells of.
FILENAME = "build.json"
#: A change that could break a reader raises it.
RECORD_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """A wheel of the index that was installed beside the one under test."""

    filename: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a wheel did on one Python (`status`, `after`), and the untouched wheel before it.

    `status` is "passed", "failed" or "not-run"; `before` and `after` are what was seen, in a few
    words; `log` is all that the wheel printed, `log_before` all that the untouched one did;
    `beside` are the wheels that it was tried with, NumPy among them.
    """

    python: str
    status: str
    reason: str = ""
    driver: str = ""
    before: str = ""
    after: str = ""
    log: str = ""
    log_before: str = ""
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelRecord:
    """One wheel: its file beside the record ("failed/..." where it did not work), size in bytes."""

    path: str
    version: str
    tag: str
    size: int
    sha256: str
    seen: tuple[Seen, ...]

    @property
    def filename(self) -> str:
        """The name of the wheel's file."""
        return self.path.rpartition("/")[2]

    @property
    def works(self) -> bool:
        """Whether no Python was seen on which it does not work."""
        return all(seen.status != "failed" for seen in self.seen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A text in the wheels that differs from the source's: a unified diff, all of it where new."""

    member: str
    new: bool
    diff: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A DLL that the wheel's modules need, as `analysis.Need` has it.

    `kind` is a `dlls.Kind`'s value; `in_wheel` the member that answers, "" where none does.
    """

    dll: str
    kind: str
    family: str
    needed_by: tuple[str, ...]
    delayed: bool
    in_wheel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The wheel that was started from; `cuda` is "12.9", "12", or "" for none."""

    filename: str
    name: str
    version: str
    url: str
    size: int
    sha256: str
    cuda: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecord:
    """All that is to be known of a finished build; sorted, and the same for the same build.

    `refused` are Pythons that got no wheel and why; `requires` the Requires-Dist that were added.
    """

    source: Origin
    mode: str
    driver_stub: bool
    wheels: tuple[WheelRecord, ...]
    requires: tuple[str, ...] = ()
    carried: tuple[Cargo, ...] = ()
    left_out: tuple[str, ...] = ()
    needs: tuple[Asked, ...] = ()
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    name: str = ""
    """The build's, where the configuration has several."""
    tool: str = __version__
    """The version of repack that made it."""


def write_record(record: BuildRecord, folder: Path) -> None:
    """Put the record beside the wheels in `folder`, unless the same stands there already."""
    text = json.dumps({"version": RECORD_VERSION, **asdict(record)}, indent=1, sort_keys=True)
    content = text.encode() + b"\n"
    path = folder / FILENAME
    if not (path.is_file() and path.read_bytes() == content):
        with files.replacing(path) as stream:
            stream.write(content)


def read_record(path: Path) -> BuildRecord:
    """Return the record in the file `path`; raises InputError where it is none."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise files.not_read(path, error) from error
    except ValueError:
        raise _no_record(path, "it is not JSON") from None
    version = document.get("version") if isinstance(document, dict) else None
    if version != RECORD_VERSION:
        raise _no_record(path, f"its version is {version}, not {RECORD_VERSION}")
    try:
        return _parsed(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_record(path, f"it lacks, or has too much: {error}") from error


def read_records(dist: Path) -> dict[Path, BuildRecord]:
    """Return the records of a folder and of the folders in it, each by the folder it is of."""
    places = sorted({dist / FILENAME, *dist.glob(f"*/{FILENAME}")})
    return {path.parent: read_record(path) for path in places if path.is_file()}


def _no_record(path: Path, why: str) -> InputError:
    return InputError(
        f"is not what a build leaves: {why}",
        code="build-record",
        file=path,
        hint="build again, with this version of repack",
    )


def _parsed(document: Mapping[str, Any]) -> BuildRecord:
    fields = {key: value for key, value in document.items() if key != "version"}
    parts = {
        "source": Origin(**fields["source"]),
        "wheels": tuple(_wheel(each) for each in fields["wheels"]),
        "requires": tuple(fields["requires"]),
        "carried": tuple(Cargo(**each) for each in fields["carried"]),
        "left_out": tuple(fields["left_out"]),
        "needs": tuple(_asked(each) for each in fields["needs"]),
        "changes": tuple(Change(**each) for each in fields["changes"]),
        "findings": tuple(Finding(**each) for each in fields["findings"]),
        "refused": tuple((python, reason) for python, reason in fields["refused"]),
    }
    return BuildRecord(**{**fields, **parts})


def _wheel(fields: Mapping[str, Any]) -> WheelRecord:
    return WheelRecord(**{**fields, "seen": tuple(_seen(each) for each in fields["seen"])})


def _seen(fields: Mapping[str, Any]) -> Seen:
    # Builds that were made before did not tell what lay beside.
    beside = tuple(Beside(**each) for each in fields.get("beside", ()))
    return Seen(**{**fields, "beside": beside})


def _asked(fields: Mapping[str, Any]) -> Asked:
    return Asked(**{**fields, "needed_by": tuple(fields["needed_by"])})
