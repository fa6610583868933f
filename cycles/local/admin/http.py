"""The administration over HTTP: who may ask, and which call is which (authority.md §5).

Checks come in an order of their own: key, route, permission, body, query, and then the ledger. The administrator has
X-Admin-API-Key; a tenant's key reaches the budgets of its tenant, as far as its permissions and scope filter go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from cycles.errors import InvalidRequest
from cycles.local.admin import bodies, lists, operations
from cycles.local.admin.names import checked_scope
from cycles.local.ledger import funding, times
from cycles.local.ledger.bodies import ledger_body, tenant_body
from cycles.local.ledger.values import PERMISSIONS, Refusal
from cycles.local.wire import auth
from cycles.local.wire.validation import checked_body, invalid, same_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.values import ApiKey
    from cycles.local.store.rows import SqliteBooks
    from cycles.local.store.sqlite import Store
    from cycles.local.wire.messages import Request

Body = dict[str, Any]
T = TypeVar("T")

_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.\-]{0,126}[A-Za-z0-9])?")


class Asking(Protocol):
    """Whose request a transaction is of; no tenant: the administrator's."""

    @property
    def tenant(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...


class Writing(Protocol):
    """Runs an operation in one transaction."""

    def __call__(self, asked: Asking, operation: Callable[[SqliteBooks, int], T]) -> T: ...


class Asked(NamedTuple):
    """A request on its way through the checks; *key* None is the administrator."""

    request: Request
    segments: list[str]
    key: ApiKey | None
    lenient: bool
    request_id: str
    trace_id: str

    @property
    def tenant(self) -> str | None:
        """The key's tenant; None is the administrator."""
        return None if self.key is None else self.key.tenant

    def owner(self, named: str | None) -> str | None:
        """Return whose budgets are asked for: the key's tenant, or whom the administrator *named*."""
        if self.key is None:
            return named or None
        if named and named != self.key.tenant:
            raise Refusal(403, "FORBIDDEN", f"tenant_id={named!r}: this API key is of the tenant {self.key.tenant}")
        return self.key.tenant

    def scopes(self) -> list[str]:
        """Return the scopes that the key is confined to; none: it is not."""
        if self.key is None or self.lenient:
            return []
        return [scope.lower().rstrip("*").rstrip("/") for scope in self.key.scope_filter]

    def must_reach(self, scope_path: str) -> None:
        """Refuse a scope that the key's filter leaves out."""
        allowed = self.scopes()
        if allowed and not any(scope_path == scope or scope_path.startswith(f"{scope}/") for scope in allowed):
            raise Refusal(403, "FORBIDDEN", f"scope={scope_path!r} is outside of the key's scope_filter")

    def budget(self) -> tuple[str, str]:
        """Return the scope path and the unit that the query names."""
        parameters = self.request.parameters()
        for name in ("scope", "unit"):
            if not parameters.get(name):
                raise invalid(name, "is required in the query: ?scope=tenant:acme&unit=TOKENS")
        unit = bodies.unit(parameters["unit"], "unit")
        return scope_path_of(parameters["scope"]), str(unit)


class Route(NamedTuple):
    """What a path and method lead to.

    Attributes:
        answer: Gives the status and the body.
        permission: What a tenant's key needs ("": any will do); None: this is the administrator's.
    """

    answer: Callable[[Admin, Asked], tuple[int, Body]]
    permission: str | None = None


class Admin:
    """The administration of a store.

    Args:
        store: The ledger's rows.
        writing: Runs an operation in one transaction, overdue holds expired before it.
        clock: Gives milliseconds since the epoch.
        admin_hash: The hash of the administrator's key; None: there is none.
        lenient: Whether permissions and scope filters of keys are passed over.
    """

    def __init__(
        self, store: Store, writing: Writing, clock: Callable[[], int], admin_hash: str | None, *, lenient: bool
    ) -> None:
        self._store: Final = store
        self._writing: Final = writing
        self._clock: Final = clock
        self._admin_hash: Final = admin_hash
        self._lenient: Final = lenient

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
        with self._store.reading() as books:
            auth.admitted(books.credential(secret), self._clock, 403)
            return books.key(secret)

    # -- tenants -------------------------------------------------------------------------------------------------------
    def tenants(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        return 200, self._writing(asked, lambda books, _: lists.tenants(books, parameters))

    def tenant(self, asked: Asked) -> tuple[int, Body]:
        return 200, self._writing(
            asked, lambda books, _: tenant_body(operations.known_tenant(books, asked.segments[3]))
        )

    def create_tenant(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.new_tenant)
        return self._writing(asked, lambda books, now: operations.create_tenant(books, body, now))

    def change_tenant(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.changed_tenant)
        return 200, self._writing(
            asked, lambda books, now: operations.change_tenant(books, asked.segments[3], body, now)
        )

    # -- API keys ------------------------------------------------------------------------------------------------------
    def keys(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        return 200, self._writing(asked, lambda books, now: lists.keys(books, parameters, now))

    def create_key(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.new_key)
        return 201, self._writing(asked, lambda books, now: operations.create_key(books, body, now))

    def revoke_key(self, asked: Asked) -> tuple[int, Body]:
        reason = asked.request.parameters().get("reason")
        if reason is not None:
            bodies.reason(reason, "reason")
        return 200, self._writing(
            asked, lambda books, now: operations.revoke_key(books, asked.segments[3], reason, now)
        )

    # -- budgets -------------------------------------------------------------------------------------------------------
    def budgets(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        tenant, allowed = asked.owner(parameters.get("tenant_id")), asked.scopes()
        return 200, self._writing(asked, lambda books, _: lists.ledgers(books, parameters, tenant, allowed))

    def create_budget(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.new_budget)
        tenant = body.get("tenant_id")
        if asked.key is None and tenant is None:
            raise invalid("tenant_id", "is required with X-Admin-API-Key")
        if asked.key is not None and tenant is not None:
            raise invalid("tenant_id", "must be left out with a tenant's API key, which says whose budget it is")
        owner = asked.key.tenant if asked.key is not None else str(tenant)
        path = _new_scope(body["scope"], owner)
        _in_unit(body, body["unit"], "allocated", "overdraft_limit")
        _in_order(body)
        asked.must_reach(path)
        return 201, self._writing(asked, lambda books, now: operations.create_budget(books, path, owner, body, now))

    def look_up(self, asked: Asked) -> tuple[int, Body]:
        path, unit = asked.budget()
        tenant = asked.owner(asked.request.parameters().get("tenant_id"))

        def found(books: SqliteBooks, _: int) -> Body:
            row = operations.owned(books, path, unit, tenant)
            asked.must_reach(path)
            return ledger_body(row, books.terms(path, unit))

        return 200, self._writing(asked, found)

    def fund(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.funding)
        same_key(asked.request, body)
        path, unit = asked.budget()
        _in_unit(body, unit, "amount", "spent")
        if "spent" in body and body["operation"] != "RESET_SPENT":
            raise invalid("spent", f"goes with RESET_SPENT, not with {body['operation']}")
        tenant = asked.owner(asked.request.parameters().get("tenant_id"))
        if tenant is None:
            raise invalid("tenant_id", "is required in the query with X-Admin-API-Key")
        asked.must_reach(path)
        return 200, self._writing(asked, lambda books, now: operations.fund(books, path, tenant, body, now))

    def change_budget(self, asked: Asked) -> tuple[int, Body]:
        body = checked_body(asked.request, bodies.changed_budget)
        path, unit = asked.budget()
        _in_unit(body, unit, "overdraft_limit")
        return 200, self._writing(asked, lambda books, now: operations.change_budget(books, path, unit, body, now))

    def freeze(self, asked: Asked) -> tuple[int, Body]:
        return self._status(asked, "FROZEN")

    def unfreeze(self, asked: Asked) -> tuple[int, Body]:
        return self._status(asked, "ACTIVE")

    def _status(self, asked: Asked, status: str) -> tuple[int, Body]:
        if asked.request.body.strip():
            checked_body(asked.request, bodies.status_change)
        path, unit = asked.budget()

        def changed(books: SqliteBooks, now_ms: int) -> Body:
            row = funding.set_status(books, path, unit, status, now_ms=now_ms)
            return ledger_body(row, books.terms(path, unit))

        return 200, self._writing(asked, changed)

    # -- who am I ------------------------------------------------------------------------------------------------------
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
    "/v1/admin/tenants": {"GET": Route(Admin.tenants), "POST": Route(Admin.create_tenant)},
    "/v1/admin/api-keys": {"GET": Route(Admin.keys), "POST": Route(Admin.create_key)},
    "/v1/admin/budgets": {
        "GET": Route(Admin.budgets, "budgets:read"),
        "POST": Route(Admin.create_budget, "budgets:write"),
        "PATCH": Route(Admin.change_budget),
    },
    "/v1/admin/budgets/lookup": {"GET": Route(Admin.look_up, "budgets:read")},
    "/v1/admin/budgets/fund": {"POST": Route(Admin.fund, "budgets:write")},
    "/v1/admin/budgets/freeze": {"POST": Route(Admin.freeze)},
    "/v1/admin/budgets/unfreeze": {"POST": Route(Admin.unfreeze)},
    "/v1/auth/introspect": {"GET": Route(Admin.introspect, "")},
}
_TENANT: Final = {"GET": Route(Admin.tenant), "PATCH": Route(Admin.change_tenant)}
_KEY: Final = {"DELETE": Route(Admin.revoke_key)}


def is_administration(path: str) -> bool:
    """Whether a path is one of these, whether it leads anywhere or not."""
    return path.startswith("/v1/admin/") or path == "/v1/auth/introspect"


def _routes(segments: list[str]) -> dict[str, Route] | None:
    match segments:
        case ["v1", "admin", "tenants", tenant_id] if tenant_id:
            return _TENANT
        case ["v1", "admin", "api-keys", key_id] if key_id:
            return _KEY
        case _:
            return None


# -- checks before the ledger ------------------------------------------------------------------------------------------
def scope_path_of(scope: str) -> str:
    """Return *scope* in the form in which it is kept."""
    try:
        return checked_scope(scope)
    except InvalidRequest as error:
        raise invalid("scope", error.message) from None


def _new_scope(scope: str, tenant: str) -> str:
    """Return the path of a budget to be made: its values are stricter (§2), and it is *tenant*'s, letter for letter."""
    path = scope_path_of(scope)
    values = [segment.partition(":")[2] for segment in scope.split("/")]
    if not all(_VALUE.fullmatch(value) for value in values):
        raise invalid("scope", f"{scope!r}: each value must begin and end with a letter or a digit")
    if values[0] != tenant:
        raise invalid("scope", f"{scope!r} is not of the tenant {tenant}: begin with tenant:{tenant}")
    return path


def _in_unit(body: Body, unit: str, *names: str) -> None:
    for name in names:
        if name in body and body[name]["unit"] != unit:
            raise Refusal(
                400,
                "UNIT_MISMATCH",
                f"{name} is in {body[name]['unit']}, and the budget is in {unit}",
                {"field": name, "requested_unit": body[name]["unit"], "expected_units": [unit]},
            )


def _in_order(body: Body) -> None:
    if (
        "period_start" in body
        and "period_end" in body
        and times.microseconds(body["period_end"]) < times.microseconds(body["period_start"])
    ):
        raise invalid("period_end", "must not be before period_start")
