"""`build.json`, the one model of what a build did: pins, report and index are made from it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from repack import __version__, files
from repack.errors import InputError

#: Beside the wheels that it tells of.
FILENAME = "build.json"
#: What became of a wheel on a Python.
PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the record; what has a default may be left out of the file."""


class Beside(_Model, frozen=True):
    """A wheel of the index that was installed beside the one under test."""

    filename: str
    size: int
    sha256: str


class Outcome(_Model, frozen=True):
    """What a wheel did on one Python.

    `reason` says why it failed or was not run; `version` is cv2's own, "" where it did not come so
    far; `devices` is how many GPUs it found, or what it said instead; `driver` is "stand-in" where
    stand-ins took the place of the NVIDIA driver's DLLs; `log` is all that was printed;
    `repeatable` is False for what another run may see otherwise: a hang; `beside` are the wheels
    that it was tried with, NumPy among them.
    """

    status: Annotated[str, msgspec.Meta(pattern=r"^(passed|failed|not-run)\Z")]
    reason: str = ""
    version: str = ""
    devices: str = ""
    driver: str = ""
    log: str = ""
    repeatable: bool = True
    beside: tuple[Beside, ...] = ()

    @property
    def summary(self) -> str:
        """What was seen, in a few words."""
        if self.status == NOT_RUN:
            return "not run"
        if self.status == FAILED:
            return self.reason
        driver = ", with a stand-in for the driver" if self.driver else ""
        return f"works: OpenCV {self.version}{driver}"


class Finding(_Model, frozen=True):
    """Something about a wheel that its user should hear of; `code` is stable."""

    code: str
    message: str
    member: str = ""
    hint: str = ""


class Refusal(_Model, frozen=True):
    """A Python that gets no wheel, and why."""

    python: str
    reason: str


class Cargo(_Model, frozen=True):
    """A DLL that a wheel carries for others: NVIDIA's, or a stand-in for the driver's.

    `packed` is its weight in the wheel, None where that is known only once it is written; both
    in bytes.
    """

    member: str
    family: str
    origin: str
    size: int
    packed: int | None
    sha256: str


class Seen(_Model, frozen=True):
    """What a wheel did on one Python, and what the untouched one did there."""

    python: str
    after: Outcome
    before: Outcome = Outcome(status=NOT_RUN)

    @property
    def status(self) -> str:
        """What became of the wheel: "passed", "failed" or "not-run"."""
        return self.after.status


class WheelRecord(_Model, frozen=True):
    """One wheel: its file beside the record ("failed/..." where it did not work), size in bytes.

    `recipe` is the SHA-256 of all that its bytes were made from.
    """

    path: str
    version: str
    tag: str
    size: int
    sha256: str
    seen: tuple[Seen, ...]
    recipe: str = ""

    @property
    def filename(self) -> str:
        """The name of the wheel's file."""
        return self.path.rpartition("/")[2]

    @property
    def works(self) -> bool:
        """Whether no Python was seen on which it does not work."""
        return all(seen.status != FAILED for seen in self.seen)


class Change(_Model, frozen=True):
    """A text in the wheels that differs from the source's: a unified diff, all of it where new."""

    member: str
    new: bool
    diff: str


class NeededDll(_Model, frozen=True):
    """A DLL that the wheel's modules need, as `inspect.Need` has it.

    `kind` is a `dlls.Kind`'s value; `in_wheel` the member that answers, "" where none does.
    """

    dll: str
    kind: str
    family: str
    needed_by: tuple[str, ...]
    delayed: bool
    in_wheel: str


class Origin(_Model, frozen=True):
    """The wheel that was started from; `cuda` is "12.9", "12", or "" for none."""

    filename: str
    name: str
    version: str
    url: str
    size: int
    sha256: str
    cuda: str


class BuildRecord(_Model, frozen=True):
    """All that is to be known of a finished build; sorted, and the same for the same build.

    `name` is the build's where the configuration has several; `requires` are the Requires-Dist
    that the mode added, `left_out` the DLLs that it leaves to the machine; `tool` is the version
    of repack that made it.
    """

    source: Origin
    mode: str
    driver_stub: bool
    wheels: tuple[WheelRecord, ...]
    requires: tuple[str, ...] = ()
    carried: tuple[Cargo, ...] = ()
    left_out: tuple[str, ...] = ()
    needs: tuple[NeededDll, ...] = ()
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    refused: tuple[Refusal, ...] = ()
    name: str = ""
    tool: str = __version__
    version: Literal[3] = 3  # a change that could break a reader raises it


def write_record(record: BuildRecord, folder: Path) -> None:
    """Put the record beside the wheels in `folder`, unless the same stands there already."""
    document = msgspec.json.encode(record, order="sorted")
    files.write(folder / FILENAME, msgspec.json.format(document, indent=1) + b"\n")


def read_record(path: Path) -> BuildRecord:
    """Return the record in the file `path`; raises InputError where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BuildRecord)
    except OSError as error:
        raise files.not_read(path, error) from error
    except (msgspec.DecodeError, ValueError) as error:
        what, hint = f"is not what a build leaves: {error}", "build again, with this repack"
        raise InputError(what, code="build-record", file=path, hint=hint) from None


def read_records(dist: Path) -> dict[Path, BuildRecord]:
    """Return the records of a folder and of those in it that are not hidden, by their folders."""
    places = sorted({dist / FILENAME, *dist.glob(f"[!.]*/{FILENAME}")})
    return {path.parent: read_record(path) for path in places if path.is_file()}
