"""The sync and async faces are twins: same methods, same parameters, same documentation duties."""

from __future__ import annotations

import inspect

import pytest

import cycles

TWINS = [(cycles.Client, cycles.AsyncClient), (cycles.Reservation, cycles.AsyncReservation)]
RENAMED = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def members(kind):
    own = {name: value for base in kind.__mro__[:-1] for name, value in vars(base).items()}
    return {
        name: value
        for name, value in own.items()
        if not name.startswith("_") or name in RENAMED.values() or name in RENAMED
    }


@pytest.mark.parametrize(("sync", "aio"), TWINS)
def test_the_same_names(sync, aio):
    assert {RENAMED.get(name, name) for name in members(sync)} == set(members(aio))


@pytest.mark.parametrize(("sync", "aio"), TWINS)
def test_the_same_parameters_and_all_documented(sync, aio):
    twins = members(aio)
    for name, member in members(sync).items():
        if not inspect.isfunction(member):
            continue
        twin = twins[RENAMED.get(name, name)]
        assert list(inspect.signature(member).parameters) == list(inspect.signature(twin).parameters), name
        if not name.startswith("_"):
            assert member.__doc__, name
            assert twin.__doc__, name
            kinds = [p.kind for p in inspect.signature(member).parameters.values()]
            assert kinds == [p.kind for p in inspect.signature(twin).parameters.values()], name
