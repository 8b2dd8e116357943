"""Adapter of delvewheel, which is asked what it would put into the wheel.

It is given the wheel's binaries and the DLLs at hand as stand-ins: the same import tables, and
nothing behind them, so that it walks what Windows would walk and copies next to nothing. Its
modules are private, so it runs as a program; it searches PATH, so that is bare.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from repack.dlls import make_dll
from repack.errors import ToolError
from repack.files import workspace
from repack.process import run
from repack.wheel import Added, entry_of, format_record, open_archive, splice

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from repack.dlls import Image
    from repack.process import Finished
    from repack.wheel import Wheel

#: What a driver brings is never put into a wheel, whatever lies on the machine that builds it.
_DRIVER = ("nvcuda.dll", "nvcuvid.dll", "nvencodeapi*.dll", "nvml.dll", "nvapi*.dll", "nvofapi*")
_TIMEOUT = 300.0
#: 1980-01-01: what is written here is thrown away.
_TIMESTAMP = 315_532_800
_ERROR = re.compile(r"(\w+(Error|Exception)\b|\S+: No module named )")
_OPTIONS = ("--no-mangle-all", "--analyze-existing", "--ignore-existing")


def decide(
    wheel: Wheel,
    images: Mapping[str, Image],
    at_hand: Mapping[str, Image],
    *,
    exclude: Collection[str],
    folder: Path,
) -> frozenset[str]:
    """Return the keys of the DLLs that delvewheel puts into the wheel.

    `images` are the wheel's binaries by member, `at_hand` the DLLs that it may take, by name, and
    `exclude` those that it has to leave. Works in `folder`. Raises ToolError where it cannot.
    """
    with workspace(folder) as place:
        for name in ("dlls", "wheel", "out"):
            (place / name).mkdir()
        for name, image in at_hand.items():
            (place / "dlls" / name).write_bytes(_stand_in(name, image))
        path = place / "wheel" / wheel.path.name
        _write_wheel(wheel, images, path)
        done = _repair(path, place, exclude)
        made = place / "out" / path.name
        if done.returncode or done.timed_out or not made.exists():
            raise _failed(wheel, done)
        return _vendored(made, images)


def _stand_in(name: str, image: Image) -> bytes:
    return make_dll(
        name,
        imports={each.dll: each.symbols for each in image.imports},
        delay_imports={each.dll: each.symbols for each in image.delay_imports},
        machine=image.machine,
    )


def _write_wheel(wheel: Wheel, images: Mapping[str, Image], path: Path) -> None:
    """Write a wheel of the same name, tags and binaries, and nothing else."""
    info = wheel.dist_info
    files = {
        **{name: _stand_in(PurePosixPath(name).name, image) for name, image in images.items()},
        # It patches a package's __init__.py, which has to be one that our Python can read.
        **{f"{PurePosixPath(name).parts[0]}/__init__.py": b"" for name in images if "/" in name},
        f"{info}/METADATA": wheel.metadata,
        f"{info}/WHEEL": wheel.wheel_file,
    }
    rows = {name: entry_of(content) for name, content in files.items()}
    files[f"{info}/RECORD"] = format_record(rows, f"{info}/RECORD")
    entries = [Added(name=name, content=content) for name, content in files.items()]
    splice(None, entries, path, timestamp=_TIMESTAMP)


def _repair(wheel: Path, place: Path, exclude: Collection[str]) -> Finished:
    dlls = str(place / "dlls")
    left = os.pathsep.join(sorted({*_DRIVER, *(name.lower() for name in exclude)}))
    options = ["--add-path", dlls, "--exclude", left, "-w", str(place / "out")]
    return run(
        [sys.executable, "-m", "delvewheel", "repair", *_OPTIONS, *options, str(wheel)],
        timeout=_TIMEOUT,
        env=_environment(dlls),
        cwd=place,
    )


def _environment(path: str) -> dict[str, str]:
    """Return an environment in which nothing can be found but what is given.

    Windows' own variables stay: without SYSTEMROOT no Python starts there.
    """
    kept = ("SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "PATH": path, "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": str(_TIMESTAMP)}


def _vendored(made: Path, images: Mapping[str, Image]) -> frozenset[str]:
    names = [PurePosixPath(name) for name in open_archive(made).names if name not in images]
    return frozenset(name.name.lower() for name in names if name.suffix.lower() == ".dll")


def _failed(wheel: Wheel, done: Finished) -> ToolError:
    # What it says and the traceback it ends with come in any order.
    errors = [line for line in done.output.splitlines() if _ERROR.match(line)]
    said = errors[-1].strip() if errors else f"exit code {done.returncode}"
    if done.timed_out:
        said = f"it did not finish in {_TIMEOUT:.0f} seconds"
    if "No module named" in said:
        return ToolError(
            "delvewheel is not installed beside repack",
            code="no-delvewheel",
            hint="python -m pip install delvewheel",
        )
    return ToolError(
        f"delvewheel cannot say what belongs into the wheel: {said}",
        code="delvewheel",
        file=wheel.path.name,
        hint="name a directory that holds it under vendor.dll-dirs",
    )
