"""`proof/index.html`: per scenario and Python, what each wheel did and which files answered."""

from itertools import groupby
from pathlib import Path

import jinja2

from proof.results import Cell, Proof, Story
from repack.pages import reveal_hidden

#: So many characters of a log are shown; `proof.json` has the whole.
LOG_LIMIT = 6_000


def render_page(proof: Proof) -> str:
    """Return the page; the same proof gives the same page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: reveal_hidden(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(by_python=_group_by_python, tail=lambda text: text[-LOG_LIMIT:])
    return environment.get_template("page.html.jinja").render(proof=proof)


def _group_by_python(story: Story) -> list[tuple[str, list[Cell]]]:
    """Return the cells of each Python by its version, the untouched wheel first."""

    def by_version(cell: Cell) -> list[int]:
        return list(map(int, cell.python.rstrip("t").split(".")))

    cells = sorted(story.cells, key=lambda cell: (by_version(cell), cell.wheel != "untouched"))
    return [(python, list(group)) for python, group in groupby(cells, lambda cell: cell.python)]
