"""The page of `cycles serve` and what it asks, without a browser; test_browser.py looks at it with one."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import deque

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.wire.charges import HOUR_MS, STEPS
from cycles.local.wire.denials import KEPT
from cycles.local.wire.links import LASTS_MS
from cycles.local.wire.overview import MOST_BUDGETS, MOST_DENIALS, MOST_RESERVATIONS
from cycles.local.wire.server import serve
from tests.support.authorities import ADMIN_KEY, SCOPE, UNIT
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


def test_what_scopes_begin_with(wire, authority):
    """Also before one of them has a row; of other tenants only the administrator sees it."""
    authority.budget(f"{SCOPE}/workspace:*", usd("1.00"), period="day", zone="Asia/Kolkata")
    authority.budget("tenant:other/agent:*", tokens(5))
    (mine,) = status(wire)["defaults"]
    assert (mine["scope_path"], mine["unit"], mine["allocated"]["text"]) == (f"{SCOPE}/workspace:*", UNIT, "$1.00")
    assert (mine["period"]["kind"], mine["period"]["zone"]) == ("day", "Asia/Kolkata")
    assert 0 < mine["period"]["ends_ms"] - wire.clock.now <= 86_400_000
    seen = status(wire, **{"X-Admin-API-Key": ADMIN_KEY})
    assert [(row["scope_path"], row["period"] is None) for row in seen["defaults"]] == [
        (f"{SCOPE}/workspace:*", False),
        ("tenant:other/agent:*", True),
    ]
    assert (seen["budgets"], seen["more_defaults"]) == ([], False)


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


def test_equal_denials_are_one(wire, authority):
    """Whether a request was sent again under its key, or the same was asked anew."""
    authority.budget(SCOPE, tokens(5))
    for _ in range(3):
        wire.reserve(6, key="same")
    wire.reserve(6)
    wire.reserve(7)
    wire.reserve(1)
    wire.reserve(6, action={"kind": "k", "name": "another"})
    wire.clock.now += 5
    wire.reserve(6)
    rows = [(row["requested"]["text"], row["action"]["name"], row["times"]) for row in status(wire)["denials"]]
    assert rows == [("6", "n", 5), ("6", "another", 1), ("7", "n", 1)]
    assert status(wire)["denials"][0]["at_ms"] == wire.clock.now, "the newest of them"
    assert status(wire)["denials"][0]["remaining"]["text"] == "4"


# -- what was charged --------------------------------------------------------------------------------------------------
def charged(wire: Wire) -> list[tuple[str, str, str, str]]:
    rows = status(wire)["charges"]
    return [(row["via"], row["action"]["name"], row["scope_path"], row["charged"]["text"]) for row in rows]


def test_charges_are_those_of_commits_and_events_once(wire, authority):
    authority.budget(SCOPE, tokens(100))
    held = wire.reserve(10, action={"kind": "llm", "name": "model"}, subject={"tenant": "acme", "agent": "A"})
    assert status(wire)["charges"] == []
    for _ in range(2):
        assert wire.commit(held, 7, key="c").is_success
        assert wire.event(4, key="e").is_success
    assert wire.commit(held, 8, key="d").status_code == 409
    assert wire.event(1000, overage_policy="REJECT").status_code == 409
    assert wire.release(wire.reserve(1)).is_success
    assert wire.event(1000).json()["charged"]["amount"] == 89
    assert charged(wire) == [
        ("event", "n", SCOPE, "89"),
        ("event", "n", SCOPE, "4"),
        ("commit", "model", f"{SCOPE}/agent:a", "7"),
    ]
    (row,) = status(wire)["budgets"]
    assert row["in_hour"] == {"amount": "100", "text": "100"} == row["spent"], "the tenant's budget paid for the agent"


def test_totals_are_of_an_hour_and_a_day(wire, authority):
    authority.budget(SCOPE, tokens(1_000))
    authority.budget(SCOPE, usd("1.00"))
    wire.event(1)
    wire.clock.now += 23 * HOUR_MS
    wire.event(10)
    wire.event(5, unit="USD_MICROCENTS")
    wire.clock.now += HOUR_MS - 1
    wire.event(100)

    def totals() -> list[tuple[str, str, str]]:
        return [(row["unit"], row["hour"]["text"], row["day"]["text"]) for row in status(wire)["totals"]]

    assert totals() == [("TOKENS", "110", "111"), ("USD_MICROCENTS", "$0.00000005", "$0.00000005")]
    (budget,) = [row for row in status(wire)["budgets"] if row["unit"] == "TOKENS"]
    assert (budget["hour"][0], budget["hour"][-1], len(budget["hour"])) == ("10", "100", STEPS)
    wire.clock.now += 1
    assert totals()[0] == ("TOKENS", "100", "110"), "the first one is a day old, and the second an hour"
    (budget,) = [row for row in status(wire)["budgets"] if row["unit"] == "TOKENS"]
    assert budget["in_hour"]["text"] == "100"


def test_charges_of_other_tenants_are_not_shown(wire, authority):
    authority.budget("tenant:other", tokens(10))
    with authority.client(tenant="other") as client:
        client.record(tokens(3), action=("k", "theirs"))
    assert (status(wire)["charges"], status(wire)["totals"]) == ([], [])
    seen = status(wire, **{"X-Admin-API-Key": ADMIN_KEY})
    assert [row["tenant"] for row in seen["charges"]] == ["other"]


def test_what_was_charged_is_bounded_and_says_so(wire, authority, monkeypatch):
    wire.http.event_hooks = {}
    authority.budget(SCOPE, tokens(10**9))
    monkeypatch.setattr(authority.app.operations.charges, "_ring", deque(maxlen=3))
    monkeypatch.setattr("cycles.local.wire.charges.KEPT", 3)
    for _ in range(2):
        wire.event(1)
    assert status(wire)["more_totals"] is False
    wire.event(1)
    wire.event(1)
    assert len(status(wire)["charges"]) == 3
    assert status(wire)["more_totals"] is True


def test_what_is_remembered_is_bounded(wire, authority):
    wire.http.event_hooks = {}  # the document is checked elsewhere, and this is many
    for number in range(KEPT + 5):
        wire.reserve(1 + number, metadata={"large": "x" * 1000})
    assert repr(authority.app.operations.denials) == f"<Denials {KEPT}>"
    seen = status(wire)
    assert (len(seen["denials"]), seen["more_denials"]) == (MOST_DENIALS, True)
    assert "large" not in str(authority.app.operations.denials.last(None, KEPT))


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


# -- links to it -------------------------------------------------------------------------------------------------------
def test_a_link_is_good_once_and_for_a_while(authority, clock):
    authority.budget(SCOPE, tokens(5))
    secret, links = authority.key(tenant="acme"), authority.app.links
    with httpx.Client(transport=authority.transport(), base_url="http://test") as http:

        def opened(token):
            return http.post("/key.json", headers={"X-Cycles-Link": token})

        token = links.token("acme", clock())
        first = opened(token)
        assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
        key = first.json()["api_key"]
        assert key != secret
        status = http.get("/status.json", headers={"X-Cycles-API-Key": key})
        assert (status.status_code, status.json()["tenant"]) == (200, "acme")
        assert len(authority.keys(None)) == 1, "no ledger has the page's"
        for late in (token, "", "x", secret):
            refused = opened(late)
            assert failed(refused, 401, "UNAUTHORIZED")
            assert "opened before" in refused.json()["message"]
        token = links.token("acme", clock())
        clock.now += LASTS_MS + 1
        assert failed(opened(token), 401, "UNAUTHORIZED")
        assert token not in repr(links)
