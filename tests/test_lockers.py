"""Poetry, PDM and uv lock a project that pins a version that repack emitted (REPORTS B1)."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import repack
from publishing import Negotiating, served
from uv import find_uv_bin
from wheelmaking import cuda_wheel

pytestmark = pytest.mark.network

VERSION = "4.13.0.90+cu12.patched"
PROJECT = """\
[project]
name = "theirs"
version = "1"
requires-python = ">=3.11,<3.15"
dependencies = ["opencv-contrib-python=={version}"]
authors = [{{ name = "A Team", email = "team@example.com" }}]

[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "team"
url = "{url}"
priority = "primary"

[[tool.pdm.source]]
name = "pypi"
url = "{url}"
"""
#: What uv is told; PDM names the versions of others that it was tested with.
LOCKERS = {
    "poetry": ["tool", "run", "poetry"],
    "pdm": ["tool", "run", "--from", "pdm[locked]", "pdm"],
    "uv": ["--no-config"],
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a static index where the emitted wheels were published."""
    place = tmp_path_factory.mktemp("lockers")
    source = cuda_wheel(place, requires=[])
    repack("build", "--source", source, "--no-smoke", cwd=place)
    repack("publish", "dist", "--index-dir", "index", cwd=place)
    with served(place / "index", Negotiating) as url:
        yield url


@pytest.mark.parametrize("tool", LOCKERS)
def test_a_project_that_pins_the_emitted_version_is_locked(
    tool: str, index: str, tmp_path: Path
) -> None:
    project = tmp_path / "theirs"
    project.mkdir()
    text = PROJECT.format(version=VERSION, url=index)
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    env = os.environ | {
        "NO_PROXY": "127.0.0.1",
        "PDM_CACHE_DIR": str(tmp_path / "cache"),
        "POETRY_CACHE_DIR": str(tmp_path / "cache"),
        "POETRY_VIRTUALENVS_CREATE": "false",
    }
    if tool == "uv":
        env |= {"UV_DEFAULT_INDEX": index, "UV_INDEX": ""}
    command = [find_uv_bin(), *LOCKERS[tool], "lock"]
    done = subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    locked = (project / f"{tool}.lock").read_text(encoding="utf-8")
    packages = {(it["name"], it["version"]) for it in tomllib.loads(locked)["package"]}
    assert ("opencv-contrib-python", VERSION) in packages
    tags = set(re.findall(r"patched-(cp\d+)-cp\d+-win_amd64\.whl", locked.replace("%2B", "+")))
    assert tags >= {"cp311", "cp312", "cp313", "cp314"}
