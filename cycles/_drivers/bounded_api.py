"""The generated client, whose injected clients are read within bounds, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles._drivers.bodies import ACCEPTED
from cycles._drivers.connections import AsyncDirect, Direct
from cycles._drivers.libraries import library_of
from cycles_api.client import AuthenticatedClient

if TYPE_CHECKING:
    from cycles_api.http import AsyncHttpClient, HttpClient


class BoundedApi(AuthenticatedClient):
    """A client of the bindings; every answer is read within the bounds of `bodies`, whoever's connections it takes."""

    def _all_headers(self) -> Any:
        headers = super()._all_headers()
        headers["accept-encoding"] = ACCEPTED
        return headers

    def _sending(self, client: HttpClient | AsyncHttpClient) -> dict[str, Any]:
        # Our own read within bounds by themselves, and those of an authority in this process (`app`) have no network.
        if isinstance(client, Direct | AsyncDirect) or hasattr(client, "app"):
            return {}
        return {"auth": library_of(client).bounded_auth(client), "follow_redirects": False}
