"""The command line as a contract: help, JSON, exit codes, what goes to which stream."""

import re
import shlex
import subprocess
import sys
from json import loads
from pathlib import Path

import pytest
from dllmaking import make_dll
from driving import REPACK, Repack, ended, everything, start
from wheelmaking import cuda_wheel, make_pyd, make_wheel

from repack.cli import SHELLS, VARIABLES, make_parser
from repack.config import FileSource, ReleaseSource, load, parse_override

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
SHIPPED = Path(__file__).parents[1] / "repack.toml"
TAG = "cp37-abi3-win_amd64"
CU129 = NAME.replace("-cp37", "+cu129-cp37")


def test_help_of_a_command_ends_well_and_shows_only_what_can_be_typed(repack: Repack) -> None:
    commands = re.findall(r"^    ([a-z]+)", repack("--help").out, re.MULTILINE)
    assert "build" in commands
    for command in commands:
        ran = repack(command, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert "Exit code: 0 done, 1 bad input or a failed check, 2 usage, 130" in ran.out
        assert all(word in ran.out for word in (*VARIABLES, "--json", "-q", "-v"))
        lines = re.findall(r"^  repack (.+?)(?: >.*)?$", ran.out, re.MULTILINE)
        assert lines
        for line in lines:
            options = make_parser().parse_args(shlex.split(line))
            assert options.command == command
            for override in getattr(options, "overrides", []):
                parse_override(override)


#: A command line, and what its last line on stderr tells.
WRONG = {
    "": "required: COMMAND",
    "build --set build.emmit=x": "did you mean build.emit?",
    "build --set build.patches=[3": "build.patches is not TOML: ",
    "build": "no source is named: give --source",
    "init --release name": 'source.release takes "owner/name"',
    "build x.whl": "give a wheel by --source; builds are [[build]] tables",
    "smoke x.whl --env NAME": "not NAME=VALUE",
    "publish --yank 1.0 dist": "DIST and the options of uploads do not go with",
    "publish --check no-url": "--check takes a URL",
    "inspect https://me:pw@h/x.whl": "WHEEL: a URL is not a file or folder; `repack fetch",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(line: str, repack: Repack) -> None:
    ran = repack(*shlex.split(line))
    assert (ran.code, ran.out) == (2, "")
    assert WRONG[line] in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    assert everything(repack.folder) == {}


BUILD = ("build", "--no-smoke", "--python", "3.12", "--source")


@pytest.mark.parametrize("words", [BUILD, ("fetch", "--source"), ("inspect",)], ids=lambda w: w[0])
def test_stdout_has_the_result_alone_as_json_one_object_after_an_error_too(
    words: tuple[str, ...], repack: Repack, source: Path
) -> None:
    loud, quiet = repack(*words, source), repack(*words, source, "-q")
    assert (loud.code, quiet.code, quiet.err) == (0, 0, "")
    assert loud.err
    assert quiet.out
    answer = repack(*words, source, "--json", "-v")
    assert (answer.code, answer.json["version"], answer.out.isascii()) == (0, 1, True)
    failed = repack(*words, "absent/x-1.0-cp37-abi3-win_amd64.whl", "--json")
    assert (failed.code, failed.json["version"]) == (1, 1)
    (error,) = failed.json.get("errors") or [failed.json["error"]]
    assert error["message"] == failed.error


@pytest.mark.parametrize(("wheels", "json"), [(1, []), (200, ["--json"])], ids=["text", "JSON"])
def test_a_reader_that_goes_away_before_it_or_in_its_midst_ends_it_without_a_trace(
    wheels: int, json: list[str], source: Path
) -> None:
    # Without a buffer Python takes a part written for the whole, and meets no broken pipe.
    words = ["inspect", "-q", *json, *[source] * wheels]
    with start(words, env={"PYTHONUNBUFFERED": ""}) as process:
        assert process.stdout
        process.stdout.read(10 * (wheels > 1))
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full is of Linux")
@pytest.mark.parametrize(
    ("redirection", "code"),
    [("> /dev/full", 1), ("--json > /dev/full", 1), ("2> /dev/full", 0), (">&-", 0), ("2>&-", 0)],
)
def test_a_stream_that_takes_nothing_or_is_closed_ends_it_without_a_trace(
    redirection: str, code: int, source: Path
) -> None:
    line = f"unset PYTHONUNBUFFERED; {shlex.join([str(REPACK), 'inspect', str(source)])}"
    command = ["bash", "-c", f"{line} {redirection}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Error" in done.stderr) == (code, False), done.stderr


def test_a_stream_that_lacks_a_letter_shows_it_escaped(repack: Repack) -> None:
    folder = repack.folder / "尺寸😀"
    folder.mkdir()
    words = ("fetch", "-q", "--source", cuda_wheel(folder))
    narrow = {"PYTHONIOENCODING": "cp1252:surrogateescape"}
    ran = ended(start(words, env=narrow))
    assert (ran.code, ran.err) == (0, "")
    assert r"\u5c3a\u5bf8" in ran.out
    assert ended(start([*words, "--json"], env=narrow)).json["path"] == str(words[-1])


def test_inspect_tells_of_those_it_can_and_findings_end_it_with_1_where_it_is_strict(
    repack: Repack, source: Path
) -> None:
    cut = repack.folder / NAME
    cut.write_bytes(source.read_bytes()[:-50])
    ran = repack("inspect", "-q", cut, source)
    assert (ran.code, ran.out.splitlines()[0]) == (1, NAME)
    assert ran.error.startswith(f"{cut}: ")
    assert repack("inspect", "-q", "--strict", source).code == 0
    plain = make_wheel(source, {"cv2/__init__.py": b"", "cv2/cv2.pyd": make_pyd()})
    assert repack("inspect", "-q", "--strict", plain).code == 1
    ran = repack("inspect", "-q", plain)
    assert (ran.code, "not-cuda" in ran.out) == (0, True)


def test_dry_run_tells_the_plan(repack: Repack, source: Path) -> None:
    pythons = ("--python=3.12", "3.14t")
    ran = repack("build", "--dry-run", "--no-smoke", "-q", "--source", source, *pythons)
    lines = ran.out.splitlines()
    wheel = "opencv_contrib_python-4.13.0.90+cu12.patched-cp312-cp312-win_amd64.whl"
    assert re.fullmatch(rf"{re.escape(wheel)}  for 3.12  \d+\.\d MB", lines[0])
    assert lines[1:3] == ["  1 members copied as they lie", "  write cv2/__init__.py"]
    assert lines[-1].startswith("no wheel for 3.14t: its binary imports python3.dll")
    assert everything(repack.folder) == {}


def test_the_table_of_a_build_has_a_line_for_each_python_and_each_reason_once(
    repack: Repack, source: Path
) -> None:
    pythons = ("--python", "3.12", "3.13,3.14t")
    ran = repack("build", "--no-smoke", "-q", "--source", source, *pythons)
    title, _, *rows = ran.out.splitlines()
    assert title == f"{NAME} -> {repack.folder / 'dist'}"
    assert [row.split()[0] for row in rows[:3]] == ["3.12", "3.13", "3.14t"]
    assert rows[0].count("not run ") == 2
    assert rows[3] == "not run on 3.12, 3.13: the smoke test is switched off"
    assert rows[4].startswith("no wheel for 3.14t: its binary imports python3.dll")
    assert rows[-1].startswith("next: `repack report` makes a page of it, `repack publish`")
    again = repack("build", "--no-smoke", "-q", "--source", source, *pythons).out
    assert again.splitlines()[2].endswith("-cp312-cp312-win_amd64.whl (unchanged)")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    imports = {"opencv_core.dll": ["f"], "KERNEL32.dll": ["g"], "nvcuda.dll": ["h"]}
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd(imports, delay_imports={"cufft64_11.dll": ["i"]}),
        "cv2/opencv_core.dll": make_dll("opencv_core.dll", imports={"nppc64_12.dll": ["j"]}),
        "cv2_early.pth": b"import os\n",
    }
    return make_wheel(tmp_path / CU129, files, requires=["numpy>=2"])


def test_json_of_a_build_is_its_record_with_full_paths_and_that_of_inspect_has_its_words(
    wheel: Path, repack: Repack
) -> None:
    words = ("--set", "allow.startup-hook=true", "--python", "3.9")
    answer = repack("build", "--no-smoke", "--json", "--source", wheel, *words).json
    record = loads((repack.folder / "dist" / "build.json").read_bytes())
    (made,) = record["wheels"]
    made["path"] = str(repack.folder / "dist" / made["path"])
    assert answer == answer | record | {"version": 1}
    (inspected,) = repack("inspect", "--json", wheel).json["wheels"]
    assert inspected["needs"] == record["needs"]
    assert {finding["code"] for finding in inspected["findings"]} == {"startup-hook"}
    assert (inspected["tags"], inspected["native"]) == ([TAG], ["cv2/cv2.pyd"])


def test_lines_of_inspect_say_what_it_is_and_what_it_needs_from_whom(
    wheel: Path, repack: Repack
) -> None:
    assert repack("inspect", "-q", wheel).out.splitlines()[:-1] == [
        CU129,
        f"  opencv-contrib-python 4.13.0.90+cu129 for {TAG}, CUDA 12.9, NumPy ABI unknown",
        "  needs cufft64_11.dll by delay-load (cufft), for cv2/cv2.pyd",
        "  needs nppc64_12.dll at load time (npp), for cv2/opencv_core.dll",
        "  needs nvcuda.dll at load time (driver), for cv2/cv2.pyd",
        "  in the wheel: opencv_core.dll",
        "  python: python3.dll",
        "  windows: KERNEL32.dll",
    ]


# `repack init`


def test_the_file_of_init_is_the_one_that_repack_is_shipped_with_and_is_left_alone(
    repack: Repack,
) -> None:
    path = repack.folder / "repack.toml"
    assert (repack("init").code, path.read_bytes()) == (0, SHIPPED.read_bytes())
    path.write_text("mine", encoding="utf-8")
    ran = repack("init")
    assert (ran.code, "repack.toml: is there already [exists]; " in ran.error) == (1, True)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_source_that_init_names_is_the_one_of_the_file(repack: Repack) -> None:
    assert repack("init", "--release", "owner/name").code == 0
    text = (repack.folder / "repack.toml").read_text(encoding="utf-8")
    assert load(repack.folder / "repack.toml").source == ReleaseSource("owner/name")
    assert "sample" not in text.lower()
    (repack.folder / "team").mkdir()
    path = repack.folder / "team" / "repack.toml"
    ran = repack("init", "--json", "--config", path, "--file", f"in/{NAME}")
    assert ran.json == {"version": 1, "path": str(path)}
    wheel = FileSource(repack.folder / "in" / NAME, pinned_as=f"../in/{NAME}")
    assert load(path).source == wheel


# Completion


def test_a_shell_that_asks_is_told_how_a_line_goes_on(repack: Repack) -> None:
    for shell in SHELLS:
        assert "_ARGCOMPLETE" in repack("completion", shell).out
    line, answer = "repack build --mode ", repack.folder / "answer"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    told = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    assert ended(start([], env={**asked, **told})).code == 0
    assert answer.read_text(encoding="utf-8").split() == ["patch", "depend", "vendor"]
