"""What the authorities of tests have in common: the clock, the budget of tenant acme, the administrator's key."""

from __future__ import annotations

SCOPE = "tenant:acme"
UNIT = "USD_MICROCENTS"
ACTION = ("llm.completion", "gpt-4o")
ADMIN_KEY = "admin-of-the-tests"


class Clock:
    """Milliseconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
