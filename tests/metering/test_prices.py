"""Prices of one's own: exact, rounded up once, and clear about what is missing."""

from __future__ import annotations

import decimal
import pickle
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cycles
from cycles import Prices, usd
from cycles._metering.usage import Usage
from cycles._outside.extras import install
from cycles._prices import table as tables
from cycles._prices.rates import Price, Rates

OPUS = {"input": 5, "cache_write": "6.25", "cached_input": "0.5", "output": Decimal(25), "cache_write_1h": 10}
OWN = Prices({"my-opus": OPUS, "my-gpt": {"input": "2.50", "cached_input": "0.25", "output": "10"}})


def test_the_worked_example_of_a_cache_that_is_written():
    """6 input, 159,217 written to the cache for five minutes, 2,745 output."""
    told = {
        "input_tokens": 6,
        "cache_creation_input_tokens": 159_217,
        "cache_creation": {"ephemeral_5m_input_tokens": 159_217, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 2_745,
    }
    assert OWN.cost("anthropic", "my-opus", told) == usd("1.06376125")
    ours = {"input_tokens": 6 + 159_217, "cache_write_tokens": 159_217, "output_tokens": 2_745}
    assert OWN.cost("anthropic", "my-opus", ours) == usd("1.06376125")
    assert OWN.cost_of({"type": "message", "model": "my-opus", "usage": told}) == usd("1.06376125")


def test_the_worked_example_of_a_cache_that_is_read():
    """2,459 input, of which 2,455 cached at a tenth."""
    told = {"prompt_tokens": 2_459, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2_455}}
    assert OWN.cost("openai", "my-gpt", told) == usd("0.00062375")


def test_an_hour_in_the_cache_costs_more_and_without_a_price_of_its_own_as_much():
    told = Usage(input_tokens=100, cache_write_tokens=100, cache_write_1h_tokens=60)
    assert OWN.cost("anthropic", "my-opus", told) == usd(Decimal("0.00085"))
    five = Prices({"m": {"input": 5, "cache_write": "6.25"}})
    assert five.cost("anthropic", "m", told) == usd("0.000625")
    assert Prices({"m": {"input": 5}}).cost("anthropic", "m", told) == usd("0.0005")


def test_a_cost_is_rounded_up_once():
    """A third of a microcent and two thirds are one microcent, not two."""
    thirds = Prices({"m": {"input": "0.003333333333", "output": "0.006666666667"}})
    assert thirds.cost("any", "m", Usage(input_tokens=1, output_tokens=1)).amount == 1
    assert thirds.cost("any", "m", Usage(input_tokens=1)).amount == 1
    assert thirds.cost("any", "m", Usage()).amount == 0
    assert thirds.cost("any", "m", Usage(input_tokens=300)).amount == 100
    assert thirds.cost("any", "m", Usage(input_tokens=301)).amount == 101


def test_no_decimal_context_changes_a_cost():
    with decimal.localcontext(decimal.Context(prec=2)):
        cost = Prices({"m": {"input": "1.23456789"}}).cost("any", "m", Usage(input_tokens=10**9))
    assert cost == usd("1234.56789")


COUNTS = st.integers(0, 10**7)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 10**6), st.integers(0, 12))
def test_a_cost_is_what_fractions_say(plain, read, written, output, price, decimals):
    exact = Decimal(price).scaleb(-decimals)
    prices = Prices({"m": {"input": exact, "cached_input": exact / 2, "cache_write": exact * 3, "output": exact}})
    usage = Usage(
        input_tokens=plain + read + written, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output
    )
    wanted = Fraction(exact) * 100 * (plain + Fraction(read, 2) + 3 * written + output)
    assert prices.cost("any", "m", usage).amount == -(-wanted.numerator // wanted.denominator)


def test_each_token_is_priced_once_in_its_narrowest_kind():
    kinds = {
        "input": 1,
        "cached_input": 10,
        "cache_write": 100,
        "cache_write_1h": 1_000,
        "input_audio": 10_000,
        "cached_audio": 100_000,
        "output": 3,
        "output_audio": 30,
        "output_image": 300,
    }
    usage = Usage(
        input_tokens=1_000,
        cache_read_tokens=200,
        cache_audio_read_tokens=50,
        cache_write_tokens=100,
        cache_write_1h_tokens=40,
        input_audio_tokens=80,
        output_tokens=90,
        output_audio_tokens=20,
        output_image_tokens=30,
    )
    dollars = (
        (1_000 - 200 - 100 - 30) * 1
        + 150 * 10
        + 60 * 100
        + 40 * 1_000
        + 30 * 10_000
        + 50 * 100_000
        + 40 * 3
        + 20 * 30
        + 30 * 300
    )
    assert Prices({"m": kinds}).cost("any", "m", usage) == usd(Decimal(dollars) / 1_000_000)


def test_a_usage_that_can_not_be_is_never_priced_below_its_parts():
    """Some servers tell more cached tokens than input."""
    prices = Prices({"m": {"input": 10, "cached_input": 1}})
    assert prices.cost("any", "m", Usage(input_tokens=5, cache_read_tokens=1_000_000)) == usd(1)


def test_pieces_are_priced_by_the_thousand():
    prices = Prices({"m": {"input": 0, "web_search": 10, "file_search": "2.5", "request": 5}})
    assert prices.cost("any", "m", Usage(web_searches=3, storage_searches=2)) == usd("0.04")


def test_a_price_for_one_provider_comes_before_that_for_all():
    prices = Prices({"m": {"input": 1}, "azure:m": {"input": 2}})
    million = Usage(input_tokens=1_000_000)
    assert prices.cost("openai", "m", million) == usd(1)
    assert prices.cost("azure", "m", million) == usd(2)
    assert prices.knows("azure", "m")


def test_the_version_that_answers_may_have_a_price_and_the_name_that_was_asked_comes_first():
    million = Usage(input_tokens=1_000_000, model="m-2026")
    assert Prices({"m-2026": {"input": 2}}).cost("any", "m", million) == usd(2)
    assert Prices({"m-2026": {"input": 2}, "m": {"input": 3}}).cost("any", "m", million) == usd(3)


def test_what_the_provider_says_that_it_costs_is_charged_unless_there_is_a_price_of_ones_own():
    told = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "cost": 0.123456789}
    assert OWN.cost("openrouter", "whoever/whatever", told) == usd("0.12345679")
    assert OWN.cost("openrouter", "my-gpt", told) == usd("2.5")


def test_a_longer_input_makes_all_of_it_dearer():
    tiered = Rates({"input": Price(Decimal(1), ((200_000, Decimal(2)), (400_000, Decimal(4))))})
    assert tiered.microcents(Usage(input_tokens=200_000)) == 20_000_000
    assert tiered.microcents(Usage(input_tokens=200_001)) == 40_000_200
    assert tiered.microcents(Usage(input_tokens=400_001)) == 160_000_400


def test_a_surcharge_is_of_the_tokens():
    assert (
        Rates({"input": Price(Decimal(1)), "request": Price(Decimal(1))}, 11).microcents(Usage(input_tokens=10))
        == 1_100 + 100_000
    )


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"m": {"input": 0.5}}, "give a str, int or Decimal, not float"),
        ({"m": {"input": True}}, "not bool"),
        ({"m": {"input": "cheap"}}, "no decimal number"),
        ({"m": {"input": "-1"}}, "0 or more"),
        ({"m": {"input": "NaN"}}, "0 or more"),
        ({"m": {"input": "Infinity"}}, "0 or more"),
        ({"m": {"input": "1e400"}}, "0 or more"),
        ({"m": {"input": "1e-400"}}, "20 decimals"),
        ({"m": {"output": "1"}}, "no 'input'"),
        ({"m": {"input": "1", "cached": "1"}}, "'cached'; what can have a price: input, cached_input"),
        ({"m": {}}, "in dollars per million tokens"),
        ({"m": "0.5"}, "in dollars per million tokens"),
    ],
)
def test_a_price_that_is_none_is_refused_with_what_is_allowed(models, said):
    with pytest.raises(cycles.ConfigError, match=said) as refused:
        Prices(models)
    assert "'m'" in str(refused.value)


def test_an_output_without_a_price_is_not_free():
    with pytest.raises(cycles.UnknownPrice):
        Prices({"m": {"input": 1}}).cost("any", "m", Usage(output_tokens=1))


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"input_token": 5},
        {"input_tokens": 5, "outputs": 1},
        {"input_tokens": -1},
        {"input_tokens": 1.5},
        "5",
        None,
        5,
    ],
    ids=str,
)
def test_what_is_no_usage_is_refused(usage):
    with pytest.raises(cycles.InvalidRequest, match="usage"):
        OWN.cost("any", "my-gpt", usage)


@pytest.mark.parametrize("response", ["text", b"", None, object(), 5])
def test_what_is_no_answer_is_refused(response):
    with pytest.raises(cycles.InvalidRequest, match="give an answer"):
        OWN.cost_of(response)


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ({"model": "my-gpt", "choices": []}, "tells no usage"),
        ({"model": "my-gpt", "usage": None}, "tells no usage"),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "names no model"),
    ],
)
def test_an_answer_that_says_too_little_is_refused(response, said):
    with pytest.raises(cycles.InvalidRequest, match=said):
        OWN.cost_of(response)


def test_the_answers_of_each_wire_as_dictionaries():
    million = 1_000_000
    assert OWN.cost_of({"model": "my-gpt", "usage": {"prompt_tokens": million, "completion_tokens": 0}}) == usd("2.5")
    response = {"object": "response", "model": "my-gpt", "usage": {"input_tokens": million, "output_tokens": 0}}
    assert OWN.cost_of(response) == usd("2.5")
    message = {
        "type": "message",
        "model": "my-opus",
        "usage": {"input_tokens": 0, "cache_read_input_tokens": million, "output_tokens": 0},
    }
    assert OWN.cost_of(message) == usd("0.5")
    content = {
        "modelVersion": "my-gpt",
        "usageMetadata": {"promptTokenCount": million, "cachedContentTokenCount": million},
    }
    assert OWN.cost_of(content) == usd("0.25")


def test_a_guard_is_charged_what_its_answer_has_cost():
    @cycles.Guard(estimate=usd("0.05"), action=("llm.completion", "my-gpt"), actual=OWN.cost_of, client=None)
    def ask() -> dict:
        return {"model": "my-gpt", "usage": {"prompt_tokens": 10_000, "completion_tokens": 100}}

    with cycles.Client(cycles.Config(base_url="local:?usd=1", tenant="default", journal_enabled=False)) as client:
        ask_there = cycles.Guard(
            estimate=usd("0.05"), action=("llm.completion", "my-gpt"), actual=OWN.cost_of, client=client
        )(ask.__wrapped__)
        ask_there()
        (budget,) = list(client.balances())
        assert budget.spent == usd("0.026")


def test_prices_show_their_names_and_survive_a_pickle():
    assert repr(OWN) == "Prices('my-gpt', 'my-opus')"
    assert pickle.loads(pickle.dumps(OWN)).cost("any", "my-gpt", Usage(input_tokens=1_000_000)) == usd("2.5")


def test_searches_that_have_no_price_are_not_free():
    searched = Usage(input_tokens=1_000_000, web_searches=2)
    with pytest.raises(cycles.UnknownPrice, match=r"no price of a web_search is known for 'm' of any.*'web_search': "):
        Prices({"m": {"input": 1}}).cost("any", "m", searched)
    assert Prices({"m": {"input": 1, "web_search": 10}}).cost("any", "m", searched) == usd("1.02")
    assert Prices({"m": {"input": 1, "web_search": 0}}).cost("any", "m", searched) == usd(1)
    assert Prices({"m": {"input": 1, "request": 5}}).cost("any", "m", searched) == usd("1.005"), "it searches for that"
    with pytest.raises(cycles.UnknownPrice, match="file_search"):
        Prices({"m": {"input": 1, "request": 5}}).cost("any", "m", Usage(input_tokens=1, storage_searches=1))


# -- without the extra -------------------------------------------------------------------------------------------------
@pytest.fixture
def bare(monkeypatch):
    """genai-prices is not installed."""
    real = tables.import_module

    def missing(name):
        if name.startswith("genai_prices"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="genai_prices")
        return real(name)

    monkeypatch.setattr(tables, "import_module", missing)
    monkeypatch.setattr(tables, "find_spec", lambda _: None)


def test_without_the_extra_and_without_own_prices_there_is_nothing_to_price_with(bare):
    with pytest.raises(cycles.ConfigError, match=rf"{re.escape(install('prices'))}.*cycles\.Prices"):
        Prices()


def test_own_prices_need_no_extra(bare):
    prices = Prices({"m": {"input": 1}})
    prices.load()
    assert prices.cost("any", "m", Usage(input_tokens=1_000_000)) == usd(1)
    assert prices.knows("any", "m")
    assert not prices.knows("openai", "gpt-4o")
    assert prices.context_window("openai", "gpt-4o") is None
    with pytest.raises(cycles.ConfigError, match=re.escape(install("prices"))):
        prices.cost("openai", "gpt-4o", Usage(input_tokens=1))


def test_what_genai_prices_itself_misses_is_said_as_it_is(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr(tables, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="pydantic"):
        tables.Table().load()
