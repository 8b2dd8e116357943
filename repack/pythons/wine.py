"""Wine: one prefix in the cache for all Windows Pythons, shared by any number of runs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import filelock

from repack.dlls import make_dll, read_exports
from repack.errors import ToolError
from repack.files import replace, sweep, workspace
from repack.process import kept_running, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.console import Progress
    from repack.fetch import Cache

_log = logging.getLogger(__name__)

HINT = "apt-get install -y --no-install-recommends wine64 wine"
# Debian's wine64 is not on PATH; its `wine` on PATH is a script that asks for a 32-bit Wine too.
_PROGRAMS = ("wine64", "/usr/lib/wine/wine64", "/usr/lib/wine-stable/wine64", "wine")
_SERVERS = ("wineserver64", "/usr/lib/wine/wineserver64", "wineserver")
_UCRTBASE = (
    "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/ucrtbase.dll",
    "/usr/lib64/wine/x86_64-windows/ucrtbase.dll",
    "/usr/lib/wine/x86_64-windows/ucrtbase.dll",
    "/opt/wine-stable/lib64/wine/x86_64-windows/ucrtbase.dll",
    "/opt/wine-stable/lib/wine/x86_64-windows/ucrtbase.dll",
)
_CREATION_TIMEOUT = 300.0
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_END_TIMEOUT = 20.0
# Raise it when the prefix is made in another way.
_FORMAT = 1

# Complex numbers' parts: what NumPy 2.2 and later calls, and Wine 8 leaves out. A 16-byte
# structure comes by its address in rcx, an 8-byte one in rcx itself; the result goes to xmm0.
_COMPLEX = {
    "creal": bytes.fromhex("F20F1001 C3"),  # movsd xmm0, [rcx]; ret
    "cimag": bytes.fromhex("F20F104108 C3"),  # movsd xmm0, [rcx+8]; ret
    "crealf": bytes.fromhex("660F6EC1 C3"),  # movd xmm0, ecx; ret
    "cimagf": bytes.fromhex("48C1E920 660F6EC1 C3"),  # shr rcx, 32; movd xmm0, ecx; ret
}
_OVERRIDES = "ucrtbase=n,b;mscoree=;mshtml=;winemenubuilder.exe="


@dataclass(frozen=True, kw_only=True, slots=True)
class Wine:
    """An installed Wine and the prefix that is ours."""

    program: str
    server: str
    prefix: Path

    @property
    def launcher(self) -> tuple[str, ...]:
        """What a Windows program is run by."""
        return (self.program,)

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a Windows program in the prefix, whole."""
        return _environment(self.prefix, self.server)


def find_wine(cache: Cache) -> Wine:
    """Return the Wine of this machine; its prefix may yet have to be made.

    Raises ToolError with the command that installs it.
    """
    program, server = _first(_PROGRAMS), _first(_SERVERS)
    if program is None or server is None:
        raise ToolError("Wine is not installed", code="tool-missing", hint=HINT)
    version = run([program, "--version"], timeout=60, env=_bare()).output.strip()
    key = "\n".join((str(_FORMAT), program, version, _stamp(_builtin_ucrtbase())))
    name = f"prefix-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return Wine(program=program, server=server, prefix=cache.folder("wine") / name)


def windows_path(path: Path) -> PureWindowsPath:
    """Return what `path` of this machine is called in Wine."""
    return PureWindowsPath("Z:/", *path.absolute().parts[1:])


@contextlib.contextmanager
def wine_session(cache: Cache, progress: Progress) -> Iterator[Wine]:
    """Give a Wine that is ready to run programs; afterwards nothing of it is left running.

    The prefix is shared: what other sessions run goes on, and the last one to end ends Wine.
    """
    wine = find_wine(cache)
    sessions = cache.folder("wine") / f"{wine.prefix.name}-sessions"
    sessions.mkdir(exist_ok=True)
    with cache.lock(f"wine {wine.prefix}", progress):
        if not _others(sessions):
            # What still runs there was left by a repack that was killed.
            _end(wine)
        if not wine.prefix.is_dir():
            _make_prefix(wine, progress)
        own = filelock.FileLock(sessions / f"{os.getpid()}-{secrets.token_hex(6)}")
        own.acquire()
    try:
        # Wine ends its services after each program and starts them before the next, which takes
        # a second and more; beside a program that waits, a start takes a tenth.
        with kept_running([wine.program, "cmd.exe"], env=wine.env):
            yield wine
    finally:
        with cache.lock(f"wine {wine.prefix}", progress):
            own.release()
            Path(own.lock_file).unlink(missing_ok=True)
            if not _others(sessions):
                _end(wine)


def _others(sessions: Path) -> bool:
    """Return whether any session is alive; the leftovers of dead ones are removed."""
    alive = False
    for path in sessions.iterdir():
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            alive = True
        else:
            lock.release()
            path.unlink(missing_ok=True)
    return alive


def _end(wine: Wine) -> None:
    """End everything that runs in the prefix, and wait until it has ended."""
    if not wine.prefix.is_dir():
        return
    for option in ("-k", "-w"):
        run([wine.server, option], timeout=_END_TIMEOUT, env=wine.env)
    # A program that was about to start has met a server that ended: it would wait for ever.
    for pid in processes_in(wine.prefix):
        _log.debug("ends process %d, left in %s", pid, wine.prefix)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, _KILL)


def processes_in(prefix: Path) -> tuple[int, ...]:
    """Return the numbers of the processes that were started with this prefix, on Linux."""
    wanted = f"WINEPREFIX={prefix}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return tuple(sorted(found))


def _make_prefix(wine: Wine, progress: Progress) -> None:
    """Make the prefix beside its place and rename it, so that it is whole or not there."""
    folder = wine.prefix.parent
    sweep(folder)
    with (
        workspace(folder) as place,
        progress.task("Preparing Wine (once)", total=3, unit="steps") as task,
    ):
        temporary = place / "prefix"
        env = _environment(temporary, wine.server)
        try:
            for words in (("wineboot", "-i"), ("winecfg", "-v", "win10")):
                _run_tool(wine, words, env)
                task.advance(1)
            # The registry is written when the server ends.
            run([wine.server, "-w"], timeout=_CREATION_TIMEOUT, env=env)
            _complete_runtime(temporary / "drive_c" / "windows" / "system32")
            # Otherwise Wine would put its own files back one day.
            (temporary / ".update-timestamp").write_text("disable\n", encoding="ascii")
            replace(temporary, wine.prefix)
            task.advance(1)
        finally:
            if temporary.exists():
                run([wine.server, "-k"], timeout=_END_TIMEOUT, env=env)


def _run_tool(wine: Wine, words: tuple[str, ...], env: Mapping[str, str]) -> None:
    done = run([wine.program, *words], timeout=_CREATION_TIMEOUT, env=env)
    if done.returncode or done.timed_out:
        said = done.output.strip().splitlines()
        how = "did not end" if done.timed_out else f"failed with exit code {done.returncode}"
        raise ToolError(
            f"{' '.join(words)} {how}: {said[-1] if said else 'it said nothing'}",
            code="wine",
            file=wine.program,
            hint=f"reinstall Wine: {HINT}",
        )


def _complete_runtime(system32: Path) -> None:
    """Give the C run-time of Wine the functions it lacks, by a forwarder before it."""
    builtin = _builtin_ucrtbase()
    exports = read_exports(builtin)
    forwards = {name: f"ucrtbase_wine.{name}" for name in exports if name not in _COMPLEX}
    shutil.copyfile(builtin, system32 / "ucrtbase_wine.dll")
    wrapper = system32 / "ucrtbase.dll"
    wrapper.unlink(missing_ok=True)
    wrapper.write_bytes(make_dll("ucrtbase.dll", forwards=forwards, code=_COMPLEX))


def _builtin_ucrtbase() -> Path:
    for name in _UCRTBASE:
        if Path(name).is_file():
            return Path(name)
    raise ToolError(
        "Wine's 64-bit ucrtbase.dll is nowhere to be found", code="tool-missing", hint=HINT
    )


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _first(programs: tuple[str, ...]) -> str | None:
    return next((found for name in programs if (found := shutil.which(name))), None)


def _bare() -> dict[str, str]:
    """Return what a program needs of our environment, and nothing that would colour a test."""
    kept = ("HOME", "USER", "LOGNAME")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    # In the plain C locale Wine cannot name files beyond ASCII.
    return {**env, "PATH": os.defpath, "LC_ALL": "C.UTF-8"}


def _environment(prefix: Path, server: str) -> dict[str, str]:
    return {
        **_bare(),
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": _OVERRIDES,
        "WINESERVER": server,
    }
