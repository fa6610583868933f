"""`cycles doctor` on the way to the authority: what sends, proxies, TLS, and what answers there instead."""

from __future__ import annotations

import socket
import ssl
import time
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from cycles._outside.extras import install
from cycles.cli import _checks, _connection
from cycles.config import Config

from .doctor import answering, only_wrong


def test_nobody_there(served):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    check = only_wrong(served.json("doctor", base_url=url, code=1))
    assert (check["name"], "cycles serve" in check["remedy"]) == ("connection", True)
    name = only_wrong(served.json("doctor", base_url="http://no-such-host.invalid", code=1))
    assert name["name"] == "name"


def test_no_tls(served):
    check = only_wrong(
        served.json("doctor", base_url=served.environ["CYCLES_BASE_URL"].replace("http", "https"), code=1)
    )
    assert (check["name"], check["remedy"]) == ("tls", "is it http:// instead of https://?")


@pytest.mark.parametrize(
    ("engine", "missing", "found"),
    [
        ("httpx", (), ("note", "httpx; httpx2 is installed, and is faster")),
        ("httpx", ("httpx2",), ("note", "httpx; aiohttp is installed, and is faster for many tasks at once")),
        ("httpx", ("httpx2", "httpx_aiohttp"), ("ok", "httpx")),
        ("httpx2", (), ("ok", "httpx2")),
        ("httpx2", ("httpx2",), ("wrong", "httpx2 is not installed")),
        ("aiohttp", ("httpx_aiohttp",), ("wrong", "aiohttp is not installed")),
    ],
)
def test_what_sends_is_told_and_what_would_be_faster(monkeypatch, engine, missing, found):
    monkeypatch.setattr(_connection, "find_spec", lambda name: None if name in missing else name)
    check = _connection.engine(Config("http://127.0.0.1:1", api_key="k", http_engine=engine))
    assert (check.state, check.found) == found
    assert (check.remedy is None) is (check.state == "ok")
    assert check.state != "wrong" or str(check.remedy).startswith(
        f"{install('fast' if engine == 'aiohttp' else engine)}, or"
    )


def test_a_certificate_that_is_not_trusted(monkeypatch):
    class Refusing(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
            error = ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "self-signed certificate"
            raise error

    monkeypatch.setattr(httpx, "create_ssl_context", lambda: Refusing(ssl.PROTOCOL_TLS_CLIENT))
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = list(_connection.network(Config(f"https://127.0.0.1:{server.getsockname()[1]}", api_key="k")))
    assert (found[-1].state, found[-1].found) == ("wrong", "the certificate is not accepted: self-signed certificate")
    assert "SSL_CERT_FILE" in (found[-1].remedy or "")


@pytest.mark.parametrize(
    ("status", "body", "name", "says"),
    [
        (200, b"<html>hello</html>", "http", "what answers is no authority: status 200"),
        (200, b'{"balances": 7}', "http", "no authority: status 200"),
        (404, b"nothing here", "http", "no authority: status 404"),
        (404, b'{"error": "NOT_FOUND", "message": "no such path", "request_id": "r1"}', "http", "status 404"),
        (301, b"", "http", "no authority: status 301"),
        (502, b"bad gateway", "http", "no authority: status 502"),
        (500, b'{"error": "INTERNAL_ERROR", "message": "on fire", "request_id": "r1"}', "http", "500 on fire"),
        (
            401,
            b'{"error": "UNAUTHORIZED", "message": "INTERNAL_ERROR", "request_id": "r1"}',
            "http",
            "can't reach its own database",
        ),
    ],
)
def test_something_else_answers(served, status, body, name, says):
    with answering(status, body) as url:
        check = only_wrong(served.json("doctor", base_url=url, code=1))
    assert check["name"] == name
    assert says in check["found"]


@pytest.mark.parametrize("below", ["/v1", "/api/v1/", "/v1/balances"])
def test_a_url_with_a_path(served, below):
    url = served.environ["CYCLES_BASE_URL"]
    check = only_wrong(served.json("doctor", base_url=f"{url}{below}", code=1))
    assert check["found"] == f"the URL has a path, {below.rstrip('/')}, and without it an authority answers"
    assert check["remedy"].startswith(f"try without: CYCLES_BASE_URL={url} ")
    with answering(404, b"nothing here") as other:
        check = only_wrong(served.json("doctor", base_url=f"{other}{below}", code=1))
    assert "and what answers there is no authority" in check["found"]


def test_a_wrong_key_behind_a_path_is_a_wrong_key(served):
    """A gateway may have its authority at a path; nothing of it is at the root."""
    refused = b'{"error": "UNAUTHORIZED", "message": "KEY_NOT_FOUND", "request_id": "r1"}'
    with answering(404, b"") as nothing, answering(401, refused) as url:
        assert only_wrong(served.json("doctor", base_url=url, code=1))["name"] == "key"
        assert only_wrong(served.json("doctor", base_url=nothing, code=1))["name"] == "http"


@pytest.mark.parametrize(
    "answers",
    [
        {"/v1/balances": (401, b'{"error": "UNAUTHORIZED", "message": "Missing X-Admin-API-Key", "request_id": "r"}')},
        {"/v1/balances": (401, b""), "/v1/reservations": (404, b""), "/v1/admin/tenants": (401, b"")},
        {"/v1/balances": (200, b'{"rows": []}'), "/v1/reservations": (404, b""), "/v1/admin/tenants": (401, b"")},
    ],
)
def test_the_port_of_the_administration(served, answers):
    with answering(500, b"", by_path=answers) as url:
        check = only_wrong(served.json("doctor", base_url=url, code=1))
    assert check["found"] == "what answers is the port of the administration"
    assert "7878" in check["remedy"]


def test_a_database_that_is_away_is_not_the_keys_fault(served):
    away = b'{"error": "UNAUTHORIZED", "message": "INTERNAL_ERROR", "request_id": "r1"}'
    with answering(401, away) as url:
        check = only_wrong(served.json("doctor", base_url=url, code=1))
    assert "can't reach its own database" in check["found"]
    assert "CYCLES_API_KEY" not in check["remedy"]


def test_no_answer_in_time(served):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        check = only_wrong(served.json("doctor", base_url=url, read_timeout="0.05", code=1))
    assert check["name"] == "http"
    assert "no answer" in check["found"]


def test_clocks_apart_are_noted(served):
    answer = b'{"balances": [], "has_more": false}'
    with answering(200, answer, Date=formatdate(time.time() + 36_000, usegmt=True)) as url:
        said = served.json("doctor", base_url=url, code=1)
    (note,) = [check for check in said["checks"] if check["name"] == "clock"]
    assert note["state"] == "note"
    assert 35_000 < int(note["found"].split()[0]) <= 36_001  # less what the request took
    assert "behind" in note["found"]
    assert "ahead of" in _checks.clock(formatdate(1000, usegmt=True), 2000.0).found
    assert _checks.clock(formatdate(1000, usegmt=True), 1001.0).state == "ok"
    assert _checks.clock(None, 0.0).state == _checks.clock("yesterday", 0.0).state == "note"


PROXY = "http://proxy.example"


@pytest.mark.parametrize(
    ("environment", "url", "through"),
    [
        ({"http_proxy": "http://me:pass-word@proxy.example:3128"}, "http://authority.example", True),
        ({"http_proxy": "proxy.example:3128"}, "http://authority.example", True),
        ({"http_proxy": "http://proxy.example"}, "https://127.0.0.1:1", False),
        ({"all_proxy": "http://proxy.example"}, "https://authority.example", True),
        ({"http_proxy": PROXY, "no_proxy": "example"}, "http://authority.example", False),
        # urllib takes a network, and the client does not:
        ({"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, "http://10.1.2.3", True),
        (
            {"http_proxy": "http://proxy.example", "no_proxy": "http://authority.example"},
            "http://authority.example",
            False,
        ),
        # and the client takes it that way only, urllib with its port:
        (
            {"http_proxy": "http://proxy.example", "no_proxy": "authority.example:8080"},
            "http://authority.example",
            True,
        ),
    ],
)
def test_a_proxy_is_told_by_the_clients_own_rules(monkeypatch, environment, url, through):
    """Without its password; where there is none, the first step is the name."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("127.0.0.1", 1))])
    check = next(iter(_connection.network(Config(url, api_key="k"))))
    assert (check.name, "proxy.example" in check.found) == (("network", True) if through else ("name", False))
    assert "pass-word" not in check.found


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"http_proxy": "foo://x"}, "http_proxy='foo://x'"),
        ({"http_proxy": "http://[::1"}, "http_proxy="),
        ({"http_proxy": "socks5://me:pass-word@x:1"}, "socksio"),
        ({"http_proxy": "http://x", "no_proxy": "[::1]"}, "no_proxy='[::1]'"),
        ({"SSL_CERT_FILE": "/no/such/file"}, "SSL_CERT_FILE='/no/such/file'"),
    ],
)
def test_an_environment_that_no_client_can_use(served, environment, says, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check = only_wrong(served.json("doctor", base_url="https://authority.example", code=1))
    assert (check["name"], says in check["found"]) == ("network", True), check
    assert "pass-word" not in str(check)
