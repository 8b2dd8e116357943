"""The files that pin what is installed: requirements, constraints, `pylock.toml` (PEP 751).

What the smoke test ran with is pinned; for the rest uv is asked, on the index that pip is
configured for.
"""

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
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
from repack.fetch.http import add_login, find_login
from repack.fetch.pip import LOGIN_HINT, make_uv_environment, read_settings
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
#: uv's variable -> pip's setting, and what uv separates several values by.
_VARIABLES = {
    "UV_DEFAULT_INDEX": ("index-url", " "),
    "UV_INDEX": ("extra-index-url", " "),
    "UV_FIND_LINKS": ("find-links", ","),
    "UV_INSECURE_HOST": ("trusted-host", " "),
    "SSL_CLIENT_CERT": ("client-cert", " "),
    "ALL_PROXY": ("proxy", " "),
    "UV_EXCLUDE_NEWER": ("uploaded-prior-to", " "),
}
#: What pip takes for a switch that is on.
_TRUE = ("y", "yes", "t", "true", "on", "1")
_OPTIONS = (
    *("--python", sys.executable, "--no-python-downloads", "--no-config", "--quiet"),
    *("--only-binary", ":all:", "--index-strategy", "first-index"),
    *("--format", "pylock.toml"),
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


#: For each Python ("3.12", "3.14t") all that is installed on it, our wheel first.
_Targets = Mapping[str, Sequence[Pin]]


# Which versions


class Index:
    """Where pins are looked for by uv.

    `url` is the only index, and is written into the pin files; "" for those that pip is configured
    for. Before pip's comes `first`, which was just published to; it may hold a password.
    """

    def __init__(
        self, progress: Progress, *, url: str = "", first: str = "", offline: bool = False
    ) -> None:
        self.url = url
        self._progress = progress
        # For ten minutes uv asks no index again: what was published meanwhile would not be seen.
        self._options = ["--offline" if offline else "--refresh"]
        settings, environment = read_settings(), make_uv_environment()
        for variable, (key, separator) in _VARIABLES.items():
            if key in settings:
                environment[variable] = separator.join(settings[key].split())
        if url:
            named = add_login(url, find_login(url))
            environment |= {"UV_DEFAULT_INDEX": named, "UV_INDEX": "", "UV_FIND_LINKS": ""}
        elif first:
            environment["UV_INDEX"] = f"{first} {environment.get('UV_INDEX', '')}"
        if settings.get("no-index", "").lower() in _TRUE and not url:
            self._options.append("--no-index")
        self._environment = environment

    def resolve(self, requirements: Sequence[str], python: str) -> list[Pin]:
        """Return the index's wheels that meet the requirements on a 64-bit Windows `python`.

        Raises FetchError where there is no choice.
        """
        with TemporaryDirectory(prefix="repack-") as name:
            source, lock = Path(name, "in.txt"), Path(name, "pylock.toml")
            source.write_text("\n".join(requirements), encoding="utf-8")
            command = [find_uv_bin(), "pip", "compile", str(source), "--output-file", str(lock)]
            command += ["--python-version", python.removesuffix("t"), *_OPTIONS, *self._options]
            # For one platform uv leaves out the wheels of free-threaded Pythons.
            free_threaded = python.endswith("t")
            command += ["--universal"] if free_threaded else ["--python-platform", "windows"]
            with self._progress.task(f"Asking the index what is installed on Python {python}"):
                done = run(command, timeout=_LONGEST, env=self._environment)
            hint = "look at what the index has, and at `python -m pip config list`"
            try:
                if not (done.returncode or done.timed_out):
                    text = lock.read_text(encoding="utf-8")
                    return _choose_wheels(Pylock.from_dict(tomllib.loads(text)), python)
                # What uv hints at are options of its own, or that it was not let in.
                words, _, advice = " ".join(done.output.split()).partition(" hint: ")
                reason = words.removeprefix("error: ") or "uv did not finish in time"
                if "authentication" in advice:
                    reason, hint = advice, f"{LOGIN_HINT}, which needs the name in index-url"
            except PylockSelectError as error:
                reason = str(error)
        subject = f"{requirements[0]} for Python {python} on Windows"
        raise FetchError(reason, code="unresolved", file=subject, hint=hint)


def _choose_wheels(lock: Pylock, python: str) -> list[Pin]:
    """Return of each package of an index the wheel that an installer of that Python prefers."""
    tags = supported_tags(python, ["win_amd64"])
    pins = []
    environment: Any = windows_environment(python)  # a TypedDict, of which select needs no more
    for _, wheel in lock.select(environment=environment, tags=tags):
        if isinstance(wheel, PackageWheel):  # our own is a file
            parts = urlsplit(wheel.url or wheel.path or "")
            filename = unquote(parts.path.rpartition("/")[2])
            url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            pins.append(_pin_of(filename, wheel.hashes["sha256"], url))
    return pins


def _pin_of(filename: str, sha256: str, url: str = "") -> Pin:
    name, version, _, _ = parse_wheel_filename(filename)
    return Pin(str(name), str(version), filename, sha256, url)


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
    version of anything. Raises InputError where the index has another file than was built or tried.
    """
    own = _pin_of(built.filename, built.sha256)
    beside = [_pin_of(wheel.filename, wheel.sha256) for wheel in seen.after.beside]
    pins = {pin.name: pin for pin in (own, *beside)}
    where = f"=={own.version}" if index.url else f" @ {path.absolute().as_uri()}"
    wanted = [""] if index.url or not beside else []
    for brings in [*wanted, *([extra] if extra else [])]:
        named = f"{own.name}[{brings}]" if brings else own.name
        exact = [f"{pin.name}=={pin.version}" for pin in pins.values() if pin.name != own.name]
        for answer in index.resolve([named + where, *exact], seen.python):
            known = pins.get(answer.name, answer._replace(extra=brings))
            if (answer.filename, answer.sha256) != (known.filename, known.sha256):
                raise InputError(
                    f"the index has {answer.filename} with SHA-256 {answer.sha256}, "
                    f"not {known.sha256}",
                    code="sha256",
                    file=known.filename,
                    hint="publish this build's wheels, and mirror NumPy and NVIDIA's as they are",
                )
            pins[answer.name] = known._replace(url=answer.url)
    return [pins.pop(own.name), *sorted(pins.values())]


# The files


def write_pins(dist: Path, index: Index) -> dict[str, Any]:
    """Write the pin files beside the wheels of all builds in `dist`; equal ones are left alone.

    Returns what `repack pin --json` prints: "files", "removed", "pins", and "unresolved" Pythons
    with the reason. Raises InputError where no build has a wheel that may be handed on, and
    nothing is written where one of the wheels is not what was built.
    """
    records = read_records(dist)
    builds = {folder: _pin_build(folder, records[folder], index) for folder in records}
    if not any(builds.values()):
        message = "there is no build with a wheel that may be published"
        hint = "run `repack build` first"
        raise InputError(message, code="nothing-to-pin", file=dist, hint=hint)
    answer: dict[str, list[Any]] = {"files": [], "removed": [], "pins": [], "unresolved": []}
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
        for name, text in sorted(texts.items()):
            files.write(folder / name, text.encode())
            answer["files"].append(str(folder / name))
        for path in sorted(path for pattern in _PATTERNS for path in folder.glob(pattern)):
            if path.name not in texts and path.read_bytes().startswith(_MARK.encode()):
                path.unlink()
                answer["removed"].append(str(path))
    return answer


def _format_files(targets: _Targets, index_url: str) -> dict[str, str]:
    """Return the text of each file by its name.

    No marker tells a free-threaded Python from the other: the files for several Pythons leave it
    out where there is another, and its own file has it. Requirements of one Python hold no
    markers: pip evaluates them for the machine that it runs on, also where --platform and
    --python-version name another.
    """
    together = {python: pins for python, pins in targets.items() if not python.endswith("t")}
    scopes = {"": together or targets} | {
        f"-{python}": {python: targets[python]} for python in targets
    }
    extras = sorted({"", *(pin.extra for pins in targets.values() for pin in pins)})
    texts = {}
    for extra in extras:
        for suffix, scope in scopes.items():
            name = f"requirements{suffix}{extra and '-'}{extra}.txt"
            more = {"name": name, "extra": extra}
            texts[name] = _render("requirements.txt", scope, ["", extra], index_url, **more)
    for name in ("constraints.txt", "pylock.toml"):
        texts[name] = _render(name, scopes[""], extras, index_url)
    return texts


def _render(
    template: str, targets: _Targets, extras: Sequence[str], index_url: str, **more: str
) -> str:
    """Return the text that pins all that is installed with the extras; "" comes always.

    Its groups are the versions, ours first, then by name. The "marker" of each names the Pythons
    that get it, "" for all.
    """
    rows: dict[tuple[bool, str, str, str], dict[str, Pin]] = {}
    for python, pins in targets.items():
        for number, pin in enumerate(pins):
            if pin.extra in extras:
                key = (number > 0, pin.name, pin.version, pin.extra)
                rows.setdefault(key, {})[python] = pin
    groups = []
    for (_, name, version, extra), wheels in sorted(rows.items()):
        tests = [f'python_version == "{python.removesuffix("t")}"' for python in wheels]
        marker = "" if len(tests) == len(targets) else " or ".join(tests)
        group = {"name": name, "version": version, "extra": extra, "marker": marker}
        groups.append({**group, "pins": sorted(set(wheels.values()))})
    values = {
        "mark": _MARK,
        "pythons": list(targets),
        "index_url": index_url,
        "extras": extras,
        "groups": groups,
        **more,
    }
    return render_template(f"pins/{template}.jinja", values, filters={"json": json.dumps})
