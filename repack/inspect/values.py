"""What is known of a wheel once it has been looked through."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.dlls import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repack.dlls import Dll, Image
    from repack.record import Finding
    from repack.wheel import Wheel

# "cv2/cv2.pyd", "cv2/python-3.9/cv2.cp39-win_amd64.pyd", "cv2.pyd"
_CV2 = re.compile(r"(cv2/(.+/)?)?cv2([.\-_][^/]*)?\.pyd", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A DLL that must be found before, or while, the wheel's modules run.

    `needed_by` are the members whose import tables name it; `delayed` where no chain of load-time
    imports leads to it; `in_wheel` the member that answers, if one does.
    """

    dll: Dll
    needed_by: tuple[str, ...]
    delayed: bool = False
    in_wheel: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """A wheel, and what its binaries say.

    `native` are the extension modules, `images` all .pyd and .dll members, `needs` every DLL that
    the modules and the DLLs in the wheel they reach ask for, sorted. `cuda_major` is told by the
    DLLs' names, `cuda_version` (major, minor) where the wheel says more and does not contradict
    them; both None for a build without CUDA. `numpy` is the NumPy ABI, "1" or "2", None where no
    module uses it, `numpy_floor` the oldest NumPy ("1.16") that the modules accept, None where
    they do not tell; `abi3` whether the modules use Python's stable ABI.
    """

    wheel: Wheel
    native: tuple[str, ...]
    images: Mapping[str, Image]
    needs: tuple[Need, ...]
    cuda_major: int | None = None
    cuda_version: tuple[int, int] | None = None
    numpy: str | None = None
    numpy_floor: str | None = None
    abi3: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def cv2(self) -> tuple[str, ...]:
        """Those of the modules that are imported as cv2."""
        return tuple(member for member in self.native if _CV2.fullmatch(member))

    def symbols(self, need: Need) -> tuple[str, ...]:
        """Return what the members that need the DLL ask of it, sorted."""
        return tuple(
            sorted(
                {
                    symbol
                    for member in need.needed_by
                    for wanted in (
                        *self.images[member].imports,
                        *self.images[member].delay_imports,
                    )
                    if key_of(wanted.dll) == need.dll.key
                    for symbol in wanted.symbols
                }
            )
        )
