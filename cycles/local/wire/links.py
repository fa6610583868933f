"""Links that open the page once: each has a token, which the page exchanges for a key of this process."""

from __future__ import annotations

import secrets
from typing import Final

from cycles.local.ledger.keys import key_hash

LASTS_MS: Final = 600_000
"""How long a link is good that nobody opens."""


class Links:
    """The links of one authority that were not opened yet; of their tokens it keeps the hashes only."""

    __slots__ = ("_unopened",)

    def __init__(self) -> None:
        self._unopened: Final[dict[str, tuple[str, int]]] = {}

    def token(self, tenant: str, now_ms: int) -> str:
        """Return a new token for a look at *tenant*."""
        token = secrets.token_urlsafe(24)
        self._unopened[key_hash(token)] = tenant, now_ms + LASTS_MS
        return token

    def opened(self, token: str, now_ms: int) -> str | None:
        """Return the tenant that *token* is good for, this once; None when it is good for nothing."""
        # Taking it out is one step, so that of two who come at once one gets it.
        tenant, until_ms = self._unopened.pop(key_hash(token), (None, 0))
        return tenant if now_ms <= until_ms else None

    def __repr__(self) -> str:
        return f"<Links {len(self._unopened)}>"
