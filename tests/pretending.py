"""A cv2 and a NumPy of a few lines each, and the Python of the tests in the place of Windows'."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wheelmaking import make_wheel

from repack.fetch import Fetched
from repack.files import sha256_of
from repack.lock import Pin
from repack.pythons import Interpreter

_NUMPY = """\
__version__ = "2.0.0"
uint8 = "uint8"
class Image:
    def __init__(self, *pixels): self.pixels = pixels
    def reshape(self, *shape): return self
    def __getitem__(self, key): return Image(*self.pixels, "half")
    def __eq__(self, other): return Image(self.pixels == other.pixels)
    def all(self): return self.pixels[0]
def arange(count, dtype): return Image(count)
"""

CV2 = """\
import os, sys, time
__version__ = "4.99.0"
INTER_NEAREST = IMREAD_COLOR = 0
class error(Exception): pass
def resize(image, size, interpolation): return image[::2, ::2]
def imencode(suffix, image): return True, image
def imdecode(data, flags): return data
def getBuildInformation(): return "General configuration for OpenCV 4.99.0"
class cuda:
    @staticmethod
    def getCudaEnabledDeviceCount(): return -1
"""


@dataclass(frozen=True, kw_only=True)
class ThisPython(Interpreter):
    """The Python that runs the tests, as if it were a Windows Python."""

    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> Mapping[str, str]:
        base = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
        return {**(os.environ if os.name == "nt" else base), **self.given}


def this_python(**env: str) -> Interpreter:
    """Return the Python that runs the tests, with more variables."""
    return ThisPython(
        version="{}.{}".format(*sys.version_info[:2]),
        full_version=".".join(map(str, sys.version_info[:3])),
        python=Path(sys.executable),
        origin="given",
        given=env,
    )


def fetched(path: Path) -> Fetched:
    """Return what a wheel file is as one that was fetched."""
    pin = Pin(key="", url="", filename=path.name, size=path.stat().st_size, sha256=sha256_of(path))
    return Fetched(path=path, pin=pin)


def numpy_wheel(folder: Path) -> Path:
    """Return a wheel of a NumPy that knows no numbers."""
    return make_wheel(
        folder / "numpy-2.0.0-py3-none-any.whl", {"numpy/__init__.py": _NUMPY.encode()}
    )


def cv2_wheel(folder: Path, text: str = CV2, *, requires: str = "numpy>=2") -> Path:
    """Return a wheel of a cv2 whose text is given; `requires` is a Requires-Dist line."""
    path = folder / "opencv_python-4.99.0-py3-none-any.whl"
    return make_wheel(path, {"cv2/__init__.py": text.encode()}, requires=[requires])
