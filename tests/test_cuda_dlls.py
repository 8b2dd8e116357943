"""The module that goes into cv2: what it chooses, loads and leaves, on a made-up Windows.

What a genuine Windows Python shows is in test_import_reports.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest
from loading import NATIVE, patch_texts
from machines import (
    ARM64,
    ARM64X,
    BIN,
    CUDNN,
    FILE,
    GOOD,
    NPP,
    PREFIX,
    REPORT,
    SITE,
    SOUND,
    SYSTEM,
    TOOLKIT,
    TOOLKIT_SET,
    X86,
    Machine,
    arm64_dll,
    execute,
    table,
)

NVIDIA = f"{SITE}\\nvidia"
DEFAULT = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA"
CUDNN_DEFAULT = "C:\\Program Files\\NVIDIA\\CUDNN"
LATER = "D:\\later"


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
    *("D:\\override\\bin", "D:\\override"),
    *(f"{SITE}\\cv2.libs", f"{SITE}\\cv2"),
    *(f"{NVIDIA}\\cu12\\bin\\x86_64", f"{NVIDIA}\\npp\\bin", f"{PREFIX}\\Lib\\nvidia\\npp\\bin"),
    *("C:\\venv\\Library\\bin", "C:\\venv\\bin", f"{PREFIX}\\Library\\bin"),
    *("D:\\own\\bin\\x64", "D:\\own\\bin", "D:\\path\\bin", "D:\\home\\bin"),
    *("D:\\10\\bin", "D:\\8\\bin"),
    *("D:\\cudnn\\bin\\12.10\\x64", "D:\\cudnn\\bin\\12.9\\x64", "D:\\cudnn\\bin\\12.9"),
    *("D:\\cudnn\\bin\\x64", "D:\\cudnn\\bin", "D:\\cudnn"),
    *(f"{DEFAULT}\\v12.10\\bin", f"{DEFAULT}\\v12.9\\bin"),
    *(f"{CUDNN_DEFAULT}\\v9.10\\bin\\12.9", f"{CUDNN_DEFAULT}\\v9.2\\bin\\12.9"),
    *(PREFIX, "D:\\a\\bin", "D:\\a", "D:\\b"),
]


@pytest.mark.parametrize("rank", range(len(ORDER)), ids=ORDER)
def test_a_place_is_taken_before_all_that_come_after_it(rank: int) -> None:
    places: dict[str, Sequence[str]] = {"D:\\override": ["other.dll"]}
    places |= dict.fromkeys(ORDER[rank:], NPP)
    machine = Machine(places, VARIABLES, vendored=("cv2.libs",))
    machine.sys.prefix = "C:\\venv"
    assert machine.choose() == {"npp": ORDER[rank]}
    assert machine.registered == list(dict.fromkeys([ORDER[rank], "D:\\override"]))


OTHER_DRIVE = "E:\\Apps\\NVIDIA GPU Computing Toolkit\\CUDA\\v12.1\\bin"


@table(
    "place, environ, cuda, is_taken",
    {
        "no-minor-is-known": (f"{DEFAULT}\\v12.6\\bin", {}, (12, None), True),
        "no-CUDA-is-known": (f"{DEFAULT}\\v12.6\\bin", {}, None, True),
        "PROGRAMFILES-unset": (f"{DEFAULT}\\v12.1\\bin", {"PROGRAMFILES": ""}, (12, 9), True),
        "another-drive": (OTHER_DRIVE, {"PROGRAMFILES": "E:\\Apps"}, (12, 9), True),
        "another-major": (f"{DEFAULT}\\v13.0\\bin", {}, (12, 9), False),
        "a-variable-of-none": ("D:\\c\\bin", {"CUDA_PATH_V12_X": "D:\\c"}, None, False),
    },
)
def test_a_toolkit_counts_by_its_major(
    place: str, environ: Mapping[str, str], cuda: tuple[int, int] | None, *, is_taken: bool
) -> None:
    chosen = Machine({place: NPP}, environ, cuda=cuda).choose()
    assert chosen == ({"npp": place} if is_taken else {})


PUBLIC = "C:\\Users\\Public\\Python312"


@table(
    "below, prefix, folder, cwd, is_taken",
    {
        "a-prefix-that-is-the-working-directory": ("tools", PUBLIC, "", PUBLIC, True),
        "where-Python-imports-from": ("tools", PREFIX, PUBLIC, "C:\\work", True),
        "as-the-working-directory": ("tools", PREFIX, PUBLIC, PUBLIC, False),
        "nobody-trusts-it": ("tools", PREFIX, "", "C:\\work", False),
    },
)
def test_where_every_user_may_write_only_what_is_below_a_trusted_folder_is_taken(
    below: str, prefix: str, folder: str, cwd: str, *, is_taken: bool
) -> None:
    place = f"{PUBLIC}\\{below}"
    machine = Machine({place: NPP}, {"PATH": place})
    machine.sys.prefix, machine.sys.path, machine.cwd = prefix, ["", SITE, folder], cwd
    assert machine.choose() == ({"npp": place} if is_taken else {})


@pytest.mark.parametrize(("machine", "folder"), [("x86-64", "\\x64"), ("arm64", "\\arm64")])
def test_the_folder_of_another_processor_is_not_looked_at(machine: str, folder: str) -> None:
    contents = {"\\x64": GOOD, "\\arm64": ARM64, "": X86}
    places = {BIN + name: dict.fromkeys(NPP, content) for name, content in contents.items()}
    assert Machine(places, TOOLKIT_SET, machine=machine).choose() == {"npp": BIN + folder}


@pytest.mark.parametrize("place", ["C:\\app\\lib", "C:\\app", "C:\\app\\lib\\nvidia\\npp\\bin"])
def test_a_frozen_program_finds_the_dlls_that_were_put_into_it(place: str) -> None:
    machine = Machine({place: NPP}, {"OPENCV_CUDA_SEARCH_PATH": "0"})
    machine.start("C:\\app\\lib")
    machine.sys.path, machine.kernel.program = ["C:\\app\\lib"], "C:\\app\\app.exe"
    machine.module.__compiled__ = object()  # as Nuitka does
    assert machine.choose() == {"npp": place}


# What is read from variables


@table(
    "place, environ",
    {
        "a-variable": (BIN, {"CUDA_PATH": "%root%\\v12.9", "root": "C:\\CUDA"}),
        "the-second-of-two": (BIN, {"CUDA_PATH": "D:\\no;C:\\CUDA\\v12.9"}),
        "a-semicolon": ("C:\\a;ä\\库 [1]", {"PATH": 'C:\\a;"C:\\a;ä\\库 [1]";C:\\b'}),
        "one-percent-sign": ("C:\\a%b", {"PATH": "C:\\a%b"}),
        "below-the-working-directory": ("C:\\work\\bin", {"PATH": "C:\\work\\bin"}),
        "by-the-users-order": ("C:\\work", {"OPENCV_CUDA_DLL_DIRS": "C:\\work"}),
    },
)
def test_a_variable_leads_to_a_directory(place: str, environ: Mapping[str, str]) -> None:
    assert Machine({place: [name.upper() for name in NPP]}, environ).choose() == {"npp": place}


@table(
    "place, environ, reason",
    {
        "drive-alone": ("C:cuda", {"PATH": "C:cuda"}, "not-absolute"),
        "no-drive": ("\\cuda", {"PATH": "\\cuda"}, "not-absolute"),
        "below-what-is-the-working-directory": (
            "C:\\work\\bin",
            {"PATH": "C:\\work"},
            "working-directory",
        ),
        "Temp": ("C:\\Windows\\Temp\\x", {"PATH": "C:\\Windows\\TEMP\\x"}, "writable-by-all"),
    },
)
def test_a_variable_leads_to_nothing_that_is_taken(
    place: str, environ: Mapping[str, str], reason: str
) -> None:
    machine = Machine({place: NPP}, environ)
    assert machine.choose() == {}
    reasons = {row[2] for row in machine.refuse() if row[1] in environ}
    assert reasons - {"holds-none"} == {reason}


def test_on_a_share_without_file_numbers_the_working_directory_is_known_by_its_text() -> None:
    environ = {"CUDA_PATH": "C:\\x\\..\\WORK\\", "CUDA_HOME": TOOLKIT}
    machine = Machine({BIN: NPP, "C:\\work": NPP}, environ)
    machine.is_numbered = False
    assert machine.choose() == {"npp": BIN}


# By file, each for this processor


@table(
    "content, reason",
    {
        "cut-off-by-a-byte": (GOOD[:-1], "cut-off"),
        "not-even-headers": (GOOD[:100], "cut-off"),
        "forbidden": (None, "unreadable"),
        "ARM64-with-a-load-configuration": (arm64_dll(metadata=0), "other-machine"),
        "ARM64X": (ARM64X, ""),
        "longer-than-its-sections": (GOOD + b"signature", ""),
    },
)
def test_a_file_is_taken_where_windows_loads_it(content: bytes | None, reason: str) -> None:
    files = {NPP[0]: GOOD, NPP[1]: content or b""}
    error = PermissionError(13, "Zugriff verweigert")
    errors = {f"{BIN}\\{NPP[1]}": error} if content is None else {}
    machine = Machine({BIN: files, LATER: NPP}, {**TOOLKIT_SET, "PATH": LATER}, errors=errors)
    assert machine.choose() == {"npp": LATER if reason else BIN}
    assert ((BIN, "CUDA_PATH", reason, NPP[1]) in machine.refuse()) == bool(reason)


@pytest.mark.parametrize("error", [NotADirectoryError(20, "x"), PermissionError(13, "x")])
def test_a_place_that_cannot_be_listed_is_passed_over(error: Exception) -> None:
    machine = Machine({LATER: NPP}, {"PATH": f"D:\\a;{LATER}"}, errors={"D:\\a": error})
    assert machine.choose() == {"npp": LATER}
    assert ("D:\\a", "PATH", "unreadable", "") in machine.refuse()


# What is loaded

EVERYTHING = {
    "npp": ("nppif64_12.dll", "nppc64_12.dll"),
    "cublas": ("cublas64_12.dll", "cublasLt64_12.dll"),
    "cufft": ("cufftw64_11.dll", "cufft64_11.dll"),
    "cudnn": CUDNN,
    "nvrtc": ("nvrtc64_120_0.dll",),
    "nowhere": ("nowhere.dll",),
}
FILES = [name for family, names in EVERYTHING.items() for name in names if family != "nowhere"]


def test_files_are_loaded_before_those_that_import_them_and_no_others_are() -> None:
    places = {BIN: [*FILES, "cudnn_ops64_9.dll", "cudnn_graph64_9.dll", "npps64_12.dll"]}
    delayed = EVERYTHING["nvrtc"]
    machine = Machine(places, TOOLKIT_SET, families=EVERYTHING, delayed=delayed)
    assert machine.load() == [BIN]
    names = [path.removeprefix(f"{BIN}\\") for path in machine.kernel.loads]
    assert sorted(names) == sorted(set(FILES) - set(delayed))
    for later, first in (EVERYTHING[family] for family in ("npp", "cublas", "cufft")):
        assert names.index(first) < names.index(later)


@table("python, flags, registered", {"3.8": ((3, 8), 0x1100, [BIN]), "3.7": ((3, 7), 8, [])})
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


def test_after_success_nothing_is_loaded_again_or_freed_not_even_by_a_later_failure() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    for _ in range(2):
        assert machine.load() == [BIN]
    machine.fail(ImportError("cv2 was taken out of sys.modules, and something else is wrong"))
    assert machine.registered == [BIN]
    assert len(machine.kernel.loads) == len(NPP)
    assert machine.kernel.frees == []


def refuse(*_: object) -> NoReturn:
    raise FileNotFoundError(2, "Das System kann den Pfad nicht finden")


@pytest.mark.parametrize("function", ["os.getcwd", "os.stat", "os.path.realpath"])
def test_what_windows_cannot_do_ends_nothing(function: str) -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    owner, _, name = function.rpartition(".")
    setattr(attrgetter(owner)(machine), name, refuse)
    assert machine.choose() == {"npp": BIN}
    assert machine.kernel.loads == [f"{BIN}\\{name}" for name in NPP]


# What is changed in the process, and put back


def test_path_has_first_what_is_loaded_by_name_and_each_directory_once() -> None:
    places = {f"D:\\{family}": names for family, names in EVERYTHING.items() if family != "nowhere"}
    before = ['"D:\\NPP"', "C:\\Windows", "", *places, "D:\\cudnn\\"]
    machine = Machine(places, {"PATH": ";".join(before)}, families=EVERYTHING)
    machine.load()
    first = [f"d:\\{family}" for family in ("cudnn", "nvrtc", "cublas", "npp", "cufft")]
    assert machine.environ["PATH"].lower().split(";") == [*first, "c:\\windows", ""]


def test_path_stays_as_it_is_where_nothing_is_chosen_and_gets_no_empty_entry() -> None:
    path = 'C:\\a;;"C:\\b"'
    machine = Machine({}, {"PATH": path})
    machine.load()
    assert machine.environ["PATH"] == path
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    with machine.run(), machine.loading:
        machine.environ["PATH"] = ";" + machine.environ["PATH"]  # as OpenCV's loader does
    assert machine.environ["PATH"] == f"{BIN};{SYSTEM}"


@pytest.mark.parametrize("path", [SYSTEM, None], ids=["PATH", "no-PATH"])
@pytest.mark.parametrize("error", [ImportError("x"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_nothing_behind_and_frees_the_last_first(
    error: BaseException, path: str | None
) -> None:
    machine = Machine({BIN: SOUND}, {**TOOLKIT_SET, "PATH": path})
    package, folders = ModuleType("cv2"), list(machine.sys.path)
    machine.sys.modules["cv2"] = package
    machine.fail(error)
    assert machine.sys.path == folders
    assert machine.sys.modules == {"cv2": package}
    assert machine.environ.get("PATH") == path
    assert not hasattr(machine.sys, "OpenCV_LOADER")
    assert machine.kernel.frees == [f"{BIN}\\{name}" for name in reversed(NPP)]
    assert machine.kernel.modules == {}
    assert machine.registered == []


def test_a_recursion_is_still_seen_by_the_loaders_own_check() -> None:
    machine = Machine({BIN: NPP}, TOOLKIT_SET)
    with machine.run(), machine.loading:
        machine.sys.OpenCV_LOADER = True
        assert machine.load() == [BIN]
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
    assert execute(FILE, _loading=machine.loading).loading() is machine.loading


def test_off_windows_nothing_is_done() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"})
    machine.os.name = "posix"
    assert machine.load() == machine.calls == machine.kernel.loads == []


def test_the_search_asks_little_where_cuda_path_is_right() -> None:
    path = ";".join(f"D:\\tools\\{number}" for number in range(40))
    families = {family: names for family, names in EVERYTHING.items() if family != "nowhere"}
    machine = Machine({BIN: FILES}, {**TOOLKIT_SET, "PATH": path}, families=families)
    machine.load()
    assert len(machine.calls) == len(set(machine.calls)) <= 24
    assert not [call for call in machine.calls if "tools" in call]


# The report, and each step


def test_the_report_tells_what_is_chosen_missing_and_a_stand_in() -> None:
    folder = f"{SITE}\\cv2\\stand-ins\\nvcuda"
    machine = Machine(
        {BIN: SOUND, "D:\\cudnn": {CUDNN[0]: X86}, folder: ["nvcuda.dll"]},
        {**TOOLKIT_SET, "PATH": "D:\\cudnn"},
        families={"npp": NPP, "cudnn": CUDNN},
        delayed=CUDNN,
        stand_ins={"nvcuda.dll": "cv2/stand-ins/nvcuda"},
    )
    stand_in = f"{folder}\\nvcuda.dll"
    text, facts = machine.ask(), json.loads(machine.ask("--json"))
    assert f"npp: {BIN} (CUDA_PATH)\ncudnn: not found: cudnn64_9.dll\n" in text
    assert f"{stand_in}: a stand-in, which says that there is no device\n" in text
    assert "its cudnn64_9.dll is for 32-bit Windows (x86): D:\\cudnn (PATH)\n" in text
    assert facts["missing"] == {"cudnn": list(CUDNN)}
    assert (facts["drivers"], facts["stand_ins"]) == ({"nvcuda.dll": stand_in}, [stand_in])
    assert {"other-machine", "holds-none"} <= {refusal["reason"] for refusal in facts["refused"]}


def test_letters_that_a_console_has_not_are_written_in_another_way() -> None:
    machine = Machine({"D:\\库": NPP}, {"PATH": "D:\\库"})
    assert "npp: D:\\\\u5e93 (PATH)" in machine.ask(encoding="cp1252")


@pytest.mark.parametrize(
    ("line", "first", "is_asked"),
    [
        ("python -m cv2.cuda_dlls --json", "-m", True),
        ("python -mcv2.cuda_dlls", "-m", True),
        ("python -Im cv2.cuda_dlls", "-m", True),
        ("python -m pytest -m cv2.cuda_dlls", "-m", False),
    ],
)
@pytest.mark.parametrize("python", [(3, 9), (3, 12)], ids=["3.9", "3.12"])
def test_it_knows_when_it_is_asked(
    line: str, first: str, python: tuple[int, int], *, is_asked: bool
) -> None:
    machine = Machine({}, python=python)
    machine.sys.argv = [first]
    machine.kernel.command_line = line
    if python >= (3, 10):
        machine.sys.orig_argv = line.split()
    with machine.run():
        assert machine.module.is_run_as_program() == is_asked


@pytest.mark.parametrize(("value", "is_printed"), [("1", True), ("0", False), ("", False)])
def test_each_step_is_printed_where_that_is_asked_for(value: str, *, is_printed: bool) -> None:
    machine = Machine({BIN: NPP}, {**TOOLKIT_SET, "OPENCV_CUDA_DEBUG": value})
    machine.load()
    lines = machine.sys.stderr.getvalue().splitlines()
    assert bool(lines) == is_printed
    assert (f"cv2.cuda_dlls: load {BIN}\\{NPP[1]}: 0" in lines) == is_printed


# In a genuine process

SCRIPT = """\
import os, sys, threading
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
print(*answers, "cv2._cuda_report" in sys.modules, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    "flags", [[], ["-I"], ["-S"], ["-I", "-S"], ["-OO"], ["-W", "error"]], ids=" ".join
)
def test_four_threads_import_it_at_once_under_every_flag(flags: list[str], tmp_path: Path) -> None:
    texts = patch_texts({"cv2/__init__.py": b"from .cv2 import *\n"})
    (tmp_path / "cv2").mkdir()
    for name, content in {**texts, "cv2/cv2.py": NATIVE.encode()}.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-B", *flags, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [*["resized"] * 4, "False"]
    assert done.stderr == ""


@pytest.mark.parametrize("file", [FILE, REPORT], ids=lambda file: str(file.name))
def test_it_is_plain_python_3_6_of_ascii_and_the_standard_library(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="ascii"), feature_version=(3, 6))
    nodes = list(ast.walk(tree))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [node.module or "" for node in froms if not node.level]
    assert {name.partition(".")[0] for name in modules} <= {*sys.stdlib_module_names, ""}
