"""A request to the administration, and the checks of what it names before the ledger is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.errors import InvalidRequest
from cycles.local.admin import validation
from cycles.local.admin.names import checked_scope
from cycles.local.ledger import times
from cycles.local.ledger.values import Refusal
from cycles.local.wire.validation import invalid

if TYPE_CHECKING:
    from cycles.local.ledger.keys import ApiKey
    from cycles.local.wire.messages import Request

Body = dict[str, Any]

_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.\-]{0,126}[A-Za-z0-9])?")


class Asked(NamedTuple):
    """A request whose key was checked; *key* None is the administrator."""

    request: Request
    segments: list[str]
    key: ApiKey | None
    lenient: bool
    request_id: str
    trace_id: str

    @property
    def tenant(self) -> str | None:
        """The tenant of the key; None is the administrator."""
        return None if self.key is None else self.key.tenant

    def owner(self, named: str | None) -> str | None:
        """Return the tenant whose budgets are asked for: the key's, or the one that the administrator *named*."""
        if self.key is None:
            return named  # one that is there and empty has no budgets
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
        unit = validation.unit(parameters["unit"], "unit")
        return scope_path_of(parameters["scope"]), str(unit)


# -- scopes, amounts and periods ---------------------------------------------------------------------------------------
def scope_path_of(scope: str) -> str:
    """Return *scope* in the form in which it is kept."""
    try:
        return checked_scope(scope)
    except InvalidRequest as error:
        raise invalid("scope", error.message) from None


def new_scope(scope: str, tenant: str) -> str:
    """Return the path of a new budget: its values are stricter, and it names *tenant*, letter for letter."""
    path = scope_path_of(scope)
    values = [segment.partition(":")[2] for segment in scope.split("/")]
    if not all(_VALUE.fullmatch(value) for value in values):
        raise invalid("scope", f"{scope!r}: each value must begin and end with a letter or a digit")
    if values[0] != tenant:
        raise invalid("scope", f"{scope!r} is not of the tenant {tenant}: begin with tenant:{tenant}")
    return path


def in_unit(body: Body, unit: str, *names: str) -> None:
    """Refuse an amount among *names* that is not in *unit*."""
    for name in names:
        if name in body and body[name]["unit"] != unit:
            raise Refusal(
                400,
                "UNIT_MISMATCH",
                f"{name} is in {body[name]['unit']}, and the budget is in {unit}",
                {"field": name, "requested_unit": body[name]["unit"], "expected_units": [unit]},
            )


def in_order(body: Body) -> None:
    """Refuse a period that ends before it starts."""
    if (
        "period_start" in body
        and "period_end" in body
        and times.microseconds(body["period_end"]) < times.microseconds(body["period_start"])
    ):
        raise invalid("period_end", "must not be before period_start")
