# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Ask whether a spend would be allowed, without holding anything.

The state of a budget is never an error here: what can't be spent is a DENY with a `reason_code`. The answer
is a snapshot and holds nothing, so a reservation that follows may still be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import AuthenticatedClient, Client
from ...models.decision_request import DecisionRequest
from ...models.decision_response import DecisionResponse
from ...models.error_response import ErrorResponse
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 400, 401, 403, 409, 500})


def _get_kwargs(
    *,
    body: DecisionRequest,
    x_idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "POST",
        "url": "/v1/decide",
        "json": body.to_dict(),
    }
    headers: dict[str, Any] = {}
    if x_idempotency_key is not None and not isinstance(x_idempotency_key, Unset):
        headers["X-Idempotency-Key"] = x_idempotency_key
    if headers:
        kwargs["headers"] = headers
    return kwargs


def _parse_response(*, client: Client, response: HttpResponse) -> DecisionResponse | ErrorResponse | None:
    if response.status_code == 200:
        return _codec.success(response, DecisionResponse.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[DecisionResponse | ErrorResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: DecisionRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[DecisionResponse | ErrorResponse]:
    """Ask whether a spend would be allowed, without holding anything.

    Args:
        client: Where to send it, with the key.
        body: A spend to be judged.
        x_idempotency_key: Optional; must equal `idempotency_key` of the body.
        request_timeout: Seconds for each phase of this call, instead of the client's; None waits for ever.
        request_headers: Headers of this call, such as `traceparent`.

    Returns:
        The answer with its status and headers. `parsed` is None for an error body that does not fit and for a
            2xx that the operation does not define.

    Raises:
        DecodeError: for a success whose body does not fit.
        UnexpectedStatus: for a status that is not listed, if the client was made with raise_on_unexpected_status.
        ValueError, TypeError: for an argument that can't be sent.
        TransportError: httpx's (or httpx2's, if that sends) when there is no complete answer.
    """
    kwargs = _get_kwargs(
        body=body,
        x_idempotency_key=x_idempotency_key,
    )
    response = client._request(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: DecisionRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> DecisionResponse | ErrorResponse | None:
    """Ask whether a spend would be allowed, without holding anything.

    Args:
        client: Where to send it, with the key.
        body: A spend to be judged.
        x_idempotency_key: Optional; must equal `idempotency_key` of the body.
        request_timeout: Seconds for each phase of this call, instead of the client's; None waits for ever.
        request_headers: Headers of this call, such as `traceparent`.

    Returns:
        The decoded body; None for an error body that does not fit and for a 2xx that the operation does not
            define.

    Raises:
        DecodeError: for a success whose body does not fit.
        UnexpectedStatus: for a status that is not listed, if the client was made with raise_on_unexpected_status.
        ValueError, TypeError: for an argument that can't be sent.
        TransportError: httpx's (or httpx2's, if that sends) when there is no complete answer.
    """
    return sync_detailed(
        client=client,
        body=body,
        x_idempotency_key=x_idempotency_key,
        request_timeout=request_timeout,
        request_headers=request_headers,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: DecisionRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[DecisionResponse | ErrorResponse]:
    """Ask whether a spend would be allowed, without holding anything.

    Args:
        client: Where to send it, with the key.
        body: A spend to be judged.
        x_idempotency_key: Optional; must equal `idempotency_key` of the body.
        request_timeout: Seconds for each phase of this call, instead of the client's; None waits for ever.
        request_headers: Headers of this call, such as `traceparent`.

    Returns:
        The answer with its status and headers. `parsed` is None for an error body that does not fit and for a
            2xx that the operation does not define.

    Raises:
        DecodeError: for a success whose body does not fit.
        UnexpectedStatus: for a status that is not listed, if the client was made with raise_on_unexpected_status.
        ValueError, TypeError: for an argument that can't be sent.
        TransportError: httpx's (or httpx2's, if that sends) when there is no complete answer.
    """
    kwargs = _get_kwargs(
        body=body,
        x_idempotency_key=x_idempotency_key,
    )
    response = await client._arequest(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: DecisionRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> DecisionResponse | ErrorResponse | None:
    """Ask whether a spend would be allowed, without holding anything.

    Args:
        client: Where to send it, with the key.
        body: A spend to be judged.
        x_idempotency_key: Optional; must equal `idempotency_key` of the body.
        request_timeout: Seconds for each phase of this call, instead of the client's; None waits for ever.
        request_headers: Headers of this call, such as `traceparent`.

    Returns:
        The decoded body; None for an error body that does not fit and for a 2xx that the operation does not
            define.

    Raises:
        DecodeError: for a success whose body does not fit.
        UnexpectedStatus: for a status that is not listed, if the client was made with raise_on_unexpected_status.
        ValueError, TypeError: for an argument that can't be sent.
        TransportError: httpx's (or httpx2's, if that sends) when there is no complete answer.
    """
    return (
        await asyncio_detailed(
            client=client,
            body=body,
            x_idempotency_key=x_idempotency_key,
            request_timeout=request_timeout,
            request_headers=request_headers,
        )
    ).parsed
