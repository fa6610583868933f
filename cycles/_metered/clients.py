"""Which clients can be metered, and how each is copied around an HTTP client that meters. Originals stay as they are.

client                                  what is replaced in the copy
httpx.Client, httpx2.Client, async too  its transports
openai, anthropic, groq, together, …    `with_options(http_client=…)`: a copy of its own HTTP client
google.genai.Client                     the HTTP clients of its API client, and what refers to that
mistralai's Mistral                     the HTTP clients of its configuration
"""

from __future__ import annotations

import copy
import functools
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cycles._metered.messages import library_of
from cycles._metered.transports import AsyncMeteredTransport, MeteredTransport
from cycles._metering.hosts import SDKS
from cycles.errors import InvalidRequest, Unmeterable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._metered.meter import Meter

_REMEDY: Final = "put a cycles.Guard around the calls instead (docs/guard.md)"

_ELSEWHERE: Final = {
    "botocore": "boto3 sends through connections of its own, and signs its requests",
    "boto3": "boto3 sends through connections of its own, and signs its requests",
    "aiobotocore": "it sends through connections of its own, and signs its requests",
    "grpc": "gRPC is no HTTP client that can be given a transport",
    "vertexai": "it speaks gRPC; google.genai.Client(vertexai=True) can be metered",
    "requests": "requests is no client that a model SDK sends through",
    "aiohttp": "sessions of aiohttp can't be metered; the SDKs also send through httpx",
    "litellm": "it makes its HTTP clients by itself",
}
"""Why clients of other packages can't be metered."""


def usual_provider(client: object) -> str | None:
    """Return the provider that *client* is an SDK of; None for an HTTP client."""
    if any(base.__name__.endswith("AzureOpenAI") for base in type(client).__mro__):
        return "azure"
    for base in type(client).__mro__:
        found = SDKS.get(base.__module__.partition(".")[0])
        if found is not None:
            return found
    return None


def metered(client: Any, meter: Meter) -> Any:
    """Return a copy of *client* whose requests *meter* counts.

    Raises:
        InvalidRequest: it can't be metered; says why.
    """
    kind = type(client)
    if library_of(kind) is not None and hasattr(client, "_transport"):
        return metered_http(client, meter)
    _must_be_meterable(client)
    if library_of(type(getattr(client, "_client", None))) is not None and hasattr(client, "with_options"):
        return _metered_sdk(client, meter)
    if hasattr(client, "_api_client") and kind.__module__.startswith("google.genai"):
        return _metered_genai(client, meter)
    if hasattr(client, "sdk_configuration"):
        return _metered_mistral(client, meter)
    raise InvalidRequest(f"wrap: {_shown(kind)} is no client that can be metered; {_REMEDY}")


def _shown(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _must_be_meterable(client: Any) -> None:
    if isinstance(client, ModuleType | type):
        raise InvalidRequest(f"wrap: {client.__name__} is no client; give one that you made, such as wrap(OpenAI())")
    for base in type(client).__mro__:
        why = _ELSEWHERE.get(base.__module__.partition(".")[0])
        if why is not None:
            raise InvalidRequest(f"wrap: {_shown(type(client))} can't be metered: {why}; {_REMEDY}")
        if "Bedrock" in base.__name__:
            raise InvalidRequest(
                f"wrap: {_shown(type(client))} can't be metered: it signs its requests before they can be bounded; "
                f"{_REMEDY}"
            )


# -- HTTP clients ------------------------------------------------------------------------------------------------------
def metered_http(client: Any, meter: Meter) -> Any:
    """Return a copy of an HTTP client, with the same settings and connections, whose requests *meter* counts.

    Raises:
        InvalidRequest: it is metered already.
    """
    library = library_of(type(client))
    kind = AsyncMeteredTransport if isinstance(client, library.AsyncClient) else MeteredTransport
    copied = copy.copy(client)
    _quieten(copied)

    def around(transport: Any) -> Any:
        if isinstance(transport, kind):
            raise InvalidRequest("wrap: this client is metered already, and would be charged twice")
        return None if transport is None else kind(transport, meter, library, client)

    state = copied.__dict__
    state["_transport"] = around(client._transport)  # noqa: SLF001 - httpx has no public name for its transports
    state["_mounts"] = {pattern: around(each) for pattern, each in client._mounts.items()}  # noqa: SLF001 - see above
    state["_event_hooks"] = {name: list(hooks) for name, hooks in client.event_hooks.items()}
    if not client.is_closed:
        state["_state"] = type(client._state).UNOPENED  # noqa: SLF001 - so that it can be entered itself
    if hasattr(client, "_client_for_running_loop"):
        state["_client_for_running_loop"] = _for_loops(client._client_for_running_loop, meter)  # noqa: SLF001 - genai's
    return copied


def _for_loops(client_for_running_loop: Callable[[], Any], meter: Meter) -> Callable[[], Any]:
    """Return what gives the metered client of the running loop, where an HTTP client has one for each."""
    return lambda: metered_http(client_for_running_loop(), meter)


def _quieten(copied: Any) -> None:
    """Let *copied* not close itself when it is collected: the connections are the original's."""
    if hasattr(type(copied), "__del__"):
        kind: Any = type(copied)
        copied.__class__ = _quiet(kind)


@functools.cache
def _quiet(kind: Any) -> type:
    return type(kind.__name__, (kind,), {"__del__": lambda _: None, "__module__": kind.__module__})


# -- SDKs --------------------------------------------------------------------------------------------------------------
_SOCKETS: Final = ("realtime", "live", "realtime_speech")
"""Attributes of SDKs that open a socket, past their HTTP client."""
_PARTS: Final = ("responses", "beta")
"""Attributes of SDKs whose parts do so."""


def _metered_sdk(client: Any, meter: Meter) -> Any:
    copied = client.with_options(http_client=metered_http(client._client, meter))  # noqa: SLF001 - no SDK shows it
    return _kept(copied, meter)


def _kept(client: Any, meter: Meter) -> Any:
    """Return *client*, whose sockets are refused or logged; the copies that it makes of itself are metered as it is."""
    kind = type(client)
    _watch_sockets(client, meter)
    for name in ("copy", "with_options"):
        if hasattr(kind, name):
            vars(client)[name] = _copying(getattr(client, name), meter)
    return client


def _copying(copied: Callable[..., Any], meter: Meter) -> Callable[..., Any]:
    @functools.wraps(copied)
    def copying(*args: Any, **options: Any) -> Any:
        if "http_client" in options:
            options["http_client"] = _metered_once(options["http_client"], meter)
        return _kept(copied(*args, **options), meter)

    return copying


def _metered_once(client: Any, meter: Meter) -> Any:
    """Return the metered copy of an HTTP client that a copy of an SDK is given; itself, if it is metered already."""
    transport = getattr(client, "_transport", None)
    if transport is None or library_of(type(client)) is None:  # the SDK has its own words for it
        return client
    is_metered = isinstance(transport, MeteredTransport | AsyncMeteredTransport)
    return client if is_metered else metered_http(client, meter)


def _watch_sockets(part: Any, meter: Meter) -> None:
    """Refuse what opens a socket in *part* of an SDK, and in its own parts, or log when it is used."""
    kind = type(part)
    for name in ("connect", *_SOCKETS):
        if hasattr(kind, name):
            what = f"{_shown(kind)}.{name}"
            refuses = meter.choices.unknown == "deny"
            vars(part)[name] = _NotMetered(what) if refuses else _Passing(getattr(part, name), what, meter)
    for name in _PARTS:
        if hasattr(kind, name):
            _watch_sockets(getattr(part, name), meter)


class _Passing:
    """Stands before what an SDK sends past its HTTP client, and logs once that it is not counted."""

    def __init__(self, real: Any, what: str, meter: Meter) -> None:
        self._real, self._what, self._meter = real, what, meter

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._real, name)
        is_part = _package(value) == _package(self._real)
        return _Passing(value, f"{self._what}.{name}", self._meter) if callable(value) or is_part else value

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._meter.passed(self._what, "it sends through a socket of its own")
        return self._real(*args, **options)


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


class _NotMetered:
    """Stands where an SDK has what does not go through its HTTP client."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    def __call__(self, *_: object, **__: object) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Unmeterable(
            f"{self._what} can't be metered, for it sends through a socket of its own: {_REMEDY}, on a client that is "
            "not wrapped"
        )


def _metered_genai(client: Any, meter: Meter) -> Any:
    api = client._api_client  # noqa: SLF001 - the SDK has no public name for it
    signs = getattr(api, "_use_google_auth_sync", None)
    if signs is not None and signs():
        raise InvalidRequest(
            "wrap: a google.genai client with client certificates sends through google-auth; give it "
            f"http_options=HttpOptions(httpx_client=…, httpx_async_client=…), or {_REMEDY}"
        )
    made = copy.copy(api)
    blocking, asynchronous = api._httpx_client, api._async_httpx_client  # noqa: SLF001 - see above
    made._httpx_client = metered_http(blocking, meter)  # noqa: SLF001 - see above
    made._async_httpx_client = metered_http(asynchronous, meter)  # noqa: SLF001 - see above
    # Given ones go before aiohttp, which the SDK would take for asynchronous calls.
    clients = {"httpx_client": made._httpx_client, "httpx_async_client": made._async_httpx_client}  # noqa: SLF001
    made._http_options = api._http_options.model_copy(update=clients)  # noqa: SLF001 - see above
    return _referring(client, api, made, meter)


def _referring(part: Any, api: Any, made: Any, meter: Meter) -> Any:
    """Return a copy of *part* of the SDK, and of its parts, that refers to *made* in place of *api*."""
    copied = copy.copy(part)
    for name, value in vars(part).items():
        module = type(value).__module__
        if value is api:
            setattr(copied, name, made)
        elif "._gaos" in module:  # made again of the API client when it is needed
            setattr(copied, name, None)
        elif name == "_live" and meter.choices.unknown == "deny":
            setattr(copied, name, _NotMetered(f"{_shown(type(part))}.live"))
        elif module.startswith("google.genai") and getattr(value, "_api_client", None) is api:
            made_part = _referring(value, api, made, meter)
            what = f"{_shown(type(part))}.live"
            setattr(copied, name, _Passing(made_part, what, meter) if name == "_live" else made_part)
    return copied


def _metered_mistral(client: Any, meter: Meter) -> Any:
    configuration = copy.copy(client.sdk_configuration)
    for name in ("client", "async_client"):
        inner = getattr(configuration, name, None)
        if inner is not None and library_of(type(inner)) is None:
            raise InvalidRequest(f"wrap: its HTTP client, {_shown(type(inner))}, is none of httpx or httpx2; {_REMEDY}")
        setattr(configuration, name, None if inner is None else metered_http(inner, meter))
    copied = copy.copy(client)
    parts = getattr(type(client), "_sub_sdk_map", {})
    for name in [name for name in vars(copied) if name in parts]:
        delattr(copied, name)  # made again of the configuration when it is asked for
    copied.sdk_configuration = configuration
    copied.parent_ref = client  # which closes its connections when it is collected
    audio = copied.audio if "audio" in parts else None
    for name in _SOCKETS:
        if hasattr(type(audio), name):
            what = f"{_shown(type(audio))}.{name}"
            refuses = meter.choices.unknown == "deny"
            stands = _NotMetered(what) if refuses else _Passing(getattr(audio, name), what, meter)
            setattr(audio, f"_{name}", stands)  # where it keeps what it made
    return copied
