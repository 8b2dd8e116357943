"""`repack doctor` on genuine Windows Pythons: what keeps cv2 from being imported, and the cure."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping

import pytest
from driving import Ran, Repack
from installing import Installation, installation
from machines import IMPORTS, SOUND, arm64_dll
from wheelmaking import make_wheel
from windowslab import INITIALIZER, LOADER, native

WHEEL = "opencv_contrib_python-4.9.0.80+cu123-cp312-cp312-win_amd64.whl"
INFO = WHEEL.partition("-cp312")[0] + ".dist-info"
UNTOUCHED = LOADER.partition("from . import cuda_dlls")[0] + "bootstrap()\n"
NUMPY_ABI_1 = b"\0numpy.core._multiarray_umath\0"
#: `int 29h`: Windows ends the process at once.
CRASH = bytes.fromhex("B907000000 CD29")
CUDA = r"C:\CUDA\bin"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("windows"), "3.12") as opened:
        folder = opened.disk.place(CUDA)
        folder.mkdir(parents=True)
        for name, content in SOUND.items():
            (folder / name).write_bytes(content)
        yield opened


@pytest.fixture
def machine(windows: Installation) -> Iterator[Installation]:
    """The same without any package but a NumPy of one line."""
    lay(windows, {"numpy/__init__.py": b"__version__ = '1.26.4'\n"})
    yield windows
    shutil.rmtree(windows.site)
    windows.site.mkdir()


def lay(windows: Installation, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (windows.site / name).parent.mkdir(parents=True, exist_ok=True)
        (windows.site / name).write_bytes(content)


def install(
    windows: Installation, wheel: str = WHEEL, loader: str = UNTOUCHED, **files: bytes
) -> None:
    """Install a small cv2 that needs NPP, with other content where `files` gives it by stem."""
    queue = windows.interpreter.python.parent / "DLLs" / "_queue.pyd"
    content = {
        "cv2/__init__.py": loader.encode(),
        "cv2/cv2.pyd": files.get("native", native(IMPORTS) + NUMPY_ABI_1),
        f"cv2/{INITIALIZER}": queue.read_bytes(),
    }
    made = make_wheel(windows.disk.place(r"C:\\") / wheel, content, requires=["numpy"])
    with zipfile.ZipFile(made) as archive:
        archive.extractall(windows.site)


def doctor(repack: Repack, windows: Installation, **env: str) -> Ran:
    return repack("doctor", *windows.words(**env), "--json")


def remove(*names: str) -> Callable[[Installation], None]:
    """Return what takes files and folders away."""

    def act(windows: Installation) -> None:
        install(windows)
        for name in names:
            path = windows.site / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    return act


def write(name: str, content: bytes) -> Callable[[Installation], None]:
    def act(windows: Installation) -> None:
        install(windows)
        lay(windows, {name: content})

    return act


def install_for_another_python(windows: Installation) -> None:
    install(windows)
    (windows.site / "cv2/cv2.pyd").rename(windows.site / "cv2/cv2.cp39-win_amd64.pyd")


def lose_what_came_from_an_address(windows: Installation) -> None:
    remove("cv2/cv2.pyd")(windows)
    url = f"https://us:secret@team.example/{WHEEL}?sig=secret"
    lay(windows, {f"{INFO}/direct_url.json": json.dumps({"url": url}).encode()})


def install_twice(windows: Installation) -> None:
    install(windows)
    install(windows, "opencv_python-4.8-cp37-abi3-win_amd64.whl")


ON_PATH = {"PATH": CUDA}
#: What was done -> the environment, words of the verdict, words of the cures.
FAULTS: dict[str, tuple[Callable[[Installation], None], dict[str, str], str, str]] = {
    "no cv2": (lambda _: None, {}, "no cv2 is installed", r"python.exe -m pip install"),
    "CUDA nowhere": (
        install,
        {},
        "nppc64_12.dll, nppif64_12.dll were not found",
        'pip install "nvidia-npp-cu12", or set CUDA_PATH',
    ),
    "no driver, and CUDA only on PATH": (
        lambda windows: install(windows, native=native({**IMPORTS, "nvcuda.dll": ["cuInit"]})),
        ON_PATH,
        "nvcuda.dll was not found",
        "so that no directory helps); then repack fix",
    ),
    "only what is left of a cv2": (
        remove("cv2/__init__.py", INFO),
        {},
        "what is left of a cv2",
        "remove that folder",
    ),
    "files that are gone": (remove("cv2"), {}, "files of opencv-contrib-python 4.9", "install it"),
    "no native module": (
        lose_what_came_from_an_address,
        {},
        "the native module (cv2*.pyd) is missing",
        f"--force-reinstall --no-deps https://team.example/{WHEEL};",
    ),
    "a native module of another Python": (
        install_for_another_python,
        ON_PATH,
        "is for Python 3.9, and this is Python 3.12",
        "--force-reinstall",
    ),
    "a DLL of the wheel that is gone": (
        remove(f"cv2/{INITIALIZER}"),
        ON_PATH,
        f"{INITIALIZER}, which came with cv2, is gone",
        "look into the quarantine",
    ),
    "a NumPy that crashes": (
        write("numpy/__init__.py", b"import os; os._exit(5)"),
        ON_PATH,
        "NumPy fails: crashed in import numpy (exit code 5)",
        'pip install --force-reinstall "numpy<2"',
    ),
    "a file called cv2.py": (
        lambda windows: lay(windows, {"cv2.py": b""}),
        {},
        "cv2.py is imported in place of OpenCV",
        "rename or remove",
    ),
    "a native module that crashes": (
        lambda windows: install(windows, native=native({"KERNEL32.dll": ["Sleep"]}, CRASH)),
        {},
        "crashed in import cv2 (exit code",
        "install it again",
    ),
    "a native module for another processor": (
        write("cv2/cv2.pyd", arm64_dll(IMPORTS, metadata=0)),
        ON_PATH,
        "this Python is 64-bit (x86-64)",
        "install a Python that is for ARM64",
    ),
    "several distributions over each other": (
        install_twice,
        ON_PATH,
        r"C:\CUDA\bin (PATH)",
        "install the one you want again; then repack fix",
    ),
    "no NumPy": (
        remove("numpy"),
        ON_PATH,
        "No module named 'numpy'",
        'install --force-reinstall "numpy<2"',
    ),
    "a NumPy that is too new": (
        write("numpy/__init__.py", b"__version__ = '2.1.0'\n"),
        ON_PATH,
        "NumPy 2.1.0 is installed, and this build needs numpy<2",
        'pip install "numpy<2"',
    ),
}


@pytest.mark.wine
@pytest.mark.parametrize(("act", "env", "verdict", "cure"), FAULTS.values(), ids=FAULTS)
def test_a_fault_has_a_verdict_and_a_cure(  # noqa: PLR0913, PLR0917 - a row, and who looks
    act: Callable[[Installation], None],
    env: dict[str, str],
    verdict: str,
    cure: str,
    machine: Installation,
    repack: Repack,
) -> None:
    act(machine)
    before = {path: path.stat().st_mtime_ns for path in machine.site.rglob("*")}
    ran = doctor(repack, machine, **env)
    assert ran.code == 1, ran.out
    assert ran.json["verdict"].startswith("import cv2 fails: ")
    assert verdict in ran.json["verdict"]
    assert cure in ran.json["cure"]
    assert {path: path.stat().st_mtime_ns for path in machine.site.rglob("*")} == before


@pytest.mark.wine
def test_a_build_for_the_cpu_works_and_has_nothing_to_fix(
    machine: Installation, repack: Repack
) -> None:
    install(machine, native=native({"KERNEL32.dll": ["Sleep"]}))
    ran = doctor(repack, machine)
    assert ran.code == 0
    assert "CUDA: none, for the CPU only" in repack("doctor", *machine.words()).out
    assert "asks for CUDA" in repack("fix", *machine.words()).error


@pytest.mark.wine
def test_a_cv2_that_another_one_hides_is_named(machine: Installation, repack: Repack) -> None:
    install(machine)
    hidden = machine.site / "cv2"
    shutil.copytree(hidden, machine.disk.place(r"C:\packages\cv2"))
    lines = doctor(repack, machine, PYTHONPATH=r"C:\packages", **ON_PATH).json["lines"]
    assert r"cv2: no distribution, untouched (C:\packages\cv2)" in lines
    assert any(line.endswith(r"site-packages\cv2, which comes later") for line in lines)


def test_without_a_python_one_is_asked_for(repack: Repack) -> None:
    ran = repack("doctor")
    assert (ran.code, "python.exe" in ran.error) == (2, True)
    assert "there is no python.exe" in repack("doctor", repack.folder).error
    (repack.folder / "app.exe").write_bytes(b"frozen")
    assert "its maker adds what it lacks" in repack("fix", repack.folder / "app.exe").error
