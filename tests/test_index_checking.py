"""`repack publish --check`: what is wrong with an index is told, a line for each, and no more."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from publishing import PROJECT, Negotiating, Plain, Team, published, served, snapshot, tiny

from repack.cli import main
from repack.console import SILENT
from repack.index.place import Folder
from repack.index.simple import check_place

Capture = pytest.CaptureFixture[str]
PAGE = f"{PROJECT}/index.html"
WHEEL = f"{PROJECT}/tiny_thing-1.0-py3-none-any.whl"


@pytest.fixture
def team(team: Team) -> Team:
    """The team, with an index of two wheels, one of which is yanked."""
    for version in ("1.0", "2.0+cu12"):
        tiny(team.dist, version)
    team.publish()
    team.publish("--yank", "2.0+cu12", "--reason", "<b>&")
    return team


def test_a_sound_index_has_no_fault_and_is_left_alone(team: Team, capsys: Capture) -> None:
    stray = tiny(team.project, "3.0")
    before = snapshot(team.index)
    answer = team.check()
    assert (answer["files"], answer["faults"]) == (2, [])
    assert answer["unlisted"] == [f"{PROJECT}/{stray.name}"]
    assert main(["publish", "--check", "--index-dir", str(team.index)]) == 0
    assert capsys.readouterr().out == f"{team.index}: files: 2, faults: 0\n"
    assert snapshot(team.index) == before


def change(old: str, new: str) -> Callable[[Path], object]:
    def changed(path: Path) -> None:
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return changed


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "one bit of a wheel": (WHEEL, flip, "damaged"),
    "a wheel gone": (WHEEL, Path.unlink, "missing-file"),
    "one bit of metadata": (f"{WHEEL}.metadata", flip, "damaged"),
    "a page gone": (PAGE, Path.unlink, "page-differs"),
    "a page without a yank": (PAGE, change(' data-yanked="&lt;b&gt;&amp;"', ""), "page-differs"),
    "all projects without one": ("index.html", change(f'href="{PROJECT}/"', ""), "page-differs"),
    "all projects gone": ("index.html", Path.unlink, "page-differs"),
}


@pytest.mark.parametrize(("key", "spoil", "code"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_told_alone_and_the_next_publish_cures_it(
    team: Team, capsys: Capture, key: str, spoil: Callable[[Path], object], code: str
) -> None:
    spoil(team.index / key)
    faults = team.check(code=1)["faults"]
    assert [(fault["file"], fault["code"]) for fault in faults] == [(key, code)]
    assert main(["publish", "--check", "--index-dir", str(team.index)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [key, str(team.index)]
    team.publish()
    assert team.check()["faults"] == []


def test_where_no_index_is_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    with served(tmp_path) as url:
        for words in (["--index-dir", tmp_path / "none"], [f"{url}/nothing/"]):
            answer = published(capsys, "--check", *words, code=1)
            assert answer["error"]["code"] == "no-index"
    assert not (tmp_path / "none").exists()


def test_whoever_publishes_meanwhile_makes_no_fault(team: Team) -> None:
    """The page is changed under the check's hands: between its looking and its comparing."""

    class Late(Folder):
        turned = False

        def sha256(self, key: str) -> str:
            if not self.turned:
                self.turned = True
                team.publish("--remove", "1.0")
            return super().sha256(key)

    answer = check_place(Late(team.index), SILENT)
    assert (answer.faults, answer.files) == ([], 1)


def serving(*, missing: str = "nothing", kind: str = "") -> type[Plain]:
    """Return a web server that knows no such type, as IIS, or takes all for that type."""

    class Odd(Plain):
        def send_head(self) -> io.BytesIO | BinaryIO | None:
            if self.path.endswith(missing):
                self.send_error(404)
                return None
            return super().send_head()

        def guess_type(self, path: str | os.PathLike[str]) -> str:
            return kind or super().guess_type(path)

    return Odd


METADATA = f"{WHEEL}.metadata"
FOLDER = f"{PROJECT}/"
TEXT = {"": "media-type", FOLDER: "media-type"}


@pytest.mark.parametrize(
    ("handler", "spoiled", "codes"),
    [
        pytest.param(Plain, "", {}, id="HTML"),
        pytest.param(Negotiating, "", {}, id="JSON"),
        pytest.param(Plain, WHEEL, {WHEEL: "damaged"}, id="HTML, another wheel"),
        pytest.param(Negotiating, WHEEL, {WHEEL: "damaged"}, id="JSON, another wheel"),
        pytest.param(Negotiating, METADATA, {METADATA: "damaged"}, id="metadata"),
        pytest.param(serving(missing="data"), "", {METADATA: "http-404"}, id="no .metadata"),
        pytest.param(serving(missing=".whl"), "", {WHEEL: "http-404"}, id="no .whl"),
        pytest.param(serving(missing=FOLDER), "", {FOLDER: "missing-page"}, id="no page"),
        pytest.param(serving(kind="text/plain"), "", TEXT, id="pages as text"),
    ],
)
def test_what_a_client_would_stumble_over_is_told(
    handler: type[Plain], spoiled: str, codes: dict[str, str], team: Team, capsys: Capture
) -> None:
    team.publish("--remove", "2.0+cu12")
    if spoiled:
        flip(team.index / spoiled)
    with served(team.index, handler) as url:
        answer = published(capsys, "--check", url, code=1 if codes else 0)
    told = {fault["file"].removeprefix(f"{url}/"): fault["code"] for fault in answer["faults"]}
    assert told == codes
