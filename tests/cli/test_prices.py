"""`cycles prices`: what is known about a price, and how old it is.

genai-prices takes a second to import: so these tests are slow, but for the one without it.
"""

from __future__ import annotations

import re
from datetime import date

import pytest

from cycles._outside.extras import install
from cycles._prices import table as tables
from tests.cli.runner import Cli

CLI = Cli({})


@pytest.fixture
def table():
    pytest.importorskip("genai_prices")


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_a_price_in_dollars_per_million_tokens_and_the_age_of_the_table():
    headings, row, age = CLI("prices", "claude-opus-4-5", "--provider", "anthropic").output.splitlines()
    names = ["PROVIDER", "MODEL", "INPUT", "CACHED INPUT", "CACHE WRITE", "CACHE WRITE 1H", "OUTPUT", "NOTES"]
    assert re.split(r"  +", headings) == names
    shown = ["anthropic", "claude-opus-4-5", "$5.00", "$0.50", "$6.25", "$10.00", "$25.00", "$10.00 for 1,000 searches"]
    assert re.split(r"  +", row) == shown
    assert re.search(r"genai-prices \S+; prices were last checked on \d{4}-\d\d-\d\d$", age)


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_every_provider_that_has_the_model_and_its_tiers():
    said = CLI("prices", "gemini-2.5-pro").output
    assert re.search(r"^google +gemini-2\.5-pro .*dearer above 200,000 input tokens$", said, re.MULTILINE)
    providers = {line.split()[0] for line in CLI("prices", "claude-opus-4-5").output.splitlines()[1:-1]}
    assert {"anthropic", "google"} <= providers


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_prices_for_programs():
    told = CLI.json("prices", "gemini-2.5-pro", "--provider", "google")
    (entry,) = told["prices"]
    assert entry["prices"]["input"] == {"price": "1.25", "above": [{"input_tokens": 200_000, "price": "2.5"}]}
    assert date.fromisoformat(told["table"]["checked"]) <= date.today()  # noqa: DTZ011 - the table's days are UTC's
    assert told["table"]["age_days"] >= 0


@pytest.mark.slow
@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("arguments", [["gpt-of-tomorrow"], ["gpt-4o", "--provider", "nobody"], ["whisper-1"]])
def test_an_unknown_model_is_a_no_with_the_remedy(arguments):
    said = CLI("prices", *arguments, code=1).output
    assert f"no price is known for {arguments[0]!r}" in said
    assert f'cycles.Prices({{"{arguments[0]}": {{"input": "0.50", "output": "1.50"}}}})' in said


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="genai_prices")

    monkeypatch.setattr(tables, "import_module", missing)
    said = CLI("prices", "gpt-4o", code=2).output
    assert install("prices") in said
