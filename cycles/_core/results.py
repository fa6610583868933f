"""What programs receive: a decision, a settlement, and its details for `on_settlement`. Values, and no flow."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cycles._core.lifecycle import State
from cycles._core.response_info import ResponseInfo
from cycles.amounts import describe
from cycles_api import models
from cycles_api.shown import table
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles.errors import CyclesError, DenialDetail
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.cycles_evidence_ref import CyclesEvidenceRef


def reference(evidence: CyclesEvidenceRef | Unset) -> dict[str, Any] | None:
    """Return the evidence reference of an answer, or None when it has none."""
    return None if isinstance(evidence, Unset) else evidence.to_dict()


class Decision:
    """What the authority would say to a reservation; nothing is held. It is true if and only if it allows.

    Attributes:
        allowed: Whether the decision is ALLOW or ALLOW_WITH_CAPS; an unknown one is not
            (docs/protocol.md, Forward compatibility).
        decision: ALLOW, ALLOW_WITH_CAPS, DENY, or what a newer authority says.
        reason_code: Why not, such as "BUDGET_EXCEEDED", or None; a reason that this client does not know is kept.
        caps: What a grant would be limited to, or None (docs/protocol.md, Caps).
        retry_after: Seconds after which asking again may help, or None.
        affected_scopes: The scope paths of the subject, widest first.
        detail: What the authority says about a denial, or None: what refused, and what helps.
        evidence: The authority's evidence reference (`evidence_id`, `cycles_evidence_url`), or None.
        info: The headers of the answer.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            decision = client.decide(usd("0.05"), action=("tool.search", "web"))
        print("go" if decision else decision.reason_code)
        ```
    """

    __slots__ = (
        "affected_scopes",
        "allowed",
        "caps",
        "decision",
        "detail",
        "evidence",
        "info",
        "reason_code",
        "retry_after",
    )

    def __init__(
        self,
        decision: models.DecisionEnum,
        info: ResponseInfo,
        *,
        reason_code: str | None = None,
        caps: models.Caps | None = None,
        retry_after: float | None = None,
        affected_scopes: tuple[str, ...] = (),
        detail: DenialDetail | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        self.allowed: Final = decision in (models.DecisionEnum.ALLOW, models.DecisionEnum.ALLOW_WITH_CAPS)
        self.decision: Final = decision
        self.reason_code: Final = reason_code
        self.caps: Final = caps
        self.retry_after: Final = retry_after
        self.affected_scopes: Final = affected_scopes
        self.detail: Final = detail
        self.evidence: Final = evidence
        self.info: Final = info

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        reason = f" {self.reason_code}" if self.reason_code is not None else ""
        return f"<Decision {self.decision}{reason}>"


class Settlement:
    """How a reservation ended, or how spend without one was charged (`Client.record`).

    Attributes:
        state: COMMITTED, RELEASED, EXPIRED, or UNSETTLED when the spend is not acknowledged.
        via: "commit", "event" (the hold had expired, or there was none), "release", or "limit" (it counts in its
            limit, which charges the sum at its end).
        charged: What was really charged, which may be less than the actual (docs/protocol.md, Overage policies);
            None when not known.
        uncovered: The part of the actual that was not charged, because the budgets had no more; None when there is no
            such part, or nothing was charged.
        released: What went back to the budgets, or None.
        balances: The budgets after it, as the authority said.
        attempts: Requests sent for it.
        is_kept: Whether the journal holds it, so that it is settled later; only for an unsettled spend.
        is_refused: Whether the authority refused the spend or the key, so that the same request can't help.
        prospect: What will happen to spend that the journal holds, in words.
        left_out: What could not be sent along with the charge, and why: metrics or metadata that no request can carry.
        evidence: The authority's evidence reference (`evidence_id`, `cycles_evidence_url`), or None.
        goes_on: Whether the background goes on with it; without a journal, from memory.
        error: Why it is not settled, or what went wrong on the way; None when all went well.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            settlement = client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))
        print(settlement.state, settlement.charged, settlement.released)
        ```
    """

    __slots__ = (
        "_headers",
        "attempts",
        "balances",
        "charged",
        "error",
        "evidence",
        "goes_on",
        "is_kept",
        "is_refused",
        "left_out",
        "prospect",
        "released",
        "state",
        "uncovered",
        "via",
    )

    def __init__(
        self,
        state: State,
        *,
        via: str,
        attempts: int,
        charged: Amount | None = None,
        uncovered: Amount | None = None,
        released: Amount | None = None,
        balances: tuple[Balance, ...] = (),
        error: CyclesError | None = None,
        is_kept: bool = False,
        is_refused: bool = False,
        prospect: str = "",
        evidence: dict[str, Any] | None = None,
        goes_on: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.state = state
        self.via = via
        self.attempts = attempts
        self.charged = charged
        self.uncovered = uncovered
        self.released = released
        self.balances = balances
        self.error = error
        self.is_kept = is_kept
        self.is_refused = is_refused
        self.prospect = prospect
        self.left_out = ()
        self.evidence = evidence
        self.goes_on = goes_on
        self._headers = {} if headers is None else headers

    state: State
    via: str
    attempts: int
    charged: Amount | None
    uncovered: Amount | None
    released: Amount | None
    balances: tuple[Balance, ...]
    error: CyclesError | None
    is_kept: bool
    is_refused: bool
    prospect: str
    left_out: tuple[str, ...]
    evidence: dict[str, Any] | None
    goes_on: bool
    _headers: Mapping[str, str]

    @property
    def info(self) -> ResponseInfo:
        """The headers of the last answer; all None when none came."""
        return ResponseInfo(self._headers)

    def __repr__(self) -> str:
        charged = f" charged {describe(self.charged)}" if self.charged is not None else ""
        uncovered = f" uncovered {describe(self.uncovered)}" if self.uncovered is not None else ""
        error = f" error {type(self.error).__name__}" if self.error is not None else ""
        return f"<Settlement {self.state} via {self.via}{charged}{uncovered}{error}>"

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        error = None if self.error is None else type(self.error).__name__
        columns = ("settlement", "via", "charged", "uncovered", "released", "error")
        return table(columns, [(self.state, self.via, self.charged, self.uncovered, self.released, error)])


class CountedSettlement(Settlement):
    """How a section ended that counts in its limit: *actual* is charged, and what is left of *estimate* is free."""

    __slots__ = ("_estimate",)

    state = State.COMMITTED
    via = "limit"
    attempts = 0
    balances = ()
    is_kept = is_refused = goes_on = False
    prospect = ""
    uncovered = error = evidence = None
    _headers = MappingProxyType({})

    def __init__(self, actual: Amount, estimate: int) -> None:
        self.charged = actual
        self.left_out = ()
        self._estimate: Final = estimate

    @property
    def released(self) -> Amount:  # type: ignore[override]  # made when somebody looks: few do
        """What went back to the limit."""
        actual: Amount = self.charged  # type: ignore[assignment]  # see __init__
        return models.Amount(unit=actual.unit, amount=max(0, self._estimate - actual.amount))


class SettlementDetails:
    """What became of one spend; `on_settlement` receives it. Frozen.

    Attributes:
        reservation_id: The reservation that it was committed against; None for a spend without one.
        actual: What the work really cost.
        outcome: "settled"; "rejected" (the authority understood and refused: a person has to look at it); "pending"
            (the journal holds it, and it is sent again); "stopped" (the journal holds it, and it is not tried again in
            this run: the key is refused); "unsettled" (no journal holds it).
        via: "commit", "event", or "limit": it counts in its limit, whose own settlement charges the sum.
        charged: What was charged; None unless settled.
        uncovered: The part of `actual` that was not charged, because the budgets had no more; None without such a part.
        attempts: Requests sent for it in this run.
        recovered: Whether it was settled from the journal, and not by the section itself.
        error: Why it is not settled, or None.

    Example:
        ```python
        import cycles
        from cycles import usd

        def watch(details: cycles.SettlementDetails) -> None:
            print(details.outcome, details.charged)


        with cycles.Client(on_settlement=watch) as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))
        ```
    """

    __slots__ = ("actual", "attempts", "charged", "error", "outcome", "recovered", "reservation_id", "uncovered", "via")

    def __init__(
        self,
        reservation_id: str | None,
        actual: Amount,
        outcome: str,
        *,
        via: str,
        charged: Amount | None = None,
        uncovered: Amount | None = None,
        attempts: int = 0,
        recovered: bool = False,
        error: CyclesError | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "reservation_id", reservation_id)
        put(self, "actual", actual)
        put(self, "outcome", outcome)
        put(self, "via", via)
        put(self, "charged", charged)
        put(self, "uncovered", uncovered)
        put(self, "attempts", attempts)
        put(self, "recovered", recovered)
        put(self, "error", error)

    reservation_id: str | None
    actual: Amount
    outcome: str
    via: str
    charged: Amount | None
    uncovered: Amount | None
    attempts: int
    recovered: bool
    error: CyclesError | None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settlement details are frozen: {name}")

    def __repr__(self) -> str:
        spend = self.reservation_id or "without reservation"
        return f"<SettlementDetails {spend} {describe(self.actual)} {self.outcome} via {self.via}>"


class CountedDetails(SettlementDetails):
    """What became of the spend of a section that counts in its limit: *actual*, all of it."""

    __slots__ = ()

    reservation_id = uncovered = error = None
    outcome = "settled"
    via = "limit"
    attempts = 0
    recovered = False

    def __init__(self, actual: Amount) -> None:
        object.__setattr__(self, "actual", actual)
        object.__setattr__(self, "charged", actual)
