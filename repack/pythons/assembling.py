"""Windows Pythons put together for Wine, once, in the cache."""

import hashlib
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path, PurePosixPath

import msgspec

from repack.config import IndexSource
from repack.console import Progress
from repack.dlls import make_dll, read_exports
from repack.errors import FetchError, ToolError
from repack.fetch import Cache, fetch
from repack.files import sha256_of
from repack.process import run
from repack.pythons.trees import make_once

# Raise it when a tree is put together in another way.
_FORMAT = 2
_MAVEN = "mvn"
_MAVEN_HINT = "apt-get install -y --no-install-recommends maven"
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_MAVEN_TIMEOUT = 3600.0

_JAR_TOP = "org/bytedeco/cpython/windows-x86_64/"
# Not part of what a Windows Python needs to import and install, and half of all files.
_LEFT_OUT = frozenset(
    ("test", "tests", "idle_test", "idlelib", "turtledemo", "lib2to3", "tkinter", "ensurepip")
)
# A newcomer's Python has no packages; the jar's lie where they would be imported from.
_PACKAGES = ("pip", "setuptools", "pkg_resources", "site-packages")
# Wine 8 aborts in it (propsys.dll.VariantToString); `platform` does without.
_BREAKS_WINE = "_wmi.pyd"


class Recipe(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """The two files that make one Windows Python; `version` is "3.12.10"."""

    version: str
    panda3d_sha256: str
    jar: str
    jar_sha256: str

    @property
    def short_version(self) -> str:
        """Return "3.12"."""
        return self.version.rpartition(".")[0]


class _Recipes(msgspec.Struct):
    panda3d: str
    python: tuple[Recipe, ...]


_KNOWN = msgspec.convert(
    tomllib.loads(files(__package__).joinpath("recipes.toml").read_text(encoding="utf-8")), _Recipes
)
#: How each Python that can be had is made.
RECIPES = _KNOWN.python


def folder_of(recipe: Recipe, cache: Cache) -> Path:
    """Return the folder where the Python lies once it is put together."""
    parts = (str(_FORMAT), recipe.panda3d_sha256, recipe.jar_sha256)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache.root / "pythons" / f"{recipe.version}-{digest}"


def assemble(recipe: Recipe, *, cache: Cache, offline: bool, progress: Progress) -> Path:
    """Return the folder of a whole Windows Python, put together if it is not there or damaged.

    Raises FetchError where a part cannot be had or is another file, ToolError without Maven.
    """

    def fill(folder: Path) -> None:
        source = IndexSource(
            requirement=_KNOWN.panda3d, python=recipe.short_version, sha256=recipe.panda3d_sha256
        )
        wheel = fetch(source, lock=None, cache=cache, offline=offline, progress=progress).path
        with (
            tempfile.TemporaryDirectory() as temporary,
            progress.task(f"Putting Python {recipe.version} together", unit="steps"),
        ):
            # Maven's repository is no place for two at once.
            with cache.lock("maven", progress):
                jar = _fetch_jar(recipe, Path(temporary), offline=offline)
            _extract(jar, folder, _place_of_jar)
            _extract(wheel, folder, _place_of_wheel)
            _write_stable_abi(folder, f"python{recipe.short_version.replace('.', '')}")
            (folder / "Lib" / "site-packages").mkdir()

    return make_once(folder_of(recipe, cache), fill, cache, progress)


def _fetch_jar(recipe: Recipe, folder: Path, *, offline: bool) -> Path:
    """Return the jar in `folder`, where Maven has put it.

    Maven keeps it in the user's own repository; the user's mirrors, proxies and passwords hold.
    """
    program = shutil.which(_MAVEN)
    if program is None:
        raise ToolError("mvn is not installed", code="tool-missing", hint=_MAVEN_HINT)
    options = ("--batch-mode", "--no-transfer-progress", *(["--offline"] if offline else []))
    words = (f"-Dartifact={recipe.jar}", f"-DoutputDirectory={folder}")
    # Maven reads a pom.xml of the working directory, and fails on one it does not like.
    done = run([program, *options, _MAVEN_COPY, *words], timeout=_MAVEN_TIMEOUT, cwd=folder)
    jar = folder / "{1}-{2}-{4}.{3}".format(*recipe.jar.split(":"))
    if done.returncode or not jar.is_file():
        errors = [line for line in done.output.splitlines() if line.startswith("[ERROR] ")]
        reason = errors[0].removeprefix("[ERROR] ") if errors else f"exit code {done.returncode}"
        connection = "look at the connection and at Maven's settings.xml (mirror, proxy)"
        raise FetchError(
            f"mvn: {reason}",
            code="maven",
            file=recipe.jar,
            hint="run once without --offline" if offline else connection,
        )
    sha256 = sha256_of(jar)
    if sha256 != recipe.jar_sha256:
        raise FetchError(
            f"has SHA-256 {sha256}, expected {recipe.jar_sha256}",
            code="sha256",
            file=recipe.jar,
            hint="a Maven repository has another file under this name: look at mirrors and ~/.m2",
        )
    return jar


def _extract(path: Path, folder: Path, place_of: Callable[[str], str]) -> None:
    """Write the members that have a place into `folder`.

    Both files are known by their SHA-256, so what matters of their names and sizes was seen; the
    strict reader is for files that may be anything, and refuses how some of the jars are written.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            place = place_of(name)
            if place and ".." not in PurePosixPath(place).parts:
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))


def _place_of_jar(name: str) -> str:
    """Return where a member of the jar goes: python.exe and the standard library's texts."""
    if name == f"{_JAR_TOP}bin/python.exe":
        return "python.exe"
    path = PurePosixPath(name.removeprefix(f"{_JAR_TOP}lib/"))
    if not name.startswith(f"{_JAR_TOP}lib/") or name.endswith("/"):
        return ""
    if path.suffix in {".pyd", ".dll", ".exe"} or not _LEFT_OUT.isdisjoint(path.parts):
        return ""
    if path.parts[0] in _PACKAGES or path.parts[0].endswith(".dist-info"):
        return ""
    return f"Lib/{path}"


def _place_of_wheel(name: str) -> str:
    """Return where a member of the wheel goes: the DLL that is Python and extension modules."""
    folder, _, file = name.rpartition("/")
    if folder != "deploy_libs" or file.startswith("api-ms-") or file == _BREAKS_WINE:
        return ""
    # "_ssl.cp314t-win_amd64.pyd" is the free-threaded Python's.
    if file.endswith(".pyd"):
        return "" if "." in file.removesuffix(".pyd") else f"DLLs/{file}"
    if file.lower().startswith(("python", "vcruntime")):
        return file
    return f"DLLs/{file}" if file.endswith(".dll") else ""


def _write_stable_abi(folder: Path, dll: str) -> None:
    """Write python3.dll, what abi3 modules import: every export forwarded to `dll`."""
    forwards = {name: f"{dll}.{name}" for name in read_exports(folder / f"{dll}.dll")}
    (folder / "python3.dll").write_bytes(make_dll("python3.dll", forwards=forwards))
