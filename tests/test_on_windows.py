"""repack on a genuine Windows Python: installed, and used; `nox -s proof` does much more of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import Repack
from proof.on_windows import WORK, Desk, open_desk
from wheelmaking import cuda_wheel

from repack.pythons.wine import windows_path

pytestmark = [pytest.mark.network, pytest.mark.wine]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("windows")) as (desk, installed):
        assert installed.returncode == 0, installed.output
        yield desk


def test_a_wheel_has_the_same_bytes_as_elsewhere(
    desk: Desk, repack: Repack, tmp_path: Path
) -> None:
    source = cuda_wheel(tmp_path)
    words = ("build", "--no-smoke", "--python", "3.12,3.13", "--offline", "--source")
    there = desk.run(*words, str(windows_path(source)))
    assert (there.returncode, repack(*words, source).code) == (0, 0), there.output
    places = (repack.folder, desk.disk.place(WORK))
    ours, theirs = ({f.name: f.read_bytes() for f in (p / "dist").glob("*.whl")} for p in places)
    assert len(ours) == 2
    assert ours == theirs
