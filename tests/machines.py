"""A Windows machine that is made up: its files, environment and loader, and cv2's modules on it."""

import contextlib
import ctypes
import io
import ntpath
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import IO, Any

import pefile
import pytest
from dllmaking import make_dll

from repack.dlls.families import classify, cure, general_cures
from repack.patching.overlays import builtin_folder

FILE = builtin_folder() / "cv2" / "cuda_dlls.py"
REPORT = FILE.with_name("_cuda_report.py")
NPP = ("nppc64_12.dll", "nppif64_12.dll")
CUBLAS = ("cublas64_12.dll",)
CUDNN = ("cudnn64_9.dll",)
TOOLKIT = "C:\\CUDA\\v12.9"
BIN = f"{TOOLKIT}\\bin"
TOOLKIT_SET = {"CUDA_PATH": TOOLKIT}
PREFIX = "C:\\Python312"
SITE = f"{PREFIX}\\Lib\\site-packages"
CV2 = f"{SITE}\\cv2\\cv2.pyd"
SYSTEM = "C:\\Windows\\System32"
RETURN_0 = bytes.fromhex("31C0C3")

Imports = Mapping[str, Sequence[str]]


def dll(
    *exports: str, imports: Imports | None = None, machine: str = "x86-64", starts: bool = True
) -> bytes:
    """Return a DLL whose functions return 0; one that does not start gives error 1114."""
    code = dict.fromkeys(exports, RETURN_0)
    entry_point = b"" if starts else RETURN_0
    return make_dll("any.dll", code=code, imports=imports, machine=machine, entry_point=entry_point)


def arm64_dll(imports: Imports | None = None, metadata: int = 1) -> bytes:
    """Return a DLL for ARM64 that x86-64 processes load too, if it has CHPE metadata."""
    configuration = (208).to_bytes(4, "little") + bytes(196) + metadata.to_bytes(8, "little")
    content = make_dll("any.dll", code={"f": configuration}, imports=imports, machine="arm64")
    image = pefile.PE(data=content, fast_load=True)
    directory = image.OPTIONAL_HEADER.DATA_DIRECTORY[10]
    directory.VirtualAddress = image.get_rva_from_offset(content.index(configuration))
    directory.Size = len(configuration)
    return bytes(image.write())


GOOD, X86, ARM64 = dll(), dll(machine="x86"), dll(machine="arm64")
ARM64X = arm64_dll()
SOUND = {
    "nppc64_12.dll": dll("nppGetLibVersion"),
    "nppif64_12.dll": dll("nppiFilter", imports={"nppc64_12.dll": ["nppGetLibVersion"]}),
}
#: What the native module imports at load time.
IMPORTS = {
    "nppc64_12.dll": ["nppGetLibVersion"],
    "nppif64_12.dll": ["nppiFilter"],
    "KERNEL32.dll": ["Sleep"],
}
DLLS = tuple(
    classify(name)
    for name in (
        *(*NPP, *CUBLAS, *CUDNN, "nvcuda.dll", "MF.dll", "dxgi.dll", "MSVCP140.dll"),
        *("python3.dll", "python39.dll", "python312.dll"),
    )
)
BUILD: dict[str, Any] = {
    "cuda": (12, 9),
    "cures": general_cures() | {dll.family: cure(dll, (12, 9)) for dll in DLLS},
    "families": {"npp": NPP},
    "help_url": "https://help.example.com/",
    "kinds": {dll.key: dll.family for dll in DLLS},
    "numpy": "numpy>=1.23,<2",
    "opencv": "4.13.0",
    "original": {"filename": "opencv_contrib_python-4.13.0-cp37-abi3-win_amd64.whl"},
    "requires": {
        "cublas": ("nvidia-cublas-cu12>=12.4,<13",),
        "cudnn": ("nvidia-cudnn-cu12>=9,<10",),
        "npp": ("nvidia-npp-cu12>=12.4.0,<13",),
    },
}
ENVIRON = {"PATH": SYSTEM, "PROGRAMFILES": "C:\\Program Files", "PUBLIC": "C:\\Users\\Public"}


def table(names: str, rows: Mapping[str, tuple[object, ...]]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each row of a table; its key is the row's id."""
    return pytest.mark.parametrize(names, [pytest.param(*rows[key], id=key) for key in rows])


class Machine:
    """One Windows machine; a directory's files are given by name (sound DLLs) or with content."""

    def __init__(  # noqa: PLR0913 - a machine has these parts, and each is optional
        self,
        directories: Mapping[str, Sequence[str] | Mapping[str, bytes]],
        environ: Mapping[str, str | None] | None = None,
        *,
        python: tuple[int, int] = (3, 12),
        program: bytes = GOOD,
        imports: Imports = IMPORTS,
        modules: Mapping[str, str] | None = None,
        numbers: Mapping[str, int] | None = None,
        errors: Mapping[str, Exception] | None = None,
        has_ctypes: bool = True,
        **build: object,
    ) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        #: Whether the disk numbers its files.
        self.is_numbered = True
        #: What comes of looking at a file or directory.
        self.errors = errors or {}
        self.cwd = "C:\\work"
        self.registered: list[str] = []
        self.calls: list[str] = []
        native = make_dll("cv2.pyd", imports=imports)
        self.add(f"{SITE}\\cv2", {"cv2.pyd": native})
        self.add(SYSTEM, {"kernel32.dll": dll("Sleep")})
        self.add(PREFIX, {"python.exe": program})
        for directory, files in directories.items():
            self.add(directory, files)
        variables = {**ENVIRON, **(environ or {})}
        self.environ = {name: value for name, value in variables.items() if value is not None}
        self.kernel = Kernel(self, dict(modules or {}), dict(numbers or {}))
        if not has_ctypes:
            self.kernel.ctypes = None
        self.sys = _make_sys(python)
        self.os = self._make_os()
        self.build = {**BUILD, **build}
        self.start()

    def start(self, site: str = SITE) -> None:
        """Start the process: the modules of cv2, lying in `site`, are loaded anew."""
        self.module = execute(FILE)
        self.report = execute(REPORT, cuda_dlls=self.module)
        for module in (self.module, self.report):
            vars(module).update(os=self.os, sys=self.sys, open=self.open)
        self.module.load_report = lambda: self.report
        self.module.FOLDER, self.module.BUILD = f"{site}\\cv2", self.build
        self.loading = self.module._loading = self.module.Loading(f"{site}\\cv2", self.build)

    def add(self, directory: str, files: Sequence[str] | Mapping[str, bytes]) -> None:
        """Make a directory, and those that it lies in."""
        contents = files if isinstance(files, Mapping) else dict.fromkeys(files, GOOD)
        self.files.setdefault(ntpath.normcase(directory), {}).update(contents)
        parent, name = ntpath.split(directory)
        if name and parent != directory:
            self.add(parent, {name: b""})

    # What Python's modules do

    def _make_os(self) -> Any:  # noqa: ANN401 - what the module takes for os
        path = execute(Path(ntpath.__file__))
        path.samefile = lambda a, b: self.resolve(a) == self.resolve(b)
        path.realpath = self.resolve
        path.os = SimpleNamespace(name="nt", path=path, environ=self.environ, fspath=str)
        path.os.getcwd = lambda: self.cwd
        path.os.listdir, path.os.stat = self.listdir, self.stat
        if self.sys.version_info >= (3, 8):
            path.os.add_dll_directory = self.add_dll_directory
        return path.os

    def resolve(self, path: str) -> str:
        r"""Return the one name of a file or directory: no \\?\ in front."""
        return ntpath.normcase(ntpath.normpath(path.removeprefix("\\\\?\\")))

    def listdir(self, directory: str) -> list[str]:
        self.calls.append(f"list {directory}")
        return list(self._files_of(directory))

    def _files_of(self, directory: str) -> dict[str, bytes]:
        if directory in self.errors:
            raise self.errors[directory]
        try:
            return self.files[self.resolve(directory)]
        except KeyError:
            raise FileNotFoundError(2, "Das System kann den Pfad nicht finden") from None

    def stat(self, directory: str) -> SimpleNamespace:
        self._files_of(directory)
        number = sorted(self.files).index(self.resolve(directory)) + 1
        return SimpleNamespace(st_dev=7, st_ino=number if self.is_numbered else 0)

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        directory, name = ntpath.split(path)
        if path in self.errors:
            raise self.errors[path]
        files = {key.lower(): content for key, content in self._files_of(directory).items()}
        if name.lower() not in files:
            raise FileNotFoundError(2, "Das System kann die Datei nicht finden")
        return files[name.lower()]

    def open(self, path: str, mode: str, buffering: int = -1) -> IO[bytes]:
        assert (mode, buffering) in {("rb", 0), ("rb", -1)}
        self.calls.append(f"open {path}")
        content = self.read(path)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - who opens it closes it
        file.write(content)
        file.seek(0)
        return file

    def add_dll_directory(self, directory: str) -> SimpleNamespace:
        self._files_of(directory)
        self.registered.append(directory)
        return SimpleNamespace(close=lambda: self.registered.remove(directory))

    # What is done on it

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Have what is imported in the block be this machine's."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "ctypes", self.kernel.ctypes)
            yield

    def load(self) -> list[str]:
        """Go through the block as OpenCV's loader does; return what is registered then."""
        with self.run(), self.loading:
            return list(self.registered)

    def choose(self) -> dict[str, str]:
        """Return the directory that each family is taken from."""
        self.load()
        return {choice.family: choice.directory for choice in self.loading.attempt.search.choices}

    def refuse(self) -> list[tuple[str, str, str, str]]:
        """Return the places that are not taken: directory, source, reason, name of a file."""
        self.load()
        return [
            (place.directory, place.source, place.fault.reason, ntpath.basename(place.fault.file))
            for place in self.loading.attempt.search.refusals
        ]

    def fail(self, error: BaseException) -> BaseException:
        """Go through a block that fails as OpenCV's loader does; return what comes out of it."""
        with pytest.raises(type(error)) as caught:
            self._enter_and_raise(error)
        return caught.value

    def _enter_and_raise(self, error: BaseException) -> None:
        with self.run(), self.loading:
            self.sys.path.insert(0, f"{SITE}\\cv2")
            self.sys.OpenCV_LOADER = True
            self.sys.modules["cv2"] = self.sys.modules["cv2.cv2"] = ModuleType("cv2")
            raise error

    def explain(self, number: int | None = None) -> str:
        """Return the message of a failed import; loading the native module gives that number."""
        if number is not None:
            self.kernel.numbers[CV2] = number
        return str(self.fail(make_native_error()))

    def ask(self, *arguments: str, encoding: str = "utf-8") -> str:
        """Return what `python -m cv2.cuda_dlls` prints where cv2 imports."""
        self.load()
        self.sys.modules["cv2"] = SimpleNamespace(cuda_dlls=self.module)
        self.sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        with self.run():
            assert self.module.main(list(arguments)) == 0
        printed: bytes = self.sys.stdout.buffer.getvalue()
        return printed.decode(encoding)


class Kernel:
    """kernel32: what is loaded, what does not load, and a record of loads, frees and modes."""

    def __init__(self, machine: Machine, modules: dict[str, str], numbers: dict[str, int]) -> None:
        self._machine, self.modules, self.numbers = machine, modules, numbers
        self.program = f"{PREFIX}\\python.exe"
        self.command_line = "python"
        #: Names that Windows finds in a directory which nobody else knows of.
        self.elsewhere: dict[str, str] = {}
        self.loads: list[str] = []
        self.flags: dict[str, int] = {}
        self.modes: dict[str, int] = {}
        self.frees: list[str] = []
        self.mode = 1
        self._handles: list[str] = []
        self._number = 0
        self.ctypes: SimpleNamespace | None = SimpleNamespace(**vars(ctypes))
        self.ctypes.get_last_error = lambda: self._number
        self.ctypes.FormatError = "Windows' words for {}.".format
        self.ctypes.WinDLL = self._open_library

    def _open_library(self, name: str, *, use_last_error: bool) -> SimpleNamespace:
        assert (name, use_last_error) == ("kernel32", True)
        return SimpleNamespace(
            GetModuleHandleW=partial(self._find_handle),
            GetModuleFileNameW=partial(self._write_name),
            K32EnumProcessModules=partial(self._list_handles),
            LoadLibraryExW=partial(self._load),
            FreeLibrary=partial(self._free),
            SetThreadErrorMode=partial(self._set_mode),
            GetCommandLineW=partial(lambda: self.command_line),
        )

    def _find_handle(self, name: str) -> int | None:
        path = self.modules.get(name.lower())
        return self._make_handle(path) if path else None

    def _list_handles(self, process: int, handles: Any, room: int, size: Any) -> None:  # noqa: ANN401 - an array and a reference
        assert process == -1
        assert room == ctypes.sizeof(handles)
        for number, path in enumerate(self.modules.values()):
            handles[number] = self._make_handle(path)
        size._obj.value = ctypes.sizeof(ctypes.c_void_p) * len(self.modules)

    def _make_handle(self, path: str) -> int:
        self._handles.append(path)
        return len(self._handles)

    def _write_name(self, handle: int | None, text: Any, size: int) -> None:  # noqa: ANN401 - a buffer
        text.value = (self._handles[handle - 1] if handle else self.program)[:size]

    def _load(self, name: str, nothing: None, flags: int) -> int | None:
        assert nothing is None
        self.loads.append(name)
        self.flags[name], self.modes[name] = flags, self.mode
        path = self.elsewhere.get(name) or self.modules.get(name.lower(), name)
        self._number = self.numbers.get(name, 0 if self._is_there(path) else 126)
        if self._number:
            return None
        self.modules.setdefault(ntpath.basename(path).lower(), path)
        return self._make_handle(path)

    def _is_there(self, path: str) -> bool:
        try:
            return bool(self._machine.read(path if "\\" in path else f"{SYSTEM}\\{path}"))
        except FileNotFoundError:
            return path in self.elsewhere.values()

    def _free(self, handle: int) -> None:
        path = self._handles[handle - 1]
        self.frees.append(path)
        if self.loads.count(path) == self.frees.count(path):
            self.modules.pop(ntpath.basename(path).lower(), None)

    def _set_mode(self, mode: int, before: Any) -> None:  # noqa: ANN401 - a reference
        if before is not None:
            before._obj.value = self.mode
        self.mode = mode


def make_native_error() -> ImportError:
    """Return what Python raises where the native module does not load."""
    text = "DLL load failed while importing cv2: Das angegebene Modul wurde nicht gefunden."
    return ImportError(text, name="cv2", path=CV2)


@cache
def _compile(file: Path) -> CodeType:
    return compile(file.read_text(encoding="utf-8"), file, "exec")


def execute(file: Path, **names: object) -> Any:  # noqa: ANN401 - its names are made at run time
    """Return a new module made of a file, outside of any package, that has those names before."""
    module = ModuleType(file.stem)
    vars(module).update(names, __file__=str(file))
    exec(_compile(file), vars(module))  # noqa: S102 - the module is what is tested
    return module


def _make_sys(python: tuple[int, int]) -> SimpleNamespace:
    prefixes = ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix")
    return SimpleNamespace(
        path=["", f"{PREFIX}\\python312.zip", f"{PREFIX}\\Lib", SITE],
        modules={},
        stderr=io.StringIO(),
        executable=f"{PREFIX}\\python.exe",
        version="{}.{}.10 (tags)".format(*python),
        version_info=(*python, 10),
        argv=[""],
        exit=sys.exit,
        **dict.fromkeys(prefixes, PREFIX),
    )
