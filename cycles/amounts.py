"""Exact amounts: numbers as people write them, turned into the protocol's integers.

The protocol counts in int64, never in floats (docs/protocol.md, Units and amounts). One US dollar is 10**8 microcents.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from cycles.errors import InvalidRequest
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import UnitEnum
from cycles_api.shown import MICROCENTS_PER_USD, money

__all__ = ["credits", "describe", "risk_points", "tokens", "usd", "usd_microcents"]

INT64_MAX: Final = 2**63 - 1
_USD_DECIMALS: Final = 8


def usd(dollars: str | int | Decimal, *, round: Literal["up"] | None = None) -> Amount:  # noqa: A002 - reads as said
    """Return an amount of US dollars, exact to the microcent.

    Args:
        dollars: "0.05", 3 or Decimal("1.25"); from 0 to 92233720368.54775807, at most 8 decimals.
            Floats are refused: 0.1 + 0.2 is not 0.3, and money is.
        round: "up" takes any number of decimals, and rounds to the next microcent: a price per token has more than 8.

    Raises:
        InvalidRequest: naming the value and what is allowed.

    Example:
        ```python
        from cycles import usd

        assert usd("0.05") == usd("0.0500")
        assert usd("0.000000001", round="up").amount == 1
        ```
    """
    if round not in ("up", None):
        raise InvalidRequest(f'usd: round={round!r}; give "up", or leave it out to refuse what is not exact')
    if isinstance(dollars, bool) or not isinstance(dollars, str | int | Decimal):
        exactly = f'; write usd("{dollars}") to mean exactly that' if isinstance(dollars, float) else ""
        raise InvalidRequest(f"usd({dollars!r}): give a str, int or Decimal, not {type(dollars).__name__}{exactly}")
    if isinstance(dollars, int):
        return _amount("usd", dollars, UnitEnum.USD_MICROCENTS, scale=MICROCENTS_PER_USD)
    try:
        exact = Decimal(dollars)
    except InvalidOperation:
        raise InvalidRequest(f'usd({dollars!r}): not a decimal number; write it like "0.05"') from None
    if not exact.is_finite():
        raise InvalidRequest(f"usd({dollars!r}): not a finite number")
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - holds for finite numbers; tells the type checker
    if exact == 0:
        return _amount("usd", 0, UnitEnum.USD_MICROCENTS)
    if exact.adjusted() > len(str(INT64_MAX)):  # before a huge exponent becomes a huge integer
        raise InvalidRequest(f"usd({dollars!r}): more than an int64 of microcents can hold")
    # Integer arithmetic throughout: Decimal's own operators round to the caller's context.
    shift = exponent + _USD_DECIMALS
    unscaled = int("".join(map(str, digits)))
    whole, rest = (unscaled * 10**shift, 0) if shift >= 0 else _divide(unscaled, -shift)
    if rest and round is None and not sign:
        raise InvalidRequest(
            f"usd({dollars!r}): needs more than {_USD_DECIMALS} decimals, and a microcent is 0.00000001; "
            f'write usd(…, round="up") to charge the next one'
        )
    whole += bool(rest)
    return _amount("usd", -whole if sign else whole, UnitEnum.USD_MICROCENTS, shown=dollars)


def _divide(unscaled: int, places: int) -> tuple[int, int]:
    """Return (quotient, remainder) by 10**places without building a needlessly huge divisor."""
    if places > len(str(unscaled)):
        return 0, unscaled
    power: int = 10**places
    return divmod(unscaled, power)


def usd_microcents(count: int) -> Amount:
    """Return an amount in microcents of a US dollar (10**8 are one dollar), 0 to 2**63-1.

    Example:
        ```python
        from cycles import usd, usd_microcents

        assert usd_microcents(5_000_000) == usd("0.05")
        ```
    """
    return _amount("usd_microcents", count, UnitEnum.USD_MICROCENTS)


def tokens(count: int) -> Amount:
    """Return an amount in tokens, 0 to 2**63-1.

    Example:
        ```python
        from cycles import tokens

        print(tokens(1_200))  # Amount(1,200 TOKENS)
        ```
    """
    return _amount("tokens", count, UnitEnum.TOKENS)


def credits(count: int) -> Amount:  # noqa: A001 - the protocol's word; nobody misses site.credits
    """Return an amount in credits, 0 to 2**63-1.

    Example:
        ```python
        from cycles import credits

        print(credits(3))  # Amount(3 CREDITS)
        ```
    """
    return _amount("credits", count, UnitEnum.CREDITS)


def risk_points(count: int) -> Amount:
    """Return an amount in risk points, 0 to 2**63-1.

    Example:
        ```python
        from cycles import risk_points

        print(risk_points(7))  # Amount(7 RISK_POINTS)
        ```
    """
    return _amount("risk_points", count, UnitEnum.RISK_POINTS)


def _amount(name: str, count: int, unit: UnitEnum, *, scale: int = 1, shown: object = None) -> Amount:
    shown = count if shown is None else shown
    if type(count) is not int:
        raise InvalidRequest(f"{name}({shown!r}): give a whole number (int), not {type(count).__name__}")
    if count < 0:
        raise InvalidRequest(f"{name}({shown!r}): an amount can't be negative")
    if count * scale > INT64_MAX:
        raise InvalidRequest(f"{name}({shown!r}): larger than {spelled(unit, INT64_MAX)} (int64)")
    return Amount(unit=unit, amount=count * scale)


def check(field: str, amount: object) -> Amount:
    """Return *amount* when it can go over the wire, else raise InvalidRequest naming *field*."""
    if not isinstance(amount, Amount):
        raise InvalidRequest(
            f'{field}={amount!r}: give an amount such as usd("0.05") or tokens(1000), not {type(amount).__name__}'
        )
    if type(amount.amount) is not int or not 0 <= amount.amount <= INT64_MAX:
        raise InvalidRequest(f"{field}: amount {amount.amount!r} is not an integer from 0 to {INT64_MAX}")
    return amount


def spelled(unit: str, count: int) -> str:
    """Return *count* of *unit* as people write it in a sentence: "$0.05", "1,200 tokens", "1 credit"."""
    if unit == UnitEnum.USD_MICROCENTS:
        return describe(Amount(unit=UnitEnum.USD_MICROCENTS, amount=count))
    word = unit.lower().replace("_", " ")
    return f"{count:,} {word.removesuffix('s') if count == 1 else word}"


def describe(amount: Amount) -> str:
    """Return an amount as people read it in a table: "$0.05", "1,200 TOKENS"."""
    return money(amount)
