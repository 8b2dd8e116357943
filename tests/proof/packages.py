"""What lies in a site-packages: wheels installed once by pip, kept, and linked from there."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from repack.fetch import Supply
from repack.files import sha256_of
from repack.process import run
from repack.pythons.interpreter import Interpreter

_TIMEOUT = 600.0
#: Raise it when packages are installed in another way.
_FORMAT = "1"
_PIP_OPTIONS = (
    *("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"),
    *("--disable-pip-version-check", "--no-input", "--root-user-action=ignore"),
)

Made = TypeVar("Made")


class Parts:
    """What machines are made of, fetched or made once. Safe for several threads."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        #: Where all of it is kept.
        self.folder = supply.cache.folder("tests") / "proof"
        self._turns: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._made: dict[object, Any] = {}
        for name in ("packages", "dlls", "machines"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def once(self, key: object, make: Callable[[], Made]) -> Made:
        """Return what `make` returned when it was first called for this key."""
        with self._turns[key]:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made


def install_required(parts: Parts, requirement: str, python: Interpreter) -> Path:
    """Return a folder that holds what pip makes of the index's wheel for `requirement`."""

    def install() -> Path:
        return install_wheel(parts, parts.supply.wheel(requirement, python.version).path, python)

    return parts.once((requirement, python.version), install)


def install_wheel(parts: Parts, wheel: Path, python: Interpreter) -> Path:
    """Return a folder that holds what pip makes of `wheel`, compiled by that Python."""
    text = f"{_FORMAT} {python.identity} {sha256_of(wheel)} {wheel.name}"
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = parts.folder / "packages" / key

    def install() -> Path:
        if not folder.exists():
            unfinished = folder.with_name(f"{key}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(wheel, python.version, unfinished)
            _compile(unfinished, python)
            unfinished.rename(folder)
        return folder

    return parts.once(key, install)


def _install(wheel: Path, version: str, folder: Path) -> None:
    """Have pip install a wheel as that Python's own pip would; which it would, others test."""
    target = ("--only-binary=:all:", "--implementation=cp", "--platform=win_amd64")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", *_PIP_OPTIONS, *target),
            *(f"--python-version={version}", "--target", folder, wheel),
        ],
        check=True,
        timeout=_TIMEOUT,
    )


def _compile(folder: Path, python: Interpreter) -> None:
    """Compile the modules, which otherwise takes each of many processes a second or two."""
    # What does not parse on this Python stays as it is: nobody imports that.
    run(
        [*python.command, "-I", "-S", "-m", "compileall", "-q", "."],
        timeout=_TIMEOUT,
        env=python.env,
        cwd=folder,
    )


def link_tree(source: Path, target: Path, without: Sequence[str] = ()) -> None:
    """Lay a folder out anew at `target`, over what lies there, by links: it takes no room.

    Folders and files called as in `without` are left out.
    """

    ignored = shutil.ignore_patterns(*without)
    shutil.copytree(source, target, copy_function=link_or_copy, ignore=ignored, dirs_exist_ok=True)


def link_or_copy(file: str | Path, place: str | Path) -> None:
    """Make `place` the same file as `file`, or a copy where links cannot be made."""
    Path(place).unlink(missing_ok=True)
    try:
        os.link(Path(file).resolve(), place)
    except OSError:
        shutil.copyfile(file, place)
