"""What a trial of a wheel sees; in the marked tests on genuine Windows Pythons."""

import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dllmaking import make_dll
from pretending import CV2, cv2_wheel, fetched, numpy_wheel, pip_wheel, this_python

from repack.console import SILENT
from repack.fetch import Cache, fetch_index
from repack.process import Finished
from repack.pythons import Interpreter, Pythons, Unavailable
from repack.record import FAILED, PASSED, Outcome
from repack.smoke import Machine, requirements_for, run_smoke, unpack_dlls
from repack.smoke.judging import describe_crash, judge, parse_facts


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels of pip and NumPy, and a cache that knows this pip already."""
    folder = tmp_path_factory.mktemp("shelf")
    pip_wheel(folder)
    numpy_wheel(folder)
    return folder


def tried(  # noqa: PLR0913 - each test turns one of them
    shelf: Path,
    wheel: Path,
    machine: Machine | None = None,
    *,
    python: Interpreter | None = None,
    timeout: float = 60,
    stop: threading.Event | None = None,
) -> Outcome:
    (pip,) = shelf.glob("pip-*.whl")
    return run_smoke(
        wheel,
        python or this_python(),
        beside=list(shelf.glob("numpy-*.whl")),
        pip=fetched(pip),
        machine=machine or Machine(),
        timeout=timeout,
        cache=Cache(shelf / "cäche"),
        stop=stop,
    )


def test_a_wheel_that_works_passes(shelf: Path, tmp_path: Path) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path))
    assert (outcome.status, outcome.reason) == (PASSED, "")
    assert (outcome.version, outcome.devices, outcome.driver) == ("4.99.0", "-1", "")
    assert outcome.summary == "works: OpenCV 4.99.0"
    assert "Successfully installed numpy-2.0.0 opencv-python-4.99.0" in outcome.log
    # Nothing stays of what was installed.
    assert list((shelf / "cäche" / "smoke").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('raise ImportError("nppc64_12.dll is missing.\\n\\nLooked in: ...")',
                     "ImportError: nppc64_12.dll is missing.", id="of a paragraph its first line"),
        pytest.param(f"{CV2}\nimport numpy.core.multiarray",
                     "ModuleNotFoundError: No module named 'numpy.core'", id="another NumPy"),
        pytest.param("os = __import__('os'); os._exit(3)", "crashed in import cv2 (exit code 3)",
                     id="a process that ends in the import"),
        pytest.param(f"{CV2}\ndef resize(*a, **k): os._exit(5)",
                     "crashed in cv2.resize (exit code 5)", id="a process that ends later"),
        pytest.param(f"{CV2}\ndef resize(image, *a, **k): return image",
                     "cv2.resize: ValueError: it gave other pixels", id="a wrong picture"),
        pytest.param(f"{CV2}\ndef imencode(*a): raise error('no PNG\\nat all')",
                     "encoding and decoding a PNG: error: no PNG", id="no PNG"),
        pytest.param(f"{CV2}\ndef imdecode(data, flags): return data[::2]",
                     "encoding and decoding a PNG: ValueError: the PNG has other pixels",
                     id="a PNG that comes back changed"),
        pytest.param(f"{CV2}\ndef getBuildInformation(): return ''",
                     "cv2.getBuildInformation: ValueError: it does not name OpenCV",
                     id="no build information"),
        pytest.param(f"{CV2}\n__version__ = ''",
                     "cv2.__version__: ValueError: it is empty", id="no version"),
        pytest.param(f"{CV2}\ncuda.getCudaEnabledDeviceCount = lambda: os._exit(9)",
                     "crashed in cv2.cuda.getCudaEnabledDeviceCount (exit code 9)",
                     id="a process that ends when asked for GPUs"),
        pytest.param(f"{CV2}\ncuda.getCudaEnabledDeviceCount = lambda: 1 / 0",
                     "cv2.cuda.getCudaEnabledDeviceCount: ZeroDivisionError: division by zero",
                     id="an error that is not cv2's when asked for GPUs"),
        pytest.param(f"{CV2}\ndef getBuildInformation():\n"
                     "    sys.modules['cv2'] = sys\n    return 'OpenCV'",
                     "a second import cv2: ValueError: it gave another module",
                     id="a second import that gives something else"),
    ],
)  # fmt: skip
def test_a_wheel_that_does_not_work_fails_in_its_own_words(
    text: str, reason: str, shelf: Path, tmp_path: Path
) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, text))
    assert (outcome.status, outcome.reason) == (FAILED, reason), outcome.log
    assert outcome.repeatable


@pytest.mark.parametrize(
    ("count", "devices"),
    [
        pytest.param("raise error('no CUDA driver')", "error: no CUDA driver", id="cv2.error"),
        pytest.param("return 2", "2", id="two"),
        pytest.param("raise AttributeError", "no cv2.cuda", id="a cv2 without that function"),
    ],
)
def test_any_answer_about_gpus_will_do(
    count: str, devices: str, shelf: Path, tmp_path: Path
) -> None:
    text = f"{CV2}\ndef count(): {count}\ncuda.getCudaEnabledDeviceCount = count"
    outcome = tried(shelf, cv2_wheel(tmp_path, text))
    assert (outcome.status, outcome.devices) == (PASSED, devices), outcome.log


def test_a_hang_is_ended_and_says_where_it_was(shelf: Path, tmp_path: Path) -> None:
    text = f"{CV2}\ndef resize(*a, **k): time.sleep(60)"
    outcome = tried(shelf, cv2_wheel(tmp_path, text), timeout=5)
    assert outcome.reason == "hung: cv2.resize did not end within 5 s"
    assert not outcome.repeatable
    assert 'cv2/__init__.py", line' in outcome.log.replace("\\", "/")


def test_a_stop_ends_it_at_once(shelf: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(4, stop.set).start()
    began = time.monotonic()
    outcome = tried(shelf, cv2_wheel(tmp_path, f"{CV2}\ntime.sleep(50)"), stop=stop)
    assert outcome.status == FAILED
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        pytest.param({"tag": "cp37-cp37m-win_amd64"},
                     "pip: opencv_python-4.99.0-cp37-cp37m-win_amd64.whl is not a supported wheel "
                     "on this platform.", id="a tag of another Python"),
        pytest.param({"requires": "numpy<2"},
                     "pip: Cannot install numpy 2.0.0 (from ", id="another NumPy than it wants"),
        pytest.param({"requires": "nvidia-npp-cu12"},
                     "pip: Could not find a version that satisfies the requirement nvidia-npp-cu12",
                     id="a requirement that nobody named"),
    ],
)  # fmt: skip
def test_what_pip_refuses_is_not_imported(
    wheel: dict[str, str], reason: str, shelf: Path, tmp_path: Path
) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, **wheel))
    assert outcome.status == FAILED
    assert outcome.reason.startswith(reason)


def test_the_wheel_sees_the_machine_that_is_imitated_and_nothing_of_ours(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poison").mkdir()
    for name in ("numpy", "cv2", "sitecustomize"):
        (tmp_path / "poison" / f"{name}.py").write_text("raise SystemExit(1)", encoding="utf-8")
    monkeypatch.setenv("REPACK_LEAK", "1")
    folders = (tmp_path / "a", tmp_path / "b")
    machine = Machine(dll_dirs=folders, env={"CUDA_PATH": r"C:\CUDA"})
    text = rf"""{CV2}
assert 'REPACK_LEAK' not in os.environ
assert not os.listdir()
assert os.environ['PATH'].startswith({";".join(map(str, folders))!r})
assert os.environ['CUDA_PATH'] == r'C:\CUDA'
"""
    python = this_python(PYTHONPATH=str(tmp_path / "poison"), PYTHONSTARTUP="x")
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine, python=python)
    assert outcome.status == PASSED, outcome.log


def test_stand_ins_for_a_missing_driver_are_in_reach(shelf: Path, tmp_path: Path) -> None:
    machine = Machine(driver={"nvcuda.dll": ("cuInit", "cuGetDevice")})
    text = (
        f"{CV2}\nfolder = os.environ['PATH'].split(os.pathsep)[0]\n"
        "assert open(os.path.join(folder, 'nvcuda.dll'), 'rb').read(2) == b'MZ'"
    )
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine)
    assert outcome.summary == "works: OpenCV 4.99.0, with a stand-in for the driver", outcome.log


@pytest.mark.parametrize(
    ("returncode", "output", "words"),
    [
        pytest.param(9, "wine: Call from 000000007B013D7E to unimplemented function "
                     "ucrtbase.dll.crealf, aborting\n",
                     ": unimplemented function ucrtbase.dll.crealf", id="a gap in Wine"),
        pytest.param(5, "A\0s\0s\0e\0r\0t\0i\0o\0n\0 \0f\0a\0i\0l\0e\0d\0:\0 \0x\0>\0001\0",
                     ": Assertion failed: x>1", id="an assertion in UTF-16"),
        pytest.param(5, "dlls/dbghelp.c:12: elf_search: Assertion `a' failed.",
                     ": dlls/dbghelp.c:12: elf_search: Assertion `a' failed.",
                     id="an assertion of Wine's debugger"),
        pytest.param(5, "wine: Unhandled page fault on read access to 0000000000000000 at address "
                     "0000000140001000 (thread 0024), starting debugger...",
                     ": wine: Unhandled page fault on read access", id="a page fault"),
        pytest.param(0xC0000005, "Windows fatal exception: access violation\n\nThread 0x1:\n",
                     ": Windows fatal exception: access violation", id="an access violation"),
        pytest.param(5, "", "", id="without a word"),
    ],
)  # fmt: skip
def test_a_crash_is_told_in_its_own_words(returncode: int, output: str, words: str) -> None:
    finished = Finished(args=(), returncode=returncode, output=output, timed_out=False, seconds=1)
    code = {0xC0000005: "0xC0000005"}.get(returncode, returncode)
    assert (
        describe_crash(finished, "import cv2") == f"crashed in import cv2 (exit code {code}){words}"
    )


def test_facts_are_found_behind_output_without_a_line_end() -> None:
    output = 'from C@repack {"step": "a", "opencv": "4"}\n@repack {"step": "b"}\n@repack {broken'
    assert parse_facts(output) == {"step": "b", "opencv": "4"}


def test_the_log_says_once_which_dll_was_not_found() -> None:
    line = (
        "00e8:err:module:import_dll Library nppc64_12.dll "
        '(which is needed by L"Z:\\\\x\\\\cv2.pyd") not found'
    )
    output = f"{line}\nx\n{line}\nx\n"
    runs = [Finished(args=("p", "{}"), returncode=1, output=output, timed_out=False, seconds=1)]
    log = judge(runs, 60, driver="").log
    assert log.count("not found: nppc64_12.dll (needed by cv2.pyd)") == 1
    assert log.count("\nx") == 2


@pytest.mark.parametrize(
    ("requires", "python", "wanted"),
    [
        pytest.param(["numpy>=2"], "3.12", ["numpy>=2"], id="as it says"),
        pytest.param(['numpy>=1.2; python_version >= "3.10"', 'numpy>=2; python_version >= "3.12"'],
                     "3.10", ["numpy>=1.2"], id="for this Python only"),
        pytest.param(['numpy>=1; sys_platform == "win32"'], "3.12", ["numpy>=1"], id="Windows"),
        pytest.param([], "3.12", ["numpy"], id="none: NumPy all the same"),
        pytest.param(["NumPy", "nvidia-npp-cu12==12.4.*"], "3.12",
                     ["numpy", "nvidia-npp-cu12==12.4.*"], id="NVIDIA's wheels too"),
        pytest.param(['x; extra == "y"', "not a requirement!"], "3.12", ["numpy"], id="no extras"),
    ],
)  # fmt: skip
def test_what_is_installed_beside_a_wheel(
    requires: list[str], python: str, wanted: list[str]
) -> None:
    assert requirements_for(requires, python, numpy_abi=None) == wanted


# NVIDIA's DLLs, in the layouts of CUDA 12 and 13.


@pytest.mark.parametrize("layout", ["nvidia/npp/bin", "nvidia/cu13/bin/x86_64"])
def test_the_dlls_of_a_wheel_lie_in_one_folder_and_are_unpacked_once(
    layout: str, tmp_path: Path
) -> None:
    members = {f"{layout}/nppc64_12.dll": b"MZ npp", "nvidia/npp/x.h": b"", "a/../../b.DLL": b"MZ"}
    wheel = tmp_path / "nvidia_npp-1.0-py3-none-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    cache = Cache(tmp_path / "cache")
    folder = unpack_dlls(fetched(wheel), cache, SILENT)
    dlls = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert dlls == {"nppc64_12.dll": b"MZ npp", "b.DLL": b"MZ"}
    before = (folder / "nppc64_12.dll").stat().st_ino
    assert unpack_dlls(fetched(wheel), cache, SILENT) == folder
    assert (folder / "nppc64_12.dll").stat().st_ino == before
    (folder / "nppc64_12.dll").write_bytes(b"MZ")
    assert unpack_dlls(fetched(wheel), cache, SILENT) == folder
    assert (folder / "nppc64_12.dll").read_bytes() == b"MZ npp"


# Genuine Windows Pythons from here on.


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    with Pythons(cache=Cache.default(), progress=SILENT) as found:
        yield found


def windows(pythons: Pythons, version: str = "3.12") -> Interpreter:
    python = pythons.provide(version)
    assert not isinstance(python, Unavailable), python
    return python


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize("python", ["3.10", "3.14"])
def test_the_index_wheel_works_on_the_oldest_and_the_newest_python(
    python: str, pythons: Pythons
) -> None:
    names = ("opencv-contrib-python==4.14.0.94", "numpy>=2", "pip")
    cache = Cache.default()
    wheel, numpy, pip = (fetch_index(name, python=python, lock=None, cache=cache) for name in names)
    outcome = run_smoke(
        wheel.path,
        windows(pythons, python),
        beside=[numpy.path],
        pip=pip,
        machine=Machine(),
        timeout=300,
        cache=cache,
    )
    assert (outcome.status, outcome.version, outcome.devices) == (PASSED, "4.14.0", "0"), outcome


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("import time; time.sleep(90)", "hung: import cv2 did not end within 20 s",
                     id="a hang"),
        pytest.param("import ctypes; ctypes.CDLL('ucrtbase_wine.dll').crealf(0)",
                     "crashed in import cv2 (exit code 9): unimplemented function "
                     "ucrtbase.dll.crealf", id="a gap in Wine"),
        pytest.param("import faulthandler; faulthandler._sigsegv()",
                     "crashed in import cv2 (exit code ", id="a crash"),
        pytest.param("import ctypes; ctypes.WinDLL('nvcuda.dll')",
                     "FileNotFoundError: Could not find module 'nvcuda.dll'", id="no driver"),
    ],
)  # fmt: skip
def test_windows_faults_are_told_in_their_own_words(
    text: str, reason: str, pythons: Pythons, shelf: Path, tmp_path: Path
) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, text), python=windows(pythons), timeout=20)
    assert outcome.status == FAILED
    assert outcome.reason.startswith(reason), outcome.log


@pytest.mark.wine
def test_a_stand_in_for_the_driver_answers_that_there_is_no_gpu(
    pythons: Pythons, shelf: Path, tmp_path: Path
) -> None:
    text = f"{CV2}\nimport ctypes\nassert ctypes.WinDLL('nvcuda.dll').cuInit(0) == 100"
    machine = Machine(driver={"nvcuda.dll": ("cuInit",)})
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine, python=windows(pythons))
    assert (outcome.status, outcome.driver) == (PASSED, "stand-in"), outcome.log


@pytest.mark.wine
def test_dlls_on_path_and_variables_reach_a_windows_program(
    pythons: Pythons, shelf: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "toolkit ü"
    folder.mkdir()
    (folder / "nppc64_12.dll").write_bytes(make_dll("nppc64_12.dll"))
    text = (
        f"{CV2}\nimport ctypes\nctypes.WinDLL('nppc64_12.dll', winmode=0)\n"
        "ctypes.WinDLL(os.path.join(os.environ['CUDA_PATH'], 'nppc64_12.dll'))"
    )
    machine = Machine(dll_dirs=(folder,), env={"CUDA_PATH": str(folder)})
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine, python=windows(pythons))
    assert outcome.status == PASSED, outcome.log
