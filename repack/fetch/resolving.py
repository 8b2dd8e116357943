"""What pip would install on a Windows Python, without installing it."""

from __future__ import annotations

import json
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from repack.config import IndexSource
from repack.errors import ToolError
from repack.fetch.pip import COMMON, LONGEST, environment, pip_error, target_options
from repack.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repack.console import Progress
    from repack.process import Finished

_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).parent / "target" / "run_pip.py"
_INDEXES = re.compile(r"^Looking in indexes: (.+)$", re.MULTILINE)
_OPTIONS = (
    *("install", "--dry-run", "--ignore-installed", "--only-binary=:all:"),
    # Only so does pip say why it could not ask an index, and which wheels it has passed by.
    *("-vv", "--progress-bar=off"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A wheel that pip chose; `sha256` is "" where the index did not say, `url` is whole."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    requires: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What pip is asked: for which Python, whose environment of markers, and on which index.

    `index_url` "" is the index that the user's pip is configured for. `constraints` are
    requirements that hold where something asks for their names.
    """

    requirements: tuple[str, ...]
    python: str
    markers: Mapping[str, str]
    constraints: tuple[str, ...] = ()
    index_url: str = ""
    dependencies: bool = True


def pip_resolve(question: Question, progress: Progress) -> list[Resolved]:
    """Return what pip's resolver chooses; raises FetchError where there is no choice."""
    said = f"Asking the index what is installed on Python {question.python}"
    with (
        TemporaryDirectory(prefix="repack-") as folder,
        progress.task(said, total=None),
    ):
        report = Path(folder) / "report.json"
        done = _ask(question, report)
        _warn_of_several(done.output)
        if done.returncode or done.timed_out:
            raise _error(question, done)
        try:
            document = json.loads(report.read_bytes())
            return [_resolved(item) for item in document["install"]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ToolError(
                f"pip's report is not one that is known here: {error!r}",
                code="pip-report",
                hint="python -m pip install --upgrade pip",
            ) from error


def _warn_of_several(output: str) -> None:
    """Say that pip asks several indexes: it takes the best version, whosever it is."""
    found = _INDEXES.search(output)
    if found and ", " in found[1]:
        _log.warning(
            "pip looks in several indexes (%s): whoever publishes on one of them can answer for "
            "a name of the others; configure one that mirrors them",
            found[1],
        )


def _ask(question: Question, report: Path) -> Finished:
    folder = report.parent
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join([*question.constraints, ""]), encoding="utf-8")
    more = [] if question.dependencies else ["--no-deps"]
    if question.index_url:
        more.append(f"--index-url={question.index_url}")
    return run(
        [
            *(sys.executable, _PROGRAM, json.dumps(dict(question.markers))),
            *(
                *COMMON,
                *_OPTIONS,
                *target_options(IndexSource(requirement="", python=question.python)),
            ),
            *("--target", folder / "target", "--report", report, "--constraint", constraints),
            *(*more, *question.requirements),
        ],
        timeout=LONGEST,
        env=environment(folder),
    )


def _resolved(item: Any) -> Resolved:  # noqa: ANN401 - pip's own document
    metadata, download = item["metadata"], item["download_info"]
    hashes = download["archive_info"].get("hashes", {})
    parts = urlsplit(download["url"])
    return Resolved(
        name=canonicalize_name(metadata["name"]),
        version=metadata["version"],
        filename=unquote(parts.path.rpartition("/")[2]),
        # Whoever has a password for an index has it in .netrc, or in the keyring.
        url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")),
        sha256=hashes.get("sha256", ""),
        requires=tuple(metadata.get("requires_dist", ())),
    )


def _error(question: Question, done: Finished) -> Exception:
    wanted = ", ".join(question.requirements)
    return pip_error(IndexSource(requirement=wanted, python=question.python), None, done)
