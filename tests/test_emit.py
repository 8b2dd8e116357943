"""Carrying out a plan: nothing half-made under a final name, nothing written twice."""

import os
from pathlib import Path

import pytest
from driving import Repack, everything
from wheelmaking import cuda_wheel

SWITCHES = ("-q", "--no-smoke", "--json", "--python", "3.12", "3.13")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return cuda_wheel(tmp_path)


def unchanged(repack: Repack, source: Path) -> list[bool]:
    """Return for each wheel of a build whether that of an earlier build stands."""
    ran = repack("build", "--source", source, *SWITCHES)
    assert ran.code == 0, ran.err
    return [wheel["unchanged"] for wheel in ran.json["wheels"]]


#: Which wheels of the earlier build stand.
CHANGES = {
    "nothing": [True, True],
    "damage": [False, True],
    "removal": [False, True],
    "record": [False, False],
    "time": [False, False],
    "source": [False, False],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_earlier_build_left_from_the_same_is_not_written_again(
    change: str, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unchanged(repack, source) == [False, False]
    dist = repack.folder / "dist"
    before = everything(dist)
    first, *_ = sorted(dist.glob("*.whl"))
    if change == "damage":
        first.write_bytes(first.read_bytes()[:-1] + b"?")
    elif change == "removal":
        first.unlink()
    elif change == "record":
        (dist / "build.json").write_text("what?")
    elif change == "time":
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    elif change == "source":
        cuda_wheel(source.parent, ballast=1)
    assert unchanged(repack, source) == CHANGES[change]
    assert (everything(dist) == before) == (change not in {"time", "source"})
    assert unchanged(repack, source) == [True, True]


def test_a_build_sweeps_away_what_a_killed_one_left_and_nothing_else(
    repack: Repack, source: Path
) -> None:
    dist = repack.folder / "dist"
    half = dist / f".work.1-{'0' * 16}.tmp" / "half.whl"
    mine = dist / "failed" / "notes.txt"
    for path in (half, mine):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"PK")
    os.utime(half.parent, (0, 0))
    unchanged(repack, source)
    assert not half.parent.exists()
    assert mine.read_bytes() == b"PK"
