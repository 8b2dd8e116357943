"""What a failed import of cv2 says, on a made-up Windows: what test_import_reports cannot show."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machines import (
    ARM64,
    ARM64X,
    BIN,
    BUILD,
    CUBLAS,
    CUDNN,
    CV2,
    GOOD,
    IMPORTS,
    NPP,
    PREFIX,
    SITE,
    SOUND,
    SYSTEM,
    TOOLKIT_SET,
    X86,
    Machine,
    arm64_dll,
    dll,
    make_native_error,
    rows,
)

from repack.dlls import FAMILIES

GOLDEN = Path(__file__).parent / "golden" / "messages"
PAGES = Path(__file__).parents[1] / "docs" / "import-failed"
NVIDIA = f"{SITE}\\nvidia\\npp\\bin"
OLD = {**SOUND, NPP[0]: dll("nppOld")}


def make_sound(**options: Any) -> Machine:  # noqa: ANN401 - whatever a machine takes
    """Return a machine that has all that is needed."""
    return Machine({BIN: SOUND}, TOOLKIT_SET, **options)


def make_old(place: str, environ: Mapping[str, str] | None = None) -> Machine:
    """Return a machine whose only DLL lacks a symbol that the native module asks for."""
    imports = {NPP[0]: ["nppGetLibVersion"]}
    return Machine({place: OLD}, environ, imports=imports, families={"npp": NPP[:1]})


def explain_line(machine: Machine, number: int | None = None, path: str = CV2) -> str:
    """Return the first line of a message: what is wrong, and what to do about it."""
    return machine.explain(number, path).partition("\n")[0]


def is_told(machine: Machine) -> bool:
    """Return whether a failed import ends with another error than Python's own."""
    error = make_native_error()
    return machine.fail(error) is not error


# Whole messages


def nothing_anywhere() -> str:
    imports = {**IMPORTS, "cublas64_12.dll": ["f"], "cudnn64_9.dll": ["g"]}
    families = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}
    environ = {"PATH": f"{SYSTEM};D:\\tools;relative"}
    return Machine({}, environ, imports=imports, families=families).explain()


def toolkits_for_other_processors() -> str:
    places = {BIN: dict.fromkeys(NPP, X86), "D:\\arm": dict.fromkeys(NPP, ARM64)}
    return Machine(places, {**TOOLKIT_SET, "PATH": "D:\\arm"}).explain()


def an_older_dll_that_another_package_loaded() -> str:
    machine = make_old("C:\\torch\\lib")
    machine.kernel.modules = {NPP[0]: f"C:\\torch\\lib\\{NPP[0]}"}
    return machine.explain(127)


def an_old_run_time_of_a_host_program() -> str:
    machine = make_sound()
    machine.kernel.program = "C:\\Blender\\blender.exe"
    version = b"\xbd\x04\xef\xfe\0\0\1\0\x1b\0\x0e\0\0\0\x98\x73"
    machine.add("C:\\Blender", {"blender.exe": GOOD, "msvcp140.dll": GOOD + version})
    machine.kernel.modules = {"msvcp140.dll": "C:\\Blender\\msvcp140.dll"}
    return machine.explain(1114)


def no_driver_and_several_distributions() -> str:
    machine = make_sound(imports={**IMPORTS, "nvcuda.dll": ["cuInit"]})
    names = ["opencv_python-4.9.0.80.dist-info", "opencv_contrib_python-4.13.0.dist-info"]
    machine.add(SITE, names)
    return machine.explain()


def another_numpy() -> str:
    machine = make_sound()
    machine.sys.modules["numpy"] = SimpleNamespace(__version__="2.3.1")
    return str(machine.fail(ImportError("numpy.core.multiarray failed to import")))


def an_override_that_is_gone() -> str:
    with pytest.raises(ImportError) as caught:
        Machine({}, {"OPENCV_CUDA_DLL_DIRS": "D:\\gone"}).load()
    return str(caught.value)


CASES: dict[str, Callable[[], str]] = {
    "a_32_bit_python": lambda: make_sound(program=X86).explain(193),
    "a_toolkit_of_another_major": lambda: Machine(
        {"D:\\13": ["nppc64_13.dll"]}, {"CUDA_PATH": "D:\\13"}
    ).explain(),
    "an_older_wheel_of_nvidias": lambda: make_old(NVIDIA).explain(127),
    "an_older_dll_that_another_package_loaded": an_older_dll_that_another_package_loaded,
    "an_old_run_time_of_a_host_program": an_old_run_time_of_a_host_program,
    "an_override_that_is_gone": an_override_that_is_gone,
    "another_numpy": another_numpy,
    "no_driver_and_several_distributions": no_driver_and_several_distributions,
    "nothing_anywhere": nothing_anywhere,
    "smart_app_control": lambda: make_sound().explain(4551),
    "toolkits_for_other_processors": toolkits_for_other_processors,
}


@pytest.mark.parametrize("name", CASES)
def test_the_message_is_the_golden_one(name: str) -> None:
    golden = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert CASES[name]() + "\n" == golden
    assert set(re.findall(r"example\.com/([\w-]+)/", golden)) & pages_of_the_module()


def test_every_golden_message_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == CASES.keys()


def pages_of_the_module() -> set[str]:
    """Return the names of all pages that a message may name."""
    report = Machine({}).report
    kinds = {"cuda", "cudnn", "unknown"} | {name for name, row in FAMILIES.items() if row.cure}
    pages = {f"missing-{kind}" for kind in kinds} | {"symbol", "loaded-first", "several-opencv"}
    return pages | {*report.FAULT_PAGES.values(), *report.CAUSE_PAGES.values()}


def test_every_page_that_a_message_may_name_is_there_and_no_other() -> None:
    assert pages_of_the_module() == {path.stem for path in PAGES.glob("*.md")} - {"index"}


# A DLL that is too old (error 127): the cure reaches the place that it came from


UPGRADE = 'python -m pip install --upgrade --force-reinstall "nvidia-npp-cu12>=12.4.0,<13"'
REINSTALL = "python -m pip install --force-reinstall --no-deps opencv-contrib-python"
OVERRIDE = {"OPENCV_CUDA_DLL_DIRS": "D:\\x"}


@pytest.mark.parametrize(
    ("place", "environ", "fix"),
    rows(
        {
            "NVIDIA's-wheel": (NVIDIA, {}, UPGRADE),
            "a-toolkit": (
                BIN,
                TOOLKIT_SET,
                f"update or replace what is in {BIN}",
            ),
            "conda": (f"{PREFIX}\\Library\\bin", {}, "conda update --all"),
            "this-wheel": (f"{SITE}\\cv2", {}, REINSTALL),
            "the-override": ("D:\\x", OVERRIDE, "correct OPENCV_CUDA_DLL_DIRS, or replace D:\\x\\"),
            "the-program": (PREFIX, {}, f"remove or replace {PREFIX}\\{NPP[0]}"),
            "PATH": ("D:\\x", {"PATH": "D:\\x"}, f"remove or replace D:\\x\\{NPP[0]}"),
        }
    ),
)
def test_a_dll_that_lacks_a_symbol_is_replaced_where_it_lies(
    place: str, environ: Mapping[str, str], fix: str
) -> None:
    what = f"{place}\\{NPP[0]} has no nppGetLibVersion, which cv2.pyd needs"
    line = f"DLL load failed while importing cv2: {what}. To fix it: {fix}"
    assert explain_line(make_old(place, environ), 127).startswith(line)


def test_a_dll_that_several_files_ask_in_vain_is_told_once() -> None:
    line = explain_line(Machine({BIN: OLD}, TOOLKIT_SET), 127)
    assert line.count(f"{BIN}\\{NPP[0]}") == 1


ZLIB = "C:\\app\\zlib.dll"


@pytest.mark.parametrize(
    ("imports", "modules", "fix"),
    rows(
        {
            "of-Windows": ({"KERNEL32.dll": ["NewInEleven"]}, {}, "update Windows"),
            "of-a-program": (
                {"zlib.dll": ["inflate"]},
                {"zlib.dll": ZLIB},
                f"remove or replace {ZLIB}",
            ),
        }
    ),
)
def test_another_dll_that_lacks_a_symbol_is_replaced(
    imports: Mapping[str, list[str]], modules: dict[str, str], fix: str
) -> None:
    machine = Machine({"C:\\app": {"zlib.dll": dll("old")}}, imports=imports, families={})
    machine.kernel.modules = modules
    message = machine.explain(127)
    assert f"To fix it: {fix}" in message
    assert (f"{ZLIB} is still loaded: start Python again after the fix" in message) == bool(modules)


def test_a_cudnn_that_lacks_a_symbol_is_replaced_by_another_cudnn() -> None:
    places = {"D:\\cudnn\\bin": {CUDNN[0]: dll("old")}}
    facts: dict[str, Any] = {"imports": {CUDNN[0]: ["new"]}, "families": {"cudnn": CUDNN}}
    assert "cuDNN 9" in explain_line(Machine(places, {"CUDNN_PATH": "D:\\cudnn"}, **facts), 127)


# Numbers of errors

ERRORS = Machine({}).report.ERRORS


@pytest.mark.parametrize("number", ERRORS)
def test_a_number_that_windows_documents_is_a_sentence_and_a_cure(number: int) -> None:
    sentence, fix = ERRORS[number]
    line = f"importing cv2: {CV2} does not load: {sentence} (error {number}). To fix it: {fix}."
    assert explain_line(make_sound(), number).endswith(line)


def test_the_table_has_the_numbers_that_users_meet() -> None:
    numbers = {5, 8, 14, 21, 32, 53, 59, 64, 65, 67, 87, 182, 206, 216, 225, 226, 577, 998}
    assert numbers | {1260, 1392, 1450, 1455, 4551, 14001} <= ERRORS.keys()


def test_a_number_that_no_table_has_is_told_in_windows_words() -> None:
    line = f"{CV2} does not load: Windows' words for 1359 (error 1359)"
    assert line in explain_line(make_sound(), 1359)


def test_the_number_of_the_file_that_failed_is_told_not_that_of_the_native_module() -> None:
    machine = make_sound()
    machine.kernel.numbers[CV2] = 126
    line = f"{BIN}\\{NPP[0]} does not load: access is denied (error 5)"
    assert line in explain_line(machine, 5, f"{BIN}\\{NPP[0]}")


def test_a_file_that_windows_rejects_for_a_reason_of_its_own_is_replaced_where_it_lies() -> None:
    line = explain_line(make_sound(), 193, f"{BIN}\\{NPP[0]}")
    assert "update or replace what is in" in line


# Processors


@pytest.mark.parametrize(
    ("program", "native", "words"),
    rows(
        {
            "a-32-bit-Python": (X86, GOOD, "this Python is 32-bit"),
            "a-Python-for-ARM64": (ARM64, GOOD, "this Python is for ARM64"),
            "a-wheel-for-ARM64": (GOOD, ARM64, "this Python is 64-bit (x86-64)"),
            "ARM64X-serves-x86-64": (GOOD, ARM64X, ""),
            "ARM64X-serves-ARM64": (ARM64, ARM64X, ""),
            "a-program-that-cannot-be-read": (b"", GOOD, ""),
        }
    ),
)
def test_a_python_for_another_processor_is_told_from_a_missing_dll(
    program: bytes, native: bytes, words: str
) -> None:
    machine = Machine({f"{SITE}\\cv2": {"cv2.pyd": native}}, program=program, families={})
    line = explain_line(machine, 193)
    assert f"{words}, and {CV2} is not" in line or not words
    assert ("this Python is" in line) == bool(words)


@pytest.mark.parametrize(
    "files",
    rows(
        {
            "a-file-for-ARM64X-is-loaded": ({"core.dll": ARM64X},),
            "a-search-passes-over-a-file-for-x86": ({"core.dll": GOOD, NPP[0]: X86},),
            "a-native-module-for-ARM64X": (
                {"cv2.pyd": arm64_dll({**IMPORTS, "core.dll": []}), "core.dll": GOOD},
            ),
        },
    ),
)
def test_files_beside_the_native_module_are_judged_as_windows_does(
    files: dict[str, bytes],
) -> None:
    machine = make_sound(imports={**IMPORTS, "core.dll": ["f"]})
    machine.add(f"{SITE}\\cv2", files)
    assert not is_told(machine)


# A DLL that fails to start (error 1114)

VC_RUNTIME = BUILD["cures"]["vc-runtime"]
QT = f"{SITE}\\Qt5\\bin"
STARTING = f"{BIN}\\{NPP[1]}"


@pytest.mark.parametrize(
    ("runtime", "prefix", "fix"),
    rows(
        {
            "not-loaded": ("", PREFIX, VC_RUNTIME),
            "System32": (SYSTEM, PREFIX, VC_RUNTIME),
            "beside-Python": (PREFIX, PREFIX, VC_RUNTIME),
            # pip installs into the virtual environment, where this program does not look.
            "beside-the-base-Python": (PREFIX, "C:\\venv", f"update {PREFIX}\\python.exe, or "),
            "of-a-package": (QT, PREFIX, f"import cv2 before what loads {QT}\\msvcp140.dll"),
        },
    ),
)
def test_a_dll_that_fails_to_start_is_told_with_the_run_time_that_is_loaded(
    runtime: str, prefix: str, fix: str
) -> None:
    machine = make_sound()
    machine.sys.prefix = machine.sys.exec_prefix = prefix
    machine.kernel.numbers[CV2] = 1114  # as it needs the other
    if runtime:
        machine.add(runtime, ["msvcp140.dll"])
        machine.kernel.modules = {"msvcp140.dll": f"{runtime}\\msvcp140.dll"}
    message = machine.explain(1114, STARTING)
    assert f"{STARTING} fails to start (error 1114). To fix it: {fix}" in message
    assert ("msvcp140.dll is still loaded: start Python again" in message) == bool(runtime)


def test_of_dlls_that_fail_to_start_the_one_that_the_others_need_is_told() -> None:
    machine = make_sound()
    machine.kernel.numbers = dict.fromkeys([CV2, STARTING], 1114)
    line = f"{BIN}\\{NPP[0]} fails to start"
    assert line in explain_line(machine, 1114, f"{BIN}\\{NPP[0]}")


def test_a_run_time_whose_file_is_gone_is_told() -> None:
    machine = make_sound()
    machine.kernel.modules = {"msvcp140.dll": "E:\\gone\\msvcp140.dll"}
    assert "E:\\gone\\msvcp140.dll is still loaded" in machine.explain(1114, STARTING)


# What is missing


def test_a_dll_that_a_dll_needs_is_told_with_who_needs_it() -> None:
    core = dll("cv", imports={"cublas64_12.dll": ["f"]})
    cublas = dll("f", imports={"cublasLt64_12.dll": ["g"]})
    places = {BIN: {CUBLAS[0]: cublas}, f"{SITE}\\cv2": {"core.dll": core}}
    imports, families = {"core.dll": ["cv"]}, {"cublas": CUBLAS}
    message = Machine(places, TOOLKIT_SET, imports=imports, families=families).explain()
    assert message.startswith("DLL load failed while importing cv2: cublasLt64_12.dll ")
    assert "\n  needed by cublas64_12.dll: cublasLt64_12.dll\n" in message


def test_a_dll_of_the_wheel_that_is_cut_off_is_installed_again() -> None:
    machine = make_sound(imports={**IMPORTS, "core.dll": ["cv"]})
    machine.add(f"{SITE}\\cv2", {"core.dll": GOOD[:-1]})
    line = f"in {SITE}\\cv2, core.dll is cut off. To fix it: python -m pip install --force-reinst"
    assert line in explain_line(machine)


def test_a_dll_of_windows_that_is_there_and_does_not_load_is_missing() -> None:
    machine = make_sound(imports={**IMPORTS, "MF.dll": ["f"]})
    machine.add(SYSTEM, ["mf.dll"])
    assert "MF.dll was not found" in machine.explain(126, "MF.dll")


def test_without_ctypes_the_files_alone_tell() -> None:
    machine = make_old(BIN, TOOLKIT_SET)
    machine.kernel.ctypes = None
    assert f"{BIN}\\{NPP[0]} has no nppGetLibVersion" in explain_line(machine)


def test_on_python_3_7_path_is_searched() -> None:
    places = {"D:\\npp": SOUND, "D:\\foo": {"foo.dll": GOOD}}
    facts: dict[str, Any] = {"python": (3, 7), "imports": {**IMPORTS, "foo.dll": ["f"]}}
    assert not is_told(Machine(places, {"PATH": "D:\\npp;D:\\foo"}, **facts))


# Errors that say enough by themselves


@pytest.mark.parametrize(
    "options",
    rows(
        {
            "nothing-is-wrong": ({},),
            "delay-loaded-DLLs-are-missing": (
                {
                    "imports": {"KERNEL32.dll": []},
                    "families": {"x": ["x.dll"]},
                    "delayed": ["x.dll"],
                },
            ),
            "a-symbol-that-Windows-gives": ({"imports": {"KERNEL32.dll": ["GivenInAnotherWay"]}},),
            "a-symbol-by-its-number": ({"imports": {"KERNEL32.dll": ["#7"]}},),
            "Windows-knows-where": ({"imports": {"libfoo.dll": ["f"]}},),
        }
    ),
)
def test_an_error_that_no_file_explains_passes_unchanged(options: dict[str, Any]) -> None:
    machine = make_sound(**options)
    machine.kernel.elsewhere["libfoo.dll"] = "E:\\x\\libfoo.dll"
    needy = dll("Sleep", imports={"what-Windows-needs-is-its-business.dll": ["f"]})
    machine.add(SYSTEM, {"kernel32.dll": needy})
    assert not is_told(machine)


@pytest.mark.parametrize(
    ("version", "numpy", "is_mismatch"),
    [
        ("2.3.1", "numpy>=1.23,<2", True),
        ("1.21.6", "numpy>=1.23,<2", True),
        ("1.26.4", "numpy>=1.23,<2", False),
        ("2.3.0rc1", "numpy>=1.23,<2.3", True),
        ("2.2.9", "numpy>=1.23,<2.3", False),
        ("2.3.1", "numpy", False),
        ("2.3.1", None, False),
    ],
)
def test_a_numpy_that_does_not_fit_is_told(
    version: str, numpy: str | None, *, is_mismatch: bool
) -> None:
    machine = make_sound(numpy=numpy)
    machine.sys.modules["numpy"] = SimpleNamespace(__version__=version)
    message = str(machine.fail(ImportError("numpy.core.multiarray failed to import")))
    assert (f"NumPy {version} is installed, and this build needs {numpy}" in message) == is_mismatch


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'numpy'", name="numpy"),
        ImportError("ERROR: recursion is detected"),
        ImportError("x", path="C:\\a\\cv2.py"),
        OSError("x"),
    ],
    ids=str,
)
def test_another_error_passes_unchanged(error: Exception) -> None:
    assert make_sound().fail(error) is error


def test_an_accident_in_the_explanation_leaves_the_error_as_it_was() -> None:
    machine = make_sound()
    machine.report.find_causes = lambda _error, _attempt: 1 // 0
    assert not is_told(machine)
    assert machine.registered == []
    assert machine.kernel.modules == {}


# The exception itself


def test_the_error_keeps_what_the_original_said_and_is_its_cause() -> None:
    original = make_native_error()
    error = Machine({}).fail(original)
    assert isinstance(error, ImportError)
    assert (error.name, error.path, error.__cause__) == (original.name, original.path, original)


def test_it_says_the_same_in_every_language_and_a_second_time_until_it_is_cured() -> None:
    machine = Machine({})
    chinese = ImportError("DLL load failed: 找不到指定的模块。", name="cv2", path=CV2)
    assert machine.explain() == str(machine.fail(chinese))
    machine.add(BIN, SOUND)
    machine.environ["CUDA_PATH"] = TOOLKIT_SET["CUDA_PATH"]
    assert machine.load() == [BIN]
