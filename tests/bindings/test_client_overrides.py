"""What the templates change about clients and the package. Each test here fails on the generator's stock output.

As test_overrides.py, this file is run against that output by test_stock.py.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import cycles_api
from cycles_api import errors
from cycles_api.api.evidence import get_evidence, get_evidence_jwks
from cycles_api.api.reservations import get_reservation
from cycles_api.client import AuthenticatedClient, Client

KEY = "cyc_live_secret"
ERROR = {"error": "NOT_FOUND", "message": "no such reservation", "request_id": "q-1"}


def recording(requests: list[httpx.Request], status: int = 404, **headers: str) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, json=ERROR, headers=headers)

    return httpx.MockTransport(answer)


def client_of(requests: list[httpx.Request], **arguments: Any) -> AuthenticatedClient:
    return AuthenticatedClient(
        "https://authority.test", KEY, httpx_args={"transport": recording(requests)}, **arguments
    )


@pytest.fixture(params=["sync", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Call an endpoint, blocking or not; return the detailed response."""

    def ask(endpoint: Any, *arguments: Any, client: Any, **keywords: Any) -> Any:
        if request.param == "sync":
            return endpoint.sync_detailed(*arguments, client=client, **keywords)
        return asyncio.run(endpoint.asyncio_detailed(*arguments, client=client, **keywords))

    return ask


def test_key_goes_by_its_own_header(ask: Any) -> None:
    requests: list[httpx.Request] = []
    ask(get_reservation, "r", client=client_of(requests))
    assert requests[0].headers["X-Cycles-API-Key"] == KEY
    assert "Authorization" not in requests[0].headers


def test_key_is_shown_nowhere() -> None:
    client = client_of([], headers={"X-Admin-API-Key": KEY}, cookies={"session": KEY})
    client.get_httpx_client()
    assert KEY not in f"{client}{client!r}{client.get_httpx_client()!r}"
    protected = repr(AuthenticatedClient(f"https://user:{KEY}@authority.test", KEY))
    assert "authority.test" in protected
    assert KEY not in protected


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("client", [Client("http://a"), AuthenticatedClient("http://a", KEY)], ids=["plain", "key"])
def test_client_is_not_pickled_or_copied(client: Any, copied: Any) -> None:
    with pytest.raises(TypeError, match="can't be pickled or copied"):
        copied(client)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\r\nX-Admin: 1", f"{KEY}\u2028"])
def test_key_that_no_header_can_hold_is_refused_without_quoting_it(key: str) -> None:
    with pytest.raises(ValueError, match=r"^token: ") as caught:
        AuthenticatedClient("http://a", key)
    assert KEY not in str(caught.value)


def test_dicts_of_the_caller_stay_the_callers() -> None:
    headers = {"X-App": "1"}
    client = client_of([], headers=headers)
    assert client.get_httpx_client().headers["x-cycles-api-key"] == KEY
    assert headers == {"X-App": "1"}
    headers["X-App"] = "2"
    assert client.with_cookies({}).get_httpx_client().headers["X-App"] == "1"


def test_timeout_is_finite() -> None:
    for client in (Client("http://a"), AuthenticatedClient("http://a", KEY)):
        for timeout in (client.get_httpx_client().timeout, client.get_async_httpx_client().timeout):
            assert all(value is not None and 0 < value <= 10 for value in timeout.as_dict().values())


@pytest.mark.parametrize(
    ("class_name", "getter"), [("Client", "get_httpx_client"), ("AsyncClient", "get_async_httpx_client")]
)
def test_racing_threads_make_one_httpx_client(monkeypatch: pytest.MonkeyPatch, class_name: str, getter: str) -> None:
    made: list[object] = []

    def slow(**arguments: Any) -> object:
        time.sleep(0.02)  # long enough for every thread to find that there is none yet
        made.append(object())
        return made[-1]

    monkeypatch.setattr(httpx, class_name, slow)
    client = AuthenticatedClient("http://a", KEY)
    start = threading.Barrier(32)

    def get(_: int) -> object:
        start.wait()
        return getattr(client, getter)()

    with ThreadPoolExecutor(32) as pool:
        got = list(pool.map(get, range(32)))
    assert len(made) == 1
    assert all(one is made[0] for one in got)


@pytest.mark.parametrize("getter", ["get_httpx_client", "get_async_httpx_client"])
@pytest.mark.parametrize("change", ["with_headers", "with_cookies", "with_timeout"])
def test_variant_leaves_the_original_alone(change: str, getter: str) -> None:
    client = AuthenticatedClient("http://a", KEY, headers={"X-App": "1"})
    live = getattr(client, getter)()
    before = (dict(live.headers), dict(live.cookies), live.timeout)
    variant = getattr(client, change)(httpx.Timeout(77.0) if change == "with_timeout" else {"x-new": "2"})
    assert getattr(client, getter)() is live
    assert (dict(live.headers), dict(live.cookies), live.timeout) == before
    changed = getattr(variant, getter)()
    assert changed is not live
    assert (dict(changed.headers), dict(changed.cookies), changed.timeout) != before
    assert changed.headers["x-app"] == "1"


@pytest.mark.parametrize("header", ["X-Cycles-API-Key", "X-Admin-API-Key", "X-Own-Key"])
@pytest.mark.parametrize("injected", [False, True])
def test_public_operations_get_no_key(ask: Any, header: str, injected: bool) -> None:
    requests: list[httpx.Request] = []
    client = client_of(requests, auth_header_name=header, headers={"X-Admin-API-Key": KEY})
    if injected:
        default = {"X-Cycles-API-Key": KEY}
        client.set_httpx_client(httpx.Client(transport=recording(requests), headers=default))
        client.set_async_httpx_client(httpx.AsyncClient(transport=recording(requests), headers=default))
    ask(get_evidence, "a" * 64, client=client)
    ask(get_evidence_jwks, client=client)
    ask(get_reservation, "r", client=client)
    assert [KEY in str(request.headers.raw) for request in requests] == [False, False, True]


def test_unexpected_status_keeps_headers_and_hides_content(ask: Any) -> None:
    requests: list[httpx.Request] = []
    transport = recording(requests, 429, **{"Retry-After": "7"})
    client = AuthenticatedClient("http://a", KEY, raise_on_unexpected_status=True, httpx_args={"transport": transport})
    with pytest.raises(errors.UnexpectedStatus) as caught:
        ask(get_reservation, "r", client=client)
    error: Any = pickle.loads(pickle.dumps(caught.value))
    assert (error.status_code, error.headers["retry-after"]) == (429, "7")
    assert b"no such reservation" in error.content
    assert "no such reservation" not in f"{error}{error!r}"


def test_timeout_and_headers_for_one_call(ask: Any) -> None:
    requests: list[httpx.Request] = []
    client = client_of(requests, headers={"X-App": "1"})
    ask(get_reservation, "r", client=client, request_timeout=2.5, request_headers={"traceparent": "t", "x-app": "2"})
    ask(get_reservation, "r", client=client, request_timeout=None)
    ask(get_reservation, "r", client=client)
    once, unbounded, plain = requests
    assert set(once.extensions["timeout"].values()) == {2.5}
    assert once.headers["traceparent"] == "t"
    assert once.headers.get_list("x-app") == ["2"]
    assert once.headers["X-Cycles-API-Key"] == KEY
    assert set(unbounded.extensions["timeout"].values()) == {None}
    assert plain.extensions["timeout"]["read"] == 10.0
    assert "traceparent" not in plain.headers
    assert plain.headers["x-app"] == "1"


@pytest.mark.parametrize("base_url", ["http://a/prefix", "http://a/prefix/"])
def test_injected_httpx_client_gets_address_headers_and_key_and_stays_open(base_url: str) -> None:
    requests: list[httpx.Request] = []
    mine = httpx.Client(transport=recording(requests), headers={"X-Mine": "1"}, timeout=3.0)
    client = AuthenticatedClient(base_url, KEY, headers={"X-App": "1"}, cookies={"a": "b"}).set_httpx_client(mine)
    with client:
        get_reservation.sync("r", client=client)
        get_reservation.sync("r", client=client.with_headers({"X-New": "2"}).with_timeout(4.0))
    assert not mine.is_closed
    first, second = requests
    for request in requests:
        assert str(request.url) == "http://a/prefix/v1/reservations/r"
        assert (request.headers["X-Cycles-API-Key"], request.headers["X-Mine"]) == (KEY, "1")
        assert (request.headers["X-App"], request.headers["Cookie"]) == ("1", "a=b")
    assert first.extensions["timeout"]["read"] == 3.0
    assert second.extensions["timeout"]["read"] == 4.0
    assert ("X-New" in first.headers, second.headers["X-New"]) == (False, "2")
    assert "x-app" not in mine.headers


def test_injected_async_client_gets_address_headers_and_key_and_stays_open() -> None:
    requests: list[httpx.Request] = []

    async def calls() -> bool:
        mine = httpx.AsyncClient(transport=recording(requests))
        client = AuthenticatedClient("http://a/prefix", KEY).set_async_httpx_client(mine)
        async with client:
            await get_reservation.asyncio("r", client=client)
        return mine.is_closed

    assert not asyncio.run(calls())
    assert str(requests[0].url) == "http://a/prefix/v1/reservations/r"
    assert requests[0].headers["X-Cycles-API-Key"] == KEY


def run(code: str) -> str:
    """Run *code* in a fresh interpreter that finds the same package first; return what it prints."""
    package = str(Path(cycles_api.__file__).parents[1])
    line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {package!r})\n{code}"]
    return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_models_are_imported_one_by_one() -> None:
    code = """
from cycles_api.models import Amount
import cycles_api.models
print(sorted(name for name in sys.modules if name.startswith("cycles_api.models.")))
print("httpx" in sys.modules, "asyncio" in sys.modules, "ssl" in sys.modules)
print("Subject" in dir(cycles_api.models))
"""
    assert run(code).splitlines() == [
        "['cycles_api.models.amount', 'cycles_api.models.unit_enum']",
        "False False False",
        "True",
    ]


def test_package_says_what_it_was_made_from() -> None:
    assert cycles_api.SPEC_VERSION.count(".") == 3
    assert len(cycles_api.SPEC_SHA256) == 64
    assert "never edited" in (cycles_api.__doc__ or "")


def test_package_is_typed() -> None:
    assert (Path(cycles_api.__file__).parent / "py.typed").exists()
