"""The proof's page: what it says, as a browser shows it, is what `proof.json` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from browsing import browser, opened
from playwright.sync_api import Browser, Page
from proof.page import LOG_LIMIT, Excerpt, columns_of, excerpt, page_of, visible, word_of
from proof.results import Answer, Cell, Proof, Story, from_json, to_json

PYTHONS = ("3.7", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
WHEELS = ("untouched", "patch", "vendor")
MODES = (*WHEELS, "depend")
HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>&amp; \"'</pre></details>"
)
BIN = r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v12.9\bin"
ABROAD = r"D:\Jürgen Groß\куда\東京\bin"
#: As long as Wine's, each line with its number, so that what is left out can be told.
LONG_LOG = "".join(f"{n:05}: trace:loaddll: Loaded nppc64_12.dll: native\n" for n in range(1000))


def cell(python: str, wheel: str, seen: str, *faults: str, **more: str) -> Cell:
    answers = (Answer(dll="nppc64_12.dll", file=rf"{more.pop('where', BIN)}\nppc64_12.dll"),)
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


def story(name: str, *cells: Cell, **more: str) -> Story:
    told = {"title": f"About {name}", "why": f"Why {name}.", "text": f'title = "{name}"\n'}
    return Story(name=name, cells=cells, **{**told, **more})


LOAD_FAILED = "ImportError: DLL load failed while importing cv2: Module not found."
PROOF = Proof(
    repack="0.1.0",
    system="Wine 8.0, Debian 12",
    stories=(
        story(
            "all right",
            cell("3.10", "untouched", LOAD_FAILED, message=LOAD_FAILED),
            cell("3.10", "patch", "imports", log="Loaded\r\n\x1b[31mred\x1b[0m\r\n"),
            cell("3.9", "patch", "imports"),
            cell("3.9", "untouched", LOAD_FAILED, message=LOAD_FAILED),
        ),
        story(
            "all wrong",
            cell("3.12", "untouched", "imports", "was to fail, and imports"),
            cell(
                "3.12", "patch", "hangs: it had not ended after 150 s", "was to import, and hangs"
            ),
            cell(
                "3.10",
                "vendor",
                "crashed in the program (exit code 0xC0000005)",
                "was to import",
                "no DLL of " + ABROAD,
            ),
        ),
        story(
            "hostile",
            cell("3.10", "untouched", "E: " + HOSTILE, message="\n" + HOSTILE, log=LONG_LOG),
            cell(
                "3.12", "patch", LOAD_FAILED, HOSTILE, message=HOSTILE, log=HOSTILE, wanted=HOSTILE
            ),
            cell("3.14", "patch", "imports", where=ABROAD, log="a lone \udc81, \u202eand back"),
            title=HOSTILE,
            why=HOSTILE,
            text=HOSTILE,
        ),
    ),
)


def matrix(stories: int, pythons: tuple[str, ...], log: str) -> Proof:
    cells = tuple(
        cell(python, wheel, "imports", message=LOAD_FAILED, log=log)
        for python in pythons
        for wheel in WHEELS
    )
    told = tuple(story(f"scenario {n}", *cells) for n in range(stories))
    return Proof(repack="0.1.0", system="Wine", stories=told)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "index.html"
    path.write_text(page_of(PROOF), encoding="utf-8")
    return path


@pytest.fixture
def page(chrome: Browser, file: Path) -> Iterator[Page]:
    with opened(chrome, file) as shown:
        yield shown


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def overflow(page: Page) -> int:
    told = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert isinstance(told, int)
    return told


class TestWhatItSays:
    pytestmark = pytest.mark.browser

    def test_headline_is_the_figure_of_the_json(self, page: Page) -> None:
        told = from_json(to_json(PROOF))
        assert texts(page, "h1") == [f"{told.right} right of {len(told.cells)}"] == [told.figure]
        assert told.figure == "6 right of 10"

    def test_says_what_it_ran_on_and_of_which_repack(self, page: Page) -> None:
        head = texts(page, "header")[0]
        assert "repack 0.1.0" in head
        assert "3 scenarios, run on Wine 8.0, Debian 12." in head

    def test_overview_has_each_cell_where_it_belongs(self, page: Page) -> None:
        columns = columns_of(PROOF)
        rows = page.locator(".overview tbody tr")
        assert rows.count() == len(PROOF.stories)
        for row, each in zip(rows.all(), PROOF.stories, strict=True):
            shown = [" ".join(td.inner_text().split()) for td in row.locator("td").all()]
            at = {(one.python, one.wheel): one for one in each.cells}
            wanted = [at.get((column.python, column.wheel)) for column in columns]
            assert shown == [
                f"{word_of(one.seen)} {'✓ right' if one.right else '✗ wrong'}" if one else ""
                for one in wanted
            ]

    def test_heads_of_the_columns_name_python_and_wheel(self, page: Page) -> None:
        first, second = page.locator(".overview thead tr").all()
        assert first.locator("th").all_inner_texts() == [
            "Scenario",
            *(f"Python {python}" for python in ("3.9", "3.10", "3.12", "3.14")),
        ]
        assert second.locator("th").all_inner_texts() == [
            *("untouched", "patch"),
            *("untouched", "patch", "vendor"),
            *("untouched", "patch"),
            *("patch",),
        ]

    def test_sums_are_those_of_the_json(self, page: Page) -> None:
        assert texts(page, ".wheels tr") == ["untouched 3 of 4", "patch 3 of 5", "vendor 0 of 1"]
        assert texts(page, ".overview tfoot td") == [
            *("1 of 1", "1 of 1"),
            *("2 of 2", "1 of 1", "0 of 1"),
            *("0 of 1", "0 of 2"),
            *("1 of 1",),
        ]


class TestWhatIsAClickAway:
    pytestmark = pytest.mark.browser

    @pytest.mark.parametrize("width", [360, 1400])
    def test_everything_of_a_cell(self, chrome: Browser, file: Path, width: int) -> None:
        with opened(chrome, file, width=width) as page:
            open_all(page)
            details = page.locator("details.cell").all()
            for shown, each in zip(details, PROOF.cells, strict=True):
                text = shown.inner_text()
                for part in (each.python, each.wheel, each.wanted, each.seen, *each.faults):
                    assert part in text
                for answer in each.answers:
                    assert answer.dll in text
                    assert answer.file in text
                assert ("✓ right" if each.right else "✗ wrong") in text

    def test_messages_and_logs_to_the_letter(self, page: Page) -> None:
        open_all(page)
        shown = page.locator(".cell pre").all_text_contents()
        whole = [text for each in PROOF.cells for text in (each.message, each.log) if text]
        short = [str(visible(text)) for text in whole if len(text) <= LOG_LIMIT]
        assert [text.rstrip("\n") for text in shown if "left out" not in text] == [
            text.rstrip("\n") for text in short
        ]

    def test_a_long_log_by_its_beginning_its_end_and_what_is_left_out(self, page: Page) -> None:
        open_all(page)
        shown = page.locator(".cell pre", has_text="left out").inner_text()
        part = excerpt(LONG_LOG, LOG_LIMIT)
        assert "00000: trace" in shown
        assert "00999: trace" in shown
        assert "00500: trace" not in shown
        assert f"{part.left_out:,} characters are left out here" in shown

    def test_scenario_with_its_text_and_why(self, page: Page) -> None:
        open_all(page)
        for shown, each in zip(page.locator("article").all(), PROOF.stories, strict=True):
            text = shown.inner_text()
            assert each.title in text
            assert each.why in text
            assert each.text.strip() in text

    @pytest.mark.parametrize("how", ["click", "Enter"])
    def test_a_field_of_the_overview_opens_its_cell(self, page: Page, how: str) -> None:
        details = page.locator("details.cell", has_text="3.10 patch")
        assert not details.locator(".body").is_visible()
        field = page.locator(".overview tbody tr").first.get_by_role("link", name="imports").nth(1)
        if how == "click":
            field.click()
        else:
            field.focus()
            page.keyboard.press(how)
        details.locator(".body").wait_for(state="visible")
        assert details.locator("summary").evaluate("it => it.getBoundingClientRect().top >= 0")

    def test_what_is_wrong_stands_open(self, page: Page) -> None:
        assert page.locator("details.cell[open]").count() == 4
        assert page.locator("details.cell.wrong[open]").count() == 4

    def test_filter_leaves_what_is_not_right(self, page: Page) -> None:
        page.get_by_label("only what is not right").check()
        rows = [row for row in page.locator(".overview tbody tr").all() if row.is_visible()]
        cells = [each for each in page.locator("details.cell").all() if each.is_visible()]
        assert [row.locator("th").inner_text() for row in rows] == ["About all wrong", HOSTILE]
        assert len(cells) == 4

    def test_filter_says_so_where_nothing_is_wrong(self, chrome: Browser, tmp_path: Path) -> None:
        file = tmp_path / "index.html"
        file.write_text(page_of(matrix(1, ("3.12",), "")), encoding="utf-8")
        with opened(chrome, file) as page:
            said = page.get_by_text("Nothing is wrong.")
            assert not said.is_visible()
            page.get_by_label("only what is not right").check()
            assert said.is_visible()


class TestHowItLooks:
    pytestmark = pytest.mark.browser

    @pytest.mark.parametrize("width", [320, 360, 800, 1400])
    @pytest.mark.parametrize("pythons", [("3.12",), PYTHONS], ids=["one Python", "seven"])
    def test_never_scrolls_sideways(
        self, chrome: Browser, tmp_path: Path, width: int, pythons: tuple[str, ...]
    ) -> None:
        whole = Proof(
            repack="0.1.0",
            system="W" * 300,
            stories=PROOF.stories + matrix(2, pythons, "x" * 900).stories,
        )
        file = tmp_path / "index.html"
        file.write_text(page_of(whole), encoding="utf-8")
        with opened(chrome, file, width=width) as page:
            assert overflow(page) <= 0
            open_all(page)
            assert overflow(page) <= 0

    @pytest.mark.parametrize("pythons", [PYTHONS[:3], PYTHONS], ids=["three Pythons", "seven"])
    def test_on_paper_no_row_and_no_column_is_cut(
        self, chrome: Browser, tmp_path: Path, pythons: tuple[str, ...]
    ) -> None:
        pairs = [(python, wheel) for python in pythons for wheel in MODES]
        right = [story(f"right {n}", *(cell(*p, "imports") for p in pairs)) for n in range(40)]
        wrong = story(
            "wrong", *(cell(*pair, "crashed in the program", "crashed") for pair in pairs)
        )
        file = tmp_path / "index.html"
        whole = Proof(repack="0.1.0", system="Wine", stories=(*right, wrong))
        file.write_text(page_of(whole), encoding="utf-8")
        sheet = round(275 / 25.4 * 96)  # A4 across, without its margins, in CSS pixels
        with opened(chrome, file, width=sheet) as page:
            page.emulate_media(media="print")
            assert overflow(page) <= 0
            assert page.locator(".overview :is(th, td)").evaluate_all(BEYOND, sheet) == 0
            assert page.locator(".pane").evaluate("it => it.scrollHeight - it.clientHeight") == 0
            words = page.locator(".overview tbody :is(.seen, .verdict)")
            assert words.evaluate_all(BROKEN) == 0

    def test_on_a_phone_each_field_is_in_sight_with_its_python_and_wheel(
        self, chrome: Browser, file: Path
    ) -> None:
        with opened(chrome, file, width=360) as page:
            fields = page.locator(".overview :is(tbody, tfoot) :is(th, td)")
            assert fields.evaluate_all(BEYOND, 360) == 0
            assert texts(page, ".overview tbody tr:first-child td:not(.none)") == [
                "3.9 untouched fails ✓ right",
                "3.9 patch imports ✓ right",
                "3.10 untouched fails ✓ right",
                "3.10 patch imports ✓ right",
            ]

    def test_on_paper_what_is_wrong_stands_whole_and_what_is_right_in_a_line(
        self, page: Page
    ) -> None:
        page.emulate_media(media="print")
        shown = page.locator("details.cell").all()
        for details, each in zip(shown, PROOF.cells, strict=True):
            text = details.inner_text()
            assert each.seen[:20] in text
            assert all(fault in text for fault in each.faults)
            assert ("wanted" in text) is not each.right
            assert "log" not in text.split("\n")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_every_text_stands_out_from_its_ground(
        self, chrome: Browser, file: Path, scheme: Literal["light", "dark"]
    ) -> None:
        with opened(chrome, file, scheme=scheme) as page:
            open_all(page)
            pairs = page.evaluate(COLOURS)
        assert len(pairs) > 5
        assert {tuple(pair) for pair in pairs if contrast(*pair) < 4.5} == set()


#: How many of the elements reach beyond `edge`; how many have words that do not stand in one line
#: inside of their field.
BEYOND = "(all, edge) => all.filter(it => it.getBoundingClientRect().right > edge + 1).length"
BROKEN = """all => all.filter(it => {
  const words = document.createRange();
  words.selectNodeContents(it);
  const field = it.closest('td').getBoundingClientRect();
  return words.getClientRects().length > 1 || words.getBoundingClientRect().right > field.right;
}).length"""
#: The pairs of colours in which the page shows texts: of the text, and of what is behind it.
COLOURS = """() => {
  const ground = it => {
    for (; it; it = it.parentElement) {
      const colour = getComputedStyle(it).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const all = [...document.body.querySelectorAll('*')].filter(
    it => [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  return [...new Set(all.map(it => getComputedStyle(it).color + '|' + ground(it)))]
    .map(pair => pair.split('|'));
}"""


def contrast(text: str, ground: str) -> float:
    """Return how much two colours differ, from 1 to 21, as WCAG 2 counts it."""
    lighter, darker = sorted(map(luminance, (text, ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(share * p for share, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


class TestWhatCannotGetIn:
    pytestmark = pytest.mark.browser

    def test_markup_of_a_message_is_shown_and_not_obeyed(self, page: Page) -> None:
        assert page.title() == "6 right of 10: the proof of repack 0.1.0"
        assert page.locator("script, img, [onerror], [style]").count() == 0
        assert page.locator("article").last.locator("h3").inner_text() == HOSTILE

    def test_a_script_would_not_run_even_if_one_got_in(self, chrome: Browser, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        scripted = text.replace("</h1>", "</h1><script>document.title = 0</script>")
        file.write_text(scripted, encoding="utf-8")
        with (
            pytest.raises(AssertionError, match="Content Security Policy"),
            opened(chrome, file) as page,
        ):
            assert page.title() == "6 right of 10: the proof of repack 0.1.0"


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        pytest.param("imports", "imports", id="imports"),
        pytest.param(LOAD_FAILED, "fails", id="an exception"),
        pytest.param("SystemExit: 3", "fails", id="any exception"),
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


@pytest.mark.parametrize("length", [6_001, 9_000, 50_000])
def test_what_is_left_out_is_counted_to_the_letter(length: int) -> None:
    text = (LONG_LOG * 2)[:length]
    part = excerpt(text, LOG_LIMIT)
    assert len(part.head) + part.left_out + len(part.tail) == length
    assert text.startswith(part.head)
    assert text.endswith(part.tail)


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
    cells = [
        cell(python, wheel, "imports") for python in ("3.10", "3.9") for wheel in reversed(WHEELS)
    ]
    proof = Proof(repack="", system="", stories=(story("any", *cells),))
    assert [(column.python, column.wheel) for column in columns_of(proof)] == [
        (python, wheel) for python in ("3.9", "3.10") for wheel in ("untouched", "vendor", "patch")
    ]


def test_the_same_proof_gives_the_same_page() -> None:
    assert page_of(PROOF) == page_of(from_json(to_json(PROOF)))


def test_a_proof_of_nothing_is_a_page() -> None:
    assert "0 right of 0" in page_of(Proof(repack="0.1.0", system="Wine", stories=()))


def test_the_largest_proof_is_a_page_of_less_than_20_megabytes() -> None:
    log = '42 "<&>" loaddll: C:\\cuda\\bin\\nppc64_12.dll\n' * 1000
    assert len(page_of(matrix(80, PYTHONS, log)).encode()) < 20_000_000
