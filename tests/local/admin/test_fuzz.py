"""Bad input to the administration: clean 4xx, and nothing changes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any
from urllib.parse import urlencode

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.wire.messages import Request
from tests.support.authorities import ADMIN_KEY, Clock
from tests.support.postgres import STORES, dumped, place_of

from .calls import BUDGETS, FUND, KEYS, TENANTS, budget, funding

VALID: list[tuple[str, str, dict[str, str], Any]] = [
    ("GET", TENANTS, {"limit": "5", "status": "ACTIVE", "cursor": ""}, None),
    (
        "POST",
        TENANTS,
        {},
        {"tenant_id": "acme", "name": "Acme", "metadata": {"a": "b"}, "max_reservation_ttl_ms": 5000},
    ),
    ("PATCH", f"{TENANTS}/acme", {}, {"name": "Acme", "status": "ACTIVE", "default_commit_overage_policy": "REJECT"}),
    ("GET", KEYS, {"tenant_id": "acme", "status": "ACTIVE", "limit": "5", "cursor": ""}, None),
    ("POST", KEYS, {}, {"tenant_id": "acme", "name": "k", "permissions": ["budgets:read"], "scope_filter": ["x"]}),
    ("POST", KEYS, {}, {"tenant_id": "acme", "name": "k", "expires_at": "2100-01-01T00:00:00Z", "metadata": {"a": []}}),
    ("DELETE", f"{KEYS}/key_x", {"reason": "r"}, None),
    ("POST", BUDGETS, {}, budget(overdraft_limit={"unit": "TOKENS", "amount": 1}, period_start="2027-01-01T00:00:00Z")),
    ("GET", BUDGETS, {"scope_prefix": "tenant:", "over_limit": "true", "has_debt": "false", "limit": "5"}, None),
    ("GET", f"{BUDGETS}/lookup", FUND, None),
    ("POST", f"{BUDGETS}/fund", FUND, funding("RESET_SPENT", spent={"unit": "TOKENS", "amount": 1}, reason="r")),
    ("PATCH", BUDGETS, FUND, {"overdraft_limit": {"unit": "TOKENS", "amount": 5}, "metadata": {}}),
    ("POST", f"{BUDGETS}/freeze", FUND, {"reason": "r"}),
    ("GET", "/v1/auth/introspect", {}, None),
]
JUNK: list[Any] = [
    None, True, -1, 2**63, 2**200, 1.5, 1e308, "", " ", "\0", "é" * 3, "x" * 2000, "%00", "tenant:*", "'; DROP",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2027-01-01", [], [[]], {}, {"a": {"b": []}}, ["x"] * 100,
]  # fmt: skip


def spoilt(random_: random.Random, body: Any) -> Any:
    """Put junk somewhere into *body*."""
    body = copy.deepcopy(body)
    if not isinstance(body, dict) or random_.random() < 0.1:
        return random_.choice(JUNK)
    name = random_.choice([*body, "surprise"])
    if isinstance(body.get(name), dict) and random_.random() < 0.5:
        body[name] = spoilt(random_, body[name])
    else:
        body[name] = random_.choice(JUNK)
    return body


def request_of(random_: random.Random, headers: dict[str, str]) -> Request:
    method, path, query, body = random_.choice(VALID)
    query, headers = dict(query), dict(headers)
    where = random_.choice(["body", "query", "path", "headers", "method", "text"])
    content = b"" if body is None else json.dumps(body).encode()
    if where == "body":
        content = json.dumps(spoilt(random_, body)).encode()
    elif where == "query":
        query[random_.choice([*query, "limit", "cursor", "scope", "unit", "tenant_id"])] = str(random_.choice(JUNK))
    elif where == "path":
        path += random_.choice(["/", "/%00", "/x/y", "%2F", "/%ff%fe", "/" + "x" * 500, "/..", "?"])
    elif where == "headers":
        name = random_.choice([*headers, "x-idempotency-key", "content-type", "traceparent"])
        headers[name] = random_.choice(["", "x", "é", "application/xml", "x" * 5000])
    elif where == "method":
        method = random_.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "get", "X"])
    else:
        content = content[: random_.randrange(len(content) + 1)] + random_.choice([b"\xff", b"{", b"\0", b"]", b""])
    return Request(method, path, urlencode(query, errors="replace"), headers, content)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("who", ["administrator", "tenant"])
@pytest.mark.parametrize("store", STORES)
def test_only_clean_answers(seed, who, store):
    """600 requests with something wrong: no 5xx, every error says what, and whatever is refused changes nothing."""
    random_, clock, refusals = random.Random(f"{seed} {who}"), Clock(), 0
    with place_of(store) as place, LocalAuthority(place, clock=clock, admin_key=ADMIN_KEY) as authority:
        authority.tenant("acme", name="Acme")
        authority.budget("tenant:acme", tokens(1000))
        secret = authority.key(tenant="acme", permissions=["admin:read", "admin:write"])
        headers = {"x-admin-api-key": ADMIN_KEY} if who == "administrator" else {"x-cycles-api-key": secret}

        def rows() -> str:
            return "\n".join(dumped(authority))

        before = rows()
        for _ in range(600):
            request = request_of(random_, headers)
            response = authority.app.handle(request)
            shown = json.loads(response.body)
            assert response.status < 500, (request, shown)
            if response.status < 400:
                before = rows()
                continue
            refusals += 1
            assert rows() == before, request
            assert shown["error"].isupper(), request
            assert len(shown["message"]) > 8, request
            assert secret not in shown["message"]
            assert ADMIN_KEY not in shown["message"]
        assert refusals > 200
