"""`repack publish --index-dir`: what it adds, keeps, refuses, yanks and removes."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from indexing import leave_record, wheel_record
from publishing import PROJECT, published, snapshot, tiny, what
from pypi_simple import ProjectPage
from wheelmaking import make_wheel

Capture = pytest.CaptureFixture[str]
INFO = "tiny_thing-1.0.dist-info"
TAG = "</style></a><script>"
HOSTILE = """</style></a><script>alert('1')</script> "quoted" 'too' & more"""


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return tmp_path / "dist"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def page(index: Path) -> ProjectPage:
    """The JSON page, read by somebody else's library; the HTML page has to say the same."""
    text = (index / PROJECT / "index.json").read_text(encoding="utf-8")
    from_json = ProjectPage.from_json_data(json.loads(text), base_url="http://x/s/tiny-thing/")
    html = (index / PROJECT / "index.html").read_text(encoding="utf-8")
    from_html = ProjectPage.from_html(PROJECT, html, base_url="http://x/s/tiny-thing/")
    assert from_json.repository_version == from_html.repository_version == "1.1"
    by_name = {package.filename: package for package in from_html.packages}
    assert len(by_name) == len(from_html.packages) == len(from_json.packages)
    for package in from_json.packages:
        other = by_name[package.filename]
        for field in (
            *("url", "digests", "requires_python", "is_yanked", "yanked_reason"),
            *("has_metadata", "metadata_digests"),
        ):
            # A yank without a reason is `true` in JSON, and an empty attribute in HTML.
            assert (getattr(package, field) or None) == (getattr(other, field) or None), field
    return from_json


def test_what_is_published_is_told_by_both_pages(
    dist: Path, index: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheel = tiny(dist, "1.1+cu126.patched", "Requires-Python: >=3.8,<4")
    content = wheel.read_bytes()
    answer = published(capsys, dist, "--index-dir", index)
    assert answer["files"] == [
        {
            "project": PROJECT,
            "version": "1.1+cu126.patched",
            "filename": wheel.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "what": "added",
        }
    ]
    (package,) = page(index).packages
    assert package.url == f"http://x/s/tiny-thing/{wheel.name.replace('+', '%2B')}"
    assert package.digests == {"sha256": hashlib.sha256(content).hexdigest()}
    assert (package.size, package.requires_python) == (len(content), ">=3.8,<4")
    assert package.upload_time is not None
    assert package.upload_time.isoformat() == "2023-11-14T22:13:20+00:00"
    told = (index / PROJECT / f"{wheel.name}.metadata").read_bytes()
    assert package.metadata_digests == {"sha256": hashlib.sha256(told).hexdigest()}
    assert b"Requires-Python: >=3.8,<4" in told
    assert (index / PROJECT / wheel.name).read_bytes() == content
    document = json.loads((index / PROJECT / "index.json").read_bytes())
    assert document["versions"] == ["1.1+cu126.patched"]
    assert "tracks" not in document["meta"] | document
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
    answer = published(capsys, dist, "--index-dir", index)
    assert what(answer) == {old.name: "there already"}
    assert snapshot(index) == before
    new = tiny(dist, "1.10")
    tiny(dist, "1.9")
    published(capsys, dist, "--index-dir", index)
    times = {each.filename: each.upload_time for each in page(index).packages}
    assert [str(times[each.name])[:4] for each in (old, new)] == ["2023", "2027"]
    assert page(index).versions == ["1.0", "1.9", "1.10"]


def test_other_bytes_of_a_known_name_are_refused_before_anything_is_written(
    dist: Path, index: Path, capsys: Capture
) -> None:
    tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    before = snapshot(index)
    tiny(dist, "1.0", value=2)
    tiny(dist, "0.9")
    answer = published(capsys, dist, "--index-dir", index, code=1)
    assert answer["error"]["code"] == "other-bytes"
    assert snapshot(index) == before


def test_other_bytes_that_no_page_lists_are_refused_too(
    dist: Path, index: Path, capsys: Capture
) -> None:
    tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    tiny(index / PROJECT, "2.0", value=2)
    before = snapshot(index)
    tiny(dist, "2.0")
    assert published(capsys, dist, "--index-dir", index, code=1)["error"]["code"] == "other-bytes"
    assert snapshot(index) == before


def record_of(folder: Path, *wheels: Path, status: str = "passed") -> None:
    """Leave the record of a build of these wheels."""
    leave_record(folder, [wheel_record(folder, wheel, ["3.12"], status=status) for wheel in wheels])


def test_wheels_are_taken_from_the_folders_of_builds_and_from_no_other(
    dist: Path, index: Path, capsys: Capture
) -> None:
    record_of(dist / "cu126", tiny(dist / "cu126", "1.0"))
    tiny(dist / "failed", "2.0")
    tiny(dist / "elsewhere", "3.0")
    record_of(dist / ".work", tiny(dist / ".work", "4.0"))
    tiny(dist, "5.0").rename(dist / ".hidden.whl")
    answer = published(capsys, dist, "--index-dir", index)
    assert [each["version"] for each in answer["files"]] == ["1.0"]
    shown = (index / PROJECT / "index.html").read_text("utf-8")
    for fact in ("</span>12<", "finds the CUDA DLLs on the machine", "imports on 3.12"):
        assert fact in shown


def no_folder(dist: Path) -> None:
    shutil.rmtree(dist)


def no_wheels(dist: Path) -> None:
    for path in dist.iterdir():
        path.unlink()


def no_archive(dist: Path) -> None:
    tiny(dist, "1.0").write_text("<html>")


def wrong_record(dist: Path) -> None:
    make_wheel(tiny(dist, "1.0"), {f"{INFO}/RECORD": b"tiny_thing.py,sha256=x,1\n"})


def wrong_name(dist: Path) -> None:
    tiny(dist, "1.0").rename(dist / "tiny.whl")


def changed_since(dist: Path) -> None:
    record_of(dist, tiny(dist, "1.0"))
    tiny(dist, "1.0", value=2)


def failed(dist: Path) -> None:
    record_of(dist, tiny(dist, "1.0"), status="failed")


def one_name_for_two(dist: Path) -> None:
    record_of(dist / "a", tiny(dist / "a", "1.0"))
    record_of(dist / "b", tiny(dist / "b", "1.0", value=2))


def too_large(dist: Path) -> None:
    tiny(dist, "1.0", "Keywords: " + "x" * 3000)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(no_folder, "missing-folder", id="no folder"),
        pytest.param(no_wheels, "no-wheels", id="no wheels"),
        pytest.param(no_archive, "not-a-zip", id="no archive"),
        pytest.param(wrong_record, "record", id="RECORD is wrong"),
        pytest.param(wrong_name, "filename", id="no name of a wheel"),
        pytest.param(changed_since, "changed", id="changed since its build"),
        pytest.param(failed, "failed-wheel", id="did not work"),
        pytest.param(one_name_for_two, "other-bytes", id="two of one name"),
        pytest.param(too_large, "too-large", id="larger than the index takes"),
    ],
)
def test_what_may_not_be_handed_on_leaves_no_index(
    dist: Path, index: Path, capsys: Capture, spoil: Callable[[Path], None], code: str
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
    before = snapshot(index)
    answer = published(capsys, "--index-dir", index, "--yank", "1.0", "--reason", HOSTILE)
    assert list(what(answer).values()) == ["yanked"]
    yanked = {each.version: each.yanked_reason for each in page(index).packages}
    assert yanked == {"1.0": HOSTILE, "1.0+cu126": None}
    again = published(capsys, "--index-dir", index, "--yank", "1.0", "--reason", HOSTILE)
    assert list(what(again).values()) == ["unchanged"]
    published(capsys, dist, "--index-dir", index)
    assert page(index).packages[0].is_yanked
    published(capsys, "--index-dir", index, "--yank", "1.0")
    assert page(index).packages[0].is_yanked
    assert not page(index).packages[0].yanked_reason
    published(capsys, "--index-dir", index, "--unyank", "1.0")
    assert not any(each.is_yanked for each in page(index).packages)
    assert snapshot(index).keys() == before.keys()


def test_hostile_metadata_stays_text(dist: Path, index: Path, capsys: Capture) -> None:
    requires = "Requires-Dist: numpy; python_version > '3' and extra == '\"$(x)`y`\"'"
    tiny(dist, "1.0", f"Summary: {HOSTILE}", f"Requires-Python: ==={TAG}", requires)
    published(capsys, dist, "--index-dir", index)
    (package,) = page(index).packages
    assert package.requires_python == f"==={TAG}"
    shown = (index / PROJECT / "index.html").read_text("utf-8")
    assert "<script" not in shown
    assert "$(x)" not in shown


def test_a_version_is_removed_and_the_last_one_takes_the_project_along(
    dist: Path, index: Path, capsys: Capture
) -> None:
    for version in ("1.0", "2.0"):
        tiny(dist, version)
    published(capsys, dist, "--index-dir", index)
    answer = published(capsys, "--index-dir", index, "--remove", "1.0")
    assert list(what(answer).values()) == ["removed"]
    assert [each.version for each in page(index).packages] == ["2.0"]
    assert not list((index / PROJECT).glob("*-1.0-*"))
    published(capsys, "--index-dir", index, "--remove", "2.0")
    assert [path.name for path in sorted(index.iterdir())] == [
        *(".repack.lock", "index.html", "index.json", PROJECT)
    ]
    assert page(index).packages == []
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
    answer = published(
        capsys, "--index-dir", index, "--yank", "1.0", "--project", "no-thing", code=1
    )
    assert answer["error"]["code"] == "no-project"
    assert published(capsys, "--index-dir", index, "--yank", "9", code=1)["error"]["code"] == (
        "no-version"
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--yank", "1.0", "dist"), id="yank and publish"),
        pytest.param(("--reason", "x"), id="a reason for nothing"),
        pytest.param(("--project", "x"), id="a project for nothing"),
        pytest.param(("--yank", "one"), id="no version"),
        pytest.param(("--check", "dist"), id="check and publish"),
        pytest.param(("--check", "http://x/"), id="check two indexes"),
        pytest.param(("--check", "--reason", "x"), id="check and a reason"),
        pytest.param(("--check", "--repository", "team"), id="check what takes uploads"),
        pytest.param(("--yank", "1.0", "--reason", "a\x1b[2J"), id="what no page shows"),
    ],
)
def test_contradictions_are_told(words: tuple[str, ...], index: Path, capsys: Capture) -> None:
    place = () if "--repository" in words else ("--index-dir", index)
    published(capsys, *words, *place, code=2)
    assert not index.exists()


def test_what_a_killed_removal_left_is_told_and_not_taken_back(
    dist: Path, index: Path, capsys: Capture, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        tiny(dist, version)
    published(capsys, dist, "--index-dir", index)
    shutil.copytree(index, tmp_path / "before")
    published(capsys, "--index-dir", index, "--remove", "1.0")
    left = tmp_path / "before" / PROJECT / "tiny_thing-1.0-py3-none-any.whl"
    shutil.copy(left, index / PROJECT)
    (dist / left.name).unlink()
    published(capsys, dist, "--index-dir", index)
    assert [each.version for each in page(index).packages] == ["2.0"]
    published(capsys, "--index-dir", index, "--remove", "1.0")
    assert not (index / PROJECT / left.name).exists()


@pytest.mark.parametrize(
    ("key", "content"),
    [
        pytest.param("index.html", b"<a href='x/'>x</a>", id="all projects"),
        pytest.param("index.json", b"{}", id="all projects, JSON"),
        pytest.param(f"{PROJECT}/index.html", b"<a href='x.whl'>x</a>", id="a project"),
        pytest.param(
            f"{PROJECT}/index.json",
            b'{"meta":{"api-version":"1.0"},"name":"tiny-thing","files":[{"filename":'
            b'"tiny_thing-1.0.tar.gz","url":"https://example.com/tiny_thing-1.0.tar.gz","hashes":'
            b'{"sha256":"' + b"0" * 64 + b'"},"size":1,"upload-time":"2020-01-01T00:00:00Z"}]}',
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
    answer = published(capsys, dist, "--index-dir", index, code=1)
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


def test_the_url_is_kept_for_the_pages(dist: Path, index: Path, capsys: Capture) -> None:
    tiny(dist, "1.0")
    url = "https://index.example.com/team"
    published(capsys, dist, "--index-dir", index, "--index-url", url)
    tiny(dist, "2.0")
    published(capsys, dist, "--index-dir", index)
    shown = (index / PROJECT / "index.html").read_text("utf-8")
    assert f"--index-url {url}/ {PROJECT}==2.0" in shown
    assert "extra-index-url" not in shown


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
