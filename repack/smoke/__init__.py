"""Installs a wheel in a clean environment on a genuine Windows Python, imports it, reports."""

from repack.smoke.machine import Machine, unpack_dlls
from repack.smoke.requirements import requirements_for
from repack.smoke.running import Probe, run_smoke, unpack_pip
from repack.smoke.trying import Trial, Verdict, smoke_wheels, try_wheels

__all__ = [
    "Machine",
    "Probe",
    "Trial",
    "Verdict",
    "requirements_for",
    "run_smoke",
    "smoke_wheels",
    "try_wheels",
    "unpack_dlls",
    "unpack_pip",
]
