"""`build.json`, which a build leaves beside its wheels: pins, report and index are made from it."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from repack import __version__, files
from repack.errors import InputError

#: Beside the wheels that it tells of.
FILENAME = "build.json"
#: A change that could break a reader raises it.
RECORD_VERSION = 1
#: What became of a wheel on a Python.
PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"
OWN_STAND_IN = "stand-in in the wheel"
#: So much of a wrong value is shown.
_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a wheel did on one Python.

    `reason` says why it failed or was not run; `version` is cv2's own, "" where it did not come so
    far; `devices` is how many GPUs it found, or what it said instead; `driver` is "stand-in" where
    stand-ins took the place of the NVIDIA driver's DLLs, "stand-in in the wheel" where the wheel's
    own did; `log` is all that was printed.
    `repeatable` is False for what another run may see otherwise: a hang.
    """

    status: str
    reason: str = ""
    version: str = ""
    devices: str = ""
    driver: str = ""
    seconds: float = 0.0
    log: str = ""
    repeatable: bool = True

    @property
    def said(self) -> str:
        """What was seen, in a few words."""
        if self.status == NOT_RUN:
            return f"not run: {self.reason}"
        if self.status == FAILED:
            return self.reason
        whose = {"stand-in": "a", OWN_STAND_IN: "its own"}.get(self.driver)
        driver = f", with {whose} stand-in for the driver" if whose else ""
        return f"works: OpenCV {self.version}{driver}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about a wheel that its user should hear of; `code` is stable."""

    code: str
    message: str
    member: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cargo:
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
    except (ValueError, RecursionError):
        raise _no_record(path, "it is not JSON") from None
    version = document.pop("version", None) if isinstance(document, dict) else None
    if version != RECORD_VERSION:
        raise _no_record(path, f"its version is {version}, not {RECORD_VERSION}")
    try:
        record: BuildRecord = _parse(BuildRecord, document, "")
    except ValueError as error:
        raise _no_record(path, str(error)) from None
    return record


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


def _parse(kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON value as a `kind`; raises ValueError with its place where it is none."""
    if is_dataclass(kind):
        return _parse_fields(kind, value, place)
    if get_origin(kind) is tuple:
        return _parse_list(get_args(kind), value, place)
    _check_type(value, get_args(kind) or (kind,), place)
    return value


def _parse_fields(kind: Any, values: Any, place: str) -> Any:  # noqa: ANN401 - JSON
    """Return an object as the dataclass `kind`; what has a default may be left out."""
    _check_type(values, (dict,), place)
    kinds = get_type_hints(kind)
    start = f"{place}." if place else ""
    if lacking := {field.name for field in fields(kind) if field.default is MISSING} - set(values):
        raise ValueError(f"it lacks {start}{min(lacking)}")
    if unknown := set(values) - set(kinds):
        raise ValueError(f"it has {start}{min(unknown)}, which is not known here")
    return kind(
        **{name: _parse(kinds[name], value, f"{start}{name}") for name, value in values.items()}
    )


def _parse_list(kinds: tuple[Any, ...], values: Any, place: str) -> tuple[Any, ...]:  # noqa: ANN401
    """Return a list as a tuple: of any number of one kind, or of just those kinds."""
    _check_type(values, (list,), place)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(values)
    if len(values) != len(kinds):
        raise ValueError(f"{place} has {len(values)} values, not {len(kinds)}")
    pairs = enumerate(zip(kinds, values, strict=True))
    return tuple(_parse(kind, value, f"{place}[{number}]") for number, (kind, value) in pairs)


def _check_type(value: object, kinds: tuple[type, ...], place: str) -> None:
    if type(value) not in kinds:
        raise ValueError(f"{place} may not be {json.dumps(value)[:_SHOWN]}")
