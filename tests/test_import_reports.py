"""Situations from public bug reports: whether `import cv2` works, and what it says where not.

On a genuine Python under Wine, with a small genuine native module (windowslab). Rows are named
after the kind of report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from machines import PREFIX, SITE, dll, table
from windowslab import CV2, IMPORTS, NPP, Files, Windows, cleared, native, open_windows

pytestmark = [pytest.mark.network, pytest.mark.wine]
TOOLKIT = {r"C:\T\bin": NPP}
TOOLKIT_SET = {"CUDA_PATH": r"C:\T"}
PUBLIC_SET = {"PUBLIC": r"C:\Users\Public"}
WORKS = "works"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    with open_windows(tmp_path_factory.mktemp("machine")) as windows:
        yield windows


@pytest.fixture
def windows(machine: Windows) -> Iterator[Windows]:
    with cleared(machine) as fresh:
        fresh.install()
        yield fresh


# Where the DLLs are found


@pytest.mark.parametrize(
    ("place", "variable", "value"),
    [
        (rf"{PREFIX}\Library\bin\x64", "", ""),
        (rf"{PREFIX}\bin", "", ""),
        (r"C:\conda\envs\cuda\Library\bin\x86_64", "CUDA_HOME", r"C:\conda\envs\cuda"),
        (r"C:\T\bin\x64", "PATH", r"C:\T\bin"),
        (r"C:\T\bin\12.9\x64", "CUDA_PATH", r"C:\T\bin"),
        (r"C:\T\v12.9\bin", "CUDA_PATH", r"C:\T"),
        (r"\\srv\cuda12", "CUDA_PATH", r"\\srv\cuda12"),
    ],
)
def test_the_dlls_are_found_in_every_layout_whoever_names_the_directory(
    place: str, variable: str, value: str, windows: Windows
) -> None:
    windows.fill({place: NPP})
    windows.env[variable or "UNUSED"] = value
    assert windows.chosen() == {"npp": place}


# What is message


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A machine on which the import fails, and parts of what is message."""

    says: tuple[str, ...]
    keeps_quiet_about: tuple[str, ...] = ()
    files: Mapping[str, Files | str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    build: Mapping[str, Any] = field(default_factory=dict)


LOAD = "import ctypes\nfor path in {}: ctypes.WinDLL(path, winmode=0x1100)\n"
BY_ALL = "is in a folder that every user may write to: "
BEFORE_4_5_4 = """\
from . import cuda_dlls as _cuda_dlls
with _cuda_dlls.loading():
    from .cv2 import *
"""
LOADERS: dict[str, Files] = {"": {}, "-before-4.5.4": {"__init__.py": BEFORE_4_5_4}}
PYTHON_3_9 = "cv2.cp39-win_amd64.pyd"
BLENDER = r"C:\Blender\msvcp140.dll"
NO_FAMILIES: Mapping[str, Any] = {"families": {}}

FAILURES = {
    # Places that are not taken
    "everybody-may-write-there-by-a-junction": Failure(
        says=(rf"{BY_ALL}C:\junction\cuda (CUDA_PATH)",),
        files={r"C:\Users\Public\cuda": NPP, r"C:\junction": "users/Public"},
        env={**PUBLIC_SET, "CUDA_PATH": r"C:\junction\cuda"},
    ),
    "not-fetched-from-Git-LFS-beside-the-program": Failure(
        says=(
            f"in {PREFIX}, nppc64_12.dll, nppif64_12.dll are not fetched from Git LFS yet",
            rf"To fix it: remove or replace {PREFIX}\nppc64_12.dll and ",
        ),
        files={PREFIX: dict.fromkeys(NPP, "version https://git-lfs.github.com/spec/v1\n")},
    ),
    "a-folder-that-is-called-like-a-DLL": Failure(
        says=(r"in C:\T\bin, nppc64_12.dll is not in the format of a DLL. To fix it: update ",),
        files={
            r"C:\T\bin": {"nppif64_12.dll": NPP["nppif64_12.dll"]},
            r"C:\T\bin\nppc64_12.dll": {"any.txt": ""},
        },
        env=TOOLKIT_SET,
    ),
    "a-DLL-where-a-directory-is-asked-for": Failure(
        says=(r'names "C:\T\bin\nppc64_12.dll", which is no directory that can be read. To',),
        files=TOOLKIT,
        env={"OPENCV_CUDA_DLL_DIRS": r"C:\T\bin\nppc64_12.dll"},
    ),
    # The native module
    **{
        f"the-native-module-is-gone{loader}": Failure(
            says=(
                rf"import of cv2 failed: the native module (cv2*.pyd) is missing from {CV2}",
                "--force-reinstall --no-deps opencv-contrib-python==4.13.0",
                "quarantine",
            ),
            files={
                CV2: {**files, "cv2.pyd": None},
                rf"{SITE}\opencv_contrib_python-4.13.0.dist-info": {"METADATA": ""},
            },
        )
        for loader, files in LOADERS.items()
    },
    **{
        f"a-native-module-for-another-Python{loader}-{folder}": Failure(
            says=(rf"{CV2}\{folder}{PYTHON_3_9} is for Python 3.9, and this is Python 3.12",),
            files={CV2: {**files, "cv2.pyd": None, f"{folder}{PYTHON_3_9}": native(IMPORTS)}},
        )
        for loader, files in LOADERS.items()
        for folder in ("", "python-3.9\\")
    },
    "a-native-module-for-another-build-of-this-Python": Failure(
        says=("cv2.cp312t-win_amd64.pyd is for another build of Python 3.12, and this is ",),
        files={CV2: {"cv2.pyd": None, "cv2.cp312t-win_amd64.pyd": native(IMPORTS)}},
    ),
    "a-native-module-where-the-loader-does-not-look": Failure(
        says=(rf"{CV2}\python-3.12\cv2.pyd is in no folder that cv2/config*.py names",),
        files={CV2: {"cv2.pyd": None}, rf"{CV2}\python-3.12": {"cv2.pyd": native(IMPORTS)}},
    ),
    "DLLs-that-came-with-it-went-into-quarantine": Failure(
        says=(
            "nppc64_12.dll, nppif64_12.dll, which came with cv2, are gone. To fix it: ",
            "--no-deps opencv-contrib-python==4.13.0; where it goes missing again",
        ),
        files={
            rf"{SITE}\opencv_contrib_python-4.13.0.dist-info": {
                "RECORD": "cv2/cv2.pyd,,\n" + "".join(f"cv2.libs/{name},,\n" for name in NPP),
            },
        },
        build={"vendored": ["cv2.libs"]},
    ),
    "it-needs-the-DLL-of-another-Python": Failure(
        says=(r"cv2\cv2.pyd is for Python 3.9, and this is Python 3.12",),
        build={**NO_FAMILIES, "imports": {"python39.dll": ["Py_Initialize"]}},
    ),
    # What Windows has, or another package
    "a-program-loaded-an-old-run-time": Failure(
        says=(
            r"C:\T\bin\nppif64_12.dll fails to start (error 1114)",
            rf"import cv2 before what loads {BLENDER}, or update that",
        ),
        keeps_quiet_about=("Redistributable",),
        files={
            r"C:\T\bin": {**NPP, "nppif64_12.dll": dll("nppiFilter", starts=False)},
            r"C:\Blender": {"msvcp140.dll": dll()},
        },
        env=TOOLKIT_SET,
        before=LOAD.format([BLENDER]),
    ),
    "a-DLL-of-Windows-is-missing": Failure(
        says=("importing cv2: dxgi.dll was not found. To fix it: ", "Desktop Experience"),
        env={"WINEDLLOVERRIDES": "dxgi="},
        build={**NO_FAMILIES, "imports": {"dxgi.dll": ["f"]}},
    ),
    "an-API-set-is-missing": Failure(
        says=("api-ms-win-new-l1-1-0.dll was not found. To fix it: update Windows",),
        keeps_quiet_about=("http",),  # nobody gave an address
        build={**NO_FAMILIES, "imports": {"api-ms-win-new-l1-1-0.dll": ["f"]}},
    ),
    "a-frozen-program-lacks-DLLs": Failure(
        says=(
            "To fix it: tell the maker of this program that it lacks nppc64_12.dll, nppif64_12.dll",
        ),
        keeps_quiet_about=("pip", "python -m"),
        before="sys.frozen = True",
    ),
    "a-name-in-sys.modules-that-is-no-text": Failure(
        says=("importing cv2: nppc64_12.dll, nppif64_12.dll were not found",),
        before="sys.modules[7] = sys",
    ),
    "what-the-machine-lacks-is-no-matter-for-its-maker": Failure(
        says=("To fix it: install the NVIDIA display driver",),
        before="sys.frozen = True",
        build={**NO_FAMILIES, "imports": {"nvcuda.dll": ["cuInit"]}},
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_error_says_what_is_the_matter_and_what_to_do(name: str, windows: Windows) -> None:
    failure = FAILURES[name]
    windows.install(**failure.build)
    windows.fill(failure.files)
    windows.env = dict(failure.env)
    message = windows.import_cv2(before=failure.before)
    for part in failure.says:
        assert part in message
    for part in failure.keeps_quiet_about:
        assert part not in message


@pytest.mark.parametrize(
    "spelling",
    [
        *(r"C:\work", r"c:\WORK\\", r"C:\other\..\work", r"\\?\C:\work"),
        *(r"C:\junction", r"C:\junction\..\work", r"Z:{unix}"),
    ],
)
def test_the_working_directory_is_not_taken_by_any_of_its_names(
    windows: Windows, spelling: str
) -> None:
    windows.fill({r"C:\work": NPP, r"C:\junction": "work"})
    windows.place(r"C:\other").mkdir()
    windows.cwd = r"C:\work"
    unix = str(windows.disk.place(r"C:\work")).replace("/", "\\")
    windows.env = {"PATH": spelling.format(unix=unix)}
    assert "is the working directory, or a subfolder of it: " in windows.import_cv2()


def test_the_scripts_folder_of_a_virtual_environment_is_not_where_windows_looks(
    windows: Windows,
) -> None:
    root = r"C:\Users\me\project\.venv"
    windows.fill({root: {"pyvenv.cfg": f"home = {PREFIX}\n"}, rf"{root}\Scripts": NPP})
    windows.install(rf"{root}\Lib\site-packages")
    windows.env = {"__PYVENV_LAUNCHER__": rf"{root}\Scripts\python.exe"}
    message = windows.import_cv2()
    assert "nppc64_12.dll, nppif64_12.dll were not found" in message
    reason = "holds nppc64_12.dll, nppif64_12.dll, but Windows looks beside the running program, "
    assert rf"{reason}{PREFIX}\python.exe: {root}\Scripts" in message.splitlines()[-2]


def test_a_host_program_finds_dlls_beside_it_and_is_told_of_the_python_that_has_pip(
    windows: Windows,
) -> None:
    python = windows.interpreter.python.parent
    program = {"host.exe": "python.exe", "python312.dll": "python312.dll"}
    windows.fill({r"C:\host": {name: (python / program[name]).read_bytes() for name in program}})
    windows.python, windows.env = r"C:\host\host.exe", {"PYTHONHOME": PREFIX}
    command = rf'To fix it: "{PREFIX}\python.exe" -m pip install "nvidia-npp-cu12'
    assert command in windows.import_cv2()
    windows.fill({r"C:\host": NPP})
    assert windows.chosen() == {"npp": r"C:\host"}


def test_a_dll_that_is_nobodys_is_taken_from_the_folder_that_the_user_names(
    windows: Windows,
) -> None:
    windows.install(imports={"libfoo.dll": ["f"]}, families={}, others=("libfoo.dll",))
    needs_another = dll("f", imports={"libbar.dll": ["f"]})
    windows.fill({r"C:\foo": {"libfoo.dll": needs_another}, r"C:\bar": {"libbar.dll": dll("f")}})
    for variable, value, name in (
        ("CUDA_PATH", r"C:\foo", "libfoo.dll"),
        ("OPENCV_CUDA_DLL_DIRS", r"C:\foo", "libbar.dll"),
    ):
        windows.env = {variable: value}
        cure = f"{name} was not found. To fix it: set OPENCV_CUDA_DLL_DIRS"
        assert cure in windows.import_cv2()
    windows.env = {"OPENCV_CUDA_DLL_DIRS": r"C:\foo;C:\bar"}
    assert windows.import_cv2() == WORKS


# Conveniences never end an import


@table(
    "before",
    {
        "PATH-is-full": ("import os; os.environ['PATH'] = 'C:/' + 'x' * 32600",),
        "no-PATH": ("import os; del os.environ['PATH']",),
        "no-sys.executable": ("sys.executable = None",),
        "no-prefixes": ("del sys.executable, sys.prefix, sys.base_prefix",),
        "no-sys.argv": ("del sys.argv",),
        "prefixes-that-are-no-text": ("sys.prefix = sys.base_prefix = 7",),
        "directories-that-cannot-be-registered": ("import os; os.add_dll_directory = None",),
        "odd-entries-of-sys.path": ("sys.path += [None, b'x', 7]",),
        "no-ctypes": ("sys.modules['ctypes'] = None",),
        "half-a-ctypes": ("import ctypes; del ctypes.WinDLL",),
        "no-stderr": ("sys.stderr = None",),
        "stderr-is-closed": ("sys.stderr.close()",),
        "ASCII": ("sys.stderr.reconfigure(encoding='ascii', errors='strict')",),
    },
)
def test_nothing_ends_an_import_that_works(windows: Windows, before: str) -> None:
    windows.env = {"CUDA_PATH": r"C:\Jürgens 工具", "OPENCV_CUDA_DEBUG": "1"}
    windows.fill({r"C:\Jürgens 工具\bin": NPP})
    assert WORKS in windows.import_cv2(before=before).splitlines()


# The report


def test_the_report_ends_as_the_import_does_also_when_it_is_run_by_its_path(
    windows: Windows,
) -> None:
    windows.cwd = PREFIX  # a prefix is trusted all the same
    by_name, by_path = windows.report(), windows.run(rf"{CV2}\cuda_dlls.py")
    assert (by_path.output, by_path.returncode) == (by_name.output, 1)
    assert "import cv2 fails" in by_name.output
    windows.fill({PREFIX: NPP})
    by_name, by_path = windows.report(), windows.run(rf"{CV2}\cuda_dlls.py")
    assert (by_path.output, by_path.returncode) == (by_name.output, 0)
    assert f"npp: {PREFIX} (folder of the running program)" in by_name.output


def test_the_report_tells_several_distributions(windows: Windows) -> None:
    windows.fill(TOOLKIT)
    windows.env = TOOLKIT_SET
    for name in ("opencv_python-4.8", "opencv_python-4.9", "opencv_contrib_python-4.13.0"):
        windows.write(rf"{SITE}\{name}.dist-info\METADATA", "")
    windows.write(rf"{SITE}\opencv_fixer-0.2.5.dist-info\RECORD", "opencv_fixer/__init__.py,,")
    output = windows.report().output
    several = "opencv-contrib-python 4.13.0, opencv-python 4.8, opencv-python 4.9. To repair it: "
    command = "python -m pip uninstall -y opencv-contrib-python opencv-python, then install"
    assert f"installed over each other: {several}{command}" in output
