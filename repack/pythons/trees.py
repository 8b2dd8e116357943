"""Folders in the cache: those made once, whole or not at all, and those to work in."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from repack.console import Progress
from repack.errors import OutputError
from repack.fetch.cache import Cache
from repack.files import not_written, replace, workspace

_MANIFEST = "repack-manifest.json"


def make_once(
    folder: Path, fill: Callable[[Path], object], cache: Cache, progress: Progress
) -> Path:
    """Return `folder`, which `fill` has filled now or before; one that has lost a file, anew.

    Safe for several processes at once.
    """
    if is_whole(folder):
        return folder
    with cache.lock(f"folder {folder}", progress):
        if is_whole(folder):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with workspace(folder.parent) as place:
            made = place / "made"
            try:
                made.mkdir()
                fill(made)
                (made / _MANIFEST).write_text(json.dumps(_list_sizes(made)), encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                replace(made, folder)
            except OSError as error:
                raise not_written(folder, error) from error
    return folder


@contextlib.contextmanager
def work_folder(cache: Cache, name: str) -> Iterator[Path]:
    """Give an empty folder in the cache's folder `name`, which is gone afterwards.

    It lies among the system's temporary files where we may only read the cache.
    """
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(workspace(cache.folder(name)))
        except OutputError:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield place


def is_whole(folder: Path) -> bool:
    """Return whether every file of the manifest is there and has its size: a look, no reading."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        return all((folder / name).stat().st_size == size for name, size in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _list_sizes(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
