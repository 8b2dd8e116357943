"""Which Windows Python is taken for a version, and what is said where there is none."""

from __future__ import annotations

import contextlib
import logging
import platform
import threading
from typing import TYPE_CHECKING, final

from repack.errors import FetchError, InputError, ToolError, UsageError
from repack.pythons.assembling import assemble_tree, recipe_for, tree_of
from repack.pythons.probing import probe
from repack.pythons.recipes import RECIPES
from repack.pythons.trees import is_whole
from repack.pythons.values import ON_WINDOWS, Interpreter, Unavailable
from repack.pythons.windows import find_installed, windows_environment
from repack.pythons.wine import Wine, find_wine, wine_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from repack.console import Progress
    from repack.fetch import Cache
    from repack.pythons.recipes import Recipe

_log = logging.getLogger(__name__)


@final
class Pythons:
    """The Windows Pythons of this machine, for the length of a `with` block.

    Those given by path come first, then what is installed (Windows) or can be put together
    (Linux). Safe for several threads. At the end of the block nothing is left
    running.
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
        self._cache = cache
        self._progress = progress
        self._given = tuple(given)
        self._offline = offline
        self._open = contextlib.ExitStack()
        self._turn = threading.RLock()
        self._wine: Wine | None = None
        self._found: tuple[Interpreter, ...] | None = None

    def __enter__(self) -> Pythons:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def provide(self, version: str) -> Interpreter | Unavailable:
        """Return a Python "3.12" that runs here, or why there is none.

        Raises InputError where a Python given by path is none.
        """
        try:
            for python in self._fitting():
                if python.version == version and python.machine == "x86-64":
                    return python
            if ON_WINDOWS:
                return _not_installed(version)
            return self._assembled(recipe_for(version))
        except (ToolError, FetchError, UsageError) as error:
            _log.info("%s", error)
            place = f"{error.file}: " if error.file else ""
            return Unavailable(version=version, reason=f"{place}{error.what}", hint=error.hint)

    def at_hand(self) -> tuple[Interpreter | Unavailable, ...]:
        """Return each Python of this machine, and each that one command would put there."""
        found: tuple[Interpreter, ...] = ()
        with contextlib.suppress(ToolError):
            found = self._fitting()
        if ON_WINDOWS:
            return found
        return (*found, *map(self._looked_up, RECIPES))

    def _fitting(self) -> tuple[Interpreter, ...]:
        """Return those given by path, then those installed."""
        with self._turn:
            if self._found is None:
                given = tuple(map(self._asked, self._given))
                self._found = (*given, *find_installed())
            return self._found

    def _asked(self, path: Path) -> Interpreter:
        """Return what a Python given by path says it is."""
        python = _executable(path)
        if ON_WINDOWS:
            return probe(python, origin="given", env=windows_environment())
        wine = self._started()
        return probe(python, origin="given", launcher=wine.launcher, env=wine.env)

    def _assembled(self, recipe: Recipe) -> Interpreter:
        # Without Wine there is no point in downloading.
        _check_machine()
        wine = find_wine(self._cache)
        tree = assemble_tree(
            recipe, cache=self._cache, offline=self._offline, progress=self._progress
        )
        return self._with_wine(recipe, tree, wine)

    def _looked_up(self, recipe: Recipe) -> Interpreter | Unavailable:
        """Return the Python if it has been put together before; nothing is started."""
        tree = tree_of(recipe, self._cache)
        try:
            _check_machine()
            wine = find_wine(self._cache)
        except ToolError as error:
            return Unavailable(version=recipe.version, reason=error.what, hint=error.hint)
        if is_whole(tree):
            return self._with_wine(recipe, tree, wine)
        return Unavailable(
            version=recipe.version,
            reason="not put together yet",
            hint=f"repack pythons --assemble {recipe.version}",
        )

    def _with_wine(self, recipe: Recipe, tree: Path, wine: Wine) -> Interpreter:
        return Interpreter(
            version=recipe.version,
            full_version=recipe.full_version,
            python=tree / "python.exe",
            launcher=wine.launcher,
            env=wine.env,
            origin="assembled",
            start=self._started,
        )

    def _started(self) -> Wine:
        """Return Wine, ready to run programs until the block ends."""
        with self._turn:
            if self._wine is None:
                session = wine_session(self._cache, self._progress)
                self._wine = self._open.enter_context(session)
            return self._wine


def _executable(path: Path) -> Path:
    """Return the python.exe that `path` means: itself, or one in that folder."""
    if path.is_file():
        return path
    for place in (path / "python.exe", path / "Scripts" / "python.exe"):
        if place.is_file():
            return place
    raise InputError(
        "there is no python.exe", code="no-python", file=path, hint="look at smoke.interpreters"
    )


def _check_machine() -> None:
    """Raise ToolError where Wine could not run an x86-64 Windows program."""
    system = platform.system(), platform.machine()
    if system != ("Linux", "x86_64"):
        raise ToolError(
            f"Windows programs are run on Windows and on x86-64 Linux, not on {' '.join(system)}",
            code="no-wine",
            hint="run `repack smoke` with the wheels on Windows",
        )


def _not_installed(version: str) -> Unavailable:
    return Unavailable(
        version=version,
        reason=f"no 64-bit Python {version} is installed",
        hint=f"py install {version}, or uv python install {version}",
    )
