"""Unified diffs in a team's folder: strict, at any offset, once."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from repack.errors import ConfigError, PatchError
from repack.patching import apply, load_patches
from repack.patching.diffs import apply_diff, parse_diff

if TYPE_CHECKING:
    from pathlib import Path

    from repack.patching import Patch

MEMBER = "cv2/version.py"
OLD = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
NEW = OLD.replace("four\n", "4\nfour_and_a_half\n")


def diff(old: str, new: str, member: str = MEMBER, context: int = 3) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{member}",
        f"b/{member}",
        n=context,
    )
    return "".join(lines)


def loaded(folder: Path, text: str) -> tuple[Patch, ...]:
    (folder / "ours.patch").write_bytes(text.encode())
    return load_patches([folder])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(OLD, NEW, id="as-it-was-made"),
        pytest.param("zero\n" * 5 + OLD, "zero\n" * 5 + NEW, id="at-another-line"),
        pytest.param(OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n"), id="other-line-ends"),
        pytest.param(OLD.rstrip("\n"), NEW.rstrip("\n"), id="no-end-of-line-at-the-end"),
        pytest.param(NEW, NEW, id="applied-already"),
    ],
)
def test_a_hunk_is_applied_where_its_context_is(before: str, after: str, tmp_path: Path) -> None:
    patches = loaded(tmp_path, diff(OLD, NEW))
    texts = {MEMBER: before.encode()}
    assert ({**texts, **apply(patches, texts, {}).files})[MEMBER].decode() == after


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param("one\ntwo\n", "hunk 1 matches in no place [no-place]", id="nowhere"),
        pytest.param(OLD + OLD, "hunk 1 matches in 2 places, line 1, line 8", id="twice"),
    ],
)
def test_a_hunk_that_does_not_match_once_is_an_error_that_names_it(
    before: str, said: str, tmp_path: Path
) -> None:
    patches = loaded(tmp_path, diff(OLD, NEW))
    with pytest.raises(PatchError) as caught:
        apply(patches, {MEMBER: before.encode()}, {}, file="team.whl")
    assert str(caught.value).startswith(
        "team.whl: 'cv2/version.py': patch 'ours.patch', edit 1 (diff): "
    )
    assert said in str(caught.value)


def test_a_diff_of_a_member_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    patches = loaded(tmp_path, diff(OLD, NEW, "cv2/gone.py"))
    with pytest.raises(PatchError, match=r"cv2/gone.py.*ours.patch.*no such member"):
        apply(patches, {MEMBER: b""}, {})


def test_a_file_can_be_added(tmp_path: Path) -> None:
    text = "--- /dev/null\n+++ b/cv2/team.py\n@@ -0,0 +1,2 @@\n+x = 1\n+y = 2\n"
    patches = loaded(tmp_path, text)
    files = apply(patches, {}, {}).files
    assert files == {"cv2/team.py": b"x = 1\ny = 2\n"}
    assert not apply(patches, files, {}).files
    with pytest.raises(PatchError, match="is there already"):
        apply(patches, {"cv2/team.py": b"x = 3\n"}, {})


def test_an_edit_that_leaves_no_python_is_refused(tmp_path: Path) -> None:
    patches = loaded(tmp_path, diff("x = 1\n", "x = (\n"))
    with pytest.raises(PatchError, match=r"ours\.patch.*line 1 is not Python"):
        apply(patches, {MEMBER: b"x = 1\n"}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("hello\n", "names no file", id="no-diff"),
        pytest.param("--- a/x\n+++ b/x\n@@ -1,3 +1,1 @@\n a\n", "not a unified diff", id="cut"),
        pytest.param("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "nothing else", id="removal"),
        pytest.param(
            "--- a/x\n+++ b/x\n@@ -1 +0,0 @@\n-a\n@@ -5 +3,0 @@\n-b\n",
            "leaves no line",
            id="no-context",
        ),
    ],
)
def test_a_diff_that_a_wheel_cannot_take_is_refused_when_it_is_read(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        loaded(tmp_path, text)
    assert caught.value.file.endswith("ours.patch")


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", ""]), max_size=12)


@given(LINES, LINES)
def test_a_diff_gives_what_it_was_made_from_or_is_refused_and_twice_is_once(
    one: list[str], other: list[str]
) -> None:
    old, new = ("".join(f"{line}\n" for line in lines) for lines in (one, other))
    assume(old != new)
    try:
        ((_, change),) = parse_diff(diff(old, new).encode())
        result = apply_diff(change, old.encode())
    except (ValueError, PatchError):
        return
    assert result in (new.encode(), old.encode())
    assert apply_diff(change, result) == result
