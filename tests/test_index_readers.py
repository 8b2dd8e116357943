"""The index in the hands of pip and uv: over HTTP, as HTML and as JSON, and from a file share."""

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
def test_what_is_yanked_or_for_another_python_is_not_chosen(
    tool: str, url: str, tmp_path: Path
) -> None:
    for number, (requirement, version) in enumerate([("==1.2", "1.2"), ("", VERSION)]):
        target = tmp_path / str(number)
        where = ("--index-url", f"{url}/", "--target", str(target))
        command = [*TOOLS[tool], *where, f"{PROJECT}{requirement}"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (target / f"tiny_thing-{version}.dist-info").is_dir()
        assert '"<too> slow & old"' in done.stderr or tool == "uv" or not requirement
