"""The `[[build]]` tables of a file: which builds there are, and which of them are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from repack.config.naming import name_token, normalised_name, why_no_name
from repack.config.settings import kind_of
from repack.errors import UsageError, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from repack.config.values import Config

#: Tables that a build may have of its own.
_OWN = ("source", "vendor", "smoke", "allow")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedTable:
    """One `[[build]]` table, as the tables of a file that has no other build."""

    name: str
    """Normalised."""
    place: str
    """What messages call it."""
    tree: Mapping[str, object]


def named_tables(tables: Sequence[object], problems: list[str]) -> list[NamedTable]:
    """Return the builds whose names are right; what is wrong with others goes to `problems`."""
    if not tables:
        problems.append("build is an empty list")
    each = (_named(number, table, problems) for number, table in enumerate(tables, start=1))
    found = [named for named in each if named is not None]
    first: dict[str, NamedTable] = {}
    for named in found:
        other = first.setdefault(name_token(named.name), named)
        if other is not named:
            problems.append(
                f"{named.place} and another, {other.place}, are one name to a version of a wheel, "
                "which has no separators: give them different ones"
            )
    return found


def _named(number: int, table: object, problems: list[str]) -> NamedTable | None:
    place = f"[[build]] number {number}"
    if not isinstance(table, dict):
        problems.append(f"{place} is {kind_of(table)}, not a table")
        return None
    name = table.get("name")
    if not isinstance(name, str):
        said = "has no name" if name is None else f"has a name that is {kind_of(name)}, not text"
        problems.append(f"{place} {said}")
        return None
    if why := why_no_name(name):
        problems.append(f"{place}: name {why}: not {shown(name)}")
        return None
    own = {key: table[key] for key in _OWN if key in table}
    rest = {key: value for key, value in table.items() if key != "name" and key not in own}
    return NamedTable(
        name=normalised_name(name), place=f'build "{name}"', tree={"build": rest, **own}
    )


def selected(builds: Sequence[Config], names: Collection[str]) -> tuple[Config, ...]:
    """Return the builds called `names` in the file's order, all where none is named.

    Raises UsageError for a name that there is not.
    """
    wanted = {normalised_name(name): name for name in names}
    known = [config.build.name for config in builds]
    for name, written in wanted.items():
        if name in known and name:
            continue
        if known == [""]:
            raise UsageError(
                f"there is no build {shown(written)}: no build here has a name",
                hint="name them in [[build]] tables of repack.toml",
            )
        begun = [each for each in known if each.startswith(name)]
        near = begun or get_close_matches(name, known, n=1)
        asked = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(
            f"there is no build {shown(written)}{asked}", hint=f"there are {', '.join(known)}"
        )
    chosen = tuple(each for each in builds if not wanted or each.build.name in wanted)
    source = sorted(key for key in chosen[0].given if key.split(".")[0] == "source")
    if len(chosen) > 1 and source:
        raise UsageError(
            f"{source[0]} is given for {len(chosen)} builds, which would be made of one source",
            hint=f"name the one build: repack build {chosen[0].build.name} --source ...",
        )
    return chosen
