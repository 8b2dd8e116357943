"""`repack fix` does to an installed cv2 what a build does to a wheel, and takes it back."""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import everything
from loading import CONFIGS, LOADERS
from machines import IMPORTS, SOUND
from wheelmaking import make_pyd, make_wheel, written_rows

from repack.doctor.fixing import (
    apply_fix,
    find_package,
    list_changes,
    plan_fix,
    read_facts,
    read_rows,
    undo_fix,
)
from repack.errors import RepackError
from repack.inspect import analyse, build_facts
from repack.patching import BUILD_MODULE, patch_wheel
from repack.wheel.metadata import entry_of

INFO = "opencv_contrib_python-4.12.0.88+cu129.dist-info"
RECORD = f"{INFO}/RECORD"
WHEEL = f"{INFO.removesuffix('.dist-info')}-cp37-abi3-win_amd64.whl"
FILES = {
    "cv2/__init__.py": LOADERS["opencv-python-headless-4.10.0.84"],
    **CONFIGS["opencv-python-4.12.0.88"],
    "cv2/cv2.pyd": make_pyd(IMPORTS),
    "cv2/data/__init__.py": b"",
}
FILES["cv2/config.py"] = FILES["cv2/config.py"].replace(
    b"BINARIES_PATHS = [", b"BINARIES_PATHS = [\n    os.path.join(os.getenv('CUDA_PATH'), 'bin'),"
)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / WHEEL, FILES)


@pytest.fixture
def site(wheel: Path, tmp_path: Path) -> Path:
    """A site-packages in which pip has installed the wheel, as on Windows."""
    site = tmp_path / "Lib" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    compiled = "cv2/__pycache__/__init__.cpython-312.pyc"
    (site / compiled).parent.mkdir()
    (site / compiled).write_bytes(b"compiled")
    rows = [*read_rows(site / RECORD).values(), (compiled, "", "")]
    (site / RECORD).write_bytes(written_rows(rows, "\r\n"))
    return site


def fix(site: Path) -> list[str]:
    """Return what is changed by a fix."""
    package = find_package(site)
    files = plan_fix(package, read_facts(package))
    changed = list_changes(package, files)
    apply_fix(package, files)
    return changed


def undo(site: Path) -> list[str]:
    return undo_fix(find_package(site))


def test_a_fix_is_what_a_build_does_to_the_wheel(site: Path, wheel: Path) -> None:
    analysis = analyse(wheel)
    facts = build_facts(analysis, analysis.wheel.filename)
    facts["original"] = {"filename": WHEEL.replace("cp37-abi3", "py3-none")}
    built = patch_wheel([*FILES], FILES.__getitem__, facts)[0]
    fix(site)
    assert {name: (site / name).read_bytes() for name in built} == built
    assert b"CUDA_PATH" not in (site / "cv2/config.py").read_bytes()


def test_record_lists_every_file_with_its_hash(site: Path) -> None:
    before = [*read_rows(site / RECORD)]
    fix(site)
    content = (site / RECORD).read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n")
    rows = read_rows(site / RECORD)
    assert [*rows][: len(before)] == before
    assert rows.keys() == {name for name, file in everything(site).items() if file is not None}
    for name, digest, size in rows.values():
        entry = entry_of(site / name)
        assert digest in {"", entry.hash}, name
        assert size in {"", str(entry.size)}, name


def test_undo_brings_back_every_byte_whatever_others_have_left(site: Path) -> None:
    (site / "cv2/_cuda_report.py").write_text("# mine\n")
    shutil.copytree(site / INFO, site / f"~{INFO[1:]}")  # what pip could not remove
    (site / "other-1.dist-info").mkdir()
    (site / "other-1.dist-info/RECORD").write_bytes(b"\xff\xfe\0")
    lines = (site / RECORD).read_bytes().splitlines(keepends=True)
    lines = [line for line in lines if b"cv2.pyd" not in line]  # damaged, it hides no binary
    (site / RECORD).write_bytes(b"".join([*lines, b"m\xfcll.txt,,\r\n"]))
    before = everything(site)
    fix(site)
    assert b"\r\nm\xfcll.txt,,\r\n" in (site / RECORD).read_bytes()
    fixed = everything(site)
    (site / "cv2/cuda_dlls.py").write_bytes(b"# that of an older repack\n")
    assert fix(site) == ["cv2/cuda_dlls.py"]
    assert everything(site) == fixed
    (site / "cv2/__pycache__/cuda_dlls.cpython-312.pyc").write_bytes(b"made by an import")
    undo(site)
    assert everything(site) == before
    assert undo(site) == []


def test_the_cache_of_uv_is_left_as_it_is_and_uv_uninstalls_all(
    wheel: Path, tmp_path: Path
) -> None:
    site, cache = tmp_path / "uv-site", tmp_path / "uv-cache"
    uv = [Path(sysconfig.get_path("scripts")) / "uv", "pip"]
    where = ["--target", site, "--cache-dir", cache, "--python", sys.executable, "--no-config"]
    windows = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.12"]
    links = ["--no-deps", "--no-index", "--link-mode", "hardlink"]
    run = functools.partial(subprocess.run, check=True, capture_output=True, timeout=60)
    run([*uv, "install", *where, *windows, *links, wheel])
    assert (site / "cv2/__init__.py").stat().st_nlink > 1
    before = everything(cache)
    fix(site)
    undo(site)
    fix(site)
    assert everything(cache) == before
    run([*uv, "uninstall", *where, "opencv-contrib-python"])
    assert [path for path in site.iterdir() if "cv" in path.name] == []


# Killed


def run_killed(act: Callable[[], object], number: int) -> bool:
    """Return whether a process came to the end of `act`, killed at that change of the disk."""
    changes = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.unlink")
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in changes or is_write:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), 9)

    sys.addaudithook(count)
    try:
        act()
    except BaseException:  # noqa: BLE001 - a child of the test run has to end here
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("killed", ["fix", "undo"])
def test_whenever_it_is_killed_fix_and_undo_are_right(killed: str, site: Path) -> None:
    untouched = everything(site)
    work, other = site.with_name("work"), site.with_name("other")
    shutil.copytree(site, work)
    fix(work)
    fixed = everything(work)
    act = {"fix": fix, "undo": undo}[killed]
    number, ended = 0, False
    while not ended:
        number += 1
        for folder in (work, other):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(site, work)
        if killed == "undo":
            fix(work)
        ended = run_killed(lambda: act(work), number)
        if b"cuda_dlls" in (work / "cv2/__init__.py").read_bytes():
            assert (work / BUILD_MODULE).is_file(), f"what the loader needs, change {number}"
        shutil.copytree(work, other)
        fix(work)
        undo(other)
        assert everything(work) == fixed, f"fix after change {number}"
        assert everything(other) == untouched, f"undo after change {number}"
    assert number > 20


# Refused


def list_files(*names: str) -> bytes:
    """Return a RECORD of the wheel's files and others."""
    return "".join(f"{name},,\r\n" for name in (*FILES, *names)).encode()


DLLS = {f"cv2/{name}": content for name, content in SOUND.items()}
#: What is written into site-packages -> words of the refusal, and of what to do.
REFUSALS: dict[str, tuple[dict[str, bytes], str, str]] = {
    "no RECORD": ({RECORD: b""}, "no RECORD", "pip install"),
    "a leftover": ({RECORD: b"", "cv.dist-info/RECORD": b"cv2/x,,"}, "is a leftover", "remove"),
    "half a RECORD": ({RECORD: b"cv2/config.py,,"}, "lists no cv2/__init__", "force-reinstall"),
    "several distributions": (
        {"opencv_python-4.9.dist-info/RECORD": b"cv2/__init__.py,,"},
        "opencv-contrib-python 4.12.0.88+cu129, opencv-python 4.9",
        "python -m pip uninstall -y opencv-contrib-python opencv-python, then install",
    ),
    "a loader that is not known": ({"cv2/__init__.py": b"v = 1"}, "imports the native", "patch"),
    "a build that brings its DLLs": ({**DLLS, RECORD: list_files(*DLLS)}, "brings its", "doctor"),
    "a file that is gone": ({RECORD: list_files("cv2/config-3.py")}, "is gone", "again"),
    "a package of conda's": ({"../../conda-meta/py-opencv-4.9.json": b""}, "conda owns", "pip"),
    "installed by conda": ({f"{INFO}/INSTALLER": b"conda\n"}, "conda owns", "pip"),
    "the system's Python": ({"../EXTERNALLY-MANAGED": b""}, "the system owns", "environment"),
    "a wheel of repack's": ({RECORD: list_files(BUILD_MODULE)}, "nothing to fix", ""),
}


@pytest.mark.parametrize(("files", "reason", "hint"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_fixed_is_refused_and_left_as_it_is(
    files: dict[str, bytes], reason: str, hint: str, site: Path
) -> None:
    for name, content in {BUILD_MODULE: b"BUILD = {}\n", **files}.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(content)
    before = everything(site)
    with pytest.raises(RepackError) as refused:
        fix(site)
    assert reason in str(refused.value)
    assert hint in str(refused.value)
    assert everything(site) == before


def test_where_nothing_may_be_written_nothing_is(site: Path) -> None:
    package = find_package(site)
    files = plan_fix(package, read_facts(package))
    before = everything(site)
    shutil.move(site / "cv2", site / "elsewhere")
    (site / "cv2").symlink_to("/proc/self")  # nobody writes there
    with pytest.raises(RepackError, match="cannot be written"):
        apply_fix(package, files)
    (site / "cv2").unlink()
    shutil.move(site / "elsewhere", site / "cv2")
    assert everything(site) == before
