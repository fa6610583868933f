"""FastAPI: who spends for a request, and what a customer is told when a budget says no.

    app = FastAPI()
    answer_denials(app)


    @app.post("/ask", dependencies=[spends(workspace=customer_id)])
    def ask(question: str) -> str: ...

`customer_id` is a dependency of your own, such as the one that reads the session. Guards and metered clients that the
endpoint uses spend for that workspace, and a denial is answered with 402.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends
from fastapi.responses import JSONResponse

import cycles
from cycles._core.requests import LEVELS
from cycles.amounts import spelled
from cycles.errors import (
    ActionKindDenied,
    ActionKindNotAllowed,
    ActionQuotaExceeded,
    AuthorityUnavailable,
    BudgetNotFound,
    Denied,
    InvalidRequest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI, Request

__all__ = ["answer_denials", "denial_body", "spends"]

_STATUSES: Final[dict[type[Denied], int]] = {
    ActionQuotaExceeded: 429,
    ActionKindNotAllowed: 403,
    ActionKindDenied: 403,
}
"""What a denial is answered with, where it is not about money."""


def spends(**levels: str | Callable[..., Any] | None) -> Any:
    """Return a dependency that names who spends for a request, also while its response is streamed.

    Args:
        **levels: tenant, workspace, app, workflow, agent, toolset: each a text, or a dependency of FastAPI that returns
            one; None leaves a level out. What a level can't hold, such as an e-mail address, goes through
            `cycles.level`.

    Raises:
        TypeError: there is no such level.
    """
    unknown = sorted(levels.keys() - set(LEVELS))
    if unknown:
        raise TypeError(f"spends() got an unexpected keyword argument {unknown[0]!r}")
    fixed = {level: value for level, value in levels.items() if not callable(value)}
    asked = {level: value for level, value in levels.items() if callable(value)}

    async def named(**found: Any) -> AsyncIterator[None]:
        # Asynchronous, so that it is entered in the task that runs the endpoint: threads get a copy of its context.
        with cycles.subject(**{level: _value(level, value) for level, value in {**fixed, **found}.items()}):
            yield

    parameters = [
        inspect.Parameter(level, inspect.Parameter.KEYWORD_ONLY, default=Depends(dependency), annotation=Any)
        for level, dependency in asked.items()
    ]
    named.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # FastAPI reads it
    return Depends(named)


def _value(level: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise InvalidRequest(f"{level}={value!r}: the dependency has to return a text, or None to leave the level out")
    return cycles.level(str(value))


def answer_denials(app: FastAPI, *, retry_after: float | Callable[[Denied], float | None] | None = None) -> None:
    """Answer a denial with 402 and `denial_body`, and an authority that can't be reached with 503.

    A used-up quota is 429, and what a policy forbids is 403. `Retry-After` says when to come back.

    Args:
        app: The application, or a sub-application.
        retry_after: Seconds until asking again may help, where the authority does not say; or a callable of the denial,
            such as one that knows when budgets are filled up. None: the header is left out then, as it always is where
            there is no budget.
    """

    async def denied(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Denied)  # noqa: S101 - types: it is registered for this class
        seconds = error.retry_after
        if seconds is None and not isinstance(error, BudgetNotFound):  # time makes no budget
            seconds = retry_after(error) if callable(retry_after) else retry_after
        status = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 402)
        return JSONResponse(denial_body(error, retry_after=seconds), status, headers=_headers(seconds))

    async def unavailable(_request: Request, error: Exception) -> JSONResponse:
        seconds = getattr(error, "retry_after", None)
        body = {"detail": "budgets can't be checked at the moment", "code": "AUTHORITY_UNAVAILABLE"}
        return JSONResponse(body, 503, headers=_headers(1.0 if seconds is None else seconds))

    app.add_exception_handler(Denied, denied)
    app.add_exception_handler(AuthorityUnavailable, unavailable)


def _headers(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(max(0, math.ceil(seconds)))}


def denial_body(error: Denied, *, retry_after: float | None = None) -> dict[str, Any]:
    """Return what a customer is told about a denial, as JSON values.

    `detail` is a sentence, `code` the reason, `remaining` what is left (`amount`, `unit`, `text`) and `retry_after`
    seconds; None where it is not known. What is left is told of budgets below the tenant's and of limits: what all
    your customers have left together is nobody's business. Scopes and request ids are for your log.
    """
    return {
        "detail": _sentence(error),
        "code": error.code,
        "remaining": _remaining(error),
        "retry_after": error.retry_after if retry_after is None else retry_after,
    }


def _sentence(error: Denied) -> str:
    left = _remaining(error)
    if left is not None:
        return f"the budget is used up: {left['text']} left, and this request may cost more"
    if isinstance(error, ActionQuotaExceeded):
        return "the quota for this kind of request is used up"
    if isinstance(error, ActionKindNotAllowed | ActionKindDenied):
        return "a policy does not allow this kind of request"
    return "there is no budget for this request"


def _remaining(error: Denied) -> dict[str, Any] | None:
    if error.limit is not None:
        left = error.limit.remaining
        amount, unit = left.amount, str(left.unit)
    else:
        found, told = error.remaining, error.details.get("unit")
        if found is None or not isinstance(told, str) or error.scope is None or "/" not in error.scope:
            return None
        amount, unit = found, told
    return {"amount": amount, "unit": unit, "text": spelled(unit, amount)}
