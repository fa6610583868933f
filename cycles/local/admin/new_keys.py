"""New API keys: their secrets, their records and their expiry."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cycles.errors import InvalidRequest
from cycles.local.ledger import times
from cycles.local.ledger.keys import ApiKey, key_hash

_LAST_MS: Final = times.of(datetime.max.replace(tzinfo=UTC)) // 1000


def new_secret() -> str:
    """Return an API key that nobody can guess: 192 random bits."""
    return f"cyc_live_{secrets.token_urlsafe(24)}"


def new_key(secret: str, *, key_id: str | None = None, **fields: Any) -> ApiKey:
    """Return the record of *secret*: its hash, and so much of its beginning as gives nothing away."""
    prefix = secret[:14] if secret.startswith("cyc_") and len(secret) >= 32 else ""
    return ApiKey(key_id or f"key_{secrets.token_hex(8)}", key_hash(secret), prefix=prefix, **fields)


def expiry_ms(expires: datetime | timedelta | None, now_ms: int) -> int | None:
    """Return when a key ends: at a time with its zone, or so long from now. None: never."""
    if expires is None:
        return None
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise InvalidRequest(f"expires={expires!r}: give a datetime with its zone, or a timedelta from now")
        at_ms = times.of(expires) // 1000
    elif isinstance(expires, timedelta):
        at_ms = now_ms + expires // timedelta(milliseconds=1)
    else:
        raise InvalidRequest(f"expires={expires!r}: give a datetime with its zone, or a timedelta from now")
    if not now_ms < at_ms <= _LAST_MS:
        raise InvalidRequest(f"expires={expires!r}: that is over already, or beyond the year 9999; give another time")
    return at_ms
