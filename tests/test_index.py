"""`repack publish --index-dir`: what it adds, keeps, refuses, yanks and removes."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import check_looks, contrasts, opened
from indexing import leave_record, wheel_record
from playwright.sync_api import Browser
from publishing import PROJECT, published, snapshot, tiny, what
from pypi_simple import ProjectPage
from wheelmaking import make_wheel

Capture = pytest.CaptureFixture[str]
INFO = "tiny_thing-1.0.dist-info"
TAG = "</style></a><script>"
HOSTILE = """</style></a><script>alert('1')</script> "quoted" 'too' & more"""
FIELDS = "url digests requires_python is_yanked yanked_reason has_metadata metadata_digests"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return tmp_path / "dist"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def read_page(index: Path) -> ProjectPage:
    """The JSON page, read by somebody else's library; the HTML page has to say the same."""
    base, folder = "http://x/s/tiny-thing/", index / PROJECT
    from_json = ProjectPage.from_json_data(json.loads((folder / "index.json").read_bytes()), base)
    html = (folder / "index.html").read_text("utf-8")
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


def test_what_is_published_is_told_by_all_pages(
    dist: Path, index: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheel = tiny(dist, "1.1+cu126.patched", "Requires-Python: >=3.8,<4")
    content = wheel.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    answer = published(capsys, dist, "--index-dir", index)
    assert answer["files"] == [
        {
            "project": PROJECT,
            "version": "1.1+cu126.patched",
            "filename": wheel.name,
            "sha256": sha256,
            "size": len(content),
            "what": "added",
        }
    ]
    (package,) = read_page(index).packages
    assert package.url == f"http://x/s/tiny-thing/{wheel.name.replace('+', '%2B')}"
    assert package.digests == {"sha256": sha256}
    assert (package.size, package.requires_python) == (len(content), ">=3.8,<4")
    assert package.upload_time
    assert package.upload_time.isoformat() == "2023-11-14T22:13:20+00:00"
    told = (index / PROJECT / f"{wheel.name}.metadata").read_bytes()
    assert package.metadata_digests == {"sha256": hashlib.sha256(told).hexdigest()}
    assert b"Requires-Python: >=3.8,<4" in told
    assert (index / PROJECT / wheel.name).read_bytes() == content
    assert read_page(index).versions == ["1.1+cu126.patched"]
    root = json.loads((index / "index.json").read_bytes())
    assert root == {"meta": {"api-version": "1.1"}, "projects": [{"name": PROJECT}]}
    assert f'<a href="{PROJECT}/">{PROJECT}</a>' in (index / "index.html").read_text("utf-8")


def test_a_second_publish_writes_nothing_and_keeps_the_times(
    dist: Path, index: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    old = tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    before = snapshot(index)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    assert what(published(capsys, dist, "--index-dir", index)) == {old.name: "there already"}
    assert snapshot(index) == before
    new = tiny(dist, "1.10")
    tiny(dist, "1.9")
    published(capsys, dist, "--index-dir", index)
    times = {package.filename: package.upload_time for package in read_page(index).packages}
    assert [str(times[wheel.name])[:4] for wheel in (old, new)] == ["2023", "2027"]
    assert read_page(index).versions == ["1.0", "1.9", "1.10"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "listed by no page"])
def test_other_bytes_of_a_known_name_are_refused_before_anything_is_written(
    *, listed: bool, dist: Path, index: Path, capsys: Capture
) -> None:
    tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    if not listed:
        tiny(index / PROJECT, "2.0", value=2)
    before = snapshot(index)
    tiny(dist, "1.0" if listed else "2.0", value=3)
    tiny(dist, "0.9")
    answer = published(capsys, dist, "--index-dir", index, code=1)
    assert answer["error"]["code"] == "other-bytes"
    assert snapshot(index) == before


def record_of(folder: Path, *wheels: Path, status: str = "passed") -> None:
    """Leave the record of a build of these wheels."""
    leave_record(folder, [wheel_record(folder, wheel, ["3.12"], status=status) for wheel in wheels])


def test_wheels_are_taken_from_the_folders_of_builds_and_from_no_other(
    dist: Path, index: Path, capsys: Capture
) -> None:
    record_of(dist / "cu126", tiny(dist / "cu126", "1.0"))
    tiny(dist / "failed", "2.0")
    record_of(dist / ".work", tiny(dist / ".work", "4.0"))
    tiny(dist, "5.0").rename(dist / ".hidden.whl")
    published(capsys, dist, "--index-dir", index)
    assert read_page(index).versions == ["1.0"]
    shown = (index / PROJECT / "index.html").read_text("utf-8")
    assert "CUDA 12, mode patch: passed on Python 3.12" in shown


def changed_since(dist: Path) -> None:
    record_of(dist, tiny(dist, "1.0"))
    tiny(dist, "1.0", value=2)


def one_name_for_two(dist: Path) -> None:
    record_of(dist / "a", tiny(dist / "a", "1.0"))
    record_of(dist / "b", tiny(dist / "b", "1.0", value=2))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no-wheels"),
    "no wheels": (lambda dist: next(dist.iterdir()).unlink(), "no-wheels"),
    "no archive": (lambda dist: tiny(dist, "1.0").write_text("<html>"), "not-a-zip"),
    "RECORD is wrong": (
        lambda dist: make_wheel(tiny(dist, "1.0"), {f"{INFO}/RECORD": b"tiny.py,sha256=x,1\n"}),
        "record",
    ),
    "no name of a wheel": (
        lambda dist: tiny(dist, "1.0").rename(dist / "tiny.whl"),
        "filename",
    ),
    "changed since its build": (changed_since, "changed"),
    "did not work": (
        lambda dist: record_of(dist, tiny(dist, "1.0"), status="failed"),
        "failed-wheel",
    ),
    "two of one name": (one_name_for_two, "other-bytes"),
    "larger than the index takes": (
        lambda dist: tiny(dist, "1.0", "Keywords: " + "x" * 3000),
        "too-large",
    ),
}


@pytest.mark.parametrize(("spoil", "code"), REFUSED.values(), ids=REFUSED)
def test_what_may_not_be_handed_on_leaves_no_index(
    dist: Path, index: Path, capsys: Capture, spoil: Callable[[Path], object], code: str
) -> None:
    tiny(dist, "0.9")
    spoil(dist)
    words = ("--index-dir", index, "--set", "publish.max-size=910")
    assert published(capsys, dist, *words, code=1)["error"]["code"] == code
    assert not index.exists()


def test_a_version_is_yanked_with_its_reason_and_taken_back(
    dist: Path, index: Path, capsys: Capture
) -> None:
    for version in ("1.0", "1.0+cu126"):
        tiny(dist, version)
    published(capsys, dist, "--index-dir", index)
    for done in ("yanked", "unchanged"):
        answer = published(capsys, "--index-dir", index, "--yank", "1.0", "--reason", HOSTILE)
        assert list(what(answer).values()) == [done]
    yanked = {package.version: package.yanked_reason for package in read_page(index).packages}
    assert yanked == {"1.0": HOSTILE, "1.0+cu126": None}
    published(capsys, dist, "--index-dir", index)
    published(capsys, "--index-dir", index, "--yank", "1.0")
    (first, _) = read_page(index).packages
    assert (first.is_yanked, first.yanked_reason or "") == (True, "")
    published(capsys, "--index-dir", index, "--unyank", "1.0")
    assert not any(package.is_yanked for package in read_page(index).packages)


def test_hostile_metadata_stays_text(dist: Path, index: Path, capsys: Capture) -> None:
    tiny(dist, "1.0", f"Summary: {HOSTILE}", f"Requires-Python: ==={TAG}")
    published(capsys, dist, "--index-dir", index)
    (package,) = read_page(index).packages
    assert package.requires_python == f"==={TAG}"
    assert "<script" not in (index / PROJECT / "index.html").read_text("utf-8")


def test_a_version_is_removed_and_the_last_one_takes_the_project_along(
    dist: Path, index: Path, capsys: Capture
) -> None:
    for version in ("1.0", "2.0"):
        tiny(dist, version)
    published(capsys, dist, "--index-dir", index)
    answer = published(capsys, "--index-dir", index, "--remove", "1.0")
    assert list(what(answer).values()) == ["removed"]
    assert [package.version for package in read_page(index).packages] == ["2.0"]
    assert not list((index / PROJECT).glob("*-1.0-*"))
    published(capsys, "--index-dir", index, "--remove", "2.0")
    assert read_page(index).packages == []
    assert PROJECT not in (index / "index.html").read_text("utf-8")


def test_where_several_projects_have_a_version_one_must_be_named(
    dist: Path, index: Path, capsys: Capture
) -> None:
    for name in ("tiny_thing", "other_thing"):
        tiny(dist, "1.0", name=name)
    published(capsys, dist, "--index-dir", index)
    published(capsys, "--index-dir", index, "--remove", "1.0", code=2)
    published(capsys, "--index-dir", index, "--remove", "1.0", "--project", "Other.Thing")
    assert [path.parent.name for path in index.glob("*/*.whl")] == [PROJECT]
    for words in (["--yank", "1.0", "--project", "no-thing"], ["--yank", "9"]):
        answer = published(capsys, "--index-dir", index, *words, code=1)
        assert answer["error"]["code"] == "no-version"
        assert f"{PROJECT} 1.0" in answer["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("--yank 1.0 dist", id="yank and publish"),
        pytest.param("--reason x", id="a reason for nothing"),
        pytest.param("--project x", id="a project for nothing"),
        pytest.param("--yank one", id="no version"),
        pytest.param("--check dist", id="check what is no URL"),
        pytest.param("--check http://x/", id="check two indexes"),
        pytest.param("--check --reason x", id="check and a reason"),
        pytest.param("--check --repository team", id="check what takes uploads"),
        pytest.param("--yank 1.0 --reason a\x1b[2J", id="what no page shows"),
    ],
)
def test_contradictions_are_told(words: str, index: Path, capsys: Capture) -> None:
    place = () if "--repository" in words else ("--index-dir", index)
    published(capsys, *words.split(" "), *place, code=2)
    assert not index.exists()


@pytest.mark.parametrize(
    ("key", "content"),
    [
        pytest.param("index.html", b"<a href='x/'>x</a>", id="all projects"),
        pytest.param("index.json", b"{}", id="all projects, JSON"),
        pytest.param(f"{PROJECT}/index.html", b"<a href='x.whl'>x</a>", id="a project"),
        pytest.param(
            f"{PROJECT}/index.json",
            b'{"meta":{"api-version":"1.0"},"name":"tiny-thing","versions":[],"files":[{"filename":'
            b'"tiny_thing-1.0-py3-none-any.whl","url":"https://example.com/tiny_thing-1.0-py3-none'
            b'-any.whl","hashes":{"sha256":"' + b"0" * 64 + b'"},"size":1,"core-metadata":'
            b'{"sha256":"' + b"0" * 64 + b'"},"upload-time":"2020-01-01T00:00:00Z"}]}',
            id="files that lie elsewhere",
        ),
    ],
)
def test_pages_of_somebody_else_are_left_alone(
    dist: Path, index: Path, capsys: Capture, key: str, content: bytes
) -> None:
    (index / key).parent.mkdir(parents=True)
    (index / key).write_bytes(content)
    tiny(dist, "1.0")
    before = snapshot(index)
    for words in ([dist], ["--check"]):
        answer = published(capsys, *words, "--index-dir", index, code=1)
        assert answer["error"]["code"] == "foreign-index"
    assert snapshot(index) == before


def test_a_file_that_was_lost_or_damaged_is_restored(
    dist: Path, index: Path, capsys: Capture
) -> None:
    wheel = tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    there = index / PROJECT / wheel.name
    for spoil in (there.unlink, lambda: there.write_bytes(bytes(wheel.stat().st_size))):
        spoil()
        assert what(published(capsys, dist, "--index-dir", index)) == {wheel.name: "restored"}
        assert there.read_bytes() == wheel.read_bytes()


def test_the_settings_name_the_index(
    dist: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(dist, "1.0")
    (tmp_path / "repack.toml").write_text('[publish]\nindex-dir = "team"\n', encoding="utf-8")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    published(capsys, "--config", "../repack.toml")
    assert (tmp_path / "team" / PROJECT / "index.html").is_file()
    assert published(capsys, code=2)["error"]["message"].startswith("no index is named")


@pytest.mark.browser
def test_people_can_read_the_pages(
    dist: Path, index: Path, capsys: Capture, chrome: Browser
) -> None:
    record_of(dist, tiny(dist, "1.0"))
    record_of(dist, tiny(dist, f"1.0+{'internal.' * 12}build"))
    published(capsys, dist, "--index-dir", index)
    published(capsys, "--index-dir", index, "--yank", "1.0", "--reason", "the wrong driver " * 9)
    for file in index.rglob("index.html"):
        for width in (360, 1400):
            with opened(chrome, file, width=width) as page:
                check_looks(page)
                page.emulate_media(color_scheme="dark")
                assert contrasts(page) >= 4.5
