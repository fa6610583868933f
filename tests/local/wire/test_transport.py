"""The transports: an authority behind httpx, without a socket."""

from __future__ import annotations

import asyncio
import json
import socket

import httpx
import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.wire import Wire, failed


@pytest.fixture(params=["memory", "file"])
def either(request, tmp_path):
    with LocalAuthority(None if request.param == "memory" else tmp_path / "ledger.db", clock=Clock()) as made:
        made.budget(SCOPE, tokens(100))
        yield made


def test_no_socket_is_opened(either, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    wire = Wire(either, Clock())
    with wire.http:
        assert wire.reserve(10).is_success


def test_closing_a_client_leaves_the_authority_open(either):
    for _ in range(2):
        wire = Wire(either, Clock())
        with wire.http:
            assert wire.reserve(10, key=wire.secret).is_success
    assert either.balance(SCOPE, "TOKENS").reserved == 20


def test_paths_and_queries_arrive_as_they_were_sent(either):
    wire = Wire(either, Clock())
    with wire.http:
        held = wire.reserve(1, key="a+b&c=d é").json()
        asked = wire.get("/v1/reservations", idempotency_key="a+b&c=d é", include="metadata")
        assert [row["reservation_id"] for row in asked.json()["reservations"]] == [held["reservation_id"]]
        message = wire.http.get("/v1/reservations/a%2Fb%20c%25").json()["message"]
        assert message == "no reservation a/b c%"
        assert failed(wire.http.get("/v1/reservations/x/commit"), 405, "INVALID_REQUEST")
        assert failed(wire.http.get("/v1/reservations/x%2Fcommit"), 404, "NOT_FOUND")


def test_a_body_that_comes_in_pieces(either):
    def pieces():
        yield b'{"idempotency_key":"k","subject":{"tenant":"acme"},"action":{"kind":"k",'
        yield b'"name":"n"},"estimate":{"unit":"TOKENS","amount":1}}'

    wire = Wire(either, Clock())
    with wire.http:
        sent = wire.http.post("/v1/decide", content=pieces(), headers={"Content-Type": "application/json"})
        assert sent.json()["decision"] == "ALLOW"


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_either_loop(either, library):
    secret = either.key(tenant="acme")

    async def work() -> None:
        headers = {"X-Cycles-API-Key": secret}
        for _ in range(2):  # closing the first client closes nothing of the authority
            async with httpx.AsyncClient(
                transport=either.async_transport(), base_url="http://test", headers=headers
            ) as http:
                ask = Wire(either, Clock()).ask(30)
                held = (await http.post("/v1/reservations", json=ask)).json()
                path = f"/v1/reservations/{held['reservation_id']}"
                assert (await http.get(path)).json()["reserved"]["amount"] == 30
                spent = {"idempotency_key": "c", "actual": {"unit": "TOKENS", "amount": 20}}
                assert (await http.post(f"{path}/commit", json=spent)).json()["charged"]["amount"] == 20

    if library == "trio":
        pytest.importorskip("trio").run(work)
    else:
        asyncio.run(work())
    assert either.balance(SCOPE, "TOKENS").spent == 20, "the second time both were replays"


def test_the_short_way_answers_as_httpx_does(authority, wire):
    """What the bindings send goes past httpx's machinery: the same answers, and the same refusal when it is closed."""
    authority.budget("tenant:acme", tokens(10))
    ask, headers = wire.ask(3), {"X-Cycles-API-Key": wire.secret}
    origin = "http://cycles.local/v1/reservations"
    with authority.http_client() as http:
        short = http.request("POST", origin, json=ask, headers=headers)
        long = http.request("POST", origin, json=ask, headers=headers, params={"a": "b"})
        assert short.json() == long.json() == {**short.json(), "decision": "ALLOW"}
        assert set(short.headers) == set(long.headers) - {"content-length"}
        assert short.read() == short.content
        assert http.request("POST", origin, json=ask, headers={}).status_code == 401
        assert http.request("POST", origin, json=ask | {"x": 1}, headers=headers).json()["error"] == "INVALID_REQUEST"
        # A fault befalls the next request, also one that would take the short way.
        authority.faults.lose_response(operation="reserve")
        with pytest.raises(httpx.ReadTimeout):
            http.request("POST", origin, json=ask, headers=headers)
    with pytest.raises(RuntimeError, match="closed"):
        http.request("POST", origin, json=ask, headers=headers)


def test_the_short_way_sends_compact_json(authority, monkeypatch):
    sent = []
    handle = authority.app.handle
    monkeypatch.setattr(authority.app, "handle", lambda request: sent.append(request.body) or handle(request))
    body = {"text": 'é "\\ \u2028 \x7f', "large": 2**70, "float": 1e16, "none": None, "nested": [{}, [True, False]]}
    with authority.http_client() as http:
        assert http.request("POST", "/v1/decide", json=body).status_code == 401
        with pytest.raises(ValueError, match=r"NaN|nan|Out of range"):
            http.request("POST", "/v1/decide", json={"float": float("nan")})
    assert sent == [json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()]
