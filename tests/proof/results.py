"""What a run of the proof saw, as values, as `proof.json` and as a page to look at."""

import json
from pathlib import Path

import jinja2
import msgspec


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel on one Python of one machine.

    `wheel` is "untouched" or how `repack` made it ("patch", "vendor", ...); `wanted` and `seen` are
    a line each, `faults` the differences. `message` is the text of the exception, `answers` are the
    files of CUDA's in the loader's trace, `log` is all that the process printed.
    """

    python: str
    wheel: str
    wanted: str
    seen: str
    faults: tuple[str, ...] = ()
    message: str = ""
    answers: tuple[str, ...] = ()
    log: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether all was seen that must be seen."""
        return not self.faults


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario and its cells; `text` is the file that describes the machine."""

    name: str
    title: str
    why: str
    text: str
    cells: tuple[Cell, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run saw; `system` is what the Windows binaries ran on."""

    repack: str
    system: str
    stories: tuple[Story, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of all scenarios."""
        return tuple(cell for story in self.stories for cell in story.cells)

    @property
    def figure(self) -> str:
        """The result in four words."""
        return f"{sum(cell.right for cell in self.cells)} right of {len(self.cells)}"


def render_json(proof: Proof) -> bytes:
    """Return all that was seen."""
    figures = {"right": sum(cell.right for cell in proof.cells), "of": len(proof.cells)}
    document = {"version": 1, **figures, **msgspec.to_builtins(proof)}
    # A process may have printed what is no text, and a file cannot hold.
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def render_page(proof: Proof) -> bytes:
    """Return the page; the same proof gives the same page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.jinja").render(proof=proof)
    return text.encode(errors="replace")
