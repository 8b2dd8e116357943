"""What the module in cv2 says where the import fails, on a made-up Windows."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from machines import (
    ARM64,
    BIN,
    CUBLAS,
    CUDNN,
    GOOD,
    NPP,
    SITE,
    SYSTEM,
    TOOLKIT,
    X86,
    Machine,
)

from repack.dlls import classify, cure
from repack.dlls.cures import _CURES
from repack.pe import make_dll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GOLDEN = Path(__file__).parent / "golden" / "messages"
FAMILIES = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}
CV2 = f"{SITE}\\cv2\\cv2.pyd"
NOT_FOUND = "DLL load failed while importing cv2: Das angegebene Modul wurde nicht gefunden."
IMPORTS = {
    "nppc64_12.dll": ["nppGetLibVersion"],
    "nppif64_12.dll": ["nppiFilter"],
    "KERNEL32.dll": ["Sleep"],
    "api-ms-win-crt-heap-l1-1-0.dll": ["free"],
}
WINDOWS = {"kernel32.dll": make_dll("kernel32.dll", code={"Sleep": b"\xc3"})}


def dll(*exports: str, imports: Mapping[str, Sequence[str]] | None = None) -> bytes:
    return make_dll("any.dll", code=dict.fromkeys(exports, b"\xc3"), imports=imports)


SOUND = {
    "nppc64_12.dll": dll("nppGetLibVersion"),
    "nppif64_12.dll": dll("nppiFilter", imports={"nppc64_12.dll": ["nppGetLibVersion"]}),
}


def cv2_machine(
    files: Mapping[str, Sequence[str] | Mapping[str, bytes]],
    environ: Mapping[str, str] | None = None,
    *,
    imports: Mapping[str, Sequence[str]] = IMPORTS,
    beside: Mapping[str, bytes] | None = None,
    **more: Any,  # noqa: ANN401 - whatever a machine takes
) -> Machine:
    """Return a machine with a cv2.pyd that has those imports."""
    pyd = {"cv2.pyd": make_dll("cv2.pyd", imports=imports), **(beside or {})}
    return Machine({SYSTEM: WINDOWS, f"{SITE}\\cv2": pyd, **files}, environ, **more)


def native_error() -> ImportError:
    return ImportError(NOT_FOUND, name="cv2", path=CV2)


def nothing_anywhere() -> Machine:
    return cv2_machine(
        {f"{SITE}\\numpy": []},
        {"PATH": f"{SYSTEM};D:\\tools;relative"},
        imports={**IMPORTS, "cublas64_12.dll": ["f"], "cudnn64_9.dll": ["g"]},
        families=FAMILIES,
    )


def another_major() -> Machine:
    return cv2_machine({"D:\\13\\bin\\x64": ["nppc64_13.dll"]}, {"CUDA_PATH": "D:\\13"})


def wrong_processor() -> Machine:
    return cv2_machine(
        {BIN: dict.fromkeys(NPP, X86), "D:\\arm": dict.fromkeys(NPP, ARM64)},
        {"CUDA_PATH": TOOLKIT, "PATH": "D:\\arm", "OPENCV_CUDA_DLL_DIRS": "D:\\arm"},
    )


def path_turned_off() -> Machine:
    return cv2_machine({BIN: NPP}, {"PATH": BIN, "OPENCV_CUDA_SEARCH_PATH": "0"})


def part_of_a_family() -> Machine:
    return cv2_machine({BIN: {NPP[0]: SOUND[NPP[0]]}}, {"CUDA_PATH": TOOLKIT})


def no_driver() -> Machine:
    imports = {**IMPORTS, "nvcuda.dll": ["cuInit"]}
    return cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT}, imports=imports)


def no_media_foundation() -> Machine:
    imports = {**IMPORTS, "MF.dll": ["MFEnumDeviceSources"]}
    return cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT}, imports=imports)


def no_vc_runtime_and_no_cuda() -> Machine:
    imports = {**IMPORTS, "MSVCP140.dll": ["f"]}
    return cv2_machine({}, {"CUDA_PATH": TOOLKIT}, imports=imports)


def an_unknown_dll() -> Machine:
    return cv2_machine({BIN: SOUND}, {"PATH": BIN}, imports={**IMPORTS, "libfoo.dll": ["f"]})


def a_dll_that_a_dll_needs() -> Machine:
    cublas = dll("f", imports={"cublasLt64_12.dll": ["g"]})
    return cv2_machine(
        {BIN: {"cublas64_12.dll": cublas}},
        {"CUDA_PATH": TOOLKIT},
        imports={"opencv_core.dll": ["cv"]},
        beside={"opencv_core.dll": dll("cv", imports={"cublas64_12.dll": ["f"]})},
        families={"cublas": CUBLAS},
    )


def a_dll_of_the_wheel_cut_off() -> Machine:
    return cv2_machine(
        {BIN: SOUND},
        {"CUDA_PATH": TOOLKIT},
        imports={**IMPORTS, "opencv_core.dll": ["cv"]},
        beside={"opencv_core.dll": GOOD[:-1]},
    )


def an_older_dll() -> Machine:
    machine = cv2_machine({BIN: {**SOUND, NPP[0]: dll("nppOld")}}, {"CUDA_PATH": TOOLKIT})
    machine.windows.numbers[CV2] = 127
    return machine


def an_older_dll_that_another_package_loaded() -> Machine:
    machine = cv2_machine(
        {BIN: SOUND, "C:\\torch\\lib": {"nppc64_12.dll": dll("nppOld")}}, {"CUDA_PATH": TOOLKIT}
    )
    machine.windows.numbers[CV2] = 127
    machine.windows.modules["nppc64_12.dll"] = "C:\\torch\\lib\\nppc64_12.dll"
    return machine


def an_older_windows() -> Machine:
    machine = cv2_machine(
        {BIN: SOUND}, {"CUDA_PATH": TOOLKIT}, imports={"KERNEL32.dll": ["Sleep", "NewInEleven"]}
    )
    machine.windows.numbers[CV2] = 127
    return machine


def an_older_vc_runtime() -> Machine:
    runtime = dll("f") + b"\xbd\x04\xef\xfe\0\0\1\0\x1b\0\x0e\0\0\0\x98\x73"
    machine = cv2_machine(
        {BIN: SOUND, "C:\\Python312": {"msvcp140.dll": runtime}},
        {"CUDA_PATH": TOOLKIT},
        imports={**IMPORTS, "MSVCP140.dll": ["f"]},
    )
    machine.windows.numbers[CV2] = 1114
    machine.windows.modules["msvcp140.dll"] = "C:\\Python312\\msvcp140.dll"
    return machine


def several_distributions() -> Machine:
    machine = no_driver()
    machine.add(
        SITE, ["opencv_python-4.9.0.80.dist-info", "opencv_contrib_python-4.13.0.dist-info"]
    )
    return machine


def without_ctypes() -> Machine:
    machine = an_older_dll()
    machine.windows.numbers.clear()
    return machine


def python_3_7() -> Machine:
    return cv2_machine({"D:\\npp": {NPP[0]: SOUND[NPP[0]]}}, {"PATH": "D:\\npp"}, python=(3, 7))


def a_dll_of_windows_that_does_not_load() -> Machine:
    machine = no_media_foundation()
    machine.add(SYSTEM, {"mf.dll": GOOD})
    machine.windows.numbers[f"{SYSTEM}\\MF.dll"] = 126
    return machine


def an_error_that_no_file_explains() -> Machine:
    machine = cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT})
    machine.windows.numbers[CV2] = 1455
    return machine


def no_opencl_and_no_vulkan() -> Machine:
    imports = {"OpenCL.dll": ["f"], "vulkan-1.dll": ["g"]}
    dlls = [classify(name) for name in imports]
    kinds = {dll.key: dll.family for dll in dlls}
    cures = {dll.family: cure(dll, None) for dll in dlls}
    return cv2_machine({}, {}, imports=imports, kinds=kinds, cures=cures)


def no_dll_of_python() -> Machine:
    return cv2_machine({}, {}, imports={"python3.dll": ["f"]})


def no_cudnn() -> Machine:
    imports = {"cudnn64_9.dll": ["f"]}
    return cv2_machine({}, {}, imports=imports, families={"cudnn": CUDNN})


CASES = [
    an_error_that_no_file_explains,
    no_opencl_and_no_vulkan,
    no_dll_of_python,
    no_cudnn,
    a_dll_of_windows_that_does_not_load,
    nothing_anywhere,
    another_major,
    wrong_processor,
    path_turned_off,
    part_of_a_family,
    no_driver,
    no_media_foundation,
    no_vc_runtime_and_no_cuda,
    an_unknown_dll,
    a_dll_that_a_dll_needs,
    a_dll_of_the_wheel_cut_off,
    an_older_dll,
    an_older_dll_that_another_package_loaded,
    an_older_windows,
    an_older_vc_runtime,
    several_distributions,
    without_ctypes,
    python_3_7,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_message_is_the_golden_one(case: Any) -> None:  # noqa: ANN401 - a function above
    golden = GOLDEN / f"{case.__name__}.txt"
    assert str(case().fail(native_error())) + "\n" == golden.read_text(encoding="utf-8")


def test_every_golden_message_has_its_case() -> None:
    names = {"numpy_2", "override", *(case.__name__ for case in CASES)}
    assert {path.stem for path in GOLDEN.iterdir()} == names


def test_a_mistake_in_the_override_is_the_golden_one() -> None:
    machine = cv2_machine({}, {"OPENCV_CUDA_DLL_DIRS": "D:\\gone"})
    with pytest.raises(ImportError) as caught:
        machine.load()
    assert str(caught.value) + "\n" == (GOLDEN / "override.txt").read_text(encoding="utf-8")


# Where more is told

PAGES = Path(__file__).parents[1] / "docs" / "import-failed"
ADDRESS = re.compile(r"https://help\.example\.com/import-failed/([\w-]+)/")


def pages_named() -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in GOLDEN.iterdir())
    return {page for text in texts for page in ADDRESS.findall(text)}


def test_every_message_names_a_page_and_every_page_is_named_by_a_message() -> None:
    assert all(ADDRESS.search(path.read_text(encoding="utf-8")) for path in GOLDEN.iterdir())
    assert pages_named() == {path.stem for path in PAGES.glob("*.md")} - {"index"}


def test_every_kind_of_dll_that_has_a_cure_has_a_page_for_where_it_is_missing() -> None:
    kinds = _CURES.keys() - {"windows"}  # whose DLLs every machine has, if old ones
    assert {f"missing-{kind}" for kind in kinds} <= {path.stem for path in PAGES.glob("*.md")}


def test_without_an_address_no_page_is_named() -> None:
    machine = no_driver()
    machine.module.BUILD["help"] = ""
    assert "More:" not in str(machine.fail(native_error()))


def test_the_error_keeps_what_the_original_said() -> None:
    original = native_error()
    error = nothing_anywhere().fail(original)
    assert type(error) is ImportError
    assert (error.name, error.path, error.__cause__) == (original.name, original.path, original)


def test_it_says_the_same_in_every_language_and_a_second_time() -> None:
    machine = nothing_anywhere()
    said = str(machine.fail(native_error()))
    chinese = ImportError("DLL load failed: 找不到指定的模块。", name="cv2", path=CV2)
    assert str(machine.fail(chinese)) == said


def test_after_the_cure_the_same_process_imports() -> None:
    machine = cv2_machine({BIN: SOUND})
    machine.fail(native_error())
    machine.environ["CUDA_PATH"] = TOOLKIT
    assert machine.load() == [BIN]


def test_a_dll_that_windows_finds_in_a_directory_of_somebody_else_is_not_called_missing() -> None:
    machine = cv2_machine({BIN: SOUND}, {"PATH": BIN}, imports={**IMPORTS, "libfoo.dll": ["f"]})
    machine.windows.elsewhere.add("libfoo.dll")
    error = native_error()
    assert machine.fail(error) is error


def test_delay_loaded_dlls_do_not_stop_an_import() -> None:
    machine = cv2_machine({}, imports={"KERNEL32.dll": ["Sleep"]}, delayed=NPP)
    error = native_error()
    assert machine.fail(error) is error


def test_what_windows_own_dlls_need_is_windows_business() -> None:
    machine = cv2_machine({BIN: SOUND}, {"PATH": BIN})
    machine.add(SYSTEM, {"kernel32.dll": dll("Sleep", imports={"ntdll.dll": ["f"]})})
    error = native_error()
    assert machine.fail(error) is error


def test_a_symbol_that_windows_gives_in_another_way_is_not_called_missing() -> None:
    machine = an_older_windows()
    machine.windows.numbers.clear()
    error = native_error()
    assert machine.fail(error) is error


def test_symbols_asked_for_by_number_are_not_missed() -> None:
    machine = cv2_machine({BIN: SOUND}, {"PATH": BIN}, imports={**IMPORTS, "a.dll": ["#7"]})
    machine.add(f"{SITE}\\cv2", {"a.dll": GOOD})
    error = native_error()
    assert machine.fail(error) is error


def test_windows_is_not_asked_where_the_files_tell() -> None:
    machine = no_driver()
    machine.fail(native_error())
    assert machine.windows.loads == [f"{SYSTEM}\\KERNEL32.dll"]


def test_whoever_asks_is_told_what_stops_an_import_and_the_module_is_not_loaded() -> None:
    machine = an_older_dll()
    printed = io.StringIO()
    with redirect_stdout(printed):
        machine.sys.stdout = sys.stdout
        assert machine.module.main([]) == 1
    told = [each for each in printed.getvalue().splitlines() if "stops an import" in each]
    assert told
    assert all("nppc64_12.dll has no " in line for line in told)
    assert not [path for path in machine.windows.loads if path.endswith("cv2.pyd")]


def numpy_error() -> ImportError:
    return ImportError("numpy.core.multiarray failed to import")


def with_numpy(version: str, requirement: str | None) -> Machine:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT}, numpy=requirement)
    machine.sys.modules["numpy"] = SimpleNamespace(__version__=version)
    return machine


def test_a_numpy_that_does_not_fit_is_told_from_a_dll() -> None:
    error = with_numpy("2.3.1", "numpy<2").fail(numpy_error())
    assert str(error) + "\n" == (GOLDEN / "numpy_2.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ModuleNotFoundError("No module named 'numpy'", name="numpy"), id="no-numpy"),
        pytest.param(ImportError("ERROR: recursion is detected"), id="recursion"),
        pytest.param(OSError("x"), id="no-ImportError"),
        pytest.param(ModuleNotFoundError("x", name="cv2.a", path=CV2), id="a-module-not-found"),
        pytest.param(ImportError("x", path="C:\\a\\cv2.py"), id="no-native-file"),
    ],
)
def test_another_error_passes_unchanged(error: Exception) -> None:
    assert with_numpy("2.3.1", "numpy<2").fail(error) is error


def test_a_build_without_numpy_says_nothing_of_it() -> None:
    error = numpy_error()
    assert with_numpy("2.3.1", None).fail(error) is error


def test_an_accident_in_the_explanation_still_leaves_nothing_behind() -> None:
    machine = cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT})
    machine.module._explanation = lambda _error, _search: 1 // 0
    with pytest.raises(ZeroDivisionError):
        machine.enter_and_raise(native_error())
    assert machine.sys.path[0] == ""
    assert machine.registered == []


# After a failure


def test_a_failure_leaves_nothing_behind() -> None:
    machine = cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT})
    kept = machine.sys.modules["cv2"] = ModuleType("cv2")
    before = list(machine.sys.path)
    machine.fail(KeyboardInterrupt())
    assert machine.sys.path == before
    assert machine.sys.modules == {"cv2": kept}
    assert machine.environ["PATH"] == SYSTEM
    assert not hasattr(machine.sys, "OpenCV_LOADER")
    assert machine.registered == []


def test_a_path_that_was_not_set_is_not_set_afterwards() -> None:
    machine = cv2_machine({BIN: SOUND}, {"CUDA_PATH": TOOLKIT})
    del machine.environ["PATH"]
    machine.fail(KeyboardInterrupt())
    assert "PATH" not in machine.environ


def test_a_recursion_is_still_seen_by_the_loaders_own_check() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    with machine.module.loading():
        machine.sys.OpenCV_LOADER = True
        with machine.module.loading():
            assert hasattr(machine.sys, "OpenCV_LOADER")
            assert machine.registered == [BIN]
        machine.fail(ImportError("recursion"))
        assert hasattr(machine.sys, "OpenCV_LOADER")
        assert machine.registered == [BIN]
        del machine.sys.OpenCV_LOADER


def test_a_flag_that_an_earlier_failure_left_is_not_taken_for_a_recursion() -> None:
    machine = Machine({})
    machine.sys.OpenCV_LOADER = True
    with machine.module.loading():
        assert not hasattr(machine.sys, "OpenCV_LOADER")


# Where Windows refuses to register


def test_a_directory_that_windows_refuses_has_its_dlls_loaded() -> None:
    machine = Machine(
        {BIN: NPP, "D:\\b": CUDNN},
        {"PATH": f"{BIN};D:\\b"},
        families={"npp": NPP, "cudnn": CUDNN},
        delayed=NPP[1:],
    )
    add = machine.module.os.add_dll_directory
    machine.module.os.add_dll_directory = lambda name: add("gone" if name == BIN else name)
    assert machine.load() == ["D:\\b"]
    assert machine.environ["PATH"].startswith(f"{BIN};D:\\b")
    assert machine.windows.loads == [f"{BIN}\\nppc64_12.dll"]
