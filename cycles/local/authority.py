"""`LocalAuthority`: an authority inside this process, and clients of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles.local.embedded import EmbeddedAuthority
from cycles.local.registry import authority_of, named_by_urls

if TYPE_CHECKING:
    from cycles.client import AsyncClient, Client


@named_by_urls
class LocalAuthority(EmbeddedAuthority):
    """An authority on SQLite inside this process: the runtime plane of the protocol, and its administration.

    Args:
        path: A file, shared by every process of this machine that names it; or postgresql://…, a database, shared by
            every machine that reaches it (docs/postgres.md); None keeps the ledger in memory, and it ends with the
            process.
        clock: For tests: a callable that returns milliseconds since the epoch, such as a `ManualClock`. Without it, the
            machine's clock counts, or the database's.
        admin_key: The key that the administrator sends over HTTP in X-Admin-API-Key; None: there is no administrator
            over HTTP.
        lenient_permissions: Whether over HTTP a tenant's key may do what needs a permission, such as fund its own
            budgets, without having that permission.
        signing_key: The key that signs answers: the path of a key file (`cycles local keygen`), or the 32 bytes of an
            Ed25519 key; None signs nothing (docs/evidence.md). Needs the extra `evidence`.
        history: How many of the last requests and runtime events `requests` and `events` show; None: 1000 with a
            ledger in memory, and none with a file or a database.

    Attributes:
        faults: Makes requests go wrong, in process or over HTTP; for tests (`Faults`).

    Raises:
        ConfigError: when the file, or the database, can't be used as a ledger; it is left untouched.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))
        assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == usd("0.02").amount
        ```
    """

    # -- clients: only this module knows them, and imports them when somebody asks for one -----------------------------
    def client(self, *, tenant: str) -> Client:
        """Return a `cycles.Client` of this authority with a fresh key of *tenant*.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))
            ```
        """
        from cycles.client import Client  # noqa: PLC0415 - see above
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.session_key(tenant=tenant), tenant=tenant)
        return Client(config, http_client=self.http_client())

    def async_client(self, *, tenant: str) -> AsyncClient:
        """Return a `cycles.AsyncClient` of this authority with a fresh key of *tenant*.

        Example:
            ```python
            import asyncio

            from cycles import usd
            from cycles.local import LocalAuthority


            async def spend(authority: LocalAuthority) -> None:
                async with authority.async_client(tenant="acme") as client:
                    reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                    await reservation.commit(usd("0.02"))


            authority = LocalAuthority()
            authority.budget("tenant:acme", usd("1.00"))
            asyncio.run(spend(authority))
            ```
        """
        from cycles.client import AsyncClient  # noqa: PLC0415
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.session_key(tenant=tenant), tenant=tenant)
        return AsyncClient(config, http_client=self.async_http_client())

    def _url(self) -> str:
        return f"local:{self.store.place}"

    # -- local: URLs ---------------------------------------------------------------------------------------------------
    @classmethod
    def from_url(cls, url: str, *, tenant: str | None = None) -> LocalAuthority:
        """Return the authority that a `local:` URL names; in one process the same one for the same name.

        A fork of this process opens a file anew. A ledger in memory stays with the process that made it: a fork that
        asked its copy would have the budget a second time, so it is refused.

        Args:
            url: "local:" (memory), "local:PATH" or "local:postgresql://…". Each may have ?usd=1.00 (or tokens, credits,
                risk_points), which creates a budget of *tenant* unless there is one; ?usd=5.00/day or
                ?usd=5.00/day/Europe/Berlin creates one that begins anew (see `budget`).
            tenant: The tenant of that budget; "default" when None.

        Raises:
            ConfigError: naming what is wrong with the URL.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            authority = LocalAuthority.from_url("local:?usd=1.00", tenant="acme")  # what guards use under that URL
            assert authority.balance("tenant:acme", "USD_MICROCENTS").remaining == usd("1.00").amount
            ```
        """
        found = authority_of(url, tenant=tenant, kind=cls)
        assert isinstance(found, LocalAuthority)  # noqa: S101 - types: the registry makes no others
        return found

    def __repr__(self) -> str:
        return f"<LocalAuthority {repr(self.store.place) if self.store.place else 'in memory'}>"
