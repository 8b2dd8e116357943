"""A Windows machine that is made up: its files, its environment, and the run-time module on it."""

from __future__ import annotations

import importlib.util
import io
import ntpath
import tempfile
from collections.abc import Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import IO, Any

import pytest

from repack.dlls import classify, cure, general_cures
from repack.patching import builtin_folder
from repack.pe import make_dll

FILE = builtin_folder() / "cuda-dlls" / "cuda_dlls.py"
NPP = ("nppc64_12.dll", "nppif64_12.dll")
CUBLAS = ("cublas64_12.dll",)
CUDNN = ("cudnn64_9.dll",)
TOOLKIT = "C:\\CUDA\\v12.9"
BIN = f"{TOOLKIT}\\bin"
#: Where cv2 is installed, and the other folders of sys.path.
SITE = "C:\\Python312\\Lib\\site-packages"
SYSTEM = "C:\\Windows\\System32"
GOOD = make_dll("any.dll")
X86 = make_dll("any.dll", machine="x86")
ARM64 = make_dll("any.dll", machine="arm64")

DLLS = tuple(
    classify(name)
    for name in (*NPP, *CUBLAS, *CUDNN, "nvcuda.dll", "MF.dll", "MSVCP140.dll", "python3.dll")
)

BUILD: dict[str, Any] = {
    "cuda": (12, 9),
    "cures": general_cures() | {dll.family: cure(dll, (12, 9)) for dll in DLLS},
    "delayed": (),
    "families": {"npp": NPP},
    "help": "https://help.example.com/import-failed/",
    "kinds": {dll.key: dll.family for dll in DLLS},
    "machine": "x86-64",
    "numpy": "numpy<2",
    "opencv": "4.13.0",
    "requires": {
        "cublas": ("nvidia-cublas-cu12",),
        "cudnn": ("nvidia-cudnn-cu12==9.*",),
        "npp": ("nvidia-npp-cu12",),
    },
    "stand_ins": {},
    "vendored": (),
}


class Machine:
    """One Windows machine; a directory's files are given by name (sound DLLs) or with content."""

    def __init__(
        self,
        directories: Mapping[str, Sequence[str] | Mapping[str, bytes]],
        environ: Mapping[str, str] | None = None,
        *,
        python: tuple[int, int] = (3, 12),
        **build: object,
    ) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        for directory, files in directories.items():
            self.add(directory, files)
        self.environ = {
            "PATH": SYSTEM,
            "PROGRAMFILES": "C:\\Program Files",
            "PUBLIC": "C:\\Users\\Public",
            **(environ or {}),
        }
        self.registered: list[str] = []
        self.calls: list[str] = []
        system: dict[str, Any] = {
            "name": "nt",
            "path": ntpath,
            "environ": self.environ,
            "listdir": self.listdir,
            "getcwd": lambda: "C:\\work",
        }
        if python >= (3, 8):
            system["add_dll_directory"] = self.add_dll_directory
        self.sys = SimpleNamespace(
            path=["", "C:\\Python312\\python312.zip", "C:\\Python312\\Lib", SITE],
            modules={},
            stderr=io.StringIO(),
            executable="C:\\Python312\\python.exe",
            version="3.12.10 (tags/v3.12.10)",
            argv=[""],
            **dict.fromkeys(
                ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"), "C:\\Python312"
            ),
        )
        self.module = imported()
        self.module.os = SimpleNamespace(**system)
        self.module.sys = self.sys
        self.module.open = self.open
        self.module.ROOT, self.module.HERE = SITE, f"{SITE}\\cv2"
        self.module.SYSTEM = SYSTEM
        self.module.BUILD = {**BUILD, **build}
        self.windows = Windows()
        self.module._Windows = lambda: self.windows

    def add(self, directory: str, files: Sequence[str] | Mapping[str, bytes]) -> None:
        """Make a directory, and those that it lies in."""
        contents = files if isinstance(files, Mapping) else dict.fromkeys(files, GOOD)
        self.files.setdefault(ntpath.normcase(directory), {}).update(contents)
        parent, name = ntpath.split(directory)
        if name and parent != directory:
            self.add(parent, {name: b""})

    def listdir(self, directory: str) -> list[str]:
        self.calls.append(f"list {directory}")
        try:
            return list(self.files[ntpath.normcase(directory)])
        except KeyError:
            raise FileNotFoundError(2, "Das System kann den Pfad nicht finden") from None

    def open(self, path: str, mode: str, buffering: int = -1) -> IO[bytes]:
        assert mode == "rb"
        self.calls.append(f"open {path}")
        directory, name = ntpath.split(path)
        names = {each.lower(): each for each in self.files[ntpath.normcase(directory)]}
        content = self.files[ntpath.normcase(directory)][names[name.lower()]]
        if buffering == 0:
            return _Opened(content)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - who opens it closes it
        file.write(content)
        file.flush()
        return file

    def add_dll_directory(self, directory: str) -> SimpleNamespace:
        if ntpath.normcase(directory) not in self.files:
            raise OSError(87, "Falscher Parameter")
        self.registered.append(directory)
        return SimpleNamespace(close=lambda: self.registered.remove(directory))

    def load(self) -> list[str]:
        """Go through the block as a loader does, and return what is registered then."""
        with self.module.loading():
            return list(self.registered)

    def fail(self, error: BaseException) -> BaseException:
        """Go through a block that fails with `error`, and return what comes out of it."""
        with pytest.raises(type(error)) as caught:
            self.enter_and_raise(error)
        return caught.value

    def enter_and_raise(self, error: BaseException) -> None:
        """Do what OpenCV's loader does before its native module fails."""
        with self.module.loading():
            self.sys.path.insert(0, f"{SITE}\\cv2")
            self.sys.OpenCV_LOADER = True
            self.sys.modules["cv2"] = self.sys.modules["cv2.cv2"] = ModuleType("cv2")
            raise error

    def refused(self) -> list[tuple[str, str, str]]:
        """Return the places that were not taken: directory, source, reason."""
        search = self.module.Search()
        return [(directory, source, reason) for directory, source, _, reason in search.refused]


class _Opened(io.BytesIO):
    """A file of the machine whose head may be read once."""

    unread = True

    def read(self, size: int | None = -1, /) -> bytes:
        assert self.unread, "the head of a DLL was read twice"
        self.unread = False
        return super().read(size)


class Windows:
    """What Windows' loader would say: numbers of errors by path, DLLs that are loaded by name."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.modules: dict[str, str] = {}
        #: Names that it finds in a directory which nobody else knows of.
        self.elsewhere: set[str] = set()
        self.loads: list[str] = []

    def loaded(self, name: str) -> str | None:
        return self.modules.get(name.lower())

    def load(self, path: str) -> int | None:
        if "\\" not in path:
            return 0 if path in self.elsewhere else 126
        self.loads.append(path)
        return self.numbers.get(path)


def imported() -> Any:  # noqa: ANN401 - its names are made at run time
    """Return the module as it is before repack writes a build into it."""
    spec = importlib.util.spec_from_file_location("cv2_cuda_dlls", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
