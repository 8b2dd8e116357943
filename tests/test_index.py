"""`repack publish --index-dir`: what it adds, refuses, yanks, removes, checks; its readers."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import check_looks, opened
from playwright.sync_api import Browser
from publishing import (
    ENVIRONMENT,
    PROJECT,
    Negotiating,
    Plain,
    Team,
    leave_record,
    published,
    served,
    tiny,
    what,
)
from pypi_simple import ProjectPage
from uv import find_uv_bin

from repack.cli import main
from repack.index.place import Folder
from repack.index.simple import Page, list_names

Spoil = Callable[[Path], object]
TAG = "</style></a><script>"
HOSTILE = """</style></a><script>alert('1')</script> "quoted" 'too' & more"""
PAGE = f"{PROJECT}/index.html"
WHEEL = f"{PROJECT}/tiny_thing-1.0-py3-none-any.whl"
METADATA = f"{WHEEL}.metadata"
FIELDS = "url digests requires_python is_yanked yanked_reason has_metadata metadata_digests"


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of every file that a reader sees."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def read_page(team: Team) -> ProjectPage:
    """The JSON page, read by somebody else's library; the HTML page has to say the same."""
    base, document = "http://x/s/tiny-thing/", (team.project / "index.json").read_bytes()
    from_json = ProjectPage.from_json_data(json.loads(document), base)
    assert b"dist-info-metadata" not in document, "pip 22.3 to 23.1 fails of it"
    html = (team.project / "index.html").read_text("utf-8")
    from_html = ProjectPage.from_html(PROJECT, html, base)
    assert from_json.repository_version == from_html.repository_version == "1.1"
    others = {package.filename: package for package in from_html.packages}
    assert len(others) == len(from_html.packages) == len(from_json.packages)
    for package in from_json.packages:
        for field in FIELDS.split():
            # A yank without a reason is `true` in JSON, and an empty attribute in HTML.
            in_html = getattr(others[package.filename], field)
            assert (getattr(package, field) or None) == (in_html or None), field
    return from_json


def test_what_is_published_is_told_by_all_pages_and_once_more_nothing_is_written(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheel = tiny(team.dist, "1.1+cu126.patched", "Requires-Python: >=3.8,<4")
    content = wheel.read_bytes()
    assert what(team.publish()) == {wheel.name: "added"}
    (package,) = read_page(team).packages
    assert package.url == f"http://x/s/tiny-thing/{wheel.name.replace('+', '%2B')}"
    assert package.digests == {"sha256": hashlib.sha256(content).hexdigest()}
    assert (package.size, package.requires_python) == (len(content), ">=3.8,<4")
    assert str(package.upload_time) == "2023-11-14 22:13:20+00:00"
    told = (team.project / f"{wheel.name}.metadata").read_bytes()
    assert package.metadata_digests == {"sha256": hashlib.sha256(told).hexdigest()}
    assert b"Requires-Python: >=3.8,<4" in told
    assert (team.project / wheel.name).read_bytes() == content
    root = json.loads((team.index / "index.json").read_bytes())
    assert root == {"meta": {"api-version": "1.1"}, "projects": [{"name": PROJECT}]}
    assert f'<a href="{PROJECT}/">{PROJECT}</a>' in (team.index / "index.html").read_text("utf-8")
    before = snapshot(team.index)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    assert what(team.publish()) == {wheel.name: "there already"}
    assert snapshot(team.index) == before
    for version in ("1.10", "1.9"):
        tiny(team.dist, version)
    team.publish()
    years = [str(package.upload_time)[:4] for package in read_page(team).packages]
    assert years == ["2023", "2027", "2027"]
    assert read_page(team).versions == ["1.1+cu126.patched", "1.9", "1.10"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "listed by no page"])
def test_other_bytes_of_a_known_name_are_refused_before_anything_is_written(
    *, listed: bool, team: Team
) -> None:
    tiny(team.dist, "1.0")
    team.publish()
    if not listed:
        stray = tiny(team.project, "2.0", value=2)
        assert team.publish("--check")["unlisted"] == [f"{PROJECT}/{stray.name}"]
    before = snapshot(team.index)
    tiny(team.dist, "1.0" if listed else "2.0", value=3)
    tiny(team.dist, "0.9")
    assert team.publish(code=1)["error"]["code"] == "other-bytes"
    assert snapshot(team.index) == before


def test_wheels_are_taken_from_the_folders_of_builds_and_from_no_other(team: Team) -> None:
    leave_record(team.dist / "cu126", tiny(team.dist / "cu126", "1.0"))
    tiny(team.dist / "failed", "2.0")
    leave_record(team.dist / ".work", tiny(team.dist / ".work", "4.0"))
    tiny(team.dist, "5.0").rename(team.dist / ".hidden.whl")
    team.publish()
    assert read_page(team).versions == ["1.0"]
    shown = (team.project / "index.html").read_text("utf-8")
    assert "CUDA 12, mode patch: passed on Python 3.12" in shown


def one_name_for_two(dist: Path) -> None:
    leave_record(dist / "a", tiny(dist / "a", "1.0"))
    leave_record(dist / "b", tiny(dist / "b", "1.0", value=2))


REFUSED: dict[str, tuple[Spoil, str]] = {
    "no wheels": (lambda dist: next(dist.iterdir()).unlink(), "no-wheels"),
    "did not work": (lambda dist: leave_record(dist, tiny(dist), status="failed"), "failed-wheel"),
    "two of one name": (one_name_for_two, "other-bytes"),
    "too large": (lambda dist: tiny(dist, "1.0", "Keywords: " + "x" * 3000), "too-large"),
}


@pytest.mark.parametrize(("spoil", "code"), REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_handed_on_leaves_no_index(team: Team, spoil: Spoil, code: str) -> None:
    tiny(team.dist, "0.9")
    spoil(team.dist)
    answer = team.publish(team.dist, "--set", "publish.max-size=910", code=1)
    assert answer["error"]["code"] == code
    assert not team.index.exists()


def test_a_version_is_yanked_with_its_reason_and_taken_back_and_hostile_words_stay_text(
    team: Team,
) -> None:
    tiny(team.dist, "1.0", f"Summary: {HOSTILE}", f"Requires-Python: ==={TAG}")
    tiny(team.dist, "1.0+cu126")
    team.publish()
    assert list(what(team.publish("--yank", "1.0", "--reason", HOSTILE)).values()) == ["yanked"]
    yanked = {package.version: package.yanked_reason for package in read_page(team).packages}
    assert yanked == {"1.0": HOSTILE, "1.0+cu126": None}
    assert read_page(team).packages[0].requires_python == f"==={TAG}"
    assert "<script" not in (team.project / "index.html").read_text("utf-8")
    team.publish()
    assert read_page(team).packages[0].yanked_reason == HOSTILE, "published again, it stays so"
    team.publish("--yank", "1.0")
    (first, _) = read_page(team).packages
    assert (first.is_yanked, first.yanked_reason or "") == (True, "")
    team.publish("--unyank", "1.0")
    assert not any(package.is_yanked for package in read_page(team).packages)


def test_a_version_is_removed_and_the_last_one_takes_the_project_along(team: Team) -> None:
    tiny(team.dist, "1.0")
    team.publish()
    assert list(what(team.publish("--remove", "1.0")).values()) == ["removed"]
    assert not list(team.project.glob("*-1.0-*"))
    assert read_page(team).packages == []
    assert PROJECT not in (team.index / "index.html").read_text("utf-8")


def test_where_several_projects_have_a_version_one_must_be_named(team: Team) -> None:
    for name in ("tiny_thing", "other_thing"):
        tiny(team.dist, "1.0", name=name)
    team.publish()
    usage = [
        "--remove 1.0",
        "--reason none",
        f"--project {PROJECT}",
        "--check --index-url http://x",
    ]
    for words in map(str.split, usage):
        team.publish(*words, code=2)
    team.publish("--remove", "1.0", "--project", "Other.Thing")
    assert [path.parent.name for path in team.index.glob("*/*.whl")] == [PROJECT]
    for words in (["--yank", "1.0", "--project", "no-thing"], ["--yank", "9"]):
        assert f"{PROJECT} 1.0" in team.publish(*words, code=1)["error"]["message"]


def move_files(page: Path) -> None:
    page.write_bytes(page.read_bytes().replace(b'"url": "', b'"url": "https://x/'))


FOREIGN: dict[str, tuple[str, Spoil]] = {
    "all projects, JSON": ("index.json", lambda path: path.write_bytes(b"{}")),
    "files elsewhere": (f"{PROJECT}/index.json", move_files),
}


@pytest.mark.parametrize(("key", "spoil"), FOREIGN.values(), ids=FOREIGN)
def test_pages_of_somebody_else_are_left_alone(team: Team, key: str, spoil: Spoil) -> None:
    tiny(team.dist, "1.0")
    team.publish()
    spoil(team.index / key)
    before = snapshot(team.index)
    for words in (team.dist, "--check"):
        assert team.publish(words, code=1)["error"]["code"] == "foreign-index"
    assert snapshot(team.index) == before


@pytest.mark.browser
def test_people_can_read_the_pages(team: Team, chrome: Browser) -> None:
    leave_record(team.dist, tiny(team.dist, "1.0"))
    leave_record(team.dist, tiny(team.dist, f"1.0+{'internal.' * 12}build"))
    team.publish()
    team.publish("--yank", "1.0", "--reason", "the wrong driver " * 9)
    for file in team.index.rglob("index.html"):
        for width in (360, 1400):
            with opened(chrome, file, width=width) as page:
                check_looks(page)


# Checks


@pytest.fixture
def filled(team: Team) -> Team:
    """A team with an index of two wheels, one of which is yanked."""
    for version in ("1.0", "2.0+cu12"):
        tiny(team.dist, version)
    team.publish()
    team.publish("--yank", "2.0+cu12")
    return team


FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "one bit of a wheel": (WHEEL, flip, "damaged"),
    "a wheel gone": (WHEEL, Path.unlink, "missing-file"),
    "another page": (PAGE, flip, "page-differs"),
}


@pytest.mark.parametrize(("key", "spoil", "code"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_told_alone_and_the_next_publish_cures_it(
    filled: Team, capsys: pytest.CaptureFixture[str], key: str, spoil: Spoil, code: str
) -> None:
    spoil(filled.index / key)
    faults = filled.publish("--check", code=1)["faults"]
    assert [(fault["file"], fault["code"]) for fault in faults] == [(key, code)]
    assert main(["publish", "--check", "--index-dir", str(filled.index)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [key, str(filled.index)]
    assert ("restored" in what(filled.publish()).values()) == (key == WHEEL)
    assert filled.publish("--check")["faults"] == []


def test_where_no_index_is_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path) as url:
        none = ["--index-dir", tmp_path / "none"]
        for words in (["--check", *none], ["--yank", "1.0", *none], ["--check", f"{url}nothing/"]):
            answer = published(capsys, *words, code=1)
            assert answer["error"]["code"] == "no-index"
        for word in ("http://x:port/", "http://[::1", "file:///x"):
            published(capsys, "--check", word, code=2)
        (tmp_path / "index.html").write_text("<a href='x/'>x</a>", encoding="utf-8")
        assert published(capsys, "--check", url, code=1)["error"]["code"] == "index-page"
    assert not (tmp_path / "none").exists()


def test_whoever_publishes_meanwhile_makes_no_fault(
    filled: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is changed under the check's hands: between its looking and its comparing."""
    original = Folder.sha256

    def late(folder: Folder, key: str) -> str:
        if (filled.index / WHEEL).exists():
            filled.publish("--remove", "1.0")
        return original(folder, key)

    monkeypatch.setattr(Folder, "sha256", late)
    answer = filled.publish("--check")
    assert (answer["faults"], answer["files"]) == ([], 1)


class Mistaken(Plain):
    """A web server that takes all for text, and wheels for packed."""

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        del path
        return "text/plain"

    def end_headers(self) -> None:
        if self.path.endswith(".whl"):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()


FOLDER = f"{PROJECT}/"
MISTAKEN = {"": "media-type", FOLDER: "media-type", WHEEL: "content-encoding"}
SERVED: dict[str, tuple[type[Plain], str, Spoil, dict[str, str]]] = {
    "other metadata": (Negotiating, METADATA, flip, {METADATA: "damaged"}),
    "no .whl": (Plain, WHEEL, Path.unlink, {WHEEL: "http-404"}),
    "no page": (Plain, FOLDER, shutil.rmtree, {FOLDER: "missing-page"}),
    "packed text": (Mistaken, "", Path.is_dir, MISTAKEN),
}


@pytest.mark.parametrize("name", SERVED)
def test_what_a_client_would_stumble_over_is_told(
    name: str, filled: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    handler, key, spoil, codes = SERVED[name]
    filled.publish("--remove", "2.0+cu12")
    spoil(filled.index / key)
    with served(filled.index, handler) as url:
        answer = published(capsys, "--check", url, code=1)
    told = {fault["file"].removeprefix(url): fault["code"] for fault in answer["faults"]}
    assert told == codes


def test_projects_lie_below_the_page_whatever_else_a_list_of_a_folder_links_to() -> None:
    hrefs = ("?C=N;O=D", "../", "/", "https://x/simple", "Tiny_Thing/", "b", "c-1.whl")
    html = "".join(f'<a href="{href}">x</a>' for href in hrefs).encode()
    assert list_names(Page("http://x/simple/", "text/html", html)) == ["b", "tiny-thing"]


# Readers


PIP = (*(sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir"), "--no-deps")
TOOLS = {
    "pip": (*PIP, "--disable-pip-version-check"),
    "uv": (find_uv_bin(), "pip", "install", "--no-config", "-n", "--python", sys.executable),
}
VERSION = "1.1+cu126.patched"


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_yanked_or_for_another_python_is_not_chosen(
    tool: str, team: Team, tmp_path: Path
) -> None:
    tiny(team.dist, VERSION, "Requires-Python: >=3.8")
    tiny(team.dist, "1.2")
    tiny(team.dist, "1.3", "Requires-Python: >=4")
    team.publish()
    team.publish("--yank", "1.2", "--reason", '"<too> slow & old"')
    for handler in (Plain, Negotiating):
        with served(team.index, handler) as url:
            for requirement, version in (("==1.2", "1.2"), ("", VERSION)):
                target = tmp_path / f"{handler.__name__}{version}"
                where = ("--index-url", url, "--target", str(target))
                command = [*TOOLS[tool], *where, f"{PROJECT}{requirement}"]
                done = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=ENVIRONMENT
                )
                assert (target / f"tiny_thing-{version}.dist-info").is_dir()
                assert ('"<too> slow & old"' in done.stderr) == (version == "1.2")
