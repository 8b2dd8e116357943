"""Which DLLs NVIDIA's licences let be passed on with a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.dlls.rules import Kind

if TYPE_CHECKING:
    from repack.dlls.rules import Dll

#: Attachment A of the CUDA toolkit's licence, for Windows. nvJPEG stands there for Linux alone,
#: nvJitLink not at all; the driver's own libraries may go into NVIDIA's Linux containers only.
_LISTED = frozenset(
    {
        *("cublas", "cudart", "cufft", "cupti", "curand", "cusolver", "cusparse"),
        *("npp", "nvrtc", "nvtoolsext", "nvvm"),
    }
)


def may_be_shipped(dll: Dll) -> bool:
    """Return whether the licence lists the DLL; cuDNN's licence lists all its run-time files."""
    return dll.kind is Kind.CUDNN or (dll.kind is Kind.CUDA and dll.family in _LISTED)
