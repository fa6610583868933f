"""The trace of a request: the caller's own when OpenTelemetry has one, else one of ours (W3C traceparent).

OpenTelemetry is never imported here: a caller who has a span open has imported it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from cycles._outside.arrivals import arrived

if TYPE_CHECKING:
    from collections.abc import Mapping

_API: Final = "opentelemetry.trace"


class Trace:
    """The trace of one piece of work: a reservation from create to settlement, a list with all its pages.

    Attributes:
        trace_id: 32 lower-case hex digits, not all zero.
    """

    __slots__ = ("_adopted", "trace_id")

    def __init__(self) -> None:
        # What was begun under a span stays in its trace: the settlement may run where no span is active.
        self._adopted: Final = _callers()
        self.trace_id: Final = _random(16) if self._adopted is None else self._adopted["traceparent"][3:35]

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request: the caller's active span, else a span id of its own."""
        callers = _callers() or self._adopted
        # 01, sampled: who follows the trace from here to the authority wants to find it there.
        return {"traceparent": f"00-{self.trace_id}-{_random(8)}-01"} if callers is None else callers


def _random(size: int) -> str:
    """Return *size* random bytes in hex; all zero is no id (W3C Trace Context §3.2.2)."""
    text = os.urandom(size).hex()
    return text if text.strip("0") else _random(size)


def _callers() -> Mapping[str, str] | None:
    """Return the context of the span that is active in OpenTelemetry, or None."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return None
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"
        state = context.trace_state.to_header() if context.trace_state else ""
    except Exception as error:  # half imported, or of another version: tracing must never fail a request
        if arrived(error) is not None:
            raise
        return None
    return {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}
