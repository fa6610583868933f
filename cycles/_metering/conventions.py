"""How each wire tells its usage, in the one convention of `Usage`.

A usage whose totals are no counts is none: what the request has cost is not known then, and surely not nothing. So it
is with a part that is billed beside the others, or dearer; a part that is cheaper counts as the wider kind.

OpenAI's input includes cached tokens; Anthropic's leaves cache reads and writes out; Gemini's output leaves out
thoughts. A test holds these readings against those of genai-prices, which is a large import, and optional.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final, ParamSpec, TypeGuard

from cycles._metering.usage import Usage

__all__ = ["OWN_COST", "chat", "dearer", "embedding", "gemini", "googles_tier", "messages", "responses", "terms"]

P = ParamSpec("P")

_REASONING_APART: Final = frozenset({"perplexity", "x-ai"})
"""Whose chat answers count reasoning beside `completion_tokens`, not in it."""
OWN_COST: Final = frozenset({"openrouter", "perplexity"})
"""Who says in `usage.cost` what a request has cost, in dollars."""
_SUM: Final = Context(prec=50, rounding=ROUND_CEILING)
_MAPPING: Final = (dict, Mapping)
"""A dict, as JSON has them, is one without asking Mapping, which takes far longer."""
_GEMINI_PARTS: Final = ("toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
_TIER_IN_USAGE: Final = frozenset({"mistral"})
"""Who says in `usage.service_tier`, not beside it, how a request was served."""
_USUAL_TIERS: Final = frozenset({"flex", "auto", "default", "standard", "standard_only"})
_STANDARD_AT_GOOGLE: Final = frozenset({"standard", "default", "on_demand", "provisioned_throughput"})
_MODALITIES: Final = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}


def count(value: object) -> int:
    """Return a count as an int; 0 for what is none."""
    if value is None:  # as nearly all are that are not counts
        return 0
    if type(value) is int and value >= 0:
        return value
    return int(value) if is_count(value) else 0


class _NoCount(ValueError):
    """A part of a usage that makes it dearer is no count."""


def _exact(value: object) -> int:
    """Return a count as an int; 0 where nothing is told.

    Raises:
        _NoCount: It is none.
    """
    if value is None:  # as nearly all are
        return 0
    if not is_count(value):
        raise _NoCount
    return int(value)


def _whole(read: Callable[P, Usage | None]) -> Callable[P, Usage | None]:
    """Let *read* return None for a usage of which a part can't be read that makes it dearer."""

    @functools.wraps(read)
    def wrapped(*args: P.args, **options: P.kwargs) -> Usage | None:
        try:
            return read(*args, **options)
        except _NoCount:
            return None

    return wrapped


def is_count(value: object) -> TypeGuard[float]:
    """Return whether *value* is a count: a whole number, 0 or more."""
    is_whole = type(value) is int or (isinstance(value, float) and value.is_integer())  # some servers write 12.0
    return is_whole and value >= 0  # type: ignore[operator]


def part(of: object, *names: str) -> Any:
    """Return what *names* lead to in nested mappings; None when it is not there."""
    for name in names:
        if of is None or not isinstance(of, _MAPPING):  # to ask Mapping about None takes as long as all the rest
            return None
        of = of.get(name)
    return of


def text(value: object) -> str | None:
    """Return a text; None for anything else, and for an empty one."""
    return value if isinstance(value, str) and value else None


def terms(**said: object) -> tuple[tuple[str, str], ...]:
    """Return what a price depends on, sorted; what is not said is left out."""
    if not any(said.values()):  # as in nearly all requests and answers
        return ()
    return tuple(sorted([(name, value) for name, value in said.items() if value and isinstance(value, str)]))


def dearer(tier: object) -> str | None:
    """Return the tier to price a bound in: a cheaper one that is asked for may not be the one that is billed."""
    return tier if isinstance(tier, str) and tier not in _USUAL_TIERS else None


@_whole
def chat(provider: str, answer: Mapping[str, Any], *, audio: int = 0) -> Usage | None:
    """Read OpenAI's chat completions and completions, and all that speak like them.

    Args:
        provider: Who answers.
        answer: The answer, or a chunk of it.
        audio: How much of the input may be sound, where the answer does not say: Gemini's, on this wire.
    """
    told = answer.get("usage") or part(answer, "x_groq", "usage")
    if not isinstance(told, _MAPPING):
        return None
    output = told.get("completion_tokens")
    if output is None:  # an embedding has none
        output = _more(told.get("total_tokens"), told.get("prompt_tokens"))
    if not (is_count(told.get("prompt_tokens")) and is_count(output)):
        return None
    within, made = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    apart, heard = provider in _REASONING_APART, part(within, "audio_tokens")
    reasoning = (_exact if apart else count)(part(made, "reasoning_tokens") or told.get("reasoning_tokens"))
    citation = _exact(told.get("citation_tokens"))
    counted = count(output) + (reasoning if apart else 0) + citation
    return Usage(
        input_tokens=count(told["prompt_tokens"]),
        cache_read_tokens=_cached(told, within),
        cache_write_tokens=_written(told, within),
        input_audio_tokens=min(audio, count(told["prompt_tokens"])) if heard is None else _exact(heard),
        output_tokens=max(counted, _more(told.get("total_tokens"), told["prompt_tokens"]) or 0),
        output_reasoning_tokens=reasoning,
        output_audio_tokens=_exact(part(made, "audio_tokens")),
        output_citation_tokens=citation,
        web_searches=_exact(told.get("num_search_queries")),
        model=text(answer.get("model")),
        terms=terms(service_tier=(told if provider in _TIER_IN_USAGE else answer).get("service_tier")),
        dollars=_cost(told) if provider in OWN_COST else None,
    )


def _more(total: object, part_of_it: object) -> int | None:
    """Return what a total has beside a part of it; None when that is not told."""
    more = count(total) - count(part_of_it)
    return more if is_count(total) and is_count(part_of_it) and more >= 0 else None


def _cached(told: Mapping[str, Any], within: object) -> int:
    """Return the cached part of the input: OpenAI's name for it, then DeepSeek's, Moonshot's and Databricks'."""
    for value in (
        part(within, "cached_tokens"),
        told.get("prompt_cache_hit_tokens"),
        told.get("cached_tokens"),
        told.get("cache_read_input_tokens"),
    ):
        if value is not None:
            return count(value)
    return 0


def _written(told: Mapping[str, Any], within: object) -> int:
    """Return the part of the input that was put into a cache: OpenAI's name for it, then those of others for Claude.

    Raises:
        _NoCount: It is none.
    """
    for value in (
        part(within, "cache_write_tokens"),
        part(within, "cache_creation_tokens"),
        part(within, "cache_creation_input_tokens"),
        told.get("cache_creation_input_tokens"),
    ):
        if value is not None:
            return _exact(value)
    return 0


def _cost(told: Mapping[str, Any]) -> Decimal | None:
    """Return what the provider says that a request has cost, with what it has passed on to the user's own account."""
    cost = _dollars(told.get("cost"))
    if cost is None or told.get("is_byok") is not True:
        return cost
    passed_on = _dollars(part(told, "cost_details", "upstream_inference_cost"))
    return None if passed_on is None else _SUM.add(cost, passed_on)


def _dollars(cost: object) -> Decimal | None:
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float | Decimal):
        return None
    dollars = Decimal(repr(cost)) if isinstance(cost, float) else Decimal(cost)  # the digits of the answer itself
    return dollars if dollars.is_finite() and dollars >= 0 else None


def embedding(answer: Mapping[str, Any]) -> Usage | None:
    """Read OpenAI's embeddings, and all that speak like them."""
    told = answer.get("usage")
    if not isinstance(told, Mapping):
        return None
    total = told.get("total_tokens")
    used = told.get("prompt_tokens", total)
    if not is_count(used):
        return None
    return Usage(input_tokens=max(count(used), count(total)), model=text(answer.get("model")))


def _tells(told: object, *totals: str) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a usage tells all of these."""
    return isinstance(told, Mapping) and all(is_count(told.get(name)) for name in totals)


@_whole
def responses(provider: str, answer: Mapping[str, Any]) -> Usage | None:
    """Read OpenAI's responses."""
    told = answer.get("usage")
    if not _tells(told, "input_tokens", "output_tokens"):
        return None
    within, made = told.get("input_tokens_details"), told.get("output_tokens_details")
    output = answer.get("output")
    searches = part(answer, "tool_usage", "web_search", "num_requests")
    return Usage(
        input_tokens=count(told["input_tokens"]),
        cache_read_tokens=count(part(within, "cached_tokens")),
        cache_write_tokens=_exact(part(within, "cache_write_tokens")),
        input_audio_tokens=_exact(part(within, "audio_tokens")),
        output_tokens=max(count(told["output_tokens"]), _more(told.get("total_tokens"), told["input_tokens"]) or 0),
        output_reasoning_tokens=count(part(made, "reasoning_tokens")),
        output_audio_tokens=_exact(part(made, "audio_tokens")),
        web_searches=_calls(output, "web_search_call") if searches is None else _exact(searches),
        storage_searches=_calls(output, "file_search_call"),
        model=text(answer.get("model")),
        terms=terms(service_tier=answer.get("service_tier")),
        dollars=_cost(told) if provider in OWN_COST else None,
    )


def _calls(output: object, kind: str) -> int:
    """Count the calls of a hosted tool; of a web search only what searches: opening a page is free."""
    items = output if isinstance(output, list) else ()
    return sum(
        isinstance(item, Mapping)
        and item.get("type") == kind
        and part(item, "action", "type") not in {"open_page", "find", "find_in_page"}
        for item in items
    )


@_whole
def messages(answer: Mapping[str, Any], *, for_an_hour: bool = False) -> Usage | None:
    """Read Anthropic's messages: cache reads and writes come beside the input, and compactions beside everything.

    Args:
        answer: The message.
        for_an_hour: Whether what was written to a cache may be kept for an hour, where the answer does not say.
    """
    told = answer.get("usage")
    if not _tells(told, "input_tokens", "output_tokens"):
        return None
    parts = [told, *_compactions(told.get("iterations"))]
    read = sum(_exact(one.get("cache_read_input_tokens")) for one in parts)
    written, hour = (sum(counts) for counts in zip(*(_writes(one, for_an_hour) for one in parts), strict=True))
    return Usage(
        input_tokens=sum(_exact(one.get("input_tokens")) for one in parts) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=sum(_exact(one.get("output_tokens")) for one in parts),
        output_reasoning_tokens=count(part(told, "output_tokens_details", "thinking_tokens")),
        web_searches=_exact(part(told, "server_tool_use", "web_search_requests")),
        model=text(answer.get("model")),
        terms=terms(speed=told.get("speed"), inference_geo=told.get("inference_geo")),
    )


def _writes(told: Mapping[str, Any], for_an_hour: bool) -> tuple[int, int]:  # noqa: FBT001 - of one reading
    """Return how much was written to a cache, and the part of it for an hour. The parts count where the sum is less.

    Raises:
        _NoCount: One of them is no count.
    """
    total, made = _exact(told.get("cache_creation_input_tokens")), told.get("cache_creation")
    if not made:
        return total, total if for_an_hour else 0
    hour = _exact(part(made, "ephemeral_1h_input_tokens"))
    return max(total, hour + _exact(part(made, "ephemeral_5m_input_tokens"))), hour


def _compactions(iterations: object) -> Iterable[Mapping[str, Any]]:
    """Return what was used to shorten the conversation, which the totals leave out.

    Raises:
        _NoCount: There is what another model has used, at a price of its own, or something unknown.
    """
    items = iterations if isinstance(iterations, list) else ()
    if any(part(item, "type") not in {"message", "compaction"} for item in items):
        raise _NoCount
    return [item for item in items if item["type"] == "compaction"]


@_whole
def gemini(answer: Mapping[str, Any]) -> Usage | None:
    """Read Google's generateContent, and embeddings where they tell their usage."""
    told = answer.get("usageMetadata")
    if not _tells(told, "promptTokenCount"):  # what is nothing is left out, and the prompt never is
        return None
    if not all(is_count(told[name]) for name in _GEMINI_PARTS if told.get(name) is not None):
        return None
    within, tools = told.get("promptTokensDetails"), told.get("toolUsePromptTokensDetails")
    cached, made = told.get("cacheTokensDetails"), told.get("candidatesTokensDetails")
    thoughts, tool = count(told.get("thoughtsTokenCount")), count(told.get("toolUsePromptTokenCount"))
    inputs, answered = count(told["promptTokenCount"]) + tool, told.get("candidatesTokenCount")
    if answered is None:
        answered = _more(told.get("totalTokenCount"), inputs + thoughts)
    return Usage(
        input_tokens=inputs,
        cache_read_tokens=count(told.get("cachedContentTokenCount")),
        input_audio_tokens=_of(within, "audio") + _of(tools, "audio"),
        input_image_tokens=_of(within, "image") + _of(tools, "image"),
        input_video_tokens=_of(within, "video") + _of(tools, "video"),
        cache_audio_read_tokens=_of(cached, "audio"),
        cache_image_read_tokens=_of(cached, "image"),
        cache_video_read_tokens=_of(cached, "video"),
        input_tool_tokens=tool,
        output_tokens=count(answered) + thoughts,
        output_reasoning_tokens=thoughts,
        output_audio_tokens=_of(made, "audio"),
        output_image_tokens=_of(made, "image"),
        output_video_tokens=_of(made, "video"),
        web_searches=_searches(answer),
        model=text(answer.get("modelVersion")),
        terms=terms(service_tier=_tier(told)),
    )


def _of(details: object, kind: str) -> int:
    """Return the tokens of one kind in a list of (modality, tokenCount)."""
    items = details if isinstance(details, list) else ()
    return sum(
        _exact(item.get("tokenCount"))
        for item in items
        if isinstance(item, Mapping) and _MODALITIES.get(_named(item.get("modality"))) == kind
    )


def _named(value: object) -> str:
    """Return the name of an enumeration's member, which SDKs make of the wire's text."""
    return str(getattr(value, "value", value) or "")


def _tier(told: Mapping[str, Any]) -> str | None:
    """Return how a request was served; None where nothing says it."""
    return googles_tier(_named(told.get("serviceTier") or told.get("trafficType")))


def googles_tier(named: str) -> str | None:
    """Return the name that prices have for a tier of Google's; None for none."""
    short = named.lower()
    for prefix in ("service_tier_", "traffic_type_", "on_demand_"):
        short = short.removeprefix(prefix)
    if short in {"", "unspecified"}:
        return None
    return "standard" if short in _STANDARD_AT_GOOGLE else short


def _searches(answer: Mapping[str, Any]) -> int:
    """Count what Google Search was asked: from Gemini 3 on each query is billed, before it each grounded prompt."""
    candidates = answer.get("candidates")
    found = [
        part(one, "groundingMetadata", name)
        for one in (candidates if isinstance(candidates, list) else ())
        for name in ("webSearchQueries", "imageSearchQueries")
    ]
    queries = sum(len(one) for one in found if isinstance(one, list))
    model = text(answer.get("modelVersion")) or ""
    return min(queries, 1) if model.startswith(("gemini-1", "gemini-2")) else queries
