"""What goes into a wheel: repack's own files, a team's files as they are, and unified diffs."""

import difflib
from pathlib import Path

import pytest
from driving import Repack
from loading import INIT, patch
from machines import table

from repack.errors import InputError, PatchError, RepackError
from repack.patching import BUILD_MODULE
from repack.patching.overlays import builtin_folder

MEMBER = "cv2/version.py"
LOADER = b"from .cv2 import *\n"
OLD = "one = 1\ntwo = 2\nthree = 3\nfour = 4\nfive = 5\nsix = 6\nseven = 7\n"
NEW = OLD.replace("four = 4\n", "four = 40\nmore = 5\n")
ADDED = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1,2 @@\n+x = 1\n+y = 2\n"


def diff(old: str, new: str, member: str = MEMBER) -> str:
    lines = (old.splitlines(keepends=True), new.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, f"a/{member}", f"b/{member}"))


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    (folder / "cv2").mkdir(parents=True)
    return folder


def lay(team: Path, text: str = "", content: str = "", member: str = MEMBER) -> dict[str, bytes]:
    """Return what a team's folder with the diff `text` makes of a wheel with that member."""
    if text:
        (team / "ours.patch").write_bytes(text.encode())
    files, _ = patch({INIT: LOADER, member: content.encode()}, folders=[team])
    return files


def test_our_files_and_a_teams_go_to_the_same_path_byte_for_byte(team: Path) -> None:
    (team / "cv2/__pycache__").mkdir()
    for name in ("README.md", ".gitkeep", "cv2/__pycache__/team.cpython-312.pyc"):
        (team / name).touch()
    (team / "cv2/team.txt").write_bytes(b"ours\r\n")
    files, _ = patch({INIT: LOADER}, folders=[team])
    own = {f"cv2/{path.name}": path for path in (builtin_folder() / "cv2").glob("*.py")}
    own["cv2/team.txt"] = team / "cv2/team.txt"
    assert files.keys() == {*own, INIT, BUILD_MODULE}
    assert all(files[member] == path.read_bytes() for member, path in own.items())


def test_a_file_that_the_wheel_has_is_replaced_and_that_is_told(
    team: Path, repack: Repack, source: Path
) -> None:
    (team / INIT).write_bytes(b"os.add_dll_directory('D:/cuda')\nimport cv2.cv2\n")
    options = ("--no-smoke", "--json", "--python", "3.12", "--set", f"build.patches=['{team}']")
    answer = repack("build", "--source", source, *options).json
    findings = [(finding["code"], finding["member"]) for finding in answer["findings"]]
    assert findings == [("replaced-file", INIT)]
    (change,) = (change for change in answer["changes"] if change["member"] == INIT)
    assert "+...\n" in change["diff"]
    assert "+    import cv2.cv2\n" in change["diff"]


def test_later_folders_and_diffs_come_over_what_stands_before(team: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "ours.patch").write_text(diff("first\n", "second\n", "cv2/team.txt"))
    (team / "cv2/team.txt").write_text("first\n")
    with pytest.raises(PatchError, match=r"ours\.patch.*no such member"):
        patch({INIT: LOADER}, folders=[other, team])
    assert patch({INIT: LOADER}, folders=[team, other])[0]["cv2/team.txt"] == b"second\n"
    (other / "CV2").mkdir()
    (other / "CV2/team.txt").touch()
    with pytest.raises(InputError, match="give your own file another name"):
        patch({INIT: LOADER}, folders=[team, other])


PLACE, OWN = "it cannot go into a wheel", "but not over repack's own"


@table(
    "name, text, reason",
    {
        "the installer's": ("cv2-4.dist-info/RECORD", "", PLACE),
        "out of the wheel by a diff": ("a.patch", ADDED.format("cv2/../../x"), "bad-path"),
        "ours": ("cv2/cuda_dlls.py", "", OWN),
        "no diff": ("a.patch", "hello\n", "names no file"),
        "a diff cut off": ("a.patch", "--- a/x\n+++ b/x\n@@ -1,3 +1,1 @@\n a\n", "not a unified"),
        "a renaming": ("a.patch", "--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "nothing else"),
        "nothing there": ("", "", "no such folder"),
    },
)
def test_what_cannot_go_into_a_wheel_is_refused_with_its_path(
    name: str, text: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / name
    if name:
        path.parent.mkdir(parents=True)
        path.write_text(text)
    with pytest.raises(RepackError, match=reason) as caught:
        lay(tmp_path / "folder")
    assert caught.value.file == str(path)


@table(
    "before, after",
    {
        "at another line": ("zero = 0\n" * 5 + OLD, "zero = 0\n" * 5 + NEW),
        "other line ends": (OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n")),
        "no end of line at the end": (OLD.rstrip("\n"), NEW.rstrip("\n")),
    },
)
def test_a_hunk_is_applied_where_its_context_is(before: str, after: str, team: Path) -> None:
    assert lay(team, diff(OLD, NEW), before)[MEMBER].decode() == after


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"], ids=["PowerShell", "Notepad"])
def test_a_diff_is_read_as_windows_writes_it(encoding: str, team: Path) -> None:
    text = diff(OLD, NEW).replace("\n", "\r\n")
    (team / "a.patch").write_bytes(text.encode(encoding))
    assert patch({INIT: LOADER, MEMBER: OLD.encode()}, folders=[team])[0][MEMBER] == NEW.encode()


def test_a_diff_may_add_a_file_once(team: Path) -> None:
    text = ADDED.format("cv2/team.py")
    assert lay(team, text)["cv2/team.py"] == b"x = 1\ny = 2\n"
    with pytest.raises(PatchError, match="hunk 1 has to match in exactly one place"):
        lay(team, text, "x = 3\n", "cv2/team.py")


@table(
    "text, before, reason",
    {
        "nowhere": (diff(OLD, NEW), "one = 1\n", "and matches at no line [no-place]"),
        "twice": (diff(OLD, NEW), OLD + OLD, "and matches at line 1, line 8 [no-place]"),
        "leaves no Python": (diff("x = 1\n", "x = (\n"), "x = 1\n", "line 1 is not Python"),
    },
)
def test_a_diff_that_does_not_fit_names_wheel_member_diff_and_hunk(
    text: str, before: str, reason: str, team: Path
) -> None:
    with pytest.raises(PatchError) as caught:
        lay(team, text, before)
    assert str(caught.value).startswith("team.whl: 'cv2/version.py': ours.patch: ")
    assert reason in str(caught.value)
