"""The aiohttp engine: the same behaviour beneath the same API, and exact about what may have left."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import sys
from collections import deque
from unittest.mock import Mock

import aiohttp
import httpx
import pytest

import cycles
from cycles import usd
from cycles._drivers.aiohttp_engine import AiohttpClient, _Engine, _meant, quick_client
from cycles._drivers.httpx_engine import AsyncDirectClient
from cycles._outside.extras import install
from tests.support.authorities import ACTION
from tests.support.net import LOSE

from .sockets import answering

KEY = "cyc_live_secret-of-this-test"


@pytest.fixture
def config(config):
    return config.replace(journal_enabled=False, read_timeout=60.0, http_engine="aiohttp")


async def guarded(client: cycles.AsyncClient) -> cycles.Settlement:
    async with cycles.Guard(usd("0.05"), action=ACTION, client=client) as reservation:
        settlement = await reservation.commit(usd("0.03"))
    assert isinstance(client.api.get_async_httpx_client(), AiohttpClient)
    return settlement


def test_guards_send_through_it(server, config):
    async def main():
        async with cycles.AsyncClient(config) as client:
            return await asyncio.gather(*(guarded(client) for _ in range(10)))

    settlements = asyncio.run(main())
    assert [settlement.charged for settlement in settlements] == [usd("0.03")] * 10
    assert all(settlement.info.request_id for settlement in settlements)
    assert server.spent() == 30


def test_a_lost_answer_is_asked_for_again_under_its_key(server, config):
    """A broken connection says nothing about what was sent: httpx-aiohttp alone calls it a ConnectTimeout."""
    server.plan["reservations"] = deque([LOSE])
    server.plan["commit"] = deque([LOSE])

    async def main():
        async with cycles.AsyncClient(config) as client:
            await guarded(client)

    asyncio.run(main())
    assert len(set(server.keys("reservations"))) == len(set(server.keys("commit"))) == 1
    assert len(server.keys("commit")) == 2
    assert server.spent() == 3


def test_one_client_outlives_its_loops_and_leaves_nothing_open(server, config):
    """Warnings are errors here: aiohttp complains of sessions that are left open when their loop ends."""
    client = cycles.AsyncClient(config)
    assert asyncio.run(guarded(client)).charged == asyncio.run(guarded(client)).charged == usd("0.03")
    asyncio.run(client.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_leaves_its_parents_connections_alone(server, config):
    client = cycles.AsyncClient(config)

    async def main():
        await guarded(client)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio._set_running_loop(None)  # the parent's runs on in the parent alone
                charged = asyncio.run(guarded(client)).charged
                code = 0 if charged == usd("0.03") else 2
            finally:
                os._exit(code)
        await guarded(client)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await guarded(client)
        await client.close()
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(main()) == 0
    assert server.spent() == 12


async def raised_by(url: str, read: float = 5.0) -> Exception:
    timeout = httpx.Timeout(5.0, read=read)
    async with AiohttpClient(base_url=url, timeout=timeout, headers={"X-Cycles-API-Key": KEY}) as client:
        with pytest.raises(httpx.TransportError) as raised:
            await client.post("/v1/events", json={})
    assert KEY not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    "chunks",
    [(), (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"{"), (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",)],
    ids=["no answer", "half an answer", "nonsense"],
)
def test_what_breaks_off_may_have_been_sent(chunks):
    with answering(*chunks) as url:
        error = asyncio.run(raised_by(url))
    assert isinstance(error, httpx.RemoteProtocolError | httpx.ReadError), repr(error)


def test_what_never_connected_was_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert type(asyncio.run(raised_by(f"http://127.0.0.1:{port}"))) is httpx.ConnectError


def test_an_answer_that_does_not_come_is_a_read_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = asyncio.run(raised_by(f"http://127.0.0.1:{listener.getsockname()[1]}", 0.05))
    assert type(error) is httpx.ReadTimeout


def test_hooks_redirects_and_cookies_are_still_httpxs():
    found = b"HTTP/1.1 200 OK\r\nset-cookie: node=7; Path=/\r\ncontent-length: 2\r\n\r\n{}"
    seen = []

    async def note(response):
        seen.append(response.status_code)

    async def main(url, **options):
        async with AiohttpClient(base_url=url, **options) as client:
            response = await client.get("/")
            return response.json(), response.request.url.path, dict(client.cookies)

    with answering(found) as url:
        assert asyncio.run(main(url)) == ({}, "/", {"node": "7"})
    with answering(found) as url:
        asyncio.run(main(url, event_hooks={"response": [note]}))
    assert seen == [200]


def test_the_environments_proxy_is_used(monkeypatch):
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as proxy:
        monkeypatch.setenv("http_proxy", proxy)

        async def main():
            async with AiohttpClient(base_url="http://cycles.invalid") as client:
                return (await client.get("/v1/balances")).status_code

        assert asyncio.run(main()) == 200


def test_under_trio_httpx_stays():
    trio = pytest.importorskip("trio")

    async def main():
        client = quick_client(base_url="http://127.0.0.1")
        await client.aclose()
        return type(client)

    assert trio.run(main) is AsyncDirectClient


def test_without_the_extra_the_setting_says_what_to_install(config, monkeypatch):
    monkeypatch.delitem(sys.modules, "cycles._drivers.aiohttp_engine")
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(cycles.ConfigError, match=re.escape(install("fast"))):
        cycles.AsyncClient(config)
    cycles.Client(config).close()  # blocking code is not affected


def test_another_engine_is_refused():
    with pytest.raises(cycles.ConfigError, match=r"CYCLES_HTTP_ENGINE.*httpx, httpx2 or aiohttp"):
        cycles.Config.from_env({"CYCLES_BASE_URL": "local:", "CYCLES_HTTP_ENGINE": "curl"})


CONNECTION = aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None)


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        (aiohttp.ClientProxyConnectionError(CONNECTION, OSError("refused")), httpx.ProxyError),
        (aiohttp.ClientConnectorError(CONNECTION, OSError("refused")), httpx.ConnectError),
        (aiohttp.ConnectionTimeoutError("connect"), httpx.ConnectTimeout),
        (aiohttp.ServerDisconnectedError(), httpx.RemoteProtocolError),
        (aiohttp.ClientPayloadError("cut off"), httpx.RemoteProtocolError),
        (aiohttp.ClientOSError("reset"), httpx.ReadError),
        (aiohttp.SocketTimeoutError("read"), httpx.ReadTimeout),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_only_what_never_connected_is_called_so(cause, meant):
    """Everything else may have reached the authority."""
    said = httpx.ReadTimeout("said") if meant is httpx.ReadTimeout else httpx.ConnectTimeout("said")
    said.__cause__ = cause
    assert type(_meant(said, httpx.Request("GET", "http://h"))) is meant


def test_a_request_while_the_connections_close_has_a_session_of_its_own():
    """Requests may come while a loop ends: what one of them opens, another neither closes nor forgets."""

    async def main():
        engine = _Engine(verify=ssl.create_default_context(), proxy=None)
        await engine.aclose()  # nothing was opened
        is_closing, may_end = asyncio.Event(), asyncio.Event()

        async def slowly():
            is_closing.set()
            await may_end.wait()

        engine.client = Mock(spec=aiohttp.ClientSession, close=slowly)
        closing = asyncio.ensure_future(engine.aclose())
        await is_closing.wait()
        assert not isinstance(engine.client, aiohttp.ClientSession)
        opened = engine.client = engine.client()  # as the next request does
        may_end.set()
        await closing
        assert engine.client is opened
        await engine.aclose()
        assert opened.closed

    asyncio.run(main())
