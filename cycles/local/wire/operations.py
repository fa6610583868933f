"""The operations of the runtime plane: what each one checks of its request, and which transaction it runs.

By then `app` has checked the key and found the route.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.ledger import estimates, events, leases, reservations, settlements, touched
from cycles.local.ledger.bodies import hold_body
from cycles.local.ledger.values import Refusal
from cycles.local.wire import auth, lists, overview, validation
from cycles.local.wire.charges import Charges
from cycles.local.wire.denials import Denials
from cycles.local.wire.evidence import facts_of
from cycles.local.wire.messages import new_row_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.touched import Touched
    from cycles.local.ledger.values import Hold
    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.evidence import Evidence
    from cycles.local.wire.links import Links
    from cycles.local.wire.messages import Request
    from cycles.local.wire.session_keys import SessionKeys
    from cycles.local.wire.transactions import Transactions
    from cycles.local.wire.trust import Keys, Trusted

Body = dict[str, Any]

_EVIDENCE_ID: Final = re.compile(r"[0-9a-f]{64}")
_EVERYTHING: Final = frozenset({"metadata", "committed_metadata"})


class Asked(NamedTuple):
    """A request on its way through the checks; `tenant` is the key's, None the administrator's.

    What `trusted` says of the key is confirmed by the request's transaction; None: it was looked up.
    """

    request: Request
    segments: list[str]
    tenant: str | None
    request_id: str
    trace_id: str
    trusted: Trusted | None


class Operations:
    """Answers the operations, each with a status and a body, or refuses them.

    Args:
        transactions: The transactions of requests on the ledger's rows.
        keys: Confirms what was said of a request's key.
        session_keys: Keys that are good in this process only.
        links: Links to the page that were not opened yet.
        signing: Signs answers; None: nothing does.

    Attributes:
        denials: The last denials, for the page.
        charges: What was charged lately, for the page.
    """

    def __init__(
        self, transactions: Transactions, keys: Keys, session_keys: SessionKeys, links: Links, signing: Evidence | None
    ) -> None:
        self._transactions: Final = transactions
        self._keys: Final = keys
        self._session_keys: Final = session_keys
        self._links: Final = links
        self._signing: Final = signing
        self.denials: Final = Denials()
        self.charges: Final = Charges()

    def _decided(
        self,
        asked: Asked,
        name: str,
        body: Body,
        operation: Callable[[StoredBooks, int], Body],
        touches: Callable[[], Touched],
        *,
        is_signed: bool = False,
    ) -> Body:
        """Run *operation* in one transaction, and remember a denial for the page."""
        if is_signed and self._signing is not None:
            source = f"{name}:{asked.tenant}:{body['idempotency_key']}"
            request = facts_of(body, tenant=asked.tenant)
            operation = self._signing.signing(name, asked, source, request, operation)
        try:
            answer = self._write(asked, operation, touches)
        except Refusal as refusal:
            self.denials.refused(name, asked.tenant or "", body, refusal, self._transactions.clock())
            raise
        if answer.get("decision") == "DENY":
            self.denials.decided(name, asked.tenant or "", body, answer, self._transactions.clock())
        return answer

    def reserve(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.reservation_request)
        return 200, self._decided(
            asked,
            "reserve",
            body,
            lambda books, now: estimates.reserve(books, tenant, body, now_ms=now, new_id=new_row_id(now)),
            lambda: touched.by_reserve(tenant, body),
            is_signed=True,
        )

    def decide(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.decision_request)
        return 200, self._decided(
            asked,
            "decide",
            body,
            lambda books, now: estimates.decide(books, tenant, body, now_ms=now),
            lambda: touched.by_decide(tenant, body),
            is_signed=True,
        )

    def event(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.event_request)
        applied: list[tuple[int, str]] = []

        def apply(books: StoredBooks, now_ms: int) -> Body:
            applied.append((now_ms, new_row_id(now_ms)))
            return events.event(books, tenant, body, now_ms=now_ms, new_id=applied[-1][1])

        answer = self._decided(asked, "event", body, apply, lambda: touched.by_event(tenant, body))
        now_ms, event_id = applied[-1]
        if answer["event_id"] == event_id:  # else it was applied before
            self.charges.recorded(tenant, body, answer, now_ms)
        return 201, answer

    def commit(self, asked: Asked) -> tuple[int, Body]:
        live: list[tuple[Hold, int]] = []

        def commit(books: StoredBooks, hold: Hold, body: Body, *, now_ms: int) -> Body:
            if hold.status == "ACTIVE":  # else it was committed before, or is refused
                live.append((hold, now_ms))
            return settlements.commit(books, hold, body, now_ms=now_ms)

        status, answer = self._settled(asked, validation.commit_request, commit, "commit")
        for hold, now_ms in live[-1:]:
            self.charges.committed(hold, answer, now_ms)
        return status, answer

    def release(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.release_request, settlements.release, "release")

    def extend(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.extend_request, leases.extend)

    def _settled(
        self, asked: Asked, check: validation.Check, operation: Callable[..., Body], artifact: str | None = None
    ) -> tuple[int, Body]:
        body = validation.checked_body(asked.request, check)
        reservation_id = _reservation_id(asked)
        validation.same_key(asked.request, body)

        def settle(books: StoredBooks, now_ms: int) -> Body:
            return operation(books, reservations.find(books, asked.tenant, reservation_id), body, now_ms=now_ms)

        def touches() -> Touched:
            if operation is leases.extend:
                return touched.by_extend(asked.tenant, reservation_id, body)
            return touched.by_settlement(reservation_id)

        if self._signing is None or artifact is None:
            return 200, self._write(asked, settle, touches)
        request = facts_of(body, tenant=asked.tenant, reservation_id=reservation_id)
        source = f"{artifact}:{reservation_id}"
        signed = self._signing.signing(artifact, asked, source, request, settle)
        return 200, self._write(asked, signed, touches)

    def reservation(self, asked: Asked) -> tuple[int, Body]:
        reservation_id = _reservation_id(asked)
        with self._transactions.reading() as books:
            hold = reservations.find(books, asked.tenant, reservation_id)
            if hold.status == "EXPIRED":
                raise reservations.expired(hold)
            body = hold_body(hold, include=_EVERYTHING)
            if self._signing is not None:
                self._signing.add_references(books, asked.request, [body])
        return 200, body

    def reservations(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        tenant = parameters.get("tenant", "") if asked.tenant is None else asked.tenant
        if not tenant:
            message = "tenant query parameter is required when using admin key authentication"
            raise Refusal(400, "INVALID_REQUEST", message)
        _own_tenant(asked.tenant, parameters.get("tenant"))
        with self._transactions.reading() as books:
            # A filter that is there and empty takes nothing, the tenant's too.
            body = lists.reservations(books, parameters.get("tenant", tenant), parameters)
            if self._signing is not None and "evidence" in lists.included(parameters):
                self._signing.add_references(books, asked.request, body["reservations"])
        return 200, body

    def balances(self, asked: Asked) -> tuple[int, Body]:
        assert asked.tenant is not None  # noqa: S101 - types: the administrator has no such route
        parameters = asked.request.parameters()
        _own_tenant(asked.tenant, parameters.get("tenant"))
        with self._transactions.reading() as books:
            return 200, lists.balances(books, asked.tenant, parameters, self._transactions.clock())

    def status(self, asked: Asked) -> tuple[int, Body]:
        with self._transactions.reading() as books:
            now_ms = self._transactions.clock()
            return 200, overview.snapshot(books, self.denials, self.charges, asked.tenant, now_ms)

    def page(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        raise Refusal(
            404, "NOT_FOUND", "the page is not here: `cycles serve` answers it, before the authority is asked"
        )

    # -- what needs no key ---------------------------------------------------------------------------------------------
    def page_key(self, asked: Asked) -> tuple[int, Body]:
        """Exchange a link's token for a key of this process, which is in no file and ends with it."""
        tenant = self._links.opened(asked.request.headers.get("x-cycles-link", ""), self._transactions.clock())
        if tenant is None:
            message = "this link was opened before, or is older than 10 minutes: give the page an API key"
            raise Refusal(401, "UNAUTHORIZED", message)
        return 200, {"api_key": self._session_keys.key(tenant)}

    def evidence(self, asked: Asked) -> tuple[int, Body]:
        if not _EVIDENCE_ID.fullmatch(asked.segments[-1]):
            raise Refusal(400, "INVALID_REQUEST", "an evidence id is 64 lower-case hex digits")
        self._must_sign()
        with self._transactions.store.glancing() as books:
            envelope = books.evidence(asked.segments[-1])
        if envelope is None:
            raise Refusal(404, "NOT_FOUND", "there is no evidence with this id")
        return 200, envelope

    def jwks(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        return 200, self._must_sign().keys.public()

    def _must_sign(self) -> Evidence:
        if self._signing is None:
            raise Refusal(404, "NOT_FOUND", "this authority signs no evidence")
        return self._signing

    def health(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        with self._transactions.store.glancing() as books:
            books.overdue(0, 1)
        return 200, {"status": "UP"}

    def _write(
        self, asked: Asked, operation: Callable[[StoredBooks, int], Body], touches: Callable[[], Touched]
    ) -> Body:
        """Run *operation* in one transaction, which first confirms what was said of the key."""
        trusted = asked.trusted
        if trusted is None:
            return self._transactions.write(asked, operation, touches)

        def confirmed(books: StoredBooks, now_ms: int) -> Body:
            trusted.confirm(self._keys, books)
            return operation(books, now_ms)

        return self._transactions.write(asked, confirmed, lambda: touches()._replace(key_hash=trusted.key_hash))


# -- checks before the ledger ------------------------------------------------------------------------------------------
def _asked_body(asked: Asked, check: validation.Check) -> tuple[str, Body]:
    """Return the tenant and the checked body of a request with a subject."""
    assert asked.tenant is not None  # noqa: S101 - types: the administrator has no such route
    body = validation.checked_body(asked.request, check)
    validation.has_a_level(body["subject"])
    validation.same_key(asked.request, body)
    _own_tenant(asked.tenant, body["subject"].get("tenant"))
    auth.must_own_budgets(asked.tenant)
    return asked.tenant, body


def _reservation_id(asked: Asked) -> str:
    reservation_id = asked.segments[2]
    if len(reservation_id) > 128:
        raise validation.invalid("reservation_id", "must have 1 to 128 characters")
    return reservation_id


def _own_tenant(tenant: str | None, named: str | None) -> None:
    if tenant is not None and named and named != tenant:
        raise Refusal(403, "FORBIDDEN", f"the API key is of the tenant {tenant}, not of {named}")
