"""A sample CUDA wheel: the index's real cv2, given the load-time imports of a CUDA build.

Adapter of lief, an optional dependency: nothing else needs it.
"""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from repack.errors import InputError, ToolError
from repack.inspect import require_windows
from repack.wheel import (
    local_version,
    parse_filename,
    read_member,
    read_wheel,
    renamed,
    rewritten,
    splice,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from repack.wheel import Member, Sink, Wheel

_log = logging.getLogger(__name__)

_MODULE = "cv2/cv2.pyd"
_CONFIG = "cv2/config.py"
_TOOLKITS = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"
# The release of each CUDA major that a build names as its toolkit, and where that keeps its DLLs.
_TOOLKIT = {11: ("v11.8", "bin"), 12: ("v12.9", "bin"), 13: ("v13.0", "bin/x64")}
# Symbols that the DLLs of all three majors export. The run-time's DLL kept three digits in 11.
_NPPC, _NPPIF, _CUDART = "nppGetLibVersion", "nppiFilterBox_8u_C1R_Ctx", "cudaGetDeviceCount"
_CUDART_NUMBERS = {11: "110"}
_DRIVER = {"nvcuda.dll": ("cuInit", "cuDriverGetVersion")}

# The time of every member: the sample is the same whenever it is made.
_TIMESTAMP = 1580601600


def make_sample(
    base: Path,
    *,
    cuda: int,
    driver: bool,
    folder: Path,
    more: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Return the sample wheel, written into `folder`, made of the wheel `base`.

    `base` is a wheel of opencv-contrib-python for Windows with one cv2.pyd for all Pythons
    (abi3); `cuda` is 11, 12 or 13; `driver` adds the import of nvcuda.dll, and `more` that of
    other DLLs, each with its symbols. The same base gives the same bytes. Raises InputError for
    another base, ToolError where lief is missing.
    """
    lief = _lief()
    require_windows(parse_filename(base))
    with TemporaryDirectory(prefix="repack-") as place:
        before, after = Path(place, "before.pyd"), Path(place, "after.pyd")
        wheel = _opened(base, before)
        _add_imports(lief, before, after, {**imports_of(cuda, driver=driver), **(more or {})})
        files: dict[str, bytes | Path] = {_MODULE: after}
        if wheel.archive.member(_CONFIG):
            text = read_member(wheel.archive, _CONFIG)
            files[_CONFIG] = with_toolkit(text, cuda, file=base)
        label = f"cu{cuda}.driver.sample" if driver else f"cu{cuda}.sample"
        version = local_version(wheel.filename.version, label)
        name = renamed(wheel.filename, version=version)
        entries = rewritten(wheel, name, files, summary=_summary(wheel, cuda))
        folder.mkdir(parents=True, exist_ok=True)
        splice(wheel.archive, entries, folder / str(name), timestamp=_TIMESTAMP)
    _log.info("made %s of %s", name, base.name)
    return folder / str(name)


def imports_of(cuda: int, *, driver: bool) -> Mapping[str, Sequence[str]]:
    """Return DLL -> symbols that a sample for a CUDA major imports."""
    imports = {
        f"nppc64_{cuda}.dll": (_NPPC,),
        f"nppif64_{cuda}.dll": (_NPPIF,),
        f"cudart64_{_CUDART_NUMBERS.get(cuda, cuda)}.dll": (_CUDART,),
    }
    return imports | (_DRIVER if driver else {})


def with_toolkit(text: bytes, cuda: int, *, file: object = "") -> bytes:
    """Return config.py with the entry that OpenCV's CMake writes for a CUDA build, at its end."""
    version, folder = _TOOLKIT[cuda]
    entry = f"os.path.join(os.getenv('CUDA_PATH', '{_TOOLKITS}/{version}'), '{folder}')"
    last = _last_directory(text)
    if last is None:
        raise InputError(
            "no list BINARIES_PATHS can be made out in it",
            code="unknown-config",
            file=file,
            member=_CONFIG,
            hint="make the sample from a wheel of opencv-contrib-python 4.5.4 or later",
        )
    lines = text.splitlines(keepends=True)
    end = b"\r\n" if text.find(b"\r\n") >= 0 else b"\n"
    at = sum(map(len, lines[: (last.end_lineno or 1) - 1])) + (last.end_col_offset or 0)
    return text[:at] + b"," + end + b"    " + entry.encode() + text[at:]


def _last_directory(text: bytes) -> ast.expr | None:
    """Return the last element of the list in BINARIES_PATHS = [...] + BINARIES_PATHS."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BINARIES_PATHS":
            lists = [each for each in ast.walk(node.value) if isinstance(each, ast.List)]
            return lists[0].elts[-1] if lists and lists[0].elts else None
    return None


def _opened(base: Path, module: Path) -> Wheel:
    """Return the wheel `base`, with its cv2.pyd written to `module`."""
    with module.open("wb") as stream:

        def write(chunk: bytes) -> None:
            stream.write(chunk)

        def sink(member: Member) -> Sink | None:
            return write if member.name == _MODULE else None

        wheel = read_wheel(base, sink=sink)
    if wheel.archive.member(_MODULE) is None or "abi3" not in wheel.filename.tag:
        raise InputError(
            f"there is no {_MODULE} for all Pythons in it",
            code="no-abi3",
            file=base,
            hint="make the sample from a win_amd64 wheel of opencv-contrib-python 4.5.4 or later",
        )
    return wheel


def _add_imports(
    lief: Any,  # noqa: ANN401 - lief is optional
    before: Path,
    after: Path,
    imports: Mapping[str, Sequence[str]],
) -> None:
    """Write the DLL `before` to `after`, with more load-time imports."""
    binary = lief.PE.parse(str(before))
    if binary is None:
        raise InputError("lief cannot read it", code="not-pe", file=before.name, member=_MODULE)
    for dll, symbols in imports.items():
        wanted = binary.add_import(dll)
        for symbol in symbols:
            wanted.add_entry(symbol)
    config = lief.PE.Builder.config_t()
    config.imports = True
    binary.write(str(after), config)


def _summary(wheel: Wheel, cuda: int) -> str:
    return (
        "SAMPLE for trying repack, not a CUDA build: OpenCV for the CPU that imports "
        f"CUDA {cuda}'s DLLs. {wheel.summary}"
    ).strip()


def _lief() -> Any:  # noqa: ANN401 - lief is optional
    try:
        import lief  # noqa: PLC0415 - an optional dependency, that only this command needs
    except ImportError as error:
        raise ToolError(
            f"making a sample needs lief, which is not to be had here ({error})",
            code="no-lief",
            hint="python -m pip install lief, or name a source of your own in repack.toml",
        ) from None
    return lief
