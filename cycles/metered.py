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

    The SDK's own call raises a denial, after one attempt. Each attempt of the SDK's own retries is reserved and settled
    separately. Inside a `Limit` nothing is sent to the authority; `subject` says who spends. The original stays as it
    is. The copy sends through its connections, so closing one closes them for both.

    Args:
        client: A client of openai, anthropic, groq, together, google-genai or mistralai, blocking or asynchronous; or
            an HTTP client of httpx or httpx2.
        provider: Whose API and prices apply ("openai", "anthropic", "google", …). By default the request's host tells,
            else the SDK.
        prices: The prices of models; `Prices()` when None.
        unit: USD_MICROCENTS, or TOKENS, which needs no prices: input and output count alike.
        max_output: How many output tokens to ask for when a request sets no bound.
        estimate: A closer bound of the input than one token for each byte: "tiktoken", or a callable that takes the
            request's JSON and returns its input tokens, or an amount for the whole request.
        fit: Whether to ask once more for a request that is denied for lack of budget, with as much output as the rest
            of the budget pays for.
        min_output: The least output, in tokens, for which `fit` asks.
        unknown: What happens to a request that is not understood: "deny" refuses it; "pass" sends it without counting
            it, and logs that once.
        lost: What is charged when a request may have been sent and no answer came: the "estimate", marked, or nothing
            ("release").
        on_5xx: The same, when the provider answered 5xx.
        partial: What is charged for a stream that ended before it reported its usage: what was "received", marked; the
            whole "estimate", marked; or, if the caller left it, the rest is read in the background ("drain").
        **options: Fields of a `Guard` that apply to each request; see `WrapOptions`.

    Raises:
        InvalidRequest: the client can't be metered, or an argument is wrong; says why.

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
