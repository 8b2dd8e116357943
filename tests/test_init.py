"""`repack init`: the file that a new user begins with."""

import tomllib
from pathlib import Path

from driving import Repack

from repack.config import FileSource, load

TOP = Path(__file__).parents[1]
WHEEL = "wheels/opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"


def test_without_a_source_it_is_the_file_that_repack_itself_is_shipped_with(
    repack: Repack,
) -> None:
    ran = repack("init")
    assert (ran.code, ran.err) == (0, "")
    assert (repack.folder / "repack.toml").read_bytes() == (TOP / "repack.toml").read_bytes()


def test_a_named_source_is_the_one_of_the_file(repack: Repack) -> None:
    assert repack("init", "--release", "owner/name").code == 0
    text = (repack.folder / "repack.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["source"] == {"release": "owner/name"}
    assert "sample" not in text.lower()


def test_a_file_that_is_there_is_left_alone(repack: Repack) -> None:
    path = repack.folder / "repack.toml"
    path.write_text("mine", encoding="utf-8")
    ran = repack("init")
    assert ran.code == 1
    assert "repack.toml: is there already [exists]; " in ran.error
    assert path.read_text(encoding="utf-8") == "mine"


def test_another_file_names_the_wheel_as_it_is_seen_from_there(repack: Repack) -> None:
    (repack.folder / "team").mkdir()
    path = repack.folder / "team" / "repack.toml"
    ran = repack("init", "--json", "--config", "team/repack.toml", "--file", WHEEL)
    assert ran.json == {"version": 1, "path": str(path)}
    source = load(path).source
    assert source == FileSource(repack.folder / WHEEL, pinned_as=f"../{WHEEL}")


def test_a_source_that_cannot_be_is_a_usage_error_and_nothing_is_written(repack: Repack) -> None:
    ran = repack("init", "--release", "name")
    assert (ran.code, 'source.release takes "owner/name"' in ran.err) == (2, True)
    assert not (repack.folder / "repack.toml").exists()
