"""What is configured: plain frozen values, every path absolute."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
TARGET_PYTHON = "3.12"
"""The Python an index requirement is resolved for where the configuration names none."""
GITHUB_API = "https://api.github.com"
TOKEN_ENV = ("GH_TOKEN", "GITHUB_TOKEN")


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSource:
    """The index's opencv-contrib-python wheel, given the imports of a CUDA build."""

    opencv: str = "4.14.0.94"
    cuda: int = 12
    driver: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """A wheel on this machine."""

    path: Path
    sha256: str | None = None
    pinned_as: str = ""
    """What the lock calls it; "" for its name, which several builds' files may have in common."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlSource:
    """A wheel at a URL whose path ends in its file name."""

    url: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSource:
    """What pip finds for `requirement` on the user's index, for one Windows Python."""

    requirement: str
    python: str = TARGET_PYTHON
    platform: str = "win_amd64"
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseSource:
    """The one asset of a GitHub release whose name matches the pattern `asset`."""

    repository: str
    tag: str | None = None
    """None is the latest release."""
    asset: str = "*win_amd64.whl"
    api: str = GITHUB_API
    token_env: tuple[str, ...] = TOKEN_ENV
    """The first of these environment variables that has a value gives the token."""
    sha256: str | None = None


Source: TypeAlias = SampleSource | FileSource | UrlSource | IndexSource | ReleaseSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What is made of the source, and where it is put."""

    name: str = ""
    """Normalised, where the file has several builds; "" for the only one."""
    mode: Literal["patch", "depend", "vendor"] = "patch"
    """Where the CUDA DLLs come from: the machine, NVIDIA's wheels through pip, the wheel itself."""
    driver_stub: bool = False
    """Whether the wheel carries stand-ins for the driver's DLLs, for machines without one."""
    emit: Literal["per-python", "abi3"] = "per-python"
    python: tuple[str, ...] = DEFAULT_PYTHONS
    out: Path
    patches: tuple[Path, ...] = ()
    """Folders of a team's own patches, applied after repack's."""
    local: str | None = None
    """A local version label in place of the one that says what was done."""
    help_url: str = ""
    """Where the pages on the messages of a failed import lie; "" for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vendor:
    """Which DLLs a wheel carries in vendor mode, and where they are taken from."""

    families: tuple[str, ...] | Literal["all"] = "all"
    dlls: tuple[str, ...] | Literal["auto"] = "auto"
    """Index requirements of wheels with the DLLs; "auto" derives them from the wheel."""
    dll_dirs: tuple[Path, ...] = ()
    """Directories of a toolkit; they come before wheels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish:
    """What the index that the wheels are for takes."""

    max_size: int | None = None
    """In bytes; None for no limit."""
    index_dir: str | None = None
    """The static index: a folder's path, absolute."""
    index_url: str | None = None
    """Where it is served, for its pages and the pin files; where pip installs from."""
    repository_url: str | None = None
    """Where twine uploads to."""
    repository: str | None = None
    """The name that `.pypirc` has for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddable:
    """An embeddable package of one Windows Python, to be used in place of an assembled one."""

    version: str
    url: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """How the emitted wheels are tried."""

    enabled: bool = True
    timeout: int = 300
    """Seconds each process may take."""
    dlls: tuple[str, ...] | Literal["auto"] = "auto"
    """Index requirements of wheels with the DLLs needed; "auto" derives them from the wheel."""
    dll_dirs: tuple[Path, ...] = ()
    interpreters: tuple[Path, ...] = ()
    embeddable: tuple[Embeddable, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Allow:
    """What the strict checks let through because somebody has said so."""

    startup_hook: bool = False
    """A `.pth` file in the wheel, which Python would run at each start."""
    unlisted_dlls: tuple[str, ...] = ()
    """DLLs that are put into a wheel though NVIDIA's licence does not list them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All settings, checked."""

    path: Path | None
    """The file they came from."""
    source: Source | None
    build: Build
    vendor: Vendor
    publish: Publish
    smoke: Smoke
    allow: Allow
    lock: Path | None
    """Where the pins lie: beside the file; None where there is no file."""
    given: frozenset[str] = field(default=frozenset())
    """Dotted keys that the command line set."""

    @property
    def source_is_given(self) -> bool:
        """Return whether the command line named the source: then no lock speaks of it."""
        return any(key.split(".")[:1] == ["source"] for key in self.given)
