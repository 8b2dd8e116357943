"""The proof's page, in a browser: all that was seen, and nothing in it is obeyed as markup."""

from pathlib import Path
from typing import Literal

import pytest
from browsing import check_looks, opened
from playwright.sync_api import Browser
from proof.results import Cell, Proof, Story, render_page

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>&amp;</pre>\u202e"
ANSWER = r"D:\куда\東京\bin\nppc64_12.dll"
CELLS = (
    Cell(python="3.9", wheel="untouched", wanted="fails", seen=HOSTILE, log="\udc81"),
    Cell(python="3.9", wheel="patch", wanted="x", seen="x", answers=(ANSWER,)),
    Cell(python="3.10", wheel="patch", wanted="x", seen="E", faults=(HOSTILE,)),
)
STORY = Story(name="hostile", title=HOSTILE, why=HOSTILE, text=HOSTILE, cells=CELLS)
PROOF = Proof(repack="0.1.0", system="W" * 300, stories=(STORY,))


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
def test_every_cell_is_shown_and_nothing_is_cut_or_obeyed(
    chrome: Browser, tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    file = tmp_path / "index.html"
    file.write_bytes(render_page(PROOF))
    with opened(chrome, file, width=width, scheme=scheme) as page:
        assert page.title() == "2 right of 3: the proof of repack 0.1.0"
        assert page.locator("h1").inner_text() == "2 right of 3"
        assert page.locator("script, img, [onerror]").count() == 0
        assert page.locator("h3").all_inner_texts() == ["Python 3.9", "Python 3.10"]
        assert page.locator(".beside strong").all_inner_texts() == ["untouched", "patch", "patch"]
        assert page.locator(".wrong[open]").count() == 1
        page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
        assert ANSWER in page.locator(".beside").first.inner_text()
        check_looks(page)
