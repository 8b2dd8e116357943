"""Writes `cv2/_cuda_build.py`: one literal, the same bytes for the same facts."""

import pprint
from collections.abc import Mapping

BUILD_MODULE = "cv2/_cuda_build.py"

_DOCSTRING = (
    '"""What this build of OpenCV needs. Written by repack, read by cuda_dlls.py and '
    '_cuda_report.py."""'
)


def build_module(facts: Mapping[str, object]) -> bytes:
    """Return the module that gives `BUILD` the value `facts`, in ASCII, its keys sorted."""
    literal = pprint.pformat(dict(facts), width=100)
    text = f"{_DOCSTRING}\n\nBUILD = {literal}\n"
    # Whatever is not ASCII stands in a string, where an escape means the same.
    return text.encode("ascii", "backslashreplace")
