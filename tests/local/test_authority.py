"""The face of the embedded authority: the clients it hands out, and its end."""

from __future__ import annotations

import httpx
import pytest

from cycles import tokens
from cycles.errors import InvalidRequest
from tests.support.authorities import SCOPE
from tests.support.wire import failed


def test_a_closed_authority_says_so(authority):
    transport = authority.transport()
    secret = authority.key(tenant="acme")
    authority.close()
    authority.close()
    with httpx.Client(transport=transport, base_url="http://test", headers={"X-Cycles-API-Key": secret}) as http:
        response = http.get("/v1/balances?tenant=acme")
        assert failed(response, 500, "INTERNAL_ERROR")
        assert "closed" in response.json()["message"]
    with pytest.raises(InvalidRequest, match="closed"):
        authority.balances()


def test_clients_of_an_authority(authority):
    authority.budget(SCOPE, tokens(10))
    with authority.client(tenant="acme") as client:
        client.reserve(tokens(10), action=("k", "n")).commit(tokens(4))
    row = authority.balance(SCOPE, "TOKENS")
    assert (row.allocated, row.remaining, row.reserved, row.spent, row.debt) == (10, 6, 0, 4, 0)
