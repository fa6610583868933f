"""What an editor shows of the public signatures, and what somebody is told who got one wrong."""

from __future__ import annotations

import inspect
import pydoc
import re
from decimal import Decimal
from typing import Any

import pytest

import cycles
from cycles import usd

ACTION = ("llm.completion", "gpt-4o")
METHODS = {
    "reserve": cycles.ReserveOptions,
    "decide": cycles.DecideOptions,
    "record": cycles.RecordOptions,
    "balances": cycles.BalanceFilters,
    "reservations": cycles.ReservationFilters,
}


@pytest.mark.parametrize("kind", [cycles.Guard, cycles.Limit])
def test_the_signature_of_a_value_names_public_types_only(kind):
    signature = inspect.signature(kind)
    shown = str(signature)
    assert "Callable[...," not in shown, "these have a name"
    assert signature.parameters["action"].annotation == "PerCall[ActionLike]"
    assert signature.parameters["ttl"].annotation == "PerCall[Seconds | None]"
    assert signature.parameters["action"].default is inspect.Parameter.empty
    documented = pydoc.render_doc(kind, renderer=pydoc.plaintext).partition("Methods defined here")[0]
    assert [name for name in signature.parameters if not re.search(rf"\b{name}\b.*: ", documented)] == []


@pytest.mark.parametrize("name", METHODS)
def test_help_of_a_method_names_each_of_its_options(name):
    said = pydoc.render_doc(getattr(cycles.Client, name), renderer=pydoc.plaintext)
    assert f"Unpack[{METHODS[name].__name__}]" in said
    keys = METHODS[name].__required_keys__ | METHODS[name].__optional_keys__
    assert {"tenant", "toolset"} < keys
    assert [key for key in keys if not re.search(rf"^ +(\w+, )*{key}(, \w+)*: ", said, flags=re.MULTILINE)] == []


def test_a_named_union_works_in_a_program_of_ones_own():
    taken: Any = cycles.PerCall[cycles.Cost]
    assert {cycles.Amount, Decimal} < set(taken.__args__)
    assert isinstance(usd("1"), cycles.Cost)
    assert isinstance(ACTION[0], cycles.OveragePolicy)
    assert isinstance(1.5, cycles.Seconds)
    assert not isinstance("1", cycles.Seconds)


def work(prompt: str) -> str:
    return prompt


async def work_async(prompt: str) -> str:
    return prompt


@pytest.mark.parametrize("kind", [cycles.Guard, cycles.Limit])
@pytest.mark.parametrize("function", [work, work_async, staticmethod(work), classmethod(work)])
def test_a_decorator_without_parentheses_says_what_to_write(kind, function):
    with pytest.raises(cycles.InvalidRequest) as caught:
        kind(function)
    assert f"@{kind.__name__} on work" in str(caught.value)
    assert f'@cycles.{kind.__name__}(usd("0.05"), action=("llm.completion", "gpt-4o"))' in str(caught.value)


def test_what_is_no_decorator_without_parentheses_is_pythons_to_say():
    guard: Any = cycles.Guard
    with pytest.raises(TypeError, match="action"):
        guard(usd("0.05"))
    with pytest.raises(TypeError, match="actoin"):
        guard(usd("0.05"), actoin=ACTION)


@pytest.mark.parametrize("kind", [cycles.Guard, cycles.Limit])
@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("action", "llm.completion", r"give a \(kind, name\) pair"),
        ("action", ("llm.completion",), r"give a \(kind, name\) pair"),
        ("action", ["llm.completion", "gpt-4o"], r"give a \(kind, name\) pair"),
        ("action", None, r"give a \(kind, name\) pair"),
        ("action", ("llm.completion", None), "give a text"),
        ("own", "yes", "give True or False"),
        ("raise_on_unsettled", 1, "give True or False"),
        ("client", "http://localhost", "give a cycles.Client"),
    ],
)
def test_a_wrong_shape_is_refused_where_it_is_written(kind, field, value, remedy):
    with pytest.raises(cycles.InvalidRequest, match=rf"^{field}.*: {remedy}"):
        kind(usd("0.05"), **{"action": ACTION, field: value})


@pytest.mark.parametrize("kind", [cycles.Guard, cycles.Limit])
@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("ttl", "60", "give seconds"),
        ("grace_period", "x", "give seconds"),
        ("wait", None, "give seconds"),
        ("tenant", 7, "give a text"),
        ("dimensions", "x", "give a mapping"),
        ("metadata", [1], "give a mapping"),
        ("tags", "abc", "give a list"),
        ("idempotency_key", 7, "give a text"),
        ("policy_keys", "x", "give a mapping"),
        ("overage_policy", 3, "choose one of"),
    ],
)
def test_a_wrong_shape_is_refused_before_anything_is_sent(kind, field, value, remedy, authority, client):
    with (
        pytest.raises(cycles.InvalidRequest, match=rf"^{field}.*: {remedy}"),
        kind(usd("0.05"), **{"action": ACTION, field: value}, client=client),
    ):
        pass
    assert not authority.requests


@pytest.mark.parametrize("field", ["own", "raise_on_unsettled", "dry_run", "observe"])
@pytest.mark.parametrize("value", ["no", 0, 1, None], ids=repr)
def test_a_switch_is_on_or_off(field, value, authority, client):
    """A text such as "no" would count as True. What a call makes of a field is looked at when it is used."""
    said = f"^{field}={re.escape(repr(value))}: give True or False$"
    with pytest.raises(cycles.InvalidRequest, match=said):
        client.reserve(usd("0.05"), action=ACTION, **{field: value})
    for kind in (cycles.Guard, cycles.Limit) if field in {"own", "raise_on_unsettled"} else (cycles.Guard,):
        with pytest.raises(cycles.InvalidRequest, match=said):
            kind(usd("0.05"), **{"action": ACTION, field: value})
        if field != "raise_on_unsettled":
            made = kind(usd("0.05"), **{"action": ACTION, field: lambda found: found}, client=client)(
                lambda found: None
            )
            made(True)
            before = len(authority.requests)
            for _ in range(2):  # 1 is not taken for the True that was good before
                with pytest.raises(cycles.InvalidRequest, match=said):
                    made(value)
            assert len(authority.requests) == before
