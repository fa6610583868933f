"""Lists: filters, windows, order and cursors."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

import cycles
from cycles import tokens, usd
from cycles.local.ledger import times
from tests.support.authorities import SCOPE
from tests.support.wire import failed

LIST = "/v1/reservations"


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")


def keys(response) -> list[str]:
    return [row["idempotency_key"] for row in response.json()["reservations"]]


@pytest.fixture
def listed(wire, authority):
    """Six reservations, a second apart: a…f, of which b is committed, c released, and f expires first."""
    authority.budget(SCOPE, tokens(1000))
    subjects = ["bot", "bot2", "Bot", "bot", "x", "x"]
    held = {}
    for name, agent in zip("abcdef", subjects, strict=True):
        ttl_ms = 20_000 if name == "f" else 600_000
        held[name] = wire.reserve(
            ord(name) % 3, key=name, ttl_ms=ttl_ms, subject={"tenant": "acme", "agent": agent}, metadata={"of": name}
        )
        wire.clock.now += 1_000
    wire.commit(held["b"], 1, metadata={"m": 1})
    wire.clock.now += 1_000
    wire.release(held["c"])
    wire.start = wire.clock.now - 7_000
    return wire


def test_newest_first(listed):
    assert keys(listed.get(LIST)) == list("fedcba")
    assert listed.get(LIST).json()["has_more"] is False
    assert "next_cursor" not in listed.get(LIST).json()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"agent": "bot"}, "dca"),
        ({"agent": "BOT"}, "dca"),
        ({"agent": "bot2"}, "b"),
        ({"agent": "bo"}, ""),
        ({"agent": "b_t"}, ""),
        ({"agent": "%"}, ""),
        ({"tenant": "acme", "agent": "bot/toolset:x"}, ""),
        ({"app": "bot"}, ""),
        *(
            ({name: ""}, "")
            for name in ("tenant", "workspace", "app", "workflow", "agent", "toolset", "idempotency_key")
        ),
        *(({name: ""}, "fedcba") for name in ("from", "to", "expires_from", "expires_to", "limit", "cursor")),
        ({"from": " "}, "fedcba"),
        ({"tenant": "acme", "status": "ACTIVE"}, "feda"),
        ({"status": "COMMITTED"}, "b"),
        ({"status": "RELEASED", "agent": "bot"}, "c"),
        ({"idempotency_key": "d"}, "d"),
        ({"idempotency_key": "D"}, ""),
        ({"sort_by": "created_at_ms", "sort_dir": "asc"}, "abcdef"),
        ({"sort_dir": "ASC"}, "abcdef"),
        ({"sort_by": "EXPIRES_AT_MS"}, "edcbaf"),
        ({"sort_by": "expires_at_ms", "sort_dir": "asc", "limit": 2}, "fa"),
        ({"surprise": "1"}, "fedcba"),
    ],
)
def test_filters_and_order(listed, parameters, expected):
    assert keys(listed.get(LIST, **parameters)) == list(expected)


def test_windows_are_inclusive(listed):
    at = [iso(listed.start + 1_000 * n) for n in range(10)]
    assert keys(listed.get(LIST, **{"from": at[1], "to": at[3]})) == list("dcb")
    assert keys(listed.get(LIST, **{"from": at[1].replace("Z", ".0001Z"), "to": at[3]})) == list("dc")
    assert keys(listed.get(LIST, **{"from": at[4], "to": ""})) == list("fe")
    assert keys(listed.get(LIST, expires_to=iso(listed.start + 25_000))) == ["f"]
    assert keys(listed.get(LIST, finalized_from=at[6])) == list("cb")
    assert keys(listed.get(LIST, finalized_from=at[6], finalized_to=at[6])) == ["b"]
    moved = datetime.fromtimestamp(listed.start / 1000 + 4, UTC).replace(tzinfo=None).isoformat()
    assert keys(listed.get(LIST, **{"from": f"{moved}+00:00"})) == list("fe")


def test_finalized_windows_exclude_what_is_not_final(listed):
    assert keys(listed.get(LIST, finalized_from="2000-01-01T00:00:00Z")) == list("cb")


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "abc"},
        {"limit": "-1"},
        {"limit": "1.0"},
        {"limit": "٣"},
        {"idempotency_key": "x" * 257},
        {"status": "active"},
        {"status": ""},
        {"sort_by": ""},
        {"sort_dir": ""},
        {"sort_by": "", "sort_dir": "asc"},
        {"sort_by": "amount"},
        {"sort_dir": "down"},
        {"from": "yesterday"},
        {"from": "2026-01-01T00:00Z"},
        {"from": "20260101T000000Z"},
        {"from": "2026-W01-1T00:00:00Z"},
        {"from": "2026-01-01 00:00:00Z"},
        {"from": "2026-01-01T00:00:00+0000"},
        {"from": "2026-01-01T00:00:00+00"},
        {"from": "2026-01-01T00:00:00,5Z"},
        {"from": "2026-01-01T00:00:00.Z"},
        {"from": "2026-01-01T24:00:00Z"},
        {"from": "2026-01-01T00:60:00Z"},
        {"from": "2026-01-01T00:00:61Z"},
        {"from": "2026-01-01T00:00:00+24:00"},
        {"from": "2026-01-01T00:00:00+00:60"},
        {"from": "2026-02-30T00:00:00Z"},
        {"from": "2026-13-01T00:00:00Z"},
        {"from": " 2026-01-01T00:00:00Z"},
        {"from": "٢٠٢٦-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00Z\n"},
        {"finalized_to": "2026-01-01T00:00Z"},
        {"from": "2026-01-01T00:00:00"},
        {"to": "2026-01-01"},
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"expires_from": "2026-01-02T00:00:00Z", "expires_to": "2026-01-01T00:00:00Z"},
        {"from": "0001-01-01T00:00:00+14:00", "to": "x"},
        {"cursor": "garbage"},
        {"cursor": "gar-ba=ge!"},
        {"cursor": "W10"},
        {"cursor": "WyJ4IiwxLDJd"},
        {"cursor": "bnVsbA"},
    ],
)
def test_bad_parameters(listed, parameters):
    response = listed.get(LIST, **parameters)
    assert failed(response, 400, "INVALID_REQUEST")
    assert any(f"{name}=" in response.json()["message"] for name in parameters)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T14:30:00+02:30", "2026-01-31T12:00:00Z"),
        ("2026-01-31T09:30:00.000-02:30", "2026-01-31T12:00:00Z"),
        ("2026-01-31T11:59:60Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.0000009Z", "2026-01-31T12:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_times_as_rfc_3339_writes_them(text, same_as):
    assert times.microseconds(text) == times.microseconds(same_as)
    assert times.microseconds(same_as) == times.of(datetime.fromisoformat(same_as))


def test_the_year_0_comes_before_the_year_1():
    last, first = times.microseconds("0000-12-31T23:59:59.5Z"), times.microseconds("0001-01-01T00:00:00Z")
    assert first - last == 500_000
    assert times.microseconds("0000-02-29T00:00:00Z") < last


def test_a_window_of_the_year_0(listed):
    assert keys(listed.get(LIST, **{"from": "0000-01-01T00:00:00Z"})) == list("fedcba")
    assert keys(listed.get(LIST, **{"from": "9999-12-31T23:59:60-23:59"})) == []


@pytest.mark.parametrize("blank", ["", " "])
def test_blank_means_unset_for_bounds_of_windows_only(listed, blank):
    for bound in ("from", "to", "expires_from", "expires_to", "finalized_from", "finalized_to"):
        assert keys(listed.get(LIST, **{bound: blank})) == list("fedcba"), bound
    for level in ("idempotency_key", "workspace", "app", "workflow", "agent", "toolset"):
        assert keys(listed.get(LIST, **{level: blank})) == [], level


def test_a_page_is_bounded_in_bytes(wire, authority, monkeypatch):
    """Metadata may be as large as a request: pages end early, say so, and join without gap or repetition."""
    monkeypatch.setattr("cycles.local.wire.paging.MAX_BYTES", 10_000)
    authority.budget(SCOPE, tokens(1000))
    for number in range(7):
        wire.reserve(1, key=f"{number}", metadata={"m": "x" * (4_000 if number != 3 else 30_000)})
        wire.clock.now += 1
    sizes, joined, cursor = [], [], {}
    while True:
        page = wire.get(LIST, include="metadata", **cursor).json()
        sizes.append(len(page["reservations"]))
        joined += [row["idempotency_key"] for row in page["reservations"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert joined == list("6543210")
    assert sizes == [2, 1, 1, 2, 1], "a row that is larger than a page stands alone"
    assert len(wire.get(LIST).json()["reservations"]) == 7, "what is not shown does not count"


@pytest.mark.parametrize("sort_by", [None, "reservation_id", "tenant", "scope_path", "status", "reserved"])
@pytest.mark.parametrize("sort_dir", [None, "asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 4])
def test_pages_join_without_gap_or_repetition(listed, sort_by, sort_dir, limit):
    asked = {name: value for name, value in {"sort_by": sort_by, "sort_dir": sort_dir}.items() if value}
    whole = keys(listed.get(LIST, **asked))
    assert sorted(whole) == list("abcdef")
    joined, cursor = [], {}
    while True:
        page = listed.get(LIST, limit=limit, **asked, **cursor)
        joined += keys(page)
        if not page.json()["has_more"]:
            break
        assert len(keys(page)) == limit
        cursor = {"cursor": page.json()["next_cursor"]}
    assert joined == whole


def test_ties_go_by_id_ascending(listed):
    ids = [row["reservation_id"] for row in listed.get(LIST, sort_by="tenant", sort_dir="desc").json()["reservations"]]
    assert ids == sorted(ids)


def test_a_cursor_belongs_to_its_list(listed):
    cursor = listed.get(LIST, limit=2).json()["next_cursor"]
    assert keys(listed.get(LIST, limit=1, include="metadata", cursor=cursor)) == ["d"]
    for other in ({"sort_dir": "asc"}, {"sort_by": "status"}, {"status": "ACTIVE"}, {"from": "2000-01-01T00:00:00Z"}):
        assert failed(listed.get(LIST, limit=2, cursor=cursor, **other), 400, "INVALID_REQUEST")
    assert failed(listed.get("/v1/balances", tenant="acme", cursor=cursor), 400, "INVALID_REQUEST")


def test_a_cursor_is_bound_to_the_values_it_was_asked_with(listed):
    cursor = listed.get(LIST, limit=1, agent="bot", status="ACTIVE").json()["next_cursor"]
    for other in ({"agent": "x", "status": "ACTIVE"}, {"agent": "bot", "status": "RELEASED"}):
        assert failed(listed.get(LIST, limit=1, cursor=cursor, **other), 400, "INVALID_REQUEST")
    assert keys(listed.get(LIST, limit=1, cursor=cursor, agent="BOT", status="ACTIVE")) == ["a"]


def test_fifty_rows_unless_asked_otherwise(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    for number in range(50):
        authority.budget(f"{SCOPE}/agent:{number}", tokens(1))
        wire.reserve(1)
    assert len(keys(wire.get(LIST))) == 50
    assert "next_cursor" not in wire.get(LIST).json()
    wire.reserve(1)
    assert len(keys(wire.get(LIST))) == 50
    assert len(keys(wire.get(LIST, limit=200))) == 51
    page = wire.get("/v1/balances", tenant="acme").json()
    assert (len(page["balances"]), page["has_more"]) == (50, True)


@pytest.mark.parametrize("change", [{1: 2**63}, {1: -(2**70)}, {1: True}, {1: 1.0}, {1: "1"}, {2: "\ud800"}, {2: None}])
def test_a_forged_cursor_is_refused(listed, change):
    """The mark of its list alone does not make a cursor: SQLite could not take these values."""
    cursor = listed.get(LIST, limit=2).json()["next_cursor"]
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    for place, part in change.items():
        parts[place] = part
    forged = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    assert failed(listed.get(LIST, limit=2, cursor=forged), 400, "INVALID_REQUEST")


@pytest.mark.parametrize("asked", [{}, {"sort_dir": "asc"}, {"sort_by": "reserved"}, {"sort_by": "reservation_id"}])
def test_pages_hold_while_reservations_come_and_end(listed, asked):
    """Each row that was there all along comes exactly once, whatever is made and settled between two pages."""
    there = set(keys(listed.get(LIST)))
    seen, cursor, made = [], {}, 0
    while True:
        page = listed.get(LIST, limit=1, **asked, **cursor)
        seen += keys(page)
        if not page.json()["has_more"]:
            break
        cursor = {"cursor": page.json()["next_cursor"]}
        if made < 12:
            held = listed.reserve(made % 4, key=f"new-{made}", ttl_ms=600_000)
            listed.release(held)
            made += 1
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_include(listed):
    def maps(include: str | list[str] | None) -> set[str]:
        asked = {} if include is None else {"include": include}
        (row,) = listed.get(LIST, status="COMMITTED", **asked).json()["reservations"]
        return row.keys() & {"metadata", "committed_metadata", "evidence"}

    assert maps(None) == maps("") == maps("everything,,") == set()
    assert maps("METADATA, x") == {"metadata"}
    assert maps(["metadata", "committed_metadata"]) == {"metadata", "committed_metadata"}, "repeated, too"
    assert maps("metadata,committed_metadata,evidence") == {"metadata", "committed_metadata"}
    (row,) = listed.get(LIST, status="COMMITTED").json()["reservations"]
    detail = listed.get(f"{LIST}/{row['reservation_id']}").json()
    assert (detail["metadata"], detail["committed_metadata"]) == ({"of": "b"}, {"m": 1})
    assert detail["committed"] == {"unit": "TOKENS", "amount": 1}
    assert detail["finalized_at_ms"] == listed.start + 6_000


def test_expired_rows_are_listed(listed):
    listed.clock.now += 30_000
    assert keys(listed.get(LIST, status="EXPIRED")) == ["f"]


# -- balances ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def budgets(wire, authority):
    for scope in (SCOPE, f"{SCOPE}/agent:bot", f"{SCOPE}/app:a/agent:bot", f"{SCOPE}/app:a", "tenant:acme2"):
        authority.budget(scope, tokens(10))
    authority.budget(SCOPE, usd(1))
    authority.budget(SCOPE, cycles.credits(1))
    authority.freeze(f"{SCOPE}/app:a", "TOKENS")
    return wire


def paths(response) -> list[tuple[str, str]]:
    return [(row["scope_path"], row["remaining"]["unit"]) for row in response.json()["balances"]]


def test_the_whole_tree_in_order(budgets):
    whole = paths(budgets.get("/v1/balances", tenant="acme", include_children="false"))
    assert whole == sorted(whole)
    assert len(whole) == 6
    joined, cursor = [], {}
    while True:
        page = budgets.get("/v1/balances", tenant="acme", limit=2, **cursor)
        joined += paths(page)
        if not page.json()["has_more"]:
            break
        cursor = {"cursor": page.json()["next_cursor"]}
    assert joined == whole
    assert "next_cursor" not in page.json()
    (leaf,) = [row for row in page.json()["balances"] if row["scope_path"].endswith("app:a/agent:bot")]
    assert leaf["scope"] == "agent:bot"


def test_balance_filters(budgets):
    assert [path for path, _ in paths(budgets.get("/v1/balances", agent="BOT"))] == [
        f"{SCOPE}/agent:bot",
        f"{SCOPE}/app:a/agent:bot",
    ]
    assert paths(budgets.get("/v1/balances", agent="bot", app="A")) == [(f"{SCOPE}/app:a/agent:bot", "TOKENS")]
    assert paths(budgets.get("/v1/balances", tenant="")) == []
    assert paths(budgets.get("/v1/balances", agent="bo")) == []
    assert paths(budgets.get("/v1/balances", app="a/agent:bot")) == [], "a value is one segment"


def test_a_cursor_of_balances_belongs_to_its_list(budgets, authority):
    cursor = budgets.get("/v1/balances", tenant="acme", limit=1).json()["next_cursor"]
    assert len(paths(budgets.get("/v1/balances", tenant="acme", cursor=cursor))) == 5
    for other in ({"agent": "bot"}, {"tenant": "acme", "agent": "bot"}):
        assert failed(budgets.get("/v1/balances", cursor=cursor, **other), 400, "INVALID_REQUEST")
    assert failed(budgets.get(LIST, cursor=cursor), 400, "INVALID_REQUEST")
    budgets.http.headers["X-Cycles-API-Key"] = authority.key(tenant="acme2")
    assert failed(budgets.get("/v1/balances", tenant="acme2", cursor=cursor), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "parameters", [{}, {"limit": 1}, {"tenant": "acme", "include_children": "perhaps"}, {"tenant": "acme", "limit": 0}]
)
def test_bad_balance_parameters(budgets, parameters):
    assert failed(budgets.get("/v1/balances", **parameters), 400, "INVALID_REQUEST")


def test_debt_and_limits_show_only_when_there_are_any(wire, authority):
    authority.budget(SCOPE, tokens(10), overdraft_limit=tokens(5))
    (row,) = wire.get("/v1/balances", tenant="acme").json()["balances"]
    assert row["overdraft_limit"] == {"unit": "TOKENS", "amount": 5}
    assert row.keys().isdisjoint({"debt", "is_over_limit"})
    wire.event(12, overage_policy="ALLOW_WITH_OVERDRAFT")
    (row,) = wire.get("/v1/balances", tenant="acme").json()["balances"]
    assert (row["debt"]["amount"], row["remaining"]["amount"]) == (2, -2)
