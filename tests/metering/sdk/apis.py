"""Each API as its users call it: the same few questions, in the words of its own SDK.

What a method returns is what the SDK returns: of an asynchronous client, something to await.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final

import anthropic
import openai
import pydantic
from google import genai
from google.genai import types

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

OLD: Final = int(version("openai").partition(".")[0]) < 3
"""Whether these are the SDKs on httpx. They leave a stream that failed to the garbage collector."""

PROMPT: Final = "Wie heißt du?"
MOST: Final = 400  # tokens of output that are asked for


HTTP: Final = [importlib.import_module(name) for name in ("httpx", "httpx2", "aiohttp") if find_spec(name)]
BROKEN: Final = tuple(getattr(module, "TransportError", None) or module.ClientError for module in HTTP)
TIMED_OUT: Final = tuple(getattr(module, "TimeoutException", TimeoutError) for module in HTTP)
"""What comes out raw where an SDK does not translate it: of google-genai, and of older SDKs' streams."""


class Person(pydantic.BaseModel):
    """What is asked for as structured output."""

    name: str
    age: int


SCHEMA: Final = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
TOOL: Final = {"name": "search", "description": "Looks something up.", "parameters": SCHEMA}


class Api:
    """One row of the table.

    Attributes:
        few: Dollars that pay the estimate of a call and a few calls more.
        embeds: Whether the API has embeddings.
        parses: Whether this version of the SDK has structured output.
        candidates: Whether several answers can be asked for at once.
        timed_out: What the SDK raises when its timeout is over.
        counts_retries: Whether it tries again so many times; else as long as its patience lasts.
        needs_usage: Whether it raises where an answer tells no usage.
        forgets: Whether a blocking stream that is left keeps its connection until the client is closed.
        hurt: What it raises when the connection breaks, or the server has an error.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    model: ClassVar[str]
    few: ClassVar[str]
    embeds: ClassVar[bool] = False
    parses: ClassVar[bool] = True
    candidates: ClassVar[bool] = False
    caches: ClassVar[bool] = False  # whether writing to the cache is told
    forgets: ClassVar[bool] = False
    counts_retries: ClassVar[bool] = True
    needs_usage: ClassVar[bool] = False
    timed_out: ClassVar[tuple[type[Exception], ...]]
    hurt: ClassVar[tuple[type[Exception], ...]]

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        raise NotImplementedError  # each API's own

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        """Ask for a whole answer, of at most MOST tokens where it is to be bounded."""
        raise NotImplementedError  # each API's own

    def text(self, answer: Any) -> str:
        raise NotImplementedError  # each API's own

    def open(self, client: Any, **more: Any) -> Any:
        """Ask for a stream."""
        raise NotImplementedError  # each API's own

    def delta(self, event: Any) -> str | None:
        """Return the text that an event of a stream brings."""
        raise NotImplementedError  # each API's own

    def call(self, client: Any) -> Any:
        """Ask with a tool on offer, which the model will call."""
        raise NotImplementedError  # each API's own

    def called(self, answer: Any) -> Any:
        """Return what the tool is called with."""
        raise NotImplementedError  # each API's own

    def parse(self, client: Any) -> Any:
        raise NotImplementedError  # only where `parses`

    def parsed(self, answer: Any) -> Person:
        raise NotImplementedError  # only where `parses`

    def embed(self, client: Any) -> Any:
        raise NotImplementedError  # only where `embeds`

    def several(self, client: Any, count: int) -> Any:
        raise NotImplementedError  # only where `candidates`

    # -- the same for all ----------------------------------------------------------------------------------------------
    def deltas(self, stream: Any) -> Iterator[str]:
        """Yield the texts of a stream; leaving early leaves the SDK's stream."""
        for event in stream:
            if text := self.delta(event):
                yield text

    async def adeltas(self, stream: Any) -> AsyncIterator[str]:
        async for event in stream:
            if text := self.delta(event):
                yield text

    def close(self, stream: Any) -> Any:
        """Leave a stream, as its user can."""
        end = getattr(stream, "close", None) or stream.aclose
        return end()


class OpenAI(Api):
    """Both of OpenAI's APIs: one SDK."""

    package = "openai"
    model = "gpt-metered"
    few = "0.0085"
    embeds = True
    timed_out = (openai.APITimeoutError,)
    hurt = (openai.APIError, *BROKEN)

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        made = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return made(api_key="sk-test", base_url=f"{url}/v1", max_retries=retries, timeout=timeout)

    def embed(self, client: Any) -> Any:
        return client.embeddings.create(model="embed-metered", input=["one", "zwölf"])


class Chat(OpenAI):
    name = "OpenAI chat"
    candidates = True

    def _asked(self, *, bounded: bool = True, **more: Any) -> dict[str, Any]:
        bound = {"max_completion_tokens": MOST} if bounded else {}
        return {"model": self.model, "messages": [{"role": "user", "content": PROMPT}]} | bound | more

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        return client.chat.completions.create(**self._asked(bounded=bounded, **more))

    def text(self, answer: Any) -> str:
        return answer.choices[0].message.content

    def open(self, client: Any, **more: Any) -> Any:
        return client.chat.completions.create(**self._asked(stream=True, **more))

    def delta(self, event: Any) -> str | None:
        return event.choices[0].delta.content  # every event has a choice: nobody asked for usage

    def call(self, client: Any) -> Any:
        return self.ask(client, tools=[{"type": "function", "function": TOOL}])

    def called(self, answer: Any) -> Any:
        return answer.choices[0].message.tool_calls[0].function.arguments

    def parse(self, client: Any) -> Any:
        return client.chat.completions.parse(**self._asked(response_format=Person))

    def parsed(self, answer: Any) -> Person:
        return answer.choices[0].message.parsed

    def several(self, client: Any, count: int) -> Any:
        return self.ask(client, n=count)


class Responses(OpenAI):
    name = "OpenAI responses"

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        bound = {"max_output_tokens": MOST} if bounded else {}
        return client.responses.create(**{"model": self.model, "input": PROMPT} | bound | more)

    def text(self, answer: Any) -> str:
        return answer.output_text

    def open(self, client: Any, **more: Any) -> Any:
        return self.ask(client, stream=True, **more)

    def delta(self, event: Any) -> str | None:
        return event.delta if event.type == "response.output_text.delta" else None

    def call(self, client: Any) -> Any:
        return self.ask(client, tools=[{"type": "function", **TOOL, "strict": False}])

    def called(self, answer: Any) -> Any:
        return answer.output[0].arguments

    def parse(self, client: Any) -> Any:
        return client.responses.parse(model=self.model, input=PROMPT, text_format=Person, max_output_tokens=MOST)

    def parsed(self, answer: Any) -> Person:
        return answer.output_parsed


class Messages(Api):
    name = "Anthropic messages"
    package = "anthropic"
    model = "claude-metered"
    few = "0.013"
    parses = hasattr(anthropic.Anthropic(api_key="sk-test").messages, "parse")
    caches = True
    timed_out = (anthropic.APITimeoutError,)
    hurt = (anthropic.APIError, *BROKEN)

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        made = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return made(api_key="sk-test", base_url=url, max_retries=retries, timeout=timeout)

    def _asked(self, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": PROMPT}]
        return {"model": self.model, "messages": messages, "max_tokens": MOST} | more

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        assert bounded  # the API asks for it
        return client.messages.create(**self._asked(**more))

    def text(self, answer: Any) -> str:
        return answer.content[0].text

    def open(self, client: Any, **more: Any) -> Any:
        return self.ask(client, stream=True, **more)

    def delta(self, event: Any) -> str | None:
        return event.delta.text if event.type == "content_block_delta" else None

    def call(self, client: Any) -> Any:
        tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": SCHEMA}
        return self.ask(client, tools=[tool])

    def called(self, answer: Any) -> Any:
        return answer.content[0].input

    def parse(self, client: Any) -> Any:
        return client.messages.parse(**self._asked(output_format=Person))

    def parsed(self, answer: Any) -> Person:
        return answer.parsed_output


class Gemini(Api):
    name = "Gemini"
    package = "google-genai"
    model = "gemini-metered"
    few = "0.0018"
    embeds = True
    candidates = True
    forgets = OLD
    timed_out = TIMED_OUT
    hurt = (genai.errors.APIError, *BROKEN)

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        again = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.001, max_delay=0.002, jitter=0.001)
        options = types.HttpOptions(base_url=url, timeout=int(timeout * 1000), retry_options=again)
        return genai.Client(api_key="test", http_options=options)

    def _config(self, *, bounded: bool = True, **more: Any) -> types.GenerateContentConfig:
        bound = {"max_output_tokens": MOST} if bounded else {}
        return types.GenerateContentConfig(**bound | more)

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        config = self._config(bounded=bounded, **more)
        return client.models.generate_content(model=self.model, contents=PROMPT, config=config)

    def text(self, answer: Any) -> str:
        return answer.text

    def open(self, client: Any, **more: Any) -> Any:
        return client.models.generate_content_stream(model=self.model, contents=PROMPT, config=self._config(**more))

    def delta(self, event: Any) -> str | None:
        return event.text

    def call(self, client: Any) -> Any:
        return self.ask(client, tools=[types.Tool(function_declarations=[types.FunctionDeclaration(**TOOL)])])

    def called(self, answer: Any) -> Any:
        return answer.function_calls[0].args

    def parse(self, client: Any) -> Any:
        return self.ask(client, response_mime_type="application/json", response_schema=Person)

    def parsed(self, answer: Any) -> Person:
        return answer.parsed

    def embed(self, client: Any) -> Any:
        return client.models.embed_content(model="embed-metered", contents=["one", "zwölf"])

    def several(self, client: Any, count: int) -> Any:
        return self.ask(client, candidate_count=count)


class _Speaker(Chat):
    """Another provider whose SDK calls OpenAI's chat, and comes from the same generator."""

    embeds = False
    parses = False
    base: ClassVar[str]

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        made = getattr(importlib.import_module(self.package), f"{'Async' if asynchronous else ''}{self.name}")
        return made(api_key="test", base_url=f"{url}{self.base}", max_retries=retries, timeout=timeout)

    def _asked(self, *, bounded: bool = True, **more: Any) -> dict[str, Any]:
        bound = {"max_tokens": MOST} if bounded else {}
        return {"model": self.model, "messages": [{"role": "user", "content": PROMPT}]} | bound | more


class Groq(_Speaker):
    name, package, base = "Groq", "groq", ""


class Together(_Speaker):
    name, package, base = "Together", "together", "/v1"


for _speaker in (Groq, Together):
    if find_spec(_speaker.package):
        _errors = importlib.import_module(_speaker.package)
        _speaker.timed_out, _speaker.hurt = (_errors.APITimeoutError,), (_errors.APIError, *BROKEN)


class _Both:
    """Stands for a client whose methods are of both kinds: of this one the asynchronous are called."""

    def __init__(self, client: Any) -> None:
        self.client = client


class Mistral(Api):
    name = "Mistral"
    package = "mistralai"
    model = "mistral-metered"
    few = "0.0016"
    embeds = True
    candidates = True
    counts_retries = False
    needs_usage = True
    timed_out = TIMED_OUT

    def client(self, url: str, *, asynchronous: bool, retries: int = 0, timeout: float = 60.0) -> Any:
        del asynchronous  # a client is both
        soon = _mistral_retries.BackoffStrategy(1, 2, 1.0, 3_600_000)
        again = _mistral_retries.RetryConfig("backoff", soon, retry_connection_errors=True)
        more = {"retry_config": again} if retries else {}
        return _mistral(api_key="test", server_url=f"{url}/mistral", timeout_ms=int(timeout * 1000), **more)

    def _do(self, client: Any, place: str, method: str, **asked: Any) -> Any:
        if isinstance(client, _Both):
            return getattr(getattr(client.client, place), f"{method}_async")(**asked)
        return getattr(getattr(client, place), method)(**asked)

    def _asked(self, *, bounded: bool = True, **more: Any) -> dict[str, Any]:
        bound = {"max_tokens": MOST} if bounded else {}
        return {"model": self.model, "messages": [{"role": "user", "content": PROMPT}]} | bound | more

    def ask(self, client: Any, *, bounded: bool = True, **more: Any) -> Any:
        return self._do(client, "chat", "complete", **self._asked(bounded=bounded, **more))

    def text(self, answer: Any) -> str:
        return answer.choices[0].message.content

    def open(self, client: Any, **more: Any) -> Any:
        return self._do(client, "chat", "stream", **self._asked(**more))

    def delta(self, event: Any) -> str | None:
        return event.data.choices[0].delta.content

    def call(self, client: Any) -> Any:
        return self.ask(client, tools=[{"type": "function", "function": TOOL}])

    def called(self, answer: Any) -> Any:
        return answer.choices[0].message.tool_calls[0].function.arguments

    def parse(self, client: Any) -> Any:
        return self._do(client, "chat", "parse", response_format=Person, **self._asked())

    def parsed(self, answer: Any) -> Person:
        return answer.choices[0].message.parsed

    def embed(self, client: Any) -> Any:
        return self._do(client, "embeddings", "create", model="embed-metered", inputs=["one", "zwölf"])

    def several(self, client: Any, count: int) -> Any:
        return self.ask(client, n=count)

    def close(self, stream: Any) -> Any:
        """Leave a stream; in older versions only the end of a block can, which closes its response."""
        if hasattr(stream, "close"):
            return super().close(stream)
        return stream.response.aclose() if hasattr(stream, "__anext__") else stream.response.close()


if find_spec("mistralai"):
    _place = "mistralai" if version("mistralai").startswith("1.") else "mistralai.client"
    _mistral = importlib.import_module(_place).Mistral
    _mistral_retries = importlib.import_module(f"{_place}.utils")
    _errors = importlib.import_module(f"{_place}.{'models' if _place == 'mistralai' else 'errors'}")
    Mistral.hurt = (_errors.MistralError, pydantic.ValidationError, *BROKEN)

_MORE: Final = find_spec("groq") is not None
APIS: Final[tuple[Api, ...]] = (
    (Chat(), Responses(), Groq(), Together()) if _MORE else (Chat(), Responses(), Messages(), Gemini(), Mistral())
)


def half(client: Any, *, asynchronous: bool) -> Any:
    """Return what questions are asked of: of google-genai's client, its asynchronous half."""
    if asynchronous and hasattr(client, "sdk_configuration"):
        return _Both(client)
    return client.aio if asynchronous and isinstance(client, genai.Client) else client


def closed(client: Any) -> Any:
    """Close an SDK's client; return what is to be awaited for it, or None."""
    if isinstance(client, _Both):
        return client.client.sdk_configuration.async_client.aclose()
    if hasattr(client, "sdk_configuration"):
        client = client.sdk_configuration.client
    end = getattr(client, "aclose", None) or client.close
    ended = end()
    return ended if inspect.isawaitable(ended) else None
