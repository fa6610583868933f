"""Which requests to a model provider bill, and what they may use at most.

Which wire a request speaks follows from its path: many providers speak OpenAI's, some Anthropic's too. The provider
says where the price is looked up, and what is free there.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from cycles._metering import chat, embeddings, gemini, messages, responses
from cycles._metering.billable import Billable, StreamReading
from cycles._metering.bodies import parsed
from cycles._metering.hosts import provider_of, region_of
from cycles.errors import Unmeterable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[..., Billable]
    """Reads a request of one path: its body, parsed and as it is, with `max_output`."""

__all__ = ["Billable", "StreamReading", "provider_of", "read", "region_of"]

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_GEMINI: Final = re.compile(
    r"/(?P<model>models/[^/:]+|tunedModels/[^/:]+|endpoints/[^/:]+|publishers/(?P<publisher>[^/]+)/models/[^/:]+):(?P<method>\w+)$"
)
_DEPLOYMENT: Final = re.compile(r"/(?:deployments|engines)/(?P<model>[^/]+)/")
_OPENAI: Final = re.compile(
    r"/(?P<kind>agents/completions|chat/completions|fim/completions|completions|responses|embeddings)$"
)
_MESSAGES: Final = re.compile(r"/messages$")
_THREADS: Final = re.compile(r"/threads(/|$)")

_FREE: Final = re.compile(
    r"/(count_tokens|messages/count_tokens|responses/input_tokens|tokenize|detokenize"
    r"|files(/[^/]+)?|files:upload|files:register|uploads(/[^/]+(/(parts|complete|cancel))?)?"
    r"|responses/[^/]+/cancel|chat/completions/[^/]+|batches/[^/]+/cancel|messages/batches/[^/]+/cancel"
    r"|fine_tuning/jobs/[^/]+/(cancel|pause|resume))$"
)
_KEPT: Final = re.compile(r"/vector_stores/[^/]+/files$")
"""A file that is put where the provider bills for keeping it."""
_FREE_AT: Final = {
    "openai": re.compile(r"/(moderations|conversations(/.*)?|organization/.*|projects/.*|webhook_endpoints.*)$"),
    "azure": re.compile(r"/(moderations|conversations(/.*)?)$"),
    "anthropic": re.compile(r"/(organizations|user_profiles|skills|vaults)(/.*)?$"),
    "mistral": re.compile(
        r"((?<!/audio)/agents(/(?!completions\b)[^/]+(/version|/aliases)?)?|/batch/jobs/[^/]+/cancel"
        r"|/fine_tuning/models/[^/]+(/archive)?)$"
    ),
    "google": re.compile(r":(countTokens|computeTokens)$|/models/count-tokens:rawPredict$|/upload/.*/files$"),
}
_WHY: Final = (
    (re.compile(r"batch|Batch", re.ASCII), "jobs of a batch are billed when they are done, long after the answer"),
    (re.compile(r"/images(/|$)|:predict$"), "images are billed by size and quality, which no token count bounds"),
    (re.compile(r"/audio(/|$)"), "speech is billed by the minute or by the letter, which the answer does not tell"),
    (re.compile(r"/videos?(/|$)|LongRunning$"), "videos are billed by the second, when they are done"),
    (re.compile(r"/ocr(/|$)"), "documents are billed by the page, and the request does not show how many it has"),
    (re.compile(r"/(moderations|classifications)(/|$)"), "the answer tells no usage"),
    (re.compile(r"/(realtime|live)(/|$)|:bidi", re.IGNORECASE), "a session bills as long as it is open"),
    (
        re.compile(r"/(threads|assistants|agents|conversations|interactions|sessions)(/|$)"),
        "an agent at the provider bills what it does",
    ),
    (re.compile(r"/fine_tuning(/|$)|tun(ing|ed)", re.IGNORECASE), "training is billed when it is done"),
    (
        re.compile(r"/(vector_stores|containers|cachedContents)(/|$)"),
        "what a provider keeps is billed by the day",
    ),
)


def read(
    provider: str, method: str, path: str, headers: Mapping[str, str], body: bytes, *, max_output: int
) -> Billable | None:
    """Return what a request may bill, or None when it is free.

    The input is bounded from above: a token is at least one byte of UTF-8, so all bytes of the body count, those of
    tools and schemas too, with 256 tokens for what the provider adds. Images count as what the provider publishes as
    its maximum, audio as a token for each 10 bytes (`cycles/_metering/media.py`). What the request does not show, such
    as a PDF or an earlier response by its id, is named in `Billable.unbounded`. The output is what the request asks
    for, times its candidates; where it asks for no bound, *max_output* is put into the body.

    Args:
        provider: "openai", "anthropic", "google", …; see `provider_of`. Any other name speaks OpenAI's wire.
        method: GET, POST, …
        path: The URL's path, with or without its query.
        headers: The request's headers, found by names in any case.
        body: The request's body, not compressed.
        max_output: Output tokens to ask for where the request asks for no bound.

    Raises:
        Unmeterable: A path that bills, or a body, that is not understood.
    """
    reader = _reader_of(provider, method, path.partition("?")[0])
    return None if reader is None else reader(_said(headers, body), body, max_output=max_output)


@functools.lru_cache(maxsize=256)
def _reader_of(provider: str, method: str, path: str) -> Reader | None:
    """Return what reads the requests of one *path*; None when they are free. Most programs ask for a few again.

    Raises:
        Unmeterable: A path that bills, and is not understood.
    """
    path = path.rstrip("/")
    if method.upper() in _READS or _is_free(provider, path):
        return None
    if found := _GEMINI.search(path):
        return _google_reader(provider, found)
    if not _THREADS.search(path):
        if _MESSAGES.search(path):
            return functools.partial(_read_messages, provider, path)
        if found := _OPENAI.search(path):
            return functools.partial(_read_openai, provider, found["kind"], path)
    why = next((why for pattern, why in _WHY if pattern.search(path)), "what it bills is not known")
    raise Unmeterable(f"{method} {path} at {provider} can't be metered: {why}")


def _is_free(provider: str, path: str) -> bool:
    pattern = _FREE_AT.get(provider)
    if _KEPT.search(path):
        return False
    return bool(_FREE.search(path) or (pattern and pattern.search(path)))


def _said(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Unmeterable("the request's body is compressed: what it asks for can't be read")
    return parsed(body)


def _model(said: Mapping[str, Any], path: str) -> str:
    """Return the model's name: a deployment in the path is Azure's, and stands for the model."""
    model = said.get("model") or None
    if model is None and (found := _DEPLOYMENT.search(path)):
        model = unquote(found["model"])
    if not isinstance(model, str):
        raise Unmeterable("the request names no model: its price can't be known")
    return model


def _read_messages(provider: str, path: str, said: dict[str, Any], body: bytes, *, max_output: int) -> Billable:
    return messages.read(provider, _model(said, path), body, said, max_output=max_output)


def _read_openai(
    provider: str, kind: str, path: str, said: dict[str, Any], body: bytes, *, max_output: int
) -> Billable:
    if kind == "agents/completions":
        raise Unmeterable(f"{path} at {provider} can't be metered: which model an agent uses is not in the request")
    model = _model(said, path)
    if kind == "embeddings":
        return embeddings.read(provider, model, body, said)
    if kind == "responses":
        return responses.read(provider, model, body, said, max_output=max_output)
    return chat.read(provider, model, body, said, max_output=max_output, legacy=kind != "chat/completions")


def _google_reader(provider: str, found: re.Match[str]) -> Reader:
    method, model = found["method"], unquote(found["model"]).rpartition("models/")[2]
    if found["publisher"] == "anthropic" and method in {"rawPredict", "streamRawPredict"}:
        return lambda said, body, **most: messages.read(provider, model, body, said, **most)
    if found["publisher"] in {None, "google"}:
        if method in {"generateContent", "streamGenerateContent"}:
            streamed = method == "streamGenerateContent"
            return lambda said, body, **most: gemini.read(provider, model, body, said, streamed=streamed, **most)
        if method in {"embedContent", "batchEmbedContents"}:
            return lambda said, body, **_: gemini.read_embedding(provider, model, body, said)
    why = next((why for pattern, why in _WHY if pattern.search(found[0])), "what it bills is not known")
    raise Unmeterable(f"{found[0]} at {provider} can't be metered: {why}")
