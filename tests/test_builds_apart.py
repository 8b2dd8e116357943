"""Several builds at once and one after the other: none takes another's pins, name or place."""

from pathlib import Path

import pytest
from driving import Repack, everything
from wheelmaking import make_pyd, make_wheel

from repack.config import FileSource
from repack.console import SILENT
from repack.errors import FetchError
from repack.fetch import Cache
from repack.fetch.supply import Supply
from repack.files import sha256_of
from repack.lock import Pin, read_lock, write_lock

WHEEL = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
#: The same OpenCV for CUDA 12 and 13: two files of one name, as they are published.
BOTH = f"""\
[smoke]
enabled = false
[[build]]
name = "cu12"
python = ["3.12"]
[build.source]
file = "12/{WHEEL}"
[[build]]
name = "cu13"
python = ["3.12"]
[build.source]
file = "13/{WHEEL}"
"""


def cuda(folder: Path, major: int) -> Path:
    """Write the wheel for a CUDA into its folder."""
    (folder / f"{major}").mkdir(exist_ok=True)
    needs = {f"nppc64_{major}.dll": ["f"], f"cudart64_{major}.dll": ["g"], "KERNEL32.dll": ["h"]}
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": make_pyd(needs)}
    return make_wheel(folder / f"{major}" / WHEEL, files, requires=("numpy>=2",))


@pytest.fixture(autouse=True)
def both(repack: Repack) -> None:
    cuda(repack.folder, 12)
    cuda(repack.folder, 13)
    (repack.folder / "repack.toml").write_text(BOTH, encoding="utf-8")


def pinned(repack: Repack) -> list[str]:
    return [pin.key for pin in read_lock(repack.folder / "repack.lock").pins]


def test_two_files_of_one_name_are_two_pins_by_where_they_lie(repack: Repack) -> None:
    ran = repack("build", "-q")
    assert ran.code == 0, ran.err
    assert pinned(repack) == [f"file:12/{WHEEL}", f"file:13/{WHEEL}"]
    before = everything(repack.folder)
    assert repack("build", "-q").code == 0
    assert everything(repack.folder) == before


def test_each_of_them_has_to_be_ever_after_what_it_was(repack: Repack) -> None:
    assert repack("build", "-q").code == 0
    (repack.folder / "12" / WHEEL).replace(repack.folder / "13" / WHEEL)
    cuda(repack.folder, 12)
    ran = repack("build", "-q")
    assert ran.code == 1
    assert ran.error.startswith("build cu13: ")
    assert "repack.lock says" in ran.error


def test_a_build_that_fails_pins_nothing_though_others_are_pinned_after_it(
    repack: Repack,
) -> None:
    make_wheel(repack.folder / "12" / WHEEL, {"cv2/__init__.py": b""})  # no module to load
    ran = repack("build", "-q")
    assert ran.code == 1
    assert ran.error.startswith("build cu12: ")
    assert pinned(repack) == [f"file:13/{WHEEL}"]


def test_the_folder_of_a_build_that_was_renamed_is_not_taken_for_another_build(
    repack: Repack,
) -> None:
    assert repack("build", "-q").code == 0
    before = everything(repack.folder / "dist")
    # To a version, which has no separators in its last part, this is the same name.
    changed = BOTH.replace("cu12", "cu-12").replace(f"12/{WHEEL}", f"13/{WHEEL}", 1)
    (repack.folder / "repack.toml").write_text(changed, encoding="utf-8")
    ran = repack("build", "-q", "cu-12", "--set", "build.local=patched")
    assert ran.code == 1
    assert f"{repack.folder / 'dist' / 'cu12'} has the same name and other bytes" in ran.error
    assert "[other-bytes]; remove that folder" in ran.error
    assert everything(repack.folder / "dist") == before


# Two processes, one lock


def fetched(folder: Path, content: str, *, update: bool = False) -> Supply:
    """Return a supply that has fetched a wheel of that content, and pinned nothing yet."""
    (folder / content).mkdir()
    wheel = make_wheel(folder / content / WHEEL, {"x.py": content.encode()})
    lock, cache = folder / "repack.lock", Cache(root=folder / "cache")
    supply = Supply(cache, lock, offline=True, update=update, progress=SILENT)
    supply.fetch(FileSource(path=wheel))
    return supply


def test_what_another_process_has_pinned_meanwhile_stays(tmp_path: Path) -> None:
    ours = fetched(tmp_path, "a")
    lock = tmp_path / "repack.lock"
    theirs = Pin(key="theirs", filename="a.whl", url="file:a.whl", size=1, sha256="1" * 64)
    write_lock(lock, read_lock(tmp_path / "none").with_pin(theirs))
    assert len(ours.keep()) == 1
    assert [pin.key for pin in read_lock(lock).pins] == [f"file:{WHEEL}", "theirs"]


def test_the_first_to_pin_a_source_is_right_until_one_renews_the_lock(tmp_path: Path) -> None:
    first, second = fetched(tmp_path, "a"), fetched(tmp_path, "b")
    first.keep()
    before = (tmp_path / "repack.lock").read_bytes()
    with pytest.raises(FetchError, match="another build has pinned it meanwhile"):
        second.keep()
    assert (tmp_path / "repack.lock").read_bytes() == before
    renewing = fetched(tmp_path, "c", update=True)
    assert renewing.keep()
    (pin,) = read_lock(tmp_path / "repack.lock").pins
    assert pin.sha256 == sha256_of(tmp_path / "c" / WHEEL)
