"""The Python of README and docs/ runs as pasted: README's block alone, those of a page from its top.

`nox -s types` checks the same programs' types. tests/integrations/test_frameworks_page.py runs docs/frameworks.md.
"""

from __future__ import annotations

import os
import runpy
import signal

import pytest

import cycles
from cycles.local.registry import forget_shared
from tests.docs.blocks import programs, write
from tests.docs.pages import README, ROOT, links_of

URL = "local:?usd=1.00&tokens=100k"
"""The setting with which README runs its program, and a budget of tokens for those that count them."""


@pytest.fixture(autouse=True)
def _as_a_reader(monkeypatch):
    """Guards without a client spend the dollar that README's command gives; nothing else is set."""
    for name in [name for name in os.environ if name.startswith("CYCLES_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CYCLES_BASE_URL", URL)
    cycles.configure(None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    cycles.configure(None)
    forget_shared()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All programs, as files."""
    folder = tmp_path_factory.mktemp("blocks")
    write(folder, programs())
    return folder


SDK = "readme_1"
"""Calls a model through an SDK: tests/metering/sdk/test_readme.py runs it, on an endpoint of its own."""


@pytest.mark.parametrize("name", [name for name in programs() if name != SDK])
def test_a_program_of_the_pages_runs(name, folder):
    runpy.run_path(str(folder / f"{name}.py"))


def test_the_agent_of_the_tutorial_stops_at_its_dollar_in_front_of_the_reader(folder, capsys):
    runpy.run_path(str(folder / "docs_tutorial.py"), run_name="__main__")
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("stopped after 30 answers: asked for $0.05, $0.04 left of $1.00 at tenant:default;")
    shown = " ".join((ROOT / "docs" / "tutorial.md").read_text("utf-8").split())
    assert said.partition(", request_id")[0] in shown


def test_readme_is_one_screen_with_one_program():
    text = README.read_text("utf-8")
    assert len(text.splitlines()) < 80
    assert [name for name in programs() if name.startswith("readme_")] == [SDK]
    assert URL.partition("&")[0] in text
    assert len(links_of(text.partition("## Where to go")[2])) < 9


def test_the_bindings_alone_send_a_request_twice_under_one_key(folder):
    made = runpy.run_path(str(folder / "docs_bindings.py"))
    assert made["reservation"].reservation_id == made["answer"].parsed.reservation_id


def test_words_of_the_stream_are_charged(folder, capsys):
    runpy.run_path(str(folder / "docs_guard.py"))
    assert "one\ntwo\nthree\n" in capsys.readouterr().out
    client = cycles.Client(cycles.Config.from_env())
    (row,) = [row for row in client.balances() if str(row.remaining.unit) == "TOKENS"]
    client.close()
    assert row.spent.amount == 3
