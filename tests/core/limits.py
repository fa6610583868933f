"""A limit in a world of the test's own: its account, its sections, and what their flows ask for."""

from __future__ import annotations

from contextlib import nullcontext

from cycles._core import limit_flows, section_flows
from cycles._core.limits import Account
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles.amounts import tokens

from .world import granted

LEVELS = {"tenant": "acme"}
RUN = terms(tokens(10), action=("agent.run", "r"), levels=LEVELS)


def wanted(amount, name="t", **options):
    return terms(tokens(amount), action=("tool", name), levels=LEVELS, **options)


def account(amount=10, piece=None, **options):
    return Account(tokens(amount), lock=nullcontext(), name="limit", piece=piece, **options)


def reserve(amount):
    return section_flows.begin(RUN.of(amount), NO_RETRY)


def begun(world, amount=10, piece=None, **options):
    """Return a limit's account, after the authority has granted its first hold, "res-1"."""
    made = account(amount, piece, **options)
    world.answers = [granted()]
    world.run(limit_flows.begin(made, reserve))
    return made


def admit(made, amount, *, wait=0.0, policy=NO_RETRY, name="t"):
    """Return the flow of a section inside; once the limit has ended, it reserves by itself."""
    asked = wanted(amount, name)
    return limit_flows.admit(made, asked, policy, reserve, lambda: section_flows.begin(asked, NO_RETRY), wait=wait)
