"""The authority inside this process that a client of `local:` sends to."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cycles.config import Config
    from cycles.local.embedded import EmbeddedAuthority

DEFAULT_TENANT: Final = "default"
"""The tenant that `local:` spends for when none is configured."""

_PARAMETERS: Final = {"USD_MICROCENTS": "usd", "TOKENS": "tokens", "CREDITS": "credits", "RISK_POINTS": "risk_points"}
"""What a budget of each unit is called in a `local:` URL."""


def budget_remedy(base_url: str, unit: object) -> str:
    """Return what helps where a ledger of this machine has no budget: how one is made there."""
    path, name = base_url.removeprefix("local:").partition("?")[0], _PARAMETERS.get(str(unit), "usd")
    made = f"let CYCLES_BASE_URL end in ?{name}=1"
    if path:
        options = f"--{name.replace('_', '-')} 1 --db {shlex.quote(path)}"
        made = f"{made}, or call `cycles local budget create SCOPE {options}`"
    return f"check the subject's levels and the unit, or make a budget: {made}"


def local_authority(config: Config) -> tuple[EmbeddedAuthority, Config]:
    """Return the authority that a `local:` URL names, and the configuration to use it with."""
    from cycles.local.registry import authority_of  # noqa: PLC0415 - sqlite3 and the ledger load only when used

    config = config if config.tenant is not None else config.replace(tenant=DEFAULT_TENANT)
    assert config.tenant is not None  # noqa: S101 - types
    authority = authority_of(config.base_url, tenant=config.tenant)
    # A key configured for a real server means nothing here, and the process is its own authority.
    return authority, config.replace(api_key=authority.session_key(tenant=config.tenant))
