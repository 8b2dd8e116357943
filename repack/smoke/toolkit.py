"""NVIDIA's DLLs out of their wheels."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from repack.console import Progress
from repack.fetch import Cache, Fetched
from repack.pythons import make_once


def unpack_dlls(wheel: Fetched, cache: Cache, progress: Progress) -> Path:
    """Return a folder with the DLLs of a wheel, unpacked once and kept in the cache.

    Its layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    """

    def fill(folder: Path) -> None:
        with (
            zipfile.ZipFile(wheel.path) as archive,
            progress.task(f"Unpacking {wheel.path.name}", unit="steps"),
        ):
            (folder / "bin").mkdir()
            for name in archive.namelist():
                if name.lower().endswith(".dll"):
                    target = folder / "bin" / PurePosixPath(name).name
                    with archive.open(name) as member, target.open("wb") as file:
                        shutil.copyfileobj(member, file, 1 << 20)

    return make_once(cache.root / "toolkits" / wheel.sha256, fill, cache, progress) / "bin"
