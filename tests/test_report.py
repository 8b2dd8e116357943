"""What a build leaves, and what `repack report` shows of it: the page, JSON and Markdown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from browsing import check_looks, opened
from driving import Repack
from msgspec.structs import replace
from playwright.sync_api import Browser, Page

from repack.errors import InputError
from repack.record import (
    BuildRecord,
    Cargo,
    Change,
    Finding,
    NeededDll,
    Origin,
    Outcome,
    Refusal,
    Seen,
    WheelRecord,
    read_record,
    write_record,
)
from repack.report import write_report

HOSTILE = "<script>document.title='taken'</script><img src=x>|`\u202e\x1b[31m\n## taken"
LOAD_FAILED = "ImportError: DLL load failed while importing cv2: Module not found."


def wheel(python: str, status: str, *, reason: str = "", log: str = "") -> WheelRecord:
    tag = f"cp{python.replace('.', '')}"
    after = Outcome(status=status, version="4.13.0", reason=reason, log=log)
    return WheelRecord(
        path=f"{'failed/' * (status == 'failed')}x-1+patched-{tag}-{tag}-win_amd64.whl",
        version="1+patched",
        tag=f"{tag}-{tag}-win_amd64",
        size=4_000_000,
        sha256="1",
        seen=(
            Seen(python=python, before=Outcome(status="failed", reason=LOAD_FAILED), after=after),
        ),
    )


NEEDS = {
    "cufft64_11.dll": ("cuda", "cufft"),
    "cublas64_12.dll": ("cuda", "cublas"),
    "nvcuda.dll": ("driver", "driver"),
    "KERNEL32.dll": ("windows", "windows"),
}
RECORD = BuildRecord(
    source=Origin(
        filename="x-1-cp37-abi3-win_amd64.whl",
        name="x",
        version="1",
        url="pkg:pypi/x@1",
        size=3,
        sha256="0",
        cuda="12.9",
    ),
    mode="depend",
    left_out=("cufft64_11.dll",),
    driver_stub=False,
    wheels=(
        wheel("3.10", "passed"),
        wheel("3.9", "failed", reason=HOSTILE, log=HOSTILE),
        wheel("3.12", "not-run", reason="no Wine"),
    ),
    carried=(
        Cargo(
            member="x.libs/nppc64_12.dll",
            family="npp",
            origin="nvidia-npp-cu12 12.4",
            size=2_500_000,
            packed=1,
            sha256="2",
        ),
    ),
    needs=tuple(
        NeededDll(
            dll=dll,
            kind=kind,
            family=family,
            needed_by=("cv2/cv2.pyd",),
            delayed=False,
            in_wheel="",
        )
        for dll, (kind, family) in NEEDS.items()
    ),
    requires=("nvidia-cublas-cu12>=12.9,<13",),
    changes=(
        Change(member="cv2/config.py", new=False, diff="--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"),
        Change(member="cv2/cuda_dlls.py", new=True, diff="--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n"),
    ),
    findings=(Finding(code="not-cuda", message=HOSTILE, member="m" * 300, hint="look"),),
    refused=(Refusal(python="3.14t", reason="its modules use the stable ABI"),),
)


@pytest.fixture
def several(tmp_path: Path) -> Path:
    for name in ("cu12", "cu13"):
        (tmp_path / name).mkdir()
        write_record(replace(RECORD, name=name), tmp_path / name)
    (tmp_path / "cu12/requirements-3.10.txt").touch()
    write_report(tmp_path)
    return tmp_path


@pytest.fixture
def page(chrome: Browser, several: Path) -> Iterator[Page]:
    with opened(chrome, several / "report.html") as shown:
        yield shown


class TestInABrowser:
    pytestmark = pytest.mark.browser

    @pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
    def test_nothing_is_cut_and_every_text_stands_out(
        self, chrome: Browser, several: Path, width: int, scheme: Literal["light", "dark"]
    ) -> None:
        with opened(chrome, several / "report.html", width=width, scheme=scheme) as page:
            page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
            check_looks(page)

    def test_its_figures_are_those_of_the_json(self, page: Page, several: Path) -> None:
        report = json.loads((several / "report.json").read_bytes())
        assert page.locator("h1").inner_text() == report["headline"]
        assert page.locator("section.build").count() == len(report["builds"]) == 2
        for shown, build in zip(page.locator("section.build").all(), report["builds"], strict=True):
            cells = shown.locator(".pythons tbody th").all_inner_texts()
            assert cells == [row["python"] for row in build["pythons"]]
            assert cells == ["3.9", "3.10", "3.12", "3.14t"]
            assert shown.locator(".findings li").count() == len(build["findings"])
            assert shown.locator(".dlls tbody tr").count() == 5

    def test_markup_in_a_record_is_shown_and_not_obeyed(self, page: Page) -> None:
        assert page.title() != "taken"
        assert page.locator("script, img, [style]").count() == 0
        assert "<script>" in page.locator(".findings").first.inner_text()


def test_each_dll_has_the_place_that_it_comes_from(tmp_path: Path, repack: Repack) -> None:
    write_record(RECORD, tmp_path)
    report = repack("report", tmp_path, "--json").json
    assert report == json.loads((tmp_path / "report.json").read_bytes())
    assert report["version"] == 1
    (build,) = report["builds"]
    places = {row["dll"]: row["place"] for row in build["dlls"]}
    assert places == {
        "nppc64_12.dll": "wheel",
        "cublas64_12.dll": "nvidia",
        "cufft64_11.dll": "machine",
        "nvcuda.dll": "machine",
        "KERNEL32.dll": "system",
    }


def test_the_headline_counts_each_fate_and_files_that_are_as_they_were_are_left_alone(
    tmp_path: Path,
) -> None:
    write_record(RECORD, tmp_path)
    headline = "Works on 1, fails on 1, not tried on 1, no wheel on 1 of 4 Pythons"
    assert write_report(tmp_path)[0]["headline"] == headline
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_report(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_markdown_holds_no_markup_of_a_record(tmp_path: Path, repack: Repack) -> None:
    write_record(RECORD, tmp_path)
    report = repack("report", tmp_path, "--markdown").out
    assert report == (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in report
    assert "\n## taken" not in report
    assert "- cv2/config.py\n- cv2/cuda&#95;dlls.py, new\n" in report


def test_where_nothing_was_built_it_says_so(repack: Repack) -> None:
    ran = repack("report", ".")
    assert (ran.code, "has no build.json" in ran.error) == (1, True)
    assert list(repack.folder.iterdir()) == []


#: What stands in a build.json in place of what, and a part of the reason.
DAMAGED = {
    "no JSON": ("{", "<html>", "malformed"),
    "an earlier version": ('"version": 3', '"version": 1', "enum value 1 - at `$.version`"),
    "text": ("4000000", '"4"', "got `str` - at `$.wheels[0].size`"),
}


@pytest.mark.parametrize(("old", "new", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_what_no_build_has_left_is_refused_in_one_line_that_names_the_place(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    write_record(RECORD, tmp_path)
    path = tmp_path / "build.json"
    text = path.read_text(encoding="utf-8").replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not what a build leaves: ") as caught:
        read_record(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (caught.value.code, caught.value.file) == ("build-record", str(path))
