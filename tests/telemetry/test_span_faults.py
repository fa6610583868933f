"""Nothing that fails in tracing fails a section; and without OpenTelemetry there is next to nothing to do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import types

import pytest
from opentelemetry import trace as otel

import cycles
from cycles import usd

from .readings import current_id

pytestmark = pytest.mark.usefixtures("quiet")


class Broken:
    def __getattr__(self, name):
        raise RuntimeError(f"{name} is broken")


def test_a_broken_span_does_no_harm(side, guard, monkeypatch, figures):
    tracer = types.SimpleNamespace(start_span=lambda name, **options: Broken())
    monkeypatch.setattr(otel, "get_tracer", lambda *args: tracer)
    assert side.call(guard()(side.function(lambda: 7))) == 7
    assert figures() == (10, 0, 90)
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("5"))(side.function(lambda: 7)))


def test_a_broken_context_does_no_harm(side, guard, spans, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.context", Broken())
    assert side.call(guard()(side.function(lambda: 7))) == 7
    assert spans.only().attributes["cycles.settlement"] == "COMMITTED"


@pytest.mark.parametrize("half", [types.ModuleType("half"), object()])
def test_a_half_imported_opentelemetry_does_no_harm(side, guard, monkeypatch, half):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", half)
    assert side.call(guard()(side.function(lambda: 7))) == 7


def test_without_a_provider_there_is_nothing_to_see(side, guard):
    assert side.call(guard()(side.function(current_id))) == "0" * 16


def in_a_process_of_its_own(code):
    prelude = """
        import sys, cycles
        from cycles._telemetry import spans
        from cycles.local import LocalAuthority
        authority = LocalAuthority()
        authority.budget("tenant:acme", cycles.usd("1"))
        client = authority.client(tenant="acme")
        guard = cycles.Guard(cycles.usd("0.1"), action=("k", "n"), client=client)
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_without_opentelemetry_all_of_it_is_one_look_into_a_dictionary():
    """Counted call by call: what the hooks do on the way of one guarded call."""
    seen = in_a_process_of_its_own("""
        from cycles._telemetry import metrics
        ours, inside = {spans.__file__, metrics.__file__}, []

        def profile(frame, event, arg):
            if frame.f_code.co_filename in ours and event in ("call", "c_call"):
                inside.append(frame.f_code.co_name if event == "call" else arg.__qualname__)

        run = guard(lambda: None)
        run()
        sys.setprofile(profile)
        run()
        sys.setprofile(None)
        print(inside)
    """)
    assert seen == str(["are_watched", *["request", "dict.get"] * 2])  # events are looked for where they come from
