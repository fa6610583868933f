"""What a reservation shows, whoever performs its effects: what was granted, and where it stands."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from cycles._core import section_flows
from cycles._core.denials import detail_of
from cycles._core.response_info import ResponseInfo
from cycles._core.results import reference
from cycles._drivers import blocking
from cycles.amounts import describe
from cycles_api.shown import moment, table
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._client.running_section import RunningSection
    from cycles._core.lifecycle import State
    from cycles._core.results import Settlement
    from cycles.errors import CyclesError, DenialDetail
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.caps import Caps
    from cycles_api.models.decision_enum import DecisionEnum
    from cycles_api.models.reservation_create_response import ReservationCreateResponse
    from cycles_api.models.standard_metrics import StandardMetrics

T = TypeVar("T")

_LAST: Final = datetime.max.replace(tzinfo=UTC)


class ReservationView:
    """The part of a reservation that both kinds have."""

    def __init__(self, running: RunningSection) -> None:
        self._section: Final = running.section
        self._running: Final = running  # last: with it there is something to drop

    def __del__(self) -> None:
        running: RunningSection | None = getattr(self, "_running", None)
        if running is None or running.section.settlement is not None:
            return
        if not running.drop():  # first: a filter may turn the warning into an error
            return
        done = "nothing is charged, and its hold is given back"
        if running.section.provisional is not None:
            done = "what it reported is charged"
        message = f"{self!r} was dropped without commit or release; {done}"
        warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can't be pickled or copied: it is settled where it was made; send what was spent there, and "
            "report or commit it"
        )

    @property
    def _response(self) -> ReservationCreateResponse:
        return self._section.grant.response

    @property
    def id(self) -> str | None:
        """The authority's id, 1 to 128 characters.

        None where nothing is held (DRY_RUN, OBSERVED, UNRESERVED), and inside a `Limit`, which has the hold.
        """
        return self._section.reservation_id

    @property
    def decision(self) -> DecisionEnum:
        """ALLOW or ALLOW_WITH_CAPS; for a dry run, and with `observe=True`, also DENY, or what a newer authority says.

        With `observe=True` it is what a reserve would have been told.
        """
        return self._response.decision

    @property
    def caps(self) -> Caps | None:
        """What the authority limits the section to, or None (docs/protocol.md, Caps)."""
        return _present(self._response.caps)

    @property
    def is_capped(self) -> bool:
        """Whether the grant came with caps."""
        return self.caps is not None

    def allows_tool(self, name: str) -> bool:
        """Return whether the caps admit the tool *name* (case-sensitive; docs/protocol.md, Caps).

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                if reservation.allows_tool("web"):
                    print("searching")  # your tool call
                reservation.release()
            ```
        """
        caps = self.caps
        if caps is None:
            return True
        if not isinstance(caps.tool_allowlist, Unset) and caps.tool_allowlist:
            return name in caps.tool_allowlist
        return isinstance(caps.tool_denylist, Unset) or name not in caps.tool_denylist

    @property
    def estimate(self) -> Amount:
        """What was asked for."""
        return self._section.terms.estimate

    @property
    def reserved(self) -> Amount | None:
        """What is held, or None when the authority did not say."""
        return self.estimate if self._section.share is not None else _present(self._response.reserved)

    @property
    def affected_scopes(self) -> tuple[str, ...]:
        """The scope paths of the subject, widest first."""
        return tuple(self._response.affected_scopes)

    @property
    def scope_path(self) -> str | None:
        """The narrowest scope path, or None when the authority did not say."""
        return _present(self._response.scope_path)

    @property
    def balances(self) -> tuple[Balance, ...]:
        """The budgets as of the last answer that named them."""
        settlement = self._section.settlement
        if settlement is not None and settlement.balances:
            return settlement.balances
        return tuple(_present(self._response.balances) or ())

    @property
    def expires_at(self) -> datetime | None:
        """When the lease ends by the authority's clock (UTC), or None for a dry run."""
        expires_at_ms = self._section.leased.expires_at_ms
        if expires_at_ms is None:
            return None
        try:
            return datetime.fromtimestamp(expires_at_ms / 1000, UTC)
        except (ValueError, OverflowError, OSError):  # an int64 reaches beyond the year 9999
            return _LAST

    @property
    def state(self) -> State:
        """Where the reservation stands, as far as this client knows."""
        return self._section.state

    @property
    def settlement(self) -> Settlement | None:
        """How it ended, or None while it is open."""
        return self._section.settlement

    @property
    def settlement_error(self) -> CyclesError | None:
        """What went wrong at its end, or None."""
        return None if self._section.settlement is None else self._section.settlement.error

    def report(
        self,
        *,
        actual: Amount | None = None,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Set what the end of the section will commit; call it again as usage becomes known.

        What was reported survives the process: it is in the journal within a tenth of a second. If the section never
        ends, it is settled at the next start, with the metadata `actual_source: "reported"`.

        Metrics and metadata that no request can carry are left out, with a warning in the log; the charge is made all
        the same. `settlement.left_out` says what they were.

        Args:
            actual: What the work has really cost so far, in the estimate's unit; the last report wins.
            metrics: The last report wins.
            metadata: JSON values; reports are merged, a later value wins.

        Raises:
            AlreadySettled: when it was committed or released before.
            InvalidRequest: naming what is wrong with *actual*, and the remedy; or in a forked child.
            LeaseLost: it is kept, but the lease is lost and the client's `heartbeat` is cancel.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                reservation.report(actual=usd("0.01"))  # so far
                reservation.report(actual=usd("0.02"))
                reservation.commit(usd("0.02"))
            ```
        """
        self._running.must_be_here("report")
        # Only local effects: nothing that an event loop would have to wait for.
        blocking.run(section_flows.report(self._section, actual, metrics, metadata), self._running.world)
        self._running.check_lease()

    @property
    def info(self) -> ResponseInfo:
        """What the headers of the answer that granted it said; those of its end are in `settlement.info`."""
        return ResponseInfo(self._section.grant.headers)

    @property
    def evidence(self) -> dict[str, Any] | None:
        """The evidence reference of the answer that granted it (`evidence_id`, `cycles_evidence_url`), or None."""
        return reference(self._response.cycles_evidence)

    @property
    def reason_code(self) -> str | None:
        """Why a dry run was denied, or why a section that only observes would have been, or None."""
        return _present(self._response.reason_code)

    @property
    def detail(self) -> DenialDetail | None:
        """What the authority says about that denial, or None: what refused, and what helps."""
        return detail_of(self._response.deny_detail)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'without id'} {self.state} estimate {describe(self.estimate)}>"

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        settlement = self.settlement
        charged = None if settlement is None else settlement.charged
        columns = ("reservation", "state", "scope", "estimate", "charged", "expires")
        expires_at_ms = self._section.leased.expires_at_ms
        expires = None if expires_at_ms is None else moment(expires_at_ms)
        return table(columns, [(self.id, self.state, self.scope_path, self.estimate, charged, expires)])


def _present(value: T | Unset) -> T | None:
    return None if isinstance(value, Unset) else value
