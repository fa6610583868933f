# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Fetch the public keys that evidence is signed with.

Public: a client never sends its key here. A 404 means that the server publishes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import Client
from ...models.cycles_evidence_jwks import CyclesEvidenceJwks
from ...models.error_response import ErrorResponse
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 404, 429, 500})


def _get_kwargs() -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "GET",
        "url": "/v1/.well-known/cycles-jwks.json",
    }
    return kwargs


def _parse_response(*, client: Client, response: HttpResponse) -> CyclesEvidenceJwks | ErrorResponse | None:
    if response.status_code == 200:
        return _codec.success(response, CyclesEvidenceJwks.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[CyclesEvidenceJwks | ErrorResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: Client,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[CyclesEvidenceJwks | ErrorResponse]:
    """Fetch the public keys that evidence is signed with.

    Args:
        client: Where to send it.
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
    kwargs = _get_kwargs()
    response = client._request(kwargs, request_timeout, request_headers, public=True)
    return _build_response(client=client, response=response)


def sync(
    *,
    client: Client,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> CyclesEvidenceJwks | ErrorResponse | None:
    """Fetch the public keys that evidence is signed with.

    Args:
        client: Where to send it.
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
    return sync_detailed(client=client, request_timeout=request_timeout, request_headers=request_headers).parsed


async def asyncio_detailed(
    *,
    client: Client,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[CyclesEvidenceJwks | ErrorResponse]:
    """Fetch the public keys that evidence is signed with.

    Args:
        client: Where to send it.
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
    kwargs = _get_kwargs()
    response = await client._arequest(kwargs, request_timeout, request_headers, public=True)
    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: Client,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> CyclesEvidenceJwks | ErrorResponse | None:
    """Fetch the public keys that evidence is signed with.

    Args:
        client: Where to send it.
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
        await asyncio_detailed(client=client, request_timeout=request_timeout, request_headers=request_headers)
    ).parsed
