# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""List reservations, newest first unless sorted otherwise.

Filters narrow each other. Time windows include both ends. A cursor belongs to the filters, windows and sort
order of the call that returned it. With the admin key, `tenant` is required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _codec, errors
from ...client import AuthenticatedClient, Client
from ...models.error_response import ErrorResponse
from ...models.reservation_list_response import ReservationListResponse
from ...models.reservation_sort_field import ReservationSortField
from ...models.reservation_status import ReservationStatus
from ...models.sort_direction import SortDirection
from ...types import UNSET, Response, Unset

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

    from ...http import HttpResponse, TimeoutTypes

_LISTED = frozenset({200, 400, 401, 403, 500})


def _get_kwargs(
    *,
    idempotency_key: str | Unset = UNSET,
    status: ReservationStatus | str | Unset = UNSET,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    expires_from: datetime.datetime | Unset = UNSET,
    expires_to: datetime.datetime | Unset = UNSET,
    finalized_from: datetime.datetime | Unset = UNSET,
    finalized_to: datetime.datetime | Unset = UNSET,
    sort_by: ReservationSortField | str | Unset = UNSET,
    sort_dir: SortDirection | str | Unset = UNSET,
    include: list[str] | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "method": "GET",
        "url": "/v1/reservations",
    }
    params: dict[str, Any] = {}
    if idempotency_key is not None and not isinstance(idempotency_key, Unset):
        params["idempotency_key"] = idempotency_key
    if status is not None and not isinstance(status, Unset):
        params["status"] = str(status)
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
    if from_ is not None and not isinstance(from_, Unset):
        params["from"] = _codec.instant("from", from_)
    if to is not None and not isinstance(to, Unset):
        params["to"] = _codec.instant("to", to)
    if expires_from is not None and not isinstance(expires_from, Unset):
        params["expires_from"] = _codec.instant("expires_from", expires_from)
    if expires_to is not None and not isinstance(expires_to, Unset):
        params["expires_to"] = _codec.instant("expires_to", expires_to)
    if finalized_from is not None and not isinstance(finalized_from, Unset):
        params["finalized_from"] = _codec.instant("finalized_from", finalized_from)
    if finalized_to is not None and not isinstance(finalized_to, Unset):
        params["finalized_to"] = _codec.instant("finalized_to", finalized_to)
    if sort_by is not None and not isinstance(sort_by, Unset):
        params["sort_by"] = str(sort_by)
    if sort_dir is not None and not isinstance(sort_dir, Unset):
        params["sort_dir"] = str(sort_dir)
    if include is not None and not isinstance(include, Unset):
        params["include"] = ",".join(include)
    if limit is not None and not isinstance(limit, Unset):
        params["limit"] = _codec.exact("limit", limit, low=1, high=200)
    if cursor is not None and not isinstance(cursor, Unset):
        params["cursor"] = cursor
    if params:
        kwargs["params"] = params
    return kwargs


def _parse_response(*, client: Client, response: HttpResponse) -> ErrorResponse | ReservationListResponse | None:
    if response.status_code == 200:
        return _codec.success(response, ReservationListResponse.from_dict)
    if client.raise_on_unexpected_status and response.status_code not in _LISTED:
        raise errors.UnexpectedStatus(response.status_code, response.content, response.headers)
    return _codec.failure(response, ErrorResponse.from_dict)


def _build_response(*, client: Client, response: HttpResponse) -> Response[ErrorResponse | ReservationListResponse]:
    return Response(
        status_code=response.status_code,
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    idempotency_key: str | Unset = UNSET,
    status: ReservationStatus | str | Unset = UNSET,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    expires_from: datetime.datetime | Unset = UNSET,
    expires_to: datetime.datetime | Unset = UNSET,
    finalized_from: datetime.datetime | Unset = UNSET,
    finalized_to: datetime.datetime | Unset = UNSET,
    sort_by: ReservationSortField | str | Unset = UNSET,
    sort_dir: SortDirection | str | Unset = UNSET,
    include: list[str] | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[ErrorResponse | ReservationListResponse]:
    """List reservations, newest first unless sorted otherwise.

    Args:
        client: Where to send it, with the key.
        idempotency_key: Only the reservation made with this key; how a lost reservation id is found again.
        status: Only reservations in this state.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        from_: Created at this instant or later; with an offset.
        to: Created at this instant or earlier; with an offset.
        expires_from: Expiring at this instant or later; with an offset.
        expires_to: Expiring at this instant or earlier; with an offset.
        finalized_from: Committed or released at this instant or later; with an offset. Leaves out what is
            neither.
        finalized_to: Committed or released at this instant or earlier; with an offset. Leaves out what is
            neither.
        sort_by: Field to sort by; ties are broken by reservation id, ascending.
        sort_dir: Direction to sort in.
        include: Parts to add to each row, any of `metadata`, `committed_metadata`, `evidence`; others are
            ignored.
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
        idempotency_key=idempotency_key,
        status=status,
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        from_=from_,
        to=to,
        expires_from=expires_from,
        expires_to=expires_to,
        finalized_from=finalized_from,
        finalized_to=finalized_to,
        sort_by=sort_by,
        sort_dir=sort_dir,
        include=include,
        limit=limit,
        cursor=cursor,
    )
    response = client._request(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    idempotency_key: str | Unset = UNSET,
    status: ReservationStatus | str | Unset = UNSET,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    expires_from: datetime.datetime | Unset = UNSET,
    expires_to: datetime.datetime | Unset = UNSET,
    finalized_from: datetime.datetime | Unset = UNSET,
    finalized_to: datetime.datetime | Unset = UNSET,
    sort_by: ReservationSortField | str | Unset = UNSET,
    sort_dir: SortDirection | str | Unset = UNSET,
    include: list[str] | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> ErrorResponse | ReservationListResponse | None:
    """List reservations, newest first unless sorted otherwise.

    Args:
        client: Where to send it, with the key.
        idempotency_key: Only the reservation made with this key; how a lost reservation id is found again.
        status: Only reservations in this state.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        from_: Created at this instant or later; with an offset.
        to: Created at this instant or earlier; with an offset.
        expires_from: Expiring at this instant or later; with an offset.
        expires_to: Expiring at this instant or earlier; with an offset.
        finalized_from: Committed or released at this instant or later; with an offset. Leaves out what is
            neither.
        finalized_to: Committed or released at this instant or earlier; with an offset. Leaves out what is
            neither.
        sort_by: Field to sort by; ties are broken by reservation id, ascending.
        sort_dir: Direction to sort in.
        include: Parts to add to each row, any of `metadata`, `committed_metadata`, `evidence`; others are
            ignored.
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
        idempotency_key=idempotency_key,
        status=status,
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        from_=from_,
        to=to,
        expires_from=expires_from,
        expires_to=expires_to,
        finalized_from=finalized_from,
        finalized_to=finalized_to,
        sort_by=sort_by,
        sort_dir=sort_dir,
        include=include,
        limit=limit,
        cursor=cursor,
        request_timeout=request_timeout,
        request_headers=request_headers,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    idempotency_key: str | Unset = UNSET,
    status: ReservationStatus | str | Unset = UNSET,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    expires_from: datetime.datetime | Unset = UNSET,
    expires_to: datetime.datetime | Unset = UNSET,
    finalized_from: datetime.datetime | Unset = UNSET,
    finalized_to: datetime.datetime | Unset = UNSET,
    sort_by: ReservationSortField | str | Unset = UNSET,
    sort_dir: SortDirection | str | Unset = UNSET,
    include: list[str] | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> Response[ErrorResponse | ReservationListResponse]:
    """List reservations, newest first unless sorted otherwise.

    Args:
        client: Where to send it, with the key.
        idempotency_key: Only the reservation made with this key; how a lost reservation id is found again.
        status: Only reservations in this state.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        from_: Created at this instant or later; with an offset.
        to: Created at this instant or earlier; with an offset.
        expires_from: Expiring at this instant or later; with an offset.
        expires_to: Expiring at this instant or earlier; with an offset.
        finalized_from: Committed or released at this instant or later; with an offset. Leaves out what is
            neither.
        finalized_to: Committed or released at this instant or earlier; with an offset. Leaves out what is
            neither.
        sort_by: Field to sort by; ties are broken by reservation id, ascending.
        sort_dir: Direction to sort in.
        include: Parts to add to each row, any of `metadata`, `committed_metadata`, `evidence`; others are
            ignored.
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
        idempotency_key=idempotency_key,
        status=status,
        tenant=tenant,
        workspace=workspace,
        app=app,
        workflow=workflow,
        agent=agent,
        toolset=toolset,
        from_=from_,
        to=to,
        expires_from=expires_from,
        expires_to=expires_to,
        finalized_from=finalized_from,
        finalized_to=finalized_to,
        sort_by=sort_by,
        sort_dir=sort_dir,
        include=include,
        limit=limit,
        cursor=cursor,
    )
    response = await client._arequest(kwargs, request_timeout, request_headers)
    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    idempotency_key: str | Unset = UNSET,
    status: ReservationStatus | str | Unset = UNSET,
    tenant: str | Unset = UNSET,
    workspace: str | Unset = UNSET,
    app: str | Unset = UNSET,
    workflow: str | Unset = UNSET,
    agent: str | Unset = UNSET,
    toolset: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    expires_from: datetime.datetime | Unset = UNSET,
    expires_to: datetime.datetime | Unset = UNSET,
    finalized_from: datetime.datetime | Unset = UNSET,
    finalized_to: datetime.datetime | Unset = UNSET,
    sort_by: ReservationSortField | str | Unset = UNSET,
    sort_dir: SortDirection | str | Unset = UNSET,
    include: list[str] | Unset = UNSET,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
    request_timeout: TimeoutTypes | Unset = UNSET,
    request_headers: Mapping[str, str] | None = None,
) -> ErrorResponse | ReservationListResponse | None:
    """List reservations, newest first unless sorted otherwise.

    Args:
        client: Where to send it, with the key.
        idempotency_key: Only the reservation made with this key; how a lost reservation id is found again.
        status: Only reservations in this state.
        tenant: Only this tenant; with a tenant's key it must be that tenant.
        workspace: Only this workspace.
        app: Only this app.
        workflow: Only this workflow.
        agent: Only this agent.
        toolset: Only this toolset.
        from_: Created at this instant or later; with an offset.
        to: Created at this instant or earlier; with an offset.
        expires_from: Expiring at this instant or later; with an offset.
        expires_to: Expiring at this instant or earlier; with an offset.
        finalized_from: Committed or released at this instant or later; with an offset. Leaves out what is
            neither.
        finalized_to: Committed or released at this instant or earlier; with an offset. Leaves out what is
            neither.
        sort_by: Field to sort by; ties are broken by reservation id, ascending.
        sort_dir: Direction to sort in.
        include: Parts to add to each row, any of `metadata`, `committed_metadata`, `evidence`; others are
            ignored.
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
            idempotency_key=idempotency_key,
            status=status,
            tenant=tenant,
            workspace=workspace,
            app=app,
            workflow=workflow,
            agent=agent,
            toolset=toolset,
            from_=from_,
            to=to,
            expires_from=expires_from,
            expires_to=expires_to,
            finalized_from=finalized_from,
            finalized_to=finalized_to,
            sort_by=sort_by,
            sort_dir=sort_dir,
            include=include,
            limit=limit,
            cursor=cursor,
            request_timeout=request_timeout,
            request_headers=request_headers,
        )
    ).parsed
