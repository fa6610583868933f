# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Give the whole hold back, because nothing was spent.

Accepted in the same window as a commit. Never for work that happened, whatever became of its commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import AuthenticatedClient, Client
from ...models.error_response import ErrorResponse
from ...models.release_request import ReleaseRequest
from ...models.release_response import ReleaseResponse
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 400, 401, 403, 404, 409, 410, 500})


def _get_kwargs(
    reservation_id: str,
    *,
    body: ReleaseRequest,
    x_idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "POST",
        "url": "/v1/reservations/{reservation_id}/release".format(
            reservation_id=_codec.segment("reservation_id", reservation_id),
        ),
        "json": body.to_dict(),
    }
    headers: dict[str, Any] = {}
    if x_idempotency_key is not None and not isinstance(x_idempotency_key, Unset):
        headers["X-Idempotency-Key"] = x_idempotency_key
    if headers:
        kwargs["headers"] = headers
    return kwargs


def _parse_response(*, client: Client, response: HttpResponse) -> ErrorResponse | ReleaseResponse | None:
    if response.status_code == 200:
        return _codec.success(response, ReleaseResponse.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[ErrorResponse | ReleaseResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    reservation_id: str,
    *,
    client: AuthenticatedClient,
    body: ReleaseRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[ErrorResponse | ReleaseResponse]:
    """Give the whole hold back, because nothing was spent.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: A hold to be given back.
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
        reservation_id,
        body=body,
        x_idempotency_key=x_idempotency_key,
    )
    response = client._request(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


def sync(
    reservation_id: str,
    *,
    client: AuthenticatedClient,
    body: ReleaseRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> ErrorResponse | ReleaseResponse | None:
    """Give the whole hold back, because nothing was spent.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: A hold to be given back.
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
        reservation_id,
        client=client,
        body=body,
        x_idempotency_key=x_idempotency_key,
        request_timeout=request_timeout,
        request_headers=request_headers,
    ).parsed


async def asyncio_detailed(
    reservation_id: str,
    *,
    client: AuthenticatedClient,
    body: ReleaseRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[ErrorResponse | ReleaseResponse]:
    """Give the whole hold back, because nothing was spent.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: A hold to be given back.
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
        reservation_id,
        body=body,
        x_idempotency_key=x_idempotency_key,
    )
    response = await client._arequest(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


async def asyncio(
    reservation_id: str,
    *,
    client: AuthenticatedClient,
    body: ReleaseRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> ErrorResponse | ReleaseResponse | None:
    """Give the whole hold back, because nothing was spent.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: A hold to be given back.
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
            reservation_id,
            client=client,
            body=body,
            x_idempotency_key=x_idempotency_key,
            request_timeout=request_timeout,
            request_headers=request_headers,
        )
    ).parsed
