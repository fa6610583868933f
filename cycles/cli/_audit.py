"""An audit: whether what an authority signed about a reservation is what its ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.cli._output import money
from cycles.errors import AuthorityError, InvalidRequest
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.client import Client
    from cycles.evidence import Keys, Verification
    from cycles_api.models.amount import Amount
    from cycles_api.models.reservation_summary import ReservationSummary

_ARTIFACTS: Final = ("reserve", "commit", "release")
_ENDS: Final = {"COMMITTED": "commit", "RELEASED": "release"}


class Difference(NamedTuple):
    """Something that does not fit.

    Attributes:
        reservation_id: Where.
        artifact: "reserve", "commit" or "release".
        evidence_id: Of the envelope, or None when there is none.
        what: In words.
    """

    reservation_id: str
    artifact: str
    evidence_id: str | None
    what: str


class Audit:
    """Verifies the evidence of reservations, one by one.

    Args:
        client: Of the authority.
        keys, server_id: See `Client.evidence`.

    Attributes:
        differences: What was found.
        reservations, authentic: How many there were, and how many of their envelopes are authentic.
    """

    def __init__(self, client: Client, keys: Keys | None, server_id: str | None) -> None:
        self._client: Final = client
        self._keys: Final = keys
        self._server_id: Final = server_id
        self._owners: Final[dict[str, str]] = {}
        self.differences: Final[list[Difference]] = []
        self.reservations = 0
        self.authentic = 0

    def look_at(self, row: ReservationSummary) -> None:
        """Compare the ledger's *row* with what was signed about it."""
        self.reservations += 1
        evidence = {} if isinstance(row.evidence, Unset) else row.evidence.to_dict()
        expected = {"reserve", _ENDS.get(str(row.status), "reserve")}
        for artifact in _ARTIFACTS:
            reference = evidence.get(artifact)
            if reference is None:
                if artifact in expected:
                    self._note(row, artifact, None, f"it is {row.status}, and there is no evidence of its {artifact}")
                continue
            evidence_id = reference["evidence_id"]
            if artifact not in expected:
                self._note(row, artifact, evidence_id, f"there is evidence of its {artifact}, and it is {row.status}")
            owner = self._owners.setdefault(evidence_id, row.reservation_id)
            if owner != row.reservation_id:
                self._note(row, artifact, evidence_id, f"reservation {owner} has the same evidence")
            for what in self._of_one(row, artifact, reference):
                self._note(row, artifact, evidence_id, what)

    def _of_one(self, row: ReservationSummary, artifact: str, reference: dict[str, Any]) -> Iterator[str]:
        try:
            found = self._client.evidence(reference, self._keys, server_id=self._server_id)
        except (AuthorityError, InvalidRequest) as error:
            yield f"its evidence can't be fetched: {error.message}"
            return
        if not found:
            yield f"{found.outcome}: {found.reason}"
            return
        self.authentic += 1
        if found.artifact_type != artifact:
            yield f"it is evidence of a {found.artifact_type}"
            return
        yield from _contradictions(row, artifact, found)

    def _note(self, row: ReservationSummary, artifact: str, evidence_id: str | None, what: str) -> None:
        self.differences.append(Difference(row.reservation_id, artifact, evidence_id, what))


def _contradictions(row: ReservationSummary, artifact: str, found: Verification) -> Iterator[str]:
    """Say where what was signed is not what the ledger says; what was not signed can't differ."""
    content = found.content
    request = content.get("request")
    signed_id = content.get("reservation_id") or (request.get("reservation_id") if isinstance(request, dict) else None)
    if signed_id is not None and signed_id != row.reservation_id:
        yield f"it is about reservation {signed_id}"
    scope = content.get("scope_path")
    if scope is not None and scope != row.scope_path:
        yield f"signed at {scope}, and the ledger says {row.scope_path}"
    name = {"reserve": "reserved", "commit": "charged", "release": "released"}[artifact]
    amount = None if artifact == "commit" and isinstance(row.committed, Unset) else _known(row, artifact)
    signed = content.get(name)
    if signed is not None and (amount is None or signed != amount.to_dict()):
        yield f"signed {name} {_shown(signed)}, and the ledger says {money(amount) or 'nothing'}"


def _known(row: ReservationSummary, artifact: str) -> Amount | None:
    amount = row.committed if artifact == "commit" else row.reserved
    return None if isinstance(amount, Unset) else amount


def _shown(signed: Any) -> str:
    return f"{signed.get('amount')} {signed.get('unit')}" if isinstance(signed, dict) else repr(signed)
