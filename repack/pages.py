"""Pages for people, from the templates in `templates/`: all that is put in is escaped."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

#: They stand beside this module, and are installed with it.
TEMPLATES = Path(__file__).parent / "templates"
#: What would show nothing, turn the reading direction around, or be no character at all.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def render_template(
    template: str, values: Mapping[str, object], *, filters: Mapping[str, Callable[..., object]]
) -> str:
    """Return the page that the template makes of `values`, with signs for hidden characters."""
    environment = _open_templates()
    environment.filters.update(filters)
    page: str = environment.get_template(template).render(values)
    return page


@cache
def _open_templates() -> Any:  # noqa: ANN401 - jinja2 is imported late
    import jinja2  # noqa: PLC0415 - slow to import

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(("html.jinja", "css")),
        undefined=jinja2.StrictUndefined,
        finalize=_reveal,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _reveal(value: object) -> object:
    """Return a text with a sign in place of each character that shows nothing, or hides others.

    Messages and file names may hold anything: escape sequences of terminals, bytes that are no
    text (lone surrogates, which no file can hold), letters that turn the direction around.
    """
    if type(value) is not str:  # what is escaped is a str of another class, and has been here
        return value
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", value.replace("\r\n", "\n"))
