"""The way to an authority, checked step by step for `cycles doctor`: name, connection, TLS, and who answers."""

from __future__ import annotations

import socket
import ssl
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from cycles._core.outcomes import is_outage
from cycles._drivers.libraries import module_of
from cycles._drivers.surroundings import opened
from cycles._outside.extras import install
from cycles.cli._checks import NOTE, OK, WRONG, Check
from cycles.errors import ConfigError
from cycles_api.api.balances import get_balances
from cycles_api.errors import DecodeError
from cycles_api.models.balance_response import BalanceResponse
from cycles_api.models.error_response import ErrorResponse
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.client import Client
    from cycles.config import Config

_PORTS: Final = {"http": 80, "https": 443}


class Answered(NamedTuple):
    """The answer to a harmless request.

    Attributes:
        check: Whether an authority answered.
        status: The HTTP status; None when the answer does not fit the protocol.
        told: The message of an error.
        key_tenant: The tenant of the key, where the authority names it, or None.
        date: The Date header, or None.
        at: Our clock half-way between request and answer, in seconds since the epoch.
        is_failing: Whether the answer was a 5xx.
    """

    check: Check
    status: int | None = None
    told: str = ""
    key_tenant: str | None = None
    date: str | None = None
    at: float = 0.0
    is_failing: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether an authority took the request, or refused it for its tenant."""
        return self.status is not None and self.status != 401


def engine(config: Config) -> Check:
    """Say what sends, and whether something faster is installed."""
    chosen = config.http_engine
    needed = {"httpx2": "httpx2", "aiohttp": "httpx_aiohttp"}
    if chosen in needed and find_spec(needed[chosen]) is None:
        extra = "fast" if chosen == "aiohttp" else chosen
        remedy = f"{install(extra)}, or set CYCLES_HTTP_ENGINE=httpx"
        return Check("engine", WRONG, f"{chosen} is not installed", remedy)
    if chosen == "httpx" and find_spec("httpx2") is not None:
        return Check("engine", NOTE, "httpx; httpx2 is installed, and is faster", "set CYCLES_HTTP_ENGINE=httpx2")
    if chosen == "httpx" and find_spec("httpx_aiohttp") is not None:
        remedy = "set CYCLES_HTTP_ENGINE=aiohttp"
        return Check("engine", NOTE, "httpx; aiohttp is installed, and is faster for many tasks at once", remedy)
    return Check("engine", OK, chosen)


def network(config: Config) -> Iterator[Check]:
    """Resolve the host, connect to it and greet it in TLS; ends with the first step that fails."""
    parts = urlsplit(config.base_url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        proxy = _proxy(config.base_url)
    except ConfigError as error:
        yield Check("network", WRONG, error.message, "every client needs it: correct or unset the variable")
        return
    if proxy is not None:
        yield Check("network", NOTE, f"through the proxy {proxy} of the environment; not looked at step by step")
        return
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        remedy = "check the host in CYCLES_BASE_URL, and the name service of this machine"
        yield Check("name", WRONG, f"{host} can't be resolved: {_reason(error)}", remedy)
        return
    yield Check("name", OK, f"{host} is {', '.join(addresses[:4])}")
    began = time.perf_counter()
    try:
        connection = socket.create_connection((host, port), timeout=config.connect_timeout)
    except OSError as error:
        remedy = "start the authority (`cycles serve` is one), or correct host and port; a firewall may be in between"
        yield Check("connection", WRONG, f"nobody answers at {host} port {port}: {_reason(error)}", remedy)
        return
    with connection:
        yield Check("connection", OK, f"port {port}, in {(time.perf_counter() - began) * 1000:.0f} ms")
        if parts.scheme == "https":
            yield _tls(connection, host, module_of(config.http_engine))


def _tls(connection: socket.socket, host: str, http: Any) -> Check:
    try:
        with http.create_ssl_context().wrap_socket(connection, server_hostname=host) as secured:
            return Check("tls", OK, f"{secured.version()}, with a certificate for {host}")
    except ssl.SSLCertVerificationError as error:
        remedy = "name the CA's certificates in SSL_CERT_FILE, or correct the host; a wrong clock fails like this too"
        return Check("tls", WRONG, f"the certificate is not accepted: {error.verify_message}", remedy)
    except OSError as error:
        remedy = "is it http:// instead of https://?"
        return Check("tls", WRONG, f"{host} does not speak TLS: {_reason(error)}", remedy)


class _Ways(httpx.Client):
    """A client as ours are, which knows through which proxies it goes; it sends nothing. httpx2 has the same rules."""

    def __init__(self, **options: Any) -> None:
        self.proxies: dict[httpx.BaseTransport, httpx.Proxy] = {}
        super().__init__(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *rest: Any, **options: Any) -> httpx.BaseTransport:
        made = super()._init_proxy_transport(proxy, *rest, **options)
        self.proxies[made] = proxy
        return made

    def proxy_for(self, url: str) -> str | None:
        """Return the host of the proxy that a request to *url* takes, or None."""
        proxy = self.proxies.get(self._transport_for_url(httpx.URL(url)))
        return None if proxy is None else proxy.url.host


def _proxy(base_url: str) -> str | None:
    """Return the host of the proxy on the way to *base_url*, by the client's own rules.

    Raises:
        ConfigError: when the environment's proxies or certificates can't be used.
    """
    with opened(httpx, _Ways, base_url=base_url) as ways:
        return ways.proxy_for(base_url)


def _reason(error: Exception) -> str:
    told = getattr(error, "strerror", None) or str(error)
    return told or type(error).__name__


def ask(client: Client, tenant: str | None) -> Answered:
    """Ask for a tenant's balances; without a tenant the authority answers with an error that names the key's tenant."""
    began, clock = time.perf_counter(), time.time()
    try:
        answer = get_balances.sync_detailed(client=client.api, tenant=UNSET if tenant is None else tenant, limit=1)
    except DecodeError as error:
        return Answered(_no_authority(error.status_code, str(error)))
    except module_of(client.config.http_engine).HTTPError as error:
        remedy = "check CYCLES_BASE_URL and what stands in between; CYCLES_READ_TIMEOUT is how long an answer may take"
        return Answered(Check("http", WRONG, f"no answer: {str(error) or type(error).__name__}", remedy))
    took = time.perf_counter() - began
    status, headers, parsed = answer.status_code, answer.headers, answer.parsed
    told = parsed.message if isinstance(parsed, ErrorResponse) else ""
    if parsed is None or not isinstance(parsed, BalanceResponse | ErrorResponse) or status == 404:
        return Answered(_no_authority(status, headers.get("content-type", "no content type")))
    if status >= 500:
        remedy = f"ask its operator; the request id is {headers.get('x-request-id', 'not known')}"
        return Answered(Check("http", WRONG, f"the authority fails: {status} {told}", remedy), is_failing=True)
    if isinstance(parsed, ErrorResponse) and is_outage(status, parsed):
        found = "the authority can't reach its own database: 401 INTERNAL_ERROR, which says nothing about the key"
        remedy = "ask its operator, or try again later; the key may well be good"
        return Answered(Check("http", WRONG, found, remedy), is_failing=True)
    return Answered(
        Check("http", OK, f"an authority answers, in {took * 1000:.0f} ms"),
        status,
        told,
        headers.get("x-cycles-tenant"),
        headers.get("date"),
        clock + took / 2,
    )


def who_answers(config: Config, answer: Answered) -> Check | None:
    """Return why *answer* is not what an authority says to its clients, where a second request can tell; else None."""
    parts = urlsplit(config.base_url)
    if answer.is_usable:
        return None
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    is_there = bool(path) and _status_of(config.replace(base_url=origin), "/v1/balances") in _ANSWERED
    if is_there or (path and answer.status is None and not answer.is_failing):
        there = ", and without it an authority answers" if is_there else ", and what answers there is no authority"
        remedy = f"try without: CYCLES_BASE_URL={origin} (clients add /v1 themselves)"
        return Check("http", WRONG, f"the URL has a path, {path}{there}", remedy)
    says_so = "admin" in answer.told.lower()
    if says_so or (_status_of(config, "/v1/reservations") == 404 and _status_of(config, "/v1/admin/tenants") != 404):
        remedy = "give the port for programs in CYCLES_BASE_URL: usually 7878, where the administration has 7979"
        return Check("http", WRONG, "what answers is the port of the administration", remedy)
    return None


_ANSWERED: Final = (200, 400, 401, 403)
"""What an authority says to a request for balances, whoever asks."""


def _status_of(config: Config, path: str) -> int | None:
    headers = {"X-Cycles-API-Key": config.api_key or ""}
    url, http = f"{config.base_url.rstrip('/')}{path}", module_of(config.http_engine)
    try:
        return int(http.get(url, params={"limit": 1}, headers=headers, timeout=config.read_timeout).status_code)
    except http.HTTPError:
        return None


def _no_authority(status: int | None, what: str) -> Check:
    remedy = "correct CYCLES_BASE_URL (a path too much or too little?), or look at the proxy in between"
    return Check("http", WRONG, f"what answers is no authority: status {status}, {what}", remedy)
