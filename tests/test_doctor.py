"""`repack doctor` on genuine Windows Pythons: what keeps cv2 from being imported, and the cure."""

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping

import pytest
from driving import Repack
from installing import Installation, installation
from machines import IMPORTS, SOUND
from wheelmaking import make_wheel
from windowslab import INITIALIZER, LOADER, native

WHEEL = "opencv_contrib_python-4.9.0.80+cu123-cp312-cp312-win_amd64.whl"
INFO = WHEEL.partition("-cp312")[0] + ".dist-info"
UNTOUCHED = LOADER.partition("from . import cuda_dlls")[0] + "bootstrap()\n"
NATIVE = native(IMPORTS) + b"\0numpy.core._multiarray_umath\0"
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


def lay(windows: Installation, files: Mapping[str, bytes | None]) -> None:
    """Write files into site-packages; None removes a file or a folder."""
    for name, content in files.items():
        path = windows.site / name
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def install(windows: Installation, module: bytes = NATIVE) -> None:
    """Install a small cv2 that needs NPP."""
    queue = windows.interpreter.python.parent / "DLLs" / "_queue.pyd"
    content = {
        "cv2/__init__.py": UNTOUCHED.encode(),
        "cv2/cv2.pyd": module,
        f"cv2/{INITIALIZER}": queue.read_bytes(),
    }
    made = make_wheel(windows.disk.place(r"C:\\") / WHEEL, content, requires=["numpy"])
    with zipfile.ZipFile(made) as archive:
        archive.extractall(windows.site)


ON_PATH = {"PATH": CUDA}
GONE: dict[str, bytes | None] = {"cv2": None, INFO: None}
URL = json.dumps({"url": f"https://us:secret@team.example/{WHEEL}?sig=secret"}).encode()
#: What is changed in site-packages -> the environment, words of the verdict, words of the cure.
FAULTS: dict[str, tuple[dict[str, bytes | None], dict[str, str], str, str]] = {
    "no cv2": (GONE, {}, "no cv2 is installed", r"python.exe -m pip install"),
    "a file of its name": ({**GONE, "cv2.py": b""}, {}, "cv2.py is imported", "rename or remove"),
    "its folder": ({"cv2/__init__.py": None, INFO: None}, {}, "what is left", "remove that"),
    "its RECORD": ({"cv2": None}, {}, "the files of opencv-contrib-python 4.9", "install it"),
    "CUDA nowhere": (
        {},
        {},
        "nppc64_12.dll, nppif64_12.dll were not found",
        'pip install "nvidia-npp-cu12", or set CUDA_PATH',
    ),
    "no driver, and CUDA only on PATH": (
        {"cv2/cv2.pyd": native({**IMPORTS, "nvcuda.dll": ["cuInit"]})},
        ON_PATH,
        "nvcuda.dll was not found",
        "so that no directory helps); then repack fix",
    ),
    "no native module": (
        {"cv2/cv2.pyd": None, f"{INFO}/direct_url.json": URL},
        {},
        "the native module (cv2*.pyd) is missing",
        f"--force-reinstall --no-deps https://team.example/{WHEEL};",
    ),
    "a native module that crashes": (
        {"cv2/cv2.pyd": native({"KERNEL32.dll": ["Sleep"]}, CRASH)},
        {},
        "crashed in import cv2 (exit code",
        "install it again",
    ),
    "no DLL of the wheel": ({f"cv2/{INITIALIZER}": None}, ON_PATH, INITIALIZER, "the quarantine"),
    "no NumPy": ({"numpy": None}, ON_PATH, "No module named 'numpy'", '-reinstall "numpy<2"'),
    "a NumPy that crashes": (
        {"numpy/__init__.py": b"import os; os._exit(5)"},
        ON_PATH,
        "NumPy fails: crashed in import numpy (exit code 5)",
        '-reinstall "numpy<2"',
    ),
    "a NumPy that is too new": (
        {"numpy/__init__.py": b"__version__ = '2.1.0'"},
        ON_PATH,
        "NumPy 2.1.0 is installed, and this build needs numpy<2",
        'pip install "numpy<2"; then repack fix',
    ),
    "a NumPy of another Python": (
        {"numpy/__init__.py": b"raise ImportError('Read\\nOriginal error was: no core')"},
        ON_PATH,
        "NumPy fails: ImportError: Original error was: no core",
        '-reinstall "numpy<2"',
    ),
    "several distributions over each other": (
        {"opencv_contrib_python-4.8.dist-info/RECORD": b"cv2/__init__.py,,"},
        ON_PATH,
        r"C:\CUDA\bin (PATH)",
        r"uninstall -y opencv-contrib-python, then C:\users",  # once for each of the two
    ),
}


@pytest.mark.wine
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_verdict_and_a_cure(name: str, machine: Installation, repack: Repack) -> None:
    files, env, verdict, cure = FAULTS[name]
    install(machine)
    lay(machine, files)
    before = {path: path.stat().st_mtime_ns for path in machine.site.rglob("*")}
    ran = repack("doctor", *machine.words(**env), "--json")
    assert ran.code == 1, ran.out
    assert ran.json["verdict"].startswith("import cv2 fails: ")
    assert verdict in ran.json["verdict"]
    assert cure in ran.json["cure"]
    assert {path: path.stat().st_mtime_ns for path in machine.site.rglob("*")} == before


@pytest.mark.wine
def test_a_build_for_the_cpu_works_and_has_nothing_to_fix(
    machine: Installation, repack: Repack
) -> None:
    install(machine, native({"KERNEL32.dll": ["Sleep"]}))
    lay(machine, {"opencv_python.dist-info/RECORD": b"cv2/__init__.py,,"})
    ran = repack("doctor", *machine.words())
    assert (ran.code, "CUDA: none, for the CPU only" in ran.out) == (0, True)
    assert "left over beside it, to be removed: opencv_python.dist-info" in ran.out
    assert "needs CUDA" in repack("fix", *machine.words()).error


@pytest.mark.wine
def test_a_fix_that_has_lost_a_file_is_cured_by_another(
    machine: Installation, repack: Repack
) -> None:
    install(machine)
    repack("fix", *machine.words(**ON_PATH))
    lay(machine, {"cv2/cuda_dlls.py": None})
    ran = repack("doctor", *machine.words(**ON_PATH), "--json")
    assert "cannot import name 'cuda_dlls'" in ran.json["verdict"]
    assert ran.json["cure"].startswith("repack fix")
    repack("fix", *machine.words(**ON_PATH))
    lay(machine, {"cv2/cv2.pyd": None})
    verdict = repack("doctor", *machine.words(**ON_PATH), "--json").json["verdict"]
    assert verdict.startswith("import cv2 fails: the native module")


@pytest.mark.wine
def test_a_cv2_that_another_one_hides_is_named(machine: Installation, repack: Repack) -> None:
    install(machine)
    shutil.copytree(machine.site / "cv2", machine.disk.place(r"C:\packages\cv2"))
    # By the name of a folder that Windows knows it by, too.
    ran = repack("doctor", *machine.words(PYTHONPATH=r"C:\PACKAGES", **ON_PATH))
    assert r"cv2: no distribution, untouched (C:\PACKAGES\cv2)" in ran.out
    assert "CUDA: 12\n" in ran.out
    assert r"site-packages\cv2, which comes later" in ran.out


def test_without_a_python_one_is_asked_for(repack: Repack) -> None:
    ran = repack("doctor")
    assert (ran.code, "python.exe" in ran.error) == (2, True)
    (repack.folder / "app.exe").write_bytes(b"frozen")
    for place in (repack.folder, repack.folder / "app.exe"):
        assert "there is no python.exe" in repack("doctor", place).error
