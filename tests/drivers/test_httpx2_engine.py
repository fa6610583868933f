"""The engine httpx2: guards send through it in every kind of code, and its clients are taken where httpx's are."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections import deque

import httpx2
import pytest

import cycles
from cycles import usd
from cycles._drivers import httpx2_engine, surroundings
from tests.support.authorities import ACTION
from tests.support.net import LOSE


@pytest.fixture
def config(config):
    return config.replace(journal_enabled=False, read_timeout=60.0, http_engine="httpx2")


def spend(client):
    with cycles.Guard(usd("0.05"), action=ACTION, client=client) as reservation:
        reservation.commit(usd("0.03"))


async def aspend(client):
    async with cycles.Guard(usd("0.05"), action=ACTION, client=client) as reservation:
        await reservation.commit(usd("0.03"))


def lose_one_of_each(server):
    server.plan["reservations"] = deque([LOSE])
    server.plan["commit"] = deque([LOSE])


def test_blocking_guards_send_through_it_and_lost_answers_are_asked_for_again(server, config):
    lose_one_of_each(server)
    with cycles.Client(config) as client:
        spend(client)
        assert type(client.api.get_httpx_client()) is httpx2_engine.DirectClient
        spend(client.with_options(agent="sibling"))
    assert len(set(server.keys("commit"))) == 2
    assert len(server.keys("commit")) == 3
    assert server.spent() == 6


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_asynchronous_guards_send_through_it(server, config, library):
    lose_one_of_each(server)

    async def main():
        async with cycles.AsyncClient(config) as client:
            await aspend(client)
            assert type(client.api.get_async_httpx_client()) is httpx2_engine.AsyncDirectClient

    asyncio.run(main()) if library == "asyncio" else pytest.importorskip("trio").run(main)
    assert server.spent() == 3


def test_clients_of_httpx2_are_taken_whatever_the_setting_says(server, config):
    lose_one_of_each(server)
    config = config.replace(http_engine="httpx")
    with httpx2.Client() as http, cycles.Client(config, http_client=http) as client:
        spend(client)
        spend(client.with_options(agent="sibling"))
        assert client.api.get_httpx_client() is http

    async def main():
        async with httpx2.AsyncClient() as http, cycles.AsyncClient(config, http_client=http) as client:
            await aspend(client)

    asyncio.run(main())
    assert server.spent() == 9


def test_what_never_connected_was_not_sent(config):
    with (
        cycles.Client(config.replace(base_url="http://127.0.0.1:1", retry_enabled=False)) as client,
        pytest.raises(cycles.AuthorityUnavailable, match="ConnectError"),
    ):
        client.decide(usd("1"), action=ACTION)


def test_an_authority_in_this_process_needs_no_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with cycles.Client(cycles.Config("local:?usd=1", http_engine="httpx2")) as client:
        spend(client)


# -- the certificates of the system ------------------------------------------------------------------------------------
@pytest.fixture
def _bare(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def opened(**options):
    surroundings.opened(httpx2, httpx2_engine.DirectClient, base_url="https://authority.example", **options).close()


@pytest.mark.usefixtures("_bare")
def test_a_system_without_certificates_is_no_authority_that_is_away(monkeypatch, tmp_path):
    """Every server would be refused, and with UNAVAILABLE=allow every section would run without a hold."""
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda *_, **__: empty)
    paths = ssl.get_default_verify_paths()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(openssl_capath=str(tmp_path / "none")))
    with pytest.raises(cycles.ConfigError, match="ca-certificates"):
        opened()
    (tmp_path / "none").mkdir()
    with pytest.raises(cycles.ConfigError, match="ca-certificates"):
        opened()
    (tmp_path / "none" / "0123abcd.0").touch()
    opened()  # they are loaded when they are needed
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(openssl_capath=str(tmp_path)))
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    opened(verify=unchecked)
    one = ssl.create_default_context()
    one.load_verify_locations(cafile=__import__("certifi").where())
    opened(verify=one)
