"""What a smoke test saw."""

from __future__ import annotations

from dataclasses import dataclass

PASSED, FAILED, NOT_RUN = "passed", "failed", "not-run"
OWN_STAND_IN = "stand-in in the wheel"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a wheel did on one Python.

    `reason` says why it failed or was not run; `version` is cv2's own, "" where it did not come so
    far; `devices` is how many GPUs it found, or what it said instead; `driver` is "stand-in" where
    stand-ins took the place of the NVIDIA driver's DLLs, "stand-in in the wheel" where the wheel's
    own did; `log` is all that was printed.
    `repeatable` is False for what another run may see otherwise: a hang.
    """

    status: str
    reason: str = ""
    version: str = ""
    devices: str = ""
    driver: str = ""
    seconds: float = 0.0
    log: str = ""
    repeatable: bool = True

    @property
    def said(self) -> str:
        """What was seen, in a few words."""
        if self.status == NOT_RUN:
            return f"not run: {self.reason}"
        if self.status == FAILED:
            return self.reason
        whose = {"stand-in": "a", OWN_STAND_IN: "its own"}.get(self.driver)
        driver = f", with {whose} stand-in for the driver" if whose else ""
        return f"works: OpenCV {self.version}{driver}"
