"""`Store` and `StoredBooks`: all that the wire and the administration know of where a ledger is kept.

An engine is a file beside this one that implements both, and the only place where its SQL and its driver are named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from cycles.local.ledger.books import Books

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cycles.local.ledger.keys import ApiKey, Credential
    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.ledger.touched import Touched
    from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Tenant, Terms

T = TypeVar("T")

Order: TypeAlias = Literal[
    "reservation_id", "tenant", "scope_path", "status", "estimate", "created_at_ms", "expires_at_ms"
]
"""What reservations can be listed by."""


class Window(NamedTuple):
    """A span of time, both ends included, in milliseconds; None: open."""

    low_ms: int | None
    high_ms: int | None


class HoldQuery(NamedTuple):
    """Which reservations a list has, and their order.

    Attributes:
        tenant: The tenant that made them.
        order_by: What they are ordered by; those that are equal in it come by ascending id.
        descending: Whether the largest comes first.
        status: One status; "": any.
        key: One idempotency key; None: any.
        levels: Levels and values, in lower case, that the scope path must have as whole segments.
        created, expires, finalized: Times.
    """

    tenant: str
    order_by: Order
    descending: bool
    status: str
    key: str | None
    levels: tuple[tuple[str, str], ...]
    created: Window
    expires: Window
    finalized: Window


class EventQuery(NamedTuple):
    """Which events a list has; newest first.

    Attributes:
        tenant: The tenant that was charged; None: any.
        key: One idempotency key; None: any.
        levels: As in `HoldQuery`.
        created: When they were charged.
    """

    tenant: str | None
    key: str | None
    levels: tuple[tuple[str, str], ...]
    created: Window


class KeyQuery(NamedTuple):
    """Which API keys a list has; newest first.

    Attributes:
        tenant: The tenant that they belong to; None: any.
        status: ACTIVE, REVOKED or EXPIRED; "": any.
    """

    tenant: str | None
    status: str


class BudgetQuery(NamedTuple):
    """Which budgets a list has, by scope path and unit; whatever is left out takes any.

    Attributes:
        tenant: Their tenant, in lower case as in scope paths.
        levels: As in `HoldQuery`.
        unit, status: One unit, one status.
        is_over_limit, has_debt: Flags.
        prefix: How the scope path begins.
        within: Scopes of which one must be the path, or a parent of it.
    """

    tenant: str | None = None
    levels: tuple[tuple[str, str], ...] = ()
    unit: str | None = None
    status: str | None = None
    is_over_limit: bool | None = None
    has_debt: bool | None = None
    prefix: str = ""
    within: tuple[str, ...] = ()


class Envelope(NamedTuple):
    """A signed answer, and by what it is found again.

    Attributes:
        evidence_id: Its id.
        source: What the same request again has in common with the one that was answered.
        digest: Of the answer.
        reservation_id: What it is about; None: no reservation.
        artifact: "reserve", "commit" …
        keep_until_ms: When it may be deleted.
        envelope: What is signed, with its signature.
    """

    evidence_id: str
    source: str
    digest: str
    reservation_id: str | None
    artifact: str
    keep_until_ms: int
    envelope: dict[str, Any]


class StoredBooks(Books, Protocol):
    """The rows of a store inside one transaction: what the ledger needs, and what only requests and operators ask for.

    Attributes:
        origin: The request behind this transaction, for the events that it publishes; None: no request.
    """

    origin: Origin | None

    def purge(self, now_ms: int, most: int = ...) -> None:
        """Delete up to *most* replays, and as many reservations and events, that nobody can ask for any more."""
        ...

    # -- evidence ------------------------------------------------------------------------------------------------------
    def put_evidence(self, row: Envelope) -> None: ...

    def evidence(self, evidence_id: str) -> dict[str, Any] | None:
        """Return the envelope with this id."""
        ...

    def evidence_from(self, source: str, digest: str) -> str | None:
        """Return the id of the envelope of this answer to the same request."""
        ...

    def evidence_of(self, reservation_id: str) -> dict[str, str]:
        """Return the ids of a reservation's envelopes, by artifact."""
        ...

    # -- everything of a kind ------------------------------------------------------------------------------------------
    def tenants(self) -> list[Tenant]:
        """Return every tenant by its id; one that has a key or a budget but no record has the default settings."""
        ...

    def known_tenant(self, tenant_id: str) -> Tenant | None:
        """Return the tenant, if it has a record, a key or a budget."""
        ...

    def all_budgets(self) -> list[Budget]:
        """Return every budget, by scope path and unit."""
        ...

    def all_past(self) -> list[Budget]:
        """Return the rows of periods that are over and not yet forgotten, by scope path, unit and renewals."""
        ...

    def all_holds(self) -> list[Hold]:
        """Return every reservation, oldest first."""
        ...

    # -- keys ----------------------------------------------------------------------------------------------------------
    def credential(self, secret: str) -> Credential | None:
        """Return what a request with the API key *secret* depends on, as of one moment. Every request asks for it."""
        ...

    def session(self, tenant_id: str) -> Credential:
        """Return what a request with a session key of *tenant_id* depends on."""
        ...

    def key(self, secret: str) -> ApiKey | None:
        """Return the API key with this secret."""
        ...

    def key_named(self, key_id: str) -> ApiKey | None:
        """Return the API key with this id."""
        ...

    # -- terms ---------------------------------------------------------------------------------------------------------
    def terms(self, scope_path: str, unit: str) -> Terms:
        """Return what was noted about a budget."""
        ...

    def put_terms(self, scope_path: str, unit: str, terms: Terms) -> None: ...

    # -- pages: up to *most* rows that come after the position *after*, from the start when it is None. Rows may
    #    hold large metadata, so they are read one by one, before anything else is asked of the books ------------------
    def find_holds(self, query: HoldQuery, after: tuple[int | str, str] | None, most: int) -> Iterator[Hold]:
        """Give reservations after (the value in the order, the id)."""
        ...

    def find_budgets(self, query: BudgetQuery, after: tuple[str, str] | None, most: int) -> list[Budget]:
        """Return budgets after (scope path, unit)."""
        ...

    def find_ledgers(
        self, query: BudgetQuery, after: tuple[str, str] | None, most: int
    ) -> Iterator[tuple[Budget, Terms]]:
        """Give budgets and what was noted about them, after (scope path, unit)."""
        ...

    def find_events(self, query: EventQuery, after: tuple[int, str] | None, most: int) -> Iterator[ChargedEvent]:
        """Give events after (time, id), both descending."""
        ...

    def find_keys(self, query: KeyQuery, after: tuple[int, str] | None, most: int, now_ms: int) -> Iterator[ApiKey]:
        """Give API keys after (time of creation, id)."""
        ...

    def live_holds(self, tenant: str | None, most: int) -> list[Hold]:
        """Return ACTIVE reservations of *tenant*, or of all, in the order in which they end."""
        ...


class Store(Protocol):
    """Where the rows of one ledger are kept; safe to share between threads.

    Attributes:
        publish: Takes the notices of a transaction after it has committed, in the order of transactions, and the
            request behind it. None: nobody listens, and nothing is noted.
    """

    publish: Callable[[list[Notice], Origin | None], None] | None

    @property
    def path(self) -> Path | None:
        """The file; None: the ledger is in memory, or in a database."""
        ...

    @property
    def place(self) -> str:
        """What a `local:` URL calls it: a path, a URL without its password, "" in memory."""
        ...

    @property
    def clock(self) -> Callable[[], int] | None:
        """The clock of all who share the ledger, in milliseconds since the epoch; None: each machine's own."""
        ...

    @property
    def is_memory(self) -> bool:
        """Whether no transaction waits for a disk or a network."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        ...

    @property
    def failure(self) -> type[Exception]:
        """The exception that the engine raises when the ledger can't be read or written."""
        ...

    def is_busy(self, error: Exception) -> bool:
        """Whether *error* says that other writers held the ledger for too long: asking again may help."""
        ...

    def transact(self, operation: Callable[[StoredBooks], T], touches: Callable[[], Touched] | None = None) -> T:
        """Run *operation* on the books in one transaction, which any exception undoes, and return what it returns.

        Args:
            operation: It may be run again after a transaction that came to nothing, or of which nobody knows what
                came of it; whatever a request does is kept under its idempotency key.
            touches: Says which rows it touches, for stores that lock rows; None: nobody else writes meanwhile.
        """
        ...

    def sweep(self, clock: Callable[[], int], *, waits: bool = False) -> int:
        """Expire up to 1000 overdue reservations, delete what nobody can ask for any more, and return how many expired.

        Where another server is doing so just now, none; or, when it *waits*, those that are left.
        """
        ...

    def writing(self) -> AbstractContextManager[StoredBooks]:
        """Give the books in one transaction, which any exception undoes; nobody else writes meanwhile."""
        ...

    def reading(self) -> AbstractContextManager[StoredBooks]:
        """Give the books as they are at one moment."""
        ...

    def glancing(self) -> AbstractContextManager[StoredBooks]:
        """Give the books for one query, which needs no transaction around it."""
        ...

    def glance(self, question: Callable[[StoredBooks], T]) -> T:
        """Return what *question* finds out by one query; it may be asked again."""
        ...

    def problems(self) -> list[str]:
        """Return everything that is wrong with the ledger, for people; reads all of it.

        The figures of every budget must add up and fit int64, and what is reserved must be what live holds sum up to.
        """
        ...

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the ledger, as of one moment, to a new file.

        Raises:
            ConfigError: when there is a file already, or it can't be written.
        """
        ...

    def close(self) -> None:
        """Close the store; a ledger in memory is gone."""
        ...
