"""Requirements and constraints files: what pip and uv install, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from repack.index.pins import marker, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repack.index.pins import Pinned, PinnedFile, Target

#: The first line of each file: it is ours, and may be removed when it speaks of no wheel.
MARK = "# Made by `repack pin`, which makes it anew: do not edit."
_ONE_INDEX = (
    "#",
    "# The index has to be the only one (never --extra-index-url: pip then takes a name from any",
    "# of them) and hold everything below; the hashes refuse a file that is not the one meant.",
)


def requirements_name(python: str | None, extra: str | None) -> str:
    """Return the name of the requirements file for a Python, None for all of them."""
    return "-".join(part for part in ("requirements", python, extra) if part) + ".txt"


def format_requirements(target: Target, *, extra: str | None, index_url: str) -> str:
    """Return the requirements of one Python. There are no markers in it.

    So it is the same wherever it is read: pip evaluates markers for the machine that it runs on,
    also where --platform and --python-version name another.
    """
    name = requirements_name(target.python, extra)
    lines = [
        line
        for pin in target.chosen(extra)
        for line in _lines(_wanted(pin, extra), (pin.file,), "")
    ]
    head = _head(f"Python {target.python}", name, extra, index_url)
    return "\n".join([*head, *lines, ""])


def format_all_requirements(targets: Sequence[Target], *, extra: str | None, index_url: str) -> str:
    """Return the requirements of several Pythons, told apart by markers."""
    pythons = [target.python for target in targets]
    lines = [
        line
        for pin in merged(_only(targets, extra))
        for line in _lines(
            _named(pin.name, pin.version, extra if pin.own else None),
            pin.files,
            marker(pin, pythons),
        )
    ]
    text = f"Python {', '.join(pythons)}"
    head = _head(text, requirements_name(None, extra), extra, index_url)
    return "\n".join([*head, *lines, ""])


def format_constraints(targets: Sequence[Target]) -> str:
    """Return the constraints: versions without hashes, for whoever installs more than this."""
    pythons = [target.python for target in targets]
    # A constraint asks for nothing, so that it may speak of what an extra brings.
    every = [_without_extras(target) for target in targets]
    lines = [
        _with_marker(f"{pin.name}=={pin.version}", marker(pin, pythons)) for pin in merged(every)
    ]
    head = [
        MARK,
        f"# For 64-bit Windows, Python {', '.join(pythons)}; install with",
        "#   python -m pip install --index-url YOUR-INDEX -c constraints.txt ...",
        "# It holds no hashes: requirements.txt does.",
        "",
    ]
    return "\n".join([*head, *lines, ""])


def _head(pythons: str, name: str, extra: str | None, index_url: str) -> list[str]:
    index = "" if index_url else "--index-url YOUR-INDEX "
    named = [f"--index-url {index_url}", ""] if index_url else []
    what = f", with the extra {extra}" if extra else ""
    return [
        MARK,
        f"# For 64-bit Windows, {pythons}{what}; install with",
        f"#   python -m pip install --require-hashes {index}-r {name}",
        "# or, our wheel from this folder, with --find-links THIS-FOLDER as well.",
        *_ONE_INDEX,
        "",
        *named,
    ]


def _lines(wanted: str, files: Sequence[PinnedFile], condition: str) -> list[str]:
    """Return the lines of one requirement."""
    hashes = sorted({f"    --hash=sha256:{file.sha256}" for file in files})
    return [
        f"{_with_marker(wanted, condition)} \\",
        *(f"{each} \\" for each in hashes[:-1]),
        hashes[-1],
    ]


def _with_marker(wanted: str, condition: str) -> str:
    return f"{wanted} ; {condition}" if condition else wanted


def _wanted(pin: Pinned, extra: str | None) -> str:
    return _named(pin.name, pin.version, extra if pin.own else None)


def _named(name: str, version: str, extra: str | None) -> str:
    return f"{name}[{extra}]=={version}" if extra else f"{name}=={version}"


def _only(targets: Sequence[Target], extra: str | None) -> list[Target]:
    """Return the targets with what `extra` brings, which nothing in a marker asks for any more."""
    return [_without_extras(replace(target, pins=target.chosen(extra))) for target in targets]


def _without_extras(target: Target) -> Target:
    return replace(target, pins=tuple(replace(pin, extras=None) for pin in target.pins))
