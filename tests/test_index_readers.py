"""The index in the hands of pip and uv: over HTTP, as HTML and as JSON, and from a file share."""

import hashlib
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from publishing import ENVIRONMENT, PROJECT, Negotiating, Plain, served, tiny

from repack.cli import main

UV = str(Path(sysconfig.get_path("scripts")) / "uv")
PIP = (*(sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir"), "--no-deps")
TOOLS = {
    "pip": (*PIP, "--disable-pip-version-check"),
    "uv": (UV, "pip", "install", "--no-config", "--no-cache", "--python", sys.executable),
}
VERSION = "1.1+cu126.patched"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with a version, one that is yanked, and one for no Python of today."""
    place = tmp_path_factory.mktemp("index")
    tiny(place / "dist", VERSION, "Requires-Python: >=3.8")
    tiny(place / "dist", "1.2")
    tiny(place / "dist", "1.3", "Requires-Python: >=4")
    to = ("--index-dir", str(place / "simple"))
    assert main(["publish", str(place / "dist"), *to]) == 0
    assert main(["publish", *to, "--yank", "1.2", "--reason", '"<too> slow & old"']) == 0
    return place / "simple"


@pytest.fixture(params=["html", "json", "file"])
def url(request: pytest.FixtureRequest, index: Path) -> Iterator[str]:
    """The index as it is read: by HTML, by JSON, and as files without a server."""
    handler = {"html": Plain, "json": Negotiating}.get(request.param)
    with served(index, handler) if handler else nullcontext(index.as_uri()) as base:
        yield base


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_pinned_is_installed_and_what_is_yanked_or_for_another_python_is_not_chosen(
    tool: str, url: str, index: Path, tmp_path: Path
) -> None:
    def install(number: int, *words: str | Path) -> tuple[str, str]:
        """Return what the tool says, and what it installed."""
        target = tmp_path / str(number)
        where = ("--index-url", f"{url}/", "--target", target)
        command = [str(word) for word in (*TOOLS[tool], *where, *words)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (info,) = target.glob("*.dist-info")
        return done.stderr, info.name

    (wheel,) = (index / PROJECT).glob(f"*-{VERSION}-*.whl")
    pins = tmp_path / "requirements.txt"
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins.write_text(f"{PROJECT}=={VERSION} --hash=sha256:{sha256}\n", encoding="utf-8")
    told, _ = install(1, f"{PROJECT}==1.2")
    assert '"<too> slow & old"' in told or tool == "uv"
    chosen = f"tiny_thing-{VERSION}.dist-info"
    assert install(2, PROJECT)[1] == install(3, "--require-hashes", "-r", pins)[1] == chosen
