"""A wheel of more than 4 GiB with a member of more than 2, read back by whatever installs wheels.

Made of a genuine CUDA build and NVIDIA's DLLs. Run by `nox -s large`; needs 15 GB and Wine.
"""

import itertools
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from genuine import CUDA_12, genuine_dlls, genuine_wheel

from repack.wheel.archive import Archive, open_archive
from repack.wheel.names import rename_wheel
from repack.wheel.reader import read_wheel
from repack.wheel.writer import Carried, Copied, rewrite_members, splice

SCRIPTS = Path(sysconfig.get_path("scripts"))
LARGE = "cv2/data/large.bin"
_MEMBER, _ARCHIVE = 2 << 30, 4 << 30


def main() -> int:
    """Make the wheel, have it read, and return 1 where somebody cannot."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        wheel = make(place)
        readers: dict[str, Callable[[], bool]] = {
            "repack inspect": lambda: run(SCRIPTS / "repack", "inspect", "-q", wheel),
            "zipfile": lambda: is_whole(wheel),
            "pip": lambda: install(wheel, place, sys.executable, "-m", "pip", "install"),
            "uv": lambda: install(wheel, place, SCRIPTS / "uv", "pip", "install"),
            "Windows' pip, and import": lambda: smoke(wheel),
        }
        results = {name: read() for name, read in readers.items()}
    for name, is_right in results.items():
        sys.stdout.write(f"{name}: {'right' if is_right else 'WRONG'}\n")
    return 0 if all(results.values()) else 1


def make(place: Path) -> Path:
    """Return the wheel, in `place`."""
    wheel = read_wheel(genuine_wheel(CUDA_12))
    archives = [open_archive(fetched.path) for fetched in genuine_dlls(CUDA_12)]
    large = concatenate(archives, place / "large.bin")
    carried = [dll for archive in archives for dll in dlls_of(archive)]
    name = rename_wheel(wheel.filename, version=f"{wheel.filename.version}.large")
    entries = rewrite_members(wheel, name, {LARGE: large}, carried=carried)
    written = splice(entries, place / str(name), timestamp=315_532_800)
    large.unlink()
    assert written.size > _ARCHIVE
    return written.path


def concatenate(archives: list[Archive], path: Path) -> Path:
    """Return a file of more than 2 GiB, of NVIDIA's DLLs one behind the other, twice if need be."""
    dlls = [
        (archive, member.name)
        for archive in archives
        for member in archive.members
        if member.name.endswith(".dll")
    ]
    with path.open("wb") as file:
        for archive, name in itertools.cycle(dlls):
            if file.tell() > _MEMBER + (400 << 20):
                break
            with zipfile.ZipFile(archive.path) as source, source.open(name) as member:
                shutil.copyfileobj(member, file, 1 << 20)
    return path


def dlls_of(archive: Archive) -> list[Carried]:
    """Return the DLLs of a wheel of NVIDIA's, to be copied as they lie, beside the module."""
    wheel = read_wheel(archive.path)
    return [
        Carried(
            Copied(name=f"cv2/{Path(member.name).name}", member=member, archive=archive),
            wheel.record[member.name],
        )
        for member in archive.members
        if member.name.endswith(".dll")
    ]


def is_whole(wheel: Path) -> bool:
    """Return whether Python's zipfile finds each member whole."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.testzip() is None and archive.getinfo(LARGE).file_size > _MEMBER


def install(wheel: Path, place: Path, *installer: str | Path) -> bool:
    """Return whether an installer puts all of it where it belongs."""
    target = place / "target"
    options: list[str | Path] = ["--no-deps", "--target", target, "--quiet"]
    if "uv" in str(installer[0]):
        options += ["--python-platform", "windows", "--python-version", CUDA_12.python]
        options += ["--link-mode", "copy", "--no-cache"]
    else:
        options += ["--platform", "win_amd64", "--python-version", CUDA_12.python]
        options += ["--only-binary=:all:", "--no-compile"]
    is_right = run(*installer, *options, wheel)
    sizes = {member.name: member.size for member in open_archive(wheel).members}
    is_right &= (target / LARGE).stat().st_size == sizes[LARGE]
    shutil.rmtree(target)
    return is_right


def smoke(wheel: Path) -> bool:
    """Return whether that Windows Python's own pip installs it, and cv2 imports."""
    options = ["--python", CUDA_12.python, "--json", "--set", "smoke.timeout=1500"]
    command: list[str | Path] = [SCRIPTS / "repack", "smoke", "-q", *options, wheel]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    (seen,) = json.loads(done.stdout)["wheels"]
    sys.stdout.write(f"{json.dumps(seen['smoke'])}\n")
    return str(seen["smoke"]["status"]) == "passed"


def run(*command: str | Path) -> bool:
    """Return whether a program ends well."""
    return subprocess.run(list(command), check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
