"""Files of Maven Central, through `mvn`: the user's mirrors, proxies and credentials hold."""

from __future__ import annotations

import contextlib
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repack.errors import FetchError, ToolError
from repack.files import link_or_copy, sha256_of
from repack.lock import Pin
from repack.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repack.console import Progress, Task
    from repack.fetch import Cache
    from repack.process import Finished

_PROGRAM = "mvn"
_LONGEST = 2 * 3600.0
_LOOK = 0.3
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get"
HINT = "apt-get install -y --no-install-recommends maven"


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One file of Maven Central, exactly one content."""

    group: str
    name: str
    version: str
    classifier: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """What it is called in every repository."""
        return f"{self.name}-{self.version}-{self.classifier}.jar"

    @property
    def folder(self) -> Path:
        """Where it lies in every repository, relative to its top."""
        return Path(*self.group.split("."), self.name, self.version)

    @property
    def coordinates(self) -> str:
        """What Maven calls it."""
        return f"{self.group}:{self.name}:{self.version}:jar:{self.classifier}"


def fetch_artifact(artifact: Artifact, *, cache: Cache, offline: bool, progress: Progress) -> Path:
    """Return the file, from the cache, from the user's own repository, or downloaded.

    Raises FetchError where it cannot be had or has another content, ToolError without Maven.
    """
    with cache.lock(f"maven {artifact.coordinates}", progress):
        kept = cache.find(_pin(artifact), progress) or _from_users_repository(artifact, cache)
        if kept is not None:
            return kept
        if offline:
            raise FetchError(
                f"{artifact.filename} ({artifact.size} bytes) is not in the cache, "
                "and --offline asks nobody",
                code="offline",
                hint="run once without --offline",
            )
        return _downloaded(artifact, cache, progress)


def _pin(artifact: Artifact) -> Pin:
    return Pin(
        key=artifact.coordinates,
        url=f"pkg:maven/{artifact.group}/{artifact.name}@{artifact.version}"
        f"?classifier={artifact.classifier}",
        filename=artifact.filename,
        size=artifact.size,
        sha256=artifact.sha256,
    )


def _from_users_repository(artifact: Artifact, cache: Cache) -> Path | None:
    """Return the file if Maven has fetched it before; it is linked, not stored twice."""
    try:
        there = Path.home() / ".m2" / "repository" / artifact.folder / artifact.filename
        if there.stat().st_size != artifact.size or sha256_of(there) != artifact.sha256:
            return None
    except (OSError, RuntimeError):
        return None
    place = cache.place(artifact.sha256, artifact.filename)
    place.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(there, place)
    return place


def _downloaded(artifact: Artifact, cache: Cache, progress: Progress) -> Path:
    """Return the file after `mvn` has fetched it into a repository of ours.

    Maven's own repository is no place for two processes at once, so there is one lock on ours.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise ToolError("mvn is not installed", code="tool-missing", hint=HINT)
    repository = cache.folder("maven")
    with cache.lock("maven", progress), _watched(artifact, repository, progress):
        done = run(
            [
                program,
                "--batch-mode",
                "--no-transfer-progress",
                f"-Dmaven.repo.local={repository}",
                _PLUGIN,
                "-Dtransitive=false",
                f"-Dartifact={artifact.coordinates}",
            ],
            timeout=_LONGEST,
            # Maven reads a pom.xml of the working directory, and fails on one it does not like.
            cwd=repository,
        )
    path = repository / artifact.folder / artifact.filename
    if done.returncode or not path.is_file():
        raise _error(artifact, done)
    sha256 = sha256_of(path)
    if sha256 != artifact.sha256:
        path.unlink()
        raise FetchError(
            f"has SHA-256 {sha256}, expected {artifact.sha256}",
            code="sha256",
            file=artifact.coordinates,
            hint="the Maven repository asked has another file under this name: look at mirrors",
        )
    return cache.add(path, sha256, artifact.filename)


@contextlib.contextmanager
def _watched(artifact: Artifact, repository: Path, progress: Progress) -> Iterator[None]:
    """Show how much has come, as Maven itself only does on a terminal."""
    folder = repository / artifact.folder
    ended = threading.Event()
    with progress.task(f"Downloading {artifact.filename}", total=artifact.size) as task:
        watcher = threading.Thread(target=_watch, args=(folder, task, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _watch(folder: Path, task: Task, ended: threading.Event) -> None:
    shown = 0
    while not ended.wait(_LOOK):
        sizes = [0]
        with contextlib.suppress(OSError):
            sizes += [path.stat().st_size for path in folder.iterdir()]
        task.advance(max(0, max(sizes) - shown))
        shown = max(shown, *sizes)


def _error(artifact: Artifact, done: Finished) -> FetchError | ToolError:
    """Return in one line why Maven has not got it."""
    if done.timed_out:
        return ToolError("mvn did not end in time", code="timeout", file=artifact.coordinates)
    said = [line for line in done.output.splitlines() if line.startswith("[ERROR] ")]
    reason = said[0].removeprefix("[ERROR] ") if said else f"exit code {done.returncode}"
    return FetchError(
        f"mvn says: {reason}",
        code="maven",
        file=artifact.coordinates,
        hint="look at the connection and at Maven's settings.xml (mirror, proxy)",
    )
