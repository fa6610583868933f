"""The operations of the protocol that flows call, and what the success of each looks like.

The whole list, with paths, is in docs/protocol.md, Operations. Effects, answers and outcomes stand on this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from cycles_api.models.balance_response import BalanceResponse
    from cycles_api.models.commit_response import CommitResponse
    from cycles_api.models.cycles_evidence_envelope import CyclesEvidenceEnvelope
    from cycles_api.models.cycles_evidence_jwks import CyclesEvidenceJwks
    from cycles_api.models.decision_response import DecisionResponse
    from cycles_api.models.event_create_response import EventCreateResponse
    from cycles_api.models.release_response import ReleaseResponse
    from cycles_api.models.reservation_create_response import ReservationCreateResponse
    from cycles_api.models.reservation_detail import ReservationDetail
    from cycles_api.models.reservation_extend_response import ReservationExtendResponse
    from cycles_api.models.reservation_list_response import ReservationListResponse

S = TypeVar("S")


class Operation(Generic[S]):
    """An operation of the protocol, and what its success looks like.

    *S* is the model of a successful answer.

    Attributes:
        name: The generated endpoint module's name, `create_reservation`.
        module: Where that module is.
        success: The one HTTP status that is success.
        state: What the body's `status` must say for it to be success; None where there is no such field.
        settles: Whether it ends what a reserve began.
        keeps_body: Whether an answer keeps its body as it came: a signature is over that, not over the model.
    """

    __slots__ = ("keeps_body", "module", "name", "settles", "state", "success")

    def __init__(
        self,
        tag: str,
        name: str,
        *,
        success: int = 200,
        state: str | None = None,
        settles: bool = False,
        keeps_body: bool = False,
    ) -> None:
        self.name: Final = name
        self.module: Final = f"cycles_api.api.{tag}.{name}"
        self.success: Final = success
        self.state: Final = state
        self.settles: Final = settles
        self.keeps_body: Final = keeps_body

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"


CREATE_RESERVATION: Final[Operation[ReservationCreateResponse]] = Operation("reservations", "create_reservation")
COMMIT_RESERVATION: Final[Operation[CommitResponse]] = Operation(
    "reservations", "commit_reservation", state="COMMITTED", settles=True
)
RELEASE_RESERVATION: Final[Operation[ReleaseResponse]] = Operation(
    "reservations", "release_reservation", state="RELEASED", settles=True
)
EXTEND_RESERVATION: Final[Operation[ReservationExtendResponse]] = Operation(
    "reservations", "extend_reservation", state="ACTIVE"
)
LIST_RESERVATIONS: Final[Operation[ReservationListResponse]] = Operation("reservations", "list_reservations")
CREATE_EVENT: Final[Operation[EventCreateResponse]] = Operation(
    "events", "create_event", success=201, state="APPLIED", settles=True
)
DECIDE: Final[Operation[DecisionResponse]] = Operation("decisions", "decide")
GET_BALANCES: Final[Operation[BalanceResponse]] = Operation("balances", "get_balances")
GET_RESERVATION: Final[Operation[ReservationDetail]] = Operation("reservations", "get_reservation")
GET_EVIDENCE: Final[Operation[CyclesEvidenceEnvelope]] = Operation("evidence", "get_evidence", keeps_body=True)
GET_EVIDENCE_JWKS: Final[Operation[CyclesEvidenceJwks]] = Operation("evidence", "get_evidence_jwks", keeps_body=True)
