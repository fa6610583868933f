"""Exact amounts."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cycles
from cycles import credits, risk_points, tokens, usd, usd_microcents
from cycles.amounts import INT64_MAX, describe, spelled


@pytest.mark.parametrize(
    ("dollars", "microcents"),
    [
        ("0.05", 5_000_000),
        ("1", 10**8),
        (3, 3 * 10**8),
        (Decimal("1.25"), 125_000_000),
        ("0.00000001", 1),
        ("1.000000000000", 10**8),
        ("1e2", 10**10),
        (Decimal("1E-8"), 1),
        ("0e999999999", 0),
        ("-0", 0),
        ("92233720368.54775807", INT64_MAX),
    ],
)
def test_usd_is_exact(dollars, microcents):
    assert usd(dollars) == usd_microcents(microcents)


@pytest.mark.parametrize(
    ("dollars", "says"),
    [
        (0.05, r'float; write usd\("0.05"\)'),
        (True, "bool$"),
        (None, "NoneType$"),
        ("0.000000001", "8 decimals"),
        ("1e-999999999", "8 decimals"),
        ("-0.01", "negative"),
        (-1, "negative"),
        ("nan", "finite"),
        (Decimal("Infinity"), "finite"),
        ("five", "not a decimal"),
        ("", "not a decimal"),
        ("92233720368.54775808", "int64"),
        ("1e999999999", "int64"),
        (10**30, "int64"),
    ],
)
def test_usd_refuses_and_says_why(dollars, says):
    with pytest.raises(cycles.InvalidRequest, match=says):
        usd(dollars)


@pytest.mark.parametrize(
    ("dollars", "microcents"),
    [
        ("0.000000001", 1),
        ("1e-999999999", 1),
        ("0.05", 5_000_000),
        (Decimal("0.050000001"), 5_000_001),
        ("0", 0),
        (3, 3 * 10**8),
        ("92233720368.54775807", INT64_MAX),
    ],
)
def test_usd_rounds_up_when_told_to(dollars, microcents):
    assert usd(dollars, round="up") == usd_microcents(microcents)


@pytest.mark.parametrize(
    ("dollars", "says"),
    [
        (0.05, "float"),
        ("-0.000000001", "negative"),
        ("nan", "finite"),
        ("92233720368.547758070001", "int64"),
        ("1e999999999", "int64"),
    ],
)
def test_rounding_up_makes_no_amount_of_what_is_none(dollars, says):
    with pytest.raises(cycles.InvalidRequest, match=says):
        usd(dollars, round="up")


def test_there_is_no_rounding_down():
    with pytest.raises(cycles.InvalidRequest, match="round='down'"):
        usd("0.05", round="down")


@given(st.integers(0, INT64_MAX))
def test_every_amount_survives_its_decimal_form(microcents):
    exact = Decimal(microcents).scaleb(-8)
    with localcontext(prec=3):  # the caller's context must not round
        assert usd(exact).amount == microcents
        assert usd(str(exact)).amount == microcents


@pytest.mark.parametrize("unit", [tokens, credits, risk_points, usd_microcents])
def test_counts_are_whole_and_int64(unit):
    assert unit(INT64_MAX).amount == INT64_MAX
    for bad in (-1, INT64_MAX + 1, 1.0, "1", True):
        with pytest.raises(cycles.InvalidRequest):
            unit(bad)


def test_how_amounts_are_read():
    assert describe(usd("0.05")) == "$0.05"
    assert describe(usd("1234.5")) == "$1,234.50"
    assert describe(usd_microcents(1)) == "$0.00000001"
    assert describe(tokens(1200)) == "1,200 TOKENS"
    assert [spelled("TOKENS", count) for count in (1200, 1, 0)] == ["1,200 tokens", "1 token", "0 tokens"]
    assert (spelled("RISK_POINTS", 2), spelled("USD_MICROCENTS", -5_000_000)) == ("2 risk points", "-$0.05")
    assert describe(cycles.Amount(unit="USD_MICROCENTS", amount=-150_000_000)) == "-$1.50"
