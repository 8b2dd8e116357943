"""A genuine Windows Python in Wine, into which Windows' own pip installs wheels."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genuine import fetch_index
from proof.disks import Layout, WineDisk, lay_python, layout_of, wine_disk
from windowslab import warm_wine

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import run
from repack.pythons import Interpreter, Pythons
from repack.pythons.wine import windows_path

_PIP_OPTIONS = (
    *("--isolated", "--no-compile", "--no-cache-dir", "--no-warn-script-location", "--no-color"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A Python of its own on a drive C: of its own."""

    disk: WineDisk
    interpreter: Interpreter
    layout: Layout

    @property
    def python(self) -> Path:
        """The python.exe."""
        return self.disk.place(self.layout.python) / "python.exe"

    @property
    def site(self) -> Path:
        """The folder that pip installs to."""
        return self.disk.place(self.layout.site)

    def pip(self, *words: str | Path) -> str:
        """Return what Windows' own pip printed."""
        package = fetch_index("pip", python=self.interpreter.version).path
        user = ["--user"] if "PYTHONUSERBASE" in self.layout.env and words[0] == "install" else []
        options = [*_PIP_OPTIONS, *user] if words[0] == "install" else []
        names = [str(windows_path(word)) if isinstance(word, Path) else word for word in words]
        program = [*self.interpreter.launcher, rf"{self.layout.python}\python.exe"]
        command = [*program, str(windows_path(package / "pip")), names[0], *options, *names[1:]]
        done = run(command, timeout=300, env={**self.disk.env, **self.layout.env})
        assert done.returncode == 0, done.output
        return done.output

    def install(self, *wheels: Path, numpy: str = "numpy<2") -> None:
        """Install wheels, and NumPy."""
        needed = fetch_index(numpy, python=self.interpreter.version).path
        self.pip("install", "--no-index", "--no-deps", needed, *wheels)

    def words(self, **env: str) -> list[str]:
        """Return what `repack doctor` and `repack fix` are told of it."""
        variables = {**self.layout.env, **env}
        return [
            str(self.python),
            *(word for name in variables for word in ("--env", f"{name}={variables[name]}")),
        ]


@contextlib.contextmanager
def installation(
    folder: Path, version: str, layout: Layout | None = None
) -> Iterator[Installation]:
    """Give a Python that has no packages."""
    with Pythons(Supply(Cache.default())) as pythons:
        interpreter = pythons.provide(version)
        with wine_disk(interpreter, folder) as disk:
            made = layout or layout_of("plain", version)
            lay_python(made, disk, interpreter)
            python = [*interpreter.launcher, rf"{made.python}\python.exe"]
            env = {**interpreter.env, "WINEPREFIX": str(disk.prefix)}
            with warm_wine(python, env):
                yield Installation(disk=disk, interpreter=interpreter, layout=made)
