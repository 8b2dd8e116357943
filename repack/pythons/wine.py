"""Wine: a prefix that is made once, and a copy of it for each command."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from repack.console import Progress
from repack.dlls import make_dll, read_exports
from repack.errors import ToolError
from repack.fetch import Cache
from repack.process import run
from repack.pythons.trees import make_once, work_folder

_HINT = "apt-get install -y --no-install-recommends wine64 wine"
# Debian's wine64 is not on PATH; its `wine` on PATH is a script that asks for a 32-bit Wine too.
_PROGRAMS = ("wine64", "/usr/lib/wine/wine64", "/usr/lib/wine-stable/wine64", "wine")
_SERVERS = ("wineserver64", "/usr/lib/wine/wineserver64", "wineserver")
_STARTS = 3
_TIMEOUT = 300.0
# Raise it when the prefix is made in another way.
_FORMAT = 2
# Wine writes these in their place; all else in a prefix is replaced where it changes.
_REGISTRY = ("system.reg", "user.reg", "userdef.reg")

# Complex numbers' parts: what NumPy 2.2 and later calls, and Wine 8 leaves out. A 16-byte
# structure comes by its address in rcx, an 8-byte one in rcx itself; the result goes to xmm0.
_COMPLEX = {
    "creal": bytes.fromhex("F20F1001 C3"),  # movsd xmm0, [rcx]; ret
    "cimag": bytes.fromhex("F20F104108 C3"),  # movsd xmm0, [rcx+8]; ret
    "crealf": bytes.fromhex("660F6EC1 C3"),  # movd xmm0, ecx; ret
    "cimagf": bytes.fromhex("48C1E920 660F6EC1 C3"),  # shr rcx, 32; movd xmm0, ecx; ret
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wine:
    """An installed Wine; `base` is where its prefix lies in the cache, once that is made."""

    program: str
    server: str
    base: Path

    def environment(self, prefix: Path) -> dict[str, str]:
        """Return the environment of a Windows program in `prefix`, and nothing of ours."""
        kept = ("HOME", "USER", "LOGNAME")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": os.defpath,
            # In the plain C locale Wine cannot name files beyond ASCII.
            "LC_ALL": "C.UTF-8",
            "WINEPREFIX": str(prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "ucrtbase=n,b;mscoree=;mshtml=;winemenubuilder.exe=",
            "WINESERVER": self.server,
        }


def find_wine(cache: Cache) -> Wine:
    """Return the Wine of this machine; raises ToolError with the command that installs it."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    server = next(filter(None, map(shutil.which, _SERVERS)), None)
    if program is None or server is None:
        hint = f"on x86-64 Linux {_HINT}; elsewhere run `repack smoke` with the wheels on Windows"
        raise ToolError("Wine is not installed", code="tool-missing", hint=hint)
    version = run([program, "--version"], timeout=_TIMEOUT).output.strip()
    key = hashlib.sha256(f"{_FORMAT} {program} {version}".encode()).hexdigest()[:16]
    return Wine(program=program, server=server, base=cache.root / "wine" / f"prefix-{key}")


def windows_path(path: Path) -> PureWindowsPath:
    """Return what `path` of this machine is called in Wine."""
    return PureWindowsPath("Z:/", *path.absolute().parts[1:])


@contextlib.contextmanager
def run_wine(wine: Wine, cache: Cache, progress: Progress) -> Iterator[Mapping[str, str]]:
    """Give the environment of Windows programs in a prefix of its own.

    At the end all that runs in that prefix is ended, and the prefix is gone.
    """
    make_once(wine.base, lambda folder: _fill_prefix(folder, wine, progress), cache, progress)
    with work_folder(cache, "wine") as place:
        copy_prefix(wine.base, place / "prefix")
        env = wine.environment(place / "prefix")
        with _start_services(wine, env), _end_server(wine, env):
            yield env


def copy_prefix(base: Path, prefix: Path) -> None:
    """Make a copy of a prefix, by hard links where the disk has them; a server may run in it."""
    locks = shutil.ignore_patterns("wineserver")
    shutil.copytree(base, prefix, symlinks=True, copy_function=_link, ignore=locks)
    for name in _REGISTRY:
        (prefix / name).unlink()
        shutil.copyfile(base / name, prefix / name)


def _link(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def _start_services(wine: Wine, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Return the program that keeps Wine's services running, once they run.

    Wine starts them with the first program and ends them with the last. One that waits for its
    input keeps them; it ends with us, however we end. Raises ToolError where they do not start.
    """
    fault = ""
    for _ in range(_STARTS):
        keeper = subprocess.Popen(
            [wine.program, "cmd.exe"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Comes back when the services run: two programs that start before wait for minutes.
        fault = _run_tool(wine, env, "cmd.exe", "/c", "exit")
        if not fault and keeper.poll() is None:
            return keeper
        # Of the first two programs in a prefix one may find the other's temporary folder half
        # made, and gives up: "please try running the same command again".
        keeper.kill()
        keeper.communicate()
    run([wine.server, "-k"], timeout=_TIMEOUT, env=env)
    raise ToolError(f"Wine's services do not start: {fault}", code="wine", hint=_HINT)


def _run_tool(wine: Wine, env: Mapping[str, str], *words: str) -> str:
    """Run one of Wine's own programs; return how it failed, "" where it did not."""
    done = run([wine.program, *words], timeout=_TIMEOUT, env=env)
    if not done.returncode and not done.timed_out:
        return ""
    last = [f"exit code {done.returncode}", *done.output.strip().splitlines()][-1]
    return f"{' '.join(words)}: {'did not end' if done.timed_out else last}"


@contextlib.contextmanager
def _end_server(wine: Wine, env: Mapping[str, str]) -> Iterator[None]:
    """End all that runs in a prefix at the end of the block."""
    try:
        yield
    finally:
        run([wine.server, "-k"], timeout=_TIMEOUT, env=env)


def _fill_prefix(prefix: Path, wine: Wine, progress: Progress) -> None:
    """Make a prefix in the empty folder `prefix`."""
    env = wine.environment(prefix)
    with progress.task("Preparing Wine (once)", unit="steps"), _end_server(wine, env):
        for words in (("wineboot", "-i"), ("winecfg", "-v", "win10")):
            if fault := _run_tool(wine, env, *words):
                raise ToolError(
                    fault, code="wine", file=wine.program, hint=f"reinstall it: {_HINT}"
                )
        # The registry is written when the server ends.
        run([wine.server, "-w"], timeout=_TIMEOUT, env=env)
    _complete_runtime(prefix / "drive_c" / "windows" / "system32")
    # Otherwise Wine would put its own files back one day.
    (prefix / ".update-timestamp").write_text("disable\n", encoding="ascii")


def _complete_runtime(system32: Path) -> None:
    """Give the C run-time of Wine the functions it lacks, by a forwarder before it."""
    forwarder = system32 / "ucrtbase.dll"
    builtin = forwarder.rename(system32 / "ucrtbase_wine.dll")
    names = [name for name in read_exports(builtin) if name not in _COMPLEX]
    forwards = {name: f"ucrtbase_wine.{name}" for name in names}
    forwarder.write_bytes(make_dll("ucrtbase.dll", forwards=forwards, code=_COMPLEX))
