"""What a failed import of cv2 says, on a genuine Python; rows are named after public reports.

Wine gives few of Windows' error numbers: where a row has one, ctypes is made to say so.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from machines import (
    FILE,
    IMPORTS,
    PREFIX,
    REPORT,
    RETURN_0,
    SITE,
    SOUND,
    arm64_dll,
    dll,
    execute,
    table,
)
from windowslab import CV2, LOADER, OLD_LOADER, Case, Files, Windows, native

from repack.dlls.families import FAMILIES
from repack.process import run

wine = pytest.mark.wine
GOLDEN = Path(__file__).parent / "golden" / "messages" / "nothing_anywhere.txt"
PAGES = Path(__file__).parents[1] / "docs" / "import-failed"
TOOLKIT, TOOLKIT_SET = {r"C:\T\bin": SOUND}, {"CUDA_PATH": r"C:\T"}
NO_FAMILIES: Mapping[str, Any] = {"families": {}}
INFO = rf"{SITE}\opencv_contrib_python-4.13.0.dist-info"
CUBLAS = "cublas64_12.dll"
FAILS = native(IMPORTS, entry_point=RETURN_0)


def number(value: int) -> str:
    """Return a line that has ctypes say that Windows gives this error number."""
    return f"import ctypes; ctypes.get_last_error = lambda: {value}\n"


def load(path: str) -> str:
    """Return a line that loads a DLL."""
    return f"import ctypes; loaded = ctypes.WinDLL(r'{path}', winmode=0x1100)\n"


UPGRADE = 'python -m pip install --upgrade --force-reinstall "nvidia-npp-cu12>=12.4.0,<13"'

# Places that are not taken

CASES = {
    "nothing-anywhere": Case(
        says=GOLDEN.read_text("utf-8").strip(),
        env={"PATH": r"C:\tools;relative"},
        build={
            "imports": {**IMPORTS, CUBLAS: ["f"], "cudnn64_9.dll": ["g"]},
            "families": {"npp": list(SOUND), "cublas": [CUBLAS], "cudnn": ["cudnn64_9.dll"]},
            "help_url": "https://help.example.com/",
        },
    ),
    "a-DLL-that-a-DLL-needs-and-another-version": Case(
        says="needed by cublas64_12.dll: cublasLt64_12.dll\n ... example.com/version/",
        files={r"C:\T\bin": {CUBLAS: dll("f", imports={"cublasLt64_12.dll": ["g"]})}}
        | {r"C:\11": {"cublasLt64_11.dll": dll()}},
        env={**TOOLKIT_SET, "PATH": r"C:\11"},
        build={
            "imports": {CUBLAS: ["f"]},
            "families": {"cublas": [CUBLAS], "lt": ["cublasLt64_12.dll"]},
            "kinds": {CUBLAS: "cublas", "cublaslt64_12.dll": "lt"},
            "help_url": "https://help.example.com/",
        },
    ),
    # Another one's removal took its files, and uv made an environment without pip.
    "NVIDIAs-wheel-is-installed-and-empty": Case(
        says=f"were not found. To fix it: {UPGRADE}, or set ... this Python has no pip: use what",
        files={rf"{SITE}\nvidia_npp_cu12-12.4.1.87.dist-info": {"RECORD": ""}},
        before="sys.modules['pip'] = None",
    ),
    "not-fetched-from-Git-LFS-beside-the-program": Case(
        says=(
            f"in {PREFIX}, nppc64_12.dll, nppif64_12.dll are not fetched from Git LFS yet. "
            rf"To fix it: remove or replace {PREFIX}\nppc64_12.dll and "
        ),
        files={PREFIX: dict.fromkeys(SOUND, "version https://git-lfs.github.com/spec/v1\n")},
    ),
    "a-file-that-may-not-be-read": Case(
        says=r"(PermissionError). To fix it: give yourself the right to read C:\T\bin\nppc64_1",
        files=TOOLKIT,
        before="""
import builtins
def open_file(path, *words, open=open):
    if "nppc64" in str(path):
        raise PermissionError(13, "Zugriff verweigert")
    return open(path, *words)
builtins.open = open_file
""",
    ),
}

# The native module

LOADERS: dict[str, Files] = {"": {}, "-before-4.5.4": {"__init__.py": OLD_LOADER}}
PYTHON_3_9 = "cv2.cp39-win_amd64.pyd"
for loader, files in LOADERS.items():
    CASES[f"the-native-module-is-gone{loader}"] = Case(
        says=(
            rf"import of cv2 failed: the native module (cv2*.pyd) is missing from {CV2} ... "
            "--force-reinstall --no-deps opencv-contrib-python==4.13.0 ... quarantine"
        ),
        files={CV2: {**files, "cv2.pyd": None}, INFO: {"METADATA": ""}},
    )
    CASES[f"a-native-module-for-another-Python{loader}"] = Case(
        says=rf"{CV2}\{PYTHON_3_9} is for Python 3.9, and this is Python 3.12",
        files={CV2: {**files, "cv2.pyd": None, PYTHON_3_9: native(IMPORTS)}},
    )
NO_CONFIG = "raise ImportError('OpenCV loader: missing configuration file'); saved"
CASES |= {
    "a-native-module-for-another-build-of-this-Python-in-a-folder": Case(
        says=r"python-3.9\cv2.cp312t-win_amd64.pyd is for another build of Python 3.12, and",
        files={CV2: {"cv2.pyd": None, "python-3.9\\cv2.cp312t-win_amd64.pyd": native(IMPORTS)}},
    ),
    "a-file-of-this-module-is-gone": Case(
        says=f"_cuda_build.py is missing from {CV2}. To fix it: python -m pip",
        files={CV2: {"_cuda_build.py": None}},
    ),
    "a-configuration-of-the-loader-is-gone": Case(
        says=rf"{CV2}\cv2.pyd is in no folder that cv2/config*.py names. To fix it: python -m pip",
        files={CV2: {"__init__.py": LOADER.replace("saved", NO_CONFIG, 1)}},
    ),
    "a-file-of-the-loader-is-gone": Case(
        says=f"loads.py is missing from {CV2}. To fix it: python -m pip",
        files={CV2: {"__init__.py": LOADER.replace("saved", "from .loads import x; saved", 1)}},
    ),
    "DLLs-that-came-with-it-went-into-quarantine": Case(
        says=(
            "nppc64_12.dll, nppif64_12.dll, which came with cv2, are gone. To fix it: ... "
            "--no-deps opencv-contrib-python==4.13.0; where it goes missing again"
        ),
        files={
            INFO: {"RECORD": "cv2/cv2.pyd,,\n" + "".join(f"cv2.libs/{name},,\n" for name in SOUND)},
        },
        build={"vendored": ["cv2.libs"]},
    ),
    "it-needs-the-DLL-of-another-Python": Case(
        says=r"cv2\cv2.pyd is for Python 3.9, and this is Python 3.12",
        build={**NO_FAMILIES, "imports": {"python39.dll": ["Py_Initialize"]}},
    ),
    "a-wheel-for-another-processor": Case(
        says=(
            rf"this Python is 64-bit (x86-64), and {CV2}\cv2.pyd is not. To fix it: "
            "install a Python that is for ARM64"
        ),
        files={CV2: {"cv2.pyd": arm64_dll(metadata=0)}},
    ),
}

# What Windows has, another package, or the program

OLD = {"nppc64_12.dll": dll("nppOld")}
OLD_BUILD = {
    "imports": {"nppc64_12.dll": ["nppGetLibVersion"]},
    "families": {"npp": ["nppc64_12.dll"]},
    "entry_point": RETURN_0,
}
REINSTALL = "python -m pip install --force-reinstall --no-deps opencv-contrib-python"
OVERRIDE = {"OPENCV_CUDA_DLL_DIRS": r"C:\x"}
CASES |= {
    f"a-DLL-too-old-in-{name}": Case(
        says=(
            rf"importing cv2: {place}\nppc64_12.dll has no nppGetLibVersion, which cv2.pyd needs. "
            f"To fix it: {fix}"
        ),
        files={place: OLD},
        env=env,
        before=number(127),
        build=OLD_BUILD,
    )
    for name, place, env, fix in (
        ("NVIDIAs-wheel", rf"{SITE}\nvidia\npp\bin", {}, UPGRADE),
        ("a-toolkit", r"C:\T\bin", TOOLKIT_SET, r"update or replace what is in C:\T\bin"),
        ("conda", rf"{PREFIX}\Library\bin", {}, "conda update --all"),
        ("this-wheel", CV2, {}, REINSTALL),
        ("the-override", r"C:\x", OVERRIDE, "correct OPENCV_CUDA_DLL_DIRS, or replace C:\\x\\"),
        ("the-program", PREFIX, {}, rf"remove or replace {PREFIX}\nppc64_12.dll"),
        ("PATH", r"C:\x", {"PATH": r"C:\x"}, r"remove or replace C:\x\nppc64_12.dll"),
    )
}
BLENDER, QT = r"C:\Blender\msvcp140.dll", rf"{SITE}\Qt5\bin"
VERSION = b"\xbd\x04\xef\xfe\0\0\1\0\x1b\0\x0e\0\0\0\x98\x73"
STOPS = {**SOUND, "nppif64_12.dll": dll("nppiFilter", starts=False)}
CASES |= {
    "a-DLL-too-old-that-another-package-loaded": Case(
        says=r"To fix it: import cv2 before what loads C:\torch\lib\nppc64_12.dll, or update",
        files={r"C:\torch\lib": OLD},
        before=number(127) + load(r"C:\torch\lib\nppc64_12.dll"),
        build=OLD_BUILD,
    ),
    "a-symbol-of-Windows": Case(
        says="To fix it: update Windows: this build needs a later one",
        before=number(127),
        build={**NO_FAMILIES, "imports": {"KERNEL32.dll": ["New"]}, "entry_point": RETURN_0},
    ),
    "a-program-loaded-an-old-run-time": Case(
        says=(
            r"C:\T\bin\nppif64_12.dll fails to start (error 1114) ... "
            rf"import cv2 before what loads {BLENDER}, or update that ... "
            "msvcp140.dll 14.27.29592.0 is still loaded: start Python again"
        ),
        hides="Redistributable",
        files={r"C:\T\bin": STOPS, r"C:\Blender": {"msvcp140.dll": dll() + VERSION}},
        before=load(BLENDER),
    ),
    "an-old-run-time-beside-Python": Case(
        says="fails to start (error 1114). To fix it: python -m pip install --upgrade msvc-runtime",
        files={r"C:\T\bin": STOPS, PREFIX: {"msvcp140.dll": dll()}},
        before=load(rf"{PREFIX}\msvcp140.dll"),
    ),
    # pip installs into the virtual environment, where this program does not look.
    "an-old-run-time-beside-the-base-Python": Case(
        says=rf"To fix it: update {PREFIX}\python.exe, or remove or replace {PREFIX}\msvcp140",
        files={r"C:\T\bin": STOPS, PREFIX: {"msvcp140.dll": dll()}},
        before=load(rf"{PREFIX}\msvcp140.dll") + r"sys.prefix = 'C:\\venv'",
    ),
    "the-one-that-stops-others": Case(
        says=r"C:\T\bin\nppc64_12.dll fails to start",
        files={r"C:\T\bin": {**STOPS, "nppc64_12.dll": dll("nppGetLibVersion", starts=False)}},
    ),
    "a-number-of-the-file-that-fails": Case(
        says=(
            r"C:\T\bin\nppif64_12.dll does not load: Smart App Control or a policy blocks it "
            "(error 4551). To fix it: allow it in Smart App Control or"
        ),
        files={r"C:\T\bin": STOPS},
        before=number(4551),
    ),
    "a-number-that-no-table-has": Case(
        says=rf"{CV2}\cv2.pyd does not load: it has Windows' words for 1359 (error 1359)",
        files={**TOOLKIT, CV2: {"cv2.pyd": FAILS}},
        before=number(1359) + 'ctypes.FormatError = "%1 has Windows\' words for {}.".format',
    ),
    "a-DLL-of-Windows-is-missing": Case(
        says="importing cv2: dxgi.dll was not found. To fix it: ... Desktop Experience",
        files={r"C:\windows\system32": SOUND},
        env={"WINEDLLOVERRIDES": "dxgi=", "PATH": r"C:\windows\system32"},
        build={"imports": {**IMPORTS, "dxgi.dll": ["f"]}},
    ),
    "an-API-set-is-missing": Case(
        says="api-ms-win-new-l1-1-0.dll was not found. To fix it: update Windows",
        hides="http",  # nobody gave an address
        build={**NO_FAMILIES, "imports": {"api-ms-win-new-l1-1-0.dll": ["f"]}},
    ),
    "a-frozen-program-lacks-DLLs": Case(
        says="To fix it: tell the maker of this program that it lacks nppc64_12.dll, nppif64_",
        hides="pip",
        before="sys.frozen = True",
    ),
    "what-the-machine-lacks-is-no-matter-for-its-maker": Case(
        says="To fix it: install the NVIDIA display driver",
        before="sys.frozen = True",
        build={**NO_FAMILIES, "imports": {"nvcuda.dll": ["cuInit"]}},
    ),
    "a-NumPy-that-does-not-fit": Case(
        says="NumPy 1.21.6 is installed, and this build needs numpy>=1.23,<2. To fix it: python",
        files={CV2: {"__init__.py": LOADER.replace("native =", "raise ImportError('core'); x =")}},
        before="import numpy; numpy.__version__ = '1.21.6'",
    ),
    # The exception itself
    "an-error-keeps-what-it-was": Case(
        says=rf"were not found ... kept: cv2 {CV2}\cv2.pyd DLL load failed while importing cv2: ",
        before="sys.modules[7] = sys",  # a name that is no text
        after="print('kept:', raised.name, raised.path, raised.__cause__)",
    ),
    "an-error-that-no-file-explains-passes": Case(
        says="ImportError: DLL load failed while importing cv2: ",
        hides="To fix it",
        files={
            CV2: {"cv2.pyd": native({"libfoo.dll": ["f"]}, entry_point=RETURN_0)},
            r"C:\foo": {"libfoo.dll": dll("f")},
        },
        before=number(0) + r"os.add_dll_directory(r'C:\foo')",
        build={"families": {"x": ["x.dll"]}, "delayed": ["x.dll"]},
    ),
    "an-error-that-says-enough-passes": Case(
        says="ModuleNotFoundError: import of numpy halted",
        hides="To fix it",
        files={CV2: {"__init__.py": f"import numpy\n{LOADER}"}},
        before="sys.modules['numpy'] = None",
    ),
    "an-accident-of-the-search": Case(
        says="ImportError: DLL load failed ... (the search for CUDA's DLLs failed: TypeError",
        before="os.listdir = None",
    ),
    "an-accident-of-the-explanation": Case(
        says="ImportError: DLL load failed ... (its explanation failed: TypeError",
        before="import mmap; mmap.mmap = None",
    ),
}


@wine
@pytest.mark.parametrize("name", CASES)
def test_the_error_says_what_is_the_matter_and_what_to_do(name: str, windows: Windows) -> None:
    CASES[name].check(windows)


@wine
def test_the_scripts_folder_of_a_virtual_environment_is_not_where_windows_looks(
    windows: Windows,
) -> None:
    root = r"C:\Users\me\project\.venv"
    windows.fill({root: {"pyvenv.cfg": f"home = {PREFIX}\n"}, rf"{root}\Scripts": SOUND})
    windows.install(rf"{root}\Lib\site-packages")
    windows.env = {"__PYVENV_LAUNCHER__": rf"{root}\Scripts\python.exe"}
    message = windows.import_cv2()
    assert "nppc64_12.dll, nppif64_12.dll were not found" in message
    reason = "holds nppc64_12.dll, nppif64_12.dll, but Windows looks beside the running program, "
    assert rf"{reason}{PREFIX}\python.exe: {root}\Scripts" in message.splitlines()[-2]


@wine
def test_a_host_program_finds_dlls_beside_it_and_is_told_of_the_python_that_has_pip(
    windows: Windows,
) -> None:
    python = windows.interpreter.python.parent
    program = {"host.exe": "python.exe", "python312.dll": "python312.dll"}
    windows.fill({r"C:\host": {name: (python / program[name]).read_bytes() for name in program}})
    windows.python, windows.env = r"C:\host\host.exe", {"PYTHONHOME": PREFIX}
    command = rf'To fix it: "{PREFIX}\python.exe" -m pip install "nvidia-npp-cu12'
    assert command in windows.import_cv2()
    no_pip = "import importlib.util; importlib.util.find_spec = {}.get; sys.prefix = 'C:\\\\Maya'"
    assert "tell the maker of this program that it lacks" in windows.import_cv2(before=no_pip)
    windows.fill({r"C:\host": SOUND})
    assert r"npp: C:\host (folder of the running program)" in windows.import_cv2()


@wine
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
    windows.env = {"PATH": r"C:\foo"}
    assert r"\python.exe: C:\foo" in windows.import_cv2()
    windows.env = {"OPENCV_CUDA_DLL_DIRS": r"C:\foo;C:\bar"}
    assert windows.import_cv2().startswith("works")


# Conveniences never end an import


@wine
@table(
    "before",
    {
        "PATH-is-full": ("os.environ['PATH'] = 'C:/' + 'x' * 32697",),
        "no-PATH": ("del os.environ['PATH']",),
        "no-sys.executable": ("sys.executable = None",),
        "no-prefixes": ("del sys.executable, sys.prefix, sys.base_prefix",),
        "no-sys.argv": ("del sys.argv",),
        "prefixes-that-are-no-text": ("sys.prefix = sys.base_prefix = 7",),
        "directories-that-cannot-be-registered": ("os.add_dll_directory = None",),
        "odd-entries-of-sys.path": ("sys.path += [None, b'x', 7]",),
        "a-working-directory-that-is-gone": ("os.getcwd = lambda: os.stat('gone')",),
        "no-ctypes": ("sys.modules['ctypes'] = None",),
        "half-a-ctypes": ("import ctypes; del ctypes.WinDLL",),
        "no-stderr": ("sys.stderr = None",),
        "stderr-is-closed": ("sys.stderr.close()",),
        "ASCII": ("sys.stderr.reconfigure(encoding='ascii', errors='strict')",),
        "a-flag-that-an-earlier-failure-left": ("sys.OpenCV_LOADER = True",),
    },
)
def test_nothing_ends_an_import_that_works(windows: Windows, before: str) -> None:
    windows.env = {"CUDA_PATH": r"C:\Jürgens 工具", "OPENCV_CUDA_DEBUG": "1"}
    windows.fill({r"C:\Jürgens 工具\bin": SOUND})
    assert "works" in windows.import_cv2(before=before).splitlines()


# The report


@wine
def test_the_report_ends_as_the_import_does_also_when_it_is_run_by_its_path(
    windows: Windows,
) -> None:
    windows.cwd = PREFIX  # a prefix is trusted all the same
    by_name = windows.run("-m", "cv2.cuda_dlls")
    assert ("import cv2 fails" in by_name.output, by_name.returncode) == (True, 1)
    for words in ("-mcv2.cuda_dlls",), ("-Im", "cv2.cuda_dlls"), (rf"{CV2}\cuda_dlls.py",):
        again = windows.run(*words)
        assert (again.output, again.returncode) == (by_name.output, 1), words
    windows.fill({PREFIX: SOUND})
    by_name, by_path = windows.run("-m", "cv2.cuda_dlls"), windows.run(rf"{CV2}\cuda_dlls.py")
    assert (by_path.output, by_path.returncode) == (by_name.output, 0)
    assert f"npp: {PREFIX} (folder of the running program)" in by_name.output
    windows.write(rf"{CV2}\__init__.py", None)  # removed with another distribution
    by_name = windows.run("-m", "cv2.cuda_dlls")
    assert (f"__init__.py is missing from {CV2}" in by_name.output, by_name.returncode) == (True, 1)


@wine
def test_the_report_tells_what_is_missing_a_stand_in_and_several_distributions(
    windows: Windows,
) -> None:
    driver = rf"{CV2}\stand-ins\nvcuda"
    windows.install(
        imports={**IMPORTS, "nvcuda.dll": ["f"]},
        families={"npp": list(SOUND), "cudnn": ["cudnn64_9.dll"]},
        delayed=["cudnn64_9.dll"],
        stand_ins={"nvcuda.dll": "cv2/stand-ins/nvcuda"},
    )
    cudnn = {"cudnn64_9.dll": dll(machine="x86")}
    windows.fill({r"C:\库\bin": SOUND, r"C:\cudnn": cudnn, driver: {"nvcuda.dll": dll("f")}})
    windows.env = {"CUDA_PATH": r"C:\库", "PATH": r"C:\cudnn", "PYTHONIOENCODING": "cp1252"}
    windows.write(rf"{SITE}\opencv_python-4.8.dist-info\METADATA", "")
    for name in ("opencv_python-4.9", "opencv_contrib_python-4.13.0"):
        windows.write(rf"{SITE}\{name}.dist-info\RECORD", "cv2/__init__.py,,")
    windows.write(rf"{SITE}\opencv_fixer-0.2.5.dist-info\RECORD", "opencv_fixer/__init__.py,,")
    output = windows.run("-m", "cv2.cuda_dlls").output.replace("\r", "")
    assert "npp: C:\\\\u5e93\\bin (CUDA_PATH)\ncudnn: not found: cudnn64_9.dll\n" in output
    assert rf"{driver}\nvcuda.dll: a stand-in, which says that there is no device" in output
    assert r"its cudnn64_9.dll is for 32-bit Windows (x86): C:\cudnn (PATH)" in output
    several = "opencv-contrib-python 4.13.0, opencv-python 4.8, opencv-python 4.9. To repair it: "
    # pip uninstalls none of several where one has no RECORD.
    first = rf"remove {SITE}\opencv_python-4.8.dist-info, then python -m pip uninstall -y "
    command = f"{several}{first}opencv-contrib-python opencv-python, then install"
    assert f"installed over each other: {command}" in output


# Without Windows

REPORTING = execute(REPORT, cuda_dlls=execute(FILE))


@pytest.mark.parametrize("damaged", [b"BUILD = {'cuda'", b""])
def test_a_damaged_file_of_the_wheel_is_named(damaged: bytes, tmp_path: Path) -> None:
    shutil.copytree(FILE.parent, tmp_path / "cv2")
    (tmp_path / "cv2/__init__.py").write_bytes(b"from . import cuda_dlls")
    (tmp_path / "cv2/_cuda_build.py").write_bytes(damaged)
    done = run([sys.executable, "-c", "import cv2"], timeout=60, cwd=tmp_path)
    last = done.output.splitlines()[-1]
    assert last.startswith("ImportError: import of cv2 failed: "), done.output
    assert "_cuda_build.py is damaged" in last


def test_every_page_that_a_message_may_name_is_there_and_no_other() -> None:
    kinds = {"cuda", "cudnn", "unknown"} | {name for name, row in FAMILIES.items() if row.cure}
    pages = {f"missing-{kind}" for kind in kinds} | {"symbol", "loaded-first", "several-opencv"}
    pages |= {*REPORTING.FAULT_PAGES.values(), *REPORTING.CAUSE_PAGES.values()}
    assert pages == {path.stem for path in PAGES.glob("*.md")} - {"index"}
