r"""What Wine's `+loaddll` says: which file answered for each DLL.

A line of it, the numbers of process and thread first:
`0020:0024:trace:loaddll:build_module Loaded L"C:\\cuda\\nppc64_12.dll" at 0...: native`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PureWindowsPath

from repack.dlls.families import Kind, classify

_LINE = re.compile(
    r"(?P<process>[0-9a-f]+):[0-9a-f]+:trace:loaddll:\w+ "
    r'(?P<what>Loaded|Unloaded)(?: module)? L"(?P<file>.*?)"'
)
# Wine writes what is not ASCII as \ and four hexadecimal digits, and a backslash twice.
_ESCAPE = re.compile(r"\\(\\|[0-9a-f]{4})")
_CONCERNED = frozenset({Kind.CUDA, Kind.CUDNN, Kind.DRIVER})


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A file that the loader took; `twice` where its process had one of the name already."""

    file: PureWindowsPath
    twice: bool = False

    @property
    def name(self) -> str:
        """The file's name as Windows compares it."""
        return self.file.name.lower()

    @property
    def concerns_cuda(self) -> bool:
        """Whether it is one of CUDA, of cuDNN or of the driver."""
        return classify(self.name).kind in _CONCERNED


def parse_trace(output: str) -> tuple[Loaded, ...]:
    """Return what was loaded, in order, whether or not it was unloaded again."""
    return tuple(_follow(_LINE.finditer(output)))


def from_modules(files: Iterable[str]) -> tuple[Loaded, ...]:
    """Return the modules that a process on Windows named as its own."""
    return tuple(Loaded(file=PureWindowsPath(file)) for file in files)


def without_trace(output: str) -> str:
    """Return what a process printed, without the loader's lines on other DLLs than CUDA's."""
    kept = [line for line in output.splitlines() if not _is_noise(line)]
    return "\n".join(kept)


def _follow(lines: Iterable[re.Match[str]]) -> Iterator[Loaded]:
    present: set[tuple[str, str]] = set()
    for line in lines:
        file = PureWindowsPath(_ESCAPE.sub(_unescaped, line["file"]))
        key = line["process"], file.name.lower()
        if line["what"] == "Unloaded":
            present.discard(key)
        else:
            yield Loaded(file=file, twice=key in present)
            present.add(key)


def _unescaped(found: re.Match[str]) -> str:
    return "\\" if found[1] == "\\" else chr(int(found[1], 16))


def _is_noise(line: str) -> bool:
    """Return whether a line says only that Windows' or Python's own files were loaded."""
    found = _LINE.search(line)
    if not found:
        return False
    name = found["file"].rpartition("\\")[2].lower()
    return not name.startswith("cv2") and classify(name).kind not in _CONCERNED
