"""Wheels that carry, or fetch, their CUDA: NVIDIA's DLLs, requirements, stand-ins for a driver."""

from repack.vendor.choosing import Rules, wanted_dlls
from repack.vendor.depending import dependencies
from repack.vendor.putting import Origin, vendored
from repack.vendor.standins import stand_ins
from repack.vendor.suppliers import Supplier, folder_supplier, wheel_supplier

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
