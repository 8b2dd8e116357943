"""What a failed import of cv2 says, on a made-up Windows: what test_import_reports cannot show."""

import importlib.util
from collections.abc import Mapping
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
    Machine,
    arm64_dll,
    dll,
    make_native_error,
    table,
)

from repack.dlls.families import FAMILIES

GOLDEN = Path(__file__).parent / "golden" / "messages" / "nothing_anywhere.txt"
PAGES = Path(__file__).parents[1] / "docs" / "import-failed"
NVIDIA = f"{SITE}\\nvidia\\npp\\bin"
CUBLAS_DLL = dll("f", imports={"cublasLt64_12.dll": ["g"]})
WINDOWS = {
    "kernel32.dll": dll("Sleep", imports={"what-Windows-needs-is-its-business.dll": ["f"]}),
    "dxgi.dll": GOOD,
}
OLD = {**SOUND, NPP[0]: dll("nppOld")}


def make_sound(
    environ: Mapping[str, str] = TOOLKIT_SET,
    beside: Mapping[str, bytes] | None = None,
    **options: Any,  # noqa: ANN401 - whatever a machine takes
) -> Machine:
    """Return a machine that has all that is needed, and more; `beside` lies with cv2.pyd."""
    places: dict[str, Mapping[str, bytes]] = {
        BIN: {**SOUND, CUBLAS[0]: CUBLAS_DLL, CUDNN[0]: dll("old")},
        PREFIX: {"core.dll": GOOD},
        SYSTEM: WINDOWS,
        "D:\\foo": {"foo.dll": GOOD},
        f"{SITE}\\cv2": beside or {},
    }
    return Machine(places, environ, **options)


def make_old(
    place: str,
    environ: Mapping[str, str] | None = None,
    **options: Any,  # noqa: ANN401 - whatever a machine takes
) -> Machine:
    """Return a machine whose only DLL lacks a symbol that the native module asks for."""
    facts: dict[str, Any] = {
        "imports": {NPP[0]: ["nppGetLibVersion"]},
        "families": {"npp": NPP[:1]},
    }
    return Machine({place: OLD}, environ, **facts, **options)


# A whole message


def test_the_message_is_the_golden_one() -> None:
    machine = Machine(
        {},
        {"PATH": f"{SYSTEM};D:\\tools;relative"},
        imports={**IMPORTS, "cublas64_12.dll": ["f"], "cudnn64_9.dll": ["g"]},
        families={"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN},
    )
    assert machine.explain() + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_every_page_that_a_message_may_name_is_there_and_no_other() -> None:
    report = Machine({}).report
    kinds = {"cuda", "cudnn", "unknown"} | {name for name, row in FAMILIES.items() if row.cure}
    pages = {f"missing-{kind}" for kind in kinds} | {"symbol", "loaded-first", "several-opencv"}
    pages |= {*report.FAULT_PAGES.values(), *report.CAUSE_PAGES.values()}
    assert pages == {path.stem for path in PAGES.glob("*.md")} - {"index"}


# A file that is no good is replaced where it lies: a DLL that is too old (error 127)

UPGRADE = 'python -m pip install --upgrade --force-reinstall "nvidia-npp-cu12>=12.4.0,<13"'
REINSTALL = "python -m pip install --force-reinstall --no-deps opencv-contrib-python"
OVERRIDE = {"OPENCV_CUDA_DLL_DIRS": "D:\\x"}


@table(
    "place, environ, fix",
    {
        "NVIDIA's-wheel": (NVIDIA, {}, UPGRADE),
        "a-toolkit": (BIN, TOOLKIT_SET, f"update or replace what is in {BIN}"),
        "conda": (f"{PREFIX}\\Library\\bin", {}, "conda update --all"),
        "this-wheel": (f"{SITE}\\cv2", {}, REINSTALL),
        "the-override": ("D:\\x", OVERRIDE, "correct OPENCV_CUDA_DLL_DIRS, or replace D:\\x\\"),
        "the-program": (PREFIX, {}, f"remove or replace {PREFIX}\\{NPP[0]}"),
        "PATH": ("D:\\x", {"PATH": "D:\\x"}, f"remove or replace D:\\x\\{NPP[0]}"),
    },
)
def test_a_dll_that_lacks_a_symbol_is_replaced_where_it_lies(
    place: str, environ: Mapping[str, str], fix: str
) -> None:
    what = f"{place}\\{NPP[0]} has no nppGetLibVersion, which cv2.pyd needs"
    line = f"DLL load failed while importing cv2: {what}. To fix it: {fix}"
    assert make_old(place, environ).explain(127).startswith(line)


# Numbers of errors

ERRORS = Machine({}).report.ERRORS


@pytest.mark.parametrize("number", ERRORS)
def test_a_number_that_windows_documents_is_a_sentence_and_a_cure(number: int) -> None:
    sentence, fix = ERRORS[number]
    line = f"importing cv2: {CV2} does not load: {sentence} (error {number}). To fix it: {fix}.\n"
    assert line in make_sound().explain(number)


# Processors


@table(
    "program, native, words",
    {
        "a-Python-for-ARM64": (ARM64, GOOD, "this Python is for ARM64"),
        "a-wheel-for-ARM64": (GOOD, ARM64, "this Python is 64-bit (x86-64)"),
        "ARM64X-serves-x86-64": (GOOD, ARM64X, ""),
        "a-program-that-cannot-be-read": (b"", GOOD, ""),
    },
)
def test_a_python_for_another_processor_is_told_from_a_missing_dll(
    program: bytes, native: bytes, words: str
) -> None:
    machine = Machine({f"{SITE}\\cv2": {"cv2.pyd": native}}, program=program, families={})
    message = machine.explain(193)
    assert f"{words}, and {CV2} is not" in message or not words
    assert ("this Python is" in message) == bool(words)


# A DLL that fails to start (error 1114)

VC_RUNTIME = BUILD["cures"]["vc-runtime"]
QT = f"{SITE}\\Qt5\\bin"
STARTING = f"{BIN}\\{NPP[1]}"


@table(
    "runtime, prefix, fix",
    {
        "beside-Python": (PREFIX, PREFIX, VC_RUNTIME),
        # pip installs into the virtual environment, where this program does not look.
        "beside-the-base-Python": (PREFIX, "C:\\venv", f"update {PREFIX}\\python.exe, or "),
        "of-a-package": (QT, PREFIX, f"import cv2 before what loads {QT}\\msvcp140.dll"),
    },
)
def test_a_dll_that_fails_to_start_is_told_with_the_run_time_that_is_loaded(
    runtime: str, prefix: str, fix: str
) -> None:
    machine = make_sound()
    machine.sys.prefix = machine.sys.exec_prefix = prefix
    machine.kernel.numbers = dict.fromkeys([CV2, STARTING], 1114)  # cv2 needs the other
    version = b"\xbd\x04\xef\xfe\0\0\1\0\x1b\0\x0e\0\0\0\x98\x73"
    machine.add(runtime, {"msvcp140.dll": GOOD + version})
    machine.kernel.modules = {"msvcp140.dll": f"{runtime}\\msvcp140.dll"}
    message = machine.explain()
    assert f"{STARTING} fails to start (error 1114). To fix it: {fix}" in message
    assert "msvcp140.dll 14.27.29592.0 is still loaded: start Python again" in message


# Other causes


FIRST = f"{BIN}\\{NPP[0]}"
#: A machine that is not sound, the error number, and a part of what is said.
TOLD: dict[str, tuple[Machine, int | None, str]] = {
    "a-symbol-of-Windows": (
        make_sound(imports={"KERNEL32.dll": ["NewInEleven"]}),
        127,
        "To fix it: update Windows",
    ),
    "a-file-that-may-not-be-read": (
        make_sound(errors={FIRST: PermissionError(13, "x")}),
        None,
        f"(PermissionError). To fix it: give yourself the right to read {FIRST}.",
    ),
    "pages-by-what-is-the-matter-with-each-family": (
        Machine(
            {"D:\\11": ["cublas64_11.dll"]},
            {"PATH": "D:\\11"},
            imports={**IMPORTS, CUBLAS[0]: ["f"]},
            families={"npp": NPP, "cublas": CUBLAS},
        ),
        None,
        "More: https://help.example.com/version/ https://help.example.com/missing-cuda/",
    ),
    "a-number-that-no-table-has": (
        make_sound(),
        1359,
        f"{CV2} does not load: Windows' words for 1359 (error 1359)",
    ),
    "the-file-that-failed-not-the-native-module": (
        make_sound(numbers={FIRST: 5}),
        126,
        f"{FIRST} does not load: access is denied (error 5)",
    ),
    "of-DLLs-that-fail-to-start-the-one-that-others-need": (
        make_sound(numbers={FIRST: 1114, STARTING: 1114}),
        1114,
        f"{FIRST} fails to start",
    ),
    "a-DLL-that-a-DLL-needs": (
        make_sound(
            imports={"core.dll": ["cv"]},
            beside={"core.dll": dll("cv", imports={CUBLAS[0]: ["f"]})},
            families={"cublas": CUBLAS},
        ),
        None,
        "\n  needed by cublas64_12.dll: cublasLt64_12.dll\n",
    ),
    "an-older-DLL-that-another-package-loaded": (
        make_old("C:\\torch\\lib", modules={NPP[0]: f"C:\\torch\\lib\\{NPP[0]}"}),
        127,
        f"To fix it: import cv2 before what loads C:\\torch\\lib\\{NPP[0]}, or update that",
    ),
}


@table("machine, number, part", TOLD)
def test_the_message_tells(machine: Machine, number: int | None, part: str) -> None:
    assert part in machine.explain(number)


def test_a_host_program_without_pip_is_told_to_ask_its_maker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine({})
    machine.kernel.program = machine.sys.executable = "C:\\Maya\\mayapy.exe"
    machine.sys.prefix = "C:\\Maya\\Python"
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    assert "tell the maker of this program that it lacks" in machine.explain()


# Errors that say enough by themselves


NOTHING_AT_LOAD_TIME = {"imports": {"KERNEL32.dll": []}, "families": {"x": ["x.dll"]}}
ON_PATH: dict[str, Any] = {"python": (3, 7), "imports": {**IMPORTS, "foo.dll": ["f"]}}


@table(
    "options, beside",
    {
        "delay-loaded-DLLs-are-missing": ({**NOTHING_AT_LOAD_TIME, "delayed": ["x.dll"]}, {}),
        "a-symbol-by-its-number": (
            {"imports": {NPP[0]: ["#7", "nppGetLibVersion"]}, "has_ctypes": False},
            {},
        ),
        "Windows-knows-where": ({"imports": {"libfoo.dll": ["f"]}}, {}),
        "a-native-module-for-ARM64X": (
            {},
            {"cv2.pyd": arm64_dll({**IMPORTS, "core.dll": []}), "core.dll": GOOD},
        ),
        "on-Python-3.7-PATH-is-searched": (ON_PATH, {}),
    },
)
def test_an_error_that_no_file_explains_passes_unchanged(
    options: dict[str, Any], beside: dict[str, bytes]
) -> None:
    machine = make_sound({"PATH": f"{BIN};D:\\foo"}, beside, **options)
    machine.kernel.elsewhere["libfoo.dll"] = "E:\\x\\libfoo.dll"
    error = make_native_error()
    assert machine.fail(error) is error


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'numpy'", name="numpy"),
        ImportError("ERROR: recursion is detected"),
        ImportError("x", path="C:\\a\\cv2.py"),
    ],
    ids=str,
)
def test_another_error_passes_unchanged(error: Exception) -> None:
    assert make_sound().fail(error) is error


@pytest.mark.parametrize(
    ("version", "numpy", "is_mismatch"),
    [("1.21.6", "numpy>=1.23,<2", True), ("1.26.4", "numpy>=1.23,<2", False)],
)
def test_a_numpy_that_does_not_fit_is_told(version: str, numpy: str, *, is_mismatch: bool) -> None:
    machine = make_sound(numpy=numpy)
    machine.sys.modules["numpy"] = SimpleNamespace(__version__=version)
    message = str(machine.fail(ImportError("numpy.core.multiarray failed to import")))
    assert (f"NumPy {version} is installed, and this build needs {numpy}" in message) == is_mismatch


# The exception itself


@pytest.mark.parametrize("what", ["search", "explanation"])
def test_an_accident_ends_nothing_else_and_is_told(what: str) -> None:
    machine = make_sound()
    if what == "search":
        machine.module.Windows = None
    else:
        machine.report.find_causes = None
    message = str(machine.fail(make_native_error()))
    assert message.startswith(str(make_native_error()))
    assert f"{what} " in message
    assert "failed: TypeError" in message
    assert machine.registered == []
    assert machine.kernel.modules == {}


def test_the_error_keeps_what_the_original_said_and_is_its_cause() -> None:
    original = make_native_error()
    error = Machine({}).fail(original)
    assert isinstance(error, ImportError)
    assert (error.name, error.path, error.__cause__) == (original.name, original.path, original)
