"""Which Windows Python is taken for a version, and what is said where there is none."""

import contextlib
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from repack.console import Progress
from repack.errors import InputError, RepackError, ToolError
from repack.fetch import Cache
from repack.pythons.assembly import RECIPES, assemble, folder_of
from repack.pythons.interpreter import Interpreter, ask_python
from repack.pythons.trees import is_whole
from repack.pythons.windows import ON_WINDOWS, find_installed, windows_environment
from repack.pythons.wine import Wine, find_wine, run_wine

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Pythons(contextlib.ExitStack):
    """The Windows Pythons of this machine, for the length of a `with` block.

    Those given by path come first, then what is installed (Windows) or can be put together
    (Linux). Wine is started when the environment of a Python is first asked for, and at the end
    of the block nothing of it is left running.
    """

    cache: Cache
    progress: Progress
    given: Sequence[Path] = ()
    offline: bool = False

    def __post_init__(self) -> None:
        """Be an exit stack."""
        super().__init__()

    def provide(self, version: str) -> Interpreter:
        """Return a Python "3.12" that runs here, put together if need be.

        Raises RepackError where there is none, with the one thing to do about it.
        """
        for python in self._present:
            if python.version == version and python.machine == "x86-64":
                return python
        if ON_WINDOWS:
            hint = f"py install {version}, or uv python install {version}"
            raise ToolError(f"no 64-bit Python {version} is installed", hint=hint)
        if version not in RECIPES:
            hint = f"there are {', '.join(RECIPES)}"
            raise ToolError(f"Python {version} cannot be put together for Wine", hint=hint)
        python = self._assembled(version)  # without Wine there is no point in downloading
        assemble(RECIPES[version], cache=self.cache, offline=self.offline, progress=self.progress)
        return python

    def at_hand(self) -> list[Interpreter | str]:
        """Return the Pythons of this machine, and the versions that can be put together.

        Of several for one version `provide` takes the first. Raises ToolError without Wine.
        """
        assembled = [self._assembled(version) for version in ([] if ON_WINDOWS else RECIPES)]
        return [
            *self._present,
            *(python if is_whole(python.python.parent) else python.version for python in assembled),
        ]

    @functools.cached_property
    def _present(self) -> list[Interpreter]:
        """Those given by path, then those installed, newest first."""
        given = [self._ask(_find_executable(path), "given") for path in self.given]
        installed = []
        for path, origin in find_installed().items():
            try:
                installed.append(self._ask(path, origin))
            except RepackError as error:
                _log.info("%s", error)
        installed.sort(key=lambda python: Version(python.full_version), reverse=True)
        return given + installed

    def _ask(self, python: Path, origin: str) -> Interpreter:
        """Return what a Python says it is; raises InputError where it is none for Windows."""
        answer = ask_python([*self._launcher, str(python)], self._start())
        return self._interpreter(python, origin, *answer)

    def _assembled(self, version: str) -> Interpreter:
        """Return the Python that is, or will be, put together; raises ToolError without Wine."""
        recipe = RECIPES[version]
        python = folder_of(recipe, self.cache) / "python.exe"
        return self._interpreter(python, "assembled", version, recipe["version"], "x86-64")

    def _interpreter(
        self, python: Path, origin: str, version: str, full_version: str, machine: str
    ) -> Interpreter:
        return Interpreter(
            version=version,
            full_version=full_version,
            python=python,
            launcher=self._launcher,
            system="" if ON_WINDOWS else self._wine.base.name,
            origin=origin,
            machine=machine,
            environment=self._start,
        )

    @property
    def _launcher(self) -> tuple[str, ...]:
        return () if ON_WINDOWS else (self._wine.program,)

    def _start(self) -> Mapping[str, str]:
        """Return the environment of Windows programs, once Wine runs."""
        return windows_environment() if ON_WINDOWS else self._wine_environment

    @functools.cached_property
    def _wine_environment(self) -> Mapping[str, str]:
        return self.enter_context(run_wine(self._wine, self.cache, self.progress))

    @functools.cached_property
    def _wine(self) -> Wine:
        """The Wine of this machine; raises ToolError where there is none."""
        return find_wine(self.cache)


def _find_executable(path: Path) -> Path:
    """Return the python.exe that is given by its path, or by its folder."""
    for place in (path, path / "python.exe", path / "Scripts" / "python.exe"):
        if place.is_file():
            return place
    hint = "look at smoke.interpreters"
    raise InputError("there is no python.exe", code="no-python", file=path, hint=hint)
