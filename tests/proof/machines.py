"""Lays a machine out on a disk: Python, packages, DLLs, by links."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from proof.disks import WindowsDisk, WineDisk
from proof.layouts import Layout, lay_python, layout_of
from proof.packages import link_or_copy, link_tree
from proof.scenarios import Dlls, Scenario, filled
from repack.pythons.interpreter import Interpreter

PROBE = r"C:\proof\probe.py"
_TEMPORARY = r"C:\proof\temp"
_WINE_LACKS = {"media-foundation": "mf=;mfplat=;mfreadwrite="}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """What a machine is made of: files of ours for each thing that the scenario names.

    `packages` are installed wheels in the order in which they are put there; `dlls` are the files
    of each of the scenario's directories, `members` are files by their place in site-packages.
    """

    interpreter: Interpreter
    packages: Sequence[Path]
    dlls: Sequence[tuple[Dlls, Mapping[str, Path]]]
    members: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A machine that is laid out: how its Python is started."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    places: Mapping[str, str]


def places_of(scenario: Scenario, version: str) -> dict[str, str]:
    """Return what {python}, {site}, {version} and {digits} mean in a scenario."""
    layout = layout_of(scenario.layout, version)
    digits = version.replace(".", "")
    return {"python": layout.python, "site": layout.site, "version": version, "digits": digits}


def lay_out(
    scenario: Scenario, pieces: Pieces, disk: WineDisk | WindowsDisk, limit: float, *, wine: bool
) -> Ready:
    """Return the scenario's machine, laid out on `disk`; a run is ended after `limit` seconds."""
    version = pieces.interpreter.version
    layout, places = layout_of(scenario.layout, version), places_of(scenario, version)
    lay_python(layout, disk, pieces.interpreter)
    site = disk.place(layout.site)
    for package in pieces.packages:
        link_tree(package, site)
    for member, file in pieces.members.items():
        _put(disk, site / member, file)
    for wanted, found in pieces.dlls:
        folder = disk.place(filled(wanted.into, places))
        for name, file in found.items():
            _put(disk, folder / name, file)
    _write_texts(scenario, disk, places)
    cwd = disk.place(filled(scenario.cwd, places))
    cwd.mkdir(parents=True, exist_ok=True)
    job = {
        "program": filled(scenario.program, places),
        "limit": limit,
        "list": not wine,
        "env": {"TEMP": _TEMPORARY, "TMP": _TEMPORARY},
    }
    python = rf"{layout.python}\python.exe"
    return Ready(
        command=(*pieces.interpreter.launcher, python, PROBE, json.dumps(job)),
        env=_environment(scenario, layout, disk, places, wine=wine),
        cwd=cwd,
        places=places,
    )


def _write_texts(
    scenario: Scenario, disk: WineDisk | WindowsDisk, places: Mapping[str, str]
) -> None:
    """Write the machine's text files, and the probe."""
    disk.place(_TEMPORARY).mkdir(parents=True, exist_ok=True)
    probe = files(__package__).joinpath("probe.py").read_text("utf-8")
    texts = {file.path: filled(file.text, places) for file in scenario.machine.files}
    for path, text in {PROBE: probe, **texts}.items():
        place = disk.place(filled(path, places))
        disk.claim(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _environment(
    scenario: Scenario,
    layout: Layout,
    disk: WineDisk | WindowsDisk,
    places: Mapping[str, str],
    *,
    wine: bool,
) -> dict[str, str]:
    """Return the environment of a program on the machine, and nothing of ours."""
    machine = scenario.machine
    given = {name: filled(value, places) for name, value in machine.env.items()}
    path = ";".join(filled(entry, places) for entry in machine.path)
    env = {**disk.env, **layout.env, **given}
    if wine:
        # Wine makes the Windows PATH of it; PATH itself is the launcher's.
        env["WINEPATH"] = path
        env["WINEDEBUG"] = "-all,+pid,+loaddll,err+module"
        lacks = [_WINE_LACKS[each] for each in machine.without]
        env["WINEDLLOVERRIDES"] = ";".join([env["WINEDLLOVERRIDES"], *lacks])
    elif path:
        env["PATH"] = f"{path};{env['PATH']}"
    return env


def _put(disk: WineDisk | WindowsDisk, place: Path, file: Path) -> None:
    disk.claim(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(file, place)
