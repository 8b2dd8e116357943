"""What a person is told of files: for which Pythons, on what, and what their builds saw."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.tags import Tag

    from repack.index.values import File

_SYSTEMS = {"win_amd64": "Windows", "win_arm64": "Windows on ARM", "any": "any system"}
_MODES = {
    "patch": "finds the CUDA DLLs on the machine",
    "depend": "requires NVIDIA's wheels",
    "vendor": "carries the CUDA DLLs",
}
_STAND_INS = "has stand-ins for the driver"
_VERDICTS = {"passed": "imports", "failed": "does not import", "not-run": "not run"}
#: What nothing is known of.
UNKNOWN = "not known"


def pythons_of(files: Iterable[File]) -> str:
    """Return for which Pythons files are: "3.12", "3.9 to 3.14", "3.7 and later"."""
    return in_runs(_pythons(files)) or "source"


def systems_of(files: Iterable[File]) -> str:
    """Return on what systems wheels run, "" where there is none."""
    found = dict.fromkeys(tag.platform for file in files for tag in _tags(file))
    return ", ".join(_SYSTEMS.get(each, each) for each in sorted(found))


def cuda_of(files: Iterable[File]) -> str:
    """Return the versions of CUDA that files are for, "" where no build says so."""
    return ", ".join(sorted({file.remarks.cuda for file in files if file.remarks.cuda}))


def dlls_of(files: Sequence[File]) -> str:
    """Return where files have the CUDA DLLs from, "" where no build says so."""
    modes = sorted({file.remarks.mode for file in files if file.remarks.mode})
    said = [_MODES.get(mode, mode) for mode in modes]
    stub = any(file.remarks.driver_stub for file in files)
    return ", ".join([*said, _STAND_INS] if stub else said)


def tested(files: Sequence[File]) -> str:
    """Return on which Pythons files were tried, and what they did."""
    said = [
        f"{verdict} on {in_runs(pythons)}"
        for status, verdict in _VERDICTS.items()
        if (pythons := _seen(files, status))
    ]
    if any(not file.remarks.seen for file in files):
        said.append(UNKNOWN if not said else "some files: " + UNKNOWN)
    return "; ".join(said)


def tested_alone(file: File) -> str:
    """Return the same of one file; its Python is not said again where it is for that one alone."""
    verdicts = [_VERDICTS[status] for status in _VERDICTS if _seen([file], status)]
    alone = [python for python, _ in file.remarks.seen] == list(_pythons([file]))
    return verdicts[0] if alone and verdicts else tested([file])


def verdict(files: Sequence[File]) -> str:
    """Return "passed" where every file was tried and worked, "failed" where one did not."""
    statuses = {status for file in files for _, status in file.remarks.seen}
    if "failed" in statuses:
        return "failed"
    return "passed" if statuses == {"passed"} and all(f.remarks.seen for f in files) else "open"


def readable_size(size: int) -> str:
    """Return a size as people read it; JSON has the bytes."""
    if size < 10**6:
        return f"{max(size / 1000, 0.1):.1f} kB"
    return f"{size / 10**6:.1f} MB" if size < 10**9 else f"{size / 10**9:.2f} GB"


def natural(text: str) -> list[int | str]:
    """Return what sorts "cp39" before "cp310"."""
    parts: list[int | str] = list(re.split(r"(\d+)", text))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts


def in_runs(pythons: Iterable[str]) -> str:
    """Return Pythons in order, three and more that follow one another as "3.9 to 3.14"."""
    runs: list[list[str]] = []
    for python in sorted(set(pythons), key=natural):
        if runs and _follows(runs[-1][-1], python):
            runs[-1].append(python)
        else:
            runs.append([python])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run)  # noqa: PLR2004 - "3.9, 3.10"
        for run in runs
    )


def _follows(python: str, other: str) -> bool:
    found = [re.fullmatch(r"(\d+)\.(\d+)(t?)", each) for each in (python, other)]
    if not (found[0] and found[1]):
        return False
    before, after = found[0].groups(), found[1].groups()
    return (before[0], int(before[1]) + 1, before[2]) == (after[0], int(after[1]), after[2])


def _pythons(files: Iterable[File]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_python(tag) for file in files for tag in _tags(file)))


def _seen(files: Iterable[File], status: str) -> list[str]:
    return [python for file in files for python, known in file.remarks.seen if known == status]


def _tags(file: File) -> list[Tag]:
    if not file.filename.endswith(".whl"):
        return []
    return sorted(parse_wheel_filename(file.filename)[3], key=lambda tag: natural(str(tag)))


def _python(tag: Tag) -> str:
    found = re.fullmatch(r"(?:cp|py)(\d)(\d*)", tag.interpreter)
    if not found:
        return str(tag)
    version = ".".join(part for part in found.groups() if part)
    if tag.abi == "abi3" or (tag.abi == "none" and found[2]):
        return f"{version} and later"
    return f"{version}t" if tag.abi.endswith("t") else version
