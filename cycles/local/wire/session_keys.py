"""Keys for requests in this process: good as long as it lives, written nowhere, and kept in no table.

A program may use a hundred thousand tenants: a key says which one it is of, and is signed with a secret of the process.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGINNING: Final = "cyc_live_session_"

_REMEMBERED: Final = 256
"""Keys whose tenants need not be worked out again."""


class SessionKeys:
    """The keys of one authority in this process.

    Attributes:
        tenant: Takes a key and returns its tenant, or None when the key is none of these.
    """

    __slots__ = ("_secret", "tenant")

    def __init__(self) -> None:
        self._secret: Final = secrets.token_bytes(32)
        self.tenant: Final[Callable[[str], str | None]] = functools.lru_cache(_REMEMBERED)(self._tenant)

    def key(self, tenant: str) -> str:
        """Return the key of *tenant*, always the same one."""
        named = base64.urlsafe_b64encode(tenant.encode()).decode()
        return f"{_BEGINNING}{named}.{hmac.new(self._secret, tenant.encode(), hashlib.sha256).hexdigest()}"

    def _tenant(self, key: str) -> str | None:
        if not key.startswith(_BEGINNING):
            return None
        try:
            tenant = base64.urlsafe_b64decode(key.removeprefix(_BEGINNING).partition(".")[0]).decode()
        except ValueError:
            return None
        return tenant if hmac.compare_digest(key.encode(), self.key(tenant).encode()) else None

    def __repr__(self) -> str:
        return "<SessionKeys>"
