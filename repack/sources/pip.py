"""Index requirements, through pip: the user's indexes, proxies, certificates and keyring hold."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.errors import FetchError, ToolError
from repack.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from repack.config import IndexSource
    from repack.processes import Finished
    from repack.progress import Progress, Task
    from repack.sources.transfer import Expected

_LONGEST = 4 * 3600.0
_COMMON = ("--no-input", "--no-color", "--disable-pip-version-check")
_UPDATE_NEEDS = "look at `python -m pip config list`: another index may be meant"

# What pip says, what we say, and what to do; the first that matches holds.
_REASONS = (
    (
        re.compile(r"No module named pip\b"),
        "pip is not installed beside repack",
        "python -m ensurepip",
    ),
    (
        re.compile(r"No space left on device"),
        "no room is left on the disk",
        "make room, or let REPACK_CACHE name a folder on a larger disk",
    ),
    (
        re.compile(r"SSLError|CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError"),
        "the index has no certificate that pip trusts",
        "a certificate authority of your own is named by PIP_CERT",
    ),
    (
        re.compile(r"Retrying \(Retry.*?after connection broken by '?(\w+)"),
        "the index cannot be reached ({0})",
        "look at the connection, HTTPS_PROXY and `python -m pip config list`",
    ),
    (
        re.compile(
            r"(?:Could not fetch URL|HTTP error) (?:\S+: )?(\d{3})|(\d{3}) (?:Client|Server) Error"
        ),
        "the index answers {0}",
        "look at `python -m pip config list` and the index's credentials",
    ),
)
_MISMATCH = re.compile(r"Expected sha256 ([0-9a-f]{64}).*?Got\s+([0-9a-f]{64})", re.DOTALL)
_VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_SHOWN_VERSIONS = 6


def pip_download(
    source: IndexSource, expected: Expected, filename: str | None, folder: Path, progress: Progress
) -> Path:
    """Return the one wheel that pip puts into the empty `folder` for `source`.

    With a file name and a hash known, pip is bound to exactly that version and content. pip's
    own cache is left out: the wheels are large, and ours keeps the only copy.
    """
    destination = folder / "wheels"
    with progress.task(f"Asking the index for {source.requirement}", total=None) as task:
        done = run(
            [
                *_pip(),
                *_target(source),
                "--dest",
                destination,
                *_wanted(source, expected, filename, folder),
            ],
            timeout=_LONGEST,
            # The working directory is on the path of `python -m`: it must hold nothing of others.
            cwd=folder,
            on_line=_show(task),
        )
    wheels = sorted(destination.glob("*.whl")) if destination.is_dir() else []
    if done.returncode or done.timed_out or len(wheels) != 1:
        raise _error(source, expected, done)
    return wheels[0]


def package_url(filename: str) -> str:
    """Return the package URL of an index's file: what it is called, on whatever mirror it lies."""
    name, version, _, _ = parse_wheel_filename(filename)
    said = str(version).replace("+", "%2B")
    return f"pkg:pypi/{name}@{said}?file_name={filename.replace('+', '%2B')}"


def _pip() -> Sequence[str]:
    return (
        sys.executable,
        "-m",
        "pip",
        *_COMMON,
        "download",
        "--progress-bar=raw",
        "--no-cache-dir",
        "--no-deps",
        "--only-binary=:all:",
    )


def _target(source: IndexSource) -> Sequence[str]:
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


def _error(source: IndexSource, expected: Expected, done: Finished) -> FetchError | ToolError:
    """Return in one line why pip has found nothing."""
    what = f"{source.requirement} for Python {source.python} on {source.platform}"
    if done.timed_out:
        return ToolError(
            f"pip did not finish in {_LONGEST / 3600:.0f} hours", code="timeout", file=what
        )
    mismatch = _MISMATCH.search(done.output)
    if mismatch:
        said = f"has SHA-256 {mismatch[2]}, {expected.by} says {mismatch[1]}"
        return FetchError(said, code="sha256", file=what, hint=expected.hint)
    for pattern, reason, hint in _REASONS:
        match = pattern.search(done.output)
        if match:
            word = next((group for group in match.groups() if group), "")
            return FetchError(reason.format(word), code="index", file=what, hint=hint)
    versions = _VERSIONS.search(done.output)
    if versions:
        return _no_such_version(what, versions[1])
    errors = [line.removeprefix("ERROR: ") for line in done.output.splitlines() if "ERROR" in line]
    said = errors[-1] if errors else f"exit code {done.returncode}"
    return FetchError(f"pip says: {said}", code="index", file=what, hint=_UPDATE_NEEDS)


def _no_such_version(what: str, versions: str) -> FetchError:
    """Return the error for a requirement that no wheel of the index meets."""
    known = [version for version in versions.split(", ") if version != "none"]
    if not known:
        said = "the index has no wheel of it for this Python and platform"
        hint = "look at the name, and at source.python: some wheels are for one Python only"
        return FetchError(said, code="no-such-version", file=what, hint=hint)
    newest = ", ".join(known[-_SHOWN_VERSIONS:])
    more = "the newest are " if len(known) > _SHOWN_VERSIONS else "there are "
    return FetchError(
        "the index has no such version", code="no-such-version", file=what, hint=more + newest
    )
