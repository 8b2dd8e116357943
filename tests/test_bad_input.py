"""Each kind of bad input: one line with file, member, reason and what to do; exit 1; nothing left.

Every case goes through `repack build` as a user would type it. The working folder, in which the
output folder would come to stand, is compared with what it held before.
"""

import re
import signal
import time
from pathlib import Path

import hostile
import pytest
from driving import ERROR, Ran, Repack, ended, everything, start
from platforms import POSIX
from wheelmaking import Files, cuda_wheel, make_pyd, make_wheel

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
LOADER, BINARY = "cv2/__init__.py", "cv2/cv2.pyd"
SOUND: Files = {LOADER: b"from .cv2 import *\n", BINARY: make_pyd()}


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

ELF = b"\x7fELF" + bytes(200)
HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
CONFIG = "cv2/config.py"
LINUX = NAME.replace("win_amd64", "manylinux_2_28_x86_64")

#: A file's name, what is in it (None: it is a folder), the code, and what is said of which member.
BAD: dict[str, tuple[str, Files | bytes | None, str, str, str]] = {
    "HTML": (NAME, HTML, "not-a-zip", "a complete ZIP archive: 50 bytes, begins with '<!DOC", ""),
    "a pyd that is ELF": (
        *(NAME, {**SOUND, BINARY: ELF}, "not-pe", "not a Windows program or DLL: ", BINARY),
    ),
    "an unknown loader": (
        *(NAME, {**SOUND, LOADER: b"import os\n"}, "no-place", "expected `from .cv2 ", LOADER),
    ),
    "no loader": (NAME, {BINARY: make_pyd()}, "no-member", "no such member", LOADER),
    "a configuration with a syntax error": (
        *(NAME, {**SOUND, CONFIG: b"X = [\n"}, "syntax", "line 1 is not Python", CONFIG),
    ),
    "a directory called a wheel": (NAME, None, "no-file", "no such file", ""),
    "for Linux": (
        *(LINUX, {LOADER: b"", "cv2/cv2.abi3.so": ELF}, "no-cv2"),
        *("as OpenCV for Windows has; it is for manylinux_2_28_x86_64", ""),
    ),
    "another name": ("download.whl", b"PK", "filename", "not the file name of a wheel", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_cannot_be_used_gets_one_line_and_leaves_nothing(
    name: str, repack: Repack, tmp_path: Path
) -> None:
    file, content, code, reason, member = BAD[name]
    path = tmp_path / file
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        make_wheel(path, content)
    line = refused(repack, "--source", path)
    assert told(line, file=file, code=code, member=member, reason=reason)


#: One of each code: the others are refused by the same readers, in their own tests.
HOSTILE = {case.code: case for case in reversed(hostile.HOSTILE)}


@pytest.mark.parametrize("code", HOSTILE)
def test_a_hostile_wheel_is_refused(code: str, repack: Repack, tmp_path: Path) -> None:
    path = HOSTILE[code].write(tmp_path)
    line = refused(repack, "--source", path)
    assert f" [{code}]; " in line
    assert line.startswith(f"{path}: ")
    assert line.isprintable()


# Settings


def test_a_file_that_is_not_what_the_lock_says(repack: Repack, source: Path) -> None:
    (repack.folder / "repack.toml").write_text(f"[source]\nfile = {str(source)!r}\n")
    assert repack("fetch").code == 0
    cuda_wheel(source.parent, ballast=10)
    line = refused(repack)
    hint = told(line, file=NAME, code="sha256", reason="repack.lock says")
    assert "--update-lock" in hint


EPOCHS = {"nonsense": 1, "-5": 1, "1_000": 1, "4354819199": 1, "0": 0, "4354819198": 0}


@pytest.mark.parametrize("text", EPOCHS)
def test_a_source_date_epoch_that_no_archive_can_hold_is_refused(
    text: str, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    ran = repack("build", "--no-smoke", "-q", "--source", source)
    assert ran.code == EPOCHS[text]
    assert (f"{text!r}" in ran.err and "[source-date-epoch]; " in ran.err) == bool(ran.code)


# Where it goes

WHEEL = "opencv_contrib_python-4.13.0.90+cu12.patched-cp312-cp312-win_amd64.whl"
#: The file that is in the way, the output folder, and what is named.
IN_THE_WAY = {
    "under a file": ("dist", "dist/wheels", "dist/wheels"),
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


def test_a_cache_that_cannot_be(
    repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repack.folder / "file").write_text("a file")
    monkeypatch.setenv("REPACK_CACHE", str(repack.folder / "file" / "cache"))
    assert repack("build", "--no-smoke", "-q", "--source", source).code == 0
    line = refused(repack, "--source", f"http://127.0.0.1:9/{NAME}")
    assert "REPACK_CACHE" in line


# Interrupted


@POSIX
def test_sigterm_while_wheels_are_written_leaves_nothing(repack: Repack, tmp_path: Path) -> None:
    source = cuda_wheel(tmp_path, ballast=20_000_000)
    words = ["build", "--no-smoke", "-q", "--source", source, "-w", "new/dist"]
    process = start(words, cwd=repack.folder)
    last = time.monotonic() + 60
    while not (repack.folder / "new").exists():
        assert time.monotonic() < last
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == Ran(code=130, out="", err="repack: interrupted\n")
    assert everything(repack.folder) == {}
