"""How clients end: closing opens nothing and hides nothing; loops and defaults close what was opened."""

from __future__ import annotations

import asyncio
import gc
import warnings

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.client import DEFAULTS
from cycles.config import Config
from tests.support.authorities import ACTION

URL = "https://authority.example"
BROKEN = [
    ("ALL_PROXY", "socks://127.0.0.1:1/", "give the URL of a proxy"),
    ("HTTPS_PROXY", "http://[::1", "give the URL of a proxy"),
    ("http_proxy", "ftp://me:hunter2@proxy", "give the URL of a proxy"),
    ("ALL_PROXY", "socks5://127.0.0.1:1", "socksio"),
    ("NO_PROXY", "[::1]", "httpx can't read it"),
    ("SSL_CERT_FILE", "/nonexistent/ca.pem", "can't be read"),
    ("SSL_CERT_DIR", "/nonexistent/certs", "no certificate in it"),
    ("SSLKEYLOGFILE", "/nonexistent/keys.log", "can't be written"),
]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("httpx._transports.default.HTTPTransport.handle_request", _never)
    monkeypatch.setattr("httpx._transports.default.AsyncHTTPTransport.handle_async_request", _never)


def _never(*_):
    raise AssertionError("something was sent")


@pytest.fixture
def unsendable(tmp_path):
    return Config(
        URL,
        api_key="k",
        tenant="acme",
        retry_max_attempts=1,
        unavailable="allow",
        journal_dir=str(tmp_path),
    )


@pytest.mark.parametrize(("variable", "value", "says"), BROKEN, ids=[f"{row[0]}={row[1]}" for row in BROKEN])
def test_an_environment_that_can_not_work_is_named(unsendable, monkeypatch, variable, value, says):
    """Before anything is sent, and never as an authority that can't be reached: no section runs without a hold."""
    monkeypatch.setenv(variable, value)
    raised = []
    with cycles.Client(unsendable) as client:
        for ask in (
            lambda: next(client.balances()),
            client.drain,
            lambda: _run(cycles.Guard(tokens(1), action=ACTION, client=client)),
        ):
            with pytest.raises(cycles.ConfigError, match=says) as caught:
                ask()
            raised.append(str(caught.value))

    async def main():
        for engine in ("httpx", "aiohttp"):
            async with cycles.AsyncClient(unsendable.replace(http_engine=engine)) as client:
                with pytest.raises(cycles.ConfigError, match=says) as caught:
                    await client.reserve(tokens(1), action=ACTION)
                raised.append(str(caught.value))

    asyncio.run(main())
    assert all(variable in text and "hunter2" not in text for text in raised)


def _run(guard):
    with guard:
        raise AssertionError("the section ran")


@pytest.mark.parametrize(("variable", "value", "says"), BROKEN[:6:5])
def test_closing_opens_nothing_and_hides_nothing(unsendable, monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(KeyError), cycles.Client(unsendable):
        raise KeyError(says)

    async def main():
        async with cycles.AsyncClient(unsendable):
            raise KeyError(says)

    with pytest.raises(KeyError):
        asyncio.run(main())


def test_trouble_with_closing_is_a_note_on_the_blocks_own_error(unsendable, monkeypatch):
    class Broken(cycles.Client):
        def close(self):
            super().close()
            raise OSError("no")

    with pytest.raises(KeyError) as caught, Broken(unsendable):
        raise KeyError
    assert "closing the cycles client failed, too: OSError: no" in caught.value.__notes__
    with pytest.raises(OSError, match="no"), Broken(unsendable):
        pass


def test_a_closed_client_opens_nothing(unsendable):
    client = cycles.Client(unsendable)
    client.close()
    client.close()
    with pytest.raises(cycles.InvalidRequest, match="closed"):
        client.decide(tokens(1), action=ACTION)


def test_what_the_system_lacks_for_a_moment_is_no_setting(unsendable, monkeypatch):
    def full(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(httpx, "create_ssl_context", full)
    with (
        cycles.Client(unsendable) as client,
        pytest.raises(cycles.AuthorityUnavailable, match="Too many open files"),
    ):
        client.decide(tokens(1), action=ACTION)


# -- the defaults ------------------------------------------------------------------------------------------------------
@pytest.fixture
def default(monkeypatch):
    monkeypatch.undo()
    with DEFAULTS.set_aside():
        yield


spend = cycles.Guard(usd("0.01"), action=ACTION)


@spend
def blocking():
    return DEFAULTS.client()


@spend
async def asynchronous():
    return DEFAULTS.async_client()


def test_the_defaults_end_and_begin_again(default):
    cycles.configure(Config("local:?usd=1"))
    cycles.close()
    first, second = blocking(), asyncio.run(asynchronous())
    cycles.close()
    cycles.close()
    for client in (first, second):
        with pytest.raises(cycles.InvalidRequest, match="closed"):
            _settled(client.decide(tokens(1), action=ACTION))
    assert blocking() is not first
    assert asyncio.run(asynchronous()) is not second
    cycles.close()


def _settled(answer):
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


def test_a_running_loops_client_ends_in_it(default):
    cycles.configure(Config("local:?usd=1"))

    async def main():
        first = await asynchronous()
        cycles.close()
        assert await asynchronous() is first, "its connections are this loop's: only this loop can close them"
        await cycles.aclose()
        await cycles.aclose()
        assert await asynchronous() is not first
        await cycles.aclose()

    asyncio.run(main())


def test_a_client_that_was_given_stays_open(default):
    with cycles.Client(Config("local:?usd=1")) as mine:
        cycles.configure(mine)
        asyncio.run(asynchronous())
        cycles.close()
        assert blocking() is mine


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_loop_that_ends_takes_its_connections_along(default, server, config, engine, runs):
    cycles.configure(config.replace(http_engine=engine))

    async def main():
        await asyncio.gather(*(asynchronous() for _ in range(3)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(runs):
            asyncio.run(main())
            gc.collect()
        cycles.close()
        gc.collect()


# httpx reads by asynchronous generators, and asyncio warns of each that begins so late.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after:ResourceWarning")
@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])
def test_requests_of_a_loop_that_is_ending_leave_nothing_open(default, server, config, engine):
    """A generator of the program's own that is open at the end sends its last request while the loop closes it."""
    cycles.configure(config.replace(http_engine=engine))
    ended = []

    async def stream():
        try:
            yield
        finally:
            await asynchronous()
            ended.append(True)

    async def main():
        streams = [stream() for _ in range(3)]
        for one in streams:
            await anext(one)
        await asynchronous()
        main.kept = streams

    asyncio.run(main())
    gc.collect()
    assert ended == [True] * 3
    cycles.close()
