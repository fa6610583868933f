"""Evidence: answers of the authority, signed, so that anybody can check later what it said (docs/evidence.md).

An envelope is kept in the ledger together with what it is about, and everybody who knows its id can read it. So it has
the answer, and of the request only who, what and how much: no metadata, no keys.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from cycles.local.ledger.touched import NOTHING
from cycles.local.ledger.values import LEVELS, Refusal
from cycles.local.store.protocols import Envelope
from cycles.local.wire.messages import ORIGIN
from cycles.local.wire.routes import operation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.messages import Request
    from cycles.local.wire.signing_keys import SigningKeys
    from cycles.local.wire.transactions import Transactions

Body = dict[str, Any]


class Asking(Protocol):
    """A request on its way through the checks: `cycles.local.wire.operations.Asked`."""

    @property
    def request(self) -> Request: ...
    @property
    def trace_id(self) -> str: ...


SCHEMA_VERSION: Final = "cycles-evidence/v0.1"

KEPT_MS: Final = 90 * 86_400_000
"""How long an envelope is kept: longer than the reservation that it is about."""

_SIGNED_STEPS: Final = frozenset({"commit", "release"})
_SIGNED: Final = _SIGNED_STEPS | {"decide", "reserve"}
"""The operations whose answers, and errors, are signed."""

_HOST: Final = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")

_log: Final = logging.getLogger("cycles.local")


class Evidence:
    """What signs the answers of one authority.

    Args:
        keys: What it signs with.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self.keys: Final = keys

    # -- signing -------------------------------------------------------------------------------------------------------
    def signing(
        self, artifact: str, asked: Asking, source: str, facts: Body, operation: Callable[[StoredBooks, int], Body]
    ) -> Callable[[StoredBooks, int], Body]:
        """Return *operation* so that its answer has a reference to its envelope, which the same transaction keeps.

        Args:
            artifact: "decide", "reserve", "commit" or "release".
            asked: The request.
            source: What the same request again has in common with this one: its answer then has the same envelope.
            facts: What is signed of the request, as `facts_of` gives it.
            operation: Gives the answer.
        """

        def signed(books: StoredBooks, now_ms: int) -> Body:
            answer = operation(books, now_ms)
            digest = _digest(answer)
            evidence_id = books.evidence_from(source, digest)
            if evidence_id is None:
                reservation_id = answer.get("reservation_id") or facts.get("reservation_id")
                payload = {**answer, "request": facts}
                envelope = self._signed(artifact, payload, now_ms, asked.trace_id)
                if envelope is None:
                    return answer
                evidence_id = envelope["evidence_id"]
                books.put_evidence(
                    Envelope(evidence_id, source, digest, reservation_id, artifact, now_ms + KEPT_MS, envelope)
                )
            return {**answer, "cycles_evidence": _reference(asked.request, evidence_id)}

        return signed

    def with_error(
        self, transactions: Transactions, request: Request, tenant: str | None, status: int, error: Body
    ) -> Body:
        """Return the body of an *error* with a reference to its envelope.

        Only of what a key's holder was refused, and that is signed when it is granted: else anybody could fill the
        ledger. It stays as it was, too, when its envelope can't be kept.
        """
        operation = operation_of(request)
        if operation not in _SIGNED or status >= 500 or tenant is None:
            return error
        reservation_id = request.segments()[2] if operation in _SIGNED_STEPS else None
        facts = facts_of({}, operation=operation, tenant=tenant, reservation_id=reservation_id)
        now_ms = transactions.clock()
        envelope = self._signed("error", {**error, "request": facts}, now_ms, error["trace_id"])
        if envelope is None:
            return error
        evidence_id = envelope["evidence_id"]
        row = Envelope(evidence_id, f"error:{error['request_id']}", "", None, "error", now_ms + KEPT_MS, envelope)
        try:
            transactions.store.transact(lambda books: books.put_evidence(row), lambda: NOTHING)
        except (transactions.store.failure, Refusal):  # the refusal itself is what counts
            _log.warning("the evidence of request %s was not kept", error["request_id"], exc_info=True)
            return error
        return {**error, "cycles_evidence": _reference(request, evidence_id)}

    def _signed(self, artifact: str, payload: Body, now_ms: int, trace_id: str) -> Body | None:
        """Return the envelope of an answer; None, and a line in the log, when there is no key or no canonical form."""
        import rfc8785  # noqa: PLC0415 - an extra

        signer = self.keys.signer(now_ms)
        if signer is None:
            _log.warning("no key of %r may sign now: an answer goes without evidence", self.keys)
            return None
        envelope: Body = {
            "schema_version": SCHEMA_VERSION,
            "artifact_type": artifact,
            "server_id": self.keys.server_id,
            "signer_did": signer.did,
            "issued_at_ms": now_ms,
            "trace_id": trace_id,
            "payload": {artifact: payload},
            "evidence_id": "",
            "signature": "",
        }
        try:
            envelope["evidence_id"] = hashlib.sha256(rfc8785.dumps(envelope)).hexdigest()
            envelope["signature"] = signer.key.sign(rfc8785.dumps(envelope)).hex()
        except rfc8785.CanonicalizationError as error:  # an amount from 2**53 on, which canonical JSON can't tell apart
            _log.warning("an answer goes without evidence: %s", error)
            return None
        return envelope

    # -- reading -------------------------------------------------------------------------------------------------------
    @staticmethod
    def add_references(books: StoredBooks, request: Request, rows: Iterable[Body]) -> None:
        """Add to reservations, as lists and details show them, the references to their envelopes."""
        for row in rows:
            found = books.evidence_of(row["reservation_id"])
            if found:
                row["evidence"] = {name: _reference(request, evidence_id) for name, evidence_id in found.items()}

    def __repr__(self) -> str:
        return f"<Evidence by {self.keys!r}>"


def facts_of(body: Body, **facts: Any) -> Body:
    """Return what is signed of a request: who, what and how much, and these *facts* that are not None."""
    kept: Body = {name: value for name, value in facts.items() if value is not None}
    if "subject" in body:
        kept["subject"] = {level: body["subject"][level] for level in LEVELS if level in body["subject"]}
        kept["action"] = {name: body["action"][name] for name in ("kind", "name")}
    return kept | {name: body[name] for name in ("estimate", "actual") if name in body}


def _reference(request: Request, evidence_id: str) -> Body:
    """Return what an answer to *request* says about its envelope: at the address that the client itself used."""
    host = request.headers.get("host", "")
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else "http"
    base = f"{scheme}://{host}" if _HOST.fullmatch(host) else ORIGIN
    return {"evidence_id": evidence_id, "cycles_evidence_url": f"{base}/v1/evidence/{evidence_id}"}


def _digest(answer: Body) -> str:
    """Return what tells one answer from another; a replay differs in what is left of its lease, and is the same."""
    same = {name: value for name, value in answer.items() if name != "remaining_ttl_ms"}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
