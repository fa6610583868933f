"""What can go wrong, sorted by who must act.

    CyclesError
    ├── ConfigError               a setting is missing or wrong: fix the environment or the Config
    │   └── UnknownPrice          no price is known for a model: give it
    ├── InvalidRequest            refused before anything was sent: fix the call (also a ValueError)
    │   └── Unmeterable           a request to a model provider whose cost can't be bounded or read
    ├── Denied                    the authority said no: the guarded section did not run
    │   ├── BudgetExceeded        not enough remains in a scope
    │   ├── BudgetFrozen          an operator froze a scope
    │   ├── BudgetClosed          a scope's budget is closed for good
    │   ├── BudgetNotFound        no budget at any scope of the subject, in any unit
    │   ├── DebtOutstanding       a scope owes and may not owe more
    │   ├── OverdraftLimitExceeded   a scope is over its limit and waits for an operator
    │   ├── TenantClosed          the tenant is closed
    │   ├── ActionQuotaExceeded   the quota of this kind of action is used up
    │   ├── ActionKindNotAllowed  a policy allows only other kinds of actions
    │   └── ActionKindDenied      a policy denies this kind of action
    ├── AuthorityError            the authority answered, and the answer was an error
    │   ├── Unauthorized  Forbidden  NotFound  UnitMismatch  IdempotencyMismatch
    │   ├── ReservationExpired  ReservationFinalized  MaxExtensionsExceeded
    │   ├── RateLimited  InternalError
    │   └── UnexpectedResponse    an answer that this client can't read
    ├── AuthorityUnavailable      no answer at all (transport)
    ├── LeaseLost                 the reservation ended while the section was still running
    ├── SettlementPending         spend is journaled but not settled yet
    ├── UnreportedSpend           the section ended without an actual amount, and that was declared an error
    ├── AlreadySettled            a second commit or release of one reservation: nothing was sent
    └── JournalError              the settlement journal can't be used

Unknown error codes and reasons are ordinary: an unknown denial is a plain `Denied`, an unknown error a plain
`AuthorityError` (docs/protocol.md, Forward compatibility). No API key is ever part of an error: transport exceptions
hold the request and its headers, so errors describe them and do not chain them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from cycles_api.models.action_quota_violation import ActionQuotaViolation
    from cycles_api.models.amount import Amount

__all__ = [
    "ActionKindDenied",
    "ActionKindNotAllowed",
    "ActionQuotaExceeded",
    "AlreadySettled",
    "AuthorityError",
    "AuthorityUnavailable",
    "BudgetClosed",
    "BudgetExceeded",
    "BudgetFrozen",
    "BudgetNotFound",
    "ConfigError",
    "CyclesError",
    "DebtOutstanding",
    "Denied",
    "Forbidden",
    "IdempotencyMismatch",
    "InternalError",
    "InvalidRequest",
    "JournalError",
    "LeaseLost",
    "MaxExtensionsExceeded",
    "NotFound",
    "OverdraftLimitExceeded",
    "RateLimited",
    "ReservationExpired",
    "ReservationFinalized",
    "SettlementPending",
    "TenantClosed",
    "Unauthorized",
    "UnexpectedResponse",
    "UnitMismatch",
    "UnknownPrice",
    "Unmeterable",
    "UnreportedSpend",
]


class CyclesError(Exception):
    """Base of everything this package raises.

    Args:
        message: What happened and what to do about it; never a secret.

    Attributes:
        status: HTTP status of the answer, or None when there was none.
        code: The authority's error code or reason code (open: may be unknown to this client), or None.
        request_id: The authority's id of the request, for the operator, or None.
        trace_id: 32 lower-case hex digits that tie the requests of one guard together, or None.
        details: The authority's structured details ({} when none).
        retry_after: Seconds after which asking again may help, or None.
        evidence: The authority's evidence reference (`evidence_id`, `cycles_evidence_url`), or None.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("2.00"), action=("llm.completion", "gpt-4o")):
                print("never reached: there is one dollar")
        except cycles.CyclesError as error:
            print(error.status, error.code, error.request_id, error.remedy)
        ```
    """

    retryable: ClassVar[bool] = False
    remedy: str | None = None
    """What to do about it, where the message does not say so; `str()` has both."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        trace_id: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.trace_id = trace_id
        self.details: dict[str, Any] = {} if details is None else details
        self.retry_after = retry_after
        self.evidence = evidence

    @property
    def is_retryable(self) -> bool:
        """Whether the same request, sent again unchanged and later, may succeed."""
        return self.retryable or self.retry_after is not None

    def __str__(self) -> str:
        told = self.message if self.remedy is None else f"{self.message}; {self.remedy}"
        return f"{told} ({self.facts})" if self.facts else told

    @property
    def facts(self) -> str:
        """Status, code and request id as one line for the operator, or "" when no answer came."""
        known = (("status", self.status), ("code", self.code), ("request_id", self.request_id))
        return ", ".join(f"{name} {value}" for name, value in known if value is not None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.message, dict(self.__dict__))


def _restore(kind: type[CyclesError], message: str, state: dict[str, Any]) -> CyclesError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    error.args = (message,)
    return error


class ConfigError(CyclesError):
    """A setting is missing or wrong. The message names it, its value (unless secret) and what is allowed.

    Example:
        ```python
        import cycles

        try:
            cycles.Config("local:", read_timeout=-1.0)
        except cycles.ConfigError as error:
            print(error)
        ```
    """


class InvalidRequest(CyclesError, ValueError):
    """Refused before anything was sent. The message names the field, the value and the remedy.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            cycles.Guard(usd("0.05"), action=("tool.search", ""))
        except cycles.InvalidRequest as error:
            print(error)
        ```
    """


class UnknownPrice(ConfigError):
    """No price is known for a model. The message shows how to give it.

    Example:
        ```python
        import cycles

        try:
            cycles.Prices().cost("openai", "gpt-of-tomorrow", {"input_tokens": 1200})
        except cycles.UnknownPrice as error:
            print(error)
        ```
    """


class Unmeterable(InvalidRequest):
    """A request to a model provider is billed in a way that can't be metered: nothing was sent. The message says why.

    Example:
        ```python
        import httpx

        import cycles

        http = cycles.wrap(httpx.Client())
        try:
            http.post("https://api.openai.com/v1/images/generations", json={"model": "gpt-image-1", "prompt": "x"})
        except cycles.Unmeterable as error:
            print(error)
        ```
    """


class LimitNumbers(Protocol):
    """The part of a `Limit` that an error shows."""

    @property
    def spent(self) -> Amount:
        """What its sections have spent."""
        ...

    @property
    def held(self) -> Amount:
        """What its open sections hold."""
        ...

    @property
    def remaining(self) -> Amount:
        """What is left."""
        ...


class DenialDetail:
    """What an authority says about a denial (docs/protocol.md, Extensions). What it does not say is None.

    Attributes:
        reason_code: Why it denies; an open list.
        quota: The quota that is used up: the kind of action, the window, how much was used, and the limit.
        policy: The id of the policy that refused.
        scope: The scope path of the budget or the policy that refused.
        remaining: What the budget that refused has left, in its unit; may be negative.
        suggested_fix: What a person can do about it.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            try:
                client.reserve(usd("50"), action=("tool.search", "web"))
            except cycles.Denied as denied:
                print(denied.detail)
        ```
    """

    __slots__ = ("policy", "quota", "reason_code", "remaining", "scope", "suggested_fix")

    def __init__(
        self,
        reason_code: str,
        *,
        quota: ActionQuotaViolation | None = None,
        policy: str | None = None,
        scope: str | None = None,
        remaining: int | None = None,
        suggested_fix: str | None = None,
    ) -> None:
        self.reason_code: Final = reason_code
        self.quota: Final = quota
        self.policy: Final = policy
        self.scope: Final = scope
        self.remaining: Final = remaining
        self.suggested_fix: Final = suggested_fix

    def __repr__(self) -> str:
        known = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        return f"DenialDetail({', '.join(f'{name}={value!r}' for name, value in known.items())})"


class Denied(CyclesError):
    """The authority said no; nothing is held and the guarded section did not run (docs/protocol.md, Errors).

    Attributes:
        scope: The scope path that refused, or None when the authority did not say.
        affected_scopes: The scope paths that the question was about, widest first.
        limit: The `Limit` of this process that refused; None when it was the authority.
        detail: What the authority says about it, or None. Its `suggested_fix` is the error's `remedy`.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("2.00"), action=("llm.completion", "gpt-4o")):
                print("never reached: there is one dollar")
        except cycles.Denied as denied:
            print(denied.code, denied.scope, denied.remaining)
        ```
    """

    remedy = "ask the authority's operator, with the request id: a rule of its own refused"

    def __init__(
        self,
        message: str,
        *,
        scope: str | None = None,
        affected_scopes: tuple[str, ...] = (),
        limit: LimitNumbers | None = None,
        detail: DenialDetail | None = None,
        **said: Any,
    ) -> None:
        super().__init__(message, **said)
        self.scope = scope if scope is not None or detail is None else detail.scope
        self.affected_scopes = affected_scopes
        self.limit = limit
        self.detail = detail
        if limit is not None:
            self.remedy = "ask for less, raise the limit, or end the run"
        elif detail is not None and detail.suggested_fix is not None:
            self.remedy = detail.suggested_fix

    @property
    def quota(self) -> ActionQuotaViolation | None:
        """The quota that is used up, or None."""
        return None if self.detail is None else self.detail.quota

    @property
    def policy(self) -> str | None:
        """The id of the policy that refused, or None."""
        return None if self.detail is None else self.detail.policy

    @property
    def remaining(self) -> int | None:
        """What the budget that refused has left, in its unit, or None when the authority did not say."""
        return None if self.detail is None else self.detail.remaining


class BudgetExceeded(Denied):
    """Less remains in a scope than the estimate: spend less, wait for releases, or have the budget raised.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("2.00"), action=("llm.completion", "gpt-4o")):
                print("never reached: there is one dollar")
        except cycles.BudgetExceeded as denied:
            print(denied.scope, denied.remaining, denied.retry_after)
        ```
    """

    remedy = "ask for less, wait for releases, or have the budget raised"


class BudgetFrozen(Denied):
    """An operator froze a scope's budget: nothing new may be reserved until it is unfrozen.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.freeze("tenant:acme", "USD_MICROCENTS")
            try:
                client.reserve(usd("0.05"), action=("tool.search", "web"))
            except cycles.BudgetFrozen as denied:
                print(denied.scope, denied.remedy)
        ```
    """

    remedy = "the operator has to unfreeze it"


class BudgetClosed(Denied):
    """A scope's budget is closed for good.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.close_budget("tenant:acme", "USD_MICROCENTS")
            try:
                client.reserve(usd("0.05"), action=("tool.search", "web"))
            except cycles.BudgetClosed as denied:
                print(denied.scope, denied.remedy)
        ```
    """

    remedy = "use another scope, or another unit"


class BudgetNotFound(Denied):
    """No scope of the subject has a budget in any unit: check the subject's levels, or create the budget.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            try:
                client.reserve(usd("0.05"), action=("tool.search", "web"))
            except cycles.BudgetNotFound as denied:
                print(denied.scope, denied.remedy)
        ```
    """

    remedy = "check the subject's levels and the unit, or have a budget made"


class DebtOutstanding(Denied):
    """A scope owes more than it may: the debt must be repaid before anything new is reserved.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.DebtOutstanding as denied:
            print(denied.code, denied.remedy)
        ```
    """

    remedy = "the debt has to be repaid first"


class OverdraftLimitExceeded(Denied):
    """A scope went over its limit: an operator must fund it before anything new is reserved.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            client.record(usd("1.50"), action=("tool.search", "web"), overage_policy="ALLOW_IF_AVAILABLE")
            try:
                client.reserve(usd("0.05"), action=("tool.search", "web"))
            except cycles.OverdraftLimitExceeded as denied:
                print(denied.scope, denied.remedy)
        ```
    """

    remedy = "the operator has to fund it"


class TenantClosed(Denied):
    """The tenant is closed.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.TenantClosed as denied:
            print(denied.code, denied.remedy)
        ```
    """

    remedy = "it is closed for good: use another"


class ActionQuotaExceeded(Denied):
    """The quota of this kind of action is used up: `quota` says how many it allows, and in what window.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.ActionQuotaExceeded as denied:
            print(denied.quota, denied.retry_after)
        ```
    """

    remedy = "wait for the quota's next window, or have the quota raised"


class ActionKindNotAllowed(Denied):
    """A policy allows only other kinds of actions.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.ActionKindNotAllowed as denied:
            print(denied.policy, denied.remedy)
        ```
    """

    remedy = "use a kind of action that the policy allows, or have this one added to it"


class ActionKindDenied(Denied):
    """A policy denies this kind of action.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.ActionKindDenied as denied:
            print(denied.policy, denied.remedy)
        ```
    """

    remedy = "a policy forbids it: its owner has to change that"


class AuthorityError(CyclesError):
    """The authority answered with an error; codes unknown to this client arrive as this class itself.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                print("searching")  # your tool call
        except cycles.AuthorityError as error:
            print(error.status, error.code)
        ```
    """


class Unauthorized(AuthorityError):
    """The API key is missing, unknown, revoked or expired (401): set CYCLES_API_KEY to a live key.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            try:
                client.with_options(api_key="cyc_live_wrong").reserve(usd("0.05"), action=("tool.search", "web"))
            except cycles.Unauthorized as error:
                print(error.status, error.remedy)
        ```
    """

    remedy = "set CYCLES_API_KEY to a live key of this authority"


class Forbidden(AuthorityError):
    """The key belongs to a different tenant than the one named (403).

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            try:
                client.reserve(usd("0.05"), action=("tool.search", "web"), tenant="other")
            except cycles.Forbidden as error:
                print(error.status, error.remedy)
        ```
    """

    remedy = "set CYCLES_TENANT to the key's tenant, or use another key"


class NotFound(AuthorityError):
    """The authority knows no such id (404).

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            try:
                client.reservation("no-such-id")
            except cycles.NotFound as error:
                print(error.status, error.request_id)
        ```
    """


class UnitMismatch(AuthorityError):
    """The budgets at these scopes are in another unit; `details["expected_units"]` lists theirs (400).

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            try:
                client.reserve(cycles.tokens(100), action=("tool.search", "web"))
            except cycles.UnitMismatch as error:
                print(error.details.get("expected_units"))
        ```
    """


class IdempotencyMismatch(AuthorityError):
    """The idempotency key was used before with a different payload (409): a new request needs a new key.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            client.record(usd("0.01"), action=("tool.search", "web"), idempotency_key="search-17")
            try:
                client.record(usd("0.02"), action=("tool.search", "web"), idempotency_key="search-17")
            except cycles.IdempotencyMismatch as error:
                print(error.code)
        ```
    """


class ReservationExpired(AuthorityError):
    """The reservation has expired (410): spend that happened is charged by an event instead.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority, ManualClock

        with LocalAuthority(clock=ManualClock()) as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            held = client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=1, grace_period=0)
            authority.advance(3600)
            try:
                client.reservation(held.id or "")
            except cycles.ReservationExpired as error:
                print(error.status)
        ```
    """


class ReservationFinalized(AuthorityError):
    """The reservation was already committed or released, under a different key (409).

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority
        from cycles_api.api.reservations import release_reservation
        from cycles_api.models import ReleaseRequest

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            held = client.reserve(usd("0.05"), action=("tool.search", "web"))
            body = ReleaseRequest(idempotency_key="k-1")
            release_reservation.sync(held.id or "", client=client.api, body=body)  # an operator, for instance
            try:
                held.commit(usd("0.02"))
            except cycles.ReservationFinalized as error:
                print(error.code)
        ```
    """


class MaxExtensionsExceeded(AuthorityError):
    """The reservation may not be extended again (409).

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.tenant("acme", max_extensions=0)
            held = client.reserve(usd("0.05"), action=("tool.search", "web"))
            try:
                held.extend(30)
            except cycles.MaxExtensionsExceeded as error:
                print(error.code)
        ```
    """


class RateLimited(AuthorityError):
    """Throttled (429): `retry_after` says for how many seconds.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.faults.throttle(retry_after=30)
            once = client.with_options(retry_enabled=False)
            try:
                once.decide(usd("0.05"), action=("tool.search", "web"))
            except cycles.RateLimited as error:
                print(error.retry_after, error.is_retryable)
        ```
    """

    retryable = True


class InternalError(AuthorityError):
    """The authority failed (5xx): whether it did what was asked is unknown.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.faults.fail(503, times=None)
            once = client.with_options(retry_enabled=False)
            try:
                once.decide(usd("0.05"), action=("tool.search", "web"))
            except cycles.InternalError as error:
                print(error.status, error.is_retryable)
        ```
    """

    retryable = True


class UnexpectedResponse(AuthorityError):
    """An answer that does not follow the protocol: often from a proxy in between, or a wrong CYCLES_BASE_URL.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.faults.malform()
            once = client.with_options(retry_enabled=False)
            try:
                once.decide(usd("0.05"), action=("tool.search", "web"))
            except cycles.UnexpectedResponse as error:
                print(error)
        ```
    """

    remedy = "is CYCLES_BASE_URL right? `cycles doctor` says what answers there"


class AuthorityUnavailable(CyclesError):
    """No answer came: refused, timed out or cut off. The message names the transport's reason.

    Example:
        ```python
        import cycles
        from cycles import usd

        nowhere = cycles.Config("http://127.0.0.1:1", api_key="k", tenant="acme", retry_enabled=False)
        try:
            with cycles.Client(nowhere) as client:
                client.reserve(usd("0.05"), action=("tool.search", "web"))
        except cycles.AuthorityUnavailable as error:
            print(error, error.is_retryable)
        ```
    """

    retryable = True
    remedy = "check CYCLES_BASE_URL and the network: `cycles doctor` finds out where it fails"


class LeaseLost(CyclesError):
    """The reservation ended while its section was still running.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("llm.completion", "gpt-4o"), ttl=600):
                print("your model call")
        except cycles.LeaseLost as error:
            print(error)
        ```
    """


class SettlementPending(CyclesError):
    """The spend is in the journal and will be settled later.

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.local import LocalAuthority

        with LocalAuthority() as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1.00"))
            authority.faults.fail(503, operation="commit", times=None)
            once = client.with_options(retry_enabled=False)
            try:
                held = once.reserve(usd("0.05"), action=("tool.search", "web"))
                held.commit(usd("0.02"))
            except cycles.SettlementPending as error:
                print(error)
            authority.faults.clear()  # it is there again
            print(once.drain().settled)
        ```
    """


class UnreportedSpend(CyclesError):
    """The section ended without an actual amount and the guard has `unreported="error"`; nothing was sent.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web"), unreported="error"):
                print("the work reports nothing")
        except cycles.UnreportedSpend as error:
            print(error)
        ```
    """


class AlreadySettled(CyclesError):
    """The reservation was already committed or released here; nothing was sent.

    Example:
        ```python
        import cycles
        from cycles import usd

        try:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")) as reservation:
                reservation.commit(usd("0.02"))
                reservation.commit(usd("0.02"))
        except cycles.AlreadySettled as error:
            print(error)
        ```
    """


class JournalError(CyclesError):
    """The settlement journal can't be used.

    Example:
        ```python
        import cycles

        try:
            with cycles.Client() as client:
                print(client.drain(timeout=5))
        except cycles.JournalError as error:
            print(error)
        ```
    """


DENIALS: Final[dict[str, type[Denied]]] = {
    "BUDGET_EXCEEDED": BudgetExceeded,
    "BUDGET_FROZEN": BudgetFrozen,
    "BUDGET_CLOSED": BudgetClosed,
    "BUDGET_NOT_FOUND": BudgetNotFound,
    "DEBT_OUTSTANDING": DebtOutstanding,
    "OVERDRAFT_LIMIT_EXCEEDED": OverdraftLimitExceeded,
    "TENANT_CLOSED": TenantClosed,
    "ACTION_QUOTA_EXCEEDED": ActionQuotaExceeded,
    "ACTION_KIND_NOT_ALLOWED": ActionKindNotAllowed,
    "ACTION_KIND_DENIED": ActionKindDenied,
}
"""Error codes and reason codes that are denials, and what each is raised as."""

ERRORS: Final[dict[str, type[AuthorityError]]] = {
    "UNAUTHORIZED": Unauthorized,
    "FORBIDDEN": Forbidden,
    "NOT_FOUND": NotFound,
    "UNIT_MISMATCH": UnitMismatch,
    "IDEMPOTENCY_MISMATCH": IdempotencyMismatch,
    "RESERVATION_EXPIRED": ReservationExpired,
    "RESERVATION_FINALIZED": ReservationFinalized,
    "MAX_EXTENSIONS_EXCEEDED": MaxExtensionsExceeded,
    "LIMIT_EXCEEDED": RateLimited,
    "INTERNAL_ERROR": InternalError,
}
"""Error codes that are not denials, and what each is raised as; unknown ones go by their status."""

STATUSES: Final[dict[int, type[AuthorityError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: ReservationExpired,
    429: RateLimited,
}
"""What an error without a known code is raised as, by its HTTP status; 5xx is InternalError."""
