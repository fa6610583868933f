"""The tenant that an API key is of, as far as a client knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._core.requests import is_level
from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER: Final = "x-cycles-tenant"


class KeyTenant:
    """What is known of the tenant of one key: said by the authority's answers, or known from the start."""

    __slots__ = ("_is_known_to_vary", "_name")

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._is_known_to_vary = False

    def see(self, headers: Mapping[str, str]) -> None:
        """Take note of what an answer's *headers* say; an authority that says now this, now that, says nothing."""
        name = headers.get(_HEADER, "").strip()
        if name and name != self._name and not self._is_known_to_vary:
            self._is_known_to_vary = self._name is not None
            self._name = None if self._is_known_to_vary else name

    def check(self, tenant: object) -> None:
        """Raise InvalidRequest when the authority would refuse to let the key spend for *tenant*."""
        if self._name is not None and tenant != self._name and is_level(tenant):
            raise InvalidRequest(
                f"tenant={tenant!r}: the API key is of tenant {self._name!r}, and spends for no other; make a client "
                f"with a key of {tenant!r} (client.with_options(tenant=…, api_key=…)), or tell those who spend apart "
                "by another level, such as workspace"
            )
