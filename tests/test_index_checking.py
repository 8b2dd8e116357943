"""`repack publish --check`: what is wrong with an index is told, a line for each, and no more."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from publishing import PROJECT, Negotiating, Plain, checked, published, served, snapshot, tiny

from repack.cli import main
from repack.console import SILENT
from repack.index.check import check_place
from repack.index.place import Folder

Capture = pytest.CaptureFixture[str]
PAGE = f"{PROJECT}/index.html"
WHEEL = f"{PROJECT}/tiny_thing-1.0-py3-none-any.whl"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    for version in ("1.0", "2.0+cu12"):
        tiny(tmp_path / "dist", version)
    return tmp_path / "dist"


@pytest.fixture
def index(tmp_path: Path, dist: Path, capsys: Capture) -> Path:
    place = ("--index-dir", tmp_path / "index")
    published(capsys, dist, *place)
    published(capsys, *place, "--yank", "2.0+cu12", "--reason", "<b>&")
    return tmp_path / "index"


def test_a_sound_index_has_no_fault_and_is_left_alone(index: Path, capsys: Capture) -> None:
    stray = tiny(index / PROJECT, "3.0")
    before = snapshot(index)
    answer = checked(capsys, index)
    assert (answer["files"], answer["faults"]) == (2, [])
    assert answer["unlisted"] == [f"{PROJECT}/{stray.name}"]
    assert main(["publish", "--check", "--index-dir", str(index)]) == 0
    assert capsys.readouterr().out == f"{index}: files: 2, faults: 0\n"
    assert snapshot(index) == before


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
    "a wheel cut off": (WHEEL, lambda path: path.write_bytes(b"PK"), "damaged"),
    "a wheel gone": (WHEEL, Path.unlink, "missing-file"),
    "one bit of metadata": (f"{WHEEL}.metadata", flip, "damaged"),
    "metadata gone": (f"{WHEEL}.metadata", Path.unlink, "missing-file"),
    "a page gone": (PAGE, Path.unlink, "page-differs"),
    "a page with another hash": (PAGE, change("#sha256=", "#sha256=0"), "page-differs"),
    "a page without a yank": (PAGE, change(' data-yanked="&lt;b&gt;&amp;"', ""), "page-differs"),
    "a page with a link more": (
        PAGE,
        change("</body>", "<a href='https://example.com/tiny_thing-9.tar.gz'>x</a>"),
        "page-differs",
    ),
    "all projects without one": ("index.html", change(f'href="{PROJECT}/"', ""), "page-differs"),
}


@pytest.mark.parametrize(("key", "spoil", "code"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_told_alone_and_the_next_publish_cures_it(  # noqa: PLR0913, PLR0917 - fixtures and a row
    index: Path,
    dist: Path,
    capsys: Capture,
    key: str,
    spoil: Callable[[Path], object],
    code: str,
) -> None:
    spoil(index / key)
    answer = checked(capsys, index, code=1)
    assert [(fault["file"], fault["code"]) for fault in answer["faults"]] == [(key, code)]
    assert main(["publish", "--check", "--index-dir", str(index)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in told] == [key, str(index)]
    published(capsys, dist, "--index-dir", index)
    assert checked(capsys, index)["faults"] == []


def test_pages_that_a_killed_publish_did_not_come_to_are_told(
    index: Path, dist: Path, capsys: Capture
) -> None:
    names = ["index.html", "index.json"]
    for name in names:
        (index / name).unlink()
    assert [fault["file"] for fault in checked(capsys, index, code=1)["faults"]] == names
    published(capsys, dist, "--index-dir", index)
    assert checked(capsys, index)["faults"] == []


def test_where_no_index_is_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert checked(capsys, tmp_path / "none", code=1)["error"]["code"] == "no-index"
    assert not (tmp_path / "none").exists()
    with served(tmp_path) as url:
        answer = published(capsys, "--check", f"{url}/nothing/", code=1)
    assert answer["error"]["code"] == "no-index"


def test_whoever_publishes_meanwhile_makes_no_fault(index: Path, capsys: Capture) -> None:
    """The page is changed under the check's hands: between its looking and its comparing."""

    class Late(Folder):
        turned = False

        def sha256(self, key: str) -> str:
            if not self.turned:
                self.turned = True
                published(capsys, "--index-dir", index, "--remove", "1.0")
            return super().sha256(key)

    answer = check_place(Late(index), SILENT)
    assert (answer.faults, answer.files) == ([], 1)


def without(suffix: str) -> type[Plain]:
    """Return a web server that knows no such type, as IIS."""

    class Without(Plain):
        def send_head(self) -> io.BytesIO | BinaryIO | None:
            if self.path.endswith(suffix):
                self.send_error(404)
                return None
            return super().send_head()

    return Without


class PlainText(Plain):
    """A web server that takes pages for text."""

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        del path
        return "text/plain"


@pytest.mark.parametrize(
    ("handler", "spoiled", "codes"),
    [
        pytest.param(Plain, "", {}, id="HTML"),
        pytest.param(Negotiating, "", {}, id="JSON"),
        pytest.param(Plain, WHEEL, {WHEEL: "damaged"}, id="HTML, another wheel"),
        pytest.param(Negotiating, WHEEL, {WHEEL: "damaged"}, id="JSON, another wheel"),
        pytest.param(
            Negotiating, f"{WHEEL}.metadata", {f"{WHEEL}.metadata": "damaged"}, id="metadata"
        ),
        pytest.param(
            without(".metadata"), "", {f"{WHEEL}.metadata": "http-404"}, id="no .metadata"
        ),
        pytest.param(without(".whl"), "", {WHEEL: "http-404"}, id="no .whl"),
        pytest.param(without(f"{PROJECT}/"), "", {f"{PROJECT}/": "missing-page"}, id="no page"),
        pytest.param(
            PlainText, "", {"": "media-type", f"{PROJECT}/": "media-type"}, id="pages as text"
        ),
    ],
)
def test_what_a_client_would_stumble_over_is_told(
    handler: type[Plain], spoiled: str, codes: dict[str, str], index: Path, capsys: Capture
) -> None:
    published(capsys, "--index-dir", index, "--remove", "2.0+cu12")
    if spoiled:
        flip(index / spoiled)
    with served(index, handler) as url:
        answer = published(capsys, "--check", url, code=1 if codes else 0)
    told = {fault["file"].removeprefix(f"{url}/"): fault["code"] for fault in answer["faults"]}
    assert told == codes
