"""`wrap`: one line around a model SDK, and every request that bills is reserved, capped, priced and charged.

    client = cycles.wrap(OpenAI())

The wrapped client is a copy that sends through the same connections. Inside its HTTP client a transport reads each
request, reserves the most that it can cost, sends it, and charges what the answer says that it used (docs/metering.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, Unpack

from cycles._client.defaults import Defaults
from cycles._metered.choices import (
    MAX_OUTPUT,
    MIN_OUTPUT,
    Choices,
    Lost,
    Partial,
    Unknown,
    WrapOptions,
    checked_options,
)
from cycles._metered.clients import metered, usual_provider
from cycles._metered.meter import Meter
from cycles.client import AsyncClient, Client
from cycles.errors import InvalidRequest
from cycles.prices import Prices

if TYPE_CHECKING:
    from cycles._metered.choices import Estimate

C = TypeVar("C")

__all__ = ["wrap"]


def wrap(
    client: C,
    /,
    *,
    provider: str | None = None,
    prices: Prices | None = None,
    unit: str = "USD_MICROCENTS",
    max_output: int = MAX_OUTPUT,
    estimate: Estimate = None,
    fit: bool = False,
    min_output: int = MIN_OUTPUT,
    unknown: Unknown = "deny",
    lost: Lost = "estimate",
    on_5xx: Lost = "release",
    partial: Partial = "received",
    **options: Unpack[WrapOptions],
) -> C:
    """Return a copy of *client* whose requests are reserved before they are sent, and charged after.

    A denial comes out of the SDK's own call, after one attempt; each attempt of the SDK's own retries is reserved and
    settled by itself. Inside a `Limit` nothing is asked of the authority, and `subject` says who spends. The copy sends
    through the connections of the original, which stays as it is: closing one closes them for both.

    Args:
        client: Of openai, anthropic, groq, together, google-genai or mistralai, blocking or asynchronous; or an HTTP
            client of httpx or httpx2.
        provider: Whose wire and prices they are ("openai", "anthropic", "google", …). By default it follows from the
            request's host, else from the SDK.
        prices: The table; `Prices()` when None.
        unit: USD_MICROCENTS, or TOKENS, which needs no prices: input and output count alike.
        max_output: Output tokens that are asked for where a request names no bound.
        estimate: A sharper bound of the input than one token for each byte: "tiktoken", or a callable that takes the
            request's JSON and gives its input tokens, or an amount for all of it.
        fit: Whether a request that is denied for lack of budget is asked for once more, with as much output as the
            rest of the budget pays.
        min_output: The least output that is worth it.
        unknown: What happens to a request that is not understood: "deny" refuses it; "pass" sends it without counting
            it, and logs that once.
        lost: What is charged when no answer came to a request that may have left: the "estimate", marked, or nothing
            ("release").
        on_5xx: The same where the provider answered 5xx.
        partial: What is charged for a stream that ended before it told its usage: what was "received", marked; the
            whole "estimate", marked; or, where the caller left it, its rest is read in the background ("drain").
        **options: The fields of a `Guard` that hold for each request; see `WrapOptions`.

    Raises:
        InvalidRequest: it can't be metered, or an argument is wrong; says why.

    Example:
        ```python
        import httpx

        import cycles

        models = cycles.wrap(httpx.Client(base_url="https://api.openai.com"))  # or an SDK's client: OpenAI()
        ```
    """
    choices = Choices(
        provider=provider,
        unit=unit,
        max_output=max_output,
        estimate=estimate,
        fit=fit,
        min_output=min_output,
        unknown=unknown,
        lost=lost,
        on_5xx=on_5xx,
        partial=partial,
    )
    if prices is not None and not isinstance(prices, Prices):
        raise InvalidRequest(f"prices={prices!r}: give a cycles.Prices")
    fields = checked_options(options)
    authority = _authority(fields.pop("client", None))
    table = None if choices.unit == "TOKENS" else prices or _usual_prices()
    meter = Meter(choices, table, fields, authority=authority, usual_provider=usual_provider(client))
    wrapped: C = metered(client, meter)
    return wrapped


def _usual_prices() -> Prices:
    """Return the table, imported now: a second that no request should wait for."""
    table = Prices()
    table.load()
    return table


def _authority(client: Client | AsyncClient | None) -> Defaults[Client, AsyncClient] | None:
    """Return the clients of the authority that *client* stands for: it and its twin; None for the default ones."""
    if client is None:
        return None
    if not isinstance(client, Client | AsyncClient):
        raise InvalidRequest(f"client={client!r}: give a cycles.Client or AsyncClient")
    authority = Defaults(Client, AsyncClient)
    authority.configure(client)
    return authority
