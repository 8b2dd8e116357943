"""Index requirements, through pip: the user's indexes, proxies, certificates and keyring hold."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.config import IndexSource
from repack.errors import FetchError, ToolError
from repack.fetch.disk import NO_ROOM_HINT
from repack.process import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from repack.console import Progress, Task
    from repack.fetch.values import Expected
    from repack.process import Finished

LONGEST = 4 * 3600.0
COMMON = ("--no-input", "--no-color", "--disable-pip-version-check")
_CONFIG_HINT = "look at the connection, HTTPS_PROXY and `python -m pip config list`"

# What pip says, what we say, and what to do.
_REASONS = (
    ("No module named pip", "pip is not installed beside repack", "python -m ensurepip"),
    ("No space left on device", "no room is left on the disk", NO_ROOM_HINT),
)
_NOT_FETCHED = re.compile(r"Could not fetch URL \S+: (.*?)(?: for url: \S+)? - skipping")
_CAUSE = re.compile(r".*\(Caused by \w+\((.*)\)\)")
_OBJECT = re.compile(r"<\S+ object at 0x[0-9a-f]+>: ")
_OTHER_TAGS = re.compile(r"none of the wheel's tags \(([^)]*)\) are compatible")
_MISMATCH = re.compile(r"Expected sha256 ([0-9a-f]{64}).*?Got\s+([0-9a-f]{64})", re.DOTALL)
_CONFLICT = re.compile(r"The conflict is caused by:\n((?:    .*\n)+)")
_VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_SHOWN = 6


def pip_download(
    source: IndexSource, expected: Expected, filename: str | None, folder: Path, progress: Progress
) -> Path:
    """Return the one wheel that pip puts into the empty `folder` for `source`.

    With a file name and a hash known, pip is bound to exactly that version and content. pip's
    own cache is left out: the wheels are large, and ours keeps the only copy.
    """
    destination, temporary = folder / "wheels", folder / "temporary"
    temporary.mkdir()
    said = _wanted(source, expected, filename, folder)
    with progress.task(f"Asking the index for {source.requirement}", total=None) as task:
        done = run(
            [*_pip(), *target_options(source), "--dest", destination, *said],
            timeout=LONGEST,
            env=environment(temporary),
            on_line=_show(task),
        )
    wheels = sorted(destination.glob("*.whl")) if destination.is_dir() else []
    if done.returncode or done.timed_out or len(wheels) != 1:
        raise pip_error(source, expected, done)
    return wheels[0]


def package_url(filename: str) -> str:
    """Return the package URL of an index's file: what it is called, on whatever mirror it lies."""
    name, version, _, _ = parse_wheel_filename(filename)
    said = str(version).replace("+", "%2B")
    return f"pkg:pypi/{name}@{said}?file_name={filename.replace('+', '%2B')}"


def environment(temporary: Path) -> dict[str, str]:
    """Return our environment; the working directory stays too, relative paths may lean on it.

    pip downloads into the temporary folder first, and that had better not be a small /tmp; and
    a `pip.py` of the working directory is not the pip that is meant (Python 3.11 and later).
    """
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    return {**os.environ, **folders, "PYTHONSAFEPATH": "1"}


def _pip() -> Sequence[str]:
    return (
        sys.executable,
        "-m",
        "pip",
        *COMMON,
        "download",
        # Only so does pip say why it could not ask an index, and which wheels it has passed by.
        "-vv",
        "--progress-bar=raw",
        "--no-cache-dir",
        "--no-deps",
        "--only-binary=:all:",
    )


def target_options(source: IndexSource) -> Sequence[str]:
    """Return the options that say for which Python, which need not be the one that runs."""
    version = source.python.removesuffix("t")
    options = [
        f"--platform={source.platform}",
        f"--python-version={version}",
        "--implementation=cp",
    ]
    if source.python.endswith("t"):
        options.append(f"--abi=cp{version.replace('.', '')}t")
    return options


def _wanted(
    source: IndexSource, expected: Expected, filename: str | None, folder: Path
) -> Sequence[str | Path]:
    """Return what to ask for: the requirement, or exactly what it was when it was pinned."""
    if expected.sha256 is None or filename is None:
        return (source.requirement,)
    name, version, _, _ = parse_wheel_filename(filename)
    wanted = f"{canonicalize_name(name)}=={version}"
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wanted} --hash=sha256:{expected.sha256}\n", encoding="utf-8")
    return ("--require-hashes", "--requirement", requirements)


def _show(task: Task) -> Callable[[str], None]:
    """Return what turns pip's lines into progress."""
    done = 0

    def show(line: str) -> None:
        nonlocal done
        match = _PROGRESS.fullmatch(line.strip())
        if match:
            now, total = int(match[1]), int(match[2])
            task.resize(total)
            task.advance(now - done)
            done = now
        elif line.strip().startswith("Downloading "):
            task.describe(line.strip())

    return show


def check_index(requirements: Sequence[str], *, python: str, progress: Progress) -> None:
    """Raise FetchError unless the index has a wheel of each for that Windows Python.

    pip is told not to install them, so that it asks for their metadata alone.
    """
    with progress.task("Asking the index for what the wheel requires", total=None):
        if _resolved(requirements, python).returncode == 0:
            return
        for requirement in requirements:
            done = _resolved([requirement], python)
            if done.returncode or done.timed_out:
                source = IndexSource(requirement=requirement, python=python)
                raise pip_error(source, None, done)
    # Together they fail, and each for itself is there: another try is all that helps.
    raise FetchError(
        "the index has each of them, and not all at once",
        code="index",
        file=", ".join(requirements),
        hint="run again",
    )


def _resolved(requirements: Sequence[str], python: str) -> Finished:
    options = (
        *("install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:"),
        *("-vv", "--progress-bar=off"),
        *target_options(IndexSource(requirement="", python=python)),
    )
    with TemporaryDirectory(prefix="repack-") as folder:
        return run(
            [
                *(sys.executable, "-m", "pip", *COMMON, *options),
                *("--target", folder, *requirements),
            ],
            timeout=LONGEST,
            env=environment(Path(folder)),
        )


def pip_error(
    source: IndexSource, expected: Expected | None, done: Finished
) -> FetchError | ToolError:
    """Return in one line why pip has found nothing."""
    what = f"{source.requirement} for Python {source.python} on {source.platform}"
    if done.timed_out:
        said = f"pip did not finish in {LONGEST / 3600:.0f} hours"
        return ToolError(said, code="timeout", file=what, hint=_CONFIG_HINT)
    mismatch = _MISMATCH.search(done.output)
    if mismatch and expected:
        said = f"has SHA-256 {mismatch[2]}, {expected.by} says {mismatch[1]}"
        return FetchError(said, code="sha256", file=what, hint=expected.hint)
    for words, reason, hint in _REASONS:
        if words in done.output:
            return FetchError(reason, code="index", file=what, hint=hint)
    # A name that an index does not know is no fault of the index: 404 is its answer then.
    reasons = [match[1] for match in _NOT_FETCHED.finditer(done.output)]
    fault = next((reason for reason in reasons if not reason.startswith("404 ")), None)
    if fault is not None:
        cause = _OBJECT.sub("", _CAUSE.sub(r"\1", fault).strip("'\""))
        said = f"the index cannot be asked: {cause}"
        hint = _CERTIFICATE_HINT if "ssl certificate" in cause else _CONFIG_HINT
        return FetchError(said, code="index", file=what, hint=hint)
    return _without_choice(what, done)


_CERTIFICATE_HINT = "a certificate authority of your own is named by PIP_CERT"


def _without_choice(what: str, done: Finished) -> FetchError:
    """Return the error for what an index that answers does not have."""
    conflict = _CONFLICT.search(done.output)
    if conflict:
        both = "; ".join(line.strip() for line in conflict[1].splitlines())
        hint = "ask for other versions, or look at what the index has"
        return FetchError(f"no versions go together: {both}", code="conflict", file=what, hint=hint)
    versions = _VERSIONS.search(done.output)
    if versions:
        return _no_such_version(what, versions[1], done.output)
    lines = [line for line in done.output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    said = (errors or lines or [f"exit code {done.returncode}"])[-1].removeprefix("ERROR: ")
    return FetchError(f"pip says: {said}", code="index", file=what, hint=_CONFIG_HINT)


def _no_such_version(what: str, versions: str, output: str) -> FetchError:
    """Return the error for a requirement that no wheel of the index meets."""
    known = [version for version in versions.split(", ") if version != "none"]
    others = sorted(set(_OTHER_TAGS.findall(output)))
    if known:
        said = "the index has no such version"
        more = "the newest are" if len(known) > _SHOWN else "there are only"
        hint = f"{more} {', '.join(known[-_SHOWN:])}"
    elif others:
        said = "the index has it for others only"
        hint = f"its wheels are for {', '.join(others[-_SHOWN:])}: look at source.python"
    else:
        said = "the index has no wheel of it"
        hint = "look at the name, and at `python -m pip config list`: another index may be meant"
    return FetchError(said, code="no-such-version", file=what, hint=hint)
