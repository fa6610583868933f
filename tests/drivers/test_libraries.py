"""httpx and httpx2 alike: which clients are taken, and what each exception says of its request."""

from __future__ import annotations

import inspect
import re
import sys

import httpx
import httpx2
import pytest

import cycles
from cycles._core.effects import Call
from cycles._core.operations import COMMIT_RESERVATION
from cycles._core.outcomes import Trouble
from cycles._drivers import libraries
from cycles._drivers.addresses import refusal_of
from cycles._drivers.world import World
from cycles._outside.extras import install
from cycles_api.client import AuthenticatedClient

NOT_SENT, LOST = Trouble.NOT_SENT, Trouble.LOST
SAYS = {
    "CloseError": LOST,
    "ConnectError": NOT_SENT,
    "ConnectTimeout": NOT_SENT,
    "CookieConflict": LOST,
    "DecodingError": LOST,
    "HTTPError": LOST,
    "HTTPStatusError": LOST,
    "InvalidURL": LOST,
    "LocalProtocolError": NOT_SENT,
    "NetworkError": LOST,
    "PoolTimeout": NOT_SENT,
    "ProtocolError": LOST,
    "ProxyError": NOT_SENT,
    "ReadError": LOST,
    "ReadTimeout": LOST,
    "RemoteProtocolError": LOST,
    "RequestError": LOST,
    "RequestNotRead": LOST,
    "ResponseNotRead": LOST,
    "SSEError": LOST,
    "StreamClosed": LOST,
    "StreamConsumed": LOST,
    "StreamError": LOST,
    "TimeoutException": LOST,
    "TooManyRedirects": LOST,
    "TransportError": LOST,
    "UnsupportedProtocol": NOT_SENT,
    "WriteError": LOST,
    "WriteTimeout": LOST,
}
"""Whether a request that ended so may have reached the authority."""


def kinds_of(module):
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]


def raised(kind):
    """An exception of *kind*, with whatever its constructor needs."""
    request = sys.modules[kind.__module__].Request("GET", "http://a")
    for arguments in ({}, {"request": request, "response": None}):
        for words in ((), ("words",)):
            try:
                return kind(*words, **arguments)
            except TypeError:
                continue
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind", [*kinds_of(httpx), *kinds_of(httpx2)], ids=lambda kind: f"{kind.__module__}.{kind.__name__}"
)
def test_each_exception_says_the_same_in_both(kind):
    world = World(AuthenticatedClient("http://a", "key"), lambda event, facts: None)
    assert world.failed(Call(COMMIT_RESERVATION), raised(kind), 0.0).trouble is SAYS[kind.__name__]


def test_a_subclass_says_what_its_kind_says():
    class Mine(httpx2.ConnectTimeout):
        pass

    class Other(Exception):
        pass

    assert libraries.trouble_of(Mine("late")) is NOT_SENT
    assert libraries.trouble_of(Other("else")) is None


def test_clients_of_both_are_taken():
    for http in (httpx, httpx2):
        assert libraries.is_blocking(http.Client())
        assert not libraries.is_blocking(http.AsyncClient())
        assert libraries.is_asynchronous(http.AsyncClient())
        assert libraries.library_of(http.Client()).http is http
    config = cycles.Config("http://authority.example", api_key="k", journal_enabled=False)
    with pytest.raises(cycles.ConfigError, match="of httpx or httpx2, not AsyncClient"):
        cycles.Client(config, http_client=httpx2.AsyncClient())
    with pytest.raises(cycles.ConfigError, match="of httpx or httpx2, not Client"):
        cycles.AsyncClient(config, http_client=httpx2.Client())


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch):
    config = cycles.Config("http://authority.example", api_key="k", journal_enabled=False, http_engine="httpx2")
    monkeypatch.setattr(libraries, "_found", {})
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, "cycles._drivers.httpx2_engine", raising=False)
    monkeypatch.delattr("cycles._drivers.httpx2_engine", raising=False)
    for kind in (cycles.Client, cycles.AsyncClient):
        with pytest.raises(cycles.ConfigError, match=re.escape(install("httpx2"))):
            kind(config)
    assert libraries.module_of("httpx2") is httpx
    assert libraries.library_of(httpx.Client()).http is httpx


@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])
def test_each_engine_has_its_own_parser(engine):
    assert refusal_of("http://bücher.example", engine) is None
    assert "a host that has a name" in refusal_of("http://exa mple", engine)


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_timeouts_of_one_library_go_through_clients_of_the_other(http):
    other = httpx2 if http is httpx else httpx
    seen = []

    def answer(request):
        seen.append(request.extensions["timeout"])
        return http.Response(200)

    api = AuthenticatedClient("http://a", "k", http_module=http, httpx_args={"transport": http.MockTransport(answer)})
    api._request({"method": "GET", "url": "/"}, other.Timeout(3.0, read=7.0), None)
    api.with_timeout(other.Timeout(2.0))._request({"method": "GET", "url": "/"}, (1.0, 2.0, 3.0, None), None)
    assert seen == [
        {"connect": 3.0, "read": 7.0, "write": 3.0, "pool": 3.0},
        {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": None},
    ]
