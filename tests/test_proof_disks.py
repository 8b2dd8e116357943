"""Where a machine is laid out: what a scenario puts there goes again, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from proof.disks import Occupied, WineDisk, windows_disk
from proof.layouts import layout_of
from proof.scenarios import LAYOUTS

from repack.pythons import Interpreter

PYTHON = Interpreter(
    version="3.12", full_version="3.12.1", python=Path("python.exe"), origin="given"
)


def test_a_windows_path_lies_in_the_prefix_in_whatever_letters_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "drive_c" / "users" / "Public").mkdir(parents=True)
    disk = WineDisk(prefix=tmp_path, interpreter=PYTHON)
    assert disk.place(r"C:\Users\public\x") == tmp_path / "drive_c" / "users" / "Public" / "x"
    assert disk.place(r"C:\New Folder") == tmp_path / "drive_c" / "New Folder"


def test_another_drive_than_c_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="D:"):
        WineDisk(prefix=tmp_path, interpreter=PYTHON).place(r"D:\cuda")


def test_on_windows_what_was_laid_out_goes_and_what_was_there_stays(tmp_path: Path) -> None:
    there = tmp_path / "System32"
    there.mkdir()
    (there / "kernel32.dll").touch()
    with windows_disk(PYTHON) as disk:
        for file in (there / "nvcuda.dll", tmp_path / "toolkit" / "bin" / "nppc64_12.dll"):
            place = disk.place(str(file.parent)) / file.name
            disk.claim(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["System32"]
    assert [path.name for path in there.iterdir()] == ["kernel32.dll"]


def test_on_windows_a_file_of_the_machine_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "nvcuda.dll").touch()
    with windows_disk(PYTHON) as disk, pytest.raises(Occupied, match=r"nvcuda\.dll"):
        disk.claim(disk.place(str(tmp_path)) / "nvcuda.dll")
    assert (tmp_path / "nvcuda.dll").exists()


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_lies_on_drive_c(name: str) -> None:
    layout = layout_of(name, "3.12")
    assert all(path.startswith("C:\\") for path in (layout.python, layout.site, *layout.files))
