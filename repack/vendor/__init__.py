"""Wheels that carry, or require, their CUDA: NVIDIA's DLLs, its wheels, stand-ins for a driver."""

from repack.vendor.members import carry_dlls
from repack.vendor.requirements import require_distributions
from repack.vendor.standins import stand_ins

__all__ = ["carry_dlls", "require_distributions", "stand_ins"]
