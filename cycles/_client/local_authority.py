"""The authority inside this process that a client of `local:` sends to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cycles.config import Config
    from cycles.local.embedded import EmbeddedAuthority

DEFAULT_TENANT: Final = "default"
"""The tenant that `local:` spends for when none is configured."""


def local_authority(config: Config) -> tuple[EmbeddedAuthority, Config]:
    """Return the authority that a `local:` URL names, and the configuration to use it with."""
    from cycles.local.registry import authority_of  # noqa: PLC0415 - sqlite3 and the ledger load only when used

    config = config if config.tenant is not None else config.replace(tenant=DEFAULT_TENANT)
    assert config.tenant is not None  # noqa: S101 - types
    authority = authority_of(config.base_url, tenant=config.tenant)
    # A key configured for a real server means nothing here, and the process is its own authority.
    return authority, config.replace(api_key=authority.session_key(tenant=config.tenant))
