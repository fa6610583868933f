"""Parameter types: amounts, scopes, tenants, times, JSON and pairs, as they stand on the command line."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from cycles.errors import CyclesError
from cycles.local.admin.names import Wanted, checked_scope, own_scope, parse_budget, parse_wanted
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    AmountParameter = click.ParamType[Amount]
    BudgetParameter = click.ParamType[tuple[str, Wanted]]
    TextParameter = click.ParamType[str]
    MomentParameter = click.ParamType[str | timedelta]
    ObjectParameter = click.ParamType[dict[str, Any]]
    PairParameter = click.ParamType[tuple[str, str]]
else:  # generic since click 8.4 or so
    AmountParameter = BudgetParameter = TextParameter = MomentParameter = ObjectParameter = PairParameter = (
        click.ParamType
    )

_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})w)?(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?"
)


class AmountType(AmountParameter):
    """An amount in a unit, or, without one, with its unit in front: usd:1.00, tokens:1M."""

    def __init__(self, unit: str | None = None) -> None:
        self.unit: Final = unit
        self.name = "UNIT:AMOUNT" if unit is None else "DOLLARS" if unit == "usd" else "COUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        if isinstance(value, Amount):
            return value
        unit, separator, amount = (self.unit, ":", str(value)) if self.unit else str(value).partition(":")
        if not separator:
            self.fail(f"{value!r}: write it like usd:1.00 or tokens:1M", param, ctx)
        try:
            return parse_budget(unit, amount)
        except CyclesError as error:
            self.fail(error.message, param, ctx)


class BudgetType(BudgetParameter):
    """A scope and a budget: tenant:acme=usd:1.00, or one that begins anew, tenant:acme=usd:5.00/day/Europe/Berlin."""

    name = "SCOPE=UNIT:AMOUNT[/PERIOD[/ZONE]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Wanted]:
        if isinstance(value, tuple):
            return value
        scope, separator, budget = str(value).rpartition("=")
        unit, colon, text = budget.partition(":")
        if not (separator and colon):
            self.fail(f"{value!r}: write it like tenant:acme=usd:1.00 or tenant:acme=usd:5.00/day", param, ctx)
        path = ScopeType().convert(scope, param, ctx)
        try:
            return path, parse_wanted(unit, text)
        except CyclesError as error:
            self.fail(error.message, param, ctx)


class ScopeType(TextParameter):
    """A scope path, its tenant in lower case: tenant:acme/agent:planner."""

    name = "SCOPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return own_scope(str(value))
        except CyclesError as error:
            self.fail(error.message, param, ctx)


class TenantType(TextParameter):
    """The name of a tenant."""

    name = "TENANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            checked_scope(f"tenant:{value}")
        except CyclesError:
            self.fail(f"{value!r}: give 1 to 128 letters, digits, '_', '.' or '-'", param, ctx)
        if value != value.lower():
            self.fail(f"{value!r}: tenants are named in lower case; write {value.lower()}", param, ctx)
        return str(value)


class MomentType(MomentParameter):
    """A time with its offset, or a duration."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | timedelta:  # noqa: ARG002
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(value)
        if match is None or not value:
            return str(value)  # the client parses it, and its error says what is wrong
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


class ObjectType(ObjectParameter):
    """A JSON object."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as error:
            self.fail(f"not JSON: {error}; write an object such as '{{\"job\": 7}}'", param, ctx)
        if not isinstance(found, dict):
            self.fail(f"not an object, but {type(found).__name__}; write one such as '{{\"job\": 7}}'", param, ctx)
        return found


class PairType(PairParameter):
    """NAME=VALUE."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, separator, text = str(value).partition("=")
        if not (separator and name):
            self.fail(f"{value!r}: write it like team=research", param, ctx)
        return name, text
