"""Completion in a shell: the script, and what repack answers to the shell that sourced it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import REPACK, repack

from repack.cli.completion import SHELLS
from repack.cli.parser import make_parser

#: What bash does when the tab key is pressed at the end of a line.
TAB = """
source "$1"
COMP_LINE="$2" COMP_POINT=${#2} COMP_TYPE=9
read -ra COMP_WORDS <<< "$2"
[[ "$2" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete repack
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="bash of Windows is another system")
@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        pytest.param("repack ", {"build", "inspect", "completion"}, {"--json"}, id="commands"),
        pytest.param("repack bu", {"build"}, {"inspect"}, id="part of a command"),
        pytest.param("repack build --dr", {"--driver-stub", "--dry-run"}, {"--json"}, id="options"),
        pytest.param("repack build --mode ", {"patch", "vendor"}, set[str](), id="choices"),
        pytest.param("repack build --python 3.1", {"3.10", "3.14"}, set[str](), id="Pythons"),
        pytest.param("repack build --set smoke.", {"smoke.timeout="}, {"build.out="}, id="keys"),
        pytest.param("repack inspect a", {"a.whl", "a b.whl"}, {"b.whl"}, id="files"),
    ],
)
def test_bash_completes(
    line: str, offered: set[str], not_offered: set[str], tmp_path: Path
) -> None:
    for name in ("a.whl", "a b.whl", "b.whl"):
        (tmp_path / name).touch()
    script = tmp_path / "script"
    script.write_text(repack("completion", "bash", cwd=tmp_path)["script"], encoding="utf-8")
    done = subprocess.run(
        ["bash", "-eu", "-c", TAB, "bash", str(script), line],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{REPACK.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    answers = {each.replace("\\ ", " ").strip() for each in done.stdout.splitlines()}
    assert offered <= answers, done.stderr
    assert not not_offered & answers


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_asks_repack(shell: str, tmp_path: Path) -> None:
    script = repack("completion", shell, cwd=tmp_path)["script"]
    assert "_ARGCOMPLETE" in script
    assert "repack" in script


def test_who_does_not_complete_imports_nothing_for_it() -> None:
    code = "import sys, repack.cli; print([n for n in sys.modules if n.startswith('argcomplete')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert make_parser().prog == "repack"
