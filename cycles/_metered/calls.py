"""One attempt of one request: what it reserves, how the grant changes it, and how its section ends.

the attempt …                             then
told its usage                            commit its price, with metrics
was answered without a usage              commit the estimate (marked)
was answered 3xx or 4xx                   release; what Azure bills of them: commit the estimate (marked)
was answered 5xx                          release, or commit the estimate (marked): as `on_5xx` says
never left                                release
was lost after it may have left           commit the estimate (marked), or release: as `lost` says
is a stream that ended before its usage   commit what came (marked "partial"), or the estimate: as `partial` says
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from cycles._core import section_flows
from cycles._core.effects import Notify, Now, Sleep
from cycles._drivers import blocking
from cycles._metered.messages import may_have_left, times_sent, with_body
from cycles._metered.meter import with_input
from cycles._metering import failures
from cycles._outside.arrivals import arrived, harmless
from cycles.errors import Denied
from cycles_api.models.amount import Amount
from cycles_api.models.standard_metrics import StandardMetrics
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._client.opened_section import Opened
    from cycles._core.effects import Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._metered.meter import Meter
    from cycles._metering.request import Billable, StreamReading
    from cycles._metering.usage import Usage
    from cycles.errors import BudgetExceeded

    Ending = Callable[[Section], Flow[Settlement | None]]

_REPORT_EVERY: Final = 1.0
"""Seconds after which a stream reports what came since: its events are read for that, which they are not otherwise."""


class Call:
    """One attempt of one request that bills, and the policy that its section is settled by.

    Attributes:
        meter: Prices it.
        billable: What it is, as it will be sent.
        estimate: What it reserves.
        library: httpx or httpx2: whose request it is.
    """

    def __init__(self, meter: Meter, billable: Billable, library: Any, transport: Any) -> None:
        self.meter: Final = meter
        self.billable = billable
        bound = meter.bound(billable)
        self.estimate = bound if isinstance(bound, Amount) else meter.cost(billable, bound)
        self._input = None if isinstance(bound, Amount) else bound.input_tokens
        self.library: Final = library
        self._transport: Final = transport
        self._opened: Opened[Any] | None = None
        self._sent: Any = None
        self._sent_at = 0.0
        self._status: int | None = None
        self._usage: Usage | None = None
        self._reading: StreamReading | None = None
        self._unread: Exception | None = None
        self._report_at = 0.0

    # -- before --------------------------------------------------------------------------------------------------------
    def fit(self, denied: BudgetExceeded) -> bool:
        """Ask for less output, as much as what remains pays; return whether it makes sense to reserve that."""
        remaining = _remaining(denied, self.meter.choices.unit)
        if not self.meter.choices.fit or remaining is None:
            return False
        fitted = self.meter.fitted(self.billable, remaining)
        if fitted is None:
            return False
        self.billable, self.estimate = fitted, self.meter.estimate(fitted)
        return True

    def granted(self, opened: Opened[Any]) -> Flow[None]:
        """Keep to the caps of the grant: lower the output, take denied tools out, count the step, wait.

        Raises:
            Denied: when the caps leave nothing to send.
        """
        self._opened = opened
        caps = opened.reservation.caps
        if caps is None:
            return
        if not isinstance(caps.max_steps_remaining, Unset):
            self.meter.steps.take(_purse(opened.running.section), caps.max_steps_remaining)
        if not isinstance(caps.max_tokens, Unset) and self.billable.output_bound > 0:
            if caps.max_tokens < 1:
                raise Denied("the authority allows no output (caps.max_tokens is 0)", code="MAX_TOKENS")
            self.billable = self.billable.limited(caps.max_tokens)
            if self.billable.output_bound > caps.max_tokens:  # a token for each of several answers
                raise Denied(
                    f"the authority allows {caps.max_tokens} tokens of output (caps.max_tokens), and the request asks "
                    f"for {self.billable.output_bound} at least",
                    code="MAX_TOKENS",
                )
        if not isinstance(caps.tool_allowlist, Unset) or not isinstance(caps.tool_denylist, Unset):
            self.billable = self.billable.with_tools(opened.reservation.allows_tool)
        if not isinstance(caps.cooldown_ms, Unset) and caps.cooldown_ms > 0:
            yield from Sleep(caps.cooldown_ms / 1000)

    def sending(self, request: Any) -> Any:
        """Return what is sent for *request*."""
        self._sent = with_body(self.library, request, self.billable.body)
        self._sent_at = self._now()
        return self._sent

    # -- an answer that is read as a whole -----------------------------------------------------------------------------
    def is_billed(self, status: int) -> bool:
        """Note the *status* of the answer; return whether its body says what it has cost."""
        self._status = status
        if (times := times_sent(self.library, self._transport, self._sent)) > 1:
            self.meter.repeated(self.billable, times)
        return 200 <= status < 300

    def answered(self, body: bytes) -> Ending:
        """Return how the section of an answer ends that has been read; *body* is decoded."""
        if self._status is None or not 200 <= self._status < 300:
            return self._failed(self._status or 0, body)
        try:
            usage = self._usage = _told(self.billable.answer(body))
            return self._estimated() if usage is None else self._charged(usage)
        except BaseException as error:  # noqa: BLE001 - the work was done: whatever fails here must not hide it
            return self._unreadable(error)

    def _failed(self, status: int, body: bytes = b"") -> Ending:
        if failures.is_billed(self.billable.provider, status, body):
            return self._estimated()
        if status >= 500 and self.meter.choices.on_5xx == "estimate":
            return self._estimated()
        return lambda section: section_flows.release(section, f"HTTP {status}")

    def _charged(self, usage: Usage, source: str | None = None) -> Ending:
        amount, metadata = self.meter.cost(self.billable, usage), None if source is None else {"actual_source": source}
        section = self._section
        if section.is_open:
            section.report(amount, None, metadata)  # the background charges it, should an interrupt come before the end
        metrics = self._metrics(usage)
        return lambda section: section_flows.commit(section, amount, metrics, metadata)

    def _estimated(self) -> Ending:
        return lambda section: section_flows.commit(section, self.estimate, None, {"actual_source": "estimate"})

    def _unreadable(self, error: BaseException) -> Ending:
        """Return how a section ends whose answer could not be read or priced: at the estimate."""
        if not isinstance(error, Exception) or arrived(error) is not None:
            raise error

        def ending(section: Section) -> Flow[Settlement | None]:
            yield from Notify("actual failed", {"reservation_id": section.reservation_id, "reason": repr(error)})
            return (yield from self._estimated()(section))

        return ending

    def _metrics(self, usage: Usage) -> StandardMetrics:
        metrics = StandardMetrics(
            tokens_input=usage.input_tokens,
            tokens_output=usage.output_tokens,
            latency_ms=max(0, round((self._now() - self._sent_at) * 1000)),
        )
        if usage.model:
            metrics.model_version = usage.model[:128]
        return metrics

    @property
    def _section(self) -> Section:
        assert self._opened is not None  # noqa: S101 - types: nothing is sent without a section
        return self._opened.running.section

    def _now(self) -> float:
        assert self._opened is not None  # noqa: S101 - types: nothing is sent without a section
        now: float = self._opened.running.world.perform(Now())
        return now

    # -- an answer that is read as it comes ----------------------------------------------------------------------------
    def begin_stream(self, *, readable: bool = True) -> None:
        """Begin to read a streamed answer. From now on the input has been spent, whatever comes.

        Of one that is not *readable*, what has come is as unknown as its usage: it costs the estimate.
        """
        self._reading = self.billable.stream()
        if not readable:
            self._unread = ValueError("the stream has a content-encoding that is not understood here")
        self._report()

    def feed(self, data: bytes) -> bytes:
        """Read *data* of the stream; return what the caller gets to see of it."""
        assert self._reading is not None  # noqa: S101 - types: begun
        if self._unread is None:
            try:
                shown = self._reading.feed(data)
            except Exception as error:  # noqa: BLE001 - see `_not_read`
                shown = self._not_read(error, data)
        else:
            shown = data
        if monotonic() >= self._report_at:
            self._report()
        return shown

    def _not_read(self, error: Exception, data: bytes) -> bytes:
        """Note that the stream can't be read for an *error* of ours; the caller gets *data*, all the same."""
        if arrived(error) is not None:
            raise error
        self._unread = error
        return data

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        assert self._reading is not None  # noqa: S101 - types: begun
        if self._unread is not None:
            return b""
        try:
            return self._reading.close()
        except Exception as error:  # noqa: BLE001 - see `_not_read`
            return self._not_read(error, b"")

    @property
    def is_told(self) -> bool:
        """Whether the stream has told its usage."""
        return self._reading is not None and self._unread is None and _told(self._reading.usage) is not None

    @property
    def may_tell(self) -> bool:
        """Whether what is still to come of the stream may tell its usage: it was not told, and can be read."""
        return self._reading is not None and self._unread is None and self._reading.usage is None

    def streamed(self, *, whole: bool) -> Ending:
        """Return how the section of a stream ends; *whole* is whether it was read to its end."""
        assert self._reading is not None  # noqa: S101 - types: begun
        if self._unread is not None:
            return self._unreadable(self._unread)
        try:
            usage = _told(self._reading.usage)
            if usage is not None:
                return self._charged(usage)
            if whole or self.meter.choices.partial == "estimate":
                return self._estimated()
            return self._charged(self._so_far(), "partial")
        except BaseException as error:  # noqa: BLE001 - see `answered`
            return self._unreadable(error)

    def _so_far(self) -> Usage:
        """Return what the stream has used so far; an input that was not told, as the user's own estimate counts it."""
        assert self._reading is not None  # noqa: S101 - types: begun
        usage = self._reading.received
        is_told = _told(self._reading.usage) is not None or usage.input_tokens != self.billable.bound().input_tokens
        return usage if is_told or self._input is None else with_input(usage, min(self._input, usage.input_tokens))

    def _report(self, metadata: dict[str, str] | None = None) -> None:
        """Put what the stream has cost so far on record: the process may die before its end."""
        assert self._opened is not None  # noqa: S101 - types: begun
        assert self._reading is not None  # noqa: S101 - types: begun
        running = self._opened.running
        self._report_at = monotonic() + _REPORT_EVERY
        if not running.section.is_open or running.is_inherited:
            return
        with harmless():  # the caller's stream goes on
            is_known = self.is_told or (self.meter.choices.partial != "estimate" and self._unread is None)
            amount = self.meter.cost(self.billable, self._so_far()) if is_known else self.estimate
            # Only local effects, in asynchronous code, too: see `Reservation.report`.
            blocking.run(section_flows.report(running.section, amount, None, metadata), running.world)

    def dropped(self) -> None:
        """Leave the section of a stream that nobody reads any more to the background, at what has come."""
        assert self._opened is not None  # noqa: S101 - types: begun
        guessed = "estimate" if self.meter.choices.partial == "estimate" else "partial"
        self._report(None if self.is_told else {"actual_source": guessed})
        self._opened.running.drop()

    # -- as the policy of its section ----------------------------------------------------------------------------------
    def end(self, section: Section, result: Any) -> tuple[Flow[Settlement | None], BaseException | None]:
        """Return how *section* ends well: *result* is an `Ending`."""
        ending: Ending = result
        return ending(section), None

    def end_raised(
        self, section: Section, raised: BaseException
    ) -> tuple[Flow[Settlement | None], BaseException | None]:
        """Return how *section* ends in which the attempt *raised*."""
        return self._raised(raised)(section), None

    def _raised(self, raised: BaseException) -> Ending:
        if self._reading is not None:
            return self.streamed(whole=False)
        if self._usage is not None:  # it was interrupted while it was reckoned
            return self._charged(self._usage)
        if self._status is not None and not 200 <= self._status < 300:
            return self._failed(self._status)
        has_left = self._status is not None or (
            self._sent is not None and may_have_left(self.library, self._transport, self._sent, raised)
        )
        if has_left and self.meter.choices.lost == "estimate":
            return self._estimated()
        return lambda section: section_flows.release(section, type(raised).__name__)


def _told(usage: Usage | None) -> Usage | None:
    """Return *usage* if there is one that says what the request has cost."""
    return usage if usage is not None and usage.says_cost else None


def _purse(section: Section) -> tuple[Any, ...]:
    """Return what the steps of *section* are counted for: its limit, or the narrowest scope of its subject."""
    response = section.grant.response
    held = section.leased.reservation_id if section.share is not None else None
    return held, tuple(response.affected_scopes)


def _remaining(denied: BudgetExceeded, unit: str) -> int | None:
    """Return how much the scope that refused has left; None when nobody says."""
    if denied.limit is not None:
        return denied.limit.remaining.amount
    if denied.details.get("unit", unit) != unit:
        return None
    remaining = denied.details.get("remaining")
    return remaining if isinstance(remaining, int) and not isinstance(remaining, bool) else None
