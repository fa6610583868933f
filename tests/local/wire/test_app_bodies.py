"""Bodies that the authority refuses, and the order of its checks (docs/authority.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cycles import tokens
from cycles.local.wire.messages import MAX_BODY
from cycles.local.wire.validation import MAX_DEPTH
from tests.support.authorities import SCOPE
from tests.support.wire import failed

if TYPE_CHECKING:
    import httpx

UNKNOWN = "/v1/reservations/no-such-id"


# -- bodies ------------------------------------------------------------------------------------------------------------
OK = {"subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}, "estimate": {"unit": "TOKENS", "amount": 1}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
        ({"idempotency_key": 7}, "idempotency_key"),
        ({"surprise": 1}, "surprise"),
        ({"subject": {}}, "subject"),
        ({"subject": {"tenant": None}}, "subject"),
        ({"subject": {"dimensions": {"a": "b"}}}, "subject"),
        ({"subject": {"tenant": ""}}, "subject.tenant"),
        ({"subject": {"tenant": "a b"}}, "subject.tenant"),
        ({"subject": {"tenant": "a/agent:x"}}, "subject.tenant"),
        ({"subject": {"tenant": "a\n"}}, "subject.tenant"),
        ({"subject": {"tenant": "a" * 129}}, "subject.tenant"),
        ({"subject": {"tenant": "acme", "team": "x"}}, "subject.team"),
        ({"subject": {"tenant": "acme", "dimensions": {str(n): "" for n in range(17)}}}, "subject.dimensions"),
        ({"subject": {"tenant": "acme", "dimensions": {"a": "x" * 257}}}, "subject.dimensions.a"),
        ({"subject": {"tenant": "acme", "dimensions": {"a": 1}}}, "subject.dimensions.a"),
        ({"subject": "acme"}, "subject"),
        ({"action": {"kind": "k"}}, "action.name"),
        ({"action": {"kind": " ", "name": "n"}}, "action.kind"),
        ({"action": {"kind": "k" * 65, "name": "n"}}, "action.kind"),
        ({"action": {"kind": "k", "name": "n" * 257}}, "action.name"),
        ({"action": {"kind": "k", "name": "n", "tags": ["t"] * 11}}, "action.tags"),
        ({"action": {"kind": "k", "name": "n", "tags": ["t", "t" * 65]}}, "action.tags[1]"),
        ({"action": {"kind": "k", "name": "n", "tags": "t"}}, "action.tags"),
        ({"estimate": {"unit": "TOKENS", "amount": -1}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": 2**63}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": 1.5}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": "1"}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": True}}, "estimate.amount"),
        ({"estimate": {"unit": "tokens", "amount": 1}}, "estimate.unit"),
        ({"estimate": {"unit": 0, "amount": 1}}, "estimate.unit"),
        ({"estimate": {"amount": 1}}, "estimate.unit"),
        ({"estimate": {"unit": "TOKENS", "amount": 1, "x": 1}}, "estimate.x"),
        ({"estimate": None}, "estimate"),
        ({"ttl_ms": 999}, "ttl_ms"),
        ({"ttl_ms": 86_400_001}, "ttl_ms"),
        ({"ttl_ms": "5000"}, "ttl_ms"),
        ({"grace_period_ms": -1}, "grace_period_ms"),
        ({"grace_period_ms": 60_001}, "grace_period_ms"),
        ({"overage_policy": "ALLOW"}, "overage_policy"),
        ({"dry_run": "true"}, "dry_run"),
        ({"dry_run": 0}, "dry_run"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_bad_field_is_named(wire, authority, change, field):
    authority.budget(SCOPE, tokens(100))
    response = wire.post("/v1/reservations", {"idempotency_key": "k", **OK, **change})
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith(f"Validation failed: {field}: ")
    assert wire.post("/v1/reservations", {"idempotency_key": "k", **OK}).is_success, "an error leaves the key free"


@pytest.mark.parametrize(
    ("step", "body", "field"),
    [
        ("commit", {"idempotency_key": "k"}, "actual"),
        ("commit", {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"tokens": 1}}, "metrics.tokens"),
        (
            "commit",
            {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"latency_ms": -1}},
            "metrics.latency_ms",
        ),
        (
            "commit",
            {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"model_version": "x" * 129}},
            "metrics.model_version",
        ),
        ("commit", {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"custom": 1}}, "metrics.custom"),
        ("release", {"idempotency_key": "k", "reason": "x" * 257}, "reason"),
        ("release", {}, "idempotency_key"),
        ("extend", {"idempotency_key": "k"}, "extend_by_ms"),
        ("extend", {"idempotency_key": "k", "extend_by_ms": 0}, "extend_by_ms"),
        ("extend", {"idempotency_key": "k", "extend_by_ms": 86_400_001}, "extend_by_ms"),
    ],
)
def test_a_bad_field_of_a_step_is_named(wire, step, body, field):
    response = wire.post(f"{UNKNOWN}/{step}", body)
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith(f"Validation failed: {field}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"{",
        b"{} x",
        b'{"metadata": {"x": NaN}, REST}',
        b'{"metadata": {"x": 1e999}, REST}',
        b'{"metadata": {"x": "\\ud800"}, REST}',
        b'{"metadata": {"\\udc00": 1}, REST}',
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(wire, content):
    rest = json.dumps({"idempotency_key": "k", **OK}).encode()
    content = content.replace(b"REST}", rest[1:])
    response = wire.http.post("/v1/decide", content=content, headers={"Content-Type": "application/json"})
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith("the body ")


def test_depth_is_bounded_so_that_what_is_kept_can_be_shown(wire, authority):
    authority.budget(SCOPE, tokens(100))

    def nested(levels: int) -> httpx.Response:
        inner = '{"a":' * (levels - 3) + "[1]" + "}" * (levels - 3)
        rest = json.dumps({"idempotency_key": "k", **OK})[:-1]
        content = f'{rest},"metadata":{{"text":"{"{" * 200}","x":{inner}}}}}'
        return wire.http.post("/v1/reservations", content=content, headers={"Content-Type": "application/json"})

    assert failed(nested(MAX_DEPTH + 1), 400, "INVALID_REQUEST")
    assert nested(MAX_DEPTH).is_success
    assert wire.get("/v1/reservations", include="metadata").is_success


def test_content_types_and_sizes(wire, authority):
    authority.budget(SCOPE, tokens(100))
    body = json.dumps({"idempotency_key": "k", **OK}).encode()
    for kind, status in {"text/plain": 415, "application/json; charset=utf-8": 200, "Application/JSON": 200}.items():
        assert wire.http.post("/v1/decide", content=body, headers={"Content-Type": kind}).status_code == status
    large = wire.post("/v1/decide", {"idempotency_key": "k", **OK, "metadata": {"x": "x" * MAX_BODY}})
    assert failed(large, 413, "INVALID_REQUEST")


def test_unicode_and_odd_json_survive(wire, authority):
    authority.budget(SCOPE, tokens(100))
    metadata = {"ключ": "✓\x00\U0001f600", "big": 2**80, "null": None, "list": [None, {"a": None}], "float": 0.1}
    held = wire.reserve(1, metadata=metadata, key="schlüssel")
    assert wire.get(f"/v1/reservations/{held.json()['reservation_id']}").json()["metadata"] == metadata


# -- order of checks ---------------------------------------------------------------------------------------------------
def test_order_of_checks_before_the_ledger(wire, authority):
    """Each request has several things wrong with it; the first in the order wins, and is then put right."""
    own = authority.key(tenant="acme")
    headers = {"X-Cycles-API-Key": "wrong", "X-Idempotency-Key": "other", "Content-Type": "application/json"}
    body: dict = {"idempotency_key": "k", **OK, "subject": {"tenant": "other"}, "ttl_ms": 1}

    def asked(content: bytes | None = None) -> httpx.Response:
        return wire.http.post("/v1/reservations", content=content or json.dumps(body), headers=headers)

    assert failed(asked(b"{"), 401, "UNAUTHORIZED")
    headers["X-Cycles-API-Key"] = own
    assert "no JSON" in asked(b"{").json()["message"]
    assert "ttl_ms" in asked().json()["message"]
    body["ttl_ms"] = 1000
    body["subject"] = {"dimensions": {"a": "b"}}
    assert "subject" in asked().json()["message"]
    body["subject"] = {"tenant": "other"}
    assert "X-Idempotency-Key" in asked().json()["message"]
    headers["X-Idempotency-Key"] = "k"
    assert failed(asked(), 403, "FORBIDDEN")
    body["subject"] = {"tenant": "acme"}
    assert failed(asked(), 404, "NOT_FOUND")


def test_order_of_checks_on_a_reservation(wire, authority):
    authority.budget(SCOPE, tokens(100))
    authority.budget("tenant:other", tokens(100))
    held = wire.reserve(10).json()["reservation_id"]
    other = authority.key(tenant="other")

    def asked(path: str, body: dict, header: str, secret: str = wire.secret) -> httpx.Response:
        return wire.post(path, body, **{"X-Idempotency-Key": header, "X-Cycles-API-Key": secret})

    good = {"idempotency_key": "k", "actual": OK["estimate"]}
    too_long = f"/v1/reservations/{'x' * 129}/commit"
    assert "actual" in asked(too_long, {"idempotency_key": "k"}, "other").json()["message"]
    assert "reservation_id" in asked(too_long, good, "other").json()["message"]
    assert "X-Idempotency-Key" in asked(f"{UNKNOWN}/commit", good, "other").json()["message"]
    assert failed(asked(f"{UNKNOWN}/commit", good, ""), 400, "INVALID_REQUEST")
    assert failed(asked(f"/v1/reservations/{'x' * 128}/commit", good, "k"), 404, "NOT_FOUND")
    assert failed(asked(f"/v1/reservations/{held}/commit", good, "k", other), 403, "FORBIDDEN")
    wrong_unit = good | {"actual": {"unit": "CREDITS", "amount": 1}}
    response = asked(f"/v1/reservations/{held}/commit", wrong_unit, "k")
    assert failed(response, 400, "UNIT_MISMATCH")
    assert "details" not in response.json()
    assert asked(f"/v1/reservations/{held}/commit", good, "k").is_success
    # a replay is answered before state and unit, but after ownership
    assert asked(f"/v1/reservations/{held}/commit", good, "k").is_success
    assert failed(asked(f"/v1/reservations/{held}/commit", good, "k", other), 403, "FORBIDDEN")
    assert failed(asked(f"/v1/reservations/{held}/commit", wrong_unit, "k"), 409, "IDEMPOTENCY_MISMATCH")
    fresh = wrong_unit | {"idempotency_key": "k2"}
    assert failed(asked(f"/v1/reservations/{held}/commit", fresh, "k2"), 409, "RESERVATION_FINALIZED")


def test_an_unexpected_failure_is_an_answer(wire, authority, monkeypatch, caplog):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of the disk")

    monkeypatch.setattr("cycles.local.ledger.estimates.decide", broken)
    response = wire.decide(1)
    assert failed(response, 500, "INTERNAL_ERROR")
    assert "secret of the disk" not in response.text
    assert "secret of the disk" in caplog.text
    assert wire.secret not in caplog.text
