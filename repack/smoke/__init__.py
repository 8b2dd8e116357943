"""Installs a wheel in a clean environment on a genuine Windows Python, imports it, reports."""

from repack.smoke.machine import Machine, unpack_dlls
from repack.smoke.requirements import find_missing, requirements_for
from repack.smoke.trial import Outfit, Probe, run_smoke, unpack_pip
from repack.smoke.verdicts import Trial, Verdict, smoke_wheels, try_wheels

__all__ = [
    "Machine",
    "Outfit",
    "Probe",
    "Trial",
    "Verdict",
    "find_missing",
    "requirements_for",
    "run_smoke",
    "smoke_wheels",
    "try_wheels",
    "unpack_dlls",
    "unpack_pip",
]
