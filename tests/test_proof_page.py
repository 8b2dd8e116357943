"""The proof's page: what it says, as a browser shows it, is what `proof.json` says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from browsing import check_looks, opened
from playwright.sync_api import Browser
from proof.page import LOG_LIMIT, Excerpt, columns_of, excerpt, page_of, visible, word_of
from proof.results import Answer, Cell, Proof, Story, from_json, to_json

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>&amp; \"'</pre></details>"
)
BIN = r"D:\Jürgen Groß\куда\東京\bin"
#: As long as Wine's, each line with its number, so that what is left out can be told.
LONG_LOG = "".join(f"{n:05}: trace:loaddll: Loaded nppc64_12.dll: native\n" for n in range(1000))
LOAD_FAILED = "ImportError: DLL load failed while importing cv2: Module not found."


def cell(python: str, wheel: str, seen: str, *faults: str, **more: str) -> Cell:
    answers = (Answer(dll="nppc64_12.dll", file=rf"{BIN}\nppc64_12.dll"),)
    wanted = more.pop("wanted", "fails" if wheel == "untouched" else "imports")
    return Cell(
        python=python,
        wheel=wheel,
        wanted=wanted,
        seen=seen,
        faults=faults,
        answers=answers if seen.startswith("imports") else (),
        seconds=2.25,
        **more,
    )


PROOF = Proof(
    repack="0.1.0",
    system="W" * 300,
    stories=(
        Story(
            name="all right",
            title="All right",
            why="What works.",
            text='title = "All right"\n',
            cells=(
                cell("3.10", "untouched", LOAD_FAILED, message=LOAD_FAILED),
                cell("3.10", "patch", "imports", log="Loaded\r\n\x1b[31mred\x1b[0m\r\n"),
                cell("3.9", "patch", "imports"),
                cell("3.9", "untouched", LOAD_FAILED, message=LOAD_FAILED),
            ),
        ),
        Story(
            name="hostile",
            title=HOSTILE,
            why=HOSTILE,
            text=HOSTILE,
            cells=(
                cell("3.10", "untouched", "E: " + HOSTILE, message="\n" + HOSTILE, log=LONG_LOG),
                cell("3.10", "vendor", "crashed in the program", "was to import", HOSTILE),
                cell("3.12", "patch", LOAD_FAILED, HOSTILE, log="x" * 900, wanted=HOSTILE),
                cell("3.14", "patch", "imports", log="a lone \udc81, \u202eand back"),
            ),
        ),
    ),
)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
def test_in_a_browser_everything_of_the_json_is_there_and_nothing_is_cut(
    chrome: Browser, tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    file = tmp_path / "index.html"
    file.write_text(page_of(from_json(to_json(PROOF))), encoding="utf-8")
    with opened(chrome, file, width=width, scheme=scheme) as page:
        assert page.title() == "6 right of 8: the proof of repack 0.1.0"
        assert page.locator("h1").inner_text() == PROOF.figure == "6 right of 8"
        assert page.locator("script, img, [onerror], [style]").count() == 0
        assert "default-src 'none'; style-src" in page.content()
        assert page.locator(".wheels tr").all_inner_texts() == [
            *("untouched\t3 of 3", "patch\t3 of 4", "vendor\t0 of 1")
        ]
        assert page.locator("details.cell.wrong[open]").count() == 2
        assert page.locator("details.cell[open]").count() == 2
        page.get_by_role("link", name="imports").first.click()
        page.locator("details.cell", has_text="3.9 patch").locator(".body").wait_for(
            state="visible"
        )
        page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
        check_looks(page)
        for shown, story in zip(page.locator("article").all(), PROOF.stories, strict=True):
            text = shown.inner_text()
            assert all(part.strip() in text for part in (story.title, story.why, story.text))
        for shown, seen in zip(page.locator("details.cell").all(), PROOF.cells, strict=True):
            text = shown.inner_text()
            parts = [seen.python, seen.wheel, seen.wanted, seen.seen, *seen.faults]
            parts += [part for answer in seen.answers for part in (answer.dll, answer.file)]
            assert all(part in text for part in parts)
            assert ("✓ right" if seen.right else "✗ wrong") in text
            for log in shown.locator("pre").all_text_contents():
                whole = visible(seen.message.strip()), visible(seen.log.strip())
                assert log.strip() in whole or "characters are left out here" in log
        page.get_by_label("only what is not right").check()
        rows = [row for row in page.locator(".overview tbody tr").all() if row.is_visible()]
        assert [row.locator("th").inner_text() for row in rows] == [HOSTILE]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param("imports", "imports", id="imports"),
        pytest.param(LOAD_FAILED, "fails", id="an exception"),
        pytest.param("hangs: it had not ended after 150 s", "hangs", id="hangs"),
        pytest.param("crashed in the program (exit code 0xC0000005)", "crashes", id="crashes"),
        pytest.param("could not be tried: no Wine", "not tried", id="not tried"),
    ],
)
def test_a_field_of_the_overview_says_in_a_word_what_was_seen(seen: str, word: str) -> None:
    assert word_of(seen) == word


@pytest.mark.parametrize(
    ("text", "limit", "wanted"),
    [
        pytest.param("abc", 3, Excerpt(head="abc"), id="short"),
        pytest.param("abcdef", 4, Excerpt(head="ab", left_out=2, tail="ef"), id="one line"),
        pytest.param(
            "one\ntwo\nsix\nten\n", 10, Excerpt(head="one\n", left_out=8, tail="ten\n"), id="lines"
        ),
    ],
)
def test_a_long_text_loses_its_middle(text: str, limit: int, wanted: Excerpt) -> None:
    assert excerpt(text, limit) == wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\r\nb\tc\n", "a\nb\tc\n", id="lines of Windows, tabs"),
        pytest.param("\x1b[31m", "␛[31m", id="a terminal's colour"),
        pytest.param("\x00", "␀", id="NUL"),
        pytest.param("50 %\rdone", "50 %␍done", id="a line written over"),
        pytest.param("\udc81", "⟨U+DC81⟩", id="a byte that is no text"),
        pytest.param("\u202egnp.exe", "⟨U+202E⟩gnp.exe", id="a reading direction"),
        pytest.param("Jürgen 東京 ✓", "Jürgen 東京 ✓", id="letters of anywhere"),
    ],
)
def test_nothing_hides_in_a_text(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_pythons_stand_in_the_order_of_their_versions_the_untouched_wheel_first() -> None:
    columns = [(column.python, column.wheel) for column in columns_of(PROOF)]
    assert columns == [
        *(("3.9", "untouched"), ("3.9", "patch")),
        *(("3.10", "untouched"), ("3.10", "patch"), ("3.10", "vendor")),
        *(("3.12", "patch"), ("3.14", "patch")),
    ]


def test_the_largest_proof_is_a_page_of_less_than_20_megabytes() -> None:
    log = '42 "<&>" loaddll: C:\\cuda\\bin\\nppc64_12.dll\n' * 1000
    cells = tuple(
        cell(f"3.{minor}", wheel, "imports", message=LOAD_FAILED, log=log)
        for minor in range(7, 14)
        for wheel in ("untouched", "patch", "vendor")
    )
    stories = tuple(Story(name=f"{n}", title="", why="", text="", cells=cells) for n in range(80))
    page = page_of(Proof(repack="0.1.0", system="Wine", stories=stories))
    assert len(log) > LOG_LIMIT
    assert len(page.encode()) < 20_000_000
