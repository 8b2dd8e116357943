"""The files that pin what is installed: requirements, constraints, `pylock.toml` (PEP 751).

What the smoke test ran with is pinned; for the rest uv is asked, on the index that pip is
configured for.
"""

import json
import os
import re
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.pylock import PackageWheel, Pylock, PylockSelectError
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from repack import files
from repack.console import Progress
from repack.errors import FetchError, InputError, RepackError
from repack.fetch.pip import read_settings, trust_settings
from repack.index.publish import check_built
from repack.inspect.pythons import minor_of, supported_tags
from repack.pages import render_template
from repack.process import run
from repack.record import BuildRecord, Seen, WheelRecord, read_records
from repack.wheel.metadata import windows_environment

#: The first line of each file: it is ours, and may be removed when it speaks of no wheel.
_MARK = "# Made by `repack pin`, which makes it anew: do not edit."
#: Every file that is ever written here has one of these names.
_PATTERNS = ("requirements*.txt", "constraints.txt", "pylock.toml")
#: Seconds: an index may tell no hashes, and then each file is downloaded for its own.
_LONGEST = 3600.0
#: pip's setting -> uv's variable, and what uv separates several values by.
_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}
_REPLACED = {variable for variable, _ in _VARIABLES.values() if variable.startswith("UV_")}
_OPTIONS = (
    *("--python", sys.executable, "--no-python-downloads", "--no-config", "--quiet"),
    *("--only-binary", ":all:", "--index-strategy", "first-index"),
    *("--format", "pylock.toml", "--python-platform", "windows"),
)


class Pin(NamedTuple):
    """One wheel that is installed; `extra` is the one that brings it, "" for always.

    `url` is where the index has it, without a password.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = ""
    extra: str = ""


class Index(NamedTuple):
    """Where pins are looked for.

    `url` is the only index, and is written into the pin files; "" for those of pip. Options and
    environment are uv's, and the environment may hold passwords.
    """

    url: str
    options: Sequence[str]
    environment: Mapping[str, str]
    progress: Progress

    def resolve(self, requirements: Sequence[str], python: str) -> list[Pin]:
        """Return the index's wheels that meet the requirements on a 64-bit Windows `python`.

        Raises FetchError where there is no choice.
        """
        subject = f"{requirements[0]} for Python {python} on Windows"
        with TemporaryDirectory(prefix="repack-") as name:
            source, lock = Path(name, "in.txt"), Path(name, "pylock.toml")
            source.write_text("\n".join(requirements), encoding="utf-8")
            command = [find_uv_bin(), "pip", "compile", str(source), "--output-file", str(lock)]
            command += ["--python-version", python, *_OPTIONS, *self.options]
            with self.progress.task(f"Asking the index what is installed on Python {python}"):
                done = run(command, timeout=_LONGEST, env=self.environment)
            if done.returncode or done.timed_out:
                # What uv hints at are options of its own.
                words = " ".join(done.output.split()).partition(" hint: ")[0]
                raise FetchError(
                    words.removeprefix("error: ") or "uv did not end in time",
                    code="unresolved",
                    file=subject,
                    hint="look at what the index has, and at `python -m pip config list`",
                )
            document = Pylock.from_dict(tomllib.loads(lock.read_text(encoding="utf-8")))
        try:
            return _choose_wheels(document, python)
        except PylockSelectError as error:
            raise FetchError(str(error), code="unresolved", file=subject) from None


def open_index(
    progress: Progress, *, url: str = "", first: str = "", offline: bool = False
) -> Index:
    """Return the one index at `url`, or those that pip is configured for.

    Before pip's comes `first`, the index that was just published to; it may hold a password.
    """
    settings = read_settings()
    environment = {name: value for name, value in os.environ.items() if name not in _REPLACED}
    environment |= trust_settings()
    for key, (variable, separator) in _VARIABLES.items():
        if key in settings:
            environment[variable] = separator.join(settings[key].split())
    if url:
        environment |= {"UV_DEFAULT_INDEX": url, "UV_INDEX": "", "UV_FIND_LINKS": ""}
    elif first:
        environment["UV_INDEX"] = f"{first} {environment.get('UV_INDEX', '')}".strip()
    # For ten minutes uv asks no index again: what was published meanwhile would not be seen.
    options = ["--offline" if offline else "--refresh"]
    if settings.get("no-index") and not url:
        options.append("--no-index")
    return Index(url, options, environment, progress)


def _choose_wheels(lock: Pylock, python: str) -> list[Pin]:
    """Return of each package of an index the wheel that an installer of that Python prefers."""
    tags = supported_tags(python, ["win_amd64"])
    pins = []
    environment: Any = windows_environment(python)  # a TypedDict, of which select needs no more
    for package, wheel in lock.select(environment=environment, tags=tags):
        if isinstance(wheel, PackageWheel):
            parts = urlsplit(wheel.url or wheel.path or "")
            pin = Pin(
                name=package.name,
                version=str(package.version),
                filename=unquote(parts.path.rpartition("/")[2]),
                sha256=wheel.hashes["sha256"],
                url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            )
            pins.append(pin)
        elif getattr(wheel, "path", None) is None:  # our own is a file
            message = f"{package.name} is required from an address, which no index can answer"
            raise FetchError(message, code="url-requirement", hint="correct the source's METADATA")
    return pins


# What is pinned


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
        for python in sorted(results, key=lambda python: (minor_of(python), python)):
            row, result = {"build": folder.name, "python": python}, results[python]
            if isinstance(result, RepackError):
                answer["unresolved"].append({**row, "message": str(result)})
            else:
                targets[python] = result
                answer["pins"] += [{**row, **pin._asdict()} for pin in result]
        texts = _format_files(targets, index.url) if targets else {}
        answer["files"] += _replace_files(folder, texts)
    return answer


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
