"""Windows Pythons: found on Windows, given, or put together for Wine."""

import contextlib
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version

from repack.errors import RepackError, ToolError
from repack.fetch import Supply
from repack.pythons.assembly import RECIPES, assemble, folder_of
from repack.pythons.interpreter import (
    ON_WINDOWS,
    Interpreter,
    ask_python,
    find_executable,
    find_installed,
)
from repack.pythons.wine import Wine

_log = logging.getLogger(__name__)


class Pythons(contextlib.ExitStack):
    """The Windows Pythons of this machine, for the length of a `with` block.

    Those given by path come first, then what is installed (Windows) or can be put together
    (Linux). Wine is started when the environment of a Python is first asked for, and at the end
    of the block nothing of it is left running.
    """

    def __init__(self, supply: Supply, given: Sequence[Path] = ()) -> None:
        """Keep the settings; nothing is looked for before it is asked for."""
        super().__init__()
        self._supply = supply
        self._given = given

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
        assemble(version, self._supply)
        return python

    def at_hand(self) -> list[Interpreter | str]:
        """Return the Pythons of this machine, and the versions that can be put together.

        Of several for one version `provide` takes the first. Raises ToolError without Wine.
        """
        assembled = [self._assembled(version) for version in ([] if ON_WINDOWS else RECIPES)]
        return [
            *self._present,
            *(python if python.python.is_file() else python.version for python in assembled),
        ]

    @functools.cached_property
    def _present(self) -> list[Interpreter]:
        """Those given by path, then those installed, newest first."""
        paths = [find_executable(path, "under smoke.interpreters ") for path in self._given]
        given = [
            ask_python(Interpreter(python=path, origin="given", wine=self._wine)) for path in paths
        ]
        installed = []
        for path in find_installed():
            try:
                installed.append(ask_python(Interpreter(python=path, origin="registry")))
            except RepackError as error:
                _log.info("%s", error)
        installed.sort(key=lambda python: Version(python.full_version), reverse=True)
        return given + installed

    @functools.cached_property
    def _wine(self) -> Wine | None:
        """What runs Windows programs here; raises ToolError where that is not installed."""
        supply = self._supply
        return None if ON_WINDOWS else self.enter_context(Wine(supply.cache, supply.progress))

    def _assembled(self, version: str) -> Interpreter:
        """Return the Python that is, or will be, put together."""
        return Interpreter(
            version=version,
            full_version=RECIPES[version]["version"],
            python=folder_of(version, self._supply.cache) / "python.exe",
            origin="assembled",
            wine=self._wine,
        )
