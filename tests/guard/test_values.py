"""A Guard is a value: it is copied and pickled, and so is what it decorates; clients and reservations are not."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import subprocess
import sys
from unittest.mock import AsyncMock

import cloudpickle
import pytest

import cycles
from cycles import usd, usd_microcents
from cycles.local.registry import standing_in
from cycles_api.models.amount import Amount
from tests.support.authorities import ACTION, UNIT

LATER = cycles.Guard(usd_microcents(5), action=ACTION)


@LATER
def module_level(text):
    return text


@pytest.fixture
def default(authority):
    """Guards without a client spend at the test's authority."""
    with standing_in(authority):
        cycles.configure(cycles.Config("local:", tenant="acme"))
        yield lambda: authority.balance("tenant:acme", UNIT).spent
        cycles.configure(None)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "cloudpickle": lambda value: cloudpickle.loads(cloudpickle.dumps(value)),
}


@pytest.mark.parametrize("made", COPIES)
def test_a_copy_works_and_is_not_entered_when_the_original_is(default, made):
    guard = cycles.Guard(usd_microcents(5), action=ACTION, tags=["a"], metadata={"a": 1}, unreported="release")
    with guard as outer:
        copied = COPIES[made](guard)
        assert repr(copied) == repr(guard)
        with copied as inner:
            inner.report(actual=usd_microcents(2))
        outer.report(actual=usd_microcents(3))
    assert default() == 5
    with COPIES[made](guard):
        pass
    assert default() == 5  # unreported="release"


def test_a_deep_copy_shares_nothing_that_can_change():
    tags = ["a"]
    guard = cycles.Guard(usd_microcents(5), action=ACTION, tags=tags)
    copied = copy.deepcopy({"guard": guard, "again": guard})
    tags.append("b")
    assert copied["guard"] is copied["again"]
    assert copied["guard"]._fields.of((), {}).options["tags"] == ["a"]


def test_a_guard_with_a_client_is_copied_and_not_pickled(authority):
    client = authority.client(tenant="acme")
    guard = cycles.Guard(usd_microcents(5), action=ACTION, client=client)
    for copied in (copy.copy(guard), copy.deepcopy(guard)):
        with copied:
            pass
    assert authority.balance("tenant:acme", UNIT).spent == 10
    for dumps in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(TypeError, match=r"cycles\.configure"):
            dumps(guard)
    with pytest.raises(TypeError, match=r"cycles\.configure"):
        cloudpickle.dumps(guard(lambda: None))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_clients_and_reservations_belong_to_their_process(authority, copied):
    client = authority.client(tenant="acme")
    for owned in (client, authority.async_client(tenant="acme")):
        with pytest.raises(TypeError, match="make one in each process"):
            copied(owned)
    reservation = client.reserve(usd_microcents(5), action=ACTION)
    with pytest.raises(TypeError, match="settled where it was made"):
        copied(reservation)
    reservation.release()


@pytest.mark.parametrize("amount", [usd("1.00"), cycles.tokens(3), Amount(unit="OTHER", amount=4)])
@pytest.mark.parametrize("made", COPIES)
def test_amounts_are_values(amount, made):
    assert COPIES[made](amount) == amount


@pytest.mark.parametrize("made", ["copy", "deepcopy", "pickle"])
def test_a_decorated_function_of_a_module_is_pickled_by_its_name(made):
    assert COPIES[made](module_level) is module_level


async def _coroutine(x):
    return x


async def _async_generator(x):
    yield x


def _generator(x):
    yield x


def _function(x):
    return x


@pytest.mark.parametrize("function", [_function, _coroutine, _generator, _async_generator])
def test_a_decorated_closure_is_pickled_by_value(default, function):
    guarded = cloudpickle.loads(cloudpickle.dumps(cycles.Guard(usd_microcents(5), action=ACTION)(function)))
    assert guarded is not function
    assert inspect.signature(guarded) == inspect.signature(function)
    for kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert kind(guarded) == kind(function)

    async def called():
        result = guarded(1)
        if inspect.isasyncgen(result):
            return [item async for item in result]
        return await result if inspect.iscoroutine(result) else list(result) if inspect.isgenerator(result) else result

    assert asyncio.run(called()) in (1, [1])
    assert default() == 5


WORKER = """
import os, sys, cloudpickle, cycles
guarded = cloudpickle.loads(sys.stdin.buffer.read())
print(guarded("sent"))
"""


@pytest.mark.slow
def test_a_worker_spends_by_its_own_configuration(tmp_path):
    """As Ray, Dask, joblib and PySpark do: the function is sent, the authority is the worker's."""
    factor = 2

    @cycles.Guard(cycles.tokens(5), action=ACTION, actual=lambda result: cycles.tokens(len(result)))
    def ask(text):
        return text * factor

    url = f"local:{tmp_path / 'ledger.db'}?tokens=100"
    worker = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=cloudpickle.dumps(ask),
        env={"CYCLES_BASE_URL": url, "CYCLES_TENANT": "acme", "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert worker.stdout.strip() == b"sentsent"
    with cycles.Client(cycles.Config(url, tenant="acme")) as client:
        assert next(iter(client.balances())).spent.amount == 8


# -- the shapes that decorators come in --------------------------------------------------------------------------------
class Methods:
    """Methods in every order of decorators."""

    def base(self, a, b):
        return a + b

    above = functools.partialmethod(LATER(base), 1)
    below = LATER(functools.partialmethod(base, 1))
    inner = LATER(functools.singledispatch(lambda value: "other"))


def test_partial_methods_and_dispatching_functions(default):
    assert (Methods().above(2), Methods().below(2)) == (3, 3)
    Methods.inner.register(int, lambda value: "int")
    assert (Methods.inner(1), Methods.inner("a")) == ("int", "other")
    assert default() == 20


def test_a_cached_function_below_keeps_its_methods(default):
    cached = LATER(functools.lru_cache(lambda value: value))
    assert (cached(1), cached(1)) == (1, 1)
    assert cached.cache_info().hits == 1
    cached.cache_clear()
    assert cached.cache_info().hits == 0
    assert default() == 10  # each call is a section


def test_a_mock_of_an_async_function_is_one(default):
    assert inspect.iscoroutinefunction(LATER(AsyncMock()))


def test_what_is_no_function_is_refused():
    for value in (property(lambda self: 1), functools.singledispatchmethod(lambda self: 1)):
        with pytest.raises(cycles.InvalidRequest, match="put it below a property"):
            LATER(value)
