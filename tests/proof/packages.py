"""What lies in a site-packages: wheels installed once by pip, kept, and linked from there."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from repack.fetch.supply import Supply
from repack.files import sha256_of
from repack.process import run
from repack.pythons import Interpreter

_TIMEOUT = 600.0
#: Raise it when packages are installed in another way.
_FORMAT = "1"
_PIP_OPTIONS = (
    *("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"),
    *("--disable-pip-version-check", "--no-input", "--root-user-action=ignore"),
)


class Packages:
    """Installs wheels for Windows Pythons, each once. Safe for several threads."""

    def __init__(self, supply: Supply, folder: Path) -> None:
        """`folder` is where they are kept."""
        self._supply = supply
        self._folder = folder
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._required: dict[str, Path] = {}

    def required(self, requirement: str, python: Interpreter) -> Path:
        """Return a folder that holds what pip makes of the index's wheel for `requirement`."""
        key = f"{requirement} {python.version}"
        with self._turns[key]:
            if key not in self._required:
                wheel = self._supply.wheel(requirement, python.version).path
                self._required[key] = self.installed(wheel, python)
            return self._required[key]

    def installed(self, wheel: Path, python: Interpreter) -> Path:
        """Return a folder that holds what pip makes of `wheel`, compiled by that Python."""
        text = f"{_FORMAT} {python.identity} {sha256_of(wheel)} {wheel.name}"
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        folder = self._folder / key
        with self._turns[key]:
            if not folder.exists():
                unfinished = self._folder / f"{key}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                _install(wheel, python.version, unfinished)
                _compile(unfinished, python)
                unfinished.rename(folder)
        return folder


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
