"""A sample CUDA wheel: the index's real cv2, given the load-time imports of a CUDA build.

Adapter of lief, an optional dependency: nothing else needs it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from repack import __version__
from repack.config import IndexSource, SampleSource
from repack.errors import ToolError
from repack.fetch import Supply
from repack.wheel.names import local_version, refuse, rename_wheel
from repack.wheel.reader import Wheel, read_member, read_wheel
from repack.wheel.writer import rewrite_members, splice

_MODULE, _CONFIG = "cv2/cv2.pyd", "cv2/config.py"
#: A cv2.pyd for the CPU has 80 MB.
_MODULE_LIMIT = 1 << 30
#: CUDA's major -> the release that a build names as its toolkit; 13 has its DLLs in bin/x64.
_RELEASES, _FIRST_WITH_X64 = {11: "v11.8", 12: "v12.9", 13: "v13.0"}, 13
#: It had three digits until CUDA 11.
_RUNTIMES = {11: "cudart64_110.dll"}
#: The end of the list `BINARIES_PATHS = [...] + BINARIES_PATHS`, as OpenCV's CMake writes it.
_END_OF_LIST = re.compile(rb"(\r?\n)\] \+ BINARIES_PATHS")
#: The time of every member: the sample is the same whenever it is made.
_TIMESTAMP = 1580601600
_OTHER_BASE = "make the sample from a win_amd64 wheel of opencv-contrib-python 4.5.4 or later"


def provide_sample(source: SampleSource, supply: Supply) -> tuple[Path, str]:
    """Return the sample wheel, made once and kept in the cache, and where its base comes from."""
    base = supply.fetch(IndexSource(requirement=f"opencv-contrib-python=={source.opencv}"))

    def fill(folder: Path) -> None:
        with supply.progress.task(f"Making a sample CUDA {source.cuda} wheel", total=None):
            make_sample(base.path, cuda=source.cuda, driver=source.driver, folder=folder)

    key = hashlib.sha256(repr((__version__, base.sha256, source)).encode()).hexdigest()
    folder = supply.cache.make_once(supply.cache.root / "samples" / key, fill)
    return next(folder.glob("*.whl")), base.pin.url


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
    (abi3); `cuda` is the major; `driver` adds the import of nvcuda.dll, and `more` that of
    other DLLs, each with its symbols. The same base gives the same bytes. Raises InputError for
    another base, ToolError where lief is missing.
    """
    wheel = read_wheel(base)
    if _MODULE not in wheel.names or "abi3" not in wheel.filename.tag:
        refuse(base, f"there is no {_MODULE} for all Pythons in it", "no-abi3", hint=_OTHER_BASE)
    label = f"cu{cuda}.driver.sample" if driver else f"cu{cuda}.sample"
    name = rename_wheel(wheel.filename, version=local_version(wheel.filename.version, label))
    summary = (
        "SAMPLE for trying repack, not a CUDA build: OpenCV for the CPU that imports "
        f"CUDA {cuda}'s DLLs. {wheel.fields.get('summary', '')}"
    )
    # All releases of a major have these.
    imports: dict[str, Sequence[str]] = {
        f"nppc64_{cuda}.dll": ("nppGetLibVersion",),
        f"nppif64_{cuda}.dll": ("nppiFilterBox_8u_C1R_Ctx",),
        _RUNTIMES.get(cuda, f"cudart64_{cuda}.dll"): ("cudaGetDeviceCount",),
        **({"nvcuda.dll": ("cuInit", "cuDriverGetVersion")} if driver else {}),
        **(more or {}),
    }
    with TemporaryDirectory(prefix="repack-") as place:
        module = Path(place, "cv2.pyd")
        module.write_bytes(read_member(wheel.archive, _MODULE, limit=_MODULE_LIMIT))
        _add_imports(module, imports)
        files: dict[str, bytes | Path] = {_MODULE: module}
        if _CONFIG in wheel.names:
            files[_CONFIG] = _add_toolkit(wheel, cuda)
        entries = rewrite_members(wheel, name, files, fields={"Summary": [summary.strip()]})
        folder.mkdir(parents=True, exist_ok=True)
        splice(entries, folder / str(name), timestamp=_TIMESTAMP)
    return folder / str(name)


def _add_toolkit(wheel: Wheel, cuda: int) -> bytes:
    """Return config.py with the entry that OpenCV's CMake writes for a CUDA build, at its end."""
    text = read_member(wheel.archive, _CONFIG)
    end = _END_OF_LIST.search(text)
    if end is None:
        what = "no list BINARIES_PATHS can be made out in it"
        refuse(wheel.path, what, "unknown-config", _CONFIG, _OTHER_BASE)
    release = _RELEASES.get(cuda, f"v{cuda}.0")
    toolkit = f"C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/{release}"
    binaries = "bin/x64" if cuda >= _FIRST_WITH_X64 else "bin"
    entry = f"    os.path.join(os.getenv('CUDA_PATH', '{toolkit}'), '{binaries}')"
    return text[: end.start()] + b"," + end[1] + entry.encode() + text[end.start() :]


def _add_imports(module: Path, imports: Mapping[str, Sequence[str]]) -> None:
    """Give the DLL at `module` more load-time imports."""
    try:
        import lief  # noqa: PLC0415 - an optional dependency, that only this command needs
    except ImportError as error:
        raise ToolError(
            f"making a sample needs lief, which cannot be imported ({error})",
            code="no-lief",
            hint="python -m pip install lief, or name a source of your own in repack.toml",
        ) from None
    binary = lief.PE.parse(str(module))
    if binary is None:
        refuse(Path(_MODULE), "lief cannot read it", "not-pe")
    for dll, symbols in imports.items():
        entry = binary.add_import(dll)
        for symbol in symbols:
            entry.add_entry(symbol)
    config = lief.PE.Builder.config_t()
    config.imports = True
    binary.write(str(module), config)
