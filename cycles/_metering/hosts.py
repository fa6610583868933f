"""Which provider is at which host, and whose SDK a package is."""

from __future__ import annotations

import functools
import re
from typing import Final

__all__ = ["SDKS", "provider_of", "region_of"]

SDKS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistralai": "mistral",
    "groq": "groq",
    "together": "together",
    "cerebras": "cerebras",
}
"""Providers by the package of their SDK."""

_HOSTS: Final = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "rep.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "api.eu.mistral.ai": "mistral",
    "api.us.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.x.ai": "x-ai",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.novita.ai": "novita",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "inference.baseten.co": "baseten",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
}
"""Hosts, and the ends of hosts, with the names that genai-prices has for their providers."""


_REGIONS: Final = {"api.eu.mistral.ai": "eu", "api.us.mistral.ai": "us", "us.api.x.ai": "us"}
"""Hosts whose region has a price of its own, which no answer tells."""
_REGION: Final = re.compile(
    r"^(?P<openai>[a-z]{2})\.api\.openai\.com$"
    r"|^(?P<google>[a-z0-9-]+)-aiplatform\.googleapis\.com$|^aiplatform\.(?P<several>[a-z]+)\.rep\.googleapis\.com$"
)
"""Hosts whose region has a price of its own for newer models."""
_NEWER: Final = {
    "openai": re.compile(
        r"^(?!(ft:)?(gpt-[34]|gpt-5(?!\.)|gpt-5\.[0-3](?!\d)|o\d|chatgpt|codex|computer-use|text-|davinci|babbage))"
    ),
    "google": re.compile(r"^(gemini-(?!embedding|[12]\b)|claude-(?!3|(sonnet|opus)-4(-1)?(@|$|-20)))"),
}
"""Models that such prices are for: OpenAI's since March 2026, Claude from 4.5 on, Gemini from 3 on."""


@functools.lru_cache(maxsize=256)
def region_of(host: str, model: str) -> str | None:
    """Return the region that a URL's *host* bills a *model* for; None where the price does not depend on the host."""
    name = _named(host)
    if (found := _REGION.search(name)) is None:
        return _REGIONS.get(name)
    kind = "openai" if found["openai"] else "google"
    return found[found.lastgroup or 0] if _NEWER[kind].search(model.rpartition("/")[2]) else None


@functools.lru_cache(maxsize=256)
def provider_of(host: str) -> str | None:
    """Return the provider at a URL's *host* (with or without a port); None when it is not known."""
    name = _named(host)
    if name.endswith("-aiplatform.googleapis.com"):  # a region in front
        return "google"
    while name:
        if name in _HOSTS:
            return _HOSTS[name]
        name = name.partition(".")[2]
    return None


def _named(host: str) -> str:
    return host.partition(":")[0].lower().rstrip(".")
