"""What type checkers see of the bindings. Checked by `nox -s types`, not run."""

from typing import assert_type

from cycles_api import AuthenticatedClient, Client
from cycles_api.api.evidence import get_evidence_jwks
from cycles_api.api.reservations import create_reservation, list_reservations
from cycles_api.models import (
    Action,
    Amount,
    CommitOveragePolicy,
    CyclesEvidenceJwks,
    DecisionEnum,
    ErrorCode,
    ErrorResponse,
    Metadata,
    ReservationCreateRequest,
    ReservationCreateResponse,
    Subject,
    UnitEnum,
)
from cycles_api.types import Response, Unset

amount = Amount(unit="TOKENS", amount=5)
assert_type(amount.unit, UnitEnum)
assert_type(amount.amount, int)
assert_type(amount.unit.is_known, bool)
request = ReservationCreateRequest(
    idempotency_key="k",
    subject=Subject(tenant="acme", dimensions={"run": "1"}),
    action=Action(kind="llm.completion", name="gpt-4o"),
    estimate=amount,
    overage_policy="REJECT",
    metadata={"ticket": 7},
)
assert_type(request.overage_policy, CommitOveragePolicy | Unset)
assert_type(request.metadata, Metadata | Unset)

client = AuthenticatedClient("http://localhost:7878", "key", timeout=3.0).with_headers({"X-App": "1"})
assert_type(client, AuthenticatedClient)
response = create_reservation.sync_detailed(client=client, body=request, request_timeout=None, request_headers={})
assert_type(response, Response[ErrorResponse | ReservationCreateResponse])
assert_type(response.status_code, int)
if isinstance(response.parsed, ReservationCreateResponse):
    assert_type(response.parsed.decision, DecisionEnum)
    assert_type(response.parsed.reservation_id, str | Unset)
elif response.parsed is not None:
    assert_type(response.parsed.error, ErrorCode)
list_reservations.sync(client=client, status="ACTIVE", include=["metadata"])
assert_type(get_evidence_jwks.sync(client=Client("http://a")), CyclesEvidenceJwks | ErrorResponse | None)
