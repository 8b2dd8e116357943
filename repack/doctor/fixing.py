"""The cv2 that is installed, and `repack fix`: gives it what `repack build` gives a wheel.

Whenever it ends, fixing again finishes it and undoing takes it back: what will be changed lies in
the .dist-info first, its RECORD last of all; RECORD lists every file before it is there; and
nothing is written in place, since uv's installations are hard links into its cache.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repack.dlls.pe import Image, read_image
from repack.errors import InputError, RepackError, redact_url
from repack.files import workspace, write
from repack.inspect import build_facts, describe_binaries
from repack.patching import BUILD_MODULE, patch_wheel, read_build
from repack.wheel.metadata import entry_of
from repack.wheel.names import parse_filename

#: In the .dist-info of what was fixed: the files as they were. RECORD is the last to get there.
ORIGINALS = "repack-originals"
_LOADER = "cv2/__init__.py"
_BINARIES = (".pyd", ".dll")
_REINSTALL = "install it again from its wheel: python -m pip install --force-reinstall WHEEL"
#: What a message then calls it: "python -m pip install WHEEL".
_NAMELESS = parse_filename(Path("WHEEL-0-py3-none-win_amd64.whl"))


def name_owner(info: Path) -> str:
    """Return name and version of a distribution, by its .dist-info."""
    name, _, version = info.stem.partition("-")
    return f"{name.replace('_', '-')} {version}"


def find_url(info: Path) -> str:
    """Return where the wheel came from, where that was no index (PEP 610), "" where it was one."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        return redact_url(json.loads(_read(info / "direct_url.json") or b"")["url"])
    return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """The cv2 in the site-packages `root`; `owners` are the .dist-info that list files of it.

    `leftovers` list files of it too, and no installer takes them for a distribution.
    """

    root: Path
    owners: tuple[Path, ...]
    leftovers: tuple[Path, ...]

    @property
    def originals(self) -> Path | None:
        """The folder of the files that a fix has changed, as they were; None without a fix."""
        records = (info / ORIGINALS / info.name / "RECORD" for info in self.owners)
        return next((record.parents[1] for record in records if record.is_file()), None)

    @property
    def members(self) -> list[str]:
        """The files of cv2 before any fix, and the DLLs of its distribution, sorted."""
        paths = [*self.root.glob("cv2*.pyd"), *self.root.glob("cv2/**/*")]
        names = {path.relative_to(self.root).as_posix() for path in paths if path.is_file()}
        if len(self.owners) == 1:
            rows = read_rows((self.originals or self.root) / self.owners[0].name / "RECORD")
            # A damaged RECORD may lack binaries, and a fix adds none.
            names = {*rows, *(name for name in names if name.endswith(_BINARIES))}
        return sorted(name for name in names if name.startswith("cv2/") or name.endswith(_BINARIES))

    def read(self, member: str) -> bytes:
        """Return the content that a file had before any fix; InputError where it is gone."""
        original = (self.originals or self.root) / member
        content = _read(original if original.is_file() else self.root / member)
        if content is None:
            raise InputError(f"{member} is gone", code="no-file", file=self.root, hint=_REINSTALL)
        return content


def find_package(root: Path) -> Package:
    """Return the cv2 in a site-packages."""
    infos = [
        folder
        for folder in sorted(root.glob("*.dist-info"))
        if any(member.startswith("cv2/") for member in read_rows(folder / "RECORD"))
    ]
    # With ~: what pip could not remove. Without a version: what others did not.
    owners = tuple(info for info in infos if "-" in info.stem and info.name[0] != "~")
    leftovers = tuple(info for info in infos if info not in owners)
    return Package(root=root, owners=owners, leftovers=leftovers)


def read_rows(record: Path) -> dict[str, list[str]]:
    """Return the rows of a RECORD by file, none where there is none that can be read."""
    text = io.StringIO((_read(record) or b"").decode(errors="surrogateescape"), newline="")
    with suppress(csv.Error):
        return {row[0].replace("\\", "/"): row for row in csv.reader(text) if row}
    return {}


def read_facts(package: Package) -> dict[str, Any]:
    """Return what the run-time module has to know: as the wheel says, or else its binaries."""
    build = _read(package.root / BUILD_MODULE)
    if build and BUILD_MODULE in package.members:
        return read_build(build)
    name = _NAMELESS
    # A version such as 4.5.1.fd5c405 is from before there were rules.
    with suppress(InputError, IndexError):
        name = parse_filename(Path(f"{package.owners[0].stem}-py3-none-win_amd64.whl"))
    members = [member for member in package.members if (package.root / member).is_file()]
    images: dict[str, Image] = {}
    for member in members:
        if member.lower().endswith(_BINARIES):
            # Of one that is damaged the report will tell.
            with suppress(InputError):
                images[member] = read_image(package.root / member)
    facts = build_facts(describe_binaries(name, members, package.read, images), name)
    return {**facts, "opencv": ""} if name is _NAMELESS else facts


def plan_fix(package: Package, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that a fix writes, by their place in site-packages.

    RECORD is the first, cv2's loader the last; `facts` is what the run-time module has to know.
    RepackError says why nothing may be fixed.
    """
    info = _find_owner(package)
    library = package.root.parent
    is_of_conda = b"conda" in (_read(info / "INSTALLER") or b"")
    if is_of_conda or any(library.parent.glob("conda-meta/*opencv*.json")):
        raise _refuse(package, "conda owns it", "install the wheel with pip instead of conda's")
    if (library / "EXTERNALLY-MANAGED").is_file():
        hint = "make a virtual environment (python -m venv), and install it there"
        raise _refuse(package, "the system owns this Python", hint)
    if BUILD_MODULE in package.members:
        raise _refuse(package, "repack has made its wheel: there is nothing to fix")
    if _LOADER not in package.members:
        raise _refuse(package, f"its RECORD lists no {_LOADER}", _REINSTALL)
    if not facts["families"]:
        reason = "it brings its CUDA DLLs" if facts["cuda"] else "no module in it needs CUDA's DLLs"
        raise _refuse(package, reason, "repack doctor says what keeps it from being imported")
    files = patch_wheel(package.members, package.read, facts, file=name_owner(info))[0]
    files[_LOADER] = files.pop(_LOADER)
    record, before = f"{info.name}/RECORD", package.originals or package.root
    contents: dict[str, bytes | Path] = {**files}
    for name in (*files, record):
        if (before / name).is_file():
            contents[f"{info.name}/{ORIGINALS}/{name}"] = before / name
    rows = read_rows(before / record)
    for name in sorted(contents):
        entry = entry_of(contents[name])
        rows[name] = [name, entry.hash, str(entry.size)]
    text = io.StringIO(newline="")
    newline = "\r\n" if b"\r\n" in (before / record).read_bytes() else "\n"
    csv.writer(text, lineterminator=newline).writerows(rows.values())
    return {record: text.getvalue().encode(errors="surrogateescape"), **files}


def _find_owner(package: Package) -> Path:
    """Return the .dist-info of what owns cv2; RepackError where nothing does, or several do."""
    if not package.owners:
        install = "install it from its wheel: python -m pip install --ignore-installed WHEEL"
        if package.leftovers:
            folder = package.leftovers[0].name
            raise _refuse(package, f"{folder} is a leftover", f"remove {folder}, and {install}")
        cmake = "where CMake built it, name the directory in BINARIES_PATHS of its cv2/config.py"
        raise _refuse(package, "no RECORD lists its files", f"{cmake}; otherwise {install}")
    if len(package.owners) > 1:
        owners = list(map(name_owner, package.owners))
        names = [owner.split()[0] for owner in owners]
        uninstall = f"python -m pip uninstall -y {' '.join(dict.fromkeys(names))}"
        # Of two versions of one distribution pip uninstalls one at a time.
        rounds = max(map(names.count, names))
        hint = ", then ".join([*[uninstall] * rounds, "install the one you want again"])
        raise _refuse(package, f"several distributions own it: {', '.join(owners)}", hint)
    return package.owners[0]


def _refuse(package: Package, reason: str, hint: str = "") -> RepackError:
    folder = package.root / "cv2"
    return InputError(f"cannot be fixed: {reason}", code="not-fixable", file=folder, hint=hint)


def list_changes(package: Package, files: Mapping[str, bytes]) -> list[str]:
    """Return those of the files that are not yet as a fix leaves them."""
    return [name for name in files if _read(package.root / name) != files[name]]


def apply_fix(package: Package, files: Mapping[str, bytes]) -> None:
    """Keep the originals, then write the files that are not as a fix leaves them."""
    kept = _prepare(package)
    if package.originals is None:
        shutil.rmtree(kept, ignore_errors=True)  # what an interrupted fix had kept
        for name in reversed(list(files)):
            if (package.root / name).is_file():
                (kept / name).parent.mkdir(parents=True, exist_ok=True)
                write(kept / name, (package.root / name).read_bytes())
    for name, content in files.items():
        write(package.root / name, content)


def undo_fix(package: Package) -> list[str]:
    """Return the files that are as they were before the fix again, none where there was none."""
    kept = _prepare(package)
    restored: list[str] = []
    if package.originals:
        record = f"{kept.parent.name}/RECORD"
        names = [path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()]
        added = read_rows(package.root / record).keys() - read_rows(kept / record).keys()
        added = {name for name in added if not name.startswith(kept.parent.name)}
        # The loader comes first, so that nothing imports what goes; RECORD last.
        order = {_LOADER: 0, record: 2}
        restored = sorted({*names, *added}, key=lambda name: (order.get(name, 1), name))
        for name in restored:
            path = package.root / name
            if name in names:
                write(path, (kept / name).read_bytes())
            else:
                for file in (path, *path.parent.glob(f"__pycache__/{path.stem}.*.pyc")):
                    file.unlink(missing_ok=True)
        (kept / record).unlink()
    shutil.rmtree(kept, ignore_errors=True)
    return restored


def _prepare(package: Package) -> Path:
    """Return the folder for originals, once it is certain that files may be written."""
    info = _find_owner(package)
    for folder in (info, package.root / "cv2"):
        with workspace(folder):
            pass
    return info / ORIGINALS


def _read(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None
