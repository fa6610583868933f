"""Metrics in OpenTelemetry, when the program itself has loaded that: meter `cycles`, listed in docs/observability.md.

OpenTelemetry is never imported here (see `trace`); without it, each of these functions costs one look into a
dictionary. Attributes are few and bounded: no ids, and no names of tenants. Nothing that fails here fails a request.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from cycles._outside.arrivals import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.outcomes import Answer
    from cycles._core.results import SettlementDetails

_API: Final = "opentelemetry.metrics"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Buckets that OpenTelemetry advises for HTTP; its usual ones count in milliseconds."""

_BEGUN: Final = {
    "reserved": "granted",
    "denied": "denied",
    "dry run": "dry_run",
    "observing": "observed",
    "observing, would be denied": "observed",
    "observed": "observed",
    "reserve failed": "failed",
    "authority unreachable, running without a hold": "unreserved",
}
"""How a reserve ended, by event."""

_DECISIONS: Final = frozenset({"ALLOW", "ALLOW_WITH_CAPS", "DENY"})


class _Instruments:
    """The instruments, made once for each meter provider."""

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter("cycles", sys.modules["cycles"].__version__)
        self.reservations: Final = meter.create_counter(
            "cycles.reservations", unit="{reservation}", description="Reserves, by how they ended."
        )
        self.settlements: Final = meter.create_counter(
            "cycles.settlements",
            unit="{settlement}",
            description="Commits, events and releases, by what became of them.",
        )
        self.charged: Final = meter.create_counter(
            "cycles.charged", unit="{amount}", description="What the authority charged, in units of cycles.unit."
        )
        self.uncovered: Final = meter.create_counter(
            "cycles.uncovered",
            unit="{amount}",
            description="What was spent and not charged, since no more was left, in units of cycles.unit.",
        )
        self.lost: Final = meter.create_counter(
            "cycles.leases.lost", unit="{lease}", description="Leases that could not be kept while their section ran."
        )
        self.duration: Final = _histogram(meter)


def _histogram(meter: Any) -> Any:
    about = {"unit": "s", "description": "Each request to the authority, an attempt that got no answer included."}
    try:
        return meter.create_histogram("cycles.request.duration", **about, explicit_bucket_boundaries_advisory=_SECONDS)
    except TypeError:  # before 1.30 there was no advice
        return meter.create_histogram("cycles.request.duration", **about)


_made: list[tuple[Any, _Instruments]] = []


def _instruments(api: Any) -> _Instruments:
    provider = api.get_meter_provider()
    for made_by, instruments in _made:
        if made_by is provider:
            return instruments
    instruments = _Instruments(provider)
    _made[:] = [(provider, instruments)]
    return instruments


def request(operation: str, answer: Answer[Any]) -> None:
    """Measure how long one request took, answered or not."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return
    with harmless():
        attributes: dict[str, Any] = {"cycles.operation": operation}
        if answer.status is not None:
            attributes["http.response.status_code"] = answer.status
        if answer.trouble is not None:
            attributes["error.type"] = answer.trouble.name.lower()
        elif answer.status is not None and answer.status >= 400:
            attributes["error.type"] = str(answer.status)
        _instruments(api).duration.record(answer.received_at - answer.sent_at, attributes)


def event(name: str, facts: Mapping[str, Any]) -> None:
    """Count an event of a flow, if it is one that is counted."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return
    with harmless():
        if name in _BEGUN:
            attributes = {"cycles.outcome": _BEGUN[name]}
            if (decision := facts.get("decision")) is not None:
                attributes["cycles.decision"] = decision if decision in _DECISIONS else "_OTHER"
            _instruments(api).reservations.add(1, attributes)
        elif name in {"released", "release failed"}:
            outcome = "released" if name == "released" else "failed"
            _instruments(api).settlements.add(1, {"cycles.outcome": outcome, "cycles.via": "release"})
        elif name == "lease lost":
            _instruments(api).lost.add(1)


def settled(details: SettlementDetails) -> None:
    """Count one settlement, and what it charged."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return
    with harmless():
        instruments = _instruments(api)
        instruments.settlements.add(1, {"cycles.outcome": details.outcome, "cycles.via": details.via})
        if details.charged is not None:
            instruments.charged.add(details.charged.amount, {"cycles.unit": str(details.charged.unit)})
        if details.uncovered is not None:
            instruments.uncovered.add(details.uncovered.amount, {"cycles.unit": str(details.uncovered.unit)})
