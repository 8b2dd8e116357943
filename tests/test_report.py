"""What a build leaves, and what `repack report` shows of it: the page, JSON and Markdown."""

import json
from pathlib import Path
from typing import Literal

import pytest
from browsing import check_looks, opened
from driving import Repack
from msgspec.structs import replace
from playwright.sync_api import Browser
from wheelmaking import make_pyd, make_wheel

from repack.record import BuildRecord, Finding, Outcome, read_record, write_record
from repack.report import write_report

HOSTILE = "<script>document.title='taken'</script><img src=x>|`\u202e\x1b[31m\n## taken"
OUTCOMES = {
    "3.9": Outcome(status="failed", reason=HOSTILE, log=HOSTILE),
    "3.10": Outcome(status="passed", version="4.13.0"),
    "3.12": Outcome(status="not-run", reason="no Wine for Python 3.12"),
    "3.13": Outcome(status="not-run", reason="no Wine for Python 3.13"),
}
NEEDS = ("cufft64_11.dll", "nppc64_12.dll", "nvcuda.dll", "KERNEL32.dll")


@pytest.fixture
def record(tmp_path: Path, repack: Repack) -> BuildRecord:
    """What a build left, and would have left where it had been tried, in another mode."""
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd({dll: ["f"] for dll in NEEDS}),
    }
    wheel = make_wheel(tmp_path / "opencv_python-4.13.0.90-cp37-abi3-win_amd64.whl", files)
    words = ("--driver-stub", "--no-smoke", "--python", ",".join([*OUTCOMES, "3.14t"]))
    assert repack("build", "--source", wheel, *words).code == 0
    made = read_record(repack.folder / "dist" / "build.json")
    wheels = tuple(
        replace(wheel, seen=(replace(wheel.seen[0], after=OUTCOMES[wheel.seen[0].python]),))
        for wheel in made.wheels
    )
    finding = Finding(code="not-cuda", message=HOSTILE, member="m" * 300, hint="look")
    left = ("cufft64_11.dll",)
    return replace(made, wheels=wheels, findings=(finding,), mode="depend", left_out=left)


UNTRIED = ["3.12", "3.13", "3.14t"]


@pytest.fixture
def several(tmp_path: Path, record: BuildRecord) -> Path:
    for name in ("cu12", "cu13"):
        (tmp_path / name).mkdir()
        write_record(replace(record, name=name), tmp_path / name)
    write_report(tmp_path)
    return tmp_path


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
def test_the_page_shows_all_of_the_json_cuts_nothing_and_obeys_no_markup(
    chrome: Browser, several: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    report = json.loads((several / "report.json").read_bytes())
    with opened(chrome, several / "report.html", width=width, scheme=scheme) as page:
        assert page.locator("h1").inner_text() == report["headline"]
        assert page.locator("script, img, [style]").count() == 0
        assert page.locator("section.build").count() == len(report["builds"]) == 2
        first = page.locator("section.build").first
        assert first.locator(".pythons tbody th").all_inner_texts() == ["3.9", "3.10", *UNTRIED]
        assert "<script>" in first.locator(".findings").inner_text()
        page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
        assert first.locator(".dlls tbody tr").count() == 5
        check_looks(page)


def test_each_dll_has_the_place_that_it_comes_from(record: BuildRecord, repack: Repack) -> None:
    dist = repack.folder / "dist"
    write_record(record, dist)
    report = repack("report", "--json").json
    assert report == json.loads((dist / "report.json").read_bytes())
    assert report["version"] == 1
    (build,) = report["builds"]
    places = {row["dll"]: row["place"] for row in build["dlls"]}
    assert places == {
        "nvcuda.dll": "wheel",
        "nppc64_12.dll": "nvidia",
        "cufft64_11.dll": "machine",
        "KERNEL32.dll": "system",
        "python3.dll": "system",
    }
    write_record(replace(record, mode="patch"), dist)
    (build,) = repack("report", "--json").json["builds"]
    assert "nvidia" not in {row["place"] for row in build["dlls"]}


def test_markdown_counts_each_fate_gives_each_reason_once_and_holds_no_markup_of_a_record(
    record: BuildRecord, repack: Repack
) -> None:
    dist = repack.folder / "dist"
    write_record(record, dist)
    report = repack("report", "--markdown").out
    lines = report.splitlines()
    assert lines[0] == "# Works on 1, fails on 1, not tried on 2, no wheel on 1 of 5 Pythons"
    assert "- not run on 3.12, 3.13: no Wine" in lines
    assert any(line.startswith("- no wheel for 3.14t: its binary imports") for line in lines)
    assert "- cv2/cuda&#95;dlls.py, new" in lines
    assert "<script" not in report
    assert "## taken" not in lines
    before = {path: path.stat().st_mtime_ns for path in dist.iterdir()}
    repack("report")
    assert {path: path.stat().st_mtime_ns for path in dist.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no build.json"),
        (b"<html>", "build.json: is not what a build leaves: JSON is malformed"),
        (b'{"version": 1}', "build.json: is not what a build leaves: Invalid enum value 1"),
    ],
)
def test_what_no_build_has_left_is_refused_in_one_line(
    content: bytes | None, reason: str, repack: Repack
) -> None:
    if content:
        (repack.folder / "build.json").write_bytes(content)
    ran = repack("report", ".")
    assert (ran.code, reason in ran.error) == (1, True), ran.error
    assert not (repack.folder / "report.json").exists()
