"""Clients of the administration's paths."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.support.authorities import ADMIN_KEY

from .calls import KEYS, TENANTS


def headers_hold(response: httpx.Response) -> None:
    response.read()
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-cycles-trace-id"])
    assert (response.headers["x-ratelimit-remaining"], response.headers["x-ratelimit-reset"]) == ("-1", "0")
    assert response.headers["x-request-id"]


@pytest.fixture
def asking(authority):
    """Makes clients of the administration's paths; the tests' own way of asking."""
    made = []

    def client(**headers: str) -> httpx.Client:
        hooks = {"response": [headers_hold]}
        http = httpx.Client(transport=authority.transport(), base_url="http://test", headers=headers, event_hooks=hooks)
        made.append(http)
        return http

    yield client
    for http in made:
        http.close()


@pytest.fixture
def adm(asking):
    """The administrator, and the tenant acme."""
    http = asking(**{"X-Admin-API-Key": ADMIN_KEY})
    assert http.post(TENANTS, json={"tenant_id": "acme", "name": "Acme"}).status_code == 201
    return http


@pytest.fixture
def keyed(adm, asking):
    """Makes clients with a fresh key of a tenant, as the administration gives it."""

    def client(*permissions: str, tenant: str = "acme", **fields: Any) -> httpx.Client:
        body = {"tenant_id": tenant, "name": "k", **fields}
        if permissions:
            body["permissions"] = list(permissions)
        return asking(**{"X-Cycles-API-Key": adm.post(KEYS, json=body).json()["key_secret"]})

    return client
