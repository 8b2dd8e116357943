"""Situations from public bug reports: whether `import cv2` works, and what it says where not.

On a genuine Python under Wine, with a small genuine native module (windowslab). Rows are named
after the kind of report.
"""

from collections.abc import Iterator

import pytest
from windowslab import (
    IMPORTS,
    NPP,
    PYTHON,
    SITE,
    X86,
    Windows,
    cleared,
    dll,
    native,
    windows_machine,
)

from repack.console import SILENT
from repack.fetch import Cache
from repack.pythons import Pythons

pytestmark = [pytest.mark.network, pytest.mark.wine]
TOOLKIT = r"C:\T"
WORKS = "works"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    folder = tmp_path_factory.mktemp("machine")
    with (
        Pythons(cache=Cache.default(), progress=SILENT) as pythons,
        windows_machine(pythons, folder) as made,
    ):
        yield made


@pytest.fixture
def windows(machine: Windows) -> Iterator[Windows]:
    with cleared(machine) as fresh:
        fresh.install()
        yield fresh


def causes(windows: Windows) -> list[tuple[str, list[str]]]:
    return [(cause["code"], cause["names"]) for cause in windows.facts()["causes"]]


# Where the DLLs are found


PUBLIC = r"C:\Users\Public\Python312"


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(rf"{PUBLIC}\Library\bin", id="conda"),
        pytest.param(rf"{PUBLIC}\Lib\site-packages\nvidia\npp\bin", id="NVIDIA's-wheel"),
        pytest.param(rf"{PUBLIC}\tools", id="on-PATH-below-the-prefix"),
    ],
)
def test_a_python_that_is_installed_for_all_users_is_trusted(windows: Windows, place: str) -> None:
    windows.install(windows.move_python(PUBLIC))
    windows.env["PUBLIC"] = r"C:\Users\Public"
    windows.fill(place, NPP)
    windows.path = place
    assert windows.chosen() == {"npp": place}


def test_what_everybody_may_write_to_and_nobody_trusts_is_not_taken(windows: Windows) -> None:
    windows.env["PUBLIC"] = r"C:\Users\Public"
    windows.fill(r"C:\Users\Public\cuda\bin", NPP)
    windows.env["CUDA_PATH"] = r"C:\Users\Public\cuda"
    said = windows.import_cv2()
    assert "is in a folder that every user may write to: C:\\Users\\Public\\cuda\\bin" in said


ENVIRONMENT = r"C:\conda\envs\cuda"


@pytest.mark.parametrize(
    ("folder", "variable"),
    [
        (r"Library\bin", ""),
        (r"Library\bin\x64", ""),
        ("bin", ""),
        (r"bin\x64", ""),
        (r"Library\bin", "CUDA_PATH"),
        (r"Library\bin\x86_64", "CUDA_HOME"),
        ("bin", "OPENCV_CUDA_DLL_DIRS"),
        (r"bin\x64", "PATH"),
    ],
)
def test_every_layout_of_conda_is_found(windows: Windows, folder: str, variable: str) -> None:
    root = ENVIRONMENT if variable else PYTHON
    windows.fill(rf"{root}\{folder}", NPP)
    if variable == "PATH":
        windows.path = ENVIRONMENT
    elif variable:
        windows.env[variable] = ENVIRONMENT
    assert windows.chosen() == {"npp": rf"{root}\{folder}"}


@pytest.mark.parametrize(
    ("variable", "named", "place"),
    [
        ("PATH", r"C:\T\bin", r"C:\T\bin\x64"),
        ("PATH", r"C:\T", r"C:\T\bin\12.9\x64"),
        ("CUDA_PATH", r"C:\T", r"C:\T\bin\x64"),
        ("CUDA_PATH", r"C:\T\bin", r"C:\T\bin\12.9\x64"),
        ("CUDA_PATH", r"C:\T", r"C:\T\x64"),
        ("CUDA_PATH", r"C:\T\bin\x64", r"C:\T\bin\x64"),
        ("CUDA_PATH_V12_4", r"C:\T", r"C:\T"),
        ("CUDNN_PATH", r"C:\T", r"C:\T\bin\12.9"),
        ("OPENCV_CUDA_DLL_DIRS", r"C:\T", r"C:\T\bin"),
    ],
)
def test_known_subfolders_are_looked_at_whoever_names_the_directory(
    windows: Windows, variable: str, named: str, place: str
) -> None:
    windows.fill(place, NPP)
    if variable == "PATH":
        windows.path = named
    else:
        windows.env[variable] = named
    assert windows.chosen() == {"npp": place}


def test_the_root_of_a_share_is_an_absolute_directory(windows: Windows) -> None:
    share = windows.share(r"srv\cuda12")
    for name, content in NPP.items():
        (share / name).write_bytes(content)
    windows.env["CUDA_PATH"] = r"\\srv\cuda12"
    assert windows.chosen() == {"npp": r"\\srv\cuda12"}


# The folder of the running program


def test_dlls_beside_the_program_are_found_and_named(windows: Windows) -> None:
    windows.fill(PYTHON, NPP)
    report = windows.report()
    assert report.code == 0
    assert f"npp: {PYTHON} (folder of the running program)" in report.output


def test_a_directory_that_was_chosen_answers_before_the_folder_of_the_program(
    windows: Windows,
) -> None:
    windows.fill(PYTHON, NPP)
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    windows.env["CUDA_PATH"] = TOOLKIT
    assert windows.import_cv2(after=LOADED_FILES).splitlines()[1:] == [
        rf"C:\T\bin\{name}" for name in NPP
    ]


#: Prints where the DLLs of npp come from, by Windows' own word.
LOADED_FILES = """
import ctypes
kernel = ctypes.WinDLL("kernel32")
kernel.GetModuleHandleW.restype = ctypes.c_void_p
for name in ("nppc64_12.dll", "nppif64_12.dll"):
    path = ctypes.create_unicode_buffer(1000)
    kernel.GetModuleFileNameW(ctypes.c_void_p(kernel.GetModuleHandleW(name)), path, 1000)
    print(path.value)
"""


def test_the_scripts_folder_of_a_virtual_environment_is_not_where_windows_looks(
    windows: Windows,
) -> None:
    scripts = r"C:\Users\me\project\.venv\Scripts"
    windows.fill(scripts, NPP)
    windows.env["__PYVENV_LAUNCHER__"] = rf"{scripts}\python.exe"
    windows.write(r"C:\Users\me\project\.venv\pyvenv.cfg", f"home = {PYTHON}\n")
    windows.install(r"C:\Users\me\project\.venv\Lib\site-packages")
    said = windows.import_cv2()
    assert "nppc64_12.dll, nppif64_12.dll were not found" in said
    reason = "holds nppc64_12.dll, nppif64_12.dll, but Windows looks beside the running program, "
    assert rf"{reason}{PYTHON}\python.exe: {scripts}" in said.splitlines()[-2]


WRONG = [
    pytest.param(X86, id="for-another-processor"),
    pytest.param(dict.fromkeys(NPP, b"version https://git-lfs.github.com/spec/v1\n"), id="Git-LFS"),
    pytest.param(dict.fromkeys(NPP, b"<html>"), id="a-web-page"),
]


@pytest.mark.parametrize("files", WRONG)
def test_wrong_files_beside_the_program_do_no_harm_where_another_place_has_the_dlls(
    windows: Windows, files: dict[str, bytes]
) -> None:
    windows.fill(PYTHON, files)
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    windows.env["CUDA_PATH"] = TOOLKIT
    assert windows.import_cv2() == WORKS


@pytest.mark.parametrize("files", WRONG)
def test_wrong_files_beside_the_program_are_named_where_no_other_place_has_the_dlls(
    windows: Windows, files: dict[str, bytes]
) -> None:
    windows.fill(PYTHON, files)
    said = windows.import_cv2()
    assert f"in {PYTHON}, nppc64_12.dll, nppif64_12.dll are " in said
    assert rf"To fix it: remove or replace {PYTHON}\nppc64_12.dll and " in said
    assert causes(windows) == [("rejected", sorted(NPP))]


# The native module itself


OLD_LOADER = """\
from . import cuda_dlls as _cuda_dlls
with _cuda_dlls.loading():
    from .cv2 import *
"""


@pytest.mark.parametrize("loader", ["", OLD_LOADER], ids=["bootstrap", "before-4.5.4"])
def test_a_native_module_that_is_gone_is_said_to_be(windows: Windows, loader: str) -> None:
    windows.disk.place(rf"{SITE}\cv2\cv2.pyd").unlink()
    if loader:
        windows.write(rf"{SITE}\cv2\__init__.py", loader)
    windows.write(rf"{SITE}\opencv_contrib_python-4.13.0.dist-info\METADATA", "")
    said = windows.import_cv2()
    assert rf"import of cv2 failed: the native module (cv2*.pyd) is missing from {SITE}\cv2" in said
    assert "--force-reinstall --no-deps opencv-contrib-python==4.13.0" in said
    assert "quarantine" in said
    report = windows.report()
    assert report.code == 1
    assert "import cv2 fails" in report.output


@pytest.mark.parametrize("loader", ["", OLD_LOADER], ids=["bootstrap", "before-4.5.4"])
@pytest.mark.parametrize("folder", ["", "python-3.9\\"])
def test_a_native_module_for_another_python_is_said_to_be(
    windows: Windows, folder: str, loader: str
) -> None:
    windows.disk.place(rf"{SITE}\cv2\cv2.pyd").unlink()
    if loader:
        windows.write(rf"{SITE}\cv2\__init__.py", loader)
    path = rf"{SITE}\cv2\{folder}cv2.cp39-win_amd64.pyd"
    windows.write(path, native(IMPORTS))
    assert f"{path} is for Python 3.9, and this is Python 3.12" in windows.import_cv2()


def test_a_native_module_where_the_loader_does_not_look_is_said_to_be_there(
    windows: Windows,
) -> None:
    windows.disk.place(rf"{SITE}\cv2\cv2.pyd").unlink()
    path = rf"{SITE}\cv2\python-3.12\cv2.pyd"
    windows.write(path, native(IMPORTS))
    assert f"{path} is in no folder that cv2/config*.py names" in windows.import_cv2()


def test_a_native_module_that_needs_the_dll_of_another_python_is_said_to_be_for_that(
    windows: Windows,
) -> None:
    windows.install(imports={"python39.dll": ["Py_Initialize"]}, families={})
    said = windows.import_cv2()
    assert r"cv2\cv2.pyd is for Python 3.9, and this is Python 3.12" in said


def test_a_native_module_for_another_processor_is_told_from_a_missing_dll(windows: Windows) -> None:
    windows.write(rf"{SITE}\cv2\cv2.pyd", dll("PyInit_cv2", machine="x86"))
    said = windows.import_cv2()
    assert rf"this Python is 64-bit (x86-64), and {SITE}\cv2\cv2.pyd is not" in said


# What Windows has, or another package


NO_DEVICE = bytes.fromhex("B864000000C3")
DRIVER_IMPORTS = {"nvcuda.dll": ["cuInit"]}
STAND_IN = rf"{SITE}\cv2\stand-ins\nvcuda\nvcuda.dll"
ASK_DRIVER = LOADED_FILES.replace('("nppc64_12.dll", "nppif64_12.dll")', '("nvcuda.dll",)')


def install_stand_in(windows: Windows) -> None:
    windows.install(
        imports=DRIVER_IMPORTS, families={}, stand_ins={"nvcuda.dll": "cv2/stand-ins/nvcuda"}
    )
    windows.write(STAND_IN, dll("cuInit"))


def test_a_stand_in_is_loaded_where_there_is_no_driver(windows: Windows) -> None:
    install_stand_in(windows)
    assert windows.import_cv2(after=ASK_DRIVER).splitlines() == [WORKS, STAND_IN]
    assert f"{STAND_IN}: a stand-in, which says that there is no device" in windows.report().output


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(r"import os; os.add_dll_directory(r'C:\driver')", id="in-a-registered-folder"),
        pytest.param(r"import ctypes; ctypes.WinDLL(r'C:\driver\nvcuda.dll')", id="loaded-already"),
    ],
)
def test_a_driver_that_the_process_has_or_can_load_answers_and_no_stand_in(
    windows: Windows, before: str
) -> None:
    install_stand_in(windows)
    windows.write(r"C:\driver\nvcuda.dll", dll("cuInit"))
    said = windows.import_cv2(before=before, after=ASK_DRIVER)
    assert said.splitlines() == [WORKS, r"C:\driver\nvcuda.dll"]


TORCH = r"C:\torch\lib"
LOAD_TORCH = r"""
import ctypes
for name in ("nppc64_12.dll", "nppif64_12.dll"):
    ctypes.WinDLL(rf"C:\torch\lib\{name}", winmode=0x1100)
"""


def test_a_family_that_another_package_has_loaded_is_taken_from_there_alone(
    windows: Windows,
) -> None:
    windows.fill(TORCH, NPP)
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    windows.env["CUDA_PATH"] = TOOLKIT
    after = "import os\nprint(os.environ['PATH'])" + LOADED_FILES
    said = windows.import_cv2(before=LOAD_TORCH, after=after).splitlines()
    assert said[0] == WORKS
    assert TORCH in said[1]
    assert TOOLKIT not in said[1]
    assert said[2:] == [rf"{TORCH}\{name}" for name in NPP]


def test_a_package_that_loads_its_own_dlls_after_cv2_is_served_by_those_of_cv2(
    windows: Windows,
) -> None:
    windows.fill(TORCH, NPP)
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    windows.env["CUDA_PATH"] = TOOLKIT
    said = windows.import_cv2(after="import ctypes\nctypes.WinDLL('nppif64_12.dll')" + LOADED_FILES)
    assert said.splitlines()[1:] == [rf"C:\T\bin\{name}" for name in NPP]


def test_what_the_loaded_modules_folder_lacks_is_looked_for_as_usual(windows: Windows) -> None:
    windows.fill(TORCH, {"nppc64_12.dll": NPP["nppc64_12.dll"]})
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    windows.env["CUDA_PATH"] = TOOLKIT
    before = r"import ctypes; ctypes.WinDLL(r'C:\torch\lib\nppc64_12.dll')"
    said = windows.import_cv2(before=before, after=LOADED_FILES).splitlines()
    assert said == [WORKS, rf"{TORCH}\nppc64_12.dll", rf"{TOOLKIT}\bin\nppif64_12.dll"]


def test_a_dll_that_starts_only_with_a_newer_run_time_names_the_one_that_a_program_loaded(
    windows: Windows,
) -> None:
    windows.fill(rf"{TOOLKIT}\bin", {**NPP, "nppif64_12.dll": dll("nppiFilter", starts=False)})
    windows.env["CUDA_PATH"] = TOOLKIT
    windows.write(r"C:\Blender\msvcp140.dll", dll())
    said = windows.import_cv2(before=r"import ctypes; ctypes.WinDLL(r'C:\Blender\msvcp140.dll')")
    assert r"C:\T\bin\nppif64_12.dll fails to start (error 1114)" in said
    assert r"import cv2 before what loads C:\Blender\msvcp140.dll, or update that" in said
    assert "Redistributable" not in said


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        pytest.param("dxgi.dll", "Desktop Experience", id="a-DLL-of-Windows"),
        pytest.param("api-ms-win-new-feature-l1-1-0.dll", "update Windows", id="an-API-set"),
    ],
)
def test_a_dll_of_windows_that_is_missing_is_said_to_be_windows_own(
    windows: Windows, name: str, cure: str
) -> None:
    windows.install(imports={name: ["f"]}, families={})
    windows.overrides = "dxgi="
    said = windows.import_cv2()
    assert f"importing cv2: {name} was not found. To fix it: it is part of Windows" in said
    assert cure in said


def test_a_dll_that_is_nobodys_is_taken_from_the_folder_that_the_user_names(
    windows: Windows,
) -> None:
    windows.install(imports={"libfoo.dll": ["f"]}, families={}, others=("libfoo.dll",))
    windows.write(r"C:\foo\libfoo.dll", dll())
    windows.env["CUDA_PATH"] = r"C:\foo"
    said = windows.import_cv2()
    assert "libfoo.dll was not found. To fix it: set OPENCV_CUDA_DLL_DIRS" in said
    windows.env["OPENCV_CUDA_DLL_DIRS"] = r"C:\foo"
    assert windows.import_cv2() == WORKS


# Conveniences never end an import


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("import os; os.environ['PATH'] = 'C:/' + 'x' * 32600", id="PATH-is-full"),
        pytest.param("import os; del os.environ['PATH']", id="no-PATH"),
        pytest.param("sys.executable = None", id="no-sys.executable"),
        pytest.param("del sys.executable, sys.prefix, sys.base_prefix", id="no-prefixes"),
        pytest.param("del sys.argv", id="no-sys.argv"),
        pytest.param("sys.path += [None, b'x', 7]", id="odd-entries-of-sys.path"),
        pytest.param("sys.modules['ctypes'] = None", id="no-ctypes"),
        pytest.param("import ctypes; del ctypes.WinDLL", id="half-a-ctypes"),
        pytest.param("sys.stderr = None", id="no-stderr"),
        pytest.param("sys.stderr.close()", id="stderr-is-closed"),
        pytest.param("sys.stderr.reconfigure(encoding='ascii', errors='strict')", id="ASCII"),
    ],
)
def test_nothing_ends_an_import_that_works(windows: Windows, before: str) -> None:
    windows.env |= {"CUDA_PATH": r"C:\Jürgens 工具", "OPENCV_CUDA_DEBUG": "1"}
    windows.fill(r"C:\Jürgens 工具\bin", NPP)
    assert WORKS in windows.import_cv2(before=before).splitlines()


# Places that are never taken


@pytest.mark.parametrize(
    "spelling",
    [
        r"C:\work",
        r"c:\WORK\\",
        r"C:\other\..\work",
        r"\\?\C:\work",
        r"C:\junction",
        r"C:\junction\..\work",
        r"Z:{unix}",
    ],
)
def test_the_working_directory_is_not_taken_by_any_of_its_names(
    windows: Windows, spelling: str
) -> None:
    windows.fill(r"C:\work", NPP)
    windows.cwd = r"C:\work"
    windows.place(r"C:\other").mkdir()
    windows.link(r"C:\junction", "work")
    unix = str(windows.disk.place(r"C:\work")).replace("/", "\\")
    windows.path = spelling.format(unix=unix)
    assert "is the working directory, or a subfolder of it: " in windows.import_cv2()


def test_a_subfolder_of_the_working_directory_is_not_taken_because_path_names_that(
    windows: Windows,
) -> None:
    windows.fill(r"C:\work\bin", NPP)
    windows.cwd = windows.path = r"C:\work"
    assert r"or a subfolder of it: C:\work\bin (PATH)" in windows.import_cv2()


@pytest.mark.parametrize("spelling", [r"C:\junction\cuda", r"\\?\C:\Users\Public\cuda"])
def test_a_folder_that_everybody_may_write_to_is_known_by_any_of_its_names(
    windows: Windows, spelling: str
) -> None:
    windows.fill(r"C:\Users\Public\cuda", NPP)
    windows.link(r"C:\junction", "users/Public")
    windows.env |= {"PUBLIC": r"C:\Users\Public", "CUDA_PATH": spelling}
    assert "is in a folder that every user may write to" in windows.import_cv2()


def test_the_working_directory_lends_no_trust_to_what_lies_below_it(windows: Windows) -> None:
    work = r"C:\Users\Public\work"
    windows.env["PUBLIC"] = r"C:\Users\Public"
    windows.fill(rf"{work}\nvidia\npp\bin", NPP)
    windows.cwd = work
    windows.path = rf"{work}\nvidia\npp\bin"
    said = windows.import_cv2(before=f"sys.path[:0] = ['', r'{work}']")
    assert "is in a folder that every user may write to" in said


def test_a_prefix_is_trusted_when_it_is_the_working_directory_too(windows: Windows) -> None:
    windows.fill(PYTHON, NPP)
    windows.cwd = PYTHON
    assert windows.chosen() == {"npp": PYTHON}


# Words


def test_a_frozen_program_is_told_what_its_maker_has_to_add(windows: Windows) -> None:
    said = windows.import_cv2(before="sys.frozen = True")
    fact = "it lacks nppc64_12.dll, nppif64_12.dll"
    assert f"To fix it: tell the maker of this program that {fact}." in said
    assert "pip" not in said
    assert "python -m" not in said


def test_what_the_machine_lacks_is_no_matter_for_the_maker_of_a_frozen_program(
    windows: Windows,
) -> None:
    windows.install(imports=DRIVER_IMPORTS, families={})
    said = windows.import_cv2(before="sys.frozen = True")
    assert "To fix it: install the NVIDIA display driver." in said


def test_distributions_that_are_installed_over_each_other_are_told(windows: Windows) -> None:
    for name in ("opencv_python-4.9.0.80", "opencv_contrib_python-4.13.0"):
        windows.write(rf"{SITE}\{name}.dist-info\METADATA", "")
    line = (
        "installed over each other: opencv-contrib-python 4.13.0, opencv-python 4.9.0.80. To "
        "repair it: python -m pip uninstall -y opencv-contrib-python opencv-python, then install "
        "the one you want again"
    )
    assert line in windows.import_cv2()
    windows.fill(PYTHON, NPP)
    assert line in windows.report().output


@pytest.mark.parametrize("address", ["", "https://help.example.com/"])
def test_an_address_is_told_only_where_whoever_built_the_wheel_gave_one(
    windows: Windows, address: str
) -> None:
    windows.install(help_url=address)
    said = windows.import_cv2()
    assert said.endswith("More: https://help.example.com/missing-cuda/") == bool(address)
    assert ("http" in said) == bool(address)


def test_a_wheel_of_nvidias_that_lacks_a_dll_is_upgraded(windows: Windows) -> None:
    windows.fill(rf"{SITE}\nvidia\npp\bin", {"nppc64_12.dll": NPP["nppc64_12.dll"]})
    said = windows.import_cv2()
    command = 'python -m pip install --upgrade "nvidia-npp-cu12>=12.4.0,<13"'
    assert f"importing cv2: nppif64_12.dll was not found. To fix it: {command}" in said


def test_a_family_that_no_directory_holds_whole_is_said_to_be_split(windows: Windows) -> None:
    for folder, name in (("a", "nppc64_12.dll"), ("b", "nppif64_12.dll")):
        windows.write(rf"C:\{folder}\{name}", NPP[name])
    windows.path = r"C:\a;C:\b"
    assert "no directory holds all of nppc64_12.dll, nppif64_12.dll" in windows.import_cv2()


def test_the_error_repeats_itself_and_the_cure_works_in_the_same_process(windows: Windows) -> None:
    windows.fill(rf"{TOOLKIT}\bin", NPP)
    after = """
texts = [str(error)]
try:
    import cv2
except ImportError as error:
    texts.append(str(error))
import os
os.environ["CUDA_PATH"] = "C:\\\\T"
import cv2
sys.stdout.write("same" if texts[0] == texts[1] else repr(texts))
"""
    program = (
        "import sys\ntry:\n    import cv2\nexcept ImportError as first:\n    error = first\n"
        + after
    )
    windows.write(r"C:\Users\me\twice.py", program)
    ran = windows.run("-c", r"exec(open(r'C:\Users\me\twice.py').read())")
    assert ran.output == "same", ran.output


def test_running_the_file_by_its_path_says_the_same(windows: Windows) -> None:
    by_path = windows.run(rf"{SITE}\cv2\cuda_dlls.py")
    by_name = windows.report()
    assert by_path == by_name
    windows.fill(PYTHON, NPP)
    assert windows.run(rf"{SITE}\cv2\cuda_dlls.py") == windows.report()
    assert windows.report().code == 0
