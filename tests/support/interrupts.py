"""Where an interrupt means something."""

from __future__ import annotations


def is_in_a_finalizer(frame):
    """Whether a finalizer runs: what comes in one is dropped by Python, as docs/guard.md says."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
