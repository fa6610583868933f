"""The table of genai-prices: what it has is charged as it says, and what it does not have is said.

Its import takes a second: so these tests are slow.
"""

from __future__ import annotations

import decimal
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from attrs import evolve

import cycles
from cycles import Prices, usd
from cycles._metering.usage import Usage
from cycles._prices.table import Table, _applies
from tests.metering.metered import CHAT, Metered, completion, told
from tests.support.authorities import SCOPE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def data_snapshot():
    """genai-prices' own table; imported here, so that nobody imports it who leaves these tests out."""
    return pytest.importorskip("genai_prices.data_snapshot")


def test_the_worked_examples_at_the_prices_of_the_table():
    prices = Prices()
    told = {"input_tokens": 6, "cache_creation_input_tokens": 159_217, "output_tokens": 2_745}
    assert prices.cost("anthropic", "claude-opus-4-5", told) == usd("1.06376125")
    cached = {"prompt_tokens": 2_459, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2_455}}
    assert prices.cost("openai", "gpt-5", cached) == usd(Decimal(4 * 125 + 2_455 * 125 // 10 + 1) / 10**8, round="up")


USAGES = [
    Usage(input_tokens=1_234, output_tokens=567),
    Usage(
        input_tokens=1_000,
        cache_read_tokens=300,
        cache_audio_read_tokens=20,
        cache_image_read_tokens=10,
        cache_write_tokens=200,
        cache_write_1h_tokens=50,
        input_audio_tokens=60,
        input_image_tokens=40,
        input_video_tokens=30,
        output_tokens=500,
        output_reasoning_tokens=100,
        output_audio_tokens=50,
        output_image_tokens=40,
        output_video_tokens=30,
        web_searches=3,
        storage_searches=2,
    ),
    Usage(input_tokens=1_000_001, cache_read_tokens=400_000, output_tokens=10),
]


def _hour_is_ours(model, now):
    """Whether the price of an hour in the cache is none of the table's."""
    prices = model.get_prices(now)
    return "claude" in model.id and prices.cache_write_mtok is not None and prices.cache_write_1h_mtok is None


def test_every_model_costs_what_genai_prices_says(data_snapshot):
    table, compared, now = Table(), 0, datetime.now(tz=UTC)
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            entry = table.find(provider.id, model.id)
            if entry is None or entry.model != model.id or not (entry.rates.bills_input and entry.rates.bills_output):
                continue
            for usage in USAGES:
                if usage.cache_write_1h_tokens and _hour_is_ours(model, now):
                    continue
                with decimal.localcontext(decimal.Context(prec=60)):
                    theirs = model.calc_price(usage, provider, genai_request_timestamp=now).total_price * 10**8
                    wanted = theirs.to_integral_value(rounding=decimal.ROUND_CEILING)
                assert entry.rates.microcents(usage) == wanted, (provider.id, model.id, usage)
            compared += 1
    assert compared > 1_000


def test_a_dearer_tier_costs_what_the_table_says():
    prices, million = Prices(), 1_000_000
    assert prices.cost("openai", "gpt-4o", Usage(input_tokens=million)) == usd("2.5")
    for tier, dollars in (("default", "2.5"), ("auto", "2.5"), ("priority", "4.25")):
        usage = Usage(input_tokens=million, terms=(("service_tier", tier),))
        assert prices.cost("openai", "gpt-4o", usage) == usd(dollars)
    fast = Usage(input_tokens=million, terms=(("speed", "fast"),))
    assert prices.cost("anthropic", "claude-opus-4-8", fast) == usd(10)


def test_a_tier_that_nobody_has_heard_of_is_not_priced_as_the_usual_one():
    usage = Usage(input_tokens=1, terms=(("service_tier", "ultrafast"),))
    with pytest.raises(cycles.UnknownPrice, match="service_tier ultrafast"):
        Prices().cost("openai", "gpt-4o", usage)


@pytest.mark.parametrize(
    ("provider", "model", "term", "said"),
    [
        ("openai", "gpt-5-nano", ("service_tier", "priority"), "service_tier priority"),
        ("azure", "gpt-6-sol", ("service_tier", "priority"), "service_tier priority"),
        ("google", "gemini-3.5-flash", ("service_tier", "priority"), "service_tier priority"),
        ("google", "gemini-3.5-flash", ("service_tier", "turbo"), "service_tier turbo"),
        ("groq", "llama-3.3-70b-versatile", ("service_tier", "priority"), "service_tier priority"),
        ("anthropic", "claude-opus-4-5", ("speed", "fast"), "speed fast"),
    ],
)
def test_a_dearer_tier_without_a_price_of_its_own_is_not_priced_as_the_usual_one(provider, model, term, said):
    """Azure's is at prices of its own, too, although the table takes its models' prices from OpenAI."""
    prices, usual = Prices(), Usage(input_tokens=1_000_000)
    assert prices.cost(provider, model, usual).amount > 0
    with pytest.raises(cycles.UnknownPrice, match=said):
        prices.cost(provider, model, evolve(usual, terms=(term,)))
    own = Prices({model: {"input": 3, "output": 9}})
    assert own.cost(provider, model, evolve(usual, terms=(term,))) == usd(3)


def test_a_tier_that_is_not_dearer_needs_no_price_of_its_own():
    usual = Usage(input_tokens=1_000_000)
    for tier in ("standard", "flex"):
        used = evolve(usual, terms=(("service_tier", tier),))
        assert Prices().cost("google", "gemini-3.5-flash", used) == Prices().cost("google", "gemini-3.5-flash", usual)
    plain = evolve(usual, terms=(("inference_geo", "global"), ("speed", "standard")))
    assert Prices().cost("anthropic", "claude-opus-4-5", plain) == usd(5)


def test_a_price_that_begins_tomorrow_is_none():
    """Nor is one of a tier that is priced only together with something else."""
    variant = SimpleNamespace(
        when={"service_tier": "priority"}, constraint=SimpleNamespace(active=lambda now: False), prices=None
    )
    assert not _applies(variant, {"service_tier": "priority"}, datetime.now(tz=UTC))
    variant.constraint = None
    assert _applies(variant, {"service_tier": "priority"}, datetime.now(tz=UTC))
    variant.when = {"service_tier": "priority", "search_type": "fast"}
    assert not _applies(variant, {"service_tier": "priority"}, datetime.now(tz=UTC))


def test_an_hour_in_the_cache_costs_twice_the_input_where_the_table_does_not_say():
    used = Usage(input_tokens=1_000_000, cache_write_tokens=1_000_000, cache_write_1h_tokens=1_000_000)
    entry = Table().find("google", "claude-4-opus")
    assert entry is not None
    assert entry.rates.microcents(used) == 2 * entry.rates.microcents(Usage(input_tokens=1_000_000))
    assert Prices().cost("anthropic", "claude-opus-4-5", used) == usd(10)


@pytest.mark.parametrize("region", ["eu", "us", "europe-west1"])
def test_a_regional_endpoint_costs_a_tenth_more(region):
    used = Usage(input_tokens=1_000_000, terms=(("inference_geo", region),))
    for provider, model in (("openai", "gpt-6-sol"), ("google", "gemini-3.5-flash")):
        usual = Prices().cost(provider, model, Usage(input_tokens=1_000_000))
        assert Prices().cost(provider, model, used).amount * 10 == usual.amount * 11


def test_inference_in_the_us_alone_costs_a_tenth_more():
    usage = Usage(input_tokens=1_000_000, web_searches=1_000, terms=(("inference_geo", "us"),))
    assert Prices().cost("anthropic", "claude-opus-4-6", usage) == usd("15.5")


def test_an_unknown_model_is_said_with_how_to_give_its_price():
    prices = Prices()
    with pytest.raises(cycles.UnknownPrice) as unknown:
        prices.cost("openai", "gpt-of-tomorrow-1", Usage(input_tokens=1))
    said = str(unknown.value)
    assert 'cycles.Prices({\'gpt-of-tomorrow-1\': {"input": "0.50", "output": "1.50"}})' in said
    assert "`cycles prices gpt-of-tomorrow-1`" in said
    assert not prices.knows("openai", "gpt-of-tomorrow-1")
    assert not prices.knows("a-provider-of-tomorrow", "gpt-4o")
    with pytest.raises(cycles.UnknownPrice):
        prices.cost("a-provider-of-tomorrow", "gpt-4o", Usage(input_tokens=1))


def test_models_that_are_not_billed_by_tokens_have_no_price_here():
    with pytest.raises(cycles.UnknownPrice):
        Prices().cost("openai", "whisper-1", Usage(input_tokens=10))
    assert not Prices().knows("openai", "whisper-1")


def test_the_version_that_answered_is_priced_and_an_unknown_version_as_what_was_asked():
    prices = Prices()
    old = Usage(input_tokens=1_000_000, model="gpt-4o-2024-05-13")
    assert prices.cost("openai", "gpt-4o", old) == usd(5)
    assert prices.cost("openai", "gpt-4o", Usage(input_tokens=1_000_000, model="a-version-of-tomorrow")) == usd("2.5")
    assert prices.cost("azure", "my-deployment", Usage(input_tokens=1_000_000, model="gpt-4o-2024-08-06")) == usd("2.5")


def test_mistrals_regions_cost_a_tenth_more():
    prices = Prices()
    worldwide = prices.cost("mistral", "mistral-large-2512", Usage(input_tokens=1_000_000, output_tokens=1_000_000))
    assert worldwide == usd(2)
    for region in ("eu", "us"):
        used = Usage(input_tokens=1_000_000, output_tokens=1_000_000, terms=(("inference_geo", region),))
        assert prices.cost("mistral", "mistral-large-2512", used) == usd("2.2")


@pytest.mark.parametrize("tier", ["auto", "standard", "standard_only"])
def test_mistrals_standard_tier_has_the_price_of_the_table(tier):
    used = Usage(input_tokens=1_000_000, terms=(("service_tier", tier),))
    assert Prices().cost("mistral", "mistral-large-2512", used) == usd("0.5")


def test_a_tier_that_each_customer_of_mistral_agrees_upon_has_no_price():
    """Its price is not in any table; the standard one may be too low."""
    used = Usage(input_tokens=1_000_000, terms=(("service_tier", "priority"),))
    with pytest.raises(cycles.UnknownPrice, match="service_tier priority"):
        Prices().cost("mistral", "mistral-large-2512", used)
    own = Prices({"mistral-large-2512": {"input": 1, "output": 2}})
    assert own.cost("mistral", "mistral-large-2512", used) == usd(1)


def test_own_prices_come_before_the_table():
    prices = Prices({"gpt-4o": {"input": 1, "output": 1}})
    assert prices.cost("openai", "gpt-4o", Usage(input_tokens=1_000_000, model="gpt-4o-2024-08-06")) == usd(1)
    assert prices.cost("openai", "gpt-4o-mini", Usage(input_tokens=1_000_000)) == usd("0.15")


def test_context_windows():
    assert Prices().context_window("openai", "gpt-4o") == 128_000
    assert Prices().context_window("openai", "gpt-of-tomorrow-1") is None


def test_an_answer_as_a_dictionary_is_of_the_provider_that_its_model_says():
    prices, told = Prices(), {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    assert prices.cost_of({"model": "gpt-4o", "usage": told}) == usd("2.5")
    message = {"type": "message", "usage": {"input_tokens": 10**6, "output_tokens": 0}}
    assert prices.cost_of({"model": "claude-opus-4-5", **message}) == usd(5)
    gemini = {"modelVersion": "gemini-2.5-flash", "usageMetadata": {"promptTokenCount": 10**6}}
    assert prices.cost_of(gemini) == usd("0.3")
    assert prices.cost_of({"model": "llama-3.3-70b-versatile", "usage": told}, provider="groq") == usd("0.59")


def test_the_table_may_be_renewed_while_a_program_runs(data_snapshot):
    prices, million = Prices(), Usage(input_tokens=1_000_000)
    before = data_snapshot.get_snapshot()
    assert prices.cost("openai", "gpt-4o", million) == usd("2.5")
    try:
        renewed = data_snapshot.DataSnapshot(providers=before.providers[:1], from_auto_update=True)
        data_snapshot.set_custom_snapshot(renewed)
        with pytest.raises(cycles.UnknownPrice):
            prices.cost("openai", "gpt-4o", million)
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert prices.cost("openai", "gpt-4o", million) == usd("2.5")


def test_another_thread_may_forget_the_table_at_any_moment(monkeypatch):
    """Each minute one thread clears what is known, and others may just be reading it.

    reader: sees that the price is known
    other:  clears
    reader: takes the price
    """

    class Cleared(dict):
        def __contains__(self, key):
            found = super().__contains__(key)
            self.clear()
            return found

        def get(self, key, default=None):
            found = super().get(key, default)
            self.clear()
            return found

    prices = Prices()
    monkeypatch.setattr(prices._table, "_known", Cleared())
    for _ in range(2):
        assert prices.cost("openai", "gpt-4o", Usage(input_tokens=1_000_000)) == usd("2.5")


def test_how_old_the_table_is():
    table = Table()
    assert table.checked is not None
    assert date(2026, 10, 1) <= table.checked <= datetime.now(tz=UTC).date()
    assert table.version == version("genai-prices")


def test_what_a_regional_endpoint_answers_is_charged_a_tenth_more(side, authority):
    """The region is in the host alone; it is kept where caps change what is sent."""
    authority.budget(SCOPE, usd(100), caps={"max_tokens": 200})
    metered = Metered(side, authority)
    client = metered.client(unit="USD_MICROCENTS")
    asked = {**CHAT, "model": "mistral-large-2512"}
    spent = []
    for host in ("api.mistral.ai", "api.eu.mistral.ai"):
        metered.answers = [completion(told(1_000_000, 0))]
        metered.post(client, asked, f"https://{host}/v1/chat/completions")
        assert metered.body["max_tokens"] == 200
        spent.append(authority.balance(SCOPE, "USD_MICROCENTS").spent)
    assert spent == [50_000_000, 105_000_000]
