"""Scopes and amounts as people write them in calls, `local:` URLs and commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cycles import amounts
from cycles.errors import ConfigError, InvalidRequest
from cycles.local.scopes import scopes_of
from cycles.local.values import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles_api.models.amount import Amount

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")

_UNITS: Final[dict[str, Callable[[str], Amount]]] = {
    "usd": amounts.usd,
    "tokens": lambda text: amounts.tokens(_whole(text)),
    "credits": lambda text: amounts.credits(_whole(text)),
    "risk_points": lambda text: amounts.risk_points(_whole(text)),
}
"""How amounts are written in `local:` URLs and on the command line."""


def checked_scope(scope: str) -> str:
    """Return *scope* in the form in which it is kept.

    Raises:
        InvalidRequest: when it is no scope path from the tenant on, with levels in canonical order.
    """
    pairs = [segment.partition(":") for segment in scope.split("/")]
    subject = {level: value for level, _, value in pairs}
    derived = scopes_of(subject)
    well_made = (
        len(subject) == len(pairs)
        and all(_SEGMENT.fullmatch(value) for value in subject.values())
        and set(subject) <= set(LEVELS)
        and bool(derived)
        and derived[-1] == scope.lower()
        and "tenant" in subject
    )
    if not well_made:
        raise InvalidRequest(
            f"scope={scope!r}: write a path such as tenant:acme/agent:planner, levels in the order "
            f"{', '.join(LEVELS)}, each value 1 to 128 letters, digits, '_', '.' or '-'"
        )
    return derived[-1]


def tenant_of(scope_path: str) -> str:
    """Return the tenant, in lower case, of a scope path as it is kept."""
    return scope_path.partition("/")[0].removeprefix("tenant:")


def unit_named(name: str) -> str:
    """Return the protocol's unit of a short name: "USD_MICROCENTS" of "usd"."""
    return str(parse_budget(name, "0").unit)


def parse_budget(unit: str, amount: str) -> Amount:
    """Return the amount of a pair such as ("usd", "1.00").

    Raises:
        ConfigError: naming the unit or the value.
    """
    parse = _UNITS.get(unit)
    if parse is None:
        raise ConfigError(f"unit {unit!r}: choose one of {', '.join(_UNITS)}")
    try:
        return parse(amount)
    except InvalidRequest as error:
        raise ConfigError(error.message) from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"{text!r} is not a whole number")
    return int(text)
