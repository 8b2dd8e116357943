"""A team's folder: files that go into the wheel as they are, and unified diffs."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from loading import INIT, patch

from repack.errors import ConfigError, PatchError
from repack.patching import builtin_folder

MEMBER = "cv2/version.py"
LOADER = b"from .cv2 import *\n"
OLD = "one = 1\ntwo = 2\nthree = 3\nfour = 4\nfive = 5\nsix = 6\nseven = 7\n"
NEW = OLD.replace("four = 4\n", "four = 40\nmore = 5\n")


def diff(old: str, new: str, member: str = MEMBER) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{member}",
        f"b/{member}",
    )
    return "".join(lines)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    (folder / "cv2").mkdir(parents=True)
    return folder


def write(folder: Path, text: str) -> None:
    (folder / "ours.patch").write_bytes(text.encode())


def test_our_own_files_go_into_the_wheel_byte_for_byte() -> None:
    files = patch({INIT: LOADER}).files
    for path in (builtin_folder() / "cv2").glob("*.py"):
        assert files[f"cv2/{path.name}"] == path.read_bytes()
    assert {"cv2/__init__.py", "cv2/_cuda_build.py", "cv2/cuda_dlls.py"} <= set(files)
    assert "README.md" not in files


def test_a_teams_files_go_to_the_same_path_and_readme_and_hidden_files_stay_out(
    team: Path,
) -> None:
    (team / "README.md").write_text("what this is")
    (team / ".gitkeep").touch()
    (team / "cv2/__pycache__").mkdir()
    (team / "cv2/__pycache__/team.cpython-312.pyc").touch()
    (team / "cv2/team.txt").write_bytes(b"ours\r\n")
    more = set(patch({INIT: LOADER}, folders=[team]).files) - set(patch({INIT: LOADER}).files)
    assert more == {"cv2/team.txt"}
    assert patch({INIT: LOADER}, folders=[team]).files["cv2/team.txt"] == b"ours\r\n"


def test_a_file_in_place_of_one_that_the_wheel_has_is_told_in_a_note(team: Path) -> None:
    (team / "cv2/version.py").write_bytes(b"x = 1\n")
    result = patch({INIT: LOADER, MEMBER: b"x = 0\n"}, folders=[team])
    assert result.files[MEMBER] == b"x = 1\n"
    assert [(note.code, note.member) for note in result.notes] == [("replaced-file", MEMBER)]


def test_a_teams_folders_come_in_the_order_given(team: Path, tmp_path: Path) -> None:
    (team / "cv2/team.txt").write_text("first\n")
    other = tmp_path / "other"
    other.mkdir()
    write(other, diff("first\n", "second\n", "cv2/team.txt"))
    with pytest.raises(PatchError, match=r"ours\.patch.*no such member"):
        patch({INIT: LOADER}, folders=[other, team])
    assert patch({INIT: LOADER}, folders=[team, other]).files["cv2/team.txt"] == b"second\n"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("team.py", "bad-overlay", id="beside the packages"),
        pytest.param("team.pth", "bad-overlay", id="a startup hook"),
        pytest.param("patch.toml", "bad-overlay", id="a recipe of old"),
        pytest.param("cv2-4.dist-info/RECORD", "bad-overlay", id="the installer's"),
        pytest.param("cv2/cuda_dlls.py", "bad-overlay", id="ours"),
        pytest.param("cv2/_cuda_build.py", "bad-overlay", id="written by us"),
        pytest.param("cv2/bad.patch", "bad-diff", id="no diff"),
    ],
)
def test_what_cannot_go_into_a_wheel_is_refused_with_its_path(
    name: str, code: str, team: Path
) -> None:
    (team / name).parent.mkdir(exist_ok=True)
    (team / name).write_text("hello\n")
    with pytest.raises(ConfigError) as caught:
        patch({INIT: LOADER}, folders=[team])
    assert (caught.value.code, caught.value.file) == (code, str(team / name))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        patch({INIT: LOADER}, folders=[tmp_path / "gone"])


# Unified diffs


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(OLD, NEW, id="as it was made"),
        pytest.param("zero = 0\n" * 5 + OLD, "zero = 0\n" * 5 + NEW, id="at another line"),
        pytest.param(OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n"), id="other line ends"),
        pytest.param(OLD.rstrip("\n"), NEW.rstrip("\n"), id="no end of line at the end"),
        pytest.param("zero = 0\r\n" + OLD, "zero = 0\r\n" + NEW, id="mixed line ends"),
    ],
)
def test_a_hunk_is_applied_where_its_context_is(before: str, after: str, team: Path) -> None:
    write(team, diff(OLD, NEW))
    files = patch({INIT: LOADER, MEMBER: before.encode()}, folders=[team]).files
    assert files[MEMBER].decode() == after


def test_a_loader_is_edited_as_a_teams_diff_has_left_it(team: Path) -> None:
    write(team, diff("load()\n", "import cv2.cv2\nload()\n", INIT))
    files = patch({INIT: b"load()\n"}, folders=[team]).files
    assert files[INIT].endswith(b"    import cv2.cv2\nload()\n")


def test_a_line_after_the_last_one_has_the_ends_of_the_others(team: Path) -> None:
    write(team, diff("a = 1\nb = 2\n", "a = 1\nb = 2\nc = 3\n"))
    files = patch({INIT: LOADER, MEMBER: b"a = 1\r\nb = 2"}, folders=[team]).files
    assert files[MEMBER] == b"a = 1\r\nb = 2\r\nc = 3"


def test_a_diff_may_add_a_file_once(team: Path) -> None:
    write(team, "--- /dev/null\n+++ b/cv2/team.py\n@@ -0,0 +1,2 @@\n+x = 1\n+y = 2\n")
    assert patch({INIT: LOADER}, folders=[team]).files["cv2/team.py"] == b"x = 1\ny = 2\n"
    with pytest.raises(PatchError, match="has this file already"):
        patch({INIT: LOADER, "cv2/team.py": b"x = 3\n"}, folders=[team])


@pytest.mark.parametrize(
    ("text", "before", "reason"),
    [
        pytest.param(
            diff(OLD, NEW), "one = 1\n", "hunk 1 matches in no place [no-place]", id="nowhere"
        ),
        pytest.param(
            diff(OLD, NEW),
            OLD + OLD,
            "hunk 1 matches in 2 places, line 1, line 8 [ambiguous]",
            id="twice",
        ),
        pytest.param(
            diff("x = 1\n", "x = (\n"), "x = 1\n", "line 1 is not Python", id="leaves no Python"
        ),
    ],
)
def test_a_diff_that_does_not_fit_names_wheel_member_diff_and_hunk(
    text: str, before: str, reason: str, team: Path
) -> None:
    write(team, text)
    with pytest.raises(PatchError) as caught:
        patch({INIT: LOADER, MEMBER: before.encode()}, folders=[team])
    assert str(caught.value).startswith("team.whl: 'cv2/version.py': ours.patch: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("hello\n", "names no file", id="no diff"),
        pytest.param("--- a/x\n+++ b/x\n@@ -1,3 +1,1 @@\n a\n", "not a unified diff", id="cut off"),
        pytest.param("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "nothing else", id="removal"),
    ],
)
def test_a_diff_that_a_wheel_cannot_take_is_refused_when_it_is_read(
    text: str, reason: str, team: Path
) -> None:
    write(team, text)
    with pytest.raises(ConfigError, match=reason):
        patch({INIT: LOADER}, folders=[team])
