"""`local:` URLs: one name is one authority in this process."""

from __future__ import annotations

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared


@pytest.fixture(autouse=True)
def forgotten():
    forget_shared()
    yield
    forget_shared()


def test_one_name_is_one_authority(tmp_path, monkeypatch):
    shared = LocalAuthority.from_url("local:?usd=1.00")
    assert LocalAuthority.from_url("local:", tenant="acme") is shared
    row = shared.balance("tenant:default", "USD_MICROCENTS")
    assert row.allocated == row.remaining == 100_000_000
    monkeypatch.chdir(tmp_path)
    file = LocalAuthority.from_url("local:ledger.db")
    assert file is not shared
    assert (
        LocalAuthority.from_url(f"local:{tmp_path}/ledger.db?tokens=5&credits=6&risk_points=7", tenant="acme") is file
    )
    assert [(row.unit, row.allocated) for row in file.balances()] == [("CREDITS", 6), ("RISK_POINTS", 7), ("TOKENS", 5)]


def test_a_url_makes_a_budget_only_once():
    shared = LocalAuthority.from_url("local:?usd=1", tenant="acme")
    shared.fund("tenant:acme", "CREDIT", usd(1))
    LocalAuthority.from_url("local:?usd=1", tenant="acme")
    row = shared.balance("tenant:acme", "USD_MICROCENTS")
    assert row.allocated == row.remaining == 200_000_000
    with shared.client(tenant="acme") as client:
        client.reserve(usd(2), action=("k", "n")).release()


def test_a_client_that_comes_first_shares_what_the_class_returns_later():
    """The client knows only the registry; what that makes for it must have the face's own methods."""
    with cycles.Client(cycles.Config("local:?tokens=5", tenant="acme")) as client:
        held = client.reserve(tokens(2), action=("k", "n"))
        shared = LocalAuthority.from_url("local:")
        assert type(shared) is LocalAuthority
        row = shared.balance("tenant:acme", "TOKENS")
        assert (row.allocated, row.reserved) == (5, 2)
        held.release()


def test_a_class_of_ones_own_is_what_it_makes_of_a_url():
    class Mine(LocalAuthority):
        pass

    shared = Mine.from_url("local:")
    assert type(shared) is Mine
    assert LocalAuthority.from_url("local:") is shared


def test_a_shared_authority_that_was_closed_is_made_anew():
    LocalAuthority.from_url("local:?tokens=1").close()
    assert LocalAuthority.from_url("local:").balances() == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("local:?euro=1", "euro.*usd, tokens, credits, risk_points"),
        ("local:?usd=", "usd"),
        ("local:?usd=1.000000001", "decimals"),
        ("local:?usd=-1", "negative"),
        ("local:?tokens=1.5", "whole number"),
        ("local:?tokens=9223372036854775808", "int64"),
        ("http://x", "local:"),
        ("local:/no/such/folder/x.db", "no folder"),
    ],
)
def test_bad_urls(url, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        LocalAuthority.from_url(url)


def test_a_bad_tenant_of_a_url():
    with pytest.raises(ConfigError, match="a b"):
        LocalAuthority.from_url("local:?usd=1", tenant="a b")


def test_clients_in_this_process_leave_no_keys_in_the_file(tmp_path):
    """Every run of a program would leave one."""
    path = tmp_path / "ledger.db"
    with LocalAuthority(path) as authority:
        authority.budget("tenant:acme", usd("1.00"))
        for _ in range(3):
            with authority.client(tenant="acme") as client:
                client.reserve(usd("0.01"), action=("a", "b")).release()
        with cycles.Client(cycles.Config(f"local:{path}", tenant="acme", journal_enabled=False)) as client:
            client.reserve(usd("0.01"), action=("a", "b")).release()
            other = client.with_options(tenant="other")
            assert other.decide(usd("0.01"), action=("a", "b")).reason_code == "BUDGET_NOT_FOUND"
        assert authority.keys() == []
        secret = authority.session_key(tenant="acme")
        assert secret == authority.session_key(tenant="acme") != authority.session_key(tenant="other")
        authority.tenant("acme", status="SUSPENDED")
        with authority.client(tenant="acme") as client, pytest.raises(cycles.Unauthorized, match="TENANT_SUSPENDED"):
            client.reserve(usd("0.01"), action=("a", "b"))
    with LocalAuthority(path) as another, LocalAuthority(path) as other:
        config = cycles.Config("local:", api_key=another.session_key(tenant="acme"), tenant="acme")
        with (
            httpx.Client(transport=other.transport(), base_url="http://cycles.local") as http,
            cycles.Client(config, http_client=http) as client,
            pytest.raises(cycles.Unauthorized, match="KEY_NOT_FOUND"),
        ):
            client.reserve(usd("0.01"), action=("a", "b"))


def test_a_session_key_says_whose_it_is_and_can_not_be_forged():
    with LocalAuthority() as authority, LocalAuthority() as other:
        keys = authority.app.session_keys
        key = keys.key("acme")
        assert keys.tenant(key) == "acme"
        assert "session" in key
        assert "acme" not in repr(keys)
        beginning, _, signature = key.partition(".")
        for wrong in (
            "cyc_live_other",
            beginning,
            f"{beginning}.{signature[:-1]}x",
            f"{beginning}é.{signature}",
            f"cyc_live_session_!.{signature}",
            f"cyc_live_session_gIA=.{signature}",  # no text
            keys.key("other").partition(".")[0] + f".{signature}",
            other.app.session_keys.key("acme"),
        ):
            assert keys.tenant(wrong) is None


def test_a_budget_in_the_url_may_begin_anew():
    row = LocalAuthority.from_url("local:?usd=5.00/day/Europe/Berlin", tenant="acme").balance(
        "tenant:acme", "USD_MICROCENTS"
    )
    assert row.period is not None
    assert (row.allocated, row.period.kind, row.period.zone) == (500_000_000, "day", "Europe/Berlin")
    row = LocalAuthority.from_url("local:?tokens=5k/hour", tenant="acme").balance("tenant:acme", "TOKENS")
    assert row.period is not None
    assert (row.period.kind, row.period.zone) == ("hour", "UTC")


@pytest.mark.parametrize("budget", ["usd=5/", "usd=5/year", "usd=5/day/", "usd=5/day/Mars", "usd=/day"])
def test_a_period_in_the_url_that_there_is_not(budget):
    with pytest.raises(ConfigError):
        LocalAuthority.from_url(f"local:?{budget}")
