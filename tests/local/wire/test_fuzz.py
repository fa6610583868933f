"""Ten thousand bad requests, seeded: each is a clean 4xx with the protocol's error body; the ledger stays as it was.

Each is made bad on purpose in one way that is known to be bad; what else a client may send is in test_validation.py.
`CYCLES_FUZZ=1000000` asks longer, `CYCLES_FUZZ_SEED` begins elsewhere.
"""

from __future__ import annotations

import copy
import json
import os
import random
import socket
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.wire.messages import MAX_BODY, Request
from cycles.local.wire.server import serve
from tests.support import document
from tests.support.postgres import STORES, place_of
from tests.support.waiting import PATIENCE

from .operations import NOW, REQUESTS, rows

MANY = int(os.environ.get("CYCLES_FUZZ", "10000"))
SEED = int(os.environ.get("CYCLES_FUZZ_SEED", "1"))
ADMIN = "administrator"
LISTS = ("/v1/reservations", "/v1/balances")
INT = [-1, 2**63, 10**400, 1.5, 1e19, True, "1", [], {}]
TEXT = [1, 0.5, True, [], {}]
BAD = {  # by the last name of a field
    "idempotency_key": [*TEXT, "", "x" * 257, None],
    "tenant": [*TEXT, "", "a b", "x" * 129, "é", "a/b", "a\n", "tenant:x"],
    "agent": [*TEXT, "", "..%2f", "\x00", "x" * 129, "😀"],
    "dimensions": [1, "x", [], {"a": 1}, {"a": None}, {"a": "x" * 257}, {str(n): "" for n in range(17)}],
    "subject": [None, 1, "x", [], {}, {"dimensions": {}}],
    "action": [None, 1, "x", [], {}],
    "kind": [*TEXT, "", " ", None, "x" * 65],
    "name": [*TEXT, "", "\t", None, "x" * 257],
    "tags": [1, "x", {}, ["x"] * 11, ["x" * 65], [1], [None]],
    "estimate": [None, 1, "x", [], {}, {"unit": "TOKENS"}, {"amount": 1}],
    "actual": [None, 1, "x", [], {}, {"unit": "TOKENS"}, {"amount": 1}],
    "unit": [*TEXT, "", "tokens", "EUR", None],
    "amount": [*INT, None],
    "ttl_ms": [*INT, 0, 999, 86_400_001],
    "grace_period_ms": [*INT, 60_001],
    "extend_by_ms": [*INT, 0, 86_400_001, None],
    "overage_policy": [*TEXT, "", "reject"],
    "dry_run": [0, 1, "true", [], {}],
    "client_time_ms": INT,
    "tokens_input": INT,
    "tokens_output": INT,
    "latency_ms": INT,
    "model_version": [*TEXT, "x" * 129],
    "metrics": [1, "x", [], {"surprise": 1}],
    "metadata": [1, "x", [], True],
    "custom": [1, "x", []],
    "reason": [*TEXT, "x" * 257],
}
BYTES = [
    b"",
    b" \n",
    b"null",
    b"[]",
    b"1",
    b'"x"',
    b"{",
    b"}",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b"\x00",
    b"NaN",
]
TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"]
QUERIES = [
    *(f"limit={value}" for value in ("0", "-1", "201", "x", "1e1", "%00", "9" * 30)),
    *(f"status={value}" for value in ("active", "x", "%F0%9F%98%80")),
    *(f"sort_by={value}" for value in ("x", "reserved;--", "1")),
    *(
        f"{name}={value}"
        for name in ("from", "to", "expires_from", "finalized_to")
        for value in ("x", "2026-01-01", "%ff")
    ),
    *(f"cursor={value}" for value in ("x", "W10", "%00", "bnVsbA", "=")),
    "sort_dir=sideways",
    "idempotency_key=" + "x" * 257,
    "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
]


class Bad:
    """Makes bad requests about one authority with one live reservation."""

    def __init__(self, seed: int, secret: str, held: str) -> None:
        self.chance = random.Random(seed)
        self.secret, self.held = secret, held
        self.places = {name: list(_places(body)) for name, (_, _, _, body) in REQUESTS.items()}

    def one(self) -> Request:
        makers = (
            self.field,
            self.field,
            self.field,
            self.bytes,
            self.bytes,
            self.header,
            self.key,
            self.path,
            self.query,
        )
        return self.chance.choice(makers)()

    def good(self, name: str | None = None) -> tuple[str, str, dict]:
        name = name or self.chance.choice(sorted(REQUESTS))
        path, _, _, body = REQUESTS[name]
        return name, path.replace("{id}", self.held), copy.deepcopy(body)

    def asked(self, path: str, body: bytes, method: str = "POST", query: str = "", **headers: str) -> Request:
        known = {"x-cycles-api-key": self.secret, "content-type": "application/json"}
        return Request(
            method, path, query, known | {name.replace("_", "-"): text for name, text in headers.items()}, body
        )

    def field(self) -> Request:
        """One field that is missing, unknown or wrong; the others are right."""
        name, path, body = self.good()
        *above, last = self.chance.choice(self.places[name])
        parent = body
        for step in above:
            parent = parent[step]
        if last in BAD and self.chance.random() < 0.8:
            parent[last] = self.chance.choice(BAD[last])
        elif last in ("idempotency_key", "action", "subject", "estimate", "actual", "extend_by_ms", "unit", "amount"):
            del parent[last]
        else:
            body[self.chance.choice(("surprise", "Amount", "__proto__", "idempotency-key", "\x00"))] = 1
        return self.asked(path, json.dumps(body).encode())

    def bytes(self) -> Request:
        """What is no JSON object: cut off, of another encoding, with a wrong end, too deep, too large."""
        _, path, body = self.good()
        text = json.dumps(body).encode()
        cut = self.chance.randrange(len(text))
        content = self.chance.choice(
            (
                lambda: self.chance.choice(BYTES),
                lambda: text[:cut],
                lambda: text + self.chance.randbytes(1 + cut % 9) + b"x",
                lambda: self.chance.randbytes(1 + cut) + b"\xff",
                lambda: json.dumps(body).encode("utf-16"),
                lambda: text.replace(b'"key"', b'"\\ud800"'),
                lambda: b'{"metadata":' * 101 + b"1" + b"}" * 101,
                lambda: b"[" * 100_000 if cut % 50 == 0 else b"[",
                lambda: b"{" + b" " * MAX_BODY + b"}" if cut % 50 == 0 else b"{ ",
            )
        )()
        return self.asked(path, content)

    def header(self) -> Request:
        """A header that does not fit."""
        _, path, body = self.good()
        text = json.dumps(body).encode()
        if self.chance.random() < 0.5:
            return self.asked(path, text, content_type=self.chance.choice(TYPES))
        return self.asked(
            path, text, x_idempotency_key=self.chance.choice(("", "key-2", "KEY", "x" * 9999, "é", "key,key"))
        )

    def key(self) -> Request:
        """Nobody's key."""
        _, path, body = self.good()
        request = self.asked(path, json.dumps(body).encode())
        guess = self.chance.choice(
            ("", " ", "x", self.secret[:-1], self.secret + "x", self.secret.upper(), "é" * 40, "'--")
        )
        request.headers["x-cycles-api-key"] = guess
        if self.chance.random() < 0.3:
            request = request._replace(
                method="GET", path=self.chance.choice((*LISTS, "/nowhere", "/status.json")), body=b""
            )
            request.headers["x-admin-api-key"] = self.chance.choice(("", "x", ADMIN + "x"))
        if self.chance.random() < 0.2:
            del request.headers["x-cycles-api-key"]
        return request

    def path(self) -> Request:
        """A path that leads nowhere, or a method that it does not take."""
        _, path, body = self.good()
        text, noise = json.dumps(body).encode(), quote(self.chance.randbytes(6), safe="")
        if self.chance.random() < 0.3:
            method = self.chance.choice(("PUT", "PATCH", "TRACE", "x", "OPTIONS", "HEAD"))
            return self.asked(path, text, method=method)
        odd = self.chance.choice(
            (
                f"/v1/reservations/{noise}/commit",
                f"/v1/reservations/{self.held}/{noise}",
                f"/v1/reservations/{self.held}/commit/",
                f"/v1/reservations/{self.held}%2fcommit",
                f"/v1/reservations/{'x' * self.chance.choice((128, 129, 5000))}/commit",
                "/v1/reservations/../decide",
                "/v1/reservations//commit",
                "//v1/decide",
                "/v1/decide/",
                "/V1/decide",
                f"/{noise}",
                "/v1",
                "*",
                "http://elsewhere/v1/decide",
                f"/v1/evidence/{noise}",
            )
        )
        return self.asked(odd, json.dumps(REQUESTS["commit"][3]).encode() if "commit" in odd else text)

    def query(self) -> Request:
        """A list that is asked for in a way that there is not."""
        if self.chance.random() < 0.2:
            return self.asked("/v1/balances", b"", method="GET", query=self.chance.choice(("", "x=y", "limit=5")))
        other = self.chance.choice(["tenant=other", *QUERIES])
        return self.asked("/v1/reservations", b"", method="GET", query=other)


def _places(value, path=()):
    for name, inner in value.items():
        yield (*path, name)
        if isinstance(inner, dict) and name not in ("metadata", "custom", "dimensions"):
            yield from _places(inner, (*path, name))


@pytest.fixture(params=[*STORES, "file"])
def target(request, tmp_path):
    with place_of(request.param) as place:
        yield from _target(tmp_path / "ledger.db" if request.param == "file" else place)


def _target(path):
    with closing(LocalAuthority(path, clock=lambda: NOW, admin_key=ADMIN)) as authority:
        authority.budget("tenant:acme", tokens(100))
        secret = authority.key(tenant="acme")
        ask = REQUESTS["reserve"][3] | {"dry_run": False, "idempotency_key": "held"}
        request = Request("POST", "/v1/reservations", "", {"x-cycles-api-key": secret}, json.dumps(ask).encode())
        held = json.loads(authority.app.handle(request).body)["reservation_id"]
        yield authority, Bad(SEED, secret, held)


def is_clean(status: int, body: bytes) -> bool:
    assert 400 <= status < 500, (status, body)
    assert document.validator("#/components/schemas/ErrorResponse").is_valid(json.loads(body)), body
    return True


@pytest.mark.slow
@pytest.mark.parametrize("target", STORES, indirect=True)
def test_bad_requests(target):
    authority, bad = target
    before = rows(authority)
    seen: dict[int, int] = {}
    for number in range(MANY):
        request = bad.one()
        response = authority.app.handle(request)
        assert is_clean(response.status, response.body), (number, request)
        seen[response.status] = seen.get(response.status, 0) + 1
        if number % 1000 == 999:
            assert rows(authority) == before, number
    assert rows(authority) == before
    assert not authority.app.operations.denials.last(None, 1), "none came as far as a budget"
    assert {400, 401, 403, 404, 405, 413, 415} <= seen.keys(), seen


@pytest.mark.slow
def test_bad_requests_over_a_socket(target):
    """The same through uvicorn: what is HTTP at all is answered as in process, on connections that stay usable."""
    authority, bad = target
    before = rows(authority)
    with serve(authority) as url:
        address = (urlsplit(url).hostname, urlsplit(url).port)
        for number in range(200):
            request = bad.one()
            status, body = _sent(address, request)
            assert status == authority.app.handle(request).status, (number, request)
            if request.method != "HEAD":
                assert is_clean(status, body), (number, request)
    assert rows(authority) == before


def _sent(address, request: Request) -> tuple[int, bytes]:
    target = request.path + (f"?{request.query}" if request.query else "")
    lines = [f"{request.method.upper()} {target} HTTP/1.1", "host: x", "connection: close"]
    lines += [f"{name}: {text.strip()}" for name, text in request.headers.items()]
    lines += [f"content-length: {len(request.body)}", "", ""]
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + request.body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
    ],
)
@pytest.mark.parametrize("target", ["memory"], indirect=True)
def test_what_is_no_http(target, noise):
    """The ASGI server refuses it before the authority sees it, and goes on serving."""
    authority, bad = target
    with serve(authority) as url:
        address = (urlsplit(url).hostname, urlsplit(url).port)
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            try:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            except OSError:
                answer = b""  # cut off while it was still sending
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400"), answer[:100]
        status, _ = _sent(address, bad.asked("/v1/balances", b"", method="GET", query="tenant=acme"))
        assert status == 200
