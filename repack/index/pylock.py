"""`pylock.toml` (PEP 751): one lock file for all Pythons, and for all extras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from packaging.markers import Marker
from packaging.pylock import Package, PackageWheel, Pylock
from packaging.version import Version

from repack.index.pins import marker, merged
from repack.lock import format_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.utils import NormalizedName

    from repack.index.pins import Merged, PinnedFile, Target

#: The one name that tools look for; "pylock.<name>.toml" is for whoever has several.
FILENAME = "pylock.toml"
_CREATED_BY = "repack"


def format_pylock(targets: Sequence[Target], *, mark: str, index_url: str) -> str:
    """Return the lock file for several Pythons; the first line of its head is `mark`.

    Without an index the wheels are named by their paths beside the file, because PEP 751 has
    each wheel say where it is, and an address is what a team says of its index itself.
    """
    pythons = [target.python for target in targets]
    lock = Pylock(
        lock_version=Version("1.0"),
        created_by=_CREATED_BY,
        environments=[
            Marker(f'python_version == "{python}" and sys_platform == "win32"')
            for python in dict.fromkeys(python.removesuffix("t") for python in pythons)
        ],
        extras=[
            cast("NormalizedName", extra)
            for extra in sorted({extra for target in targets for extra in target.extras})
        ],
        packages=[_package(pin, pythons, index_url) for pin in merged(targets)],
    )
    lock.validate()
    head = _head(mark, pythons, index_url)
    return "\n".join([*head, format_toml(_plain(lock.to_dict()))])


def _head(mark: str, pythons: Sequence[str], index_url: str) -> list[str]:
    lines = [
        mark,
        f"# For 64-bit Windows, Python {', '.join(pythons)}; install with one of",
        f"#   python -m pip install -r {FILENAME}",
        f"#   uv pip sync {FILENAME}",
    ]
    if not index_url:
        lines += [
            "# The wheels are looked for beside this file. Those that come from an index are put",
            "# there, for one Python, by",
            "#   python -m pip download --require-hashes -d . -r requirements-X.Y.txt",
            "# and `repack pin --index-url YOUR-INDEX` names their addresses there instead.",
        ]
    return [*lines, ""]


def _package(pin: Merged, pythons: Sequence[str], index_url: str) -> Package:
    condition = marker(pin, pythons)
    return Package(
        name=cast("NormalizedName", pin.name),
        version=Version(pin.version),
        marker=Marker(condition) if condition else None,
        index=index_url or None,
        wheels=[_wheel(file) for file in pin.files],
    )


def _wheel(file: PinnedFile) -> PackageWheel:
    return PackageWheel(
        name=file.filename,
        url=file.url or None,
        path=None if file.url else file.filename,
        hashes={"sha256": file.sha256},
    )


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document without empty lists, which say nothing."""
    return {key: value for key, value in document.items() if value != []}
