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
    TOOLKIT,
    X86,
    Machine,
    dll,
    hybrid_dll,
    make_native_error,
)

from repack.dlls import classify, cure
from repack.dlls.cures import _CURES

GOLDEN = Path(__file__).parent / "golden" / "messages"
PAGES = Path(__file__).parents[1] / "docs" / "import-failed"
TOOLKIT_SET = {"CUDA_PATH": TOOLKIT}
OLD = {**SOUND, NPP[0]: dll("nppOld")}
NVIDIA = f"{SITE}\\nvidia\\npp\\bin"


def make_sound(**options: Any) -> Machine:  # noqa: ANN401 - whatever a machine takes
    """Return a machine that has all that is needed."""
    return Machine({BIN: SOUND}, TOOLKIT_SET, **options)


def make_old(place: str, environ: Mapping[str, str] | None = None) -> Machine:
    """Return a machine whose only DLL lacks a symbol that the native module asks for."""
    imports = {NPP[0]: ["nppGetLibVersion"]}
    return Machine({place: OLD}, environ, imports=imports, families={"npp": NPP[:1]})


def first_line(message: str) -> str:
    """Return what is wrong and what to do about it."""
    return message.partition("\n")[0]


# Whole messages


def nothing_anywhere() -> str:
    imports = {**IMPORTS, "cublas64_12.dll": ["f"], "cudnn64_9.dll": ["g"]}
    families = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}
    environ = {"PATH": f"{SYSTEM};D:\\tools;relative"}
    return Machine({}, environ, imports=imports, families=families).explain()


def a_toolkit_of_another_major() -> str:
    machine = Machine({"D:\\13\\bin\\x64": ["nppc64_13.dll"]}, {"CUDA_PATH": "D:\\13"})
    return machine.explain()


def toolkits_for_other_processors() -> str:
    places = {BIN: dict.fromkeys(NPP, X86), "D:\\arm": dict.fromkeys(NPP, ARM64)}
    environ = {**TOOLKIT_SET, "PATH": "D:\\arm", "OPENCV_CUDA_SEARCH_PATH": ""}
    return Machine(places, environ).explain()


def an_older_wheel_of_nvidias() -> str:
    return make_old(NVIDIA).explain(127)


def an_older_dll_that_another_package_loaded() -> str:
    machine = make_old("C:\\torch\\lib")
    machine.kernel.modules = {NPP[0]: f"C:\\torch\\lib\\{NPP[0]}"}
    return machine.explain(127)


def an_old_run_time_of_a_host_program() -> str:
    machine = make_sound()
    machine.kernel.program = "C:\\Blender\\blender.exe"
    machine.add("C:\\Blender", ["blender.exe", "msvcp140.dll"])
    machine.kernel.modules = {"msvcp140.dll": "C:\\Blender\\msvcp140.dll"}
    return machine.explain(1114)


def no_driver_and_several_distributions() -> str:
    machine = make_sound(imports={**IMPORTS, "nvcuda.dll": ["cuInit"]})
    names = ["opencv_python-4.9.0.80.dist-info", "opencv_contrib_python-4.13.0.dist-info"]
    machine.add(SITE, names)
    return machine.explain()


def a_32_bit_python() -> str:
    return make_sound(program=X86).explain(193)


def smart_app_control() -> str:
    return make_sound().explain(4551)


def another_numpy() -> str:
    machine = make_sound()
    machine.sys.modules["numpy"] = SimpleNamespace(__version__="2.3.1")
    return str(machine.fail(ImportError("numpy.core.multiarray failed to import")))


def an_override_that_is_gone() -> str:
    machine = Machine({}, {"OPENCV_CUDA_DLL_DIRS": "D:\\gone"})
    with pytest.raises(ImportError) as caught:
        machine.load()
    return str(caught.value)


CASES = [
    nothing_anywhere,
    a_toolkit_of_another_major,
    toolkits_for_other_processors,
    an_older_wheel_of_nvidias,
    an_older_dll_that_another_package_loaded,
    an_old_run_time_of_a_host_program,
    no_driver_and_several_distributions,
    a_32_bit_python,
    smart_app_control,
    another_numpy,
    an_override_that_is_gone,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.__name__))
def test_the_message_is_the_golden_one(case: Callable[[], str]) -> None:
    golden = GOLDEN / f"{case.__name__}.txt"  # type: ignore[attr-defined] # a function above
    assert case() + "\n" == golden.read_text(encoding="utf-8")


def test_every_golden_message_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {case.__name__ for case in CASES}


# A DLL that is too old (error 127): the cure reaches the place that it came from

NPP_WHEEL = '"nvidia-npp-cu12>=12.4.0,<13"'


@pytest.mark.parametrize(
    ("place", "environ", "fix"),
    [
        pytest.param(
            NVIDIA,
            {},
            f"python -m pip install --upgrade --force-reinstall {NPP_WHEEL}",
            id="NVIDIA's-wheel",
        ),
        pytest.param(
            BIN,
            TOOLKIT_SET,
            f"replace the toolkit in {BIN} by one of CUDA 12 (best 12.9 or later)",
            id="a-toolkit",
        ),
        pytest.param(
            f"{PREFIX}\\Library\\bin",
            {},
            "conda update --all, which updates CUDA in this environment",
            id="conda",
        ),
        pytest.param(PREFIX, {}, f"remove or replace {PREFIX}\\{NPP[0]}", id="beside-the-program"),
        pytest.param(
            "D:\\tools", {"PATH": "D:\\tools"}, f"remove or replace D:\\tools\\{NPP[0]}", id="PATH"
        ),
        pytest.param(
            f"{SITE}\\cv2",
            {},
            "python -m pip install --force-reinstall --no-deps opencv-contrib-python",
            id="this-wheel",
        ),
        pytest.param(
            "D:\\own",
            {"OPENCV_CUDA_DLL_DIRS": "D:\\own"},
            f"correct OPENCV_CUDA_DLL_DIRS, or replace D:\\own\\{NPP[0]}",
            id="the-override",
        ),
    ],
)
def test_a_dll_that_lacks_a_symbol_is_replaced_where_it_lies(
    place: str, environ: Mapping[str, str], fix: str
) -> None:
    what = f"{place}\\{NPP[0]} has no nppGetLibVersion, which cv2.pyd needs"
    line = f"DLL load failed while importing cv2: {what}. To fix it: {fix}."
    assert first_line(make_old(place, environ).explain(127)) == line


@pytest.mark.xfail(reason="there is a cause for each file that asks", strict=True)
def test_a_dll_that_several_files_ask_in_vain_is_told_once() -> None:
    line = first_line(Machine({BIN: OLD}, TOOLKIT_SET).explain(127))
    assert line.count(f"{BIN}\\{NPP[0]}") == 1


@pytest.mark.parametrize(
    ("imports", "modules", "fix"),
    [
        pytest.param(
            {"KERNEL32.dll": ["Sleep", "NewInEleven"]},
            {},
            "update Windows: this build needs a later one",
            id="a-DLL-of-Windows",
        ),
        pytest.param(
            {"zlib.dll": ["inflate"]},
            {"zlib.dll": "C:\\app\\zlib.dll"},
            "remove or replace C:\\app\\zlib.dll",
            id="a-DLL-of-nobody-that-a-program-loaded",
        ),
    ],
)
def test_another_dll_that_lacks_a_symbol_is_replaced(
    imports: Mapping[str, list[str]], modules: dict[str, str], fix: str
) -> None:
    machine = Machine({"C:\\app": {"zlib.dll": dll("old")}}, imports=imports, families={})
    machine.kernel.modules = modules
    message = machine.explain(127)
    assert first_line(message).endswith(f"To fix it: {fix}.")
    stays = f"{next(iter(modules.values()), '-')} stays loaded: start Python again after that"
    assert (stays in message) == bool(modules)


@pytest.mark.xfail(reason="the cure speaks of a toolkit of CUDA", strict=True)
def test_a_cudnn_that_lacks_a_symbol_is_replaced_by_another_cudnn() -> None:
    machine = Machine(
        {"D:\\cudnn\\bin": {CUDNN[0]: dll("old")}},
        {"CUDNN_PATH": "D:\\cudnn"},
        imports={CUDNN[0]: ["new"]},
        families={"cudnn": CUDNN},
    )
    assert "cuDNN 9" in first_line(machine.explain(127))


# Numbers that tell enough by themselves


def error_rows() -> list[Any]:
    """Return a row for each number of the module's table."""
    return [
        pytest.param(number, *words, id=str(number))
        for number, words in Machine({}).report.ERRORS.items()
    ]


@pytest.mark.parametrize(("number", "sentence", "fix"), error_rows())
def test_a_number_that_windows_documents_is_a_sentence_and_a_cure(
    number: int, sentence: str, fix: str
) -> None:
    line = f"importing cv2: {CV2} does not load: {sentence} (error {number}). To fix it: {fix}."
    assert first_line(make_sound().explain(number)).endswith(line)


def test_the_table_of_numbers_has_what_users_met() -> None:
    numbers = {5, 182, 206, 225, 1260, 1455, 4551, 14001}
    assert numbers <= Machine({}).report.ERRORS.keys()


def test_a_number_that_no_table_has_is_told_in_windows_words() -> None:
    line = f"{CV2} does not load: Windows' words for 1359 (error 1359)"
    assert line in first_line(make_sound().explain(1359))


def test_the_number_of_the_file_that_failed_is_told_not_that_of_the_native_module() -> None:
    machine = make_sound()
    machine.kernel.numbers[CV2] = 126
    line = f"{BIN}\\{NPP[0]} does not load: access is denied (error 5)"
    assert line in first_line(machine.explain(5, f"{BIN}\\{NPP[0]}"))


@pytest.mark.xfail(reason='the cure is "ask whoever built this wheel"', strict=True)
def test_a_file_that_windows_does_not_take_for_one_is_replaced() -> None:
    line = first_line(make_sound().explain(193, f"{BIN}\\{NPP[0]}"))
    assert f"{BIN}\\{NPP[0]} does not load" in line
    assert "toolkit" in line.partition("To fix it")[2]


# Processors


@pytest.mark.parametrize(
    ("program", "native", "words"),
    [
        pytest.param(X86, GOOD, "this Python is 32-bit", id="a-32-bit-Python"),
        pytest.param(ARM64, GOOD, "this Python is for ARM64", id="a-Python-for-ARM64"),
        pytest.param(GOOD, ARM64, "this Python is 64-bit (x86-64)", id="a-wheel-for-ARM64"),
        pytest.param(GOOD, ARM64X, "", id="ARM64X-serves-x86-64"),
        pytest.param(ARM64, ARM64X, "", id="ARM64X-serves-ARM64"),
        pytest.param(b"", GOOD, "", id="a-program-that-cannot-be-read"),
    ],
)
def test_a_python_for_another_processor_is_told_from_a_missing_dll(
    program: bytes, native: bytes, words: str
) -> None:
    machine = Machine({f"{SITE}\\cv2": {"cv2.pyd": native}}, program=program, families={})
    message = first_line(machine.explain(193))
    assert ("this Python is" in message) == bool(words)
    assert f"{words}, and {CV2} is not" in message or not words


def test_a_file_for_arm64x_beside_the_native_module_is_followed() -> None:
    machine = make_sound(imports={**IMPORTS, "core.dll": ["f"]})
    machine.add(f"{SITE}\\cv2", {"core.dll": ARM64X})
    error = make_native_error()
    assert machine.fail(error) is error


@pytest.mark.xfail(reason="the walk compares with the module, not with the process", strict=True)
def test_a_native_module_for_arm64x_may_need_dlls_for_x86_64() -> None:
    machine = Machine({BIN: SOUND, f"{SITE}\\cv2": {"cv2.pyd": hybrid_dll(IMPORTS)}}, TOOLKIT_SET)
    error = make_native_error()
    assert machine.fail(error) is error


def test_a_search_passes_over_a_file_for_another_processor() -> None:
    machine = Machine({BIN: SOUND, f"{SITE}\\cv2": {NPP[0]: X86}}, TOOLKIT_SET)
    error = make_native_error()
    assert machine.fail(error) is error


# A DLL that fails to start (error 1114)

VC_RUNTIME = BUILD["cures"]["vc-runtime"]


@pytest.mark.parametrize(
    ("runtime", "fix"),
    [
        pytest.param("", VC_RUNTIME, id="not-loaded"),
        pytest.param(SYSTEM, VC_RUNTIME, id="System32"),
        pytest.param(PREFIX, VC_RUNTIME, id="beside-Python"),
        pytest.param("C:\\conda", VC_RUNTIME, id="conda"),
        pytest.param("D:\\qt", "remove or replace D:\\qt\\msvcp140.dll", id="elsewhere"),
    ],
)
def test_a_dll_that_fails_to_start_is_told_with_the_run_time_that_is_loaded(
    runtime: str, fix: str
) -> None:
    machine = make_sound()
    if runtime:
        machine.add(runtime, ["msvcp140.dll"])
        machine.kernel.modules = {"msvcp140.dll": f"{runtime}\\msvcp140.dll"}
    if runtime == "C:\\conda":
        machine.sys.prefix = machine.sys.base_prefix = runtime
        machine.kernel.program = f"{runtime}\\python.exe"
    message = machine.explain(1114, f"{BIN}\\{NPP[1]}")
    what = f"{BIN}\\{NPP[1]} fails to start (error 1114). To fix it: {fix}"
    assert what in first_line(message)
    assert ("msvcp140.dll stays loaded: start Python again" in message) == bool(runtime)


@pytest.mark.xfail(reason="only sys.prefix is compared, not sys.base_prefix", strict=True)
def test_a_run_time_beside_the_base_python_of_a_virtual_environment_is_pythons() -> None:
    machine = make_sound()
    machine.sys.prefix = machine.sys.exec_prefix = "C:\\venv"
    machine.kernel.modules = {"msvcp140.dll": f"{PREFIX}\\msvcp140.dll"}
    assert VC_RUNTIME in machine.explain(1114, f"{BIN}\\{NPP[1]}")


@pytest.mark.xfail(reason="python.exe is said to bring what another package brings", strict=True)
def test_a_run_time_of_a_package_is_not_said_to_be_pythons() -> None:
    machine = make_sound()
    machine.kernel.modules = {"msvcp140.dll": f"{SITE}\\PyQt5\\Qt5\\bin\\msvcp140.dll"}
    assert "python.exe brings" not in machine.explain(1114, f"{BIN}\\{NPP[1]}")


# First lines of what is missing


def kinds_of(*names: str) -> dict[str, Any]:
    """Return the facts of a build about DLLs."""
    dlls = [classify(name) for name in names]
    return {
        "imports": {name: ["f"] for name in names},
        "kinds": {dll.key: dll.family for dll in dlls},
        "cures": {dll.family: cure(dll, None) for dll in dlls if cure(dll, None)},
        "families": {},
    }


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        pytest.param(
            kinds_of("OpenCL.dll", "vulkan-1.dll"),
            "OpenCL.dll, vulkan-1.dll not found",
            "install the driver of your graphics card",
            id="graphics",
        ),
        pytest.param(
            kinds_of("python3.dll"), "python3.dll not found", "repair this Python", id="Python"
        ),
        pytest.param(
            kinds_of("MF.dll"), "MF.dll not found", "add Media Foundation to this Windows", id="MF"
        ),
        pytest.param(
            kinds_of("libfoo.dll"), "libfoo.dll not found", "set OPENCV_CUDA_DLL_DIRS", id="unknown"
        ),
        pytest.param(
            {"imports": {"cudnn64_9.dll": ["f"]}, "families": {"cudnn": CUDNN}},
            "cudnn64_9.dll not found",
            'python -m pip install "nvidia-cudnn-cu12>=9,<10", or set CUDNN_PATH to cuDNN 9',
            id="cuDNN",
        ),
    ],
)
def test_what_is_missing_has_its_own_cure(options: dict[str, Any], what: str, fix: str) -> None:
    message = first_line(Machine({}, **options).explain())
    assert message.startswith(f"DLL load failed while importing cv2: {what}. To fix it: {fix}")


def test_a_dll_that_a_dll_needs_is_told_with_who_needs_it() -> None:
    core = dll("cv", imports={"cublas64_12.dll": ["f"]})
    cublas = dll("f", imports={"cublasLt64_12.dll": ["g"]})
    machine = Machine(
        {BIN: {"cublas64_12.dll": cublas}, f"{SITE}\\cv2": {"core.dll": core}},
        TOOLKIT_SET,
        imports={"core.dll": ["cv"]},
        families={"cublas": CUBLAS},
    )
    message = machine.explain()
    assert "importing cv2: cublasLt64_12.dll not found. To fix it" in first_line(message)
    assert "\n  needed by cublas64_12.dll: cublasLt64_12.dll\n" in message


def test_a_dll_of_the_wheel_that_is_cut_off_is_installed_again() -> None:
    machine = make_sound(imports={**IMPORTS, "core.dll": ["cv"]})
    machine.add(f"{SITE}\\cv2", {"core.dll": GOOD[:-1]})
    line = f"in {SITE}\\cv2, core.dll is cut off. To fix it: python -m pip install --force-reinst"
    assert line in first_line(machine.explain())


def test_a_dll_of_windows_that_is_there_and_does_not_load_is_missing() -> None:
    machine = make_sound(imports={**IMPORTS, "MF.dll": ["f"]})
    machine.add(SYSTEM, ["mf.dll"])
    assert "MF.dll not found" in machine.explain(126, "MF.dll")


def test_without_ctypes_the_files_alone_tell() -> None:
    machine = Machine({BIN: OLD}, TOOLKIT_SET)
    machine.kernel.ctypes = None
    assert f"{BIN}\\{NPP[0]} has no nppGetLibVersion" in first_line(machine.explain())


def test_on_python_3_7_path_is_searched() -> None:
    machine = Machine({"D:\\npp": SOUND, "D:\\foo": ["foo.dll"]}, {"PATH": "D:\\npp;D:\\foo"},
                      python=(3, 7), imports={**IMPORTS, "foo.dll": ["f"]})  # fmt: skip
    error = make_native_error()
    assert machine.fail(error) is error


def test_a_frozen_program_is_not_told_of_pip() -> None:
    machine = make_old(BIN, TOOLKIT_SET)
    machine.sys.frozen = True
    line = "To fix it: tell the maker of this program that it lacks nppc64_12.dll."
    assert first_line(machine.explain(127)).endswith(line)


# Errors that say enough by themselves


def elsewhere(machine: Machine) -> None:
    machine.kernel.elsewhere["libfoo.dll"] = "E:\\x\\libfoo.dll"


@pytest.mark.parametrize(
    ("options", "change"),
    [
        pytest.param({}, lambda _: None, id="nothing-is-wrong"),
        pytest.param({"imports": {"libfoo.dll": ["f"]}}, elsewhere, id="Windows-knows-where"),
        pytest.param(
            {"imports": {"KERNEL32.dll": ["Sleep"]}, "delayed": NPP},
            lambda machine: machine.files[BIN.lower()].clear(),
            id="delay-loaded-DLLs-are-missing",
        ),
        pytest.param(
            {},
            lambda machine: machine.add(
                SYSTEM, {"kernel32.dll": dll("Sleep", imports={"ntdll.dll": ["f"]})}
            ),
            id="what-DLLs-of-Windows-need",
        ),
        pytest.param(
            {"imports": {"KERNEL32.dll": ["GivenInAnotherWay"]}}, lambda _: None, id="a-symbol"
        ),
        pytest.param({"imports": {"KERNEL32.dll": ["#7"]}}, lambda _: None, id="by-number"),
    ],
)
def test_an_error_that_no_file_explains_passes_unchanged(
    options: dict[str, Any], change: Callable[[Machine], None]
) -> None:
    machine = make_sound(**options)
    change(machine)
    error = make_native_error()
    assert machine.fail(error) is error


@pytest.mark.parametrize(
    ("version", "numpy", "is_told"),
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
def test_a_numpy_that_does_not_fit_is_told(version: str, numpy: str | None, is_told: bool) -> None:
    machine = make_sound(numpy=numpy)
    machine.sys.modules["numpy"] = SimpleNamespace(__version__=version)
    error = ImportError("numpy.core.multiarray failed to import")
    message = str(machine.fail(error))
    assert (f"NumPy {version} is installed, and this build needs {numpy}" in message) == is_told


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ModuleNotFoundError("No module named 'numpy'", name="numpy"), id="no-numpy"),
        pytest.param(ImportError("ERROR: recursion is detected"), id="recursion"),
        pytest.param(OSError("x"), id="no-ImportError"),
        pytest.param(ImportError("x", path="C:\\a\\cv2.py"), id="no-native-file"),
    ],
)
def test_another_error_passes_unchanged(error: Exception) -> None:
    assert make_sound().fail(error) is error


def test_an_accident_in_the_explanation_leaves_the_error_as_it_was() -> None:
    machine = make_sound(families={"npp": NPP})
    machine.report.find_causes = lambda _error, _attempt: 1 // 0
    error = make_native_error()
    assert machine.fail(error) is error
    assert machine.registered == []
    assert machine.kernel.modules == {}


# The exception itself


def test_the_error_keeps_what_the_original_said_and_is_its_cause() -> None:
    original = make_native_error()
    error = Machine({}).fail(original)
    assert isinstance(error, ImportError)
    assert (error.name, error.path, error.__cause__) == (original.name, original.path, original)


def test_it_says_the_same_in_every_language_and_a_second_time() -> None:
    machine = Machine({})
    message = machine.explain()
    chinese = ImportError("DLL load failed: 找不到指定的模块。", name="cv2", path=CV2)
    assert str(machine.fail(chinese)) == message
    machine.add(BIN, SOUND)
    machine.environ["CUDA_PATH"] = TOOLKIT
    assert machine.load() == [BIN]


# Pages


def pages_of_the_module() -> set[str]:
    """Return the names of all pages that a message may name."""
    report = Machine({}).report
    kinds = {*_CURES, "cuda", "cudnn", "unknown"}
    pages = {f"missing-{kind}" for kind in kinds} | {"symbol", "loaded-first", "several-opencv"}
    return pages | {*report.FAULT_PAGES.values(), *report.CAUSE_PAGES.values()}


def test_every_page_that_a_message_may_name_is_there_and_no_other() -> None:
    assert pages_of_the_module() == {path.stem for path in PAGES.glob("*.md")} - {"index"}


def test_every_golden_message_names_a_page() -> None:
    for path in GOLDEN.iterdir():
        last = path.read_text(encoding="utf-8").splitlines()[-1]
        pages = re.findall(r"https://help\.example\.com/([\w-]+)/", last)
        assert pages, path
        assert set(pages) <= pages_of_the_module()
