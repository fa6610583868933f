"""Which requests to a model provider bill, and what they may use at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles._metering.billable import Billable, StreamReading

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Billable", "StreamReading", "provider_of", "read"]


def read(
    provider: str, method: str, path: str, headers: Mapping[str, str], body: bytes, *, max_output: int
) -> Billable | None:
    """Return what a request may bill, or None when it is free.

    Args:
        provider: "openai", "anthropic", "google", …; see `provider_of`.
        method: GET, POST, …
        path: The URL's path, with or without its query.
        headers: The request's headers.
        body: The request's body, not compressed.
        max_output: Output tokens to ask for where the request asks for no bound.

    Raises:
        Unmeterable: A path that bills, or a body, that is not understood.
    """
    raise NotImplementedError


def provider_of(host: str) -> str | None:
    """Return the provider at a URL's *host*; None when it is not known."""
    raise NotImplementedError
