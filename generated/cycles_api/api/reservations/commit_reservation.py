# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Charge what the work really cost and give the rest back.

Accepted until `expires_at_ms` plus the grace period; later it is a 410, and the spend goes through
`createEvent` with the same key. After a timeout, a broken connection, a 5xx or an answer that does not fit,
send the same request with the same key again; never release for that reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import AuthenticatedClient, Client
from ...models.commit_request import CommitRequest
from ...models.commit_response import CommitResponse
from ...models.error_response import ErrorResponse
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 400, 401, 403, 404, 409, 410, 500})


def _get_kwargs(
    reservation_id: str,
    *,
    body: CommitRequest,
    x_idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "POST",
        "url": "/v1/reservations/{reservation_id}/commit".format(
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


def _parse_response(*, client: Client, response: HttpResponse) -> CommitResponse | ErrorResponse | None:
    if response.status_code == 200:
        return _codec.success(response, CommitResponse.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[CommitResponse | ErrorResponse]:
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
    body: CommitRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[CommitResponse | ErrorResponse]:
    """Charge what the work really cost and give the rest back.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: What the work really cost.
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
    body: CommitRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> CommitResponse | ErrorResponse | None:
    """Charge what the work really cost and give the rest back.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: What the work really cost.
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
    body: CommitRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[CommitResponse | ErrorResponse]:
    """Charge what the work really cost and give the rest back.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: What the work really cost.
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
    body: CommitRequest,
    x_idempotency_key: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> CommitResponse | ErrorResponse | None:
    """Charge what the work really cost and give the rest back.

    Args:
        reservation_id: The reservation's id, 1 to 128 characters, opaque.
        client: Where to send it, with the key.
        body: What the work really cost.
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
