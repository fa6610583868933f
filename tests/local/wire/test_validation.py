"""Bodies at random: the checks by hand agree with the document, and nothing at all brings the authority out of step."""

from __future__ import annotations

import copy
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.ledger.values import Refusal
from cycles.local.wire import validation
from cycles.local.wire.messages import Request
from tests.support import document

from .operations import NOW, REQUESTS, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_DEADLINE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)

INTEGERS = st.sampled_from([-1, 0, 1, 999, 1000, 60_000, 60_001, 86_400_000, 86_400_001, 2**53 + 1, 2**63 - 1, 2**63])
LENGTHS = st.sampled_from([0, 1, 64, 65, 128, 129, 256, 257]).map(lambda length: "x" * length)
WORDS = st.sampled_from(["TOKENS", "CREDITS", "tokens", "REJECT", "ALLOW_WITH_OVERDRAFT", "5", "true"])
JUNK = (
    INTEGERS
    | LENGTHS
    | WORDS
    | st.booleans()
    | st.sampled_from([0.5, 1e300, [], {}, ["t"] * 10, ["t"] * 11, ["x" * 65], [1], {"a": "b"}, {"a": 1}])
    | st.sampled_from([{str(n): "" for n in range(count)} for count in (16, 17)])
)


def _places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of *value*, and in every object one that is not there."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            yield from _places(inner, (*path, name))
        yield (*path, "surprise")


@st.composite
def bodies(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """Bodies with up to three fields taken away or put out of shape."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 3))):
        *above, name = draw(st.sampled_from(sorted(_places(body))))
        parent: Any = body
        for step in above:
            parent = parent[step]
        if draw(st.booleans()):
            parent[name] = copy.deepcopy(draw(JUNK))
        else:
            parent.pop(name, None)
    return body


def _beyond_the_document(body: dict[str, Any]) -> bool:
    """Whether *body* breaks a rule that the server has and the document can not express."""
    subject, action = body.get("subject", {}), body.get("action", {})
    metrics = body.get("metrics", {})
    levels = [value for name, value in subject.items() if name != "dimensions"]
    counts = [metrics.get(name, 0) for name in ("tokens_input", "tokens_output", "latency_ms")]
    amounts = [body.get(name, {}).get("amount", 0) for name in ("estimate", "actual")]
    return (
        "" in levels
        or "" in (action.get("kind"), action.get("name"))
        or any(count >= 2**63 for count in (*counts, *amounts, body.get("client_time_ms", 0)))
    )


@pytest.mark.slow
@pytest.mark.parametrize("operation", REQUESTS)
@given(data=st.data())
@NO_DEADLINE
def test_the_checks_agree_with_the_document(operation, data):
    _, schema, check, good = REQUESTS[operation]
    body = data.draw(bodies(good))
    valid = document.validator(f"#/components/schemas/{schema}").is_valid(body)
    refusal, cleaned = _checked(check, copy.deepcopy(body))
    if refusal is None:
        assert valid
        assert cleaned == body
    else:
        assert (refusal.status, refusal.code) == (400, "INVALID_REQUEST")
        assert not valid or _beyond_the_document(body), refusal.message


def _checked(check: validation.Check, body: dict[str, Any]) -> tuple[Refusal | None, Any]:
    try:
        cleaned = check(body, "")
        if "subject" in body:
            validation.has_a_level(body["subject"])
    except Refusal as refusal:
        return refusal, None
    return None, cleaned


# -- anything at all ---------------------------------------------------------------------------------------------------
def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


HOLD = REQUESTS["reserve"][3] | {"dry_run": False, "idempotency_key": "held"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CONTENTS = (
    st.sampled_from(sorted(REQUESTS)).flatmap(lambda name: bodies(REQUESTS[name][3])).map(_as_json)
    | JSON.map(_as_json)
    | st.binary(max_size=30)
)
PATHS = (
    st.sampled_from([path for path, _, _, _ in REQUESTS.values()])
    | st.sampled_from(["/v1/reservations/{id}", "/v1/balances", f"/v1/evidence/{'0' * 64}", "/actuator/health"])
    | st.text(st.sampled_from("/%.{}?#v1é\x00 "), max_size=12).map(lambda rest: f"/v1/reservations/{rest}")
)
NAMES = st.sampled_from(
    [
        "tenant",
        "agent",
        "app",
        "limit",
        "cursor",
        "sort_by",
        "sort_dir",
        "status",
        "from",
        "to",
        "expires_to",
        "include",
    ]
)
VALUES = st.sampled_from(["acme", "", "1", "200", "asc", "ACTIVE", "2026-01-01T00:00:00Z", "%ff", "%00", "metadata"])
QUERIES = st.lists(st.tuples(NAMES, VALUES | st.text(max_size=4)).map("=".join), max_size=3).map("&".join)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(["application/json"] * 3 + ["text/plain", ""]),
        "x-idempotency-key": st.sampled_from(["key", "key", "", "other"]),
        "traceparent": st.text(max_size=10),
        "x-admin-api-key": st.sampled_from(["", "é", "admin"]),
    },
)


FITTING = st.sampled_from(sorted(REQUESTS)).flatmap(
    lambda name: st.tuples(st.just("POST"), st.just(REQUESTS[name][0]), bodies(REQUESTS[name][3]).map(_as_json))
)
ANYTHING = st.tuples(st.sampled_from(["GET", "POST", "PUT", "x"]), PATHS, CONTENTS)


@pytest.mark.slow
@given(FITTING | ANYTHING, QUERIES, HEADERS)
@settings(NO_DEADLINE, max_examples=400)
def test_no_request_does_more_than_it_says(asked, query, headers):
    """Every answer is a 2xx or 4xx in the protocol's shape, and a 4xx has changed nothing."""
    method, path, content = asked
    with closing(LocalAuthority(clock=lambda: NOW, admin_key="admin")) as authority:
        authority.budget("tenant:acme", tokens(100))
        secret = authority.key(tenant="acme")
        good = Request("POST", "/v1/reservations", "", {"x-cycles-api-key": secret}, _as_json(HOLD))
        held = json.loads(authority.app.handle(good).body)["reservation_id"]
        before = rows(authority)
        path = path.replace("{id}", held)
        response = authority.app.handle(Request(method, path, query, headers | {"x-cycles-api-key": secret}, content))
        body = json.loads(response.body)
        assert response.status < 500, body
        if response.status >= 400:
            assert document.validator("#/components/schemas/ErrorResponse").is_valid(body), body
            assert rows(authority) == before
        for row in authority.balances():
            assert row.remaining == row.allocated - row.spent - row.reserved - row.debt


# -- numbers and blanks as JSON and the protocol have them -------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("100.0", 100),
        ("1e2", 100),
        ("1E+2", 100),
        ("10000e-2", 100),
        ("0.01e4", 100),
        ("-0.0", 0),
        ("-0", 0),
        ("0e999", 0),
        ("0.0e-99999999999", 0),
        ("9007199254740993.0", 9007199254740993),
        ("9223372036854775807.000", 2**63 - 1),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_a_number_without_fraction_is_an_integer(written, means):
    body = validation.parsed(f'{{"unit": "TOKENS", "amount": {written}}}'.encode())
    found = validation.amount(body, "")["amount"]
    assert (type(found), found) == (int, means)


@pytest.mark.parametrize(
    "written", ["1.5", '"100"', "true", "9223372036854775808.0", "1e19", "1e300", "-1.0", "1e-2", "1e-99999999999"]
)
def test_other_numbers_are_none(written):
    body = validation.parsed(f'{{"unit": "TOKENS", "amount": {written}}}'.encode())
    with pytest.raises(Refusal, match="must be an integer"):
        validation.amount(body, "")


def test_a_number_of_endless_digits_is_refused_in_our_words():
    with pytest.raises(Refusal, match=r"^the body has a number of too many digits$"):
        validation.parsed(b'{"metadata": ' + b"9" * 5000 + b"}")


def test_metadata_keeps_numbers_as_numbers():
    assert json.dumps(validation.parsed(b'{"a": 1.0, "b": [1e2, 0.5]}')) == '{"a": 1.0, "b": [100.0, 0.5]}'


@pytest.mark.parametrize("name", ["\u00a0", "\u2003", "\u3000"])
def test_a_name_of_other_white_space_is_a_name(name):
    assert validation._action({"kind": name, "name": name}, "") == {"kind": name, "name": name}


@pytest.mark.parametrize("name", ["", " ", "\t\n ", "\x00"])
def test_a_blank_name_is_none(name):
    with pytest.raises(Refusal, match="must not be blank"):
        validation._action({"kind": "k", "name": name}, "")
