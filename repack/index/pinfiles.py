"""The files that pin: requirements and constraints, and `pylock.toml` (PEP 751)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from repack.lock import format_toml
from repack.pages import render_template

#: The first line of each file: it is ours, and may be removed when it speaks of no wheel.
MARK = "# Made by `repack pin`, which makes it anew: do not edit."


class Pin(NamedTuple):
    """One wheel that is installed; `own` is ours, `extras` those that bring it, none for always.

    `url` is where the index has it, without a password.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = ""
    extras: tuple[str, ...] = ()
    own: bool = False


class Target(NamedTuple):
    """A Python ("3.12", "3.14t") and all that is installed on it, our wheel first."""

    python: str
    pins: tuple[Pin, ...]


class _Group(NamedTuple):
    """One version of a distribution; `marker` names the Pythons that get it, "" for all."""

    name: str
    version: str
    marker: str
    pins: tuple[Pin, ...]


def version_key(python: str) -> tuple[int, int, bool]:
    """Return what "3.9", "3.10" and "3.14t" are sorted by."""
    major, minor = python.removesuffix("t").split(".")
    return int(major), int(minor), python.endswith("t")


def pin_files(targets: Sequence[Target], index_url: str) -> dict[str, str]:
    """Return the text of each file by its name, none without targets.

    No marker tells a free-threaded Python from the other: the files for several Pythons leave it
    out where there is another, and its own file has it.

    Requirements of one Python hold no markers: pip evaluates them for the machine that it runs
    on, also where --platform and --python-version name another.
    """
    if not targets:
        return {}
    together = [target for target in targets if not target.python.endswith("t")] or targets
    scopes = [*(([target], f"-{target.python}") for target in targets), (together, "")]
    files = {}
    for extra in ("", *_extras(targets)):
        for scope, python in scopes:
            name = f"requirements{python}{extra and '-'}{extra}.txt"
            groups = _groups(scope, [extra])
            values: dict[str, object] = {"name": name, "extra": extra, "groups": groups}
            files[name] = _render("requirements.txt", scope, index_url, values)
    constraints: dict[str, object] = {"groups": _groups(together, None)}
    files["constraints.txt"] = _render("constraints.txt", together, index_url, constraints)
    header = _render("pylock.toml", together, index_url, {})
    files["pylock.toml"] = header + format_toml(_make_lock(together, index_url))
    return files


def _render(
    template: str, targets: Sequence[Target], index_url: str, values: dict[str, object]
) -> str:
    pythons = ", ".join(target.python for target in targets)
    common: dict[str, object] = {"mark": MARK, "pythons": pythons, "index_url": index_url}
    return render_template(f"pins/{template}.jinja", common | values, filters={})


def _make_lock(targets: Sequence[Target], index_url: str) -> dict[str, object]:
    """Return the lock file for several Pythons, and for all extras.

    Without an index the wheels are named by their paths beside the file, because PEP 751 has
    each wheel say where it is, and an address is what a team says of its index itself.
    """
    extras = _extras(targets)
    pythons = dict.fromkeys(target.python.removesuffix("t") for target in targets)
    return {
        "lock-version": "1.0",
        "environments": [
            f'python_version == "{python}" and sys_platform == "win32"' for python in pythons
        ],
        **({"extras": extras} if extras else {}),
        "created-by": "repack",
        "packages": [
            _lock_package(group, index_url) for group in _groups(targets, None, apart=True)
        ],
    }


def _lock_package(group: _Group, index_url: str) -> dict[str, object]:
    extras = " or ".join(f'"{extra}" in extras' for extra in group.pins[0].extras)
    parts = [part for part in (group.marker, extras) if part]
    several = len(parts) > 1
    marker = " and ".join(f"({part})" if several and " or " in part else part for part in parts)
    wheels = {pin.filename: pin for pin in group.pins}
    return {
        "name": group.name,
        "version": group.version,
        **({"marker": marker} if marker else {}),
        **({"index": index_url} if index_url else {}),
        "wheels": [
            {
                "name": name,
                **({"url": pin.url} if index_url else {"path": name}),
                "hashes": {"sha256": pin.sha256},
            }
            for name, pin in sorted(wheels.items())
        ],
    }


def _groups(
    targets: Sequence[Target], extras: Iterable[str] | None, *, apart: bool = False
) -> list[_Group]:
    """Return what is installed with one of `extras` (None: with any), ours first, then by name.

    `apart` keeps what comes always from what an extra brings.
    """
    pairs: dict[tuple[bool, str, str, tuple[str, ...]], list[tuple[str, Pin]]] = {}
    for target in targets:
        for pin in target.pins:
            if extras is None or not pin.extras or set(pin.extras) & set(extras):
                key = (not pin.own, pin.name, pin.version, pin.extras if apart else ())
                pairs.setdefault(key, []).append((target.python, pin))
    everywhere = {target.python for target in targets}
    groups = []
    for (_, name, version, _), its_pairs in sorted(pairs.items()):
        pythons = {python for python, _ in its_pairs}
        marker = "" if pythons == everywhere else _marker(pythons)
        groups.append(_Group(name, version, marker, tuple(pin for _, pin in its_pairs)))
    return groups


def _marker(pythons: Iterable[str]) -> str:
    ordered = sorted(pythons, key=version_key)
    return " or ".join(f'python_version == "{python.removesuffix("t")}"' for python in ordered)


def _extras(targets: Iterable[Target]) -> list[str]:
    return sorted({extra for target in targets for pin in target.pins for extra in pin.extras})
