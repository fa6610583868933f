"""Which URLs an HTTP engine can send to: what it would complain of at the first request is found out before."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from cycles._drivers.libraries import module_of

_NAME: Final = re.compile(r"[A-Za-z0-9_~-]{1,63}(\.[A-Za-z0-9_~-]{1,63})*\.?")
_LONGEST: Final = 253
"""Characters of a host's name, in DNS."""


def refusal_of(url: str, engine: str = "httpx") -> str | None:
    """Return what is allowed instead of an http(s) *url* that no request can be sent to; None when it is good.

    The parser of the *engine*, httpx's or httpx2's, has the first word: it knows IDNA, and addresses. What it lets
    through fails later, in the resolver or in a codec, and would look like an authority that can't be reached.
    """
    host, http = "", module_of(engine)
    try:
        parsed = http.URL(url)
        host = parsed.raw_host.decode("ascii")
        parsed.host  # noqa: B018 - reading it decodes IDNA
        is_name = _is_address(host) or _is_name(host)
    except (http.InvalidURL, UnicodeError, ValueError):
        is_name = False
    if not is_name:
        return "a URL with a host that has a name or an address, such as cycles.example, 192.0.2.1 or [2001:db8::1]"
    if "%25" in host:
        return "the zone of an IPv6 address as in http://[fe80::1%eth0]: it is not escaped"
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    if _NAME.fullmatch(host) is None or len(host) > _LONGEST:
        return False
    host.encode("idna")  # as the resolver does
    if host.rstrip(".").rpartition(".")[2].isdigit():  # no name, so an address, however it is abbreviated
        try:
            socket.inet_aton(host)
        except OSError:
            return False
    return True
