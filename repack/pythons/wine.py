"""Wine: a prefix that is made once, and a copy of it for each command."""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from repack.dlls.pe import read_image
from repack.dlls.writing import make_dll
from repack.errors import ToolError
from repack.fetch.cache import Cache
from repack.files import workspace
from repack.process import run

_HINT = "apt-get install -y --no-install-recommends wine64 wine"
# Debian's wine64 is not on PATH; its `wine` on PATH is a script that asks for a 32-bit Wine too.
_PROGRAMS = ("wine64", "/usr/lib/wine/wine64", "/usr/lib/wine-stable/wine64", "wine")
_SERVERS = ("wineserver64", "/usr/lib/wine/wineserver64", "wineserver")
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


class Wine(contextlib.ExitStack):
    """The Wine of this machine, for the length of a `with` block; started where it is needed.

    At the end all that runs in its prefix is ended, and the prefix is gone. Raises ToolError with
    the command that installs it where there is none.
    """

    def __init__(self, cache: Cache) -> None:
        """Look for it; `version` tells one from another, and one way to make a prefix too."""
        super().__init__()
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        server = next(filter(None, map(shutil.which, _SERVERS)), None)
        if program is None or server is None:
            hint = f"on x86-64 Linux {_HINT}; elsewhere run `repack smoke` on Windows"
            raise ToolError("Wine is not installed", code="tool-missing", hint=hint)
        self.program, self._server = program, server
        self._cache = cache
        version = run([program, "--version"], timeout=_TIMEOUT).output.strip()
        self.version = hashlib.sha256(f"{_FORMAT} {program} {version}".encode()).hexdigest()[:16]

    @functools.cached_property
    def env(self) -> Mapping[str, str]:
        """The environment of Windows programs in a prefix of its own, once Wine runs.

        Raises ToolError where it does not start.
        """
        base = self._cache.root / "wine" / f"prefix-{self.version}"
        self._cache.make_once(base, self._fill_prefix)
        prefix = self.enter_context(workspace(self._cache.folder("wine"))) / "prefix"
        copy_prefix(base, prefix)
        env = self.environment(prefix)
        self._start_services(env)
        return env

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
            "WINESERVER": self._server,
        }

    def _start_services(self, env: Mapping[str, str]) -> None:
        """Start Wine's services, and what keeps them until the end of the block.

        Wine starts them with the first program, before that begins, and ends them with the last.
        Two that are first at once wait for minutes. One that waits for its input keeps them; it
        ends with us, however we end. Raises ToolError where they do not start.
        """
        keeper = subprocess.Popen(
            [self.program, "cmd.exe", "/q", "/k", "echo ready"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.enter_context(keeper)
        self.callback(keeper.kill)
        self.callback(end_programs, env)
        limit = threading.Timer(_TIMEOUT, keeper.kill)
        limit.start()
        try:
            is_ready = keeper.stdout is not None and keeper.stdout.readline()
        finally:
            limit.cancel()
        if not is_ready:
            raise ToolError("Wine does not start", code="wine", hint=f"reinstall it: {_HINT}")

    def _fill_prefix(self, prefix: Path) -> None:
        """Make a prefix in the empty folder `prefix`."""
        env = self.environment(prefix)
        with self._cache.progress.task("Preparing Wine (once)", unit="steps"):
            try:
                for words in (("wineboot", "-i"), ("winecfg", "-v", "win10")):
                    done = run([self.program, *words], timeout=_TIMEOUT, env=env)
                    if done.returncode:
                        what = f"{words[0]} ends with exit code {done.returncode}"
                        raise ToolError(what, code="wine", hint=f"reinstall it: {_HINT}")
                # The registry is written when the server ends.
                run([self._server, "-w"], timeout=_TIMEOUT, env=env)
            finally:
                end_programs(env)
        _complete_runtime(prefix / "drive_c" / "windows" / "system32")
        # Otherwise Wine would put its own files back one day.
        (prefix / ".update-timestamp").write_text("disable\n", encoding="ascii")


def end_programs(env: Mapping[str, str]) -> None:
    """End all that runs in the prefix of `env`, and what Debian's Wine keeps for it in /tmp."""
    run([env["WINESERVER"], "-k"], timeout=_TIMEOUT, env=env)
    with contextlib.suppress(OSError):
        sockets = (Path(env["WINEPREFIX"]) / "wineserver").read_text(encoding="ascii")
        shutil.rmtree(Path("/tmp") / sockets)  # noqa: S108 - where that Wine has them


def windows_path(path: Path) -> PureWindowsPath:
    """Return what `path` of this machine is called in Wine."""
    return PureWindowsPath("Z:/", *path.absolute().parts[1:])


def local_path(name: str, prefix: Path) -> Path:
    """Return where the path `name` of a Wine prefix is on this machine, in whatever case."""
    drive, *parts = PureWindowsPath(name).parts
    place = (prefix / "dosdevices" / drive[:2].lower()).resolve()
    for part in parts:
        others = () if (place / part).exists() or not place.is_dir() else place.iterdir()
        same = (path for path in others if path.name.lower() == part.lower())
        place = next(same, place / part)
    return place


def copy_prefix(base: Path, prefix: Path) -> None:
    """Make a copy of a prefix, by hard links where the disk has them; a server may run in it."""
    # A server that runs writes its registry as reg*.tmp, which are renamed at any time.
    passing = shutil.ignore_patterns("wineserver", "reg*.tmp")
    shutil.copytree(base, prefix, symlinks=True, copy_function=_link, ignore=passing)
    for name in _REGISTRY:
        (prefix / name).unlink()
        shutil.copyfile(base / name, prefix / name)


def _link(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def _complete_runtime(system32: Path) -> None:
    """Give the C run-time of Wine the functions it lacks, by a forwarder before it."""
    forwarder = system32 / "ucrtbase.dll"
    builtin = forwarder.rename(system32 / "ucrtbase_wine.dll")
    names = [name for name in read_image(builtin).exports if name not in _COMPLEX]
    forwards = {name: f"ucrtbase_wine.{name}" for name in names}
    forwarder.write_bytes(make_dll("ucrtbase.dll", forwards=forwards, code=_COMPLEX))
