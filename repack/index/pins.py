"""The files that pin what is installed: requirements, constraints, `pylock.toml` (PEP 751).

What the smoke test ran with is pinned; for the rest uv is asked, see `uv.py`.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from repack import files
from repack.errors import InputError, RepackError
from repack.index.publish import check_built
from repack.index.uv import Index, Pin
from repack.pages import render_template
from repack.record import BuildRecord, Seen, WheelRecord, read_records

#: The first line of each file: it is ours, and may be removed when it speaks of no wheel.
_MARK = "# Made by `repack pin`, which makes it anew: do not edit."
#: Every file that is ever written here has one of these names.
_PATTERNS = ("requirements*.txt", "constraints.txt", "pylock.toml")
#: For each Python ("3.12", "3.14t") all that is installed on it, our wheel first.
_Targets = Mapping[str, Sequence[Pin]]


def write_pins(dist: Path, index: Index) -> dict[str, Any]:
    """Write the pin files beside the wheels of all builds in `dist`; equal ones are left alone.

    Returns what `repack pin --json` prints: "files", "pins", and "unresolved" Pythons with the
    reason. Raises InputError where no build has a wheel that may be handed on, and nothing is
    written where one of the wheels is not what was built.
    """
    builds = {folder: _pin_build(folder, it, index) for folder, it in read_records(dist).items()}
    if not any(builds.values()):
        message = "there is no build with a wheel that may be handed on"
        hint = "run `repack build` first"
        raise InputError(message, code="nothing-to-pin", file=dist, hint=hint)
    answer: dict[str, list[dict[str, object]]] = {"files": [], "pins": [], "unresolved": []}
    for folder, results in builds.items():
        targets: dict[str, list[Pin]] = {}
        for python in sorted(results, key=_version_key):
            row, result = {"build": folder.name, "python": python}, results[python]
            if isinstance(result, RepackError):
                answer["unresolved"].append({**row, "message": str(result)})
            else:
                targets[python] = result
                answer["pins"] += [{**row, **pin._asdict()} for pin in result]
        texts = _format_files(targets, index.url) if targets else {}
        answer["files"] += _replace_files(folder, texts)
    return answer


# What is pinned


def _pin_build(
    folder: Path, record: BuildRecord, index: Index
) -> dict[str, list[Pin] | RepackError]:
    """Return what is pinned for each Python that got a wheel, or why nothing is."""
    extra = re.search(r"""\bextra == ["']([^"']+)["']""", "\n".join(record.requires))
    results: dict[str, list[Pin] | RepackError] = {}
    for built in record.wheels:
        if not built.works:
            continue
        path = folder / built.path
        check_built(path, files.sha256_of(path), built)
        for seen in built.seen:
            try:
                results[seen.python] = _pin_python(path, built, seen, extra and extra[1], index)
            except RepackError as error:
                results[seen.python] = error
    return results


def _pin_python(
    path: Path, built: WheelRecord, seen: Seen, extra: str | None, index: Index
) -> list[Pin]:
    """Return all that is pinned for a wheel on one Python, the wheel itself first.

    An extra is resolved with what comes without it, so that whoever adds it later gets no other
    version of anything.
    """
    own = _pin_of(built.filename, built.sha256)
    beside = [_pin_of(wheel.filename, wheel.sha256) for wheel in seen.after.beside]
    where = f"=={own.version}" if index.url else f" @ {path.absolute().as_uri()}"

    def ask(extra: str, others: Iterable[Pin]) -> dict[str, Pin]:
        exact = [f"{pin.name}=={pin.version}" for pin in others if pin.name != own.name]
        pins = index.resolve([f"{own.name}{extra}{where}", *exact], seen.python)
        _check_same(pins, [own, *beside])
        return {pin.name: pin for pin in (own, *pins)}

    pins = {pin.name: pin for pin in (own, *beside)}
    if index.url or not beside:
        pins = ask("", beside)
    if extra:
        more = ask(f"[{extra}]", pins.values())
        pins |= {name: more[name]._replace(extra=extra) for name in more.keys() - pins}
    first = pins.pop(own.name)
    return [first, *sorted(pins.values())]


def _pin_of(filename: str, sha256: str) -> Pin:
    name, version, _, _ = parse_wheel_filename(filename)
    return Pin(str(name), str(version), filename, sha256)


def _check_same(answers: Iterable[Pin], ours: Iterable[Pin]) -> None:
    """Raise InputError where the index has another file than was built, or tried."""
    known = {pin.name: pin for pin in ours}
    for there in answers:
        pin = known.get(there.name, there)
        if (there.filename, there.sha256) != (pin.filename, pin.sha256):
            raise InputError(
                f"the index has {there.filename} with SHA-256 {there.sha256}, not {pin.sha256}",
                code="sha256",
                file=pin.filename,
                hint="publish the wheels of this build, and mirror NumPy and NVIDIA's as they are",
            )


# The files


def _replace_files(folder: Path, texts: Mapping[str, str]) -> list[dict[str, object]]:
    """Write the pin files of a folder, and remove those of ours that are of no Python now."""
    old = {path.name: path.read_bytes() for it in _PATTERNS for path in folder.glob(it)}
    rows: list[dict[str, object]] = []
    for name, text in sorted(texts.items()):
        path, content = folder / name, text.encode()
        files.write(path, content)
        rows.append({"path": str(path), "changed": old.get(name) != content, "removed": False})
    for name in sorted(old.keys() - texts.keys()):
        if old[name].startswith(_MARK.encode()):
            (folder / name).unlink()
            rows.append({"path": str(folder / name), "changed": True, "removed": True})
    return rows


def _format_files(targets: _Targets, index_url: str) -> dict[str, str]:
    """Return the text of each file by its name.

    No marker tells a free-threaded Python from the other: the files for several Pythons leave it
    out where there is another, and its own file has it. Requirements of one Python hold no
    markers: pip evaluates them for the machine that it runs on, also where --platform and
    --python-version name another.
    """
    plain = {python: pins for python, pins in targets.items() if not python.endswith("t")}
    together = plain or targets
    scopes = {**{f"-{python}": {python: targets[python]} for python in targets}, "": together}
    extras = sorted({"", *(pin.extra for pins in targets.values() for pin in pins)})
    texts = {}
    for extra in extras:
        for suffix, scope in scopes.items():
            name = f"requirements{suffix}{extra and '-'}{extra}.txt"
            texts[name] = _render(
                "requirements.txt", scope, index_url, ["", extra], name=name, extra=extra
            )
    for name in ("constraints.txt", "pylock.toml"):
        texts[name] = _render(name, together, index_url, extras)
    return texts


def _render(
    template: str, targets: _Targets, index_url: str, extras: Sequence[str], **more: str
) -> str:
    values = {
        "mark": _MARK,
        "pythons": list(targets),
        "index_url": index_url,
        "extras": extras,
        "groups": _group(targets, extras),
        **more,
    }
    return render_template(f"pins/{template}.jinja", values, filters={"json": json.dumps})


def _group(targets: _Targets, extras: Collection[str]) -> list[dict[str, object]]:
    """Return each version of what is installed with the extras, ours first, then by name.

    "marker" names the Pythons that get it, "" for all; the extra "" comes always.
    """
    rows: dict[tuple[bool, str, str, str], dict[str, Pin]] = {}
    for python, wheels in targets.items():
        for number, pin in enumerate(wheels):
            if pin.extra in extras:
                key = (number > 0, pin.name, pin.version, pin.extra)
                rows.setdefault(key, {})[python] = pin
    groups: list[dict[str, object]] = []
    for (_, name, version, extra), pins in sorted(rows.items()):
        tests = [f'python_version == "{python.removesuffix("t")}"' for python in pins]
        group: dict[str, object] = {
            "name": name,
            "version": version,
            "extra": extra,
            "marker": "" if len(tests) == len(targets) else " or ".join(tests),
            "pins": sorted(set(pins.values())),
        }
        groups.append(group)
    return groups


def _version_key(python: str) -> tuple[int, bool]:
    """Return what "3.9", "3.10" and "3.14t" are sorted by."""
    return int(python.removeprefix("3.").removesuffix("t")), python.endswith("t")
