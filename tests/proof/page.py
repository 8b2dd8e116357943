"""`proof/index.html`: one page, whole in itself, that shows what a run of the proof saw."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from proof.results import Cell, Proof, Story

HERE = Path(__file__).parent
#: What is shown of a log and of other texts, in characters. At its largest (80 scenarios, seven
#: Pythons, three wheels) the page then stays below 20 MB; `proof.json` holds the whole.
LOG_LIMIT, TEXT_LIMIT = 6_000, 3_000
UNTOUCHED = "untouched"
#: How a line of what was seen begins, and the word that a field of the overview has for it.
WORDS = {
    "imports": "imports",
    "hangs": "hangs",
    "crashed": "crashes",
    "could not be tried": "not tried",
}
#: So many columns have room on a sheet of A4 at the usual size.
MANY = 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One wheel on one Python."""

    python: str
    wheel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How many of some cells are right."""

    right: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """The beginning and the end of a text, and how many characters between them are left out."""

    head: str
    left_out: int = 0
    tail: str = ""


def page_of(proof: Proof) -> str:
    """Return the page; the same proof gives the same page."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    columns = columns_of(proof)
    return _template().render(
        proof=proof,
        columns=columns,
        pythons=[(name, [c for c in columns if c.python == name]) for name in _pythons(columns)],
        by_wheel=[(wheel, _tally_of(proof, wheel=wheel)) for wheel in _wheels(columns)],
        totals=[_tally_of(proof, wheel=each.wheel, python=each.python) for each in columns],
        style=Markup(style),  # noqa: S704 - our own file, of which nothing may be escaped
        style_hash=_hash_of(style),
    )


def columns_of(proof: Proof) -> list[Column]:
    """Return what was run of any scenario, by Python, on each the untouched wheel first."""
    wheels = list(dict.fromkeys([UNTOUCHED, *(cell.wheel for cell in proof.cells)]))
    seen = {(cell.python, cell.wheel) for cell in proof.cells}
    ordered = sorted(seen, key=lambda pair: (_version_key(pair[0]), wheels.index(pair[1])))
    return [Column(python=python, wheel=wheel) for python, wheel in ordered]


def cells_at(story: Story, column: Column) -> list[Cell]:
    """Return what `story` saw in `column`: one cell, or none."""
    return [
        cell for cell in story.cells if (cell.python, cell.wheel) == (column.python, column.wheel)
    ]


def all_right(story: Story) -> bool:
    """Return whether every cell of `story` is right."""
    return all(cell.right for cell in story.cells)


def word_of(seen: str) -> str:
    """Return in a word what was seen; a line that begins in no known way is an exception's."""
    known = (word for beginning, word in WORDS.items() if seen.startswith(beginning))
    return next(known, "fails")


def anchor_of(story: Story, cell: Cell | None = None) -> str:
    """Return the name under which the page has a scenario, or one cell of it."""
    parts = (story.name, cell.python, cell.wheel) if cell else (story.name,)
    return re.sub(r"\s", "_", "/".join(parts))


def excerpt(text: str, limit: int) -> Excerpt:
    """Return `text`, without its middle where it is longer than `limit`: in whole lines, if any."""
    if len(text) <= limit:
        return Excerpt(head=text)
    head, tail = text[: limit // 2], text[-(limit - limit // 2) :]
    # The end tells more than the beginning, and a line cut in two tells something that is not so.
    head = head[: head.rfind("\n") + 1] or head
    tail = tail[tail.find("\n") + 1 :] or tail
    return Excerpt(head=head, left_out=len(text) - len(head) - len(tail), tail=tail)


def visible(value: object) -> object:
    """Return a text with a sign in place of each character that would show nothing, or hide others.

    Logs hold what a process printed: escape sequences of terminals, bytes that are no text (lone
    surrogates, which no file can hold), and letters that turn the reading direction around.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _HIDDEN.sub(lambda found: _sign_of(found[0]), value.replace("\r\n", "\n"))


_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def _sign_of(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # the block Control Pictures has them in the same order
    return f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{code:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"


def _pythons(columns: Iterable[Column]) -> list[str]:
    return list(dict.fromkeys(column.python for column in columns))


def _wheels(columns: Iterable[Column]) -> list[str]:
    return list(dict.fromkeys(column.wheel for column in columns))


def _version_key(python: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", python)], python


def _tally_of(proof: Proof, *, wheel: str, python: str | None = None) -> Tally:
    cells = [cell for cell in proof.cells if cell.wheel == wheel and python in (None, cell.python)]
    return Tally(right=sum(cell.right for cell in cells), of=len(cells))


def _hash_of(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


@cache
def _template() -> jinja2.Template:
    """Return the page's template; it escapes whatever it is given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(word=word_of, excerpt=excerpt)
    environment.globals.update(
        all_right=all_right,
        anchor_of=anchor_of,
        cells_at=cells_at,
        LOG_LIMIT=LOG_LIMIT,
        MANY=MANY,
        TEXT_LIMIT=TEXT_LIMIT,
    )
    return environment.get_template("page.html.jinja")
