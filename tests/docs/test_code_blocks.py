"""The Python of README and docs/ runs as pasted: each block of README alone, those of a page from its top.

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
from tests.docs.pages import README

URL = "local:?usd=1.00&tokens=100k"
"""The setting with which README runs its first program; the others run under it, too."""


@pytest.fixture(autouse=True)
def _as_a_reader(monkeypatch):
    """Guards without a client spend the dollar that README's command gives them; nothing else is set."""
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


def test_a_guarded_program_stops_at_its_dollar_in_front_of_the_reader(folder, capsys):
    runpy.run_path(str(folder / "readme_2.py"))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 31
    assert said[-2] in README.read_text("utf-8"), "README shows it"
    assert said[-1].startswith("stopped before call 31: asked for $0.05, $0.04 left of $1.00 at tenant:default;")
    shown = " ".join(README.read_text("utf-8").split())
    assert said[-1].partition(", request_id")[0] in shown
    assert URL in shown


def test_what_the_other_programs_of_readme_do(folder):
    assert len([name for name in programs() if name.startswith("readme_")]) == 6
    made = {name: runpy.run_path(str(folder / f"{name}.py")) for name in ("readme_4", "readme_5", "readme_6")}
    assert made["readme_4"]["reservation"].state == "COMMITTED"
    bindings, embedded = made["readme_5"], made["readme_6"]
    assert bindings["reservation"].reservation_id == bindings["answer"].parsed.reservation_id
    assert embedded["reservation"].state == "COMMITTED"


def test_words_of_the_stream_are_charged(folder, capsys):
    runpy.run_path(str(folder / "readme_3.py"))
    assert capsys.readouterr().out.split() == ["one", "two", "three"]
    client = cycles.Client(cycles.Config.from_env())
    (row,) = [row for row in client.balances() if str(row.remaining.unit) == "TOKENS"]
    client.close()
    assert row.spent.amount == 3
