"""Installs a wheel in a clean environment on a genuine Windows Python, imports it, reports."""

from repack.record import FAILED, NOT_RUN, PASSED, Outcome
from repack.smoke.requirements import distribution_of, requirements_for, requirements_of
from repack.smoke.running import Machine, identity, run_smoke
from repack.smoke.toolkit import toolkit_of

__all__ = [
    "FAILED",
    "NOT_RUN",
    "PASSED",
    "Machine",
    "Outcome",
    "distribution_of",
    "identity",
    "requirements_for",
    "requirements_of",
    "run_smoke",
    "toolkit_of",
]
