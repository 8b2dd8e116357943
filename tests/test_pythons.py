"""Which Windows Pythons are found, put together, or missed, and what is said then."""

import hashlib
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from dllmaking import make_dll
from pretending import fetched
from proof.disks import processes_in
from wheelmaking import make_wheel

from repack.console import SILENT
from repack.dlls import read_image
from repack.errors import FetchError, InputError, ToolError
from repack.fetch import Cache
from repack.process import run
from repack.pythons import RECIPES, Interpreter, Pythons, Unavailable, assembling, windows_path
from repack.pythons.assembling import Recipe, assemble
from repack.pythons.interpreter import ask_python
from repack.pythons.trees import is_whole, make_once
from repack.pythons.windows import parse_launcher, parse_uv, windows_environment

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="about Wine, or with shell scripts for programs"
)

# Told apart by what runs, not by what a list says of it: a list is only where to look.

USERS = r"C:\Users\jo\AppData\Local\Programs\Python"


@pytest.mark.parametrize(
    ("line", "paths"),
    [
        pytest.param(rf" -V:3.12 *        {USERS}\Python312\python.exe",
                     [rf"{USERS}\Python312\python.exe"], id="the launcher of 3.11 and later"),
        pytest.param(r" -V:3.13t         C:\Program Files\Python313\python3.13t.exe",
                     [r"C:\Program Files\Python313\python3.13t.exe"], id="free-threaded"),
        pytest.param(r" -V:Astral/CPython3.10.16  C:\uv\cpython-3.10.16\python.exe",
                     [r"C:\uv\cpython-3.10.16\python.exe"], id="of another company"),
        pytest.param(r"  *             D:\venv\Scripts\python.exe",
                     [r"D:\venv\Scripts\python.exe"], id="a virtual environment"),
        pytest.param(r" -3.9-64        C:\Python39\python.exe *", [r"C:\Python39\python.exe"],
                     id="an older launcher"),
        pytest.param(r" -3.8-32        \\server\share\Python 38\python.exe",
                     [r"\\server\share\Python 38\python.exe"], id="on a share"),
        pytest.param(r" -V:3.14t[-64]  C:\Users\jo\AppData\Local\Python\3.14t\python3.14t.exe",
                     [r"C:\Users\jo\AppData\Local\Python\3.14t\python3.14t.exe"],
                     id="the install manager"),
        pytest.param("Tag           Name            Managed By  Version  Executable", [],
                     id="a heading"),
        pytest.param("No installed Pythons found!", [], id="none"),
    ],
)  # fmt: skip
def test_the_launcher_lists_executables(line: str, paths: list[str]) -> None:
    assert parse_launcher(f"Installed Pythons\n{line}\n\n") == paths


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        pytest.param(
            r"""[{"key":"cpython-3.12.8-windows-x86_64-none","version":"3.12.8",
            "path":"C:\\uv\\cpython-3.12.8\\python.exe","os":"windows","arch":"x86_64"},
            {"key":"cpython-3.13.1-windows-x86_64-none","path":null,"os":"windows"}]""",
            [r"C:\uv\cpython-3.12.8\python.exe"],
            id="those installed, for Windows",
        ),
        pytest.param("[]", [], id="none"),
        pytest.param("{}", [], id="another format"),
        pytest.param("error: unexpected argument", [], id="an older uv"),
        pytest.param("", [], id="no uv"),
    ],
)
def test_uv_lists_executables(output: str, paths: list[str]) -> None:
    assert parse_uv(output) == paths


def test_a_windows_program_starts_without_toolkit_and_python_variables() -> None:
    toolkit = {"PATH": r"C:\CUDA\bin", "CUDA_PATH": r"C:\CUDA", "PYTHONPATH": "x"}
    assert windows_environment({"SYSTEMROOT": r"C:\Windows", **toolkit}) == {
        "SYSTEMROOT": r"C:\Windows",
        "PATH": r"C:\Windows\System32;C:\Windows;C:\Windows\System32\Wbem",
    }


def script(path: Path, text: str) -> Path:
    """Return a program that runs a shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def answer(**changes: object) -> str:
    """Return the line in which a Python says what it is."""
    facts = {
        "version": [3, 12, 10],
        "implementation": "cpython",
        "platform": "win-amd64",
        "threaded": False,
        **changes,
    }
    return f"repack-python:{msgspec.json.encode(facts).decode()}"


@posix_only
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
        pytest.param("repack-python:{}", "missing required field", id="half an answer"),
    ],
)  # fmt: skip
def test_a_python_says_what_it_is(
    output: str, known: tuple[str, str] | str, tmp_path: Path
) -> None:
    python = script(tmp_path / "python.exe", f"cat <<'EOF'\n{output}\nEOF")
    if isinstance(known, str):
        with pytest.raises(InputError, match=f"did not say which Python it is: .*{known}"):
            ask_python(python, origin="given", environment=lambda: os.environ)
    else:
        told = ask_python(python, origin="given", environment=lambda: os.environ)
        assert (told.version, told.machine) == known


def test_a_python_is_another_with_another_wine_or_place() -> None:
    python = Interpreter(
        version="3.12",
        full_version="3.12.10",
        python=Path("/a/python.exe"),
        launcher=("wine64",),
        system="prefix-1",
        origin="assembled",
    )
    others = [
        replace(python, system="prefix-2"),
        replace(python, python=Path("/b/python.exe")),
        replace(python, full_version="3.12.9"),
    ]
    assert len({each.identity for each in (python, *others)}) == 4
    assert replace(python, environment=lambda: {"WINEPREFIX": "/x"}).identity == python.identity


@posix_only
def test_a_path_of_linux_has_a_name_in_wine() -> None:
    assert str(windows_path(Path("/tmp/a b/ü.whl"))) == "Z:\\tmp\\a b\\ü.whl"  # noqa: S108 - a name


# Folders: whole or not there.


def fill(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b.txt").write_bytes(b"123")


def test_a_folder_is_filled_once(cache: Cache) -> None:
    folder = cache.root / "trees" / "tree"
    filled = []

    def fill_and_tell(place: Path) -> None:
        filled.append(place)
        fill(place)

    with ThreadPoolExecutor(4) as pool:
        places = {*pool.map(lambda _: make_once(folder, fill_and_tell, cache, SILENT), range(8))}
    assert places == {folder}
    assert len(filled) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["tree"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda tree: (tree / "a/b.txt").unlink(), id="a file is gone"),
        pytest.param(lambda tree: (tree / "a/b.txt").write_bytes(b"12"), id="a file is cut"),
        pytest.param(lambda tree: (tree / "repack-manifest.json").write_text("{"), id="no list"),
    ],
)
def test_a_damaged_folder_is_made_anew(damage: Callable[[Path], object], cache: Cache) -> None:
    folder = make_once(cache.root / "trees" / "tree", fill, cache, SILENT)
    damage(folder)
    make_once(folder, fill, cache, SILENT)
    assert (folder / "a/b.txt").read_bytes() == b"123"


def test_a_folder_that_fails_half_way_leaves_nothing(cache: Cache) -> None:
    def stop(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(cache.root / "trees" / "tree", stop, cache, SILENT)
    assert list((cache.root / "trees").iterdir()) == []


# Assembling, from a small wheel and a small jar that Maven has.

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


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """How a Python is made of a wheel that is fetched, and of a jar that `mvn` gives."""
    wheel = make_wheel(tmp_path / "panda3d-1.10.16-cp312-cp312-win_amd64.whl", WHEEL)
    jar = tmp_path / "the.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for name, content in JAR.items():
            archive.writestr(name, content)
    recipe = Recipe(
        version="3.12.10",
        panda3d_sha256=sha256(wheel),
        jar="org.bytedeco:cpython:3.12.1-1.5.10:jar:windows-x86_64",
        jar_sha256=sha256(jar),
    )
    monkeypatch.setattr(assembling, "fetch", lambda *_, **__: fetched(wheel))
    give_maven(tmp_path, STORES.format(jar=jar), monkeypatch)
    return recipe


#: What `mvn` does: it puts the artifact that is named into the folder that is named.
STORES = """\
for word in "$@"; do case "$word" in
  -DoutputDirectory=*) folder="${{word#*=}}";;
  -Dartifact=org.bytedeco:cpython:3.12.1-1.5.10:jar:windows-x86_64) artifact=right;;
esac; done
test "$artifact" = right && cp {jar} "$folder/cpython-3.12.1-1.5.10-windows-x86_64.jar"
"""


def give_maven(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script(folder / "bin" / "mvn", text)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def assembled(recipe: Recipe, cache: Cache) -> Path:
    return assemble(recipe, cache=cache, offline=True, progress=SILENT)


@posix_only
def test_a_python_is_put_together_of_the_official_parts(recipe: Recipe, cache: Cache) -> None:
    folder = assembled(recipe, cache)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - {"repack-manifest.json"} == {
        "python.exe",
        "python312.dll",
        "python3.dll",
        "VCRUNTIME140.dll",
        "DLLs/_ssl.pyd",
        "DLLs/libssl-3.dll",
        "Lib/os.py",
        "Lib/json/__init__.py",
    }
    assert (folder / "Lib" / "site-packages").is_dir()
    assert (folder / "python312.dll").read_bytes() == WHEEL["deploy_libs/python312.dll"]
    assert read_image(folder / "python3.dll").exports
    assert is_whole(folder)


@posix_only
@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(STORES.format(jar="/dev/null"), "has SHA-256 .*, expected .*look at mirrors",
                     id="other bytes"),
        pytest.param("echo '[ERROR] Could not find artifact x in central'; exit 1",
                     "mvn: Could not find artifact x in central", id="Maven's own error"),
        pytest.param("exit 3", "mvn: exit code 3", id="no word"),
        pytest.param("exit 0", "mvn: exit code 0", id="nothing done"),
    ],
)  # fmt: skip
def test_what_maven_does_wrong_is_told(
    text: str, words: str, recipe: Recipe, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_maven(cache.root.parent, text, monkeypatch)
    with pytest.raises(FetchError, match=words):
        assembled(recipe, cache)
    assert list((cache.root / "pythons").iterdir()) == []


@posix_only
@pytest.mark.parametrize(
    ("version", "reason", "hint"),
    [
        pytest.param("3.12", "Wine is not installed", "apt-get install -y .*wine64 wine",
                     id="no Wine"),
        pytest.param("3.8", "Python 3.8 cannot be put together for Wine", r"3\.14",
                     id="no recipe"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_named_and_the_command_that_brings_it(
    version: str, reason: str, hint: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repack.pythons.wine._PROGRAMS", ("no-such-wine",))
    with Pythons(cache=cache, progress=SILENT) as pythons:
        python = pythons.provide(version)
        assert not [each for each in pythons.at_hand() if isinstance(each, Interpreter)]
    assert isinstance(python, Unavailable)
    assert python.reason == reason
    assert re.search(hint, python.hint)


@posix_only
def test_without_maven_the_command_that_installs_it_is_named(
    recipe: Recipe, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match=r"mvn is not installed.*apt-get install .*maven"):
        assembled(recipe, cache)


def test_a_folder_without_python_is_named(cache: Cache, tmp_path: Path) -> None:
    with (
        Pythons(cache=cache, progress=SILENT, given=[tmp_path]) as pythons,
        pytest.raises(InputError, match=r"there is no python\.exe.*smoke\.interpreters"),
    ):
        pythons.provide("3.12")


# Genuine ones.


def runs(python: Interpreter, code: str) -> str:
    done = run([*python.command, "-I", "-S", "-c", code], env=python.env, timeout=60)
    assert done.returncode == 0, done.output
    return done.output.strip()


def provided(pythons: Pythons, version: str = "3.12") -> Interpreter:
    python = pythons.provide(version)
    assert isinstance(python, Interpreter), python
    return python


@pytest.fixture(scope="module")
def genuine() -> Iterator[Pythons]:
    with Pythons(cache=Cache.default(), progress=SILENT) as pythons:
        yield pythons


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize("version", [recipe.short_version for recipe in RECIPES])
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
def test_what_is_given_by_path_comes_first(genuine: Pythons) -> None:
    folder = provided(genuine).python.parent
    with Pythons(cache=Cache.default(), progress=SILENT, given=[folder]) as pythons:
        python = provided(pythons)
        assert python.origin == "given"
        assert [each for each in pythons.at_hand() if each.version == "3.12"] == [python]


@pytest.mark.wine
def test_a_program_that_is_no_windows_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python.exe").write_bytes(b"#!/bin/sh\n")
    with (
        Pythons(cache=Cache.default(), progress=SILENT, given=[tmp_path]) as pythons,
        pytest.raises(InputError, match=r"did not say which Python it is.*Windows python\.exe"),
    ):
        pythons.provide("3.12")


@pytest.mark.wine
@pytest.mark.network
def test_two_runs_share_no_session_and_nothing_outlives_them(tmp_path: Path) -> None:
    with Pythons(cache=Cache.default(), progress=SILENT) as other:
        python = provided(other)
        mark = tmp_path / "mark"
        with Pythons(cache=Cache.default(), progress=SILENT) as pythons:
            ours = provided(pythons)
            hang = f"import time; open(r'{windows_path(mark)}', 'w'); time.sleep(300)"
            hanging = subprocess.Popen(
                [*ours.command, "-c", hang],
                env=ours.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            until = time.monotonic() + 60
            while not mark.exists() and time.monotonic() < until:
                time.sleep(0.1)
            prefix = Path(ours.env["WINEPREFIX"])
            assert prefix != Path(python.env["WINEPREFIX"])
        assert mark.exists()
        hanging.communicate(timeout=10)
        assert hanging.returncode
        assert (processes_in(prefix), prefix.exists()) == ([], False)
        assert runs(python, "print(1)") == "1"
    assert processes_in(Path(python.env["WINEPREFIX"])) == []


@pytest.mark.wine
@pytest.mark.network
def test_programs_that_start_at_once_in_a_new_prefix_do_not_wait_for_each_other() -> None:
    with Pythons(cache=Cache.default(), progress=SILENT) as pythons, ThreadPoolExecutor(4) as pool:
        python = provided(pythons)
        assert python.env
        began = time.monotonic()
        assert [*pool.map(lambda _: runs(python, "print(1)"), range(4))] == ["1"] * 4
        assert time.monotonic() - began < 30
