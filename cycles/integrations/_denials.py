"""What a model is told when a tool call is refused, where the run is to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import asdict, define

from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from cycles.errors import CyclesError

OnDenied: TypeAlias = Literal["raise", "message"]
"""What a denied tool call does: "raise" ends the run, "message" tells the model and lets it go on."""


@define(frozen=True, kw_only=True)
class Refusal:
    """What the model is told about a tool call that did not run; `str()` is the whole of it as text.

    Attributes:
        text: Why, and what to do, in a sentence or two. Neither scopes nor request ids: those are the operator's.
        code: The reason code, such as BUDGET_EXCEEDED; None when the authority named none.
        retry_after: Seconds after which the same call may succeed; None when nobody knows.
        status: Always "error".
    """

    text: str
    code: str | None = None
    retry_after: float | None = None
    status: Literal["error"] = "error"

    @classmethod
    def of(cls, error: CyclesError) -> Refusal:
        """Return what a model is told about *error*."""
        text = _TEXTS.get(error.code or "", _USUAL)
        after = error.retry_after
        if after is not None:
            text = f"{text} It may succeed after {after:g} seconds."
        return cls(text=text, code=error.code, retry_after=after)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values: `status`, `text`, `code`, `retry_after`."""
        return asdict(self)

    def __str__(self) -> str:
        facts = [f"status: {self.status}"]
        if self.code is not None:
            facts.append(f"code: {self.code}")
        if self.retry_after is not None:
            facts.append(f"retry_after: {self.retry_after:g}")
        return f"{self.text} ({', '.join(facts)})"


_USUAL: Final = "This call was not allowed and did not run. Do not repeat it now; finish with what you have."

_TEXTS: Final = {
    "BUDGET_EXCEEDED": "The budget has too little left for this call, so it did not run. Do not repeat it now; "
    "finish with what you have.",
    "ACTION_QUOTA_EXCEEDED": "The quota for this kind of call is used up, so it did not run. Do not repeat it now; "
    "finish with what you have.",
    "ACTION_KIND_NOT_ALLOWED": "A policy does not allow this kind of call, so it did not run. Do not repeat it.",
    "ACTION_KIND_DENIED": "A policy does not allow this kind of call, so it did not run. Do not repeat it.",
    "TOOL_DENIED": "This tool is not allowed here, so it did not run. Do not call it again.",
    "TOOL_CALL_REPLAYED": "This very call has begun before, so it was not run again, and its result is not known here. "
    "Find out what it did before you call the tool anew.",
}


def checked_on_denied(value: str) -> OnDenied:
    """Return *value* when it is an OnDenied.

    Raises:
        InvalidRequest: it is not.
    """
    if value == "raise":
        return "raise"
    if value == "message":
        return "message"
    raise InvalidRequest(f"on_denied={value!r}: choose 'raise' or 'message'")
