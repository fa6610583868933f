"""The page of `cycles serve` and what it asks, without a browser; test_browser.py looks at it with one."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.wire.denials import KEPT
from cycles.local.wire.overview import MOST_BUDGETS, MOST_DENIALS, MOST_RESERVATIONS
from cycles.local.wire.server import serve
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire, failed


@pytest.fixture(scope="module")
def page():
    with LocalAuthority() as authority, serve(authority) as url:
        yield httpx.get(url)


def test_the_page_needs_no_key_and_no_other_file(page):
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"""(src|href|action)=["'](?!data:)|@import|url\(|https?://(?!www\.w3\.org)""", page.text)
    assert not re.search(r"""<[a-z]+\s[^>]*\b(on[a-z]+|style)=""", page.text), "no inline handler and no inline style"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page.text)


def test_only_its_own_script_and_style_may_run(page):
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    for kind in ("script", "style"):
        (content,) = re.findall(f"<{kind}[^>]*>(.*?)</{kind}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


def test_head_and_other_methods(wire):
    with serve(wire.authority) as url:
        head = httpx.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert failed(httpx.post(url), 401, "UNAUTHORIZED")
        assert failed(httpx.post(url, headers=wire.http.headers), 405, "INVALID_REQUEST")
        assert httpx.delete(url, headers=wire.http.headers).headers["allow"] == "GET"
        assert failed(httpx.get(f"{url}/index.html", headers=wire.http.headers), 404, "NOT_FOUND")
    assert failed(wire.get("/"), 404, "NOT_FOUND"), "in process there is none"


# -- what it asks ------------------------------------------------------------------------------------------------------
def status(wire: Wire, **headers: str) -> dict:
    """The snapshot; not of the document, so it is not held to it."""
    asked = httpx.Client(transport=wire.authority.transport(), base_url="http://test")
    response = asked.get("/status.json", headers=headers or {"X-Cycles-API-Key": wire.secret})
    assert response.status_code == 200, response.text
    return response.json()


def test_nothing_is_shown_without_a_key(authority):
    with serve(authority) as url:
        for headers in ({}, {"X-Cycles-API-Key": "guess"}, {"X-Admin-API-Key": "guess"}):
            response = httpx.get(f"{url}/status.json", headers=headers)
            assert failed(response, 401, "UNAUTHORIZED")
        assert failed(httpx.get(f"{url}/status.json?key={ADMIN_KEY}"), 401, "UNAUTHORIZED")


def test_a_snapshot(wire, authority):
    authority.budget(SCOPE, usd("1.00"), overdraft_limit=usd("0.25"))
    authority.budget(f"{SCOPE}/agent:a", tokens(2**63 - 1))
    authority.freeze(f"{SCOPE}/agent:a", "TOKENS")
    held = wire.reserve(1_234_567, unit="USD_MICROCENTS", ttl_ms=10_000, grace_period_ms=500)
    wire.clock.now += 10_400
    seen = status(wire)
    assert (seen["tenant"], seen["now_ms"], seen["denials"]) == ("acme", wire.clock.now, [])
    money, large = seen["budgets"]
    assert money["scope_path"] == SCOPE
    assert money["remaining"] == {"amount": "98765433", "text": "$0.98765433"}
    assert money["overdraft_limit"]["text"] == "$0.25"
    assert large["allocated"] == {"amount": "9223372036854775807", "text": "9,223,372,036,854,775,807"}
    assert large["status"] == "FROZEN"
    (live,) = seen["reservations"]
    assert live["reservation_id"] == held.json()["reservation_id"]
    assert (live["remaining_ms"], live["grace_ms"], live["lease_ms"]) == (-400, 500, 10_000)
    assert live["action"] == {"kind": "k", "name": "n"}
    wire.clock.now += 101
    assert status(wire)["reservations"] == [], "looking expires what is overdue"


def test_denials_are_remembered(wire, authority):
    authority.budget(SCOPE, tokens(10))
    authority.budget(SCOPE, cycles.credits(1))
    authority.freeze(SCOPE, "CREDITS")
    wire.reserve(11, subject={"tenant": "acme", "agent": "Bot"}, action={"kind": "llm", "name": "<b>"})
    wire.clock.now += 5
    wire.decide(12)
    wire.reserve(13, dry_run=True)
    wire.event(14, overage_policy="REJECT")
    wire.reserve(1, unit="CREDITS")
    wire.reserve(1, unit="RISK_POINTS", subject={"agent": "x"})
    for granted in (wire.reserve(1), wire.decide(1), wire.event(1)):
        assert granted.is_success
    assert wire.reserve(1, unit="RISK_POINTS").json()["error"] == "UNIT_MISMATCH", "a mistake, not a denial"
    assert wire.post("/v1/reservations", {}).status_code == 400
    seen = [
        (row["operation"], row["requested"]["text"], row["reason"], row["scope_path"])
        for row in status(wire)["denials"]
    ]
    assert seen == [
        ("reserve", "1", "BUDGET_NOT_FOUND", "agent:x"),
        ("reserve", "1", "BUDGET_FROZEN", SCOPE),
        ("event", "14", "BUDGET_EXCEEDED", SCOPE),
        ("reserve", "13", "BUDGET_EXCEEDED", SCOPE),
        ("decide", "12", "BUDGET_EXCEEDED", SCOPE),
        ("reserve", "11", "BUDGET_EXCEEDED", f"{SCOPE}/agent:bot"),
    ]
    first = status(wire)["denials"][-1]
    assert first["at_ms"] == wire.clock.now - 5
    assert first["action"] == {"kind": "llm", "name": "<b>"}
    assert (first["refused_by"], first["remaining"]["text"], first["tenant"]) == (SCOPE, "10", "acme")


def test_a_request_that_is_sent_again_is_one_denial(wire, authority):
    authority.budget(SCOPE, tokens(1))
    for _ in range(3):
        wire.reserve(2, key="same")
    wire.reserve(2)
    assert [row["times"] for row in status(wire)["denials"]] == [1, 3]


def test_what_is_remembered_is_bounded(wire, authority):
    wire.http.event_hooks = {}  # the document is checked elsewhere, and this is many
    for _ in range(KEPT + 5):
        wire.reserve(1, metadata={"large": "x" * 1000})
    assert repr(authority.app.denials) == f"<Denials {KEPT}>"
    seen = status(wire)
    assert (len(seen["denials"]), seen["more_denials"]) == (MOST_DENIALS, True)
    assert "large" not in str(authority.app.denials.last(None, KEPT))


def test_lists_are_cut(wire, authority):
    wire.http.event_hooks = {}
    for number in range(MOST_BUDGETS):
        authority.budget(f"{SCOPE}/agent:a{number}", tokens(1))
    assert status(wire)["more_budgets"] is False
    authority.budget(SCOPE, tokens(1_000))
    for number in range(MOST_RESERVATIONS + 1):
        wire.reserve(1, ttl_ms=60_000 - number)
    seen = status(wire)
    assert (len(seen["budgets"]), seen["more_budgets"]) == (MOST_BUDGETS, True)
    assert (len(seen["reservations"]), seen["more_reservations"]) == (MOST_RESERVATIONS, True)
    assert seen["reservations"][0]["lease_ms"] == 60_000 - MOST_RESERVATIONS, "those that end next"


def test_a_tenant_sees_its_own_and_the_administrator_sees_all(wire, authority, clock):
    authority.budget("tenant:acme", tokens(10))
    other = Wire(authority, clock, tenant="other")
    authority.budget("tenant:other", tokens(5))
    wire.reserve(1)
    other.reserve(2)
    other.reserve(6)
    assert [row["scope_path"] for row in status(wire)["budgets"]] == [SCOPE]
    assert [row["reserved"]["text"] for row in status(wire)["reservations"]] == ["1"]
    assert status(wire)["denials"] == []
    assert [row["scope_path"] for row in status(other)["budgets"]] == ["tenant:other"]
    assert [row["reserved"]["text"] for row in status(other)["reservations"]] == ["2"]
    seen = status(wire, **{"X-Admin-API-Key": ADMIN_KEY})
    assert "tenant" not in seen
    assert [row["scope_path"] for row in seen["budgets"]] == [SCOPE, "tenant:other"]
    assert len(seen["reservations"]) == 2
    assert [row["tenant"] for row in seen["denials"]] == ["other"]
