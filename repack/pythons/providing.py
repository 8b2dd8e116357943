"""Which Windows Python is taken for a version, and what is said where there is none."""

import contextlib
import functools
import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from repack.console import Progress
from repack.errors import FetchError, InputError, ToolError
from repack.fetch import Cache
from repack.pythons.assembling import RECIPES, assemble, folder_of
from repack.pythons.interpreter import ON_WINDOWS, Interpreter, Unavailable, ask_python
from repack.pythons.trees import is_whole
from repack.pythons.windows import find_installed, windows_environment
from repack.pythons.wine import Wine, find_wine, run_wine

_log = logging.getLogger(__name__)


class Pythons(contextlib.ExitStack):
    """The Windows Pythons of this machine, for the length of a `with` block.

    Those given by path come first, then what is installed (Windows) or can be put together
    (Linux). Wine is started when the environment of a Python is first asked for, and at the end
    of the block nothing of it is left running.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        progress: Progress,
        given: Sequence[Path] = (),
        offline: bool = False,
    ) -> None:
        """Keep the settings; nothing is looked for before it is asked for."""
        super().__init__()
        self._cache = cache
        self._progress = progress
        self._given = tuple(given)
        self._offline = offline

    def provide(self, version: str, *, make: bool = True) -> Interpreter | Unavailable:
        """Return a Python "3.12" that runs here, or why there is none.

        With `make` False nothing is fetched or started for it. Raises InputError where a Python
        given by path is none.
        """
        try:
            return self._choose(version) or self._assemble(version, make=make)
        except (ToolError, FetchError) as error:
            _log.info("%s", error)
            place = f"{error.file}: " if error.file else ""
            return Unavailable(version=version, reason=f"{place}{error.what}", hint=error.hint)

    def at_hand(self) -> list[Interpreter | Unavailable]:
        """Return each Python of this machine, and each that one command would put there."""
        pythons: list[Interpreter | Unavailable] = []
        with contextlib.suppress(ToolError):
            pythons += self._list_present
        if not ON_WINDOWS:
            versions = {python.version for python in pythons}
            others = [recipe.short_version for recipe in RECIPES]
            pythons += [
                self.provide(other, make=False) for other in others if other not in versions
            ]
        return pythons

    def _choose(self, version: str) -> Interpreter | None:
        """Return the Python that is there; raises ToolError where none can be put together."""
        for python in self._list_present:
            if python.version == version and python.machine == "x86-64":
                return python
        if ON_WINDOWS:
            hint = f"py install {version}, or uv python install {version}"
            raise ToolError(f"no 64-bit Python {version} is installed", hint=hint)
        return None

    @functools.cached_property
    def _list_present(self) -> list[Interpreter]:
        """Those given by path, then those installed."""
        return [*map(self._ask_given, self._given), *find_installed()]

    @functools.cached_property
    def _wine(self) -> Wine:
        """The Wine of this machine; raises ToolError where there is none."""
        system = f"{platform.system()} {platform.machine()}"
        if system != "Linux x86_64":
            raise ToolError(
                f"Windows programs are run on Windows and on x86-64 Linux, not on {system}",
                code="no-wine",
                hint="run `repack smoke` with the wheels on Windows",
            )
        return find_wine(self._cache)

    @functools.cached_property
    def _running(self) -> Mapping[str, str]:
        """The environment of Windows programs, once Wine runs."""
        return self.enter_context(run_wine(self._wine, self._cache, self._progress))

    def _ask_given(self, path: Path) -> Interpreter:
        """Return what a Python given by path, or by its folder, says it is."""
        places = (path, path / "python.exe", path / "Scripts" / "python.exe")
        python = next((place for place in places if place.is_file()), None)
        if python is None:
            hint = "look at smoke.interpreters"
            raise InputError("there is no python.exe", code="no-python", file=path, hint=hint)
        if ON_WINDOWS:
            return ask_python(python, origin="given", environment=windows_environment)
        return ask_python(
            python,
            origin="given",
            environment=lambda: self._running,
            launcher=(self._wine.program,),
            system=self._wine.base.name,
        )

    def _assemble(self, version: str, *, make: bool) -> Interpreter:
        """Return the Python that is put together for Wine, now or before."""
        recipes = {recipe.short_version: recipe for recipe in RECIPES}
        recipe = recipes.get(version)
        if recipe is None:
            hint = f"there are {', '.join(recipes)}"
            raise ToolError(f"Python {version} cannot be put together for Wine", hint=hint)
        folder = folder_of(recipe, self._cache)
        wine = self._wine  # without it there is no point in downloading
        if make:
            assemble(recipe, cache=self._cache, offline=self._offline, progress=self._progress)
        elif not is_whole(folder):
            raise ToolError("not put together yet", hint=f"repack pythons --assemble {version}")
        return Interpreter(
            version=version,
            full_version=recipe.version,
            python=folder / "python.exe",
            launcher=(wine.program,),
            system=wine.base.name,
            origin="assembled",
            environment=lambda: self._running,
        )
