"""`repack publish --check`: what is wrong with an index is told, a line for each, and no more."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from publishing import (
    PROJECT,
    Negotiating,
    Plain,
    checked,
    published,
    served,
    snapshot,
    tiny,
)

from repack.cli import main
from repack.console import SILENT
from repack.index.check import check_place
from repack.index.folder import Folder

Capture = pytest.CaptureFixture[str]
WHEEL = f"{PROJECT}/tiny_thing-1.0-py3-none-any.whl"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    for version in ("1.0", "2.0"):
        tiny(tmp_path / "dist", version)
    return tmp_path / "dist"


@pytest.fixture
def index(tmp_path: Path, dist: Path, capsys: Capture) -> Path:
    published(capsys, dist, "--index-dir", tmp_path / "index")
    published(capsys, "--index-dir", tmp_path / "index", "--yank", "2.0", "--reason", "<b>&")
    return tmp_path / "index"


def test_a_sound_index_has_no_fault_and_is_left_alone(index: Path, capsys: Capture) -> None:
    before = snapshot(index)
    answer = checked(capsys, index)
    assert (answer["files"], answer["faults"], answer["unlisted"]) == (2, [], [])
    assert snapshot(index) == before
    assert main(["publish", "--check", "--index-dir", str(index)]) == 0
    assert capsys.readouterr().out == f"{index}: files: 2, faults: 0\n"


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
    "a wheel gone": (WHEEL, lambda path: path.unlink(), "missing-file"),
    "one bit of metadata": (f"{WHEEL}.metadata", flip, "damaged"),
    "metadata gone": (f"{WHEEL}.metadata", lambda path: path.unlink(), "missing-file"),
    "a page gone": (f"{PROJECT}/index.html", lambda path: path.unlink(), "page-differs"),
    "a page with another hash": (
        f"{PROJECT}/index.html",
        change("#sha256=", "#sha256=0"),
        "page-differs",
    ),
    "a page without a yank": (
        f"{PROJECT}/index.html",
        change(' data-yanked="&lt;b&gt;&amp;"', ""),
        "page-differs",
    ),
    "a page with a link more": (
        f"{PROJECT}/index.html",
        change("</main>", "<a href='https://example.com/tiny_thing-9.tar.gz'>x</a>"),
        "page-differs",
    ),
    "all projects without one": ("index.html", change(f'href="{PROJECT}/"', ""), "page-differs"),
    "all projects without one, JSON": ("index.json", change(PROJECT, "other"), "page-differs"),
    "all projects gone, JSON": ("index.json", lambda path: path.unlink(), "foreign-index"),
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
    assert [(each["file"], each["code"]) for each in answer["faults"]] == [(key, code)]
    assert main(["publish", "--check", "--index-dir", str(index)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in told] == [key, str(index)]
    if code == "foreign-index":  # a page that is there without its state is for a person to judge
        (index / "index.html").unlink()
    published(capsys, dist, "--index-dir", index)
    assert checked(capsys, index)["faults"] == []


def test_a_page_that_is_none_is_a_fault_of_its_own(index: Path, capsys: Capture) -> None:
    (index / PROJECT / "index.json").write_bytes(b"{}")
    codes = {each["file"]: each["code"] for each in checked(capsys, index, code=1)["faults"]}
    assert codes[f"{PROJECT}/index.json"] == "foreign-index"


def test_a_file_that_no_page_lists_is_told_and_no_fault(index: Path, capsys: Capture) -> None:
    stray = tiny(index / PROJECT, "3.0")
    assert checked(capsys, index)["unlisted"] == [f"{PROJECT}/{stray.name}"]


def test_where_no_index_is_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert checked(capsys, tmp_path / "none", code=1)["error"]["code"] == "no-index"
    assert not (tmp_path / "none").exists()


def test_whoever_publishes_meanwhile_makes_no_fault(
    index: Path, capsys: Capture, tmp_path: Path
) -> None:
    """The page is changed under the check's hands: between its looking and its comparing."""
    old = json.loads((index / PROJECT / "index.json").read_bytes())
    assert old["files"]
    published(capsys, tiny(tmp_path / "new", "3.0").parent, "--index-dir", index)

    class Late(Folder):
        turned = False

        def sha256(self, key: str) -> str:
            if not self.turned:
                self.turned = True
                published(capsys, "--index-dir", index, "--remove", "1.0")
            return super().sha256(key)

    found = check_place(Late(index), SILENT)
    assert (found.faults, found.files) == ([], 2)


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


@pytest.mark.parametrize("handler", [Plain, Negotiating], ids=["HTML", "JSON"])
def test_what_is_served_as_it_should_be_has_no_fault(
    handler: type[Plain], index: Path, capsys: Capture
) -> None:
    with served(index, handler) as url:
        answer = published(capsys, "--check", url)
    assert (answer["files"], answer["faults"]) == (2, [])


@pytest.mark.parametrize(
    ("handler", "codes"),
    [
        pytest.param(without(".metadata"), {f"{WHEEL}.metadata": "http-404"}, id="no .metadata"),
        pytest.param(without(".whl"), {WHEEL: "http-404"}, id="no .whl"),
        pytest.param(
            PlainText, {"": "media-type", f"{PROJECT}/": "media-type"}, id="pages that are no pages"
        ),
    ],
)
def test_what_a_client_would_stumble_over_is_told(
    handler: type[Plain], codes: dict[str, str], index: Path, capsys: Capture
) -> None:
    published(capsys, "--index-dir", index, "--remove", "2.0")
    with served(index, handler) as url:
        answer = published(capsys, "--check", f"{url}/", code=1)
    assert {fault["file"].removeprefix(f"{url}/"): fault["code"] for fault in answer["faults"]} == (
        codes
    )


@pytest.mark.parametrize("name", [WHEEL, f"{WHEEL}.metadata"], ids=["wheel", "metadata"])
@pytest.mark.parametrize("form", [Plain, Negotiating], ids=["HTML", "JSON"])
def test_other_bytes_than_the_page_says_are_told(
    form: type[Plain], name: str, index: Path, capsys: Capture
) -> None:
    flip(index / name)
    with served(index, form) as url:
        answer = published(capsys, "--check", f"{url}/", code=1)
    (fault,) = answer["faults"]
    assert (fault["file"], fault["code"]) == (f"{url}/{name}", "damaged")


def test_a_url_without_an_index_is_told(tmp_path: Path, capsys: Capture) -> None:
    with served(tmp_path) as url:
        answer = published(capsys, "--check", f"{url}/nothing/", code=1)
    assert answer["error"]["code"] == "no-index"
