"""The module that goes into cv2, on a genuine Python: what it chooses, loads and leaves."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import FILE, PREFIX, REPORT, SITE, SOUND, arm64_dll, dll, execute, table
from windowslab import CV2, LOADER, Case, Windows

wine = pytest.mark.wine
X86, ARM64 = dll(machine="x86"), dll(machine="arm64")
TOOLKIT, TOOLKIT_SET = {r"C:\T\bin": SOUND}, {"CUDA_PATH": r"C:\T"}
NVIDIA = rf"{SITE}\nvidia"
DEFAULT = r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA"
CUDNN_DEFAULT = r"C:\Program Files\NVIDIA\CUDNN"
PUBLIC = r"C:\Users\Public\Python312"
PUBLIC_SET = {"PUBLIC": r"C:\Users\Public"}


# The order of the sources

VARIABLES = {
    "OPENCV_CUDA_DLL_DIRS": r"C:\override",
    "CUDA_PATH_V12_9": r"C:\own",
    "CUDA_PATH": r"C:\path",
    "CUDA_HOME": r"C:\home",
    "CUDA_PATH_V12_10": r"C:\10",
    "CUDA_PATH_V12_8": r"C:\8",
    "CUDNN_PATH": r"C:\cudnn",
    "PATH": r"C:\a;C:\b",
}
ORDER = [
    *(r"C:\override\bin", r"C:\override"),
    *(rf"{SITE}\cv2.libs", CV2),
    *(rf"{NVIDIA}\cu12\bin\x86_64", rf"{NVIDIA}\npp\bin", rf"{PREFIX}\Lib\nvidia\npp\bin"),
    *(r"C:\venv\Library\bin", r"C:\venv\bin", rf"{PREFIX}\Library\bin"),
    *(r"C:\own\bin\x64", r"C:\own\bin", r"C:\path\bin", r"C:\home\bin", r"C:\10\bin", r"C:\8\bin"),
    *(r"C:\cudnn\bin\12.10\x64", r"C:\cudnn\bin\12.9\x64", r"C:\cudnn\bin\12.9"),
    *(r"C:\cudnn\bin\x64", r"C:\cudnn\bin", r"C:\cudnn"),
    *(rf"{DEFAULT}\v12.10\bin", rf"{DEFAULT}\v12.9\bin"),
    *(rf"{CUDNN_DEFAULT}\v9.10\bin\12.9", rf"{CUDNN_DEFAULT}\v9.2\bin\12.9"),
    *(PREFIX, r"C:\a\bin", r"C:\a", r"C:\b"),
]
TAKE_AWAY_IN_TURN = """
sys.prefix = r"C:\\venv"
while choices := search(vendored=("cv2.libs",)):
    print(choices[0].directory)
    for name in choices[0].files:
        os.remove(os.path.join(choices[0].directory, name))
"""


@wine
def test_the_directories_are_taken_in_the_documented_order(windows: Windows) -> None:
    windows.fill(dict.fromkeys(ORDER, SOUND))
    windows.env = VARIABLES
    assert windows.try_parts(TAKE_AWAY_IN_TURN).splitlines() == ORDER


CHOICE = "print(search()[0].directory)\n"


@wine
def test_a_processor_a_share_and_a_freezer_have_their_own_places(windows: Windows) -> None:
    for folder, content in {"x64": dll(), "arm64": ARM64, "": X86}.items():
        windows.fill({rf"C:\T\bin\{folder}": dict.fromkeys(SOUND, content)})
    windows.env = TOOLKIT_SET
    program = CHOICE + "print(search(machine='arm64')[0].directory)"
    assert windows.try_parts(program).split() == [r"C:\T\bin\x64", r"C:\T\bin\arm64"]
    windows.fill({r"\\srv\cuda12": SOUND})  # from whose root Wine loads nothing
    windows.env = {"CUDA_PATH": r"\\srv\cuda12"}
    assert windows.try_parts(CHOICE) == r"\\srv\cuda12"
    windows.fill({SITE: SOUND})
    assert windows.try_parts("module.__compiled__ = True  # by Nuitka\n" + CHOICE) == SITE


@wine
@table(
    "place, variable, value, build",
    {
        "conda": (r"C:\conda\Library\bin\x86_64", "CUDA_HOME", r"C:\conda", {}),
        "CUDA-13-and-bin": (r"C:\T\bin\x64", "PATH", r"C:\T\bin", {}),
        "all-toolkits": (r"C:\T\v12.9\bin", "CUDA_PATH", r"C:\none;C:\T", {}),
        "no-minor": (rf"{DEFAULT}\v12.6\bin", "CUDA_PATH", "", {"cuda": (12, None)}),
        "no-CUDA": (rf"{DEFAULT}\v13.0\bin", "CUDA_PATH_V12_X", r"C:\T", {"cuda": None}),
        "a-semicolon": (r"C:\a;ä\库 [1]", "PATH", r'C:\a;"C:\a;ä\库 [1]";C:\b', {}),
        "below-the-working-directory": (r"C:\work\bin", "PATH", r"C:\work\bin", {}),
        "the-working-directory-itself": (r"C:\work", "OPENCV_CUDA_DLL_DIRS", r"C:\work", {}),
        "where-Python-imports-from": (rf"{PUBLIC}\tools", "PATH", rf"{PUBLIC}\tools", {}),
    },
)
def test_a_variable_leads_to_a_directory(
    place: str, variable: str, value: str, build: dict[str, object], windows: Windows
) -> None:
    windows.fill({place: SOUND, rf"{DEFAULT}\v13.0\bin": SOUND})
    windows.env = {**PUBLIC_SET, "PYTHONPATH": PUBLIC, variable: value}
    windows.cwd = r"C:\work"
    assert windows.try_parts(f"print(search(**{build})[0].directory)") == place


AT_WORK = "is the working directory, or a subfolder of it, which only OPENCV_CUDA_DLL_DIRS may"
BY_ALL = "is in a folder that every user may write to, which only OPENCV_CUDA_DLL_DIRS may name: "


@wine
@table(
    "path, cwd, reason",
    {
        "itself": (r"C:\work", r"C:\work", AT_WORK),
        "other-letters": (r"c:\WORK\\", r"C:\work", AT_WORK),
        "dots": (r"C:\other\..\work", r"C:\work", AT_WORK),
        "long": (r"\\?\C:\work", r"C:\work", AT_WORK),
        "junction": (r"C:\junction", r"C:\work", AT_WORK),
        "junction-and-dots": (r"C:\junction\..\work", r"C:\work", AT_WORK),
        "another-drive": ("Z:{unix}", r"C:\work", AT_WORK),
        "where-it-names-what-is-below": (r"C:\parent", r"C:\parent", AT_WORK),
        "public-by-a-junction": (r"C:\open\Python312\tools", r"C:\work", BY_ALL),
        "public-though-Python-imports-from-it": (rf"{PUBLIC}\tools", PUBLIC, BY_ALL),
        "Temp": (r"C:\windows\TEMP\x", r"C:\work", BY_ALL),
        "no-drive": (r"\work", r"C:\other", "is not an absolute directory: "),
        "a-drive-alone": (r"C:work", "C:\\other", "is not an absolute directory: "),
    },
)
def test_a_directory_that_others_may_have_planted_is_not_taken(
    path: str, cwd: str, reason: str, windows: Windows
) -> None:
    places = (r"C:\work", r"C:\parent\bin", rf"{PUBLIC}\tools", r"C:\windows\Temp\x")
    windows.fill(dict.fromkeys(places, SOUND) | {r"C:\other": {}})
    windows.fill({r"C:\junction": "work", r"C:\open": "users/Public"})
    unix = str(windows.disk.place(r"C:\work")).replace("/", "\\")
    windows.cwd = cwd
    imports = {"PYTHONPATH": PUBLIC} if cwd == PUBLIC else {}
    windows.env = {**PUBLIC_SET, **imports, "PATH": path.format(unix=unix)}
    assert reason in windows.import_cv2()


CHOSEN = {
    "a-working-directory-without-a-number": Case(
        says=r"npp: C:\T\bin (CUDA_HOME)",
        files={**TOOLKIT, r"C:\work": SOUND},
        env={"CUDA_PATH": "C:\\x\\..\\WORK\\", "CUDA_HOME": r"C:\T"},
        cwd=r"C:\work",
        before="os.stat = lambda path: os.stat_result([0] * 10)",
    ),
    "another-drive-for-programs": Case(
        says=r"npp: C:\Apps\NVIDIA GPU Computing Toolkit\CUDA\v12.6\bin (default directory)",
        files={r"C:\Apps\NVIDIA GPU Computing Toolkit\CUDA\v12.6\bin": SOUND},
        before=r"os.environ['PROGRAMFILES'] = r'C:\Apps'",
    ),
    # What is loaded
    "a-wrong-file-beside-the-program": Case(
        says=r"npp: C:\T\bin (CUDA_PATH)",
        files={**TOOLKIT, PREFIX: {"nppc64_12.dll": "cut off"}},
    ),
    "what-others-need-before-those": Case(
        says=r"works ... C:\U\bin\nvJitLink_120_0.dll",
        files={
            PREFIX: {"nvJitLink_120_0.dll": dll("f")},
            r"C:\T\bin": {"cusparse64_12.dll": dll("f", imports={"nvJitLink_120_0.dll": ["f"]})},
            r"C:\U\bin": {"nvJitLink_120_0.dll": dll("f")},
        },
        env={**TOOLKIT_SET, "CUDA_HOME": r"C:\U"},
        after="print(cv2.cuda_dlls.Windows().find_module('nvJitLink_120_0.dll'))",
        build={
            "imports": {"cusparse64_12.dll": ["f"]},
            "families": {"cusparse": ["cusparse64_12.dll"], "nvjitlink": ["nvJitLink_120_0.dll"]},
        },
    ),
    "only-what-loads-with-cv2": Case(
        says=r"nvrtc: C:\T\bin ... load C:\T\bin\nppif64_12.dll: 0",
        hides="load C:\\T\\bin\\nvrtc",
        files={r"C:\T\bin": {**SOUND, "nvrtc64_120_0.dll": dll(), "npps64_12.dll": dll()}},
        env={**TOOLKIT_SET, "OPENCV_CUDA_DEBUG": "1"},
        build={
            "families": {"npp": list(SOUND), "nvrtc": ["nvrtc64_120_0.dll"]},
            "delayed": ["nvrtc64_120_0.dll"],
        },
    ),
    "PATH-is-not-looked-at-in-vain": Case(
        says="works ... looks at tools: 0",
        hides="cv2.cuda_dlls: ",
        files=TOOLKIT,
        env={**TOOLKIT_SET, "PATH": r"C:\tools\1;C:\tools\2", "OPENCV_CUDA_DEBUG": "0"},
        before=(
            "looks = []\n"
            "sys.addaudithook(lambda what, words: what in ('open', 'os.listdir')"
            " and looks.append(str(words[0])))"
        ),
        after="print('looks at tools:', len([path for path in looks if 'tools' in path]))",
    ),
    # What is changed in the process, and put back
    "PATH-has-first-what-is-loaded-by-name": Case(
        says=r"PATH=C:\cudnn;C:\cublas;C:\NPP;C:\before;C:\windows",
        files={
            r"C:\npp": SOUND,
            r"C:\cublas": {"cublas64_12.dll": dll("f")},
            r"C:\cudnn": {"cudnn64_9.dll": dll("f")},
        },
        env={"PATH": r'"C:\NPP";C:\before;C:\cublas;C:\cudnn' + "\\"},
        after="print('PATH=' + os.environ['PATH'].partition('bin;')[2])",
        build={
            "families": {
                "npp": list(SOUND),
                "cublas": ["cublas64_12.dll"],
                "cudnn": ["cudnn64_9.dll"],
            },
        },
    ),
    "PATH-gets-no-empty-entry": Case(
        says=r"PATH=C:\T\bin;",
        files={**TOOLKIT, CV2: {"__init__.py": LOADER.replace('binaries + ";"', '";"')}},
        env={**TOOLKIT_SET, "PATH": r"C:\x"},
        after="print('PATH=' + os.environ['PATH'])",
    ),
    "success-is-kept-after-a-failure-and-a-reload": Case(
        says="works ... again True True",
        files=TOOLKIT,
        after="""
import ctypes, importlib
loading = cv2.cuda_dlls.loading()
try:
    with loading:
        raise ImportError("cv2 was taken out of sys.modules, and something else is wrong")
except ImportError:
    is_loaded = bool(ctypes.WinDLL("kernel32").GetModuleHandleW("nppc64_12.dll"))
print("again", is_loaded, importlib.reload(cv2.cuda_dlls).loading() is loading)
""",
    ),
}
STATE = """
import ctypes
kernel = ctypes.WinDLL("kernel32")
print(
    "left:", "cv2" in sys.modules, hasattr(sys, "OpenCV_LOADER"),
    sys.path == before[0], os.environ["PATH"] == before[1],
    kernel.GetModuleHandleW("nppc64_12.dll"),
    kernel.LoadLibraryExW("nppc64_12.dll", None, 0x1000),
)
"""
CHOSEN |= {
    f"nothing-is-left-by-{error}": Case(
        says=f"{error} ... left: False False True True 0 0",
        files={**TOOLKIT, CV2: {"__init__.py": LOADER.replace("native =", f"raise {error}; x =")}},
        before="before = list(sys.path), os.environ['PATH']",
        after=STATE,
    )
    for error in ("ImportError", "KeyboardInterrupt")
}


@wine
@pytest.mark.parametrize("name", CHOSEN)
def test_what_is_chosen_loaded_and_left(name: str, windows: Windows) -> None:
    CHOSEN[name].check(windows)


@wine
@pytest.mark.parametrize("flags", [("-I",), ("-OO", "-W", "error")], ids=" ".join)
def test_it_imports_under_every_flag_and_loads_no_report(
    flags: tuple[str, ...], windows: Windows
) -> None:
    windows.fill(TOOLKIT)
    windows.env = TOOLKIT_SET
    program = "import cv2, sys; print(cv2.Empty.__name__, 'cv2._cuda_report' in sys.modules)"
    assert windows.run(*flags, "-c", program).output.split() == ["Empty", "False"]


# Without Windows


def test_off_windows_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_CUDA_DLL_DIRS", "gone")
    monkeypatch.setenv("PATH", "/before")
    module = execute(FILE)
    module.os = SimpleNamespace(name="posix", environ={})
    with module.loading():
        assert module.loading().attempt is None


@pytest.mark.parametrize(
    ("content", "machine", "reason"),
    [
        (dll()[:-1], "x86-64", "cut-off"),
        (None, "x86-64", "no-dll"),  # a folder
        (dll() + b"signature", "x86-64", None),
        (arm64_dll(metadata=0), "x86-64", "other-machine"),
        (arm64_dll(), "x86-64", None),
        (arm64_dll(), "arm64", None),
    ],
)
def test_a_file_is_taken_where_windows_loads_it(
    content: bytes | None, machine: str, reason: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "nppc64_12.dll" if content else tmp_path
    if content:
        path.write_bytes(content)
    fault = execute(FILE).find_fault(str(path), machine)
    assert (fault.reason if fault else None) == reason


@pytest.mark.parametrize("file", [FILE, REPORT], ids=lambda file: str(file.name))
def test_it_is_plain_python_3_6_of_ascii_and_the_standard_library(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="ascii"), feature_version=(3, 6))
    nodes = list(ast.walk(tree))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [node.module or "" for node in froms if not node.level]
    assert {name.partition(".")[0] for name in modules} <= {*sys.stdlib_module_names, ""}
