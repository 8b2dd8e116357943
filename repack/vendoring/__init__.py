"""Wheels that carry, or fetch, their CUDA: NVIDIA's DLLs, requirements, stand-ins for a driver."""

from repack.vendoring.choosing import Rules, wanted_dlls
from repack.vendoring.depending import dependencies
from repack.vendoring.putting import Origin, vendored
from repack.vendoring.standins import stand_ins
from repack.vendoring.suppliers import Supplier, folder_supplier, wheel_supplier

__all__ = [
    "Origin",
    "Rules",
    "Supplier",
    "dependencies",
    "folder_supplier",
    "stand_ins",
    "vendored",
    "wanted_dlls",
    "wheel_supplier",
]
