"""Scopes and amounts as people write them: in calls, `local:` URLs and commands."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from cycles import amounts
from cycles._outside.urls import is_postgres, local_name
from cycles.errors import ConfigError, InvalidRequest
from cycles.local.ledger.periods import KINDS, zone_named
from cycles.local.ledger.scopes import scopes_of
from cycles.local.ledger.values import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles_api.models.amount import Amount

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")

_UNITS: Final[dict[str, Callable[[str], Amount]]] = {
    "usd": lambda text: amounts.usd(_dollars(text)),
    "tokens": lambda text: amounts.tokens(_whole(text)),
    "credits": lambda text: amounts.credits(_whole(text)),
    "risk_points": lambda text: amounts.risk_points(_whole(text)),
}
"""How amounts are written in `local:` URLs and on the command line."""

UNIT_NAMES: Final = tuple(_UNITS)
"""The short names of the protocol's units."""

_POWERS: Final = {"k": 3, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12}
"""Suffixes of numbers, and the powers of ten that they stand for."""

_SUFFIXED: Final = re.compile(r"([0-9](?:_?[0-9])*)(?:\.([0-9]+))?([kKMGBT]?)")
_LONGEST: Final = 40
"""Characters of a number; more digits than any int64 has, few enough to be read."""


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
            f"{', '.join(LEVELS)}, each value 1 to 128 letters, digits, '_', '.' or '-' "
            "(`cycles level` makes one of any text)"
        )
    return derived[-1]


def own_scope(scope: str) -> str:
    """Return *scope* in the form in which it is kept; its tenant must be written in lower case, as over HTTP.

    Raises:
        InvalidRequest: when it is no scope path; or names a tenant that would share the budget of another.
    """
    path = checked_scope(scope)
    tenant = scope.partition("/")[0].removeprefix("tenant:")
    if tenant != tenant.lower():
        raise InvalidRequest(f"tenant {tenant!r}: tenants are named in lower case; write {tenant.lower()}")
    return path


def own_pattern(scope: str) -> str:
    """Return a scope path in which some values may be "*", in the form in which it is kept; see `own_scope`."""
    levels = scope.split("/")
    if any("*" in level.removesuffix(":*") for level in levels) or levels[0].endswith(":*"):
        raise InvalidRequest(
            f"scope={scope!r}: write a path such as tenant:acme/workspace:*, with * for whole values below the tenant"
        )
    own_scope("/".join(f"{level[:-1]}x" if level.endswith(":*") else level for level in levels))
    return scope.lower()


def tenant_of(scope_path: str) -> str:
    """Return the tenant, in lower case, of a scope path as it is kept."""
    return scope_path.partition("/")[0].removeprefix("tenant:")


def unit_named(name: str) -> str:
    """Return the protocol's unit of a short name: "USD_MICROCENTS" of "usd"."""
    return str(parse_budget(name, "0").unit)


def short_name_of(unit: str) -> str:
    """Return the short name of a *unit* of the protocol; see `unit_named`."""
    return next(name for name in UNIT_NAMES if unit_named(name) == unit)


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


class Wanted(NamedTuple):
    """A budget as it is written beside a scope or in a `local:` URL, such as usd:5.00/day/Europe/Berlin.

    Attributes:
        amount: How much.
        period: See `LocalAuthority.budget`; None: it does not begin anew.
        zone: Whose midnight counts; None: that of UTC.
    """

    amount: Amount
    period: str | None = None
    zone: str | None = None


def parse_wanted(unit: str, text: str) -> Wanted:
    """Return the budget of a pair such as ("usd", "5.00/day/Europe/Berlin").

    Raises:
        ConfigError: naming the unit, the value, the period or the zone.
    """
    number, anew, rest = text.partition("/")
    amount = parse_budget(unit, number)
    if not anew:
        return Wanted(amount)
    period, _, zone = rest.partition("/")
    if period not in KINDS:
        raise ConfigError(f"period {period!r}: choose one of {', '.join(KINDS)}, as in {number}/day")
    if rest == period:
        return Wanted(amount, period)
    try:
        zone_named(zone)
    except ValueError:
        raise ConfigError(f"zone {zone!r}: write it like {number}/day/Europe/Berlin") from None
    return Wanted(amount, period, zone)


def read_url(url: str) -> tuple[str, list[Wanted]]:
    """Return the path that a `local:` URL names, "" for memory, and the budgets that it makes.

    Raises:
        ConfigError: naming what is wrong with the URL.
    """
    if not url.startswith("local:"):
        raise ConfigError(f"{local_name(url)!r} is no local: URL: write local:, local:PATH or local:?usd=1.00")
    path, _, query = url.removeprefix("local:").partition("?")
    if is_postgres(path):
        return _database(path, query)
    wanted = [parse_wanted(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
    try:
        found = os.path.abspath(Path(path).expanduser()) if path else ""  # noqa: PTH100 - not resolved
    except (RuntimeError, OSError) as error:  # ~nobody, or a current folder that is gone
        raise ConfigError(f"{url!r}: {error}; give the whole path") from None
    return found, wanted


def _database(path: str, query: str) -> tuple[str, list[Wanted]]:
    """Return a database's URL with libpq's own parameters, and the budgets among them."""
    parts = query.split("&") if query else []
    budgets = [part for part in parts if part.partition("=")[0] in _UNITS]
    others = "&".join(part for part in parts if part not in budgets)
    wanted = [parse_wanted(name, value) for name, value in parse_qsl("&".join(budgets), keep_blank_values=True)]
    return f"{path}?{others}" if others else path, wanted


def _whole(text: str) -> int:
    """Return a whole number, written like 1000000, 1_000_000, 1M or 2.5k; exact, no float in between."""
    match = _SUFFIXED.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidRequest(f"{_shown(text)} is not a whole number; write it like 1000000, 1_000_000, 1M or 2.5k")
    whole, fraction, suffix = match[1], (match[2] or "").rstrip("0"), match[3]
    power = _POWERS.get(suffix, 0)
    if len(fraction) > power:
        raise InvalidRequest(f"{_shown(text)} is not a whole number; there are no fractions of this unit")
    return int(whole + fraction.ljust(power, "0"))


def _dollars(text: str) -> str:
    """Return dollars as `amounts.usd` takes them; 2k is 2000."""
    match = _SUFFIXED.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not match[3]:
        return text
    return f"{text[:-1]}e{_POWERS[match[3]]}"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _LONGEST else f"{text[:_LONGEST]!r}…"
