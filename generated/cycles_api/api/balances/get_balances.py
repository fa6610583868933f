# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Read what the budgets under a subject have left.

At least one of the subject filters is needed, else it is a 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import AuthenticatedClient, Client
from ...models.balance_response import BalanceResponse
from ...models.error_response import ErrorResponse
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 400, 401, 403, 500})


def _get_kwargs(
    *,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    include_children: bool | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "GET",
        "url": "/v1/balances",
    }
    params: dict[str, Any] = {}
    if tenant is not None and not isinstance(tenant, Unset):
        params["tenant"] = tenant
    if workspace is not None and not isinstance(workspace, Unset):
        params["workspace"] = workspace
    if app is not None and not isinstance(app, Unset):
        params["app"] = app
    if workflow is not None and not isinstance(workflow, Unset):
        params["workflow"] = workflow
    if agent is not None and not isinstance(agent, Unset):
        params["agent"] = agent
    if toolset is not None and not isinstance(toolset, Unset):
        params["toolset"] = toolset
    if include_children is not None and not isinstance(include_children, Unset):
        params["include_children"] = include_children
    if limit is not None and not isinstance(limit, Unset):
        params["limit"] = _codec.exact("limit", limit, low=1, high=200)
    if cursor is not None and not isinstance(cursor, Unset):
        params["cursor"] = cursor
    if params:
        kwargs["params"] = params
    return kwargs


def _parse_response(*, client: Client, response: HttpResponse) -> BalanceResponse | ErrorResponse | None:
    if response.status_code == 200:
        return _codec.success(response, BalanceResponse.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[BalanceResponse | ErrorResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    include_children: bool | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[BalanceResponse | ErrorResponse]:
    """Read what the budgets under a subject have left.

    Args:
        client: Where to send it, with the key.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        include_children: Also the budgets below the ones that match; a server may do so always.
        limit: Rows to a page, 1 to 200. The server takes 50 when it is left out.
        cursor: `next_cursor` of the page before; opaque.
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
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        include_children=include_children,
        limit=limit,
        cursor=cursor,
    )
    response = client._request(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    include_children: bool | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> BalanceResponse | ErrorResponse | None:
    """Read what the budgets under a subject have left.

    Args:
        client: Where to send it, with the key.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        include_children: Also the budgets below the ones that match; a server may do so always.
        limit: Rows to a page, 1 to 200. The server takes 50 when it is left out.
        cursor: `next_cursor` of the page before; opaque.
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
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        include_children=include_children,
        limit=limit,
        cursor=cursor,
        request_timeout=request_timeout,
        request_headers=request_headers,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    include_children: bool | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[BalanceResponse | ErrorResponse]:
    """Read what the budgets under a subject have left.

    Args:
        client: Where to send it, with the key.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        include_children: Also the budgets below the ones that match; a server may do so always.
        limit: Rows to a page, 1 to 200. The server takes 50 when it is left out.
        cursor: `next_cursor` of the page before; opaque.
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
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        include_children=include_children,
        limit=limit,
        cursor=cursor,
    )
    response = await client._arequest(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    include_children: bool | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> BalanceResponse | ErrorResponse | None:
    """Read what the budgets under a subject have left.

    Args:
        client: Where to send it, with the key.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        include_children: Also the budgets below the ones that match; a server may do so always.
        limit: Rows to a page, 1 to 200. The server takes 50 when it is left out.
        cursor: `next_cursor` of the page before; opaque.
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
            tenant=tenant,
            workspace=workspace,
            app=app,
            workflow=workflow,
            agent=agent,
            toolset=toolset,
            include_children=include_children,
            limit=limit,
            cursor=cursor,
            request_timeout=request_timeout,
            request_headers=request_headers,
        )
    ).parsed
