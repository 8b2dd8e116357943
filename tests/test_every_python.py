"""The same input gives the same bytes, whichever Python runs `repack`."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from wheelmaking import cuda_wheel

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
ROOT = Path(__file__).parent.parent
UV = Path(sysconfig.get_path("scripts")) / "uv"
SUPPORTED = range(11, 15)


def pythons() -> list[Path]:
    """Return one CPython of each supported version on this machine, but for our own."""
    listing = subprocess.run(
        [UV, "python", "list", "--only-installed", "--output-format", "json", "--no-config"],
        capture_output=True,
        check=True,
    )
    minors = {
        python["version_parts"]["minor"]: Path(python["path"])
        for python in json.loads(listing.stdout)
        if (python["implementation"], python["variant"]) == ("cpython", "default")
    }
    return [
        minors[minor] for minor in SUPPORTED if minor in minors and minor != sys.version_info[1]
    ]


def test_every_python_at_hand_gives_the_same_bytes(tmp_path: Path) -> None:
    source = cuda_wheel(tmp_path)
    programs = [Path(sysconfig.get_path("scripts")) / "repack"]
    for number, python in enumerate(pythons()):
        environment = tmp_path / f"venv{number}"
        subprocess.run([UV, "venv", "-q", "--python", python, environment], check=True)
        scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
        install: list[str | Path] = [UV, "pip", "install", "-q", "--python", scripts / "python"]
        subprocess.run([*install, ROOT], check=True)
        programs.append(scripts / "repack")
    digests = set()
    for number, program in enumerate(programs):
        answer = subprocess.run(
            [program, "build", "--json", "-q", "--no-smoke", "--source", source],
            cwd=tmp_path,
            env={**os.environ, "REPACK_CACHE": str(tmp_path / f"cache{number}")},
            capture_output=True,
            check=True,
        )
        digests.add(tuple(wheel["sha256"] for wheel in json.loads(answer.stdout)["wheels"]))
    assert len(digests) == 1
