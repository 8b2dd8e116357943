"""What a run of the proof saw, as values and as `proof.json`."""

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Which file answered for one DLL, as the loader itself says."""

    dll: str
    file: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel on one Python of one machine.

    `wheel` is "untouched" or how `repack` made it ("patch", "vendor", ...); `wanted` and `seen` are
    a line each, `faults` the differences. `message` is the text of the exception, `answers` are the
    CUDA DLLs of the loader's trace, `log` is all that the process printed.
    """

    python: str
    wheel: str
    wanted: str
    seen: str
    faults: tuple[str, ...] = ()
    message: str = ""
    answers: tuple[Answer, ...] = ()
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
