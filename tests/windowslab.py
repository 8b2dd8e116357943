r"""Windows machines for tests: a genuine Python under Wine, and a small genuine cv2.pyd.

The native module is a PE file of a few hundred bytes with the load-time imports that a test names;
its PyInit_cv2 is that of one of Python's own modules. So Windows' loader does what it does for
OpenCV, in a fraction of a second. Drive C: is a folder of the test's own.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dllmaking import make_dll
from machines import BUILD, FILE, IMPORTS, PREFIX, SITE, Imports
from proof.disks import WineDisk, link_tree, wine_disk
from proof.machines import run_in_wine

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.process import Finished
from repack.pythons import Interpreter, Pythons

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
#: OpenCV's loader before 4.5.4.
OLD_LOADER = """\
from . import cuda_dlls as _cuda_dlls
with _cuda_dlls.loading():
    from .cv2 import *
"""
PROGRAM = """\
import os, sys
{before}
raised = None
try:
    import cv2
except BaseException as error:
    raised = error
    print(f"{{type(error).__name__}}: {{error}}")
else:
    print("works")
    attempt = cv2.cuda_dlls.loading().attempt
    for choice in attempt.search.choices if attempt else ():
        print(f"{{choice.family}}: {{choice.directory}} ({{choice.source}})")
{after}
"""
#: Before a program that tries parts of the module, which it has outside of its package.
PARTS = rf"""
import importlib.util, os, sys
folder = r"{CV2}"
def run_file(name):
    spec = importlib.util.spec_from_file_location(name, rf"{{folder}}\{{name}}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
module, build = run_file("cuda_dlls"), run_file("_cuda_build").BUILD
def search(**facts):
    return module.Search(folder, dict(build, **facts), module.Windows()).choices
"""
#: A copy of Python's own _queue.pyd, which cv2.pyd hands its initialization to.
INITIALIZER = "cv2_initializer.dll"
#: What a folder holds, by name: content, or None for a file that is taken away.
Files = Mapping[str, bytes | str | None]


def native(imports: Imports, entry_point: bytes = b"") -> bytes:
    """Return a cv2.pyd that has those imports; what it is as a module, INITIALIZER says."""
    forwards = {"PyInit_cv2": f"{INITIALIZER.removesuffix('.dll')}.PyInit__queue"}
    all_imports = {INITIALIZER: ["PyInit__queue"], **imports}
    return make_dll("cv2.pyd", imports=all_imports, forwards=forwards, entry_point=entry_point)


@dataclass(kw_only=True)
class Windows:
    """A machine: `disk` is its drive C:, `env` what is set."""

    disk: WineDisk
    interpreter: Interpreter
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = r"C:\Users\me"
    python: str = rf"{PREFIX}\python.exe"
    debug: str = "-all"

    def write(self, path: str, content: bytes | str | None) -> None:
        """Write a file, or take it away."""
        place = self.disk.place(path)
        data = content.encode() if isinstance(content, str) else content
        if data is None or not place.is_file() or place.read_bytes() != data:
            place.unlink(missing_ok=True)  # it may be a link to a file of the cache
            if data is not None:
                place.write_bytes(data)

    def fill(self, folders: Mapping[str, Files | str]) -> None:
        """Write folders; a text stands for a junction to that one."""
        for folder, files in folders.items():
            if isinstance(files, str):
                self.disk.place(folder).symlink_to(files)
                continue
            for name, content in files.items():
                self.write(rf"{folder}\{name}", content)

    def install(
        self,
        site: str = SITE,
        imports: Imports = IMPORTS,
        entry_point: bytes = b"",
        **build: object,
    ) -> None:
        """Put the fixed cv2, a NumPy of one line and what stands for pip into a folder."""
        self.write(rf"{site}\pip\__init__.py", "")
        self.write(rf"{site}\numpy\__init__.py", "__version__ = '1.26.4'\n")
        self.write(rf"{site}\cv2\__init__.py", LOADER)
        self.write(rf"{site}\cv2\_cuda_build.py", f"BUILD = { ({**BUILD, **build})!r}\n")
        self.write(rf"{site}\cv2\cv2.pyd", native(imports, entry_point))
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
        cwd = self.disk.place(self.cwd)
        cwd.mkdir(exist_ok=True)
        command = [*self.interpreter.launcher, self.python, *words]
        return run_in_wine(command, timeout=60, env=env, cwd=cwd)

    def import_cv2(self, before: str = "", after: str = "") -> str:
        """Return what is printed: "works" and what is chosen, or the error of `import cv2`.

        `before` and `after` are what else the program does.
        """
        return self.run_program(PROGRAM.format(before=before, after=after))

    def run_program(self, program: str) -> str:
        """Return what a program prints that was typed in."""
        self.write(r"C:\Users\me\program.py", program)
        start = "import sys; sys.stdout.reconfigure(encoding='utf-8', newline='\\n'); "
        start += r"exec(open(r'C:\Users\me\program.py', encoding='utf-8').read())"
        return self.run("-c", start).output.strip()

    def try_parts(self, program: str) -> str:
        """Return what a program prints that has the module's parts, as PARTS has them."""
        return self.run_program(PARTS + program)


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
        disk.made.clear()
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
    try:
        yield replace(machine, env={})
    finally:
        for made in machine.disk.made:
            if made.is_dir() and not made.is_symlink():
                shutil.rmtree(made, ignore_errors=True)
            else:
                made.unlink(missing_ok=True)
        machine.disk.made.clear()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A machine, what a program does there around `import cv2`, and what it prints.

    `says` are parts of that, with " ... " between them, `hides` is a part that must not be printed;
    `build` is what `Windows.install` takes.
    """

    says: str
    hides: str = ""
    files: Mapping[str, Files | str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory={"CUDA_PATH": r"C:\T"}.copy)
    cwd: str = r"C:\Users\me"
    before: str = ""
    after: str = ""
    build: Mapping[str, Any] = field(default_factory=dict)

    def check(self, windows: Windows) -> None:
        """Run the program on the machine."""
        windows.install(**self.build)
        windows.fill(self.files)
        windows.env, windows.cwd = dict(self.env), self.cwd
        output = windows.import_cv2(self.before, self.after)
        assert all(part in output for part in self.says.split(" ... ")), output
        assert not self.hides or self.hides not in output, output
