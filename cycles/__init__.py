"""Cycles: an agent asks before it spends.

    import cycles
    from cycles import usd

    @cycles.Guard(estimate=usd("0.05"), action=("llm.completion", "gpt-4o"), actual=lambda reply: usd(reply.cost))
    def ask(prompt): ...

Before the call, the guard reserves the estimate at the authority that CYCLES_BASE_URL names. After it, the guard
commits the actual cost, and the rest goes back. A reservation is an entry in a ledger, never a payment.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cycles._client.options import (
    ActionLike,
    BalanceFilters,
    Cost,
    DecideOptions,
    Level,
    OveragePolicy,
    PerCall,
    RecordOptions,
    ReservationFilters,
    ReserveOptions,
    Seconds,
)
from cycles._client.paging import AsyncRows, Rows
from cycles._client.subjects import subject
from cycles._core.levels import level
from cycles._core.lifecycle import State
from cycles._core.policy_keys import PolicyKeys
from cycles._core.response_info import ResponseInfo
from cycles._core.results import Decision, Settlement, SettlementDetails
from cycles._core.retry import RetryPolicy
from cycles._journal.recovery import Drained
from cycles.amounts import credits, risk_points, tokens, usd, usd_microcents
from cycles.client import AsyncClient, Client, aclose, close, configure
from cycles.config import Config
from cycles.errors import (
    ActionKindDenied,
    ActionKindNotAllowed,
    ActionQuotaExceeded,
    AlreadySettled,
    AuthorityError,
    AuthorityUnavailable,
    BudgetClosed,
    BudgetExceeded,
    BudgetFrozen,
    BudgetNotFound,
    ConfigError,
    CyclesError,
    DebtOutstanding,
    DenialDetail,
    Denied,
    Forbidden,
    IdempotencyMismatch,
    InternalError,
    InvalidRequest,
    JournalError,
    LeaseLost,
    MaxExtensionsExceeded,
    NotFound,
    OverdraftLimitExceeded,
    RateLimited,
    ReservationExpired,
    ReservationFinalized,
    SettlementPending,
    TenantClosed,
    Unauthorized,
    UnexpectedResponse,
    UnitMismatch,
    UnknownPrice,
    Unmeterable,
    UnreportedSpend,
)
from cycles.guard import Guard
from cycles.limit import Limit
from cycles.reservation import AsyncReservation, DryRun, Reservation, current, report
from cycles_api.models.action import Action
from cycles_api.models.amount import Amount
from cycles_api.models.standard_metrics import StandardMetrics as Metrics

if TYPE_CHECKING:
    from cycles.metered import wrap
    from cycles.prices import Prices

__all__ = [
    "Action",
    "ActionKindDenied",
    "ActionKindNotAllowed",
    "ActionLike",
    "ActionQuotaExceeded",
    "AlreadySettled",
    "Amount",
    "AsyncClient",
    "AsyncReservation",
    "AsyncRows",
    "AuthorityError",
    "AuthorityUnavailable",
    "BalanceFilters",
    "BudgetClosed",
    "BudgetExceeded",
    "BudgetFrozen",
    "BudgetNotFound",
    "Client",
    "Config",
    "ConfigError",
    "Cost",
    "CyclesError",
    "DebtOutstanding",
    "DecideOptions",
    "Decision",
    "DenialDetail",
    "Denied",
    "Drained",
    "DryRun",
    "Forbidden",
    "Guard",
    "IdempotencyMismatch",
    "InternalError",
    "InvalidRequest",
    "JournalError",
    "LeaseLost",
    "Level",
    "Limit",
    "MaxExtensionsExceeded",
    "Metrics",
    "NotFound",
    "OveragePolicy",
    "OverdraftLimitExceeded",
    "PerCall",
    "PolicyKeys",
    "Prices",
    "RateLimited",
    "RecordOptions",
    "Reservation",
    "ReservationExpired",
    "ReservationFilters",
    "ReservationFinalized",
    "ReserveOptions",
    "ResponseInfo",
    "RetryPolicy",
    "Rows",
    "Seconds",
    "Settlement",
    "SettlementDetails",
    "SettlementPending",
    "State",
    "TenantClosed",
    "Unauthorized",
    "UnexpectedResponse",
    "UnitMismatch",
    "UnknownPrice",
    "Unmeterable",
    "UnreportedSpend",
    "aclose",
    "close",
    "configure",
    "credits",
    "current",
    "level",
    "report",
    "risk_points",
    "subject",
    "tokens",
    "usd",
    "usd_microcents",
    "wrap",
]

__version__ = "0.2.0"

_LATER: Final = {"Prices": "cycles.prices", "wrap": "cycles.metered"}
"""Names whose module is imported when they are first used: most programs do without."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found
