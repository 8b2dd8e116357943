"""Which Windows Pythons are found, put together, or missed, and what is said then."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from dllmaking import make_dll
from wheelmaking import make_wheel

from repack.config import IndexSource
from repack.console import SILENT
from repack.dlls import read_image
from repack.errors import FetchError, InputError, ToolError
from repack.fetch import Cache, pin_key
from repack.fetch.cache import Answer
from repack.lock import Pin
from repack.process import run
from repack.pythons import (
    ASSEMBLED,
    Interpreter,
    Pythons,
    Unavailable,
    is_whole,
    maven,
    place_tree,
    windows_path,
    wine,
)
from repack.pythons.assembling import assemble_tree
from repack.pythons.maven import Artifact, fetch_artifact
from repack.pythons.probing import parse_answer
from repack.pythons.recipes import PANDA3D, Recipe
from repack.pythons.windows import (
    executables,
    parse_launcher,
    parse_uv,
    uv_managed,
    windows_environment,
)
from repack.pythons.wine import processes_in

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="about Wine, or with a shell script for mvn"
)

# Told apart by what runs, not by what a list says of it: a list is only where to look.

LAUNCHER_3_11 = r"""
 -V:3.12 *        C:\Users\jo\AppData\Local\Programs\Python\Python312\python.exe
 -V:3.13t         C:\Program Files\Python313\python3.13t.exe
 -V:3.11-32       C:\Program Files (x86)\Python311-32\python.exe
 -V:3.11-arm64    C:\Users\jo\AppData\Local\Programs\Python\Python311-arm64\python.exe
 -V:Astral/CPython3.10.16  C:\Users\jo\AppData\Roaming\uv\python\cpython-3.10.16\python.exe
"""
LAUNCHER_3_8 = r"""Installed Pythons found by py Launcher for Windows
  *             D:\venv\Scripts\python.exe
 -3.9-64        C:\Python39\python.exe *
 -3.8-32        \\server\share\Python 38\python.exe
"""
INSTALL_MANAGER = r"""Tag           Name            Managed By  Version  Executable
 -V:3.14[-64] *  C:\Users\jo\AppData\Local\Python\pythoncore-3.14-64\python.exe
 -V:3.14t[-64]   C:\Users\jo\AppData\Local\Python\pythoncore-3.14t-64\python3.14t.exe
"""


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        pytest.param(
            LAUNCHER_3_11,
            (
                r"C:\Users\jo\AppData\Local\Programs\Python\Python312\python.exe",
                r"C:\Program Files\Python313\python3.13t.exe",
                r"C:\Program Files (x86)\Python311-32\python.exe",
                r"C:\Users\jo\AppData\Local\Programs\Python\Python311-arm64\python.exe",
                r"C:\Users\jo\AppData\Roaming\uv\python\cpython-3.10.16\python.exe",
            ),
            id="the launcher of 3.11 and later",
        ),
        pytest.param(
            LAUNCHER_3_8,
            (
                r"D:\venv\Scripts\python.exe",
                r"C:\Python39\python.exe",
                r"\\server\share\Python 38\python.exe",
            ),
            id="older launchers",
        ),
        pytest.param(
            INSTALL_MANAGER,
            (
                r"C:\Users\jo\AppData\Local\Python\pythoncore-3.14-64\python.exe",
                r"C:\Users\jo\AppData\Local\Python\pythoncore-3.14t-64\python3.14t.exe",
            ),
            id="the install manager",
        ),
        pytest.param("No installed Pythons found!", (), id="none"),
        pytest.param("", (), id="no launcher"),
    ],
)
def test_the_launcher_lists_executables(output: str, paths: tuple[str, ...]) -> None:
    assert parse_launcher(output) == paths


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        pytest.param(
            r"""[{"key":"cpython-3.12.8-windows-x86_64-none","version":"3.12.8",
            "path":"C:\\uv\\cpython-3.12.8\\python.exe","os":"windows","arch":"x86_64"},
            {"key":"cpython-3.13.1-windows-x86_64-none","path":null,"os":"windows"},
            {"key":"cpython-3.9.1-linux-x86_64-gnu","path":"/usr/bin/python3","os":"linux"}]""",
            (r"C:\uv\cpython-3.12.8\python.exe",),
            id="those installed, for Windows",
        ),
        pytest.param("[]", (), id="none"),
        pytest.param("{}", (), id="another format"),
        pytest.param("error: unexpected argument", (), id="an older uv"),
        pytest.param("", (), id="no uv"),
    ],
)
def test_uv_lists_executables(output: str, paths: tuple[str, ...]) -> None:
    assert parse_uv(output) == paths


def test_uvs_own_folder_is_looked_through(tmp_path: Path) -> None:
    for name in ("cpython-3.12.8-windows-x86_64-none", "pypy-3.10.14-windows-x86_64-none"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python.exe").touch()
    found = tmp_path / "cpython-3.12.8-windows-x86_64-none" / "python.exe"
    assert uv_managed(tmp_path) == (str(found),)
    assert uv_managed(tmp_path / "nowhere") == ()


def test_the_registry_gives_an_executable_or_a_folder() -> None:
    keys = [
        (r"C:\Python312\python.exe", "C:\\Python312\\"),
        (None, "C:\\Python27\\"),
        (None, None),
    ]
    assert executables(keys) == (r"C:\Python312\python.exe", r"C:\Python27\python.exe")


def test_a_windows_program_starts_without_toolkit_and_python_variables() -> None:
    env = windows_environment(
        {
            "SYSTEMROOT": r"C:\Windows",
            "PATH": r"C:\CUDA\bin",
            "CUDA_PATH": r"C:\CUDA",
            "PYTHONPATH": "x",
        }
    )
    assert env == {
        "SYSTEMROOT": r"C:\Windows",
        "PATH": r"C:\Windows\System32;C:\Windows;C:\Windows\System32\Wbem",
    }


def answer(**changes: object) -> str:
    said = {
        "version": [3, 12, 10],
        "implementation": "cpython",
        "platform": "win-amd64",
        "threaded": False,
        **changes,
    }
    return (
        f"repack-python:{said!r}".replace("'", '"')
        .replace("True", "true")
        .replace("False", "false")
    )


@pytest.mark.parametrize(
    ("output", "known"),
    [
        pytest.param(answer(), ("3.12", "x86-64"), id="64 bit"),
        pytest.param(answer(platform="win32"), ("3.12", "x86"), id="32 bit"),
        pytest.param(answer(platform="win-arm64"), ("3.12", "arm64"), id="ARM64"),
        pytest.param(answer(version=[3, 14, 2], threaded=True), ("3.14t", "x86-64"),
                     id="free-threaded"),
        pytest.param(f"warning: x\n{answer()}\n", ("3.12", "x86-64"), id="with other output"),
        pytest.param(answer(implementation="pypy"), "it is pypy, not CPython", id="PyPy"),
        pytest.param(answer(platform="linux-x86_64"), "it is for linux-x86_64, not for Windows",
                     id="not for Windows"),
        pytest.param("", "it printed nothing", id="nothing"),
        pytest.param("Bad EXE\nformat", "format", id="no Python at all"),
        pytest.param("repack-python:{}", "repack-python:{}", id="half an answer"),
    ],
)  # fmt: skip
def test_a_python_says_what_it_is(output: str, known: tuple[str, str] | str) -> None:
    said = parse_answer(output)
    assert (said if isinstance(said, str) else (said.short, said.machine)) == known


def test_a_python_is_another_with_another_wine_or_place() -> None:
    one = Interpreter(
        version="3.12",
        full_version="3.12.10",
        python=Path("/a/python.exe"),
        launcher=("wine64",),
        env={"WINEPREFIX": "/cache/prefix-1"},
        origin="assembled",
    )
    others = [
        replace(one, env={"WINEPREFIX": "/cache/prefix-2"}),
        replace(one, python=Path("/b/python.exe")),
        replace(one, full_version="3.12.9"),
    ]
    assert len({each.identity for each in (one, *others)}) == 4
    assert replace(one, start=time.time).identity == one.identity


@posix_only
def test_a_path_of_linux_has_a_name_in_wine() -> None:
    assert str(windows_path(Path("/tmp/a b/ü.whl"))) == "Z:\\tmp\\a b\\ü.whl"  # noqa: S108 - a name


# Trees: whole or not there.


def test_a_tree_is_whole_once_it_is_placed(tmp_path: Path) -> None:
    place_tree(tmp_path / "tree", iter([("a/b.txt", b"1"), ("c.txt", b"")]))
    assert is_whole(tmp_path / "tree")
    assert (tmp_path / "tree" / "a" / "b.txt").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda tree: (tree / "a.txt").unlink(), id="a file is gone"),
        pytest.param(lambda tree: (tree / "a.txt").write_bytes(b"12"), id="a file is cut"),
        pytest.param(
            lambda tree: (tree / "repack-manifest.json").write_text("{"), id="no manifest"
        ),
    ],
)
def test_a_damaged_tree_is_noticed(damage: Callable[[Path], object], tmp_path: Path) -> None:
    place_tree(tmp_path / "tree", iter([("a.txt", b"123")]))
    damage(tmp_path / "tree")
    assert not is_whole(tmp_path / "tree")


def test_a_tree_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def contents() -> Iterator[tuple[str, bytes]]:
        yield "a.txt", b"1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place_tree(tmp_path / "tree", contents())
    assert list(tmp_path.iterdir()) == []


# Assembling, from a small wheel and a small jar that are in the cache already.

_TOP = "org/bytedeco/cpython/windows-x86_64"
JAR = {
    f"{_TOP}/bin/python.exe": b"MZ python",
    f"{_TOP}/bin/pythonw.exe": b"MZ",
    f"{_TOP}/bin/python312.dll": b"MZ patched, not to be taken",
    f"{_TOP}/lib/os.py": b"os",
    f"{_TOP}/lib/json/__init__.py": b"json",
    f"{_TOP}/lib/_ssl.pyd": b"MZ",
    f"{_TOP}/lib/test/test_os.py": b"",
    f"{_TOP}/lib/unittest/test/test_case.py": b"",
    f"{_TOP}/lib/pip/__main__.py": b"",
    f"{_TOP}/lib/pip-25.3.dist-info/METADATA": b"",
    f"{_TOP}/lib/site-packages/README.txt": b"",
    f"{_TOP}/lib/../../evil.py": b"",
    "META-INF/MANIFEST.MF": b"",
}
WHEEL = {
    "deploy_libs/python312.dll": make_dll("python312.dll", code={"Py_IsTrue": b"\xc3"}),
    "deploy_libs/VCRUNTIME140.dll": b"MZ",
    "deploy_libs/_ssl.pyd": b"MZ ssl",
    "deploy_libs/_ssl.cp312t-win_amd64.pyd": b"MZ",
    "deploy_libs/_wmi.pyd": b"MZ",
    "deploy_libs/libssl-3.dll": b"MZ",
    "deploy_libs/api-ms-win-crt-heap-l1-1-0.dll": b"MZ",
    "panda3d/core.py": b"",
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept_parts(cache: Cache, folder: Path) -> Recipe:
    """Put the two parts of a Python into the cache, and return how it is made of them."""
    folder.mkdir()
    wheel = make_wheel(folder / "panda3d-1.10.16-cp312-cp312-win_amd64.whl", WHEEL)
    jar = folder / "cpython-3.12.1-1.5.10-windows-x86_64.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for name, content in JAR.items():
            archive.writestr(name, content)
    source = IndexSource(requirement=PANDA3D, python="3.12", sha256=sha256(wheel))
    pin = Pin(
        key=pin_key(source),
        url="",
        filename=wheel.name,
        size=wheel.stat().st_size,
        sha256=sha256(wheel),
    )
    artifact = Artifact(
        group="org.bytedeco",
        name="cpython",
        version="3.12.1-1.5.10",
        classifier="windows-x86_64",
        size=jar.stat().st_size,
        sha256=sha256(jar),
    )
    cache.folder("files")
    recipe = Recipe(version="3.12", full_version="3.12.10", panda3d_sha256=pin.sha256, jar=artifact)
    cache.add(wheel, pin.sha256, wheel.name)
    cache.add(jar, artifact.sha256, jar.name)
    cache.remember(Answer(pin=pin, time=time.time()))
    return recipe


@pytest.fixture
def recipe(cache: Cache, tmp_path: Path) -> Recipe:
    return kept_parts(cache, tmp_path / "parts")


def assembled(recipe: Recipe, cache: Cache) -> Path:
    return assemble_tree(recipe, cache=cache, offline=True, progress=SILENT)


def test_a_python_is_put_together_of_the_official_parts(recipe: Recipe, cache: Cache) -> None:
    tree = assembled(recipe, cache)
    found = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert found - {"repack-manifest.json"} == {
        "python.exe",
        "python312.dll",
        "python3.dll",
        "VCRUNTIME140.dll",
        "DLLs/_ssl.pyd",
        "DLLs/libssl-3.dll",
        "Lib/os.py",
        "Lib/json/__init__.py",
        "Lib/site-packages/README.txt",
    }
    assert (tree / "python312.dll").read_bytes() == WHEEL["deploy_libs/python312.dll"]
    assert read_image(tree / "python3.dll").exports


def test_it_is_put_together_once(recipe: Recipe, cache: Cache) -> None:
    with ThreadPoolExecutor(4) as pool:
        trees = set(pool.map(lambda _: assembled(recipe, cache), range(8)))
    (tree,) = trees
    before = (tree / "python.exe").stat().st_mtime_ns
    assert assembled(recipe, cache) == tree
    assert (tree / "python.exe").stat().st_mtime_ns == before


def test_a_damaged_one_is_put_together_anew(recipe: Recipe, cache: Cache) -> None:
    tree = assembled(recipe, cache)
    (tree / "python.exe").write_bytes(b"")
    assert assembled(recipe, cache) == tree
    assert (tree / "python.exe").read_bytes() == b"MZ python"


def test_another_recipe_gives_another_tree(recipe: Recipe, cache: Cache) -> None:
    other = replace(recipe, jar=replace(recipe.jar, sha256="0" * 64))
    tree = assembled(recipe, cache)
    with pytest.raises(FetchError, match="--offline"):
        assembled(other, cache)
    assert is_whole(tree)


# Maven.


def fake_maven(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "mvn"
    program.write_text(f"#!/bin/sh\nset -e\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


ARTIFACT = Artifact(
    group="org.bytedeco",
    name="cpython",
    version="1-2",
    classifier="windows-x86_64",
    size=4,
    sha256=hashlib.sha256(b"jar\n").hexdigest(),
)
STORES = """
for word in "$@"; do case "$word" in
  -Dmaven.repo.local=*) home="${word#*=}";;
  -Dartifact=org.bytedeco:cpython:1-2:jar:windows-x86_64) wanted=1;;
esac; done
test "$wanted"
mkdir -p "$home/org/bytedeco/cpython/1-2"
echo %s > "$home/org/bytedeco/cpython/1-2/cpython-1-2-windows-x86_64.jar"
"""


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fetched(cache: Cache) -> Path:
    return fetch_artifact(ARTIFACT, cache=cache, offline=False, progress=SILENT)


@posix_only
@pytest.mark.usefixtures("no_home")
def test_a_jar_comes_through_maven_once(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path / "bin", STORES % "jar", monkeypatch)
    path = fetched(cache)
    assert path.read_bytes() == b"jar\n"
    fake_maven(tmp_path / "bin", "exit 1", monkeypatch)
    assert fetched(cache) == path
    assert list((cache.root / "maven").rglob("*.jar")) == []


@posix_only
def test_a_jar_that_maven_has_fetched_before_is_not_stored_twice(
    cache: Cache, no_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path / "bin", "exit 1", monkeypatch)
    folder = no_home / ".m2" / "repository" / ARTIFACT.folder
    folder.mkdir(parents=True)
    (folder / ARTIFACT.filename).write_bytes(b"jar\n")
    assert fetched(cache).samefile(folder / ARTIFACT.filename)


@posix_only
@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(STORES % "xxx", "has SHA-256 .*, expected .*look at mirrors",
                     id="other bytes"),
        pytest.param("echo '[ERROR] Could not find artifact x in central'; exit 1",
                     "mvn says: Could not find artifact x in central", id="Maven's own error"),
        pytest.param("exit 3", "mvn says: exit code 3", id="no word"),
    ],
)  # fmt: skip
def test_what_maven_does_wrong_is_told(
    script: str, words: str, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(FetchError, match=words):
        fetched(cache)
    assert list((cache.root / "maven").rglob("*.jar")) == []


@pytest.mark.usefixtures("no_home")
def test_without_maven_the_command_that_installs_it_is_named(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maven, "_PROGRAM", "no-such-mvn")
    with pytest.raises(ToolError, match=r"mvn is not installed.*apt-get install .*maven"):
        fetched(cache)


# Which one is taken.


@posix_only
def test_without_wine_the_command_that_installs_it_is_named(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wine, "_PROGRAMS", ("no-such-wine",))
    with Pythons(cache=cache, progress=SILENT) as pythons:
        found = pythons.provide("3.12")
    assert isinstance(found, Unavailable)
    assert found.reason == "Wine is not installed"
    assert found.hint == "apt-get install -y --no-install-recommends wine64 wine"


@posix_only
def test_a_python_that_nobody_can_put_together_is_told(cache: Cache) -> None:
    with Pythons(cache=cache, progress=SILENT) as pythons:
        found = pythons.provide("3.8")
    assert isinstance(found, Unavailable)
    assert found.reason == "Python 3.8 cannot be put together for Wine"
    assert "3.14" in found.hint


def test_a_folder_without_python_is_named(cache: Cache, tmp_path: Path) -> None:
    with (
        Pythons(cache=cache, progress=SILENT, given=[tmp_path]) as pythons,
        pytest.raises(InputError, match=r"there is no python\.exe.*smoke\.interpreters"),
    ):
        pythons.provide("3.12")


# Genuine ones.


def runs(python: Interpreter, code: str, timeout: float = 60) -> str:
    done = run([*python.command, "-I", "-S", "-c", code], env=python.env, timeout=timeout)
    assert done.returncode == 0, done.output
    return done.output.strip()


def provided(pythons: Pythons, version: str) -> Interpreter:
    python = pythons.provide(version)
    assert isinstance(python, Interpreter), python
    python.start()
    return python


@pytest.fixture(scope="module")
def genuine() -> Iterator[Pythons]:
    with Pythons(cache=Cache.default(), progress=SILENT) as pythons:
        yield pythons


@pytest.fixture(scope="module")
def apart(genuine: Pythons, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache with the Python 3.12 of the usual one, and a Wine that nobody else uses."""
    tree = provided(genuine, "3.12").python.parent
    cache = Cache(tmp_path_factory.mktemp("apart") / "cäche")
    (cache.folder("pythons") / tree.name).symlink_to(tree)
    return cache


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize("version", ASSEMBLED)
def test_each_python_that_is_put_together_runs(version: str, genuine: Pythons) -> None:
    python = provided(genuine, version)
    said = runs(
        python,
        "import sys, bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib, xml.parsers.expat;"
        "print(sys.platform, '%d.%d.%d' % sys.version_info[:3], 'MSC' in sys.version)",
    )
    assert said == f"win32 {python.full_version} True"


@pytest.mark.wine
@pytest.mark.network
def test_what_is_given_by_path_comes_first(apart: Cache) -> None:
    (tree,) = apart.folder("pythons").iterdir()
    with Pythons(cache=apart, progress=SILENT, given=[tree]) as pythons:
        assert provided(pythons, "3.12").origin == "given"


@pytest.mark.wine
def test_a_program_that_is_no_windows_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python.exe").write_bytes(b"#!/bin/sh\n")
    with (
        Pythons(cache=Cache.default(), progress=SILENT, given=[tmp_path]) as pythons,
        pytest.raises(InputError, match=r"did not say which Python it is.*Windows python\.exe"),
    ):
        pythons.provide("3.12")


def ends(prefix: Path, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while processes_in(prefix) and time.monotonic() < until:
        time.sleep(0.1)
    return not processes_in(prefix)


SESSION = """\
import sys, time
from pathlib import Path
from repack.pythons import Pythons
from repack.process import run
from repack.console import SILENT
from repack.fetch import Cache
with Pythons(cache=Cache(Path(sys.argv[1])), progress=SILENT) as pythons:
    python = pythons.provide("3.12")
    python.start()
    print("ready", flush=True)
    done = run([*python.command, "-I", "-S", "-c", "import time; time.sleep(6); print('done')"],
               env=python.env, timeout=60)
    print(done.output, flush=True)
"""


def another_session(cache: Cache) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(cache.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.wine
@pytest.mark.network
def test_a_run_that_ends_leaves_those_of_others_alone_and_the_last_ends_wine(
    apart: Cache,
) -> None:
    with another_session(apart) as other:
        with Pythons(cache=apart, progress=SILENT) as pythons:
            python = provided(pythons, "3.12")
        prefix = Path(python.env["WINEPREFIX"])
        assert processes_in(prefix)
        assert "done" in other.communicate(timeout=60)[0]
    assert ends(prefix, 5)


@pytest.mark.wine
@pytest.mark.network
def test_what_a_killed_run_left_is_ended_by_the_next(
    apart: Cache,
) -> None:
    with another_session(apart) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with Pythons(cache=apart, progress=SILENT) as pythons:
        python = provided(pythons, "3.12")
        assert runs(python, "print(1)") == "1"
    assert ends(Path(python.env["WINEPREFIX"]), 5)
