"""The module that goes into cv2: what it chooses, loads and leaves, on a made-up Windows.

What a genuine Windows Python shows is in test_import_reports.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from loading import NATIVE, patched
from machines import (
    ARM64,
    ARM64X,
    BIN,
    CUBLAS,
    CUDNN,
    FILE,
    GOOD,
    NPP,
    REPORT,
    SITE,
    SOUND,
    SYSTEM,
    TOOLKIT,
    X86,
    Machine,
)
from proof.dlls import REQUIREMENTS

from repack.config import read_lock
from repack.dlls import classify
from repack.pe import read_image
from repack.progress import SILENT
from repack.smoke import toolkit_of
from repack.sources import Cache, fetch_index

NVIDIA = f"{SITE}\\nvidia"
DEFAULT = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA"
CUDNN_DEFAULT = "C:\\Program Files\\NVIDIA\\CUDNN"
LATER = "D:\\later"
TOOLKIT_SET = {"CUDA_PATH": TOOLKIT}


# The order of the sources

VARIABLES = {
    "OPENCV_CUDA_DLL_DIRS": "D:\\override",
    "CUDA_PATH_V12_9": "D:\\own",
    "CUDA_PATH": "D:\\path",
    "CUDA_HOME": "D:\\home",
    "CUDA_PATH_V12_10": "D:\\10",
    "CUDA_PATH_V12_8": "D:\\8",
    "CUDNN_PATH": "D:\\cudnn",
    "PATH": "D:\\a;D:\\b",
}
ORDER = [
    "D:\\override\\bin",
    "D:\\override",
    f"{SITE}\\cv2.libs",
    f"{SITE}\\cv2",
    f"{NVIDIA}\\cu12\\bin\\x86_64",
    f"{NVIDIA}\\npp\\bin",
    "C:\\Python312\\Lib\\nvidia\\npp\\bin",
    "C:\\venv\\Library\\bin",
    "C:\\venv\\bin",
    "C:\\Python312\\Library\\bin",
    "D:\\own\\bin\\x64",
    "D:\\own\\bin",
    "D:\\path\\bin",
    "D:\\home\\bin",
    "D:\\10\\bin",
    "D:\\8\\bin",
    "D:\\cudnn\\bin\\12.10\\x64",
    "D:\\cudnn\\bin\\12.9\\x64",
    "D:\\cudnn\\bin\\12.9",
    "D:\\cudnn\\bin\\x64",
    "D:\\cudnn\\bin",
    "D:\\cudnn",
    f"{DEFAULT}\\v12.10\\bin",
    f"{DEFAULT}\\v12.9\\bin",
    f"{CUDNN_DEFAULT}\\v9.10\\bin\\12.9",
    f"{CUDNN_DEFAULT}\\v9.2\\bin\\12.9",
    "C:\\Python312",
    "D:\\a\\bin",
    "D:\\a",
    "D:\\b",
]


@pytest.mark.parametrize("rank", range(len(ORDER)), ids=ORDER)
def test_a_place_is_taken_before_all_that_come_after_it(rank: int) -> None:
    places: dict[str, Sequence[str]] = {"D:\\override": ["other.dll"]}
    places |= dict.fromkeys(ORDER[rank:], NPP)
    machine = Machine(places, VARIABLES, vendored=("cv2.libs",))
    machine.sys.prefix = "C:\\venv"
    assert machine.choose() == {"npp": ORDER[rank]}
    assert machine.registered == [ORDER[rank]]


@pytest.mark.parametrize(
    ("place", "environ", "cuda"),
    [
        pytest.param(f"{DEFAULT}\\v12.6\\bin", {}, (12, None), id="no-minor-known"),
        pytest.param(f"{DEFAULT}\\v12.6\\bin", {}, None, id="no-CUDA-known"),
        pytest.param(f"{DEFAULT}\\v13.3\\bin\\x64", {}, (13, 1), id="newer-than-the-build"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH_V13_3": "D:\\c"}, (13, 1), id="its-variable"),
        pytest.param(f"{DEFAULT}\\v12.1\\bin", {"PROGRAMFILES": ""}, (12, 9), id="no-variable"),
        pytest.param(
            "E:\\Apps\\NVIDIA GPU Computing Toolkit\\CUDA\\v12.1\\bin",
            {"PROGRAMFILES": "E:\\Apps"},
            (12, 9),
            id="programs-on-another-drive",
        ),
    ],
)
def test_a_toolkit_of_the_builds_major_is_taken(
    place: str, environ: Mapping[str, str], cuda: tuple[int, int] | None
) -> None:
    assert Machine({place: NPP}, environ, cuda=cuda).choose() == {"npp": place}


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        pytest.param(f"{DEFAULT}\\v13.0\\bin", {}, id="another-major"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH_V13_0": "D:\\c"}, id="its-variable"),
        pytest.param("D:\\c\\bin", {"CUDA_PATH_V12_X": "D:\\c"}, id="a-variable-of-no-version"),
        pytest.param(f"{DEFAULT}\\docs\\bin", {}, id="a-folder-of-no-version"),
    ],
)
def test_what_is_for_another_version_is_not_looked_at(
    place: str, environ: Mapping[str, str]
) -> None:
    assert Machine({place: NPP}, environ).choose() == {}


@pytest.mark.parametrize(
    ("machine", "folder"),
    [("x86-64", "x64"), ("arm64", "arm64"), ("x86", ""), ("0x5032", "")],
)
def test_the_folder_of_another_processor_is_not_looked_at(machine: str, folder: str) -> None:
    odd = GOOD.replace(b"PE\0\0\x64\x86", b"PE\0\0\x32\x50")
    contents = {"x64": GOOD, "arm64": ARM64, "": odd if machine == "0x5032" else X86}
    files = {f"{BIN}\\{name}".rstrip("\\"): dict.fromkeys(NPP, contents[name]) for name in contents}
    chosen = Machine(files, TOOLKIT_SET, machine=machine).choose()
    assert chosen == {"npp": f"{BIN}\\{folder}".rstrip("\\")}


@pytest.mark.parametrize("place", ["C:\\app\\lib", "C:\\app", "C:\\app\\lib\\nvidia\\npp\\bin"])
@pytest.mark.parametrize("maker", ["PyInstaller", "Nuitka"])
def test_a_frozen_program_finds_the_dlls_that_were_put_into_it(maker: str, place: str) -> None:
    machine = Machine({place: NPP}, {"OPENCV_CUDA_SEARCH_PATH": "0"})
    machine.start("C:\\app\\lib")
    machine.sys.path, machine.kernel.program = ["C:\\app\\lib"], "C:\\app\\app.exe"
    if maker == "PyInstaller":
        machine.sys.frozen = True
    else:
        machine.module.__compiled__ = object()
    assert machine.choose() == {"npp": place}


def test_a_virtual_environment_finds_the_conda_that_it_was_made_from() -> None:
    machine = Machine({"C:\\conda\\Library\\bin": NPP})
    machine.sys.prefix, machine.sys.base_prefix = "C:\\venv", "C:\\conda"
    assert machine.choose() == {"npp": "C:\\conda\\Library\\bin"}


# What is read from variables


@pytest.mark.parametrize(
    ("place", "environ"),
    [
        pytest.param(BIN, {"CUDA_PATH": f'"{TOOLKIT}\\"'}, id="quotes"),
        pytest.param(BIN, {"CUDA_PATH": f" {TOOLKIT}/ "}, id="spaces-and-a-slash"),
        pytest.param(BIN, {"CUDA_PATH": f"D:\\no;{TOOLKIT}"}, id="the-second-of-two"),
        pytest.param(BIN, {"CUDA_PATH": "%root%\\v12.9", "root": "C:\\CUDA"}, id="a-variable"),
        pytest.param("C:\\a;ä\\库 [1]", {"PATH": 'C:\\a;"C:\\a;ä\\库 [1]";C:\\b'}, id="semicolon"),
        pytest.param("\\\\host\\share\\x", {"PATH": "\\\\host\\share\\x\\"}, id="on-a-share"),
        pytest.param("C:\\a%b", {"PATH": "C:\\a%b"}, id="one-percent-sign"),
        pytest.param("C:\\%no%", {"PATH": "C:\\%no%"}, id="no-such-variable"),
        pytest.param("C:\\Windows\\Temporary", {"PATH": "C:\\Windows\\Temporary"}, id="not-Temp"),
        pytest.param("C:\\work\\bin", {"CUDA_PATH": "C:\\work"}, id="below-the-working-directory"),
        pytest.param("C:\\work", {"OPENCV_CUDA_DLL_DIRS": "C:\\work"}, id="by-the-users-order"),
    ],
)
def test_a_variable_leads_to_a_directory(place: str, environ: Mapping[str, str]) -> None:
    machine = Machine({place: [name.upper() for name in NPP]}, environ)
    assert machine.choose() == {"npp": place}


@pytest.mark.parametrize(
    ("place", "environ", "reason"),
    [
        pytest.param(BIN, {"PATH": BIN, "OPENCV_CUDA_SEARCH_PATH": "0"}, "", id="PATH-turned-off"),
        pytest.param(BIN, {"CUDA_PATH": ""}, "", id="empty"),
        pytest.param(BIN, {"CUDA_PATH": "C:\\a\0b"}, "does not exist", id="no-name-at-all"),
        pytest.param("bin", {"PATH": "bin"}, "is not an absolute directory", id="relative"),
        pytest.param("C:cuda", {"PATH": "C:cuda"}, "is not an absolute directory", id="drive"),
        pytest.param("\\cuda", {"PATH": "\\cuda"}, "is not an absolute directory", id="no-drive"),
        pytest.param(
            "C:\\Windows\\Temp\\x",
            {"CUDA_PATH": "C:\\Windows\\TEMP\\x"},
            "is in a folder that every user may write to",
            id="Temp",
        ),
    ],
)
def test_a_variable_leads_nowhere(place: str, environ: Mapping[str, str], reason: str) -> None:
    machine = Machine({place: NPP}, environ)
    assert machine.choose() == {}
    reasons = {text for _, source, text in machine.refuse() if source in environ}
    assert reason in reasons or not reason


@pytest.mark.parametrize("value", ["D:\\gone", "bin", f"{BIN};D:\\gone"])
def test_a_mistake_in_the_override_is_an_error_that_names_it(value: str) -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": value})
    with pytest.raises(ImportError, match=r'OPENCV_CUDA_DLL_DIRS names "(D:.gone|bin)"'):
        machine.load()
    machine.environ["OPENCV_CUDA_DLL_DIRS"] = BIN
    assert machine.choose() == {"npp": BIN}


# Which directories are the same


@pytest.mark.parametrize("is_numbered", [True, False], ids=["NTFS", "a-share-without-numbers"])
@pytest.mark.parametrize(
    ("spelling", "is_text_enough"),
    [
        ("C:\\work", True),
        ("c:\\WORK\\", True),
        ("C:\\other\\..\\work", True),
        ("C:\\junction", False),
        ("C:\\WORKDI~1", False),
        ("\\\\localhost\\C$\\work", False),
        ("\\\\?\\C:\\work", False),
    ],
)
def test_the_working_directory_has_many_names(
    spelling: str, is_text_enough: bool, is_numbered: bool
) -> None:
    machine = Machine({"C:\\work": NPP}, {"CUDA_PATH": spelling})
    names = ("C:\\junction", "C:\\WORKDI~1", "\\\\localhost\\C$\\work")
    machine.aliases = dict.fromkeys(names, "C:\\work")
    machine.is_numbered = is_numbered
    assert (machine.choose() == {}) == (is_numbered or is_text_enough)


def test_a_directory_is_known_by_what_it_is_whatever_lies_between() -> None:
    machine = Machine({"C:\\Users\\Public\\x\\bin": NPP}, {"CUDA_PATH": "D:\\link\\x"})
    machine.aliases["D:\\link"] = "C:\\Users\\Public"
    assert machine.choose() == {}


def test_a_working_directory_that_was_removed_ends_nothing() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    machine.os.getcwd = lambda: machine.listdir("D:\\gone")
    assert machine.choose() == {"npp": BIN}


# By file, each for this processor

ODD = GOOD.replace(b"PE\0\0\x64\x86", b"PE\0\0\x32\x50")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(X86, "for 32-bit Windows (x86)", id="32-bit"),
        pytest.param(ARM64, "for ARM64", id="ARM64"),
        pytest.param(ODD, "for 0x5032", id="odd"),
        pytest.param(GOOD[:-1], "cut off", id="cut-off-by-a-byte"),
        pytest.param(GOOD[:512], "cut off", id="headers-alone"),
        pytest.param(
            GOOD[:100],
            "cut off",
            id="not-even-headers",
            marks=pytest.mark.xfail(reason="no section is read, so none is missed", strict=True),
        ),
        pytest.param(b"", "no DLL", id="empty"),
        pytest.param(b"MZ", "no DLL", id="two-bytes"),
        pytest.param(None, "unreadable (PermissionError)", id="forbidden"),
        pytest.param(ARM64X, "", id="ARM64X"),
        pytest.param(GOOD + b"signature", "", id="longer-than-its-sections"),
    ],
)
def test_a_file_is_taken_where_windows_loads_it(content: bytes | None, reason: str) -> None:
    files = {NPP[0]: GOOD, NPP[1]: content or b""}
    machine = Machine({BIN: files, LATER: NPP}, {**TOOLKIT_SET, "PATH": LATER})
    if content is None:
        machine.errors[f"{BIN}\\{NPP[1]}"] = PermissionError(13, "Zugriff verweigert")
    assert machine.choose() == {"npp": LATER if reason else BIN}
    place = (BIN, "CUDA_PATH", f"holds a nppif64_12.dll that is {reason}")
    assert (place in machine.refuse()) == bool(reason)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param(NPP[:1], "has no nppif64_12.dll", id="part"),
        pytest.param(["nppc64_11.dll"], "holds nppc64_11.dll, which is another version", id="11"),
        pytest.param(["cudart64_12.dll"], "holds none of them", id="none"),
    ],
)
def test_a_directory_without_every_file_is_not_taken(files: Sequence[str], reason: str) -> None:
    machine = Machine({BIN: files, LATER: NPP}, {**TOOLKIT_SET, "PATH": LATER})
    assert machine.choose() == {"npp": LATER}
    assert (BIN, "CUDA_PATH", reason) in machine.refuse()


@pytest.mark.parametrize("error", [NotADirectoryError(20, "x"), PermissionError(13, "x")])
def test_a_place_that_cannot_be_listed_is_passed_over(error: Exception) -> None:
    machine = Machine({LATER: NPP}, {"PATH": f"D:\\a;{LATER}"})
    machine.errors["D:\\a"] = error
    assert machine.choose() == {"npp": LATER}
    assert ("D:\\a", "PATH", "cannot be read") in machine.refuse()


def test_a_family_that_is_nowhere_does_not_stop_the_others() -> None:
    families = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}
    machine = Machine(
        {BIN: NPP + CUBLAS, "D:\\cudnn": CUDNN + CUBLAS},
        {**TOOLKIT_SET, "PATH": "D:\\cudnn"},
        families=families | {"cufft": ("cufft64_11.dll",)},
    )
    assert machine.choose() == {"npp": BIN, "cublas": BIN, "cudnn": "D:\\cudnn"}
    assert machine.registered == [BIN, "D:\\cudnn"] or machine.registered == ["D:\\cudnn", BIN]


# What is loaded

EVERYTHING = {
    "npp": ("nppif64_12.dll", "nppc64_12.dll"),
    "cublas": ("cublas64_12.dll", "cublasLt64_12.dll"),
    "cufft": ("cufftw64_11.dll", "cufft64_11.dll"),
    "cudnn": CUDNN,
    "nvrtc": ("nvrtc64_120_0.dll",),
}
FILES = [name for names in EVERYTHING.values() for name in names]


def test_files_are_loaded_before_those_that_import_them_and_no_others_are() -> None:
    parts = ["cudnn_ops64_9.dll", "cudnn_graph64_9.dll", "npps64_12.dll"]
    machine = Machine(
        {BIN: [*FILES, *parts]}, TOOLKIT_SET, families=EVERYTHING, delayed=EVERYTHING["nvrtc"]
    )
    assert machine.load() == [BIN]
    names = [path.rpartition("\\")[2] for path in machine.kernel.loads]
    assert sorted(names) == sorted(set(FILES) - {"nvrtc64_120_0.dll"})
    for first, second in (("cublasLt", "cublas64"), ("nppc", "nppif"), ("cufft64", "cufftw")):
        ranks = [next(rank for rank, name in enumerate(names) if name.startswith(start))
                 for start in (first, second)]  # fmt: skip
        assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("python", "flags", "registered"),
    [pytest.param((3, 8), 0x1100, [BIN], id="3.8"), pytest.param((3, 7), 8, [], id="3.7")],
)
def test_files_are_loaded_as_that_python_loads_its_modules_and_no_dialog_opens(
    python: tuple[int, int], flags: int, registered: list[str]
) -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET, python=python)
    assert machine.load() == registered
    paths = [f"{BIN}\\{name}" for name in NPP]
    assert machine.kernel.flags == dict.fromkeys(paths, flags)
    assert machine.kernel.modes == dict.fromkeys(paths, 0x8003)
    assert machine.kernel.mode == 1
    assert machine.environ["PATH"] == f"{BIN};{SYSTEM}"


def test_a_file_that_does_not_load_ends_nothing_and_no_other_directory_is_tried() -> None:
    machine = Machine({BIN: NPP, LATER: NPP}, {**TOOLKIT_SET, "PATH": LATER})
    machine.kernel.numbers[f"{BIN}\\nppc64_12.dll"] = 5
    assert machine.choose() == {"npp": BIN}
    assert machine.kernel.loads == [f"{BIN}\\{name}" for name in NPP]


def test_what_another_package_loaded_is_not_loaded_again_nor_freed() -> None:
    machine = Machine({BIN: SOUND, "C:\\torch": SOUND}, TOOLKIT_SET)
    machine.kernel.modules = {name: f"C:\\torch\\{name}" for name in NPP[:1]}
    assert machine.choose() == {"npp": "C:\\torch"}
    assert machine.kernel.loads == [f"C:\\torch\\{NPP[1]}"]
    machine.start()
    machine.fail(KeyboardInterrupt())
    assert machine.kernel.modules[NPP[0]] == f"C:\\torch\\{NPP[0]}"
    assert set(machine.kernel.frees) <= {f"C:\\torch\\{NPP[1]}"}


@pytest.mark.parametrize("error", [ImportError("x"), KeyboardInterrupt()], ids=repr)
def test_after_a_failure_what_was_loaded_for_it_is_freed_the_last_first(
    error: BaseException,
) -> None:
    machine = Machine({BIN: SOUND}, TOOLKIT_SET)
    machine.fail(error)
    assert machine.kernel.frees == [f"{BIN}\\{name}" for name in reversed(NPP)]
    assert machine.kernel.modules == {}
    assert machine.registered == []


def test_after_success_nothing_is_freed_and_a_second_import_loads_nothing() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    for _ in range(2):
        assert machine.load() == [BIN]
    assert len(machine.kernel.loads) == len(NPP)
    assert machine.kernel.frees == []


def test_without_ctypes_directories_are_registered_and_nothing_is_loaded() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    machine.kernel.ctypes = None
    assert machine.load() == [BIN]
    assert machine.kernel.loads == []


def test_a_directory_that_windows_does_not_register_has_its_dlls_loaded() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    machine.os.add_dll_directory = lambda _: machine.listdir("D:\\gone")
    assert machine.load() == []
    assert machine.kernel.loads == [f"{BIN}\\{name}" for name in NPP]


# Stand-ins for the driver

STAND_INS = {"nvcuda.dll": "cv2/stand-ins/nvcuda"}
STAND_IN = f"{SITE}\\cv2\\stand-ins\\nvcuda"


@pytest.mark.parametrize(
    ("has_ctypes", "system", "loads", "registered"),
    [
        pytest.param(True, [], ["nvcuda.dll", f"{STAND_IN}\\nvcuda.dll"], [], id="no-driver"),
        pytest.param(True, ["nvcuda.dll"], ["nvcuda.dll"], [], id="a-driver"),
        pytest.param(False, [], [], [STAND_IN], id="no-driver-and-no-ctypes"),
        pytest.param(False, ["NvCuda.dll"], [], [], id="a-driver-and-no-ctypes"),
    ],
)
def test_a_stand_in_never_hides_a_driver_and_stands_on_no_path(
    has_ctypes: bool, system: list[str], loads: list[str], registered: list[str]
) -> None:
    machine = Machine(
        {STAND_IN: ["nvcuda.dll"], SYSTEM: system}, families={}, stand_ins=STAND_INS
    )
    machine.kernel.ctypes = machine.kernel.ctypes if has_ctypes else None
    assert machine.load() == registered
    assert machine.load() == registered
    assert machine.kernel.loads == loads
    assert machine.environ["PATH"] == SYSTEM


# What is changed in the process, and put back


def test_path_has_first_what_is_loaded_by_name_and_each_directory_once() -> None:
    places = {f"D:\\{family}": names for family, names in EVERYTHING.items()}
    before = ['"D:\\NPP"', "C:\\Windows", "", *places, "D:\\cudnn\\"]
    machine = Machine(places, {"PATH": ";".join(before)}, families=EVERYTHING)
    machine.load()
    first = [f"d:\\{family}" for family in ("cudnn", "nvrtc", "cublas", "npp", "cufft")]
    assert machine.environ["PATH"].lower().split(";") == [*first, "c:\\windows", ""]


@pytest.mark.parametrize("value", ['C:\\a;;"C:\\b"', None], ids=["odd", "unset"])
def test_path_stays_as_it_is_where_nothing_is_chosen(value: str | None) -> None:
    machine = Machine({}, {"PATH": value or ""})
    if value is None:
        del machine.environ["PATH"]
    machine.load()
    assert machine.environ.get("PATH") == value


def test_an_empty_entry_that_opencvs_loader_puts_into_path_is_taken_out() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    with machine.run(), machine.loading:
        machine.environ["PATH"] = ";" + machine.environ["PATH"]
    assert machine.environ["PATH"] == f"{BIN};{SYSTEM}"


@pytest.mark.parametrize("path", [SYSTEM, None], ids=["PATH", "no-PATH"])
def test_a_failure_leaves_nothing_behind(path: str | None) -> None:
    machine = Machine({BIN: SOUND}, TOOLKIT_SET)
    if path is None:
        del machine.environ["PATH"]
    package, folders = ModuleType("cv2"), list(machine.sys.path)
    machine.sys.modules["cv2"] = package
    machine.fail(KeyboardInterrupt())
    assert machine.sys.path == folders
    assert machine.sys.modules == {"cv2": package}
    assert machine.environ.get("PATH") == path
    assert not hasattr(machine.sys, "OpenCV_LOADER")


def test_a_recursion_is_still_seen_by_the_loaders_own_check() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    with machine.run(), machine.loading:
        machine.sys.OpenCV_LOADER = True
        assert machine.load() == [BIN]
        assert machine.sys.OpenCV_LOADER
        machine.fail(ImportError("recursion"))
        assert machine.sys.OpenCV_LOADER
        assert machine.registered == [BIN]
        assert machine.kernel.frees == []


def test_a_flag_that_an_earlier_failure_left_is_not_taken_for_a_recursion() -> None:
    machine = Machine({})
    machine.sys.OpenCV_LOADER = True
    machine.load()
    assert not hasattr(machine.sys, "OpenCV_LOADER")


def test_a_reload_keeps_what_is_registered_and_loaded() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    machine.load()
    names = vars(machine.module)
    exec(compile(FILE.read_text(encoding="utf-8"), FILE, "exec"), names)  # noqa: S102
    assert machine.module.loading() is machine.loading
    assert machine.load() == [BIN]
    assert machine.kernel.frees == []


def test_off_windows_nothing_is_done() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"})
    machine.os.name = "posix"
    assert machine.load() == machine.calls == machine.kernel.loads == []


def test_the_search_asks_little_where_cuda_path_is_right() -> None:
    path = ";".join(f"D:\\tools\\{number}" for number in range(40))
    machine = Machine({BIN: FILES}, {**TOOLKIT_SET, "PATH": path}, families=EVERYTHING)
    machine.load()
    assert len(machine.calls) == len(set(machine.calls)) <= 24
    assert not [call for call in machine.calls if "tools" in call]


# In a genuine process

SCRIPT = """\
import json, os, sys, threading
sys.path.insert(0, sys.argv[1])
os.environ["CURED"] = "1"
os.name = "nt"
answers = []
def attempt():
    import cv2
    answers.append(cv2.resize())
threads = [threading.Thread(target=attempt) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import cv2
answers.append(len(cv2.cuda_dlls.loading()._states))
answers.append("cv2._cuda_report" in sys.modules)
print(json.dumps(answers))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(
    "flags", [[], ["-I"], ["-S"], ["-I", "-S"], ["-OO"], ["-W", "error"]], ids=" ".join
)
def test_four_threads_import_it_at_once_under_every_flag(flags: list[str], tmp_path: Path) -> None:
    texts = patched({"cv2/__init__.py": b"from .cv2 import *\n"})
    for name, content in {**texts, "cv2/cv2.py": NATIVE.encode()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-B", *flags, "-c", SCRIPT, str(tmp_path)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(process.stdout) == ["resized"] * 4 + [0, False]
    assert process.stderr == ""


@pytest.mark.parametrize("file", [FILE, REPORT], ids=lambda file: str(file.name))
def test_it_is_plain_python_3_6_of_ascii_and_the_standard_library(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="ascii"), feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names = {alias.name.partition(".")[0] for node in imports for alias in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names |= {node.module or "" for node in froms if not node.level}
    assert names <= sys.stdlib_module_names


def test_a_successful_import_loads_little() -> None:
    body = ast.parse(FILE.read_text(encoding="utf-8")).body
    imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == ["import os", "import sys", "from collections import namedtuple"]


# NVIDIA's own DLLs


@pytest.mark.network
@pytest.mark.parametrize("cuda", [11, 12, 13])
def test_no_dll_of_nvidias_needs_another_family_or_the_c_runtime_at_load_time(cuda: int) -> None:
    cache = Cache.default()
    lock = read_lock(Path(__file__).parent / "proof" / "proof.lock")
    needs = {}
    for requirement in REQUIREMENTS[cuda].values():
        wheel = fetch_index(requirement, python="3.12", lock=lock, cache=cache)
        for path in toolkit_of([wheel], cache, SILENT).glob("*.dll"):
            family = classify(path.name).family
            imports = read_image(path, name=path.name).imports
            families = {classify(table.dll).family for table in imports}
            needs[path.name] = families - {family, "windows", "api-set", "driver"}
    assert needs
    assert {name: families for name, families in needs.items() if families} == {}
