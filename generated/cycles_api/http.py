# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""What the bindings need of an HTTP library, as types: httpx has it, and so has httpx2, its maintained fork.

For annotations only: nothing here is imported when a program runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class HttpHeaders(Protocol):
    """Headers; their names are case-insensitive."""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]: ...
    def get_list(self, key: str, split_commas: bool = False) -> list[str]: ...
    def multi_items(self) -> list[tuple[str, str]]: ...
    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: T) -> str | T: ...
    def __getitem__(self, key: str, /) -> str: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


class HttpTimeout(Protocol):
    """Seconds for each phase of a request; None waits for ever."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None


HttpPhases: TypeAlias = tuple[float | None, float | None, float | None, float | None]
"""The same as a tuple: connect, read, write, pool."""

TimeoutTypes: TypeAlias = float | HttpPhases | HttpTimeout | None
"""Seconds for every phase of a request, or for each of them; None waits for ever."""


class HttpRequest(Protocol):
    """A request that is about to be sent."""

    @property
    def headers(self) -> Any: ...


class HttpResponse(Protocol):
    """A response whose body has been read."""

    @property
    def headers(self) -> HttpHeaders: ...
    @property
    def content(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    @property
    def is_success(self) -> bool: ...
    @property
    def status_code(self) -> int: ...
    def json(self) -> Any: ...


class HttpClient(Protocol):
    """`httpx.Client`, `httpx2.Client`, and their subclasses."""

    @property
    def is_closed(self) -> bool: ...
    @property
    def auth(self) -> Any: ...
    @property
    def follow_redirects(self) -> bool: ...
    def build_request(
        self, method: str, url: Any, *, json: Any = ..., params: Any = ..., headers: Any = ..., timeout: Any = ...
    ) -> HttpRequest: ...
    def request(
        self,
        method: str,
        url: Any,
        *,
        json: Any = ...,
        params: Any = ...,
        headers: Any = ...,
        timeout: Any = ...,
        auth: Any = ...,
        follow_redirects: Any = ...,
    ) -> HttpResponse: ...
    def send(self, request: Any, *, auth: Any = ..., follow_redirects: Any = ...) -> HttpResponse: ...
    def close(self) -> None: ...


class AsyncHttpClient(Protocol):
    """`httpx.AsyncClient`, `httpx2.AsyncClient`, and their subclasses."""

    @property
    def is_closed(self) -> bool: ...
    @property
    def auth(self) -> Any: ...
    @property
    def follow_redirects(self) -> bool: ...
    def build_request(
        self, method: str, url: Any, *, json: Any = ..., params: Any = ..., headers: Any = ..., timeout: Any = ...
    ) -> HttpRequest: ...
    async def request(
        self,
        method: str,
        url: Any,
        *,
        json: Any = ...,
        params: Any = ...,
        headers: Any = ...,
        timeout: Any = ...,
        auth: Any = ...,
        follow_redirects: Any = ...,
    ) -> HttpResponse: ...
    async def send(self, request: Any, *, auth: Any = ..., follow_redirects: Any = ...) -> HttpResponse: ...
    async def aclose(self) -> None: ...


class HttpModule(Protocol):
    """The modules `httpx` and `httpx2` themselves."""

    @property
    def Client(self) -> Callable[..., HttpClient]: ...
    @property
    def AsyncClient(self) -> Callable[..., AsyncHttpClient]: ...
    @property
    def Headers(self) -> Callable[..., Any]: ...
    @property
    def URL(self) -> Callable[[str], Any]: ...
