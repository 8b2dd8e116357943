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
from repack.patching import patch_wheel
from repack.wheel.metadata import entry_of

INFO = "opencv_contrib_python-4.12.0.88+cu129.dist-info"
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
    """A site-packages in which pip has installed the wheel, on Windows."""
    return install(wheel, tmp_path / "Lib" / "site-packages")


def install(wheel: Path, site: Path) -> Path:
    """Do what pip does: INSTALLER, and a RECORD that ends its lines as Windows does."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (info,) = (site / archive.namelist()[-1]).parents[:1]
    (info / "INSTALLER").write_text("pip\n")
    compiled = "cv2/__pycache__/__init__.cpython-312.pyc"
    (site / compiled).parent.mkdir(exist_ok=True)
    (site / compiled).write_bytes(b"compiled")
    rows = [*read_rows(info / "RECORD").values(), (f"{info.name}/INSTALLER", "", "")]
    (info / "RECORD").write_bytes(written_rows([*rows, (compiled, "", "")], "\r\n"))
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
    before = [*read_rows(site / INFO / "RECORD")]
    fix(site)
    record = (site / INFO / "RECORD").read_bytes()
    assert record.count(b"\r\n") == record.count(b"\n")
    rows = read_rows(site / INFO / "RECORD")
    assert [*rows][: len(before)] == before
    there = {name for name, content in everything(site).items() if content is not None}
    assert rows.keys() == there
    for name, digest, size in rows.values():
        if digest:
            entry = entry_of(site / name)
            assert (entry.hash, str(entry.size)) == (digest, size), name


def test_undo_brings_back_every_byte(site: Path) -> None:
    (site / "cv2/_cuda_report.py").write_text("# mine\n")
    before = everything(site)
    fix(site)
    compiled = site / "cv2/__pycache__/cuda_dlls.cpython-312.pyc"
    compiled.write_bytes(b"made by an import of the fixed cv2")
    assert everything(site) != before
    undo(site)
    assert everything(site) == before
    assert undo(site) == []


def test_what_others_have_left_does_not_matter(site: Path) -> None:
    shutil.copytree(site / INFO, site / f"~{INFO[1:]}")  # what pip could not remove
    (site / "other-1.dist-info").mkdir()
    (site / "other-1.dist-info/RECORD").write_bytes(b"\xff\xfe\0")
    with (site / INFO / "RECORD").open("ab") as record:
        record.write(b"m\xfcll.txt,,\r\n")
    before = everything(site)
    fix(site)
    assert b"\r\nm\xfcll.txt,,\r\n" in (site / INFO / "RECORD").read_bytes()
    undo(site)
    assert everything(site) == before


def test_a_fix_of_an_older_repack_is_renewed(site: Path) -> None:
    before = everything(site)
    fix(site)
    fixed = everything(site)
    name, older = "cv2/cuda_dlls.py", b"# an older one\n"
    (site / name).write_bytes(older)
    rows, entry = read_rows(site / INFO / "RECORD"), entry_of(older)
    rows[name] = [name, entry.hash, str(entry.size)]
    (site / INFO / "RECORD").write_bytes(written_rows([*rows.values()], "\r\n"))
    assert fix(site) == [f"{INFO}/RECORD", name]
    assert everything(site) == fixed
    undo(site)
    assert everything(site) == before


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
        shutil.copytree(work, other)
        fix(work)
        undo(other)
        assert everything(work) == fixed, f"fix after change {number}"
        assert everything(other) == untouched, f"undo after change {number}"
    assert number > 20


# Refused


def drop_record(site: Path) -> None:
    (site / INFO / "RECORD").unlink()


def install_another(site: Path) -> None:
    install(make_wheel(site.parent / "opencv_python-4.9-cp37-abi3-win_amd64.whl", FILES), site)


def change_loader(site: Path) -> None:
    (site / "cv2/__init__.py").write_text("version = 1\n")


def bring_dlls(site: Path) -> None:
    names = ["cv2/nppc64_12.dll", "cv2/nppif64_12.dll"]
    for name in names:
        (site / name).write_bytes(SOUND[Path(name).name])
    with (site / INFO / "RECORD").open("ab") as record:
        record.write(b"".join(f"{name},,\r\n".encode() for name in names))


def own_by_conda(site: Path) -> None:
    (site.parents[1] / "conda-meta").mkdir()
    (site.parents[1] / "conda-meta" / "py-opencv-4.9.json").write_text("{}")


def build_by_repack(site: Path) -> None:
    shutil.rmtree(site)
    analysis = analyse(site.parents[1] / WHEEL)
    facts = build_facts(analysis, analysis.wheel.filename)
    files = {**FILES, **patch_wheel([*FILES], FILES.__getitem__, facts)[0]}
    install(make_wheel(site.parents[1] / WHEEL, files), site)


REFUSALS = {
    "no RECORD": (drop_record, "no RECORD", "pip install"),
    "several distributions": (
        install_another,
        "opencv-contrib-python 4.12.0.88+cu129, opencv-python 4.9",
        "python -m pip uninstall -y opencv-contrib-python opencv-python, then install",
    ),
    "a loader that is not known": (change_loader, "imports the native module", "patch"),
    "a build that brings its DLLs": (bring_dlls, "brings its CUDA DLLs", "repack doctor"),
    "a package of conda's": (own_by_conda, "conda owns it", "pip"),
    "installed by conda": (
        lambda site: (site / INFO / "INSTALLER").write_text("conda"),
        "conda owns it",
        "pip",
    ),
    "the system's Python": (
        lambda site: (site.parent / "EXTERNALLY-MANAGED").write_text(""),
        "the system owns",
        "virtual environment",
    ),
    "a wheel of repack's": (build_by_repack, "nothing to fix", ""),
}


@pytest.mark.parametrize(("spoil", "reason", "hint"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_fixed_is_refused_and_left_as_it_is(
    spoil: Callable[[Path], object], reason: str, hint: str, site: Path
) -> None:
    spoil(site)
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
