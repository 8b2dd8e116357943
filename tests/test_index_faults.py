"""An index stays whole: killed at each write, changed by several at once.

In a folder, and in a bucket of a genuine S3 server, in processes of their own.
"""

import os
import re
import stat
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import filelock
import obstore
import pytest
from driving import REPACK, Repack
from obstore.store import from_url
from platforms import POSIX
from publishing import (
    PROJECT,
    Negotiating,
    Plain,
    Team,
    act_at,
    killed_at,
    published,
    served,
    tiny,
)
from s3server import ACCESS_KEY, S3Server

from repack.errors import InputError, OutputError
from repack.files import sha256_of
from repack.index.place import open_place

Capture = pytest.CaptureFixture[str]


@POSIX
@pytest.mark.parametrize(
    ("kind", "action"), [("folder", "publish"), ("folder", "remove"), ("bucket", "publish")]
)
def test_killed_at_any_write_it_leaves_a_whole_index_and_the_next_run_mends_it(
    kind: str, action: str, s3: S3Server, tmp_path: Path, capsys: Capture
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    tiny(old, "1.0")
    tiny(new if action == "publish" else old, "2.0")
    words = [str(new)] if action == "publish" else ["--remove", "2.0"]
    number, killed = 0, True
    while killed:
        place, index = make_place(kind, tmp_path, s3)
        published(capsys, old, "--index-dir", place)
        command = [*words, "--index-dir", place]
        killed = killed_at(number, kind, *command)
        for handler in (Plain, Negotiating):
            with served(index, handler) as url:
                for page in (url, f"{url}{PROJECT}/"):
                    assert published(capsys, "--check", page)["files"] in {1, 2}
        if killed:
            published(capsys, *command)
        answer = published(capsys, "--check", "--index-dir", place)
        assert (answer["files"], answer["unlisted"]) == (2 if action == "publish" else 1, [])
        assert not list(index.rglob("*.tmp"))
        number += 1
    assert number >= 5


def make_place(kind: str, folder: Path, s3: S3Server) -> tuple[str, Path]:
    """Return a new place for an index, as it is named and as a folder of files."""
    name = f"team/{uuid.uuid4().hex}"
    if kind == "bucket":
        return f"s3://{name}", s3.root / name
    return str(folder / name), folder / name


def test_who_publishes_waits_for_who_holds_the_lock(team: Team) -> None:
    tiny(team.dist, "1.0")
    team.index.mkdir()
    with filelock.FileLock(team.index / ".repack.lock"):
        process = subprocess.Popen([REPACK, "publish", team.dist, "--index-dir", team.index, "-q"])
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=2.5)
        assert not team.project.exists()
    process.communicate(timeout=60)
    assert team.project.exists()


@POSIX
@pytest.mark.parametrize("mode", [0o755, 0o2775], ids=["made by publish", "of a group"])
def test_modes_follow_the_folder_of_the_index_whatever_the_umask(mode: int, team: Team) -> None:
    tiny(team.dist)
    team.index.parent.chmod(0o755)
    team.index /= "new/simple"
    if mode != 0o755:
        team.index.mkdir(parents=True)
        team.index.chmod(mode)
    umask = os.umask(0o077)
    try:
        team.publish()
    finally:
        os.umask(umask)
    paths = (team.index, *team.index.rglob("*"))
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert {mode for path, mode in modes.items() if path.is_file()} == {mode & 0o666}
    assert {modes[team.index], modes[team.project]} == {mode}
    assert stat.S_IMODE(team.index.parent.stat().st_mode) == 0o755


def test_what_cannot_be_read_is_called_so_and_not_damaged(team: Team) -> None:
    wheel = team.project / tiny(team.dist).name
    team.publish()
    # CI runs as root, who may read whatever its mode says.
    wheel.unlink()
    wheel.mkdir()
    (fault,) = team.publish("--check", code=1)["faults"]
    (team.index / "index.json").unlink()
    (team.index / "index.json").mkdir()
    error = team.publish("--yank", "1.0", code=1)["error"]
    assert {fault["code"], error["code"]} == {"unreadable"}


# Buckets


@POSIX
def test_of_two_wheels_of_one_name_and_of_one_that_changes_while_it_is_copied_none_is_taken(
    tmp_path: Path, s3: S3Server, capsys: Capture
) -> None:
    place, folder = make_place("bucket", tmp_path, s3)
    wheel, other = tiny(tmp_path / "a"), tiny(tmp_path / "b", value=2)
    key = f"{PROJECT}/{wheel.name}"
    with pytest.raises(OutputError, match="changed while it was copied"):
        open_place(place).put(key, other, "0" * 64)
    # The first has put its wheel, and not yet written any page.
    open_place(place).put(key, wheel, sha256_of(wheel))
    with pytest.raises(InputError, match="other-bytes"):
        open_place(place).put(key, other, sha256_of(other))
    published(capsys, wheel.parent, "--index-dir", place)
    assert (folder / key).read_bytes() == wheel.read_bytes()
    # Without which pip takes no page for a page.
    page = obstore.get(from_url(place, client_options={"allow_http": True}), "index.html")
    assert page.attributes["Content-Type"] == "text/html"


@POSIX
@pytest.mark.usefixtures("s3")
def test_whoever_is_overtaken_by_another_at_any_write_loses_nothing_of_either(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another publishes, and is done, just before the n-th change of an object."""
    tiny(tmp_path / "one", "1.0")
    tiny(tmp_path / "two", "2.0")
    tiny(tmp_path / "two", "1.0", name="other_thing")
    number, files = 0, 3
    while files == 3:
        to = ("--index-dir", f"s3://team/{uuid.uuid4().hex}")
        with monkeypatch.context() as patch:
            overtake = partial(published, capsys, tmp_path / "two", *to)
            act_at(number, "bucket", overtake, patch.setattr)
            published(capsys, tmp_path / "one", *to)
        files = published(capsys, "--check", *to)["files"]
        number += 1
    assert (files, number > 8) == (1, True)


@POSIX
@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("place", "code", "reason"),
    [
        pytest.param("s3://team/x", 1, "SignatureDoesNotMatch", id="wrong key"),
        pytest.param("https://x/simple", 2, "name a folder, or a bucket", id="a web site"),
        pytest.param("s3://me:pw@team/x", 2, "without a password", id="a password"),
        pytest.param("s3://team/x", 2, "python -m pip install obstore", id="no obstore"),
    ],
)
def test_a_fault_is_one_line_without_a_key(
    place: str, code: int, reason: str, repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-key")
    if "obstore" in reason:
        monkeypatch.setitem(sys.modules, "obstore", None)
    tiny(repack.folder / "dist")
    ran = repack("publish", "--index-dir", place)
    assert (ran.code, reason in ran.error) == (code, True)
    assert code == 2 or f"{place}: the store says: " in ran.error
    assert not re.search(f":pw|{ACCESS_KEY}|wrong-key", ran.error)
