"""Runs the installed `repack` as a user does, and reads what it prints."""

import json
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPACK = Path(sysconfig.get_path("scripts")) / "repack"


def repack(*words: str | Path, cwd: Path, codes: Sequence[int] = (0,)) -> dict[str, Any]:
    """Return the JSON object of a command that ends with one of `codes`."""
    command = [str(REPACK), *map(str, words), "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode in codes, f"{done.returncode}: {done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def smokes(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the smoke tests saw, by Python."""
    return {wheel["python"]: wheel["smoke"] for wheel in answer["wheels"]}
