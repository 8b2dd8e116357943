"""The package indexes that teams run, genuine and on loopback: pypiserver and devpi.

Both let nobody overwrite a file, ask for a password where something is uploaded, and stand behind
a server that notes what is asked of them.
"""

import base64
import contextlib
import hashlib
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from faultserver import PassingServer

from repack.console import SILENT
from repack.fetch.cache import Cache

USER, SECRET = "team", "s3cret-of-the-team"
_DEVPI = "6.20.3"
#: A server's password is worth many seconds of a processor at each start, a test's is not.
_CHEAP_HASHES = [
    *("--argon2-memory-cost", "8192"),
    *("--argon2-time-cost", "1"),
    *("--argon2-parallelism", "1"),
]
_LONGEST_START = 60.0


@dataclass(frozen=True, kw_only=True)
class IndexServer:
    """A running index: where twine uploads to, where pip installs from, what it was asked."""

    upload: str
    simple: str
    recording: PassingServer

    @property
    def posts(self) -> int:
        return self.recording.count("POST")


@contextlib.contextmanager
def pypiserver(folder: Path) -> Iterator[IndexServer]:
    """A pypiserver; its pages tell the MD5 of each file, and no other hash."""
    digest = base64.b64encode(hashlib.sha1(SECRET.encode()).digest()).decode()  # noqa: S324 - htpasswd's form
    users = folder / "htpasswd"
    users.write_text(f"{USER}:{{SHA}}{digest}\n", encoding="utf-8")
    packages = folder / "packages"
    packages.mkdir()
    port = free_port()
    program = [sys.executable, "-W", "ignore", "-m", "pypiserver", "run"]
    where = ["-p", str(port), "-i", "127.0.0.1", "-P", str(users), "-a", "update", str(packages)]
    with (
        started([*program, "--hash-algo", "md5", *where], [port], folder / "log"),
        PassingServer(port) as recording,
    ):
        root = recording.url("/")
        yield IndexServer(upload=root, simple=f"{root}simple/", recording=recording)


@contextlib.contextmanager
def devpi(folder: Path) -> Iterator[IndexServer]:
    """A devpi with one index that is not volatile and has no other beneath it."""
    programs = _devpi_programs()
    data = ["--serverdir", str(folder / "data")]
    made = [str(programs / "devpi-init"), *data, "--no-root-pypi"]
    subprocess.run(made, check=True, timeout=_LONGEST_START, capture_output=True)
    port = free_port()
    command = [str(programs / "devpi-server"), *data, "--host", "127.0.0.1", "--port", str(port)]
    command += _CHEAP_HASHES
    with started(command, [port], folder / "log"), PassingServer(port) as recording:
        root = f"http://127.0.0.1:{port}/{USER}"
        _put(root, {"password": SECRET})
        stage = {"type": "stage", "bases": [], "volatile": False}
        _put(f"{root}/stable", stage, (USER, SECRET))
        place = recording.url(f"/{USER}/stable/")
        yield IndexServer(upload=place, simple=f"{place}+simple/", recording=recording)


def _put(url: str, document: object, login: tuple[str, str] | None = None) -> None:
    with requests.Session() as session:
        session.trust_env = False  # no proxy of this machine is asked
        session.put(url, json=document, auth=login, timeout=30).raise_for_status()


def _devpi_programs() -> Path:
    """Return where devpi's programs are, in repack's cache; the first call installs them.

    In an environment of its own: what it stands on is older than what the tests need.
    """
    cache = Cache.default()
    place = cache.folder("tests") / f"devpi-{_DEVPI}-{sys.implementation.cache_tag}"
    whole = place / "installed"
    with cache.lock(place.name, SILENT):
        if not whole.is_file():
            shutil.rmtree(place, ignore_errors=True)
            venv.create(place, with_pip=False)
            pip = [sys.executable, "-m", "pip", f"--python={_scripts(place) / 'python'}"]
            install = [*pip, "install", "--quiet", f"devpi-server=={_DEVPI}"]
            subprocess.run(install, check=True, timeout=400)
            whole.touch()
    return _scripts(place)


def _scripts(place: Path) -> Path:
    return place / ("Scripts" if sys.platform == "win32" else "bin")


@contextlib.contextmanager
def started(command: list[str], ports: Sequence[int], log: Path) -> Iterator[None]:
    """Run a server until the block ends; it listens at its ports when the block begins."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + _LONGEST_START
        while not all(map(_listens, ports)):
            printed = log.read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, printed
            assert time.monotonic() < end, printed
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
