"""A genuine Chromium without a window: playwright's one place in the tests."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: How wide A4 is without its margins, in CSS pixels.
SHEET = round(182 / 25.4 * 96)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium of this machine for as long as the block lasts; on Windows that is Edge."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    channel = "msedge" if sys.platform == "win32" else None
    if not chromium and not channel:
        message = "no Chromium on this machine: `nox -s setup` installs it"
        raise FileNotFoundError(message)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, channel=channel)


@contextmanager
def opened(
    chrome: Browser, file: Path, *, width: int = 1400, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """Show `file` in a window of `width`; fail where the page complained, or asked for more."""
    page = chrome.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(f"asked for {request.url}"))
    page.goto(file.as_uri())
    try:
        yield page
    finally:
        page.close()
    assert complaints == [f"asked for {file.as_uri()}"], complaints


def check_looks(page: Page) -> None:
    """See that nothing is cut, on paper neither, and that heads skip no level."""
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(it => +it.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    width = page.evaluate("window.innerWidth")
    page.set_viewport_size({"width": SHEET, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= SHEET
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": width, "height": 900})
