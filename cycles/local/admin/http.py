"""The administration over HTTP: its routes, who may use them, and the answer of each.

A request is checked in this order: key, route, permission, body, query, and then the ledger. The administrator has
X-Admin-API-Key; a tenant's key reaches the budgets of its tenant, as far as its permissions and scope filter go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.admin import lists, operations, validation
from cycles.local.admin.bodies import ledger_body, tenant_body
from cycles.local.admin.requests import Asked, in_order, in_unit, new_scope
from cycles.local.ledger import funding
from cycles.local.ledger.keys import PERMISSIONS
from cycles.local.ledger.values import Refusal
from cycles.local.wire import auth
from cycles.local.wire.validation import checked_body, invalid, same_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.keys import ApiKey
    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.messages import Request
    from cycles.local.wire.transactions import Transactions

Body = dict[str, Any]


class Route(NamedTuple):
    """Where a path and a method lead.

    Attributes:
        answer: Gives the status and the body.
        permission: The permission that a tenant's key needs ("": none); None: only the administrator may.
    """

    answer: Callable[[HttpAdministration, Asked], tuple[int, Body]]
    permission: str | None = None


class HttpAdministration:
    """The administration of a ledger over HTTP.

    Args:
        transactions: The transactions of requests on the ledger's rows.
        admin_hash: The hash of the administrator's key; None: there is none.
        lenient: Whether permissions and scope filters of keys are ignored.
    """

    def __init__(self, transactions: Transactions, *, admin_hash: str | None, lenient: bool) -> None:
        self._transactions: Final = transactions
        self._write: Final = transactions.write
        self._admin_hash: Final = admin_hash
        self._lenient: Final = lenient

    def takes(self, path: str) -> bool:
        """Whether *path* is one of these, whether it leads anywhere or not."""
        return path.startswith("/v1/admin/") or path == "/v1/auth/introspect"

    def answered(
        self, request: Request, segments: list[str], headers: list[tuple[str, str]], request_id: str, trace_id: str
    ) -> tuple[int, Body]:
        """Answer *request*, or refuse it; headers of the answer are added to *headers*."""
        routes = _FIXED.get(request.path) or _routes(segments)
        route = None if routes is None else routes.get(request.method)
        key = self._authenticated(request, route)
        if key is not None:
            headers.append(("x-cycles-tenant", key.tenant))
        if routes is None:
            raise Refusal(404, "NOT_FOUND", f"no such path: {request.path}")
        if route is None:
            headers.append(("allow", ", ".join(routes)))
            raise Refusal(405, "INVALID_REQUEST", f"{request.path} takes {' or '.join(routes)}, not {request.method}")
        if key is not None and route.permission and not (self._lenient or key.may(route.permission)):
            raise Refusal(403, "INSUFFICIENT_PERMISSIONS", f"this API key lacks the permission {route.permission}")
        if key is not None and route.permission:
            auth.must_own_budgets(key.tenant)
        return route.answer(self, Asked(request, segments, key, self._lenient, request_id, trace_id))

    def _authenticated(self, request: Request, route: Route | None) -> ApiKey | None:
        """Return the tenant's key, good now; None is the administrator."""
        if auth.is_administrator(request, self._admin_hash):
            return None
        if route is not None and route.permission is None:
            message = f"Missing API key: {request.method} {request.path} needs X-Admin-API-Key"
            raise Refusal(
                401,
                "UNAUTHORIZED",
                f"{message}; {auth.NO_ADMINISTRATOR}" if self._admin_hash is None else message,
            )
        secret = auth.tenant_key(request)
        with self._transactions.store.reading() as books:
            auth.admitted(books.credential(secret), self._transactions.clock, 403)
            return books.key(secret)

    # -- tenants -------------------------------------------------------------------------------------------------------
    def tenants(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        return 200, self._write(asked, lambda books, _: lists.tenants(books, parameters))

    def tenant(self, asked: Asked) -> tuple[int, Body]:
        return 200, self._write(asked, lambda books, _: tenant_body(operations.known_tenant(books, asked.segments[3])))

    def create_tenant(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.new_tenant)
        return self._write(asked, lambda books, now: operations.create_tenant(books, body, now))

    def change_tenant(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.changed_tenant)
        return 200, self._write(asked, lambda books, now: operations.change_tenant(books, asked.segments[3], body, now))

    # -- API keys ------------------------------------------------------------------------------------------------------
    def keys(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        return 200, self._write(asked, lambda books, now: lists.keys(books, parameters, now))

    def create_key(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.new_key)
        return 201, self._write(asked, lambda books, now: operations.create_key(books, body, now))

    def revoke_key(self, asked: Asked) -> tuple[int, Body]:
        reason = asked.request.parameters().get("reason")
        if reason is not None:
            validation.reason(reason, "reason")
        return 200, self._write(asked, lambda books, now: operations.revoke_key(books, asked.segments[3], reason, now))

    # -- budgets -------------------------------------------------------------------------------------------------------
    def budgets(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        tenant, allowed = asked.owner(parameters.get("tenant_id")), asked.scopes()
        return 200, self._write(asked, lambda books, now: lists.ledgers(books, parameters, tenant, allowed, now))

    def create_budget(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.new_budget)
        tenant = body.get("tenant_id")
        if asked.key is None and tenant is None:
            raise invalid("tenant_id", "is required with X-Admin-API-Key")
        if asked.key is not None and tenant is not None:
            raise invalid("tenant_id", "must be left out with a tenant's API key, which says whose budget it is")
        owner = asked.key.tenant if asked.key is not None else str(tenant)
        path = new_scope(body["scope"], owner)
        in_unit(body, body["unit"], "allocated", "overdraft_limit")
        in_order(body)
        asked.must_reach(path)
        return 201, self._write(asked, lambda books, now: operations.create_budget(books, path, owner, body, now))

    def look_up(self, asked: Asked) -> tuple[int, Body]:
        path, unit = asked.budget()
        tenant = asked.owner(asked.request.parameters().get("tenant_id"))

        def found(books: StoredBooks, now_ms: int) -> Body:
            row = operations.owned(books, path, unit, tenant, now_ms)
            asked.must_reach(path)
            return ledger_body(row, books.terms(path, unit))

        return 200, self._write(asked, found)

    def fund(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.funding)
        same_key(asked.request, body)
        path, unit = asked.budget()
        in_unit(body, unit, "amount", "spent")
        if "spent" in body and body["operation"] != "RESET_SPENT":
            raise invalid("spent", f"goes with RESET_SPENT, not with {body['operation']}")
        tenant = asked.owner(asked.request.parameters().get("tenant_id"))
        if not tenant:
            raise invalid("tenant_id", "is required in the query with X-Admin-API-Key")
        asked.must_reach(path)
        return 200, self._write(asked, lambda books, now: operations.fund(books, path, tenant, body, now))

    def change_budget(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, validation.changed_budget)
        path, unit = asked.budget()
        in_unit(body, unit, "overdraft_limit")
        return 200, self._write(asked, lambda books, now: operations.change_budget(books, path, unit, body, now))

    def freeze(self, asked: Asked) -> tuple[int, Body]:
        return self._status(asked, "FROZEN")

    def unfreeze(self, asked: Asked) -> tuple[int, Body]:
        return self._status(asked, "ACTIVE")

    def _status(self, asked: Asked, status: str) -> tuple[int, Body]:
        if asked.request.body.strip():
            checked_body(asked.request, validation.status_change)
        path, unit = asked.budget()

        def changed(books: StoredBooks, now_ms: int) -> Body:
            row = funding.set_status(books, path, unit, status, now_ms=now_ms)
            return ledger_body(row, books.terms(path, unit))

        return 200, self._write(asked, changed)

    # -- the key itself ------------------------------------------------------------------------------------------------
    def introspect(self, asked: Asked) -> tuple[int, Body]:
        key = asked.key
        may = {name: key is None or self._lenient or key.may(name) for name in ("budgets:read", "budgets:write")}
        body: Body = {
            "authenticated": True,
            "auth_type": "admin" if key is None else "tenant",
            "permissions": ["admin:read", "admin:write"] if key is None else list(key.permissions),
            "capabilities": {
                "manage_tenants": key is None,
                "manage_api_keys": key is None,
                "read_budgets": may["budgets:read"],
                "write_budgets": may["budgets:write"],
            },
        }
        if key is not None:
            body["tenant_id"] = key.tenant
            if self._lenient:
                body["permissions"] = list(PERMISSIONS)
        return 200, body


_FIXED: Final[dict[str, dict[str, Route]]] = {
    "/v1/admin/tenants": {"GET": Route(HttpAdministration.tenants), "POST": Route(HttpAdministration.create_tenant)},
    "/v1/admin/api-keys": {"GET": Route(HttpAdministration.keys), "POST": Route(HttpAdministration.create_key)},
    "/v1/admin/budgets": {
        "GET": Route(HttpAdministration.budgets, "budgets:read"),
        "POST": Route(HttpAdministration.create_budget, "budgets:write"),
        "PATCH": Route(HttpAdministration.change_budget),
    },
    "/v1/admin/budgets/lookup": {"GET": Route(HttpAdministration.look_up, "budgets:read")},
    "/v1/admin/budgets/fund": {"POST": Route(HttpAdministration.fund, "budgets:write")},
    "/v1/admin/budgets/freeze": {"POST": Route(HttpAdministration.freeze)},
    "/v1/admin/budgets/unfreeze": {"POST": Route(HttpAdministration.unfreeze)},
    "/v1/auth/introspect": {"GET": Route(HttpAdministration.introspect, "")},
}
_TENANT: Final = {"GET": Route(HttpAdministration.tenant), "PATCH": Route(HttpAdministration.change_tenant)}
_KEY: Final = {"DELETE": Route(HttpAdministration.revoke_key)}


def _routes(segments: list[str]) -> dict[str, Route] | None:
    match segments:
        case ["v1", "admin", "tenants", tenant_id] if tenant_id:
            return _TENANT
        case ["v1", "admin", "api-keys", key_id] if key_id:
            return _KEY
        case _:
            return None
