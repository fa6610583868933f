"""Provisioning through `LocalAuthority`: budgets, funding rows F and G, keys, tenants."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cycles import tokens, usd
from cycles.errors import InvalidRequest
from cycles.local import Budget, LocalAuthority
from cycles.local.ledger.keys import key_hash
from tests.support.authorities import SCOPE
from tests.support.postgres import on_sqlite
from tests.support.wire import failed


def figures(row: Budget) -> dict:
    return {
        "A": row.allocated,
        "R": row.remaining,
        "V": row.reserved,
        "S": row.spent,
        "D": row.debt,
        "O": row.is_over_limit,
    }


def shows(row: Budget, **expected: object) -> bool:
    known = figures(row)
    assert {name: known[name] for name in expected} == expected
    assert row.remaining == row.allocated - row.reserved - row.spent - row.debt
    return True


# -- funding -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def indebted(wire, authority):
    """A1000 R-50 V0 S1000 D50 L100."""
    authority.budget(SCOPE, tokens(1000), overdraft_limit=tokens(100))
    wire.event(1050, overage_policy="ALLOW_WITH_OVERDRAFT")
    assert shows(authority.balance(SCOPE, "TOKENS"), A=1000, R=-50, V=0, S=1000, D=50, O=False)
    return authority


@pytest.mark.parametrize(
    ("operation", "amount", "expected"),
    [
        ("CREDIT", 200, {"A": 1200, "R": 150, "D": 50}),
        ("RESET", 2000, {"A": 2000, "R": 950, "S": 1000, "D": 50}),
        ("RESET_SPENT", 2000, {"A": 2000, "R": 1950, "S": 0, "D": 50}),
        ("REPAY_DEBT", 30, {"D": 20, "R": -20}),
        ("REPAY_DEBT", 80, {"D": 0, "A": 1030, "R": 30}),
    ],
)
def test_f1_f3_f4_f5_f6(indebted, operation, amount, expected):
    assert shows(indebted.fund(SCOPE, operation, tokens(amount)), **expected)


def test_f2_debit_needs_what_it_takes(indebted):
    with pytest.raises(InvalidRequest, match="-50 tokens left"):
        indebted.fund(SCOPE, "DEBIT", tokens(1))


def test_f7_g1_funding_opens_a_capped_budget(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    wire.event(1001)
    assert authority.balance(SCOPE, "TOKENS").is_over_limit
    assert failed(wire.reserve(0), 409, "OVERDRAFT_LIMIT_EXCEEDED")
    assert shows(authority.fund(SCOPE, "CREDIT", tokens(0)), R=0, O=False)
    assert wire.reserve(0).is_success


@pytest.mark.parametrize(
    ("operation", "amount", "spent", "expected"),
    [
        ("RESET", 500, None, {"A": 500, "R": -200}),
        ("RESET_SPENT", 500, None, {"R": 100, "S": 0}),
        ("RESET_SPENT", 500, 120, {"R": -20, "S": 120}),
        ("DEBIT", 300, None, {"A": 700, "R": 0}),
        ("DEBIT", 301, None, None),
        ("RESET", 500, 120, None),
        ("BURN", 1, None, None),
    ],
)
def test_f8(wire, authority, operation, amount, spent, expected):
    authority.budget(SCOPE, tokens(1000))
    wire.event(300)
    wire.reserve(400)
    if expected is None:
        with pytest.raises(InvalidRequest):
            authority.fund(SCOPE, operation, tokens(amount), spent=spent)
        expected = {"A": 1000, "R": 300}
    else:
        authority.fund(SCOPE, operation, tokens(amount), spent=spent)
    assert shows(authority.balance(SCOPE, "TOKENS"), **expected)


def test_g2_a_lowered_overdraft_limit(wire, indebted):
    indebted.fund(SCOPE, "CREDIT", tokens(100))
    assert wire.reserve(1).is_success
    row = indebted.budget(SCOPE, tokens(1100), overdraft_limit=tokens(40))
    assert shows(row, O=True, D=50)
    assert failed(wire.reserve(1), 409, "OVERDRAFT_LIMIT_EXCEEDED")


def test_a_commit_is_refused_while_debt_is_past_a_lowered_limit(wire, authority):
    """Pass 2 looks at every scope below zero, even when a parent lets nothing more be taken."""
    child = f"{SCOPE}/agent:a"
    authority.budget(SCOPE, tokens(1000))
    authority.budget(child, tokens(10), overdraft_limit=tokens(100))
    ask = {"subject": {"tenant": "acme", "agent": "a"}, "overage_policy": "ALLOW_WITH_OVERDRAFT"}
    held = wire.reserve(10, **ask)
    wire.event(50, **ask)
    assert shows(authority.balance(child, "TOKENS"), R=-50, D=50)
    authority.fund(SCOPE, "DEBIT", tokens(940))
    authority.budget(child, tokens(10), overdraft_limit=tokens(40))
    assert failed(wire.commit(held, 20), 409, "OVERDRAFT_LIMIT_EXCEEDED")
    assert wire.commit(held, 10).is_success


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_g3_no_funding_of_what_is_shut(authority, status):
    authority.budget(SCOPE, tokens(10))
    (authority.freeze if status == "FROZEN" else authority.close_budget)(SCOPE, "TOKENS")
    with pytest.raises(InvalidRequest, match=status.lower()):
        authority.fund(SCOPE, "CREDIT", tokens(1))
    with pytest.raises(InvalidRequest, match=status.lower()):
        authority.budget(SCOPE, tokens(1))


def test_g4_closing_a_tenant_gives_everything_back_once(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    authority.budget(f"{SCOPE}/agent:a", tokens(500))
    authority.budget("tenant:acme2", tokens(5))
    wire.event(100)
    wire.reserve(400, subject={"tenant": "acme", "agent": "a"}, ttl_ms=1_000)
    authority.tenant("acme", status="CLOSED")
    assert shows(authority.balance(SCOPE, "TOKENS"), A=1000, R=900, V=0, S=100)
    assert shows(authority.balance(f"{SCOPE}/agent:a", "TOKENS"), R=500, V=0)
    assert [row.status for row in authority.balances()] == ["CLOSED", "CLOSED", "ACTIVE"]
    wire.clock.now += 1_000_000
    assert authority.sweep() == 0
    assert shows(authority.balance(SCOPE, "TOKENS"), R=900)
    assert [hold.status for hold in authority.reservations()] == ["RELEASED"]
    with pytest.raises(InvalidRequest, match="for good"):
        authority.tenant("acme")
    authority.tenant("acme", status="CLOSED")


# -- budgets, keys, tenants --------------------------------------------------------------------------------------------
def test_setting_a_budget_keeps_what_happened(wire, authority):
    row = authority.budget(SCOPE, tokens(100), overdraft_limit=tokens(7), caps={"max_tokens": 1})
    assert shows(row, A=100, R=100)
    wire.event(30)
    wire.reserve(20)
    for _ in range(2):
        assert shows(authority.budget(SCOPE, tokens(90)), A=90, R=40, V=20, S=30)
    row = authority.balance(SCOPE, "TOKENS")
    assert (row.overdraft_limit, row.caps) == (7, {"max_tokens": 1})
    assert authority.budget(SCOPE, tokens(90), caps={}).caps is None
    assert shows(authority.ensure_budget(SCOPE, tokens(1)), A=90)


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "acme",
        "tenant:",
        "agent:a",
        "tenant:acme/",
        "tenant:a b",
        "tenant:*",
        "tenant:acme/team:x",
        "tenant:acme/agent:a/app:b",
        "tenant:acme/agent:a/agent:b",
        f"tenant:{'a' * 129}",
    ],
)
def test_bad_scopes(authority, scope):
    with pytest.raises(InvalidRequest, match="write a path such as"):
        authority.budget(scope, tokens(1))


def test_bad_amounts(authority):
    with pytest.raises(InvalidRequest, match="overdraft_limit"):
        authority.budget(SCOPE, tokens(1), overdraft_limit=usd(1))
    with pytest.raises(InvalidRequest, match="allocated"):
        authority.budget(SCOPE, 5)
    authority.budget(SCOPE, tokens(2**63 - 1))
    with pytest.raises(InvalidRequest, match="int64"):
        authority.fund(SCOPE, "CREDIT", tokens(1))
    with pytest.raises(InvalidRequest, match="no budget"):
        authority.balance(SCOPE, "CREDITS")


def test_freeze_and_unfreeze(wire, authority):
    authority.budget(SCOPE, tokens(10))
    held = wire.reserve(5)
    authority.freeze(SCOPE, "TOKENS")
    with pytest.raises(InvalidRequest, match="already"):
        authority.freeze(SCOPE, "TOKENS")
    assert failed(wire.reserve(1), 409, "BUDGET_FROZEN")
    assert wire.commit(held, 5).is_success
    authority.unfreeze(SCOPE, "TOKENS")
    assert wire.reserve(1).is_success
    authority.close_budget(SCOPE, "TOKENS")
    assert failed(wire.event(1), 409, "BUDGET_CLOSED")
    with pytest.raises(InvalidRequest, match="closed"):
        authority.unfreeze(SCOPE, "TOKENS")


def test_tenant_settings_are_read_live(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    authority.tenant("acme", default_ttl_ms=30_000, max_ttl_ms=40_000, max_extensions=0, overage_policy="REJECT")
    held = wire.reserve(5)
    assert held.json()["remaining_ttl_ms"] == 30_000
    assert wire.reserve(5, ttl_ms=3_000_000).json()["remaining_ttl_ms"] == 40_000
    assert failed(wire.extend(held, 1), 409, "MAX_EXTENSIONS_EXCEEDED")
    assert failed(wire.commit(held, 6), 409, "BUDGET_EXCEEDED")
    authority.tenant("acme")
    assert wire.reserve(5, ttl_ms=86_400_000).json()["remaining_ttl_ms"] == 3_600_000
    assert failed(wire.extend(held, 1), 409, "MAX_EXTENSIONS_EXCEEDED"), "frozen when it was reserved"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"status": "closed"}, "status"),
        ({"default_ttl_ms": 999}, "default_ttl_ms"),
        ({"max_ttl_ms": 86_400_001}, "max_ttl_ms"),
        ({"max_extensions": -1}, "max_extensions"),
        ({"overage_policy": "ALLOW"}, "overage_policy"),
    ],
)
def test_bad_tenant_settings(authority, settings, says):
    with pytest.raises(InvalidRequest, match=f"{says}: must be"):
        authority.tenant("acme", **settings)
    with pytest.raises(InvalidRequest, match="write a path"):
        authority.tenant("a b")


def test_bad_caps_and_funds(authority):
    with pytest.raises(InvalidRequest, match=r"caps\.max_token: is not a field"):
        authority.budget(SCOPE, tokens(1), caps={"max_token": 1})
    with pytest.raises(InvalidRequest, match=r"caps\.tool_allowlist\[0\]"):
        authority.budget(SCOPE, tokens(1), caps={"tool_allowlist": [1]})
    assert authority.balances() == []
    authority.budget(SCOPE, tokens(1))
    with pytest.raises(InvalidRequest, match="spent"):
        authority.fund(SCOPE, "RESET_SPENT", tokens(1), spent=-1)
    with pytest.raises(InvalidRequest, match="amount"):
        authority.fund(SCOPE, "CREDIT", 5)


@on_sqlite
def test_a_malformed_tenant_record_is_an_internal_error(wire, authority):
    """Row 41: a status in lower case, or broken JSON, must not let anything through."""
    authority.budget(SCOPE, tokens(10))
    held = wire.reserve(5)
    authority.tenant("acme")
    with authority.store.writing() as books:
        books.connection.execute("UPDATE tenants SET data = replace(data, 'ACTIVE', 'closed')")
    for response in (wire.reserve(1), wire.commit(held, 1), wire.release(held), wire.extend(held, 1), wire.event(1)):
        assert failed(response, 500, "INTERNAL_ERROR")
    assert failed(wire.decide(1), 500, "INTERNAL_ERROR")
    with authority.store.writing() as books:
        books.connection.execute("UPDATE tenants SET data = '{'")
    assert failed(wire.reserve(1), 500, "INTERNAL_ERROR")
    assert shows(authority.balance(SCOPE, "TOKENS"), R=5, V=5)


def test_keys_are_not_kept(tmp_path):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path) as authority:
        secret = authority.key(tenant="acme")
        authority.add_key("fixed-key", tenant="acme")
        assert secret not in repr(authority)
    assert secret.startswith("cyc_live_")
    assert len(secret) == len("cyc_live_") + 32
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in kept
    assert b"fixed-key" not in kept


def test_keys_are_listed_without_their_secrets(authority, clock):
    first = authority.key(tenant="acme", name="agent")
    clock.now += 1
    second = authority.key(tenant="acme", permissions=["budgets:write"], expires=timedelta(seconds=5))
    clock.now += 1
    other = authority.add_key("cyc_fixed-key", tenant="other")
    assert [key.name for key in authority.keys("acme")] == ["agent", ""]
    listed = authority.keys()
    assert [key.prefix for key in listed[:2]] == [first[:14], second[:14]]
    assert other.prefix == "", "of a short secret its beginning would be too much"
    assert listed[1].permissions == ("budgets:write",)
    assert listed[1].expires_at_ms == clock.now - 1 + 5_000
    assert listed[0].may("reservations:create")
    assert not listed[0].may("budgets:write")
    for secret in (first, second, "cyc_fixed-key"):
        assert secret not in repr(listed)
        assert key_hash(secret) not in repr(listed)


def test_a_key_expires(wire, authority, clock):
    authority.budget(SCOPE, tokens(10))
    wire.http.headers["X-Cycles-API-Key"] = authority.key(tenant="acme", expires=timedelta(seconds=5))
    clock.now += 4_999
    assert wire.reserve(1).is_success
    clock.now += 1
    response = wire.reserve(1)
    assert failed(response, 401, "UNAUTHORIZED")
    assert response.json()["message"].startswith("KEY_EXPIRED")
    assert "x-cycles-tenant" not in response.headers


def test_revoking_by_id_and_by_secret(wire, authority, clock):
    (key,) = authority.keys("acme")
    assert authority.revoke_key(key.key_id, "leaked").status(clock.now) == "REVOKED"
    first = authority.keys("acme")
    assert (first[0].revoked_at_ms, first[0].revoked_reason) == (clock.now, "leaked")
    clock.now += 1
    authority.revoke_key(key.key_id)
    authority.revoke(wire.secret)
    assert authority.keys("acme") == first, "it was revoked once"
    assert wire.reserve(1).json()["message"].startswith("KEY_REVOKED")
    with pytest.raises(InvalidRequest, match="key_nobody"):
        authority.revoke_key("key_nobody")
    authority.add_key(wire.secret, tenant="acme")
    assert wire.get("/v1/balances", tenant="acme").is_success
    assert [made.key_id for made in authority.keys("acme")] == [key.key_id]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"permissions": ["budgets:burn"]}, r"permissions\[0\]: must be one of"),
        ({"expires": timedelta(0)}, "expires.*over already"),
        ({"expires": datetime(2100, 1, 1)}, "zone"),  # noqa: DTZ001 - what is refused
        ({"expires": 5}, "timedelta"),
        ({"tenant": "a b"}, "write a path"),
    ],
)
def test_bad_keys(authority, fields, says):
    with pytest.raises(InvalidRequest, match=says):
        authority.key(**{"tenant": "acme", **fields})
    for secret in ("", " ", " spaced-secret"):
        with pytest.raises(InvalidRequest, match="at least one character") as caught:
            authority.add_key(secret, tenant="acme")
        assert "spaced" not in str(caught.value)
    assert authority.keys() == []


def test_tenants_with_and_without_a_record(authority, clock):
    authority.key(tenant="zebra")
    authority.budget("tenant:zebra", tokens(1))
    authority.budget("tenant:alone/agent:a", tokens(1))
    clock.now += 1
    authority.tenant("acme", name="Acme Corporation", metadata={"plan": "free"})
    shown = [(tenant.tenant_id, tenant.name, tenant.created_at_ms) for tenant in authority.tenants()]
    assert shown == [
        ("acme", "Acme Corporation", clock.now),
        ("alone", "", clock.now - 1),
        ("zebra", "", clock.now - 1),
    ]
    changed = authority.tenant("acme", status="SUSPENDED")
    assert (changed.name, changed.metadata, changed.status) == ("Acme Corporation", {"plan": "free"}, "SUSPENDED")
    assert authority.tenants()[0] == changed
    with pytest.raises(InvalidRequest, match="name: must not be blank"):
        authority.tenant("acme", name=" ")


def test_reservations_oldest_first(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    first = wire.reserve(1)
    wire.reserve(2)
    wire.commit(first, 1)
    assert [(hold.estimate, hold.status) for hold in authority.reservations()] == [(1, "COMMITTED"), (2, "ACTIVE")]
