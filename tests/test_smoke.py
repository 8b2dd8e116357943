"""What a trial of a wheel sees; in the marked tests on genuine Windows Pythons."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pip
import pytest
from pretending import CV2, cv2_wheel, fetched, numpy_wheel, this_python
from wheelmaking import make_wheel

from repack.errors import FetchError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Interpreter, Pythons
from repack.record import FAILED, PASSED, Outcome
from repack.smoke.trial import Machine, Outfit, fetch_requirements, run_smoke, unpack_dlls


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pip and a wheel of NumPy."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copytree(Path(pip.__file__).parent, folder / "pip" / "pip")
    numpy_wheel(folder)
    return folder


def tried(
    shelf: Path,
    wheel: Path,
    machine: Machine | None = None,
    python: Interpreter | None = None,
    **settings: Any,  # noqa: ANN401 - of run_smoke
) -> Outcome:
    numpy = fetched(next(shelf.glob("numpy-*.whl")))
    outfit = Outfit(python or this_python(), shelf / "pip", (numpy,), machine or Machine())
    settings = {"timeout": 60, "stop": threading.Event(), **settings}
    return run_smoke(wheel, outfit, cache=Cache(shelf / "cäche"), **settings)


def test_a_wheel_that_works_passes(shelf: Path, tmp_path: Path) -> None:
    noise = "print('@repack [1]')\nprint('no line end', end='')"
    outcome = tried(shelf, cv2_wheel(tmp_path, f"{CV2}\n{noise}"))
    assert (outcome.status, outcome.reason) == (PASSED, "")
    assert (outcome.version, outcome.devices, outcome.driver) == ("4.99.0", "-1", "")
    assert "Successfully installed numpy-2.0.0 opencv-python-4.99.0" in outcome.log
    # Nothing stays of what was installed.
    assert list((shelf / "cäche" / "smoke").iterdir()) == []


COUNT = "cuda.getCudaEnabledDeviceCount"
#: What the text of a cv2 ends with, and what is said of it.
BROKEN = {
    "an import error": ("raise ImportError('no x.dll.\\n\\nLooked in')", "ImportError: no x.dll."),
    "an end in the import": ("os._exit(0)", "crashed in import cv2 (exit code 0)"),
    "a wrong picture": ("resize = lambda image, *a, **k: image", "it gave other pixels"),
    "another PNG": ("imdecode = lambda data, flags: data[::2]", "the PNG has other pixels"),
    "no version": ("__version__ = ''", "cv2.__version__: ValueError: it is empty"),
    "an error about GPUs": (f"{COUNT} = lambda: 1 / 0", f"cv2.{COUNT}: ZeroDivisionError"),
    "another second import": (
        "def info(): sys.modules['cv2'] = sys; return 'OpenCV'\ngetBuildInformation = info",
        "a second import cv2: ValueError: it gave another module",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_wheel_is_told(text: str, reason: str, shelf: Path, tmp_path: Path) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, f"{CV2}\n{text}"))
    assert (outcome.status, outcome.repeatable) == (FAILED, True), outcome.log
    assert reason in outcome.reason


def test_a_wheel_that_pip_refuses_is_told(shelf: Path, tmp_path: Path) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, requires="numpy<2"))
    assert "pip: Cannot install numpy 2.0.0" in outcome.reason


GPUS = {
    "raise error('no CUDA driver')": "error: no CUDA driver",
    "raise AttributeError": "no cv2.cuda",
}


@pytest.mark.parametrize("count", GPUS)
def test_any_number_of_gpus_will_do(count: str, shelf: Path, tmp_path: Path) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, f"{CV2}\ndef count(): {count}\n{COUNT} = count"))
    assert (outcome.status, outcome.devices) == (PASSED, GPUS[count]), outcome.log


def test_a_hang_is_ended_and_the_step_named(shelf: Path, tmp_path: Path) -> None:
    text = f"{CV2}\ndef resize(*a, **k): time.sleep(60)"
    outcome = tried(shelf, cv2_wheel(tmp_path, text), timeout=5)
    assert outcome.reason == "hung: cv2.resize did not end within 5 s"
    assert not outcome.repeatable


def test_a_stop_ends_it_at_once(shelf: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(4, stop.set).start()
    outcome = tried(shelf, cv2_wheel(tmp_path, f"{CV2}\ntime.sleep(50)"), stop=stop)
    assert (outcome.status, outcome.repeatable) == (FAILED, True)


def test_the_wheel_sees_the_machine_that_is_imitated_and_nothing_of_ours(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poison").mkdir()
    for name in ("numpy", "cv2", "sitecustomize"):
        (tmp_path / "poison" / f"{name}.py").write_text("raise SystemExit(1)", encoding="utf-8")
    monkeypatch.setenv("REPACK_LEAK", "1")
    folders = (tmp_path / "a", tmp_path / "b")
    machine = Machine(
        dll_dirs=folders,
        env={"CUDA_PATH": r"C:\CUDA", "Path": "more"},
        driver={"nvcuda.dll": ("cuInit", "cuGetDevice")},
    )
    text = rf"""{CV2}
assert 'REPACK_LEAK' not in os.environ
assert not os.listdir()
stand_in, _, path = os.environ['PATH'].partition(os.pathsep)
assert open(os.path.join(stand_in, 'nvcuda.dll'), 'rb').read(2) == b'MZ'
assert path.startswith({";".join(map(str, (*folders, "more;")))!r})
assert os.environ['CUDA_PATH'] == r'C:\CUDA'
"""
    python = this_python(PYTHONPATH=str(tmp_path / "poison"), PYTHONSTARTUP="x")
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine, python=python)
    assert outcome.summary == "works: OpenCV 4.99.0, with a stand-in for the driver", outcome.log


def test_what_is_installed_with_a_wheel_are_its_requirements_numpy_and_what_nvidias_require(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ['nvidia-a; python_version < "3.11"', 'y; python_version > "3.11"', 'z; extra == "x"']
    folder = cache.folder("in")
    numpy, first = numpy_wheel(folder), folder / "nvidia_a-1-py3-none-any.whl"
    second = first.with_name("nvidia_b-1-py3-none-any.whl")
    make_wheel(first, {"x/METADATA": b"x"}, requires=["nvidia-b>=1", 'c; extra == "x"'])
    make_wheel(second, {}, requires=["nvidia-a", "numpy<3"])
    index = {"nvidia-a": first, "nvidia-b>=1": second, "numpy": numpy}
    monkeypatch.setattr("repack.fetch.Supply.wheel", lambda _, name, __: fetched(index[name]))
    wheels = fetch_requirements(lines, "3.10", Supply(cache))
    assert [wheel.path for wheel in wheels] == [numpy, first, second]


def test_a_damaged_wheel_of_dlls_is_told_and_nothing_of_it_kept(cache: Cache) -> None:
    wheel = make_wheel(cache.folder("in"), {"nppc64_12.dll": bytes(range(256))})
    wheel.write_bytes(wheel.read_bytes().replace(b"\1\2\3", b"\1?\3", 1))
    with pytest.raises(FetchError, match=r"whl: is not a whole wheel: .*nppc64_12\.dll"):
        unpack_dlls(fetched(wheel), cache)
    assert not list((cache.root / "dlls").iterdir())


# Genuine Windows Pythons from here on.


CRT = "import ctypes; ctypes.CDLL"
#: The text of a cv2, and what is said of it.
WINDOWS_FAULTS = {
    f"{CRT}('ucrtbase_wine.dll').crealf(0)": "9): unimplemented function ucrtbase.dll.crealf",
    f"{CRT}('ucrtbase.dll')._wassert('x>1', 'f.cpp', 1)": "3): Assertion failed: x>1",
}


@pytest.mark.wine
@pytest.mark.network
@pytest.mark.parametrize(("text", "reason"), WINDOWS_FAULTS.items(), ids=["gap", "assertion"])
def test_windows_faults_are_told_in_their_own_words(
    text: str, reason: str, pythons: Pythons, shelf: Path, tmp_path: Path
) -> None:
    outcome = tried(shelf, cv2_wheel(tmp_path, text), python=pythons.provide("3.12"))
    assert outcome.reason.startswith(f"crashed in import cv2 (exit code {reason}"), outcome.log


@pytest.mark.wine
def test_a_stand_in_for_a_driver_has_no_gpu(pythons: Pythons, shelf: Path, tmp_path: Path) -> None:
    text = f"{CV2}\nimport ctypes\nassert ctypes.WinDLL('nvcuda.dll').cuInit(0) == 100"
    machine = Machine(driver={"nvcuda.dll": ("cuInit",)})
    outcome = tried(shelf, cv2_wheel(tmp_path, text), machine, python=pythons.provide("3.12"))
    assert (outcome.status, outcome.driver) == (PASSED, "stand-in"), outcome.log
