"""What the templates change about decoding and encoding. Each test here fails on the generator's stock output.

test_stock.py runs this file against that output and holds each test to it, so nothing here may depend on a conftest,
and a name that stock lacks must not decide: what decides is what it does.
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import inspect
import json
import pickle
from typing import Any

import httpx
import pytest

from cycles_api import errors, models, types
from cycles_api.api.balances import get_balances
from cycles_api.api.events import create_event
from cycles_api.api.reservations import create_reservation, get_reservation, list_reservations
from cycles_api.client import AuthenticatedClient
from cycles_api.models import Action, Amount, ReservationCreateRequest, Subject


class _NoSuchError(Exception):
    """Stands in for a class that stock does not have, so that its tests fail by what it raises."""


DecodeError: type[Any] = getattr(errors, "DecodeError", _NoSuchError)

HELD: dict[str, Any] = {
    "decision": "ALLOW",
    "reservation_id": "r-1",
    "reserved": {"unit": "TOKENS", "amount": 5},
    "expires_at_ms": 1_790_000_000_000,
    "affected_scopes": ["tenant:acme"],
}
ERROR = {"error": "BUDGET_EXCEEDED", "message": "too little is left", "request_id": "q-1"}


def body(**fields: Any) -> ReservationCreateRequest:
    return ReservationCreateRequest(
        idempotency_key="k",
        subject=Subject(tenant="acme"),
        action=Action(kind="tool", name="web"),
        estimate=Amount(unit=models.UnitEnum.TOKENS, amount=5),
        **fields,
    )


class Authority:
    """Gives one answer, and keeps what it was asked."""

    def __init__(self, status: int = 200, **answer: Any) -> None:
        self.answer = (status, answer)
        self.requests: list[httpx.Request] = []
        self.client = AuthenticatedClient(
            "https://authority.test", "key", httpx_args={"transport": httpx.MockTransport(self)}
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.answer[0], **self.answer[1])

    @property
    def sent(self) -> Any:
        return json.loads(self.requests[-1].content)

    @property
    def path(self) -> str:
        return self.requests[-1].url.raw_path.decode()


@pytest.fixture(params=["sync", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Call an endpoint, blocking or not; return the detailed response."""

    def ask(endpoint: Any, *arguments: Any, authority: Authority, **keywords: Any) -> Any:
        if request.param == "sync":
            return endpoint.sync_detailed(*arguments, client=authority.client, **keywords)
        return asyncio.run(endpoint.asyncio_detailed(*arguments, client=authority.client, **keywords))

    return ask


# -- values the protocol may grow ------------------------------------------------------------------------------------
def test_unknown_enum_value_is_kept() -> None:
    unit: Any = models.UnitEnum("GALLONS")
    assert isinstance(unit, models.UnitEnum)
    assert unit == "GALLONS" == str(unit) == unit.value
    assert not unit.is_known
    assert models.UnitEnum("TOKENS").is_known
    assert hash(unit) == hash("GALLONS")
    assert json.dumps(unit) == '"GALLONS"'
    for again in (pickle.loads(pickle.dumps(unit)), copy.deepcopy(unit), copy.copy(unit)):
        assert (again, type(again), again.is_known) == ("GALLONS", models.UnitEnum, False)
    assert "unknown" in repr(unit)
    assert len(models.UnitEnum) == 4


def test_unknown_unit_goes_out_as_it_came_in() -> None:
    amount = {"unit": "GALLONS", "amount": 3}
    assert Amount.from_dict(amount).to_dict() == amount


def test_unknown_decision_is_no_allow(ask: Any) -> None:
    parsed = ask(create_reservation, authority=Authority(json={**HELD, "decision": "ALLOW_LATER"}), body=body()).parsed
    assert parsed.decision == "ALLOW_LATER"
    assert parsed.decision != models.DecisionEnum.ALLOW
    assert not parsed.decision.is_known


def test_unknown_error_code_is_kept(ask: Any) -> None:
    response = ask(create_reservation, authority=Authority(409, json={**ERROR, "error": "MOON_PHASE"}), body=body())
    assert response.parsed.error == "MOON_PHASE"
    assert not response.parsed.error.is_known


# -- what people look at ----------------------------------------------------------------------------------------------
USD = "USD_MICROCENTS"
ROW = {
    "scope": "tenant:acme",
    "scope_path": "tenant:acme",
    "remaining": {"unit": USD, "amount": 320_000_000},
    "reserved": {"unit": USD, "amount": 10_000_000},
    "spent": {"unit": USD, "amount": 170_000_000},
    "debt": {"unit": USD, "amount": 0},
    "allocated": {"unit": USD, "amount": 500_000_000},
}
TOKENS = {"unit": "TOKENS", "amount": 1200}
KEPT = {
    "reservation_id": "r-1",
    "status": "ACTIVE",
    "subject": {"tenant": "acme"},
    "action": {"kind": "tool.search", "name": "web"},
    "reserved": TOKENS,
    "created_at_ms": 1_790_000_000_000,
    "expires_at_ms": 1_790_000_060_000,
    "scope_path": "tenant:acme",
    "affected_scopes": ["tenant:acme"],
    "idempotency_key": "key-7",
    "metadata": {"card": "4111"},
}


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, "Balance(tenant:acme, $3.20 of $5.00 left, $0.10 held)"),
        ({"allocated": None, "reserved": None}, "Balance(tenant:acme, $3.20 left)"),
        (
            {"remaining": {"unit": USD, "amount": -1}, "reserved": None, "debt": ROW["spent"], "is_over_limit": True},
            "Balance(tenant:acme, -$0.00000001 of $5.00 left, $1.70 owed, over its limit)",
        ),
    ],
)
def test_a_budget_is_shown_as_people_read_it(change: dict[str, Any], shown: str) -> None:
    row = models.Balance.from_dict({**ROW, **change})
    assert repr(row) == shown
    assert row == pickle.loads(pickle.dumps(row)) == copy.copy(row)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, "1,200 TOKENS held until 2026-09-21 14:14:20Z"),
        ({"expires_at_ms": 2**62}, "1,200 TOKENS held until 4611686018427387904 ms"),
        ({"status": "RELEASED"}, "1,200 TOKENS was held"),
        (
            {"status": "COMMITTED", "committed": {"unit": "TOKENS", "amount": 7}},
            "7 TOKENS charged of 1,200 TOKENS held",
        ),
    ],
)
@pytest.mark.parametrize("model", [models.ReservationSummary, models.ReservationDetail])
def test_a_reservation_is_shown_as_people_read_it(model: Any, change: dict[str, Any], shown: str) -> None:
    row = model.from_dict({**KEPT, **change})
    status = change.get("status", "ACTIVE")
    assert repr(row) == f"{model.__name__}(r-1, {status}, tool.search/web, tenant:acme, {shown})"
    for said in (repr(row), row._repr_html_()):
        assert "4111" not in said
        assert "key-7" not in said
    assert row == pickle.loads(pickle.dumps(row)) == copy.copy(row)


def test_an_amount_is_shown_as_people_read_it_whatever_is_in_it() -> None:
    assert repr(Amount(unit=USD, amount=5_000_001)) == "Amount($0.05000001)"
    assert repr(models.SignedAmount(unit="TOKENS", amount=-1200)) == "SignedAmount(-1,200 TOKENS)"
    assert repr(Amount(unit="TOKENS", amount="5")) == "Amount(unit='TOKENS', amount='5')"  # type: ignore[arg-type]


def test_tables_are_escaped_and_have_no_colours() -> None:
    turned = {**ROW, "scope_path": "tenant:\u202e<b onclick='x'>\n&\x1b[31m" + "a" * 400}
    row = models.Balance.from_dict(turned)
    shown = row._repr_html_()
    assert "tenant:\\u202e&lt;b onclick=&#x27;x&#x27;&gt;\\n&amp;\\x1b[31maaa" in shown
    assert "a" * 300 not in shown
    assert ">$3.20</td>" in shown
    assert not any(word in shown for word in ("color", "background", "http", "script", "src="))
    assert repr(row).isprintable()
    kept = {**KEPT, "action": {"kind": "<i>", "name": "<script>"}}
    assert "&lt;i&gt;/&lt;script&gt;" in models.ReservationDetail.from_dict(kept)._repr_html_()


# -- a success that does not fit -------------------------------------------------------------------------------------
@pytest.mark.parametrize("amount", [True, 5.0, "5", None, [5], 2**63, -1])
def test_only_integers_in_bounds_are_integers(amount: object) -> None:
    with pytest.raises(DecodeError, match=r"^Amount\.amount: expected an integer"):
        Amount.from_dict({"unit": "TOKENS", "amount": amount})


def test_signed_amounts_are_int64() -> None:
    for amount in (-(2**63), 2**63 - 1):
        assert models.SignedAmount.from_dict({"unit": "TOKENS", "amount": amount}).amount == amount
    for amount in (-(2**63) - 1, 2**63):
        with pytest.raises(DecodeError):
            models.SignedAmount.from_dict({"unit": "TOKENS", "amount": amount})


def test_missing_field_is_named() -> None:
    with pytest.raises(DecodeError, match=r"^ReservationCreateResponse: missing 'affected_scopes'$"):
        models.ReservationCreateResponse.from_dict({"decision": "ALLOW"})


@pytest.mark.parametrize(
    "change",
    [
        {"reservation_id": 7},
        {"affected_scopes": ["tenant:acme", 7]},
        {"affected_scopes": "tenant:acme"},
        {"affected_scopes": {"tenant:acme": 1}},
        {"reserved": "5 TOKENS"},
        {"balances": [None]},
        {"balances": [{"scope": "a", "scope_path": "a", "remaining": 5}]},
        {"caps": {"max_tokens": "9"}},
        {"decision": None},
        {"decision": 1},
    ],
    ids=repr,
)
def test_wrong_type_is_refused(ask: Any, change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as caught:
        ask(create_reservation, authority=Authority(json={**HELD, **change}), body=body())
    assert caught.value.status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"ALLOW"',
        b"<html>502</html>",
        json.dumps(HELD).encode()[:-9],
        b'\xff{"decision": "ALLOW"}',
        json.dumps(HELD).encode("utf-16"),
        b"[" * 100_000,
        b'{"decision":"ALLOW","affected_scopes":[],"expires_at_ms":' + b"9" * 5000 + b"}",
        b'{"decision":"ALLOW","affected_scopes":[],"expires_at_ms":NaN}',
        b'{"decision":"ALLOW","affected_scopes":[],"expires_at_ms":1e3}',
    ],
    ids=["empty", "null", "array", "string", "html", "truncated", "utf-8", "utf-16", "deep", "huge", "NaN", "float"],
)
def test_body_that_does_not_fit_is_told_with_all_there_is(ask: Any, content: bytes) -> None:
    authority = Authority(content=content, headers={"X-Request-Id": "q-7"})
    with pytest.raises(DecodeError) as caught:
        ask(create_reservation, authority=authority, body=body())
    error = caught.value
    assert (error.status_code, error.content, error.headers["x-request-id"]) == (200, content, "q-7")
    assert error.where
    assert error.reason
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.status_code, again.content) == (str(error), 200, content)


@pytest.mark.parametrize(
    "content", [b"hunter2", b'{"decision":"hunter2"}', b'{"decision":1,"affected_scopes":"hunter2"}']
)
def test_error_text_shows_no_content(ask: Any, content: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        ask(create_reservation, authority=Authority(content=content), body=body())
    assert "hunter2" not in f"{caught.value}{caught.value!r}{caught.value.args}"
    assert "status 200" in str(caught.value)


@pytest.mark.parametrize("absent", [None])
def test_null_for_something_optional_is_absent(absent: None) -> None:
    names = ("reservation_id", "reserved", "caps", "balances", "reason_code", "expires_at_ms", "cycles_evidence")
    held = {"decision": "ALLOW", "affected_scopes": []}
    decoded = models.ReservationCreateResponse.from_dict({**held, **dict.fromkeys(names, absent)})
    assert decoded == models.ReservationCreateResponse.from_dict(held)
    assert decoded.to_dict() == held


# -- statuses --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b"[]", b'{"error": 5}', b"[" * 100_000, b"\xff"])
def test_error_body_that_does_not_fit_keeps_status_and_headers(ask: Any, content: bytes) -> None:
    authority = Authority(500, content=content, headers={"Retry-After": "3"})
    response = ask(create_reservation, authority=authority, body=body())
    assert (response.status_code, response.content, response.parsed) == (500, content, None)
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize("status", [299, 420, 520, 599])
def test_any_status_is_told(ask: Any, status: int) -> None:
    response = ask(create_reservation, authority=Authority(status, json=ERROR), body=body())
    assert response.status_code == status
    assert type(response.status_code) is int
    assert (response.parsed is None) == (status == 299)


@pytest.mark.parametrize("content", [json.dumps(HELD).encode(), json.dumps(ERROR).encode(), b""])
@pytest.mark.parametrize("status", [201, 202, 204])
def test_other_success_is_not_a_success(ask: Any, status: int, content: bytes) -> None:
    response = ask(create_reservation, authority=Authority(status, content=content), body=body())
    assert (response.status_code, response.parsed) == (status, None)


def test_event_answered_with_200_is_not_applied(ask: Any) -> None:
    event = models.EventCreateRequest("k", Subject(tenant="a"), Action("b", "c"), body().estimate)
    answer = {"status": "APPLIED", "event_id": "e"}
    assert ask(create_event, authority=Authority(200, json=answer), body=event).parsed is None
    assert ask(create_event, authority=Authority(201, json=answer), body=event).parsed.event_id == "e"


# -- what is sent ----------------------------------------------------------------------------------------------------
def test_defaults_of_the_document_are_not_sent(ask: Any) -> None:
    authority = Authority(json=HELD)
    ask(create_reservation, authority=authority, body=body())
    assert sorted(authority.sent) == ["action", "estimate", "idempotency_key", "subject"]
    authority = Authority(json={"reservations": []})
    ask(list_reservations, authority=authority)
    assert authority.path == "/v1/reservations"
    authority = Authority(json={"balances": []})
    ask(get_balances, authority=authority, tenant="acme")
    assert authority.path == "/v1/balances?tenant=acme"


def test_none_for_something_optional_is_not_sent(ask: Any) -> None:
    authority = Authority(json=HELD)
    ask(create_reservation, authority=authority, body=body(ttl_ms=None, metadata=None, overage_policy=None))
    assert sorted(authority.sent) == ["action", "estimate", "idempotency_key", "subject"]


def test_enums_take_plain_strings(ask: Any) -> None:
    amount: Any = Amount(unit="TOKENS", amount=5)  # type: ignore[arg-type, unused-ignore]
    assert amount.unit is models.UnitEnum.TOKENS
    amount.unit = "CREDITS"
    assert amount.to_dict() == {"unit": "CREDITS", "amount": 5}
    assert body(overage_policy="REJECT").to_dict()["overage_policy"] == "REJECT"
    authority = Authority(json={"reservations": []})
    ask(list_reservations, authority=authority, status="ACTIVE", sort_by="reserved", sort_dir=models.SortDirection.ASC)
    assert authority.path == "/v1/reservations?status=ACTIVE&sort_by=reserved&sort_dir=asc"


def test_free_objects_are_plain_dicts() -> None:
    sent = body(metadata={"ticket": 7, "deep": {"a": [None]}})
    assert sent.to_dict()["metadata"] == {"ticket": 7, "deep": {"a": [None]}}
    assert type(ReservationCreateRequest.from_dict(sent.to_dict()).metadata) is dict
    assert Subject(tenant="a", dimensions={"run": "1"}).to_dict()["dimensions"] == {"run": "1"}
    with pytest.raises(DecodeError, match="dimensions"):
        Subject.from_dict({"dimensions": {"run": 1}})


@pytest.mark.parametrize("amount", [5.0, True, "5"])
def test_amounts_are_never_rounded_into_integers(amount: Any) -> None:
    with pytest.raises(TypeError, match=r"^Amount\.amount: expected an int"):
        Amount(unit=models.UnitEnum.TOKENS, amount=amount).to_dict()


@pytest.mark.parametrize("amount", [-1, 2**63])
def test_amounts_out_of_bounds_are_not_sent(amount: int) -> None:
    with pytest.raises(ValueError, match=r"^Amount\.amount: "):
        Amount(unit=models.UnitEnum.TOKENS, amount=amount).to_dict()


def test_arrays_are_joined_by_commas(ask: Any) -> None:
    authority = Authority(json={"reservations": []})
    ask(list_reservations, authority=authority, include=["metadata", "evidence"])
    assert authority.requests[-1].url.params.multi_items() == [("include", "metadata,evidence")]


@pytest.mark.parametrize(
    ("reservation_id", "segment"),
    [("..", "%2E%2E"), (".", "%2E"), ("a/../b", "a%2F%2E%2E%2Fb"), ("a.b?c#d e", "a%2Eb%3Fc%23d%20e")],
)
def test_path_parameter_stays_one_segment(ask: Any, reservation_id: str, segment: str) -> None:
    authority = Authority(404, json={**ERROR, "error": "NOT_FOUND"})
    ask(get_reservation, reservation_id, authority=authority)
    assert authority.path == f"/v1/reservations/{segment}"


def test_empty_path_parameter_is_not_sent(ask: Any) -> None:
    authority = Authority(json={"reservations": []})
    with pytest.raises(ValueError, match=r"^reservation_id: must not be empty"):
        ask(get_reservation, "", authority=authority)
    assert not authority.requests


def test_instants_need_an_offset(ask: Any) -> None:
    authority = Authority(json={"reservations": []})
    naive = datetime.datetime(2026, 11, 24, 12)  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match=r"^from: a datetime without an offset"):
        ask(list_reservations, authority=authority, from_=naive)
    assert not authority.requests
    ask(list_reservations, authority=authority, to=naive.replace(tzinfo=datetime.UTC))
    assert authority.requests[-1].url.params["to"] == "2026-11-24T12:00:00+00:00"


def test_limit_out_of_bounds_is_not_sent(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"^limit: 201 "):
        ask(list_reservations, authority=Authority(json={"reservations": []}), limit=201)


def test_unset_is_one_object_in_copies_too() -> None:
    for again in (copy.deepcopy(body()), pickle.loads(pickle.dumps(body()))):
        assert again.ttl_ms is types.UNSET
        assert again.to_dict() == body().to_dict()
    assert repr(types.UNSET) == "UNSET"


def test_no_redundant_content_type() -> None:
    assert "headers" not in create_reservation._get_kwargs(body=body())


def test_parameters_are_described() -> None:
    text = " ".join((inspect.getdoc(list_reservations.sync) or "").split())
    assert "limit: Rows to a page, 1 to 200." in text
    assert "from_: Created at this instant or later; with an offset." in text
    assert "estimate: How much to hold." in " ".join((inspect.getdoc(ReservationCreateRequest) or "").split())
