"""The module that ends up in cv2: which directories it registers, on a made-up Windows."""

from __future__ import annotations

import ast
import importlib.util
import ntpath
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.patching import builtin_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = builtin_folder() / "cuda-dlls" / "cuda_dlls.py"
NPP = ("nppc64_12.dll", "nppif64_12.dll")
CUBLAS = ("cublas64_12.dll",)
CUDNN = ("cudnn64_9.dll",)
TOOLKIT = "C:\\CUDA\\v12.9"
BIN = f"{TOOLKIT}\\bin"


class Machine:
    """A Windows machine: its directories, its environment, and the module as imported there."""

    def __init__(
        self,
        directories: Mapping[str, Sequence[str]],
        environ: Mapping[str, str] | None = None,
        *,
        families: Mapping[str, Sequence[str]] | None = None,
        delayed: Sequence[str] = (),
        python: tuple[int, int] = (3, 12),
    ) -> None:
        self.directories = {ntpath.normcase(name): names for name, names in directories.items()}
        self.environ = {"PATH": "C:\\Windows\\system32", **(environ or {})}
        self.registered: list[str] = []
        self.listed: list[str] = []
        system: dict[str, Any] = {
            "name": "nt",
            "path": ntpath,
            "environ": self.environ,
            "listdir": self.listdir,
            "getcwd": lambda: "C:\\work",
        }
        if python >= (3, 8):
            system["add_dll_directory"] = self.add_dll_directory
        self.sys = SimpleNamespace(path=["C:\\app"], modules={})
        self.module = imported()
        self.module.os = SimpleNamespace(**system)
        self.module.sys = self.sys
        self.module.BUILD = {
            **self.module.BUILD,
            "cuda": (12, 9),
            "families": {"npp": NPP} if families is None else families,
            "delayed": delayed,
        }

    def listdir(self, directory: str) -> Sequence[str]:
        self.listed.append(directory)
        try:
            return self.directories[ntpath.normcase(directory)]
        except KeyError:
            raise FileNotFoundError(directory) from None

    def add_dll_directory(self, directory: str) -> SimpleNamespace:
        if ntpath.normcase(directory) not in self.directories:
            raise OSError(87, "The parameter is incorrect")
        self.registered.append(directory)
        return SimpleNamespace(close=lambda: self.registered.remove(directory))

    def load(self) -> list[str]:
        """Go through the block as a loader does, and return what is registered then."""
        with self.module.loading():
            return list(self.registered)

    def fail(self, error: BaseException) -> BaseException:
        """Go through a block that fails with `error`, and return what comes out of it."""
        with pytest.raises(type(error)) as caught:
            self._import(error)
        return caught.value

    def _import(self, error: BaseException) -> None:
        with self.module.loading():
            self.sys.path.insert(0, "C:\\app\\cv2")
            self.sys.OpenCV_LOADER = True
            self.sys.modules["cv2"] = self.sys.modules["cv2.cv2"] = ModuleType("cv2")
            raise error

    @property
    def refused(self) -> list[tuple[str, str, str]]:
        with self.module.loading():
            return list(self.module._loading.search.refused)


def imported() -> Any:  # noqa: ANN401 - its names are made at run time
    spec = importlib.util.spec_from_file_location("cv2_cuda_dlls", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Which directory


@pytest.mark.parametrize(
    ("directories", "environ", "registered"),
    [
        pytest.param({BIN: NPP}, {"CUDA_PATH": TOOLKIT}, [BIN], id="CUDA_PATH"),
        pytest.param(
            {BIN: NPP, f"{BIN}\\x64": NPP}, {"CUDA_PATH": TOOLKIT}, [f"{BIN}\\x64"], id="CUDA-13"
        ),
        pytest.param(
            {BIN: [name.upper() for name in NPP]}, {"CUDA_PATH": TOOLKIT}, [BIN], id="other-case"
        ),
        pytest.param({BIN: NPP}, {"PATH": f"C:\\Windows;{BIN}"}, [BIN], id="only-on-PATH"),
        pytest.param(
            {BIN: NPP},
            {"PATH": f"C:\\Windows;{BIN}", "OPENCV_CUDA_SEARCH_PATH": "0"},
            [],
            id="PATH-turned-off",
        ),
        pytest.param(
            {"D:\\a": NPP, BIN: NPP},
            {"OPENCV_CUDA_DLL_DIRS": "D:\\a", "CUDA_PATH": TOOLKIT},
            ["D:\\a"],
            id="the-override-is-first",
        ),
        pytest.param(
            {"D:\\a": NPP, BIN: NPP},
            {"PATH": "D:\\a", "CUDA_PATH": TOOLKIT},
            [BIN],
            id="CUDA_PATH-before-PATH",
        ),
        pytest.param(
            {BIN: NPP[:1], "D:\\b": NPP},
            {"CUDA_PATH": TOOLKIT, "PATH": f"{BIN};D:\\b"},
            ["D:\\b"],
            id="every-file-of-the-family-or-the-next-directory",
        ),
        pytest.param({"D:\\e": ["nppc64_11.dll"]}, {"PATH": "D:\\e"}, [], id="another-major"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": f'"{TOOLKIT}\\"'}, [BIN], id="quoted"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": f" {TOOLKIT}/ "}, [BIN], id="spaces-and-slash"),
        pytest.param({BIN: NPP}, {"CUDA_PATH": ""}, [], id="empty"),
        pytest.param(
            {"C:\\Prögramme;x\\库": NPP},
            {"PATH": 'C:\\a;"C:\\Prögramme;x\\库";C:\\b'},
            ["C:\\Prögramme;x\\库"],
            id="a-semicolon-in-quotes-beyond-ASCII",
        ),
        pytest.param(
            {"\\\\host\\share\\cuda": NPP},
            {"PATH": "\\\\host\\share\\cuda\\"},
            ["\\\\host\\share\\cuda"],
            id="a-share",
        ),
        pytest.param({"bin": NPP}, {"PATH": "bin;.;;..\\bin"}, [], id="relative"),
        pytest.param({"\\cuda": NPP, "C:cuda": NPP}, {"PATH": "\\cuda;C:cuda"}, [], id="half"),
        pytest.param({"C:\\work": NPP}, {"PATH": "c:\\WORK\\"}, [], id="the-working-directory"),
        pytest.param(
            {"C:\\work": NPP},
            {"OPENCV_CUDA_DLL_DIRS": "C:\\work"},
            ["C:\\work"],
            id="the-working-directory-by-order",
        ),
    ],
)
def test_the_first_directory_that_holds_the_family_is_registered(
    directories: Mapping[str, Sequence[str]], environ: Mapping[str, str], registered: list[str]
) -> None:
    assert Machine(directories, environ).load() == registered


def test_a_name_may_be_written_otherwise_in_the_import_table() -> None:
    machine = Machine({BIN: ["nppc64_12.dll"]}, {"PATH": BIN}, families={"npp": ["NPPC64_12.DLL"]})
    assert machine.load() == [BIN]


def test_variables_in_a_value_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKITS", "C:\\CUDA")
    assert Machine({BIN: NPP}, {"CUDA_PATH": "%TOOLKITS%\\v12.9"}).load() == [BIN]


FAMILIES = {"npp": NPP, "cublas": CUBLAS, "cudnn": CUDNN}


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


def test_a_directory_that_windows_refuses_does_not_stop_the_others() -> None:
    machine = Machine({BIN: NPP, "D:\\b": CUDNN}, {"PATH": f"{BIN};D:\\b"}, families=FAMILIES)
    add = machine.module.os.add_dll_directory
    machine.module.os.add_dll_directory = lambda name: add("gone" if name == BIN else name)
    assert machine.load() == ["D:\\b"]
    assert machine.environ["PATH"].startswith(f"{BIN};D:\\b")
    assert (BIN, "os.add_dll_directory", "[Errno 87] The parameter is incorrect") in machine.refused


def test_why_a_place_was_not_taken_is_kept() -> None:
    machine = Machine(
        {BIN: NPP[:1], "D:\\empty": [], "C:\\work": NPP},
        {"CUDA_PATH": TOOLKIT, "PATH": "bin;C:\\work;D:\\empty"},
    )
    assert machine.refused == [
        (f"{BIN}\\x64", "CUDA_PATH", "does not exist"),
        (BIN, "CUDA_PATH", "has no nppif64_12.dll"),
        ("bin", "PATH", "is not an absolute directory"),
        ("C:\\work", "PATH", "is the working directory"),
        ("D:\\empty", "PATH", "holds none of the DLLs needed"),
    ]


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
    before = f'C:\\Windows;"{BIN.upper()}";;D:\\tools'
    machine = Machine({BIN: NPP, "C:\\Windows": []}, {"CUDA_PATH": TOOLKIT, "PATH": before})
    machine.load()
    assert machine.environ["PATH"] == f"{BIN};C:\\Windows;;D:\\tools"
    machine.load()
    assert machine.environ["PATH"] == f"{BIN};C:\\Windows;;D:\\tools"


def test_path_stays_as_it_is_where_nothing_is_found() -> None:
    machine = Machine({}, {"PATH": 'C:\\a;;"C:\\b"'})
    machine.load()
    assert machine.environ["PATH"] == 'C:\\a;;"C:\\b"'


def test_an_empty_entry_that_the_loader_puts_into_path_is_taken_out() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    with machine.module.loading():
        machine.environ["PATH"] = ";" + machine.environ["PATH"]
    assert machine.environ["PATH"] == f"{BIN};C:\\Windows\\system32"


def test_python_3_7_has_path_alone() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT}, python=(3, 7))
    assert machine.load() == []
    assert machine.environ["PATH"].startswith(f"{BIN};")


# After a failure

NOT_FOUND = "DLL load failed while importing cv2: The specified module could not be found."


def native_error() -> ImportError:
    return ImportError(NOT_FOUND, name="cv2", path="C:\\app\\cv2\\cv2.pyd")


def test_a_failure_leaves_nothing_behind() -> None:
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT})
    kept = machine.sys.modules["cv2"] = ModuleType("cv2")
    machine.fail(KeyboardInterrupt())
    assert machine.sys.path == ["C:\\app"]
    assert machine.sys.modules == {"cv2": kept}
    assert machine.environ["PATH"] == "C:\\Windows\\system32"
    assert not hasattr(machine.sys, "OpenCV_LOADER")
    assert machine.registered == []


def test_a_second_import_says_the_same_and_the_cure_works_in_the_same_process() -> None:
    machine = Machine({BIN: NPP})
    assert str(machine.fail(native_error())) == str(machine.fail(native_error()))
    machine.environ["CUDA_PATH"] = TOOLKIT
    assert machine.load() == [BIN]


def test_the_error_says_which_dll_is_nowhere_and_what_to_set() -> None:
    original = native_error()
    error = Machine({}, {}).fail(original)
    assert isinstance(error, ImportError)
    assert str(error) == (
        f"{NOT_FOUND} cv2 needs nppc64_12.dll, nppif64_12.dll, found neither in "
        "OPENCV_CUDA_DLL_DIRS, nor in CUDA_PATH, nor on PATH: set CUDA_PATH to a CUDA 12 toolkit, "
        "or OPENCV_CUDA_DLL_DIRS to the directories that hold them."
    )
    assert (error.name, error.path, error.__cause__) == (original.name, original.path, original)


def test_the_error_does_not_say_that_path_was_searched_where_it_was_not() -> None:
    machine = Machine({BIN: NPP}, {"PATH": BIN, "OPENCV_CUDA_SEARCH_PATH": "0"})
    assert "and OPENCV_CUDA_SEARCH_PATH turns PATH off" in str(machine.fail(native_error()))


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ModuleNotFoundError("No module named 'numpy'", name="numpy"), id="numpy"),
        pytest.param(ImportError("ERROR: recursion is detected"), id="recursion"),
        pytest.param(OSError("x"), id="no-ImportError"),
    ],
)
def test_another_error_passes_unchanged(error: Exception) -> None:
    assert Machine({}).fail(error) is error


def test_an_error_for_another_reason_than_a_dll_of_ours_passes_unchanged() -> None:
    error = native_error()
    assert Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT}).fail(error) is error
    assert Machine({}, delayed=NPP).fail(error) is error


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


# Manners


def test_off_windows_nothing_is_done() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"})
    machine.module.os.name = "posix"
    machine.sys.OpenCV_LOADER = True
    assert machine.load() == machine.listed == []
    assert hasattr(machine.sys, "OpenCV_LOADER")


def test_a_build_without_cuda_looks_at_no_directory() -> None:
    machine = Machine({BIN: NPP}, {"OPENCV_CUDA_DLL_DIRS": "gone"}, families={})
    assert machine.load() == machine.listed == []


def test_where_cuda_path_is_right_two_directories_are_listed_whatever_path_holds() -> None:
    path = ";".join(f"D:\\tools\\{number}" for number in range(40))
    machine = Machine({BIN: NPP}, {"CUDA_PATH": TOOLKIT, "PATH": path})
    machine.load()
    machine.load()
    assert machine.listed == [f"{BIN}\\x64", BIN]


def test_no_directory_is_listed_twice() -> None:
    machine = Machine({}, {"CUDA_PATH": TOOLKIT, "PATH": f"{BIN};D:\\a;d:\\A\\;D:/a"})
    machine.load()
    assert machine.listed == [f"{BIN}\\x64", BIN, "D:\\a"]


def test_it_parses_on_python_3_6_and_imports_nothing_slow() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import os", "import sys"]


def test_what_the_default_says_is_what_a_build_says() -> None:
    build = imported().BUILD
    assert sorted(build) == [
        "cuda", "delayed", "driver", "families", "in_wheel", "needed_by", "opencv"
    ]  # fmt: skip


PLACES = [BIN, f"{BIN}\\x64", "D:\\a", "D:\\b"]


@given(
    st.dictionaries(st.sampled_from(PLACES), st.sets(st.sampled_from([*NPP, *CUBLAS, *CUDNN]))),
    st.fixed_dictionaries(
        {},
        optional={
            "CUDA_PATH": st.just(TOOLKIT),
            "OPENCV_CUDA_SEARCH_PATH": st.sampled_from(["0", "1"]),
            "PATH": st.lists(st.sampled_from([*PLACES, "."])).map(";".join),
        },
    ),
)
def test_the_choice_is_that_of_a_shorter_specification(
    directories: dict[str, set[str]], environ: dict[str, str]
) -> None:
    order = [f"{BIN}\\x64", BIN] if "CUDA_PATH" in environ else []
    if environ.get("OPENCV_CUDA_SEARCH_PATH") != "0":
        order += environ.get("PATH", "").split(";")
    first = {
        next((place for place in order if files <= directories.get(place, set())), None)
        for files in map(set, FAMILIES.values())
    }
    machine = Machine(
        {place: sorted(names) for place, names in directories.items()}, environ, families=FAMILIES
    )
    assert sorted(machine.load()) == sorted(first - {None})  # type: ignore[type-var]


def test_the_interpreter_that_runs_the_tests_is_left_alone() -> None:
    before = list(sys.path)
    with imported().loading():
        assert sys.path == before
