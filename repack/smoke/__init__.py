"""Installs a wheel in a clean environment on a genuine Windows Python, imports it, reports."""

from repack.smoke.outfit import Machine, Outfit, find_missing, requirements_for, unpack_dlls
from repack.smoke.trial import Probe, run_smoke
from repack.smoke.verdicts import Trial, smoke_wheels, try_wheels

__all__ = [
    "Machine",
    "Outfit",
    "Probe",
    "Trial",
    "find_missing",
    "requirements_for",
    "run_smoke",
    "smoke_wheels",
    "try_wheels",
    "unpack_dlls",
]
