"""The module that ends up in cv2: which directories it registers, on a made-up Windows."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import (
    ARM64,
    BIN,
    CUBLAS,
    CUDNN,
    FILE,
    GOOD,
    NPP,
    SITE,
    SYSTEM,
    TOOLKIT,
    X86,
    Machine,
    imported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAMILIES = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}
NVIDIA = f"{SITE}\\nvidia"
DEFAULT = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA"
CUDNN_DEFAULT = "C:\\Program Files\\NVIDIA\\CUDNN"
LATER = "D:\\later"

# The search order: each place is taken, and before those that come after it.


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        pytest.param("D:\\a", {"OPENCV_CUDA_DLL_DIRS": "D:\\a"}, id="override"),
        pytest.param(f"{SITE}\\cv2.libs", {}, id="vendored"),
        pytest.param(f"{SITE}\\cv2", {}, id="copied-into-cv2-by-hand"),
        pytest.param(f"{NVIDIA}\\npp\\bin", {}, id="NVIDIA-wheel-of-CUDA-12"),
        pytest.param(f"{NVIDIA}\\cu13\\bin\\x86_64", {}, id="NVIDIA-wheel-of-CUDA-13"),
        pytest.param(f"{NVIDIA}\\cu99\\bin", {}, id="NVIDIA-wheel-not-yet-out"),
        pytest.param("C:\\Python312\\Lib\\nvidia\\npp\\bin", {}, id="elsewhere-on-sys.path"),
        pytest.param("C:\\Python312\\Library\\bin", {}, id="conda"),
        pytest.param("C:\\Python312\\Library\\bin\\x64", {}, id="conda-with-CUDA-13"),
        pytest.param(
            "D:\\c\\bin", {"CUDA_PATH_V12_9": "D:\\c"}, id="the-variable-of-the-build's-version"
        ),
        pytest.param("D:\\c\\bin\\x64", {"CUDA_PATH": "D:\\c"}, id="CUDA_PATH-CUDA-13"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH": "D:\\c"}, id="CUDA_PATH"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH": "D:\\c\\bin"}, id="CUDA_PATH-names-the-bin"),
        pytest.param("D:\\c\\bin", {"CUDA_HOME": "D:\\c"}, id="CUDA_HOME"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH_V12_2": "D:\\c"}, id="another-version's-variable"),
        pytest.param(f"{DEFAULT}\\v12.3\\bin", {}, id="default-directory"),
        pytest.param(f"{DEFAULT}\\v12.3\\bin\\x64", {}, id="default-directory-x64"),
    ],
)
def test_a_place_is_taken_before_path(place: str, environ: Mapping[str, str]) -> None:
    machine = Machine({place: NPP, LATER: NPP}, {"PATH": LATER, **environ}, vendored=("cv2.libs",))
    assert machine.load() == [place]


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        pytest.param("D:\\d\\bin", {"CUDNN_PATH": "D:\\d"}, id="CUDNN_PATH"),
        pytest.param("D:\\d\\bin\\x64", {"CUDNN_PATH": "D:\\d"}, id="CUDNN_PATH-x64"),
        pytest.param("D:\\d", {"CUDNN_PATH": "D:\\d"}, id="CUDNN_PATH-itself"),
        pytest.param("D:\\d\\bin\\12.9", {"CUDNN_PATH": "D:\\d"}, id="CUDNN_PATH-by-installer"),
        pytest.param(f"{CUDNN_DEFAULT}\\v9.1\\bin", {}, id="bin"),
        pytest.param(f"{CUDNN_DEFAULT}\\v9.1\\bin\\x64", {}, id="bin-x64"),
        pytest.param(f"{CUDNN_DEFAULT}\\v9.1\\bin\\12.4", {}, id="bin-of-that-CUDA"),
        pytest.param(f"{CUDNN_DEFAULT}\\v9.23\\bin\\12.9\\x64", {}, id="bin-of-that-CUDA-x64"),
    ],
)
def test_cudnn_is_found_where_it_is_put(place: str, environ: Mapping[str, str]) -> None:
    machine = Machine(
        {place: CUDNN, LATER: CUDNN},
        {"PATH": LATER, **environ},
        families={"cudnn": CUDNN},
    )
    assert machine.load() == [place]


def test_the_places_come_in_the_documented_order() -> None:
    environ = {
        "OPENCV_CUDA_DLL_DIRS": "D:\\override",
        "CUDA_PATH_V12_9": "D:\\own",
        "CUDA_PATH": "D:\\path",
        "CUDA_HOME": "D:\\home",
        "CUDA_PATH_V12_10": "D:\\10",
        "CUDA_PATH_V12_8": "D:\\8",
        "CUDNN_PATH": "D:\\cudnn",
        "PATH": "D:\\a;D:\\b",
    }
    order = [
        "D:\\override",
        f"{SITE}\\cv2.libs",
        f"{SITE}\\cv2",
        f"{NVIDIA}\\cu12\\bin\\x86_64",
        f"{NVIDIA}\\npp\\bin",
        "C:\\Python312\\Lib\\nvidia\\npp\\bin",
        "C:\\venv\\Library\\bin",
        "C:\\Python312\\Library\\bin",
        "D:\\own\\bin\\x64",
        "D:\\own\\bin",
        "D:\\path\\bin",
        "D:\\home\\bin",
        "D:\\10\\bin",
        "D:\\8\\bin",
        "D:\\cudnn\\bin\\12.9\\x64",
        "D:\\cudnn\\bin\\12.9",
        "D:\\cudnn\\bin\\x64",
        "D:\\cudnn\\bin",
        "D:\\cudnn",
        f"{DEFAULT}\\v12.10\\bin",
        f"{DEFAULT}\\v12.9\\bin",
        f"{CUDNN_DEFAULT}\\v9.10\\bin\\12.10",
        f"{CUDNN_DEFAULT}\\v9.10\\bin\\12.9",
        f"{CUDNN_DEFAULT}\\v9.2\\bin\\12.10",
        "D:\\a",
        "D:\\b",
    ]
    for number, place in enumerate(order):
        machine = Machine(
            dict.fromkeys(["D:\\override", *order[number:]], NPP) | {"D:\\override": ["other.dll"]}
            if number
            else dict.fromkeys(order, NPP),
            environ,
            vendored=("cv2.libs",),
        )
        machine.sys.prefix = "C:\\venv"
        assert machine.load() == [place]


def test_no_toolkit_of_another_major_is_looked_at_by_its_version() -> None:
    machine = Machine(
        {"D:\\13\\bin": NPP, f"{DEFAULT}\\v13.0\\bin": NPP, "D:\\x\\bin": NPP},
        {"CUDA_PATH_V13_0": "D:\\13", "CUDA_PATH_V12_X": "D:\\x", "CUDA_PATH_V": "D:\\x"},
    )
    assert machine.load() == []


def test_a_build_for_13_1_works_with_toolkit_13_3_and_the_cudnn_for_it() -> None:
    machine = Machine(
        {
            f"{DEFAULT}\\v13.3\\bin\\x64": ["nppc64_13.dll"],
            f"{CUDNN_DEFAULT}\\v9.23\\bin\\12.9\\x64": CUDNN,
            f"{CUDNN_DEFAULT}\\v9.23\\bin\\13.3\\x64": CUDNN,
        },
        {"CUDA_PATH": f"{DEFAULT}\\v13.3"},
        cuda=(13, 1),
        families={"npp": ["nppc64_13.dll"], "cudnn": CUDNN},
    )
    assert machine.load() == [
        f"{DEFAULT}\\v13.3\\bin\\x64",
        f"{CUDNN_DEFAULT}\\v9.23\\bin\\13.3\\x64",
    ]


@pytest.mark.parametrize("cuda", [(12, None), None], ids=["major-alone", "not-known"])
def test_a_build_that_does_not_know_its_cuda_takes_the_newest_that_holds_its_files(
    cuda: object,
) -> None:
    machine = Machine(
        {f"{DEFAULT}\\v12.4\\bin": NPP, f"{DEFAULT}\\v12.6\\bin": NPP, f"{DEFAULT}\\docs": []},
        cuda=cuda,
    )
    assert machine.load() == [f"{DEFAULT}\\v12.6\\bin"]


def test_program_files_is_where_windows_says_it_is() -> None:
    place = "E:\\Programme\\NVIDIA GPU Computing Toolkit\\CUDA\\v12.1\\bin"
    assert Machine({place: NPP}, {"PROGRAMFILES": "E:\\Programme"}).load() == [place]
    assert Machine({f"{DEFAULT}\\v12.1\\bin": NPP}, {"PROGRAMFILES": ""}).load()


@pytest.mark.parametrize(
    ("machine", "folder"),
    [("x86-64", "x64"), ("arm64", "arm64"), ("x86", ""), ("0x5032", "")],
)
def test_the_folder_of_another_processor_is_not_looked_at(machine: str, folder: str) -> None:
    kinds = {"x64": GOOD, "arm64": ARM64, "": X86}
    files = {f"{BIN}\\{sub}".rstrip("\\"): dict.fromkeys(NPP, kinds[sub]) for sub in kinds}
    expected = f"{BIN}\\{folder}".rstrip("\\")
    assert Machine(files, {"CUDA_PATH": TOOLKIT}, machine=machine).load() == [expected]


# Frozen applications and environments


@pytest.mark.parametrize("mark", ["PyInstaller", "Nuitka"])
def test_a_frozen_application_finds_the_dlls_that_were_put_into_it(mark: str) -> None:
    for place in ("C:\\app\\_internal", "C:\\app", "C:\\app\\_internal\\nvidia\\npp\\bin"):
        machine = Machine({place: NPP})
        machine.module.ROOT, machine.module.HERE = "C:\\app\\_internal", "C:\\app\\_internal\\cv2"
        machine.sys.path, machine.sys.executable = ["C:\\app\\_internal"], "C:\\app\\app.exe"
        if mark == "PyInstaller":
            machine.sys.frozen, machine.sys._MEIPASS = True, "C:\\app\\_internal"
        else:
            machine.module.__compiled__ = object()
        assert machine.load() == [place]


def test_the_folder_of_python_is_not_that_of_an_application() -> None:
    assert Machine({"C:\\Python312": NPP, SITE: NPP}).load() == []


def test_a_virtual_environment_finds_the_conda_that_it_was_made_from() -> None:
    machine = Machine({"C:\\conda\\Library\\bin": NPP})
    machine.sys.prefix = machine.sys.exec_prefix = "C:\\venv"
    machine.sys.base_prefix = "C:\\conda"
    assert machine.load() == ["C:\\conda\\Library\\bin"]


def test_a_user_site_holds_nvidia_wheels_too() -> None:
    machine = Machine({"C:\\Users\\ä\\site\\nvidia\\npp\\bin": NPP})
    machine.sys.path.append("C:\\Users\\ä\\site")
    assert machine.load() == ["C:\\Users\\ä\\site\\nvidia\\npp\\bin"]


def test_what_is_no_absolute_folder_on_sys_path_is_passed_over() -> None:
    machine = Machine({"C:\\work\\nvidia\\npp\\bin": NPP, "nvidia\\npp\\bin": NPP})
    machine.sys.path[:] = ["", ".", "nvidia", "C:\\work", "C:\\WORK\\", b"C:\\bytes", None]
    assert machine.load() == []


# By file needed, each for this processor


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(X86, "is for 32-bit Windows (x86)", id="32-bit"),
        pytest.param(ARM64, "is for ARM64", id="ARM64"),
        pytest.param(
            GOOD.replace(b"PE\0\0\x64\x86", b"PE\0\0\x32\x50"), "is for another processor", id="odd"
        ),
        pytest.param(GOOD[:-1], "is cut off", id="cut-off-by-a-byte"),
        pytest.param(GOOD[:512], "is cut off", id="headers-alone"),
        pytest.param(GOOD[:100], "is cut off", id="not-even-headers"),
        pytest.param(b"", "is no DLL", id="empty"),
        pytest.param(b"MZ", "is no DLL", id="two-bytes"),
        pytest.param(b"<html>", "is no DLL", id="a-web-page"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\n", "is a placeholder of Git LFS", id="LFS"
        ),
    ],
)
def test_a_file_that_windows_will_not_load_is_not_taken(content: bytes, reason: str) -> None:
    machine = Machine(
        {BIN: {NPP[0]: GOOD, NPP[1]: content}, LATER: NPP},
        {"CUDA_PATH": TOOLKIT, "PATH": LATER},
    )
    assert machine.load() == [LATER]
    assert (BIN, "CUDA_PATH", f"holds a nppif64_12.dll that {reason}") in machine.refused()


def test_a_longer_file_is_as_good_as_one_that_ends_with_its_sections() -> None:
    signed = dict.fromkeys(NPP, GOOD + b"signature")
    assert Machine({BIN: signed}, {"CUDA_PATH": TOOLKIT}).load() == [BIN]


def test_a_file_that_cannot_be_read_is_not_taken() -> None:
    machine = Machine({BIN: NPP, LATER: NPP}, {"CUDA_PATH": TOOLKIT, "PATH": LATER})
    opened = machine.open

    def refuse(path: str, mode: str, buffering: int = -1) -> object:
        if path.startswith(BIN):
            raise PermissionError(13, "Zugriff verweigert")
        return opened(path, mode, buffering)

    machine.module.open = refuse
    assert machine.load() == [LATER]
    reason = "holds a nppc64_12.dll that cannot be read (PermissionError)"
    assert (BIN, "CUDA_PATH", reason) in machine.refused()


@pytest.mark.parametrize(
    ("directories", "environ", "registered"),
    [
        pytest.param(
            {BIN: NPP[:1], "D:\\b": NPP},
            {"CUDA_PATH": TOOLKIT, "PATH": f"{BIN};D:\\b"},
            ["D:\\b"],
            id="every-file-of-the-family-or-the-next-directory",
        ),
        pytest.param({BIN: [name.upper() for name in NPP]}, {"PATH": BIN}, [BIN], id="other-case"),
        pytest.param({"D:\\e": ["nppc64_11.dll"]}, {"PATH": "D:\\e"}, [], id="another-major"),
        pytest.param(
            {BIN: NPP},
            {"PATH": f"C:\\Windows;{BIN}", "OPENCV_CUDA_SEARCH_PATH": "0"},
            [],
            id="PATH-turned-off",
        ),
        pytest.param({BIN: NPP}, {"CUDA_PATH": f'"{TOOLKIT}\\"'}, [BIN], id="quoted"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": f" {TOOLKIT}/ "}, [BIN], id="spaces-and-slash"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": f"D:\\no;{TOOLKIT}"}, [BIN], id="the-second-of-two"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": ""}, [], id="empty"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": "C:\\a\0b"}, [], id="no-name-at-all"),
        pytest.param(
            {"C:\\Prögramme;x\\库 [1]": NPP},
            {"PATH": 'C:\\a;"C:\\Prögramme;x\\库 [1]";C:\\b'},
            ["C:\\Prögramme;x\\库 [1]"],
            id="a-semicolon-in-quotes-brackets-beyond-ASCII",
        ),
        pytest.param(
            {"\\\\host\\share\\cuda": NPP},
            {"PATH": "\\\\host\\share\\cuda\\"},
            ["\\\\host\\share\\cuda"],
            id="a-share",
        ),
        pytest.param({"bin": NPP}, {"PATH": "bin;.;;..\\bin"}, [], id="relative"),
        pytest.param({"cuda\\bin": NPP}, {"CUDA_PATH": "cuda"}, [], id="relative-toolkit"),
        pytest.param({"\\cuda": NPP, "C:cuda": NPP}, {"PATH": "\\cuda;C:cuda"}, [], id="half"),
        pytest.param({"C:\\work": NPP}, {"PATH": "c:\\WORK\\"}, [], id="the-working-directory"),
        pytest.param(
            {"C:\\work\\bin": NPP}, {"CUDA_PATH": "C:\\work"}, ["C:\\work\\bin"], id="below-it"
        ),
        pytest.param(
            {"C:\\work": NPP},
            {"OPENCV_CUDA_DLL_DIRS": "C:\\work"},
            ["C:\\work"],
            id="the-working-directory-by-order",
        ),
        pytest.param({"C:\\Users\\Public\\x": NPP}, {"PATH": "C:/users/public/x"}, [], id="public"),
        pytest.param({"C:\\Windows\\Temp": NPP}, {"PATH": "C:\\Windows\\TEMP"}, [], id="Temp"),
        pytest.param(
            {"C:\\Windows\\Temporary": NPP},
            {"PATH": "C:\\Windows\\Temporary"},
            ["C:\\Windows\\Temporary"],
            id="not-Temp",
        ),
        pytest.param(
            {"C:\\Users\\Public\\x": NPP},
            {"OPENCV_CUDA_DLL_DIRS": "C:\\Users\\Public\\x"},
            ["C:\\Users\\Public\\x"],
            id="public-by-order",
        ),
        pytest.param({BIN: NPP}, {"CUDA_PATH": "%root%\\v12.9", "ROOT": "C:\\CUDA"}, [BIN], id="%"),
        pytest.param({"C:\\a%b": NPP}, {"PATH": "C:\\a%b"}, ["C:\\a%b"], id="one-percent-sign"),
        pytest.param({"C:\\%no%": NPP}, {"PATH": "C:\\%no%"}, ["C:\\%no%"], id="no-such-variable"),
        pytest.param({"C:\\$PATH": NPP}, {"PATH": "C:\\$PATH"}, ["C:\\$PATH"], id="no-shell"),
    ],
)
def test_values_are_read_as_windows_reads_them(
    directories: Mapping[str, Sequence[str]], environ: Mapping[str, str], registered: list[str]
) -> None:
    assert Machine(directories, environ).load() == registered


def test_a_name_may_be_written_otherwise_in_the_import_table() -> None:
    machine = Machine({BIN: ["nppc64_12.dll"]}, {"PATH": BIN}, families={"npp": ["NPPC64_12.DLL"]})
    assert machine.load() == [BIN]


def test_cudnn_without_its_parts_counts_they_are_loaded_by_name() -> None:
    machine = Machine({BIN: CUDNN}, {"CUDA_PATH": TOOLKIT}, families={"cudnn": CUDNN})
    assert machine.load() == [BIN]


def test_each_family_has_one_directory_and_each_directory_is_registered_once() -> None:
    machine = Machine(
        {BIN: NPP + CUBLAS, "D:\\cudnn": CUDNN + CUBLAS},
        {"CUDA_PATH": TOOLKIT, "PATH": f"D:\\cudnn;{BIN}"},
        families=FAMILIES,
    )
    assert machine.load() == [BIN, "D:\\cudnn"]
    assert machine.load() == [BIN, "D:\\cudnn"]


def test_a_family_that_is_nowhere_does_not_stop_the_others() -> None:
    machine = Machine({BIN: NPP + CUBLAS}, {"CUDA_PATH": TOOLKIT}, families=FAMILIES)
    assert machine.load() == [BIN]


def test_why_a_place_was_not_taken_is_kept() -> None:
    machine = Machine(
        {BIN: NPP[:1], "D:\\empty": [], "C:\\work": NPP, "D:\\13": ["nppc64_13.dll"]},
        {"CUDA_PATH": TOOLKIT, "PATH": "bin;C:\\work;D:\\empty;D:\\13;C:\\Users\\Public"},
    )
    machine.sys.prefix = machine.sys.exec_prefix = "C:\\venv"
    assert machine.refused() == [
        (f"{SITE}\\cv2", "this wheel", "does not exist"),
        (f"{SITE}\\nvidia", "NVIDIA's wheels", "does not exist"),
        ("C:\\Python312\\Lib\\nvidia", "NVIDIA's wheels", "does not exist"),
        ("C:\\venv\\Library\\bin", "conda", "does not exist"),
        ("C:\\Python312\\Library\\bin", "conda", "does not exist"),
        (BIN, "CUDA_PATH", "has no nppif64_12.dll"),
        (TOOLKIT, "CUDA_PATH", "holds none of them"),
        (DEFAULT, "default directory", "does not exist"),
        (CUDNN_DEFAULT, "default directory", "does not exist"),
        ("bin", "PATH", "is not an absolute directory"),
        ("C:\\work", "PATH", "is the working directory"),
        ("D:\\empty", "PATH", "holds none of them"),
        ("D:\\13", "PATH", "holds nppc64_13.dll, another version"),
        ("C:\\Users\\Public", "PATH", "is a directory that everyone may write to"),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(NotADirectoryError(20, "x"), "is not a directory", id="a-file"),
        pytest.param(PermissionError(13, "x"), "cannot be read (PermissionError)", id="forbidden"),
        pytest.param(ValueError("embedded null"), "cannot be read (ValueError)", id="no-name"),
    ],
)
def test_a_place_that_cannot_be_listed_is_passed_over(error: Exception, reason: str) -> None:
    machine = Machine({LATER: NPP}, {"PATH": f"D:\\a;{LATER}"})
    listed = machine.listdir

    def listdir(directory: str) -> list[str]:
        if directory == "D:\\a":
            raise error
        return listed(directory)

    machine.module.os.listdir = listdir
    assert ("D:\\a", "PATH", reason) in machine.refused()
    assert machine.load() == [LATER]


@pytest.mark.parametrize(
    "value", ["D:\\gone", "relative\\bin", f"{BIN};D:\\gone"], ids=["gone", "relative", "second"]
)
def test_a_mistake_in_the_override_is_an_error_that_names_it(value: str) -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": value})
    with pytest.raises(ImportError, match=r'OPENCV_CUDA_DLL_DIRS names "(D:|rel)'):
        machine.load()
    machine.environ["OPENCV_CUDA_DLL_DIRS"] = BIN
    assert machine.load() == [BIN]


# PATH, for what is loaded by bare name


def test_the_directories_go_to_the_front_of_path_and_stand_in_it_once() -> None:
    before = f'C:\\Windows;"{BIN.upper()}";;D:\\tools;{BIN}\\'
    machine = Machine({BIN: NPP, "C:\\Windows": []}, {"CUDA_PATH": TOOLKIT, "PATH": before})
    machine.load()
    assert machine.environ["PATH"] == f"{BIN};C:\\Windows;;D:\\tools"
    machine.load()
    assert machine.environ["PATH"] == f"{BIN};C:\\Windows;;D:\\tools"


def test_path_stays_as_it_is_where_nothing_is_found() -> None:
    machine = Machine({}, {"PATH": 'C:\\a;;"C:\\b"'})
    machine.load()
    assert machine.environ["PATH"] == 'C:\\a;;"C:\\b"'


def test_path_is_not_set_where_it_was_not_and_nothing_is_found() -> None:
    machine = Machine({})
    del machine.environ["PATH"]
    machine.load()
    assert "PATH" not in machine.environ


def test_an_empty_entry_that_the_loader_puts_into_path_is_taken_out() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    with machine.module.loading():
        machine.environ["PATH"] = ";" + machine.environ["PATH"]
    assert machine.environ["PATH"] == f"{BIN};{SYSTEM}"


def test_python_3_7_has_path_alone() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT}, python=(3, 7))
    assert machine.load() == []
    assert machine.environ["PATH"].startswith(f"{BIN};")


# Manners


def test_off_windows_nothing_is_done() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"})
    machine.module.os.name = "posix"
    machine.sys.OpenCV_LOADER = True
    assert machine.load() == machine.calls == []
    assert hasattr(machine.sys, "OpenCV_LOADER")


def test_a_build_without_cuda_looks_at_no_directory() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"}, families={})
    assert machine.load() == machine.calls == []


# What a one-file build of OpenCV 4.12 with cuDNN, cuBLAS, cuFFT and npp imports.
MANY = {
    "cublas": CUBLAS,
    "cudart": ("cudart64_12.dll",),
    "cudnn": CUDNN,
    "cufft": ("cufft64_11.dll",),
    "npp": tuple(
        f"npp{part}64_12.dll"
        for part in ("c", "ial", "icc", "idei", "if", "ig", "im", "ist", "itc")
    ),
}


def test_where_cuda_path_is_right_there_are_two_dozen_calls_at_most() -> None:
    path = ";".join(f"D:\\tools\\{number}" for number in range(40))
    files = [name for family in MANY.values() for name in family]
    machine = Machine(
        {BIN: files, f"{SITE}\\cv2": ["cv2.pyd"]},
        {"CUDA_PATH": TOOLKIT, "PATH": path},
        families=MANY,
    )
    machine.sys.path[1:1] = ["C:\\app", "C:\\Python312\\DLLs", "C:\\Python312"]
    assert machine.load() == [BIN]
    assert machine.load() == [BIN]
    listed = [call for call in machine.calls if call.startswith("list")]
    assert listed == [
        f"list {SITE}\\cv2",
        f"list {SITE}\\nvidia",
        "list C:\\app\\nvidia",
        "list C:\\Python312\\DLLs\\nvidia",
        "list C:\\Python312\\nvidia",
        "list C:\\Python312\\Lib\\nvidia",
        "list C:\\Python312\\Library\\bin",
        f"list {BIN}",
    ]
    assert sorted(set(machine.calls) - set(listed)) == sorted(
        f"open {BIN}\\{each}" for each in files
    )
    assert len(machine.calls) <= 24


def test_no_directory_is_listed_twice_and_no_file_read_twice() -> None:
    machine = Machine(
        {BIN: {NPP[0]: GOOD, NPP[1]: X86}},
        {"CUDA_PATH": TOOLKIT, "CUDA_HOME": TOOLKIT, "PATH": f"{BIN};D:\\a;d:\\A\\;D:/a"},
    )
    machine.load()
    assert len(machine.calls) == len({call.lower() for call in machine.calls})


def test_it_parses_on_python_3_6_and_imports_nothing_slow() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import os", "import sys"]


def test_it_is_one_file_of_less_than_600_lines() -> None:
    assert len(FILE.read_text(encoding="utf-8").splitlines()) < 600


# A second specification of the order

PLACES = [BIN, f"{BIN}\\x64", "D:\\a", "D:\\b", f"{NVIDIA}\\x\\bin", f"{DEFAULT}\\v12.9\\bin"]
CONTENTS = st.dictionaries(
    st.sampled_from([*NPP, *CUBLAS, *CUDNN]), st.sampled_from([GOOD, GOOD, X86])
)


@given(
    st.dictionaries(st.sampled_from(PLACES), CONTENTS),
    st.fixed_dictionaries(
        {},
        optional={
            "OPENCV_CUDA_DLL_DIRS": st.just("D:\\a"),
            "CUDA_PATH": st.just(TOOLKIT),
            "CUDNN_PATH": st.just("D:\\b"),
            "OPENCV_CUDA_SEARCH_PATH": st.sampled_from(["0", "1"]),
            "PATH": st.lists(st.sampled_from([*PLACES, "."])).map(";".join),
        },
    ),
)
def test_the_choice_is_that_of_a_shorter_specification(
    directories: dict[str, dict[str, bytes]], environ: dict[str, str]
) -> None:
    directories.setdefault("D:\\a", {})
    order = [environ.get("OPENCV_CUDA_DLL_DIRS", "."), f"{NVIDIA}\\x\\bin"]
    order += [f"{BIN}\\x64", BIN] if "CUDA_PATH" in environ else []
    order += [environ.get("CUDNN_PATH", "."), f"{DEFAULT}\\v12.9\\bin"]
    if environ.get("OPENCV_CUDA_SEARCH_PATH") != "0":
        order += environ.get("PATH", "").split(";")
    sound = {
        place: {name for name, content in files.items() if content == GOOD}
        for place, files in directories.items()
    }
    first = {
        next((place for place in order if files <= sound.get(place, set())), "")
        for files in map(set, FAMILIES.values())
    }
    machine = Machine(directories, environ, families=FAMILIES)
    assert sorted(machine.load()) == sorted(first - {""})


def test_the_interpreter_that_runs_the_tests_is_left_alone() -> None:
    before = list(sys.path)
    with imported().loading():
        assert sys.path == before
