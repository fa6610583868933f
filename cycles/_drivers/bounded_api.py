"""The generated clients, whose injected http clients are read within bounds, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles._drivers.bodies import ACCEPTED
from cycles._drivers.connections import AsyncDirect, Direct
from cycles._drivers.libraries import library_of
from cycles._drivers.targets import Targets
from cycles_api.client import AuthenticatedClient, Client

if TYPE_CHECKING:
    from cycles_api.http import AsyncHttpClient, HttpClient


class _Bounded:
    """Every answer is read within the bounds of `bodies`, whoever's connections it takes."""

    _targets: Targets | None = None

    def _all_headers(self) -> Any:
        base: Any = super()
        headers = base._all_headers()  # noqa: SLF001 - the other half's
        headers["accept-encoding"] = ACCEPTED
        return headers

    def _addressed(self, path: str) -> Any:
        if self._targets is None:
            base: Any = self
            self._targets = Targets(base._address)  # noqa: SLF001 - as above
        return self._targets.at(path)

    def _sending(self, client: HttpClient | AsyncHttpClient) -> dict[str, Any]:
        # Our own read within bounds by themselves, and those of an authority in this process (`app`) have no network.
        if isinstance(client, Direct | AsyncDirect) or hasattr(client, "app"):
            return {}
        return {"auth": library_of(client).bounded_auth(client), "follow_redirects": False}


class BoundedApi(_Bounded, AuthenticatedClient):
    """A client with a key."""


class BoundedPublicApi(_Bounded, Client):
    """A client without one, for public operations."""
