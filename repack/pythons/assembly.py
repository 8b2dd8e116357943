"""Windows Pythons for Wine, each put together once, in the cache."""

import re
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from repack.config import IndexSource
from repack.dlls.pe import read_image
from repack.dlls.writing import make_dll
from repack.errors import FetchError, ToolError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import sha256_of
from repack.process import run

# Raise it when a tree is put together in another way.
_FORMAT = "2"
_MAVEN_HINT = "apt-get install -y --no-install-recommends maven"
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
_MAVEN_TIMEOUT = 3600.0

# What is taken of a file, and the folder that it goes to. Of the jar: python.exe and the standard
# library's texts; of the wheel: the DLL that is Python, extension modules and what they load.
_JAR_PARTS = {
    r"org/bytedeco/cpython/windows-x86_64/bin/(python\.exe)": "",
    r"org/bytedeco/cpython/windows-x86_64/lib/(.+(?<!\.pyd)(?<!\.dll)(?<!\.exe)(?<!/))": "Lib",
}
_WHEEL_PARTS = {
    r"deploy_libs/((?:python|vcruntime)[^/]+\.dll)": "",
    r"deploy_libs/([^/]+\.dll)": "DLLs",
    # "_ssl.cp314t-win_amd64.pyd" is the free-threaded Python's.
    r"deploy_libs/([^/.]+\.pyd)": "DLLs",
}
# Of the jar: packages, which a newcomer's Python has not, and half of the standard library, which
# no import or installation needs. Of the wheel: what is Wine's own to have, and what Wine 8 aborts
# in (propsys.dll.VariantToString; `platform` does without it).
_LEFT_OUT = re.compile(
    r"(^|/)(tests?|idle_test|idlelib|turtledemo|lib2to3|tkinter|ensurepip|\.\."
    r"|pip|setuptools|pkg_resources|site-packages|[^/]+\.dist-info)/"
    r"|/api-ms-[^/]+$|/_wmi\.pyd$"
)

_DATA = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
#: How each Python that can be had is made: "3.12" -> its table in recipes.toml.
RECIPES: dict[str, dict[str, str]] = {
    recipe["version"].rpartition(".")[0]: recipe for recipe in _DATA["python"]
}


def folder_of(version: str, cache: Cache) -> Path:
    """Return the folder where the Python lies once it is put together."""
    recipe = RECIPES[version]
    parts = (recipe["version"], recipe["panda3d-sha256"][:8], recipe["jar-sha256"][:8], _FORMAT)
    return cache.root / "pythons" / "-".join(parts)


def assemble(version: str, supply: Supply) -> None:
    """Put a Windows Python "3.12" together, if it is not there yet.

    Raises FetchError where a part cannot be had or is another file, ToolError without Maven.
    """
    recipe = RECIPES[version]

    def fill(folder: Path) -> None:
        source = IndexSource(
            requirement=_DATA["panda3d"], python=version, sha256=recipe["panda3d-sha256"]
        )
        wheel = supply.fetch(source, pinned=False).path
        with (
            tempfile.TemporaryDirectory() as temporary,
            supply.progress.task(f"Putting Python {recipe['version']} together", unit="steps"),
        ):
            # Maven's repository is no place for two at once.
            with supply.cache.lock("maven"):
                jar = _fetch_jar(recipe, Path(temporary), offline=supply.offline)
            _extract(jar, _JAR_PARTS, folder)
            _extract(wheel, _WHEEL_PARTS, folder)
        # What abi3 modules import: every export forwarded.
        dll = f"python{version.replace('.', '')}"
        forwards = {name: f"{dll}.{name}" for name in read_image(folder / f"{dll}.dll").exports}
        (folder / "python3.dll").write_bytes(make_dll("python3.dll", forwards=forwards))
        (folder / "Lib" / "site-packages").mkdir()

    supply.cache.make_once(folder_of(version, supply.cache), fill)


def _fetch_jar(recipe: Mapping[str, str], folder: Path, *, offline: bool) -> Path:
    """Return the jar in `folder`, where Maven has put it.

    Maven keeps it in the user's own repository; the user's mirrors, proxies and passwords hold.
    """
    program = shutil.which("mvn")
    if program is None:
        raise ToolError("mvn is not installed", code="tool-missing", hint=_MAVEN_HINT)
    options = ("--batch-mode", "--no-transfer-progress", *(["--offline"] if offline else []))
    words = (f"-Dartifact={recipe['jar']}", f"-DoutputDirectory={folder}")
    # Maven reads a pom.xml of the working directory, and fails on one it does not like.
    done = run([program, *options, _MAVEN_COPY, *words], timeout=_MAVEN_TIMEOUT, cwd=folder)
    jar = folder / "{1}-{2}-{4}.{3}".format(*recipe["jar"].split(":"))
    hint = "look at the connection, and at mirrors and proxies in Maven's settings.xml"
    if done.returncode or not jar.is_file():
        errors = re.findall(r"^\[ERROR\] (.+)", done.output, re.MULTILINE)
        reason = (errors or [f"exit code {done.returncode}"])[0]
        hint = "run once without --offline" if offline else hint
        raise FetchError(f"mvn: {reason}", code="maven", file=recipe["jar"], hint=hint)
    sha256 = sha256_of(jar)
    if sha256 != recipe["jar-sha256"]:
        what = f"has SHA-256 {sha256}, expected {recipe['jar-sha256']}"
        raise FetchError(what, code="sha256", file=recipe["jar"], hint=f"{hint}; empty ~/.m2")
    return jar


def _extract(path: Path, parts: dict[str, str], folder: Path) -> None:
    """Write the members that match one of `parts` into its folder below `folder`.

    Both files are known by their SHA-256, so what matters of their names and sizes was seen; the
    strict reader is for files that may be anything, and refuses how some of the jars are written.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            matches = ((re.fullmatch(part, name, re.IGNORECASE), parts[part]) for part in parts)
            place = next((f"{place}/{match[1]}" for match, place in matches if match), None)
            if place and not _LEFT_OUT.search(name):
                target = folder / place.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
