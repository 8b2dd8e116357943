r"""Small Windows machines for tests: a genuine Python under Wine, and a small genuine cv2.pyd.

The native module is a PE file of a few hundred bytes with the load-time imports that a test names;
its PyInit_cv2 is that of one of Python's own modules. So Windows' loader does what it does for
OpenCV, in a fraction of a second. Drive C: is a folder of the test's own.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dllmaking import make_dll
from proof.disks import WineDisk, wine_disk
from proof.layouts import lay_python, layout_of
from proof.packages import link_tree

from repack.process import Finished, run
from repack.pythons import Interpreter, Pythons

OVERLAY = Path(__file__).parent.parent / "patches" / "cv2"
PYTHON = r"C:\Users\me\AppData\Local\Programs\Python\Python312"
SITE = rf"{PYTHON}\Lib\site-packages"
SYSTEM = r"C:\windows\system32"
RETURN_0 = bytes.fromhex("31C0C3")

# OpenCV's loader since 4.6, in as few lines as it takes, with the edit that repack makes.
LOADER = """\
import importlib, os, sys
def bootstrap():
    if hasattr(sys, "OpenCV_LOADER"):
        raise ImportError('ERROR: recursion is detected during loading of "cv2" binary extensions.')
    sys.OpenCV_LOADER = True
    saved = list(sys.path)
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, folder)
    binaries = os.path.join(folder, "../../x64/vc14/bin")
    os.environ["PATH"] = binaries + ";" + os.environ.get("PATH", "")
    package = sys.modules.pop("cv2")
    native = importlib.import_module("cv2")
    sys.modules["cv2"] = package
    for key, value in native.__dict__.items():
        globals().setdefault(key, value)
    sys.path[:] = saved
    del sys.OpenCV_LOADER
from . import cuda_dlls as _cuda_dlls
with _cuda_dlls.loading():
    bootstrap()
"""
BUILD = {
    "cuda": (12, 9),
    "cures": {
        "npp": "set CUDA_PATH to a toolkit of CUDA 12 (best 12.9 or later)",
        "cublas": "set CUDA_PATH to a toolkit of CUDA 12 (best 12.9 or later)",
        "cudnn": "set CUDNN_PATH to cuDNN 9 for CUDA 12",
        "driver": "install the NVIDIA display driver",
        "vc-runtime": "python -m pip install --upgrade msvc-runtime, or install the Visual C++ "
        "2015-2022 Redistributable",
        "windows": "it is part of Windows: use an installation with the Desktop Experience",
        "api-set": "it is part of Windows: update Windows",
    },
    "families": {"npp": ("nppc64_12.dll", "nppif64_12.dll")},
    "kinds": {
        "nppc64_12.dll": "npp",
        "nppif64_12.dll": "npp",
        "cublas64_12.dll": "cublas",
        "cublaslt64_12.dll": "cublas",
        "cudnn64_9.dll": "cudnn",
        "nvcuda.dll": "driver",
        "dxgi.dll": "windows",
        "msvcp140.dll": "vc-runtime",
        "python39.dll": "python",
        "libfoo.dll": "unknown",
    },
    "machine": "x86-64",
    "numpy": "numpy>=1.23,<3",
    "opencv": "4.13.0",
    "requires": {
        "npp": ("nvidia-npp-cu12>=12.4.0,<13",),
        "cublas": ("nvidia-cublas-cu12>=12.9,<13",),
        "cudnn": ("nvidia-cudnn-cu12>=9,<10",),
    },
}
#: A copy of Python's own _queue.pyd, which cv2.pyd hands its initialization to.
INITIALIZER = "cv2_initializer.dll"
IMPORTS = {"nppc64_12.dll": ["nppGetLibVersion"], "nppif64_12.dll": ["nppiFilter"]}


def dll(
    *exports: str,
    imports: Mapping[str, Sequence[str]] | None = None,
    machine: str = "x86-64",
    starts: bool = True,
) -> bytes:
    """Return a DLL whose functions return 0; one that does not start gives error 1114."""
    code = dict.fromkeys(exports or ("f",), RETURN_0)
    entry_point = b"" if starts else RETURN_0
    return make_dll("any.dll", code=code, imports=imports, machine=machine, entry_point=entry_point)


NPP = {
    "nppc64_12.dll": dll("nppGetLibVersion"),
    "nppif64_12.dll": dll("nppiFilter", imports={"nppc64_12.dll": ["nppGetLibVersion"]}),
}
X86 = {name: dll(machine="x86") for name in NPP}


def native(imports: Mapping[str, Sequence[str]]) -> bytes:
    """Return a cv2.pyd that has those imports; what it is as a module, INITIALIZER says."""
    forwards = {"PyInit_cv2": f"{INITIALIZER.removesuffix('.dll')}.PyInit__queue"}
    all_imports = {INITIALIZER: ["PyInit__queue"], **imports}
    return make_dll("cv2.pyd", imports=all_imports, forwards=forwards)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a program on the machine printed, and its exit code."""

    code: int
    output: str


@dataclass(kw_only=True)
class Windows:
    """A machine: `disk` is its drive C:, `env` what is set. `clear` takes away what was made."""

    disk: WineDisk
    interpreter: Interpreter
    env: dict[str, str] = field(default_factory=dict)
    path: str = ""
    cwd: str = r"C:\Users\me"
    python: str = rf"{PYTHON}\python.exe"
    debug: str = "-all"
    overrides: str = ""
    made: list[Path] = field(default_factory=list)

    def place(self, path: str) -> Path:
        """Return where something new is to lie on this machine's own disk."""
        place = self.disk.place(path)
        missing = [part for part in (place, *place.parents) if not part.exists()]
        self.made += missing[-1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def clear(self) -> None:
        """Take away all files that were made."""
        for path in self.made:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write(self, path: str, content: bytes | str) -> None:
        """Write a file."""
        place = self.place(path)
        place.unlink(missing_ok=True)  # it may be a link to a file of the cache
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    def link(self, path: str, target: str) -> None:
        """Make a link, which stands for a junction."""
        self.place(path).symlink_to(target)

    def share(self, name: str) -> Path:
        r"""Return the folder of a share, "srv\cuda12" for \\srv\cuda12."""
        unc = self.disk.prefix / "dosdevices" / "unc"
        folder = unc.joinpath(*name.split("\\"))
        folder.mkdir(parents=True)
        self.made.append(unc)
        return folder

    def fill(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write DLLs into a folder."""
        for name, content in files.items():
            self.write(rf"{folder}\{name}", content)

    def install(
        self,
        site: str = SITE,
        imports: Mapping[str, Sequence[str]] = IMPORTS,
        **build: object,
    ) -> None:
        """Put the fixed cv2 and a NumPy of one line into a folder."""
        facts = {**BUILD, **build}
        self.write(rf"{site}\numpy\__init__.py", "__version__ = '2.1.0'\n")
        self.write(rf"{site}\cv2\__init__.py", LOADER)
        self.write(rf"{site}\cv2\_cuda_build.py", f"BUILD = {facts!r}\n")
        self.write(rf"{site}\cv2\cv2.pyd", native(imports))
        self.write_initializer(rf"{site}\cv2")
        for file in OVERLAY.glob("*.py"):
            self.write(rf"{site}\cv2\{file.name}", file.read_bytes())

    def write_initializer(self, folder: str) -> None:
        """Write what a native module hands its initialization to."""
        queue = self.interpreter.python.parent / "DLLs" / "_queue.pyd"
        self.write(rf"{folder}\{INITIALIZER}", queue.read_bytes())

    def run(self, *words: str) -> Ran:
        """Return what python.exe did with these arguments."""
        env = {**self.disk.env, "WINEPATH": self.path, "WINEDEBUG": self.debug, **self.env}
        env["WINEDLLOVERRIDES"] = f"{env['WINEDLLOVERRIDES']};{self.overrides}"
        command = [*self.interpreter.launcher, self.python, *words]
        cwd = self.place(self.cwd)
        cwd.mkdir(exist_ok=True)
        done: Finished = run(command, timeout=60, env=env, cwd=cwd)
        return Ran(code=done.returncode, output=done.output)

    def import_cv2(self, before: str = "", after: str = "") -> str:
        """Return "works", or the text of the exception that `import cv2` raises."""
        program = f"""
import sys
{before}
try:
    import cv2
except BaseException as error:
    sys.stdout.buffer.write(f"{{type(error).__name__}}: {{error}}".encode())
else:
    print("works")
{after}
"""
        self.write(r"C:\Users\me\program.py", program)
        start = r"exec(open(r'C:\Users\me\program.py').read())"
        return self.run("-B", "-c", start).output.strip()

    def report(self) -> Ran:
        """Return what `python -m cv2.cuda_dlls` prints."""
        return self.run("-m", "cv2.cuda_dlls")

    def facts(self) -> dict[str, Any]:
        """Return what `python -m cv2.cuda_dlls --json` prints."""
        output = self.run("-m", "cv2.cuda_dlls", "--json").output
        facts: dict[str, Any] = json.loads(output[output.index("{") :])
        return facts

    def chosen(self) -> dict[str, str]:
        """Return the directory that each family comes from, by the report."""
        return {choice["family"]: choice["directory"] for choice in self.facts()["chosen"]}

    def move_python(self, folder: str) -> str:
        """Put another copy of the Python into `folder` and use it; return its site-packages."""
        self.python = rf"{folder}\python.exe"
        link_tree(self.interpreter.python.parent, self.place(folder), without=("site-packages",))
        return rf"{folder}\Lib\site-packages"


@contextlib.contextmanager
def windows_machine(pythons: Pythons, folder: Path, version: str = "3.12") -> Iterator[Windows]:
    """Give a machine with one Python."""
    interpreter = pythons.provide(version)
    assert isinstance(interpreter, Interpreter), interpreter
    folder.mkdir(parents=True, exist_ok=True)
    with wine_disk(interpreter, folder) as disk:
        lay_python(layout_of("plain", version), disk, interpreter)
        yield Windows(disk=disk, interpreter=interpreter)


@contextlib.contextmanager
def cleared(machine: Windows) -> Iterator[Windows]:
    """Give the machine with nothing on it but its Python, and as such to the next."""
    fresh = replace(machine, env={}, made=[])
    try:
        yield fresh
    finally:
        fresh.clear()
