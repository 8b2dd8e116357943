r"""Windows machines for tests: a genuine Python under Wine, and a small genuine cv2.pyd.

The native module is a PE file of a few hundred bytes with the load-time imports that a test names;
its PyInit_cv2 is that of one of Python's own modules. So Windows' loader does what it does for
OpenCV, in a fraction of a second. Drive C: is a folder of the test's own.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import machines
from dllmaking import make_dll
from machines import FILE, PREFIX, SITE, Imports
from proof.disks import WineDisk, link_tree, wine_disk
from proof.machines import run_in_wine

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import Finished
from repack.pythons import Pythons
from repack.pythons.interpreter import Interpreter

CV2 = rf"{SITE}\cv2"

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
BUILD = {**machines.BUILD, "help_url": ""}
#: A copy of Python's own _queue.pyd, which cv2.pyd hands its initialization to.
INITIALIZER = "cv2_initializer.dll"
#: Two DLLs of CUDA, of which one needs the other.
NPP = machines.SOUND
IMPORTS = {name: machines.IMPORTS[name] for name in NPP}
#: What a folder holds, by name: content, or None for a file that is taken away.
Files = Mapping[str, bytes | str | None]


def native(imports: Imports, entry_point: bytes = b"") -> bytes:
    """Return a cv2.pyd that has those imports; what it is as a module, INITIALIZER says."""
    forwards = {"PyInit_cv2": f"{INITIALIZER.removesuffix('.dll')}.PyInit__queue"}
    all_imports = {INITIALIZER: ["PyInit__queue"], **imports}
    return make_dll("cv2.pyd", imports=all_imports, forwards=forwards, entry_point=entry_point)


@dataclass(kw_only=True)
class Windows:
    """A machine: `disk` is its drive C:, `env` what is set. `clear` takes away what was made."""

    disk: WineDisk
    interpreter: Interpreter
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = r"C:\Users\me"
    python: str = rf"{PREFIX}\python.exe"
    debug: str = "-all"
    made: list[Path] = field(default_factory=list)

    def place(self, path: str) -> Path:
        """Return where something new is to lie on this machine's own disk, or on a share."""
        if path.startswith("\\\\"):
            shares = self.disk.prefix / "dosdevices" / "unc"
            place = shares.joinpath(*path[2:].split("\\"))
        else:
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

    def write(self, path: str, content: bytes | str | None) -> None:
        """Write a file, or take it away."""
        place = self.place(path)
        data = content.encode() if isinstance(content, str) else content
        if data is None or not place.is_file() or place.read_bytes() != data:
            place.unlink(missing_ok=True)  # it may be a link to a file of the cache
            if data is not None:
                place.write_bytes(data)

    def fill(self, folders: Mapping[str, Files | str]) -> None:
        """Write folders; a text stands for a junction to that one."""
        for folder, files in folders.items():
            if isinstance(files, str):
                self.place(folder).symlink_to(files)
                continue
            for name, content in files.items():
                self.write(rf"{folder}\{name}", content)

    def install(self, site: str = SITE, imports: Imports = IMPORTS, **build: object) -> None:
        """Put the fixed cv2 and a NumPy of one line into a folder."""
        self.write(rf"{site}\numpy\__init__.py", "__version__ = '1.26.4'\n")
        self.write(rf"{site}\cv2\__init__.py", LOADER)
        self.write(rf"{site}\cv2\_cuda_build.py", f"BUILD = { ({**BUILD, **build})!r}\n")
        self.write(rf"{site}\cv2\cv2.pyd", native(imports))
        queue = self.interpreter.python.parent / "DLLs" / "_queue.pyd"
        self.write(rf"{site}\cv2\{INITIALIZER}", queue.read_bytes())
        for file in FILE.parent.glob("*.py"):
            self.write(rf"{site}\cv2\{file.name}", file.read_bytes())

    def run(self, *words: str) -> Finished:
        """Return what python.exe did with these arguments."""
        env = {**self.disk.env, "WINEDEBUG": self.debug, "PYTHONDONTWRITEBYTECODE": "1", **self.env}
        env["WINEPATH"] = self.env.get("PATH", "")
        env["PATH"] = self.disk.env["PATH"]
        overrides = (self.disk.env["WINEDLLOVERRIDES"], self.env.get("WINEDLLOVERRIDES", ""))
        env["WINEDLLOVERRIDES"] = ";".join(overrides)
        cwd = self.place(self.cwd)
        cwd.mkdir(exist_ok=True)
        command = [*self.interpreter.launcher, self.python, *words]
        return run_in_wine(command, timeout=60, env=env, cwd=cwd)

    def import_cv2(self, before: str = "") -> str:
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
"""
        self.write(r"C:\Users\me\program.py", program)
        start = r"exec(open(r'C:\Users\me\program.py').read())"
        return self.run("-c", start).output.strip()

    def report(self) -> Finished:
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


@contextlib.contextmanager
def open_windows(folder: Path) -> Iterator[Windows]:
    """Give a warm Wine with a genuine Python 3.12 and the parts of cv2 that all machines share."""
    with (
        Pythons(Supply(Cache.default())) as pythons,
        wine_disk(interpreter := pythons.provide("3.12"), folder) as disk,
    ):
        link_tree(interpreter.python.parent, disk.place(PREFIX), without=("site-packages",))
        windows = Windows(disk=disk, interpreter=interpreter)
        windows.install()
        windows.run("-m", "compileall", "-q", SITE)
        with warm_wine([*interpreter.launcher, windows.python], disk.env):
            yield windows


@contextlib.contextmanager
def warm_wine(python: Sequence[str], env: Mapping[str, str]) -> Iterator[None]:
    """Keep Wine's server, which takes half a second to start: it stays as long as a program."""
    with subprocess.Popen(
        [*python, "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    ) as keeper:
        assert keeper.stdout is not None
        # Without wineboot, two programs that start at once wait minutes for its event.
        keeper.stdout.readline()
        try:
            yield
        finally:
            keeper.kill()


@contextlib.contextmanager
def cleared(machine: Windows) -> Iterator[Windows]:
    """Give the machine with nothing on it but its Python, and as such to the next."""
    fresh = replace(machine, env={}, made=[])
    try:
        yield fresh
    finally:
        fresh.clear()
