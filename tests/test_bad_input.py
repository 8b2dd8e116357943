"""Each kind of bad input: one line with file, member, reason and what to do; exit 1; nothing left.

Every case goes through `repack build` as a user would type it. The working folder, in which the
output folder would come to stand, is compared with what it held before.
"""

import ctypes
import errno
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import hostile
import pytest
from driving import ERROR, Ran, Repack, ended, everything, start
from faultserver import FaultServer, stalls_after
from platforms import POSIX
from wheelmaking import Files, cuda_wheel, make_pyd, make_wheel

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
LOADER, BINARY = "cv2/__init__.py", "cv2/cv2.pyd"
SOUND: Files = {LOADER: b"from .cv2 import *\n", BINARY: make_pyd()}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def source(inputs: Path) -> Path:
    return cuda_wheel(inputs)


def refused(repack: Repack, *options: object) -> str:
    """Return the one line with which a build refuses; it leaves all as it was."""
    before = everything(repack.folder)
    ran = repack("build", "--no-smoke", "-q", *options)
    assert ran.code == 1, ran
    assert ran.out == ""
    assert ran.err == f"{ERROR}{ran.error}\n"
    assert everything(repack.folder) == before
    assert not list(repack.cache.rglob("*.tmp"))
    return ran.error


def told(line: str, *, file: str, code: str, member: str = "", reason: str = "") -> str:
    """Return the hint of an error line that has all its parts."""
    place = rf"[^']*{re.escape(file)}: " + (rf"'{re.escape(member)}': " if member else "")
    parts = re.fullmatch(rf"{place}(?P<reason>.+?) \[{code}\]; (?P<hint>.+)", line)
    assert parts, line
    assert reason in parts["reason"]
    assert line.count(file) == 1
    return parts["hint"]


# Files


Make = Callable[[Path], object]


def wheel_of(files: Files) -> Make:
    return lambda path: make_wheel(path, files)


def altered(own: Files) -> Make:
    return wheel_of({**SOUND, **own})


def bytes_of(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def cut(path: Path) -> None:
    make_wheel(path, SOUND)
    path.write_bytes(path.read_bytes()[:-100])


def nothing(_: Path) -> None:
    pass


HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\n"
ELF = b"\x7fELF" + bytes(200)
CONFIG, BESIDE = "cv2/config.py", "cv2/opencv_core.dll"
FOREIGN = wheel_of({LOADER: b"", "cv2/cv2.abi3.so": ELF})
NO_CV2 = wheel_of({"numpy/__init__.py": b""})
BAD_LOADER = b"from .cv2 import *\ndef f(:\n"
PURE = "opencv_contrib_python-4.13.0.90-py3-none-any.whl"
LINUX = "opencv_contrib_python-4.13.0.90-cp37-abi3-manylinux_2_28_x86_64.whl"
MAC = "opencv_contrib_python-4.13.0.90-cp37-abi3-macosx_13_0_arm64.whl"
SDIST, EGG = "opencv_contrib_python-4.13.0.90.tar.gz", "opencv_python-4.1-py3.7-win-amd64.egg"

#: How the file is made, the code, what is said of it, and of which member.
BAD: dict[str, tuple[Make, str, str, str]] = {
    "cut": (cut, "not-a-zip", "no whole ZIP archive", ""),
    "empty": (bytes_of(b""), "not-a-zip", "0 bytes", ""),
    "HTML": (bytes_of(HTML), "not-a-zip", "begins with '<!DOCTYPE html>", ""),
    "a Git LFS pointer": (bytes_of(LFS), "not-a-zip", "begins with 'version https://git-", ""),
    "a pyd that is text": (altered({BINARY: b"text\n"}), "not-pe", "begins with 'text", BINARY),
    "a pyd that is ELF": (altered({BINARY: ELF}), "not-pe", "not a Windows program", BINARY),
    "a pyd that is cut": (altered({BINARY: make_pyd()[:200]}), "not-pe", "", BINARY),
    "a DLL that is none": (altered({BESIDE: b"<html>"}), "not-pe", "'<html>'", BESIDE),
    "an unknown loader": (
        *(altered({LOADER: b"import os\n"}), "no-place", "expected `from .cv2 import", LOADER),
    ),
    "a loader with a syntax error": (
        *(altered({LOADER: BAD_LOADER}), "syntax", "line 2 is not Python", LOADER),
    ),
    "a loader that is no text": (altered({LOADER: b"\xff\0"}), "syntax", "not Python", LOADER),
    "no loader": (wheel_of({BINARY: make_pyd()}), "no-member", "no such member", LOADER),
    "a configuration with a syntax error": (
        *(altered({CONFIG: b"BINARIES_PATHS = [\n"}), "syntax", "line 1 is not Python", CONFIG),
    ),
    "a directory called a wheel": (Path.mkdir, "no-file", "no such file", ""),
    "missing": (nothing, "no-file", "no such file", ""),
}
#: The same by a file's name, where that is what is wrong with it.
BAD_FILES: dict[str, tuple[Make, str, str]] = {
    LINUX: (FOREIGN, "not-windows", "it is for manylinux_2_28_x86_64, not for Windows"),
    MAC: (FOREIGN, "not-windows", "it is for macosx_13_0_arm64, not for Windows"),
    PURE: (wheel_of({LOADER: b"x = 1\n"}), "not-windows", "not for Windows"),
    "numpy-2.1.0-cp312-cp312-win_amd64.whl": (NO_CV2, "no-cv2", "no cv2*.pyd in it"),
    SDIST: (bytes_of(b"\x1f\x8b" + bytes(99)), "filename", "wheel"),
    EGG: (bytes_of(b"PK"), "filename", "wheel"),
    "download.whl": (bytes_of(b"PK"), "filename", "not the file name of a wheel"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_cannot_be_used_gets_one_line_and_leaves_nothing(
    name: str, repack: Repack, inputs: Path
) -> None:
    make, code, reason, member = BAD[name]
    make(inputs / NAME)
    line = refused(repack, "--source", inputs / NAME)
    assert told(line, file=NAME, code=code, member=member, reason=reason)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_of_another_kind_gets_one_line_and_leaves_nothing(
    name: str, repack: Repack, inputs: Path
) -> None:
    make, code, reason = BAD_FILES[name]
    make(inputs / name)
    line = refused(repack, "--source", inputs / name)
    assert told(line, file=name, code=code, reason=reason)


@pytest.fixture
def elf(inputs: Path) -> Path:
    """A wheel whose module is one of Linux."""
    return make_wheel(inputs / NAME, {**SOUND, BINARY: ELF})


def test_the_console_script_says_the_same_and_traces_nothing(repack: Repack, elf: Path) -> None:
    line = refused(repack, "--source", elf)
    ran = repack.script("build", "--no-smoke", "-q", "--source", elf)
    assert ran == Ran(code=1, out="", err=f"{ERROR}{line}\n")
    assert everything(repack.folder) == {}


#: One of each code: the others are refused by the same readers, in their own tests.
HOSTILE = {case.code: case for case in reversed(hostile.HOSTILE)}


@pytest.mark.parametrize("code", HOSTILE)
def test_a_hostile_wheel_is_refused(code: str, repack: Repack, inputs: Path) -> None:
    path = HOSTILE[code].write(inputs)
    line = refused(repack, "--source", path)
    assert f" [{code}]; " in line
    assert line.startswith(f"{path}: ")
    assert line.isprintable()


#: One of each part that is read, and written anew.
ODD = {"data-descriptor-zip64", "zip64-end-record", "record-of-sha512", "compressed-tag-set"}
WELCOME = [case for case in hostile.WELCOME if case.id in ODD]


@pytest.mark.parametrize("case", WELCOME, ids=lambda case: case.id)
def test_an_odd_but_sound_wheel_is_built(
    case: hostile.Case, repack: Repack, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "FILES", {**hostile.FILES, BINARY: make_pyd()})
    path = case.write(inputs)
    ran = repack("build", "--no-smoke", "-q", "--json", "--python", "3.10", "--source", path)
    assert ran.code == 0, ran.err
    (built,) = ran.json["wheels"]
    again = repack("inspect", "--json", "-q", built["path"])
    assert again.code == 0
    assert again.json["errors"] == []


# Where it comes from


def test_a_file_that_is_not_what_the_lock_says(repack: Repack, source: Path) -> None:
    (repack.folder / "repack.toml").write_text(f"[source]\nfile = {str(source)!r}\n")
    assert repack("fetch").code == 0
    cuda_wheel(source.parent, ballast=10)
    line = refused(repack)
    hint = told(line, file=NAME, code="sha256", reason="repack.lock says")
    assert "--update-lock" in hint


# Settings


def test_a_patch_folder_that_is_not_there(repack: Repack, source: Path) -> None:
    line = refused(repack, "--source", source, "--set", "build.patches=['team']")
    assert "team" in line
    assert "[no-patches]; " in line


@pytest.mark.parametrize("text", ["nonsense", "-5", "1_000", "4354819199"])
def test_a_source_date_epoch_that_no_archive_can_hold(
    text: str, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    line = refused(repack, "--source", source)
    assert repr(text) in line
    assert "[source-date-epoch]; " in line


@pytest.mark.parametrize("text", ["0", "4354819198"], ids=["1970", "2107"])
def test_a_source_date_epoch_from_1970_to_2107_is_obeyed(
    text: str, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert repack("build", "--no-smoke", "--source", source).code == 0


# Where it goes

WHEEL = "opencv_contrib_python-4.13.0.90+cu12.patched-cp312-cp312-win_amd64.whl"
#: The file that is in the way, the output folder, and what is named.
IN_THE_WAY = {
    "it is a file": ("dist", "dist", "dist"),
    "under a file": ("dist", "dist/wheels", "dist/wheels"),
    "an endless name": ("unrelated", f"new/{'x' * 300}", "x" * 300),
    "a folder for a wheel": (f"dist/{WHEEL}/kept", "dist", WHEEL),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_an_output_folder_that_cannot_be(name: str, repack: Repack, source: Path) -> None:
    in_the_way, out, named = IN_THE_WAY[name]
    path = repack.folder / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    line = refused(repack, "--source", source, "--python", "3.12", "-w", out)
    assert told(line, file=named, code="not-written", reason="cannot be written: ")


@pytest.mark.parametrize(("call", "turn"), [("fsync", 1), ("fsync", 2), ("replace", 1)])
def test_a_disk_that_fails_when_it_is_written_to(
    call: str, turn: int, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os if call != "replace" else Path
    genuine, turns = getattr(owner, call), itertools.count(1)

    def fail(*words: object) -> object:
        if next(turns) >= turn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*words)

    with monkeypatch.context() as patched:
        patched.setattr(owner, call, fail)
        line = refused(repack, "--source", source, "-w", "new/dist")
    assert "cannot be written: " in line
    assert "[no-space]; free some space" in line


@POSIX
def test_an_output_folder_that_may_not_be_written_to(repack: Repack, source: Path) -> None:
    out = repack.folder / "dist"
    out.mkdir(mode=0o555)
    ran = repack.script(
        *("build", "--no-smoke", "-q", "--source", source), preexec_fn=obey_permissions
    )
    assert ran.code == 1
    assert told(ran.error, file="dist", code="no-permission", reason="cannot be written: ")
    assert everything(repack.folder) == {"dist": None}


def obey_permissions() -> None:
    """Let the program that is started next be held to permissions, though it be root's."""
    drop_from_bounding_set, dac_override = 24, 1
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


def test_a_cache_that_cannot_be(
    repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repack.folder / "file").write_text("a file")
    monkeypatch.setenv("REPACK_CACHE", str(repack.folder / "file" / "cache"))
    assert repack("build", "--no-smoke", "-q", "--source", source).code == 0
    assert "REPACK_CACHE" in refused(repack, "--source", f"http://127.0.0.1:9/{NAME}")


# Interrupted


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
class TestASignal:
    def test_while_a_wheel_is_downloaded(
        self, number: signal.Signals, repack: Repack, source: Path, server: FaultServer
    ) -> None:
        over = threading.Event()
        server.add(f"/{NAME}", source.read_bytes(), stalls_after(100, over))
        url = server.url(f"/{NAME}")
        process = start(["build", "--no-smoke", "-q", "--source", url], cwd=repack.folder)
        self.wait_for(lambda: bool(server.seen))
        interrupted(process, number)
        over.set()
        assert sorted(everything(repack.folder)) == []

    def test_while_wheels_are_written(
        self, number: signal.Signals, repack: Repack, inputs: Path
    ) -> None:
        source = cuda_wheel(inputs, ballast=20_000_000)
        options = ["build", "--no-smoke", "-q", "--source", source, "-w", "new/dist"]
        process = start(options, cwd=repack.folder)
        self.wait_for((repack.folder / "new").exists)
        interrupted(process, number)
        assert sorted(everything(repack.folder)) == []

    def wait_for(self, there: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not there():
            assert time.monotonic() < until
            time.sleep(0.001)


def interrupted(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send the signal and see the process end as it has to."""
    process.send_signal(number)
    ran = ended(process)
    assert ran == Ran(code=130, out="", err="repack: interrupted\n")
