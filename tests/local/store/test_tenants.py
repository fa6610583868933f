"""Tenants whose names differ in case only."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority


def test_tenants_that_differ_in_case_do_not_share_a_budget():
    with LocalAuthority() as authority:
        for call in (
            lambda: authority.tenant("ACME"),
            lambda: authority.key(tenant="Acme"),
            lambda: authority.client(tenant="ACME"),
            lambda: authority.budget("tenant:ACME", tokens(1)),
            lambda: authority.ensure_budget("tenant:ACME/agent:a", tokens(1)),
            lambda: authority.fund("tenant:ACME", "CREDIT", tokens(1)),
            lambda: authority.balance("tenant:ACME", "TOKENS"),
            lambda: LocalAuthority.from_url("local:?usd=1", tenant="ACME"),
        ):
            with pytest.raises((ConfigError, InvalidRequest), match="lower case; write acme"):
                call()
        assert authority.budget("tenant:acme/agent:Planner", tokens(1)).scope_path == "tenant:acme/agent:planner"
