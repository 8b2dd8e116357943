"""Pages for people, from the templates in `templates/`: all that is put in is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Callable

#: They stand beside this module, and are installed with it.
_TEMPLATES = Path(__file__).parent / "templates"


def rendered(
    template: str, values: dict[str, object], *, filters: dict[str, Callable[..., object]]
) -> str:
    """Return the page that the template makes of `values`; a name it lacks is an error of ours.

    `values` go by the names that the template uses, and so do its own `filters`.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)
