"""The clients without detours do what httpx's own do, where anything of it was asked for."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from cycles._drivers import httpx2_engine
from cycles._drivers.aiohttp_engine import AiohttpClient
from cycles._drivers.httpx_engine import AsyncDirectClient, DirectClient

from .sockets import answering

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
FOUND = b"HTTP/1.1 200 OK\r\nset-cookie: node=7; Path=/\r\ncontent-length: 2\r\n\r\n{}"
MOVED = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n"


BLOCKING = (DirectClient, httpx2_engine.DirectClient)


@pytest.fixture(params=[*BLOCKING, AsyncDirectClient, httpx2_engine.AsyncDirectClient], ids=str)
def ask(request):
    """Send one GET of a path with a client of *options*; return the response and the client's cookies."""
    return asking(request.param)


def asking(kind):
    def asked(url, path="/v1/balances", *, per_call=None, **options):
        if kind in BLOCKING:
            with kind(base_url=url, **options) as client:
                return client.get(path, **(per_call or {})), dict(client.cookies)

        async def main():
            async with kind(base_url=url, **options) as client:
                return await client.get(path, **(per_call or {})), dict(client.cookies)

        return asyncio.run(main())

    asked.kind = kind
    return asked


def test_an_answer_is_read_and_its_cookies_are_kept(ask):
    with answering(FOUND) as url:
        response, cookies = ask(url)
    assert response.json() == {}
    assert response.is_closed
    assert response.request.url == f"{url}/v1/balances"
    assert cookies == {"node": "7"}


def test_redirects_are_left_alone_unless_asked_for(ask):
    with answering(MOVED) as url:
        assert ask(url)[0].status_code == 302
    with answering(MOVED) as url, pytest.raises(ask.kind.http.TransportError):
        ask(url, follow_redirects=True)  # the server of one connection is gone by then
    with answering(MOVED) as url, pytest.raises(ask.kind.http.TransportError):
        ask(url, per_call={"follow_redirects": True})


def test_authentication_and_hooks_are_httpxs(ask):
    seen = []

    def note(request):
        seen.append(request.headers["authorization"])

    async def note_async(request):
        note(request)

    hook = note if ask.kind in BLOCKING else note_async
    with answering(FOUND) as url:
        ask(url, auth=("agent", "pass"), event_hooks={"request": [hook]})
    with answering(FOUND) as url:
        ask(url.replace("http://", "http://agent:pass@"), event_hooks={"request": [hook]})
    assert len(seen) == 2


def test_the_environments_proxy_is_used_unless_it_says_no(ask, monkeypatch):
    with answering(FOUND) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert ask("http://cycles.invalid")[0].status_code == 200
    with answering(FOUND) as url:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert ask(url)[0].status_code == 200


KINDS = [DirectClient, AsyncDirectClient, AiohttpClient, httpx2_engine.DirectClient, httpx2_engine.AsyncDirectClient]


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_may_be_named_without_a_scheme(kind, monkeypatch):
    with answering(FOUND) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.removeprefix("http://"))
        assert asking(kind)("http://cycles.invalid")[0].status_code == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "excepted",
    [
        "",
        "cycles.example",
        ".cycles.example",
        "*",
        "other.example, cycles.example",
        "http://cycles.example",
        "https://cycles.example",
        "cycles.example:81",
        "127.0.0.1",
        "192.168.0.0/16",
        "::1",
    ],
)
def test_which_proxy_is_used_is_httpxs_own_choice(kind, excepted, monkeypatch):
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", excepted)
    ours = kind(verify=CONTEXT)
    http = kind.http
    with http.Client(verify=CONTEXT) as theirs:
        for host in ("cycles.example", "a.cycles.example:81", "127.0.0.1:81", "192.168.7.7", "[::1]:81"):
            url = http.URL(f"http://{host}/v1")
            is_direct = theirs._transport_for_url(url) is theirs._transport
            assert (ours._transport_for_url(url) is ours._transport) is is_direct, host


@pytest.mark.parametrize("kind", KINDS)
def test_each_request_has_the_proxy_of_its_own_host(kind, monkeypatch):
    """A client made by with_options may have another base URL, and sends through the same httpx client."""
    with answering(FOUND) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "direct.invalid")
        assert asking(kind)("http://direct.invalid", "http://cycles.invalid/v1")[0].status_code == 200


def test_without_the_environment_there_is_no_proxy(ask, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(FOUND) as url:
        assert ask(url, trust_env=False)[0].status_code == 200


def test_an_answer_that_breaks_off_gives_its_connection_back(ask):
    with (
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"{") as url,
        pytest.raises(ask.kind.http.RemoteProtocolError),
    ):
        ask(url)


def test_a_closed_client_says_so():
    client = DirectClient(base_url="http://127.0.0.1")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get("/")
