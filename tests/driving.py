"""Runs `repack` as its user does, and holds what it said, how it ended and what it left."""

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repack.cli import main

REPACK = Path(sysconfig.get_path("scripts")) / "repack"
ERROR = "repack: error: "


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever a command prints
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what is wrong, without its beginning."""
        lines = [line for line in self.err.splitlines() if line.startswith(ERROR)]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert "None" not in lines[0]
        return lines[0].removeprefix(ERROR)


class Repack:
    """`repack`, in this process, in a folder and with a cache of its own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        self.cache = folder / "cache"
        self._capsys = capsys
        monkeypatch.setenv("REPACK_CACHE", str(self.cache))
        for name in ("SOURCE_DATE_EPOCH", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(self.folder)

    def __call__(self, *arguments: object) -> Ran:
        """Return how the command line ended."""
        self._capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        return Ran(code=code, out=out, err=err)


def start(
    arguments: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    **settings: Any,  # noqa: ANN401 - of Popen
) -> subprocess.Popen[str]:
    """Return the console script, running."""
    return subprocess.Popen(
        [REPACK, *map(str, arguments)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **settings,
    )


def ended(process: subprocess.Popen[str]) -> Ran:
    """Return how the process ended."""
    out, err = process.communicate()
    return Ran(code=process.returncode, out=out, err=err)


def repack(*words: str | Path, cwd: Path, codes: Sequence[int] = (0,)) -> dict[str, Any]:
    """Return the JSON object of the console script, which ends with one of `codes`."""
    ran = ended(start([*words, "--json"], cwd=cwd))
    assert ran.code in codes, f"{ran.code}: {ran.err}"
    answer: dict[str, Any] = ran.json
    return answer


def trials(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return by Python what the untouched wheel and the fixed one did, `before` and `after`."""
    return {seen["python"]: seen for wheel in answer["wheels"] for seen in wheel["seen"]}


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return the content of every file under the folder, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
