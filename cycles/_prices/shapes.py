"""The shapes in which usage comes: a provider's answer, its usage alone, as objects of an SDK or as mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import fields_dict

from cycles._metering import conventions
from cycles._metering.hosts import SDKS
from cycles._metering.usage import Usage
from cycles.errors import InvalidRequest

__all__ = ["answer_of", "provider_of", "usage_in", "usage_of"]

_TELLING: Final = frozenset(
    {
        "candidates",
        "model",
        "model_version",
        "object",
        "output",
        "service_tier",
        "tool_usage",
        "type",
        "usage",
        "usage_metadata",
        "x_groq",
    }
)
"""What of an answer is read: an embedding's thousands of numbers are not."""
_OURS: Final = frozenset(fields_dict(Usage))
_MODEL: Final = ("model", "modelVersion", "model_version")


def provider_of(value: object) -> str | None:
    """Return whose answer *value* is, by the package of its class."""
    return SDKS.get(type(value).__module__.partition(".")[0])


def _mapping(value: object, include: frozenset[str] | None = None) -> Mapping[str, Any] | None:
    """Return an SDK's object as the wire had it; None when it is none."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        known = include & set(type(value).model_fields) if include else None  # type: ignore[attr-defined]
        extra = getattr(value, "model_extra", None) or {}
        told: Any = dump(by_alias=True, exclude_none=True, include=known, warnings=False)
        return {**extra, **told}
    return None


def answer_of(response: object) -> Mapping[str, Any]:
    """Return a provider's answer as the wire had it.

    Raises:
        InvalidRequest: It is none: a stream, a text.
    """
    parse = getattr(response, "parse", None)
    if callable(parse) and hasattr(response, "http_response"):  # an SDK's raw response
        response = parse()
    found = _mapping(response, _TELLING)
    if found is None:
        raise InvalidRequest(
            f"cost_of({type(response).__name__}): give an answer of a provider's SDK, or its JSON as a dictionary; "
            "a stream tells its usage at its end: collect it first"
        )
    return found


def usage_in(answer: Mapping[str, Any], provider: str) -> Usage:
    """Return what an answer says that it used, whichever wire it is of.

    Raises:
        InvalidRequest: It says nothing.
    """
    told = answer.get("usage")
    if "usageMetadata" in answer:
        found = conventions.gemini(answer)
    elif not isinstance(told, Mapping) or "prompt_tokens" in told:
        found = conventions.chat(provider, answer)
    elif answer.get("type") == "message":
        found = conventions.messages(answer)
    else:
        found = conventions.responses(provider, answer)
    if found is None:
        raise InvalidRequest("the answer tells no usage; for a stream of OpenAI's, ask with include_usage")
    return found


def model_in(answer: Mapping[str, Any]) -> str:
    """Return which model has answered.

    Raises:
        InvalidRequest: The answer does not say.
    """
    model = next((found for name in _MODEL if isinstance(found := answer.get(name), str) and found), None)
    if model is None:
        raise InvalidRequest("the answer names no model: use cost(provider, model, usage)")
    return model


def usage_of(provider: str, usage: object) -> Usage:
    """Return a usage, of ours or of a provider's, in our convention.

    Raises:
        InvalidRequest: It is neither.
    """
    if isinstance(usage, Usage):
        return usage
    told = _mapping(usage)
    if told is None:
        raise InvalidRequest(f"usage={usage!r}: give a provider's usage object, or a mapping of counts")
    found = _read(provider, told)
    if found is None:
        names = ", ".join(map(repr, sorted(map(str, told))))
        raise InvalidRequest(
            f"a usage of {names or 'nothing'} is no provider's that is known, nor of cycles' own names"
        )
    return found


def _read(provider: str, told: Mapping[str, Any]) -> Usage | None:
    if "prompt_tokens" in told:
        return conventions.chat(provider, {"usage": told})
    if "promptTokenCount" in told or "totalTokenCount" in told:
        return conventions.gemini({"usageMetadata": told})
    if "input_tokens_details" in told or ("output_tokens_details" in told and provider != "anthropic"):
        return conventions.responses(provider, {"usage": told})
    if told and set(told) <= _OURS and all(type(count) is int and count >= 0 for count in told.values()):
        return Usage(**told)
    return conventions.messages({"usage": told}) if "input_tokens" in told and "output_tokens" in told else None
