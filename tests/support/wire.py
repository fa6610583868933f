"""A client of an authority's wire, whose every response is held to the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.support import document

if TYPE_CHECKING:
    from cycles.local import LocalAuthority
    from tests.support.authorities import Clock


class Wire:
    """An authority as HTTP shows it; in process."""

    def __init__(self, authority: LocalAuthority, clock: Clock, tenant: str = "acme") -> None:
        self.authority, self.clock, self.tenant = authority, clock, tenant
        self.secret = authority.key(tenant=tenant)
        self.http = httpx.Client(
            transport=authority.transport(),
            base_url="http://test",
            headers={"X-Cycles-API-Key": self.secret},
            event_hooks={"response": [_checked]},
        )
        self.made = 0

    def key(self) -> str:
        self.made += 1
        return f"key-{self.made}"

    def ask(self, amount: int, *, unit: str = "TOKENS", key: str | None = None, **fields: Any) -> dict[str, Any]:
        return {
            "idempotency_key": key or self.key(),
            "subject": {"tenant": self.tenant},
            "action": {"kind": "k", "name": "n"},
            "estimate": {"unit": unit, "amount": amount},
            **fields,
        }

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=headers)

    def reserve(self, amount: int, **fields: Any) -> httpx.Response:
        return self.post("/v1/reservations", self.ask(amount, **fields))

    def decide(self, amount: int, **fields: Any) -> httpx.Response:
        return self.post("/v1/decide", self.ask(amount, **fields))

    def event(self, amount: int, **fields: Any) -> httpx.Response:
        body = self.ask(amount, **fields)
        body["actual"] = body.pop("estimate")
        return self.post("/v1/events", body)

    def commit(
        self, held: httpx.Response, amount: int, *, unit: str = "TOKENS", key: str | None = None, **fields: Any
    ) -> httpx.Response:
        body = {"idempotency_key": key or self.key(), "actual": {"unit": unit, "amount": amount}, **fields}
        return self.post(f"/v1/reservations/{held.json()['reservation_id']}/commit", body)

    def release(self, held: httpx.Response, *, key: str | None = None, **fields: Any) -> httpx.Response:
        body = {"idempotency_key": key or self.key(), **fields}
        return self.post(f"/v1/reservations/{held.json()['reservation_id']}/release", body)

    def extend(self, held: httpx.Response, by_ms: int, *, key: str | None = None, **fields: Any) -> httpx.Response:
        body = {"idempotency_key": key or self.key(), "extend_by_ms": by_ms, **fields}
        return self.post(f"/v1/reservations/{held.json()['reservation_id']}/extend", body)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.http.get(path, params=parameters)


def _checked(response: httpx.Response) -> None:
    response.read()
    document.check(response)


def failed(response: httpx.Response, status: int, code: str) -> bool:
    """Whether the response is this error, with the ids that headers and body share."""
    body = response.json()
    assert (response.status_code, body.get("error")) == (status, code), response.text
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert body["trace_id"] == response.headers["X-Cycles-Trace-Id"]
    return True
