"""The tenant of each API key, looked up in the transaction that a request needs anyway.

A request that writes is first checked against what was last known of its key. Its transaction then looks the key up
again, under the writer's lock or with the rows that it locks. So a key that any process has revoked meanwhile changes
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.local.ledger.keys import key_hash

if TYPE_CHECKING:
    from cycles.local.ledger.keys import Credential
    from cycles.local.store.protocols import Store, StoredBooks
    from cycles.local.wire.session_keys import SessionKeys

MOST: Final = 256
"""Keys that are remembered."""


class Outdated(Exception):
    """A key is not what it was any more."""


class Trusted:
    """What was known of a key.

    Attributes:
        credential: What it was.
        is_confirmed: Whether a transaction has found it so.
    """

    __slots__ = ("_secret", "credential", "is_confirmed")

    def __init__(self, secret: str, credential: Credential) -> None:
        self._secret: Final = secret
        self.credential: Final = credential
        self.is_confirmed = False

    @property
    def key_hash(self) -> str:
        """The hash under which the ledger has the key."""
        return key_hash(self._secret)

    def confirm(self, keys: Keys, books: StoredBooks) -> None:
        """Check it as of now, in the transaction of *books*.

        Raises:
            Outdated: when the key has changed. It is not trusted any more.
        """
        if keys.found(books, self._secret) != self.credential:
            keys.forget(self._secret)
            raise Outdated
        self.is_confirmed = True

    def __repr__(self) -> str:
        return f"<Trusted key of {self.credential.tenant}>"


class Keys:
    """The API keys of requests to one authority.

    Args:
        store: The ledger.
        session_keys: Keys that no ledger has.
    """

    __slots__ = ("_good", "_session_keys", "_store")

    def __init__(self, store: Store, session_keys: SessionKeys) -> None:
        self._store: Final = store
        self._session_keys: Final = session_keys
        self._good: Final[dict[str, Credential]] = {}

    def trusted(self, secret: str) -> Trusted | None:
        """Return what is known of a key that was good; the transaction of a write is the place to confirm it."""
        credential = self._good.get(secret)
        return None if credential is None else Trusted(secret, credential)

    def trust(self, secret: str, credential: Credential) -> None:
        """Remember a key that is good."""
        if len(self._good) >= MOST:
            self._good.clear()
        self._good[secret] = credential

    def forget(self, secret: str) -> None:
        """Look the key up, the next time."""
        self._good.pop(secret, None)

    def looked_up(self, secret: str) -> Credential | None:
        """Return what the ledger says of a key now."""
        # A key is found by its hash, so a guess learns nothing from how long the search takes.
        return self._store.glance(lambda books: self.found(books, secret))

    def found(self, books: StoredBooks, secret: str) -> Credential | None:
        """Return what *books* say of a key."""
        tenant = self._session_keys.tenant(secret)
        return books.credential(secret) if tenant is None else books.session(tenant)

    def are_still(self, trusted: Trusted) -> bool:
        """Whether a key is still what it was; else it is forgotten."""
        try:
            self._store.glance(lambda books: trusted.confirm(self, books))
        except Outdated:
            return False
        return True

    def __repr__(self) -> str:
        return f"<Keys {len(self._good)}>"
