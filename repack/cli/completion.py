"""Completion of command lines in a shell: the adapter of argcomplete.

Only a shell that asks pays for it: argcomplete is imported nowhere else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

SHELLS = ("bash", "zsh", "fish", "powershell")


def script(shell: str) -> str:
    """Return what makes `shell` ask `repack` itself how a line goes on."""
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - slow to import

    return shellcode(["repack"], shell=shell).strip() + "\n"


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how its line goes on, and end; otherwise do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        from argcomplete import autocomplete  # noqa: PLC0415 - slow to import

        autocomplete(parser, always_complete_options=False)


def pythons(**_asked: object) -> tuple[str, ...]:
    """Return the Pythons that a line may name; others may be given as well."""
    from repack.config import DEFAULT_PYTHONS  # noqa: PLC0415 - slow to import

    return DEFAULT_PYTHONS


def settings(**_asked: object) -> list[str]:
    """Return the keys of `repack.toml`, each with the sign that its value follows."""
    from repack.config import SETTINGS  # noqa: PLC0415 - slow to import

    return [f"{key}=" for key in sorted(SETTINGS)]


def build_names(**_asked: object) -> list[str]:
    """Return the names of the builds in the `repack.toml` that is here."""
    from pathlib import Path  # noqa: PLC0415 - slow to import

    from repack.config import load_builds  # noqa: PLC0415 - as above
    from repack.errors import RepackError  # noqa: PLC0415 - as above

    try:
        return [config.build.name for config in load_builds(Path("repack.toml"))]
    except RepackError:
        return []
