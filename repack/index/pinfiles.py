"""The files that pin: requirements and constraints, and `pylock.toml` (PEP 751)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repack.lock import format_toml

#: The first line of each file: it is ours, and may be removed when it speaks of no wheel.
MARK = "# Made by `repack pin`, which makes it anew: do not edit."
_ONE_INDEX = """\
#
# The index has to be the only one (never --extra-index-url: pip then takes a name from any
# of them) and hold everything below; the hashes refuse a file that is not the one meant.
"""
_BESIDE = """\
# The wheels are looked for beside this file. Those that come from an index are put
# there, for one Python, by
#   python -m pip download --require-hashes -d . -r requirements-X.Y.txt
# and `repack pin --index-url YOUR-INDEX` names their addresses there instead.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Python ("3.12", "3.14t") and all that is installed on it, our wheel first."""

    python: str
    pins: tuple[Pin, ...]


def version_key(python: str) -> tuple[int, int, bool]:
    """Return what "3.9", "3.10" and "3.14t" are sorted by."""
    major, minor = python.removesuffix("t").split(".")
    return int(major), int(minor), python.endswith("t")


def pin_files(targets: Sequence[Target], index_url: str) -> dict[str, str]:
    """Return the text of each file by its name, none without targets.

    No marker tells a free-threaded Python from the other: the files for several Pythons leave it
    out where there is another, and its own file has it.
    """
    if not targets:
        return {}
    together = [target for target in targets if not target.python.endswith("t")] or targets
    files: dict[str, str] = {}
    extras = sorted({extra for target in targets for pin in target.pins for extra in pin.extras})
    for extra in ("", *extras):
        for target in targets:
            name = "-".join(filter(None, ("requirements", target.python, extra))) + ".txt"
            files[name] = _format_requirements([target], name, extra, index_url)
        name = "-".join(filter(None, ("requirements", extra))) + ".txt"
        files[name] = _format_requirements(together, name, extra, index_url)
    files["constraints.txt"] = _format_constraints(together)
    files["pylock.toml"] = _format_pylock(together, index_url)
    return files


def _format_requirements(targets: Sequence[Target], name: str, extra: str, index_url: str) -> str:
    """Return requirements with hashes; of one Python there are no markers in it.

    So it is the same wherever it is read: pip evaluates markers for the machine that it runs on,
    also where --platform and --python-version name another.
    """
    index = "" if index_url else "--index-url YOUR-INDEX "
    text = f"{MARK}\n# For 64-bit Windows, {_pythons(targets)}"
    text += f", with the extra {extra}; install with\n" if extra else "; install with\n"
    text += f"#   python -m pip install --require-hashes {index}-r {name}\n"
    text += "# or, our wheel from this folder, with --find-links THIS-FOLDER as well.\n"
    text += _ONE_INDEX + "\n"
    text += f"--index-url {index_url}\n\n" if index_url else ""
    for group in _groups(targets, [extra]):
        hashes = sorted({f"    --hash=sha256:{pin.sha256}" for pin in group.pins})
        own = f"[{extra}]" if extra and group.pins[0].own else ""
        text += _with_marker(f"{group.name}{own}=={group.version}", _python_marker(group, targets))
        text += " \\\n" + " \\\n".join(hashes) + "\n"
    return text


def _format_constraints(targets: Sequence[Target]) -> str:
    """Return the constraints: versions without hashes, for whoever installs more than this."""
    text = f"{MARK}\n# For 64-bit Windows, {_pythons(targets)}; install with\n"
    text += "#   python -m pip install --index-url YOUR-INDEX -c constraints.txt ...\n"
    text += "# It holds no hashes: requirements.txt does.\n\n"
    for group in _groups(targets):
        marker = _python_marker(group, targets)
        text += _with_marker(f"{group.name}=={group.version}", marker) + "\n"
    return text


def _format_pylock(targets: Sequence[Target], index_url: str) -> str:
    """Return the lock file for several Pythons, and for all extras.

    Without an index the wheels are named by their paths beside the file, because PEP 751 has
    each wheel say where it is, and an address is what a team says of its index itself.
    """
    text = f"{MARK}\n# For 64-bit Windows, {_pythons(targets)}; install with one of\n"
    text += "#   python -m pip install -r pylock.toml\n#   uv pip sync pylock.toml\n"
    text += "" if index_url else _BESIDE
    pythons = dict.fromkeys(target.python.removesuffix("t") for target in targets)
    extras = sorted({extra for target in targets for pin in target.pins for extra in pin.extras})
    document: dict[str, object] = {
        "lock-version": "1.0",
        "environments": [
            f'python_version == "{python}" and sys_platform == "win32"' for python in pythons
        ],
        **({"extras": extras} if extras else {}),
        "created-by": "repack",
        "packages": [
            _lock_package(group, targets, index_url) for group in _groups(targets, apart=True)
        ],
    }
    return f"{text}\n{format_toml(document)}"


def _lock_package(group: _Group, targets: Sequence[Target], index_url: str) -> dict[str, object]:
    extras = " or ".join(f'"{extra}" in extras' for extra in group.pins[0].extras)
    parts = [part for part in (_python_marker(group, targets), extras) if part]
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """One version of a distribution on some Pythons."""

    name: str
    version: str
    pythons: frozenset[str]
    pins: tuple[Pin, ...]


def _groups(
    targets: Sequence[Target], extras: Iterable[str] | None = None, *, apart: bool = False
) -> list[_Group]:
    """Return what is installed with one of `extras` (None: with any), ours first, then by name.

    `apart` keeps what comes always from what an extra brings.
    """
    keys: dict[tuple[bool, str, str, tuple[str, ...]], list[tuple[str, Pin]]] = {}
    for target in targets:
        for pin in target.pins:
            if extras is None or not pin.extras or set(pin.extras) & set(extras):
                key = (not pin.own, pin.name, pin.version, pin.extras if apart else ())
                keys.setdefault(key, []).append((target.python, pin))
    return [
        _Group(
            name=name,
            version=version,
            pythons=frozenset(python for python, _ in pairs),
            pins=tuple(pin for _, pin in pairs),
        )
        for (_, name, version, _), pairs in sorted(keys.items())
    ]


def _python_marker(group: _Group, targets: Sequence[Target]) -> str:
    """Return the marker of the Pythons that get this version; "" for all of them."""
    if group.pythons == {target.python for target in targets}:
        return ""
    return " or ".join(
        f'python_version == "{python.removesuffix("t")}"'
        for python in sorted(group.pythons, key=version_key)
    )


def _with_marker(requirement: str, marker: str) -> str:
    return f"{requirement} ; {marker}" if marker else requirement


def _pythons(targets: Sequence[Target]) -> str:
    return f"Python {', '.join(target.python for target in targets)}"
