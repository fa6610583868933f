"""`cycles doctor`: each thing that can be wrong is found, named, and has a remedy; nothing is changed by looking."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cycles import usd
from cycles._journal.partitions import partition_of
from cycles._outside.extras import install
from cycles.cli import _checks, _connection
from cycles.config import Config

from .runner import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator


def state(said: dict[str, Any]) -> dict[str, str]:
    """Return the worst state of each check, by name."""
    order = ["ok", "note", "wrong"]
    worst: dict[str, str] = {}
    for check in said["checks"]:
        worst[check["name"]] = max(worst.get(check["name"], "ok"), check["state"], key=order.index)
    return worst


def only_wrong(said: dict[str, Any]) -> dict[str, Any]:
    (check,) = [check for check in said["checks"] if check["state"] == "wrong"]
    assert check["remedy"], "something wrong needs a remedy"
    assert said["ok"] is False
    return check


@contextmanager
def answering(
    status: int, body: bytes = b"{}", by_path: dict[str, tuple[int, bytes]] | None = None, **headers: str
) -> Iterator[str]:
    """A server on loopback that answers everything alike, but for *by_path*."""
    usual = status, body

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (by_path or {}).get(self.path.partition("?")[0], usual)
            self.send_response_only(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_all_is_well_over_http(served, authority):
    before = authority.balances(), authority.reservations(), authority.keys()
    said = served.json("doctor", "--agent", "planner")
    assert said["ok"] is True
    assert state(said) == dict.fromkeys(
        ["settings", "name", "connection", "http", "key", "tenant", "clock", "budget", "journal"], "ok"
    ) | {"engine": "note"}
    budgets = [check["found"] for check in said["checks"] if check["name"] == "budget"]
    assert budgets[-1] == "tenant:acme/agent:planner: $5.00 of $5.00 remain"
    assert len(budgets) == 3
    assert (authority.balances(), authority.reservations(), authority.keys()) == before


def test_settings_say_where_they_come_from(served):
    said = served.json("doctor", "--agent", "planner", "--tenant", "acme", read_timeout="4")
    rows = {row["name"]: (row["value"], row["source"]) for row in said["settings"]}
    assert rows["api_key"] == ("***", "CYCLES_API_KEY")
    assert rows["tenant"] == ("acme", "--tenant")
    assert rows["agent"] == ("planner", "--agent")
    assert rows["read_timeout"] == (4.0, "CYCLES_READ_TIMEOUT")
    assert rows["connect_timeout"] == (2.0, "default")
    out = served("doctor", "--agent", "planner").output
    assert "***" in out
    assert "connect_timeout" not in out
    assert "connect_timeout" in served("doctor", "--all").output
    assert out.count("ok  ") >= 9


def test_a_misspelt_variable_is_noted(served):
    said = served.json("doctor", apikey="x")
    (note,) = [check for check in said["checks"] if check["state"] == "note" and check["name"] != "engine"]
    assert (note["found"], note["remedy"]) == ("CYCLES_APIKEY means nothing here", "did you mean CYCLES_API_KEY?")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"base_url": None}, "CYCLES_BASE_URL is not set"),
        ({"api_key": None}, "no API key"),
        ({"read_timeout": "soon"}, "CYCLES_READ_TIMEOUT='soon'"),
        ({"base_url": "http://user:pass-word@host"}, "without user name and password"),
        ({"api_key": "two words"}, "printable ASCII"),
    ],
)
def test_wrong_settings(bare, changed, says):
    good = {"base_url": "http://127.0.0.1:9", "api_key": KEY, "tenant": "acme"}
    said = bare.json("doctor", code=1, **{**good, **changed})
    assert says in only_wrong(said)["found"]
    shown = bare("doctor", code=1, **{**good, **changed}).output
    assert "pass-word" not in shown
    assert "two words" not in shown
    options = bare("doctor", "--tenant", "beta", "--agent", "a", code=1, **{**good, **changed}).output
    assert ["beta", "--tenant"] in [line.split()[1:] for line in options.splitlines()]
    assert state(said) == {"settings": "wrong"}


def test_a_wrong_key(served):
    said = served.json("doctor", api_key="no-key-at-all", code=1)
    assert only_wrong(said)["name"] == "key"
    assert "budget" not in state(said)
    assert "no-key-at-all" not in str(said)


def test_another_tenants_key(served, authority):
    check = only_wrong(served.json("doctor", tenant="other", code=1))
    assert check["name"] == "tenant"
    assert check["remedy"] == "set CYCLES_TENANT=acme, or use another key"


def test_no_tenant_is_noted_and_the_keys_is_told(served):
    said = served.json("doctor", tenant=None)
    assert state(said)["tenant"] == "note"
    assert {check["remedy"] for check in said["checks"] if check["name"] == "tenant"} == {"set CYCLES_TENANT=acme"}
    assert state(said)["budget"] == "ok"


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


# -- budgets -----------------------------------------------------------------------------------------------------------
def test_no_budget(served, authority):
    authority.key(tenant="empty")
    key = authority.key(tenant="empty")
    check = only_wrong(served.json("doctor", api_key=key, tenant="empty", code=1))
    assert check["found"] == "none for tenant:empty: a reserve there is denied"


def test_budgets_only_below_the_configured_subject(served, authority):
    """A budget for each customer, and none for the tenant: work that names a customer is granted."""
    key = authority.key(tenant="many")
    for customer in ("zoe", "ann"):
        authority.budget(f"tenant:many/workspace:{customer}", usd("1"))
    found = served.json("doctor", api_key=key, tenant="many")["checks"]
    (check,) = [each for each in found if each["name"] == "budget"]
    assert check["state"] == "note"
    assert check["found"] == (
        "none for tenant:many itself: work that names no level below it is denied; "
        "2 below it, such as tenant:many/workspace:ann"
    )


def test_budgets_that_give_nothing(served, authority):
    authority.budget("tenant:acme/agent:a", usd("0"))
    authority.budget("tenant:acme/agent:b", usd("1"))
    with authority.client(tenant="acme") as client:
        client.record(usd("2"), action=("k", "n"), agent="b")
    assert "every reserve is denied" in only_wrong(served.json("doctor", "--agent", "a", code=1))["found"]
    over = only_wrong(served.json("doctor", "--agent", "b", code=1))
    assert "went over its limit" in over["found"]
    assert over["remedy"] == "have its operator fund it", "`cycles local` can't: it is another machine's"


# -- local -------------------------------------------------------------------------------------------------------------
def test_local_in_memory(bare):
    said = bare.json("doctor", base_url="local:?usd=1")
    assert state(said) == {"settings": "ok", "ledger": "note", "budget": "ok"}
    check = only_wrong(bare.json("doctor", base_url="local:", code=1))
    assert check["remedy"] == "make one: such as local:?usd=1.00"
    assert "unit 'euro'" in only_wrong(bare.json("doctor", base_url="local:?euro=1", code=1))["found"]


def test_a_file_is_not_made_by_looking(bare, path, tmp_path):
    said = bare.json("doctor", base_url=f"local:{path}?usd=1")
    assert state(said) == {"settings": "ok", "ledger": "note", "budget": "ok", "journal": "ok"}
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}", code=1))["name"] == "budget"
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}/x?usd=1", code=1))["name"] == "ledger"
    assert list(tmp_path.iterdir()) == [], "no file, no journal"
    path.write_text("something else" * 100)
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}", code=1))["name"] == "ledger"
    for name in ("x" * 300, "circle", "no/such/folder.db"):
        if name == "circle":
            (tmp_path / name).symlink_to(name)
        assert only_wrong(bare.json("doctor", base_url=f"local:{tmp_path / name}", code=1))["name"] == "ledger"


def test_a_ledger_file(bare, path, authority):
    keys = authority.keys()
    said = bare.json("doctor", base_url=f"local:{path}?credits=5", tenant="acme")
    found = [check["found"] for check in said["checks"] if check["name"] == "budget"]
    assert found == [
        "tenant:acme: 5 CREDITS, made when it is first used",
        "tenant:acme: 1,000,000 TOKENS of 1,000,000 TOKENS remain",
        "tenant:acme: $25.00 of $25.00 remain",
    ]
    assert authority.keys() == keys
    assert len(authority.balances()) == 3, "nor the budget"
    authority.freeze("tenant:acme", "TOKENS")
    check = only_wrong(bare.json("doctor", base_url=f"local:{path}", tenant="acme", code=1))
    assert "it is FROZEN" in check["found"]
    assert "cycles local budget unfreeze" in check["remedy"]
    check = only_wrong(bare.json("doctor", base_url=f"local:{path}", tenant="none", code=1))
    assert check["remedy"] == "make one: `cycles local budget create tenant:none --usd 25`"


# -- the journal -------------------------------------------------------------------------------------------------------
def journal(said: dict[str, Any]) -> list[tuple[str, str]]:
    return [(check["state"], check["found"]) for check in said["checks"] if check["name"] == "journal"]


@pytest.mark.slow
def test_what_the_journal_holds(served, tmp_path):
    url = served.environ["CYCLES_BASE_URL"]
    assert journal(served.json("doctor"))[-1] == ("ok", "empty: nothing is pending, rejected or in quarantine")
    assert not (tmp_path / "journal").exists(), "looking makes none"
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        down = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        served("record", "--usd", "1", base_url=down, retry_max_attempts="1", read_timeout="0.05", code=1)
        said = served.json("doctor", base_url=down, read_timeout="0.05", code=1)
    (note,) = [found for state, found in journal(said) if "pending" in found]
    assert re.fullmatch(r"1 pending since \d{4}-\d\d-\d\d \d\d:\d\dZ: spend that is not charged yet", note)
    (partition,) = [each.parent for each in (tmp_path / "journal").glob("*/partition.json")]
    ours = tmp_path / "journal" / partition_of(url, "acme", KEY)
    (ours / "rejected").mkdir(parents=True)
    (ours / "quarantine").mkdir()
    (record,) = partition.glob("v2-*.json")
    (ours / "rejected" / record.name).write_bytes(record.read_bytes())
    (ours / "quarantine" / record.name).write_bytes(b"{")
    said = served.json("doctor", code=1)
    states = [state for state, _ in journal(said)]
    assert states.count("wrong") == 2
    assert said["ok"] is False


def test_a_journal_that_cannot_be_written(served, tmp_path):
    (tmp_path / "file").write_text("in the way")
    check = only_wrong(served.json("doctor", journal_dir=str(tmp_path / "file"), code=1))
    assert (check["name"], "CYCLES_JOURNAL_DIR" in check["remedy"]) == ("journal", True)


def test_a_journal_that_is_weaker_is_noted(served):
    assert journal(served.json("doctor", journal_fsync="false"))[0][0] == "note"
    ((state, found),) = journal(served.json("doctor", journal_enabled="false"))
    assert (state, found.startswith("turned off")) == ("note", True)
