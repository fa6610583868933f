"""What a served authority logs: one line a request, as text or as JSON; never a key, a query or a body."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.wire.messages import Request, Response

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

EVERY: Final = 30.0
"""Seconds between two lines of the server that say the same."""

_LOGGERS: Final = ("cycles", "uvicorn")
_log: Final = logging.getLogger("cycles.local")
_FIELDS: Final = "cycles_fields"


def answered(request: Request, response: Response, seconds: float) -> None:
    """Log a request and its answer: an error of the authority's own as one, the rest for whoever wants to know."""
    level = logging.ERROR if response.status >= 500 else logging.INFO
    if not _log.isEnabledFor(level):
        return
    headers = dict(response.headers)
    fields = {
        "method": request.method,
        "path": request.path,
        "status": response.status,
        "ms": round(seconds * 1000, 1),
        "tenant": headers.get("x-cycles-tenant"),
        "request_id": headers.get("x-request-id"),
    }
    text = "%(method)s %(path)s %(status)s %(ms)s ms tenant=%(tenant)s request_id=%(request_id)s"
    if level == logging.ERROR:
        fields["reason"] = json.loads(response.body).get("message")
        text += ": %(reason)s"
    _log.log(level, text, fields, extra={_FIELDS: fields})


def started(address: str, ledger: str) -> None:
    """Log where the authority is, and on what."""
    fields = {"address": address, "ledger": ledger}
    _log.info("serving %(ledger)s at %(address)s", fields, extra={_FIELDS: fields})


def written_to_stderr(level: str, kind: str) -> None:
    """Let this process write its log to stderr, from *level* on, as "text" or "json"."""
    handler = logging.StreamHandler()
    handler.addFilter(Sparing(time.monotonic))
    handler.setFormatter(_JsonLines() if kind == "json" else _TextLines())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger("cycles").level))


class Sparing(logging.Filter):
    """Lets a line of the server's pass once in a while only: whoever reaches the port can cause as many as they like.

    Such as "Invalid HTTP request received.", once for each line of rubbish. Lines of the authority all pass.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock: Final = clock
        self._last: Final[dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* passes; it says then how many did not."""
        if not record.name.startswith("uvicorn") or record.exc_info:
            return True
        now = self._clock()
        last, dropped = self._last.get(str(record.msg), (-EVERY, 0))
        if now - last < EVERY:
            self._last[str(record.msg)] = last, dropped + 1
            return False
        self._last[str(record.msg)] = now, 0
        if dropped:
            record.msg = f"{record.msg} ({dropped} more times since the last such line)"
        return True


class _TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
