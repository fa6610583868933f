"""What the environment says about proxies and certificates: httpx reads it; here is which variable can't work."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import ssl
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._drivers.libraries import trouble_of
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C")

_PASSING: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR))
"""What the system lacks at the moment: no setting is wrong."""

_IN_CERT_DIR: Final = re.compile(r"[0-9a-f]{8}\.\d+")
"""How OpenSSL looks for a certificate in a folder."""

_INSTEAD: Final = "correct or unset it, or give the client an http_client of its own"


def opened(http: Any, make: Callable[..., C], **options: Any) -> C:
    """Return the client that *make* makes with these *options*, of the library *http* (httpx or httpx2).

    Raises:
        ConfigError: when the environment's proxies or certificates can't be used; it names the variable.
        httpx.ConnectError: when the system lacks something at the moment; the library's own.
    """
    try:
        client = make(**options)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise http.ConnectError(f"no connection can be opened now: {error.strerror}") from None
        if not isinstance(error, OSError | ValueError | ImportError) and trouble_of(error) is None:
            raise
        raise ConfigError(_fault(http, error)) from None
    if http.URL(options.get("base_url", "")).scheme == "https" and not os.environ.get("SSL_CERT_FILE"):
        _must_have_certificates(os.environ.get("SSL_CERT_DIR"))
        _system_must_have_certificates(http, getattr(client, "tls", None))
    return client


def _must_have_certificates(folders: str | None) -> None:
    """Refuse a folder in which OpenSSL finds no certificate: every server would be refused."""
    for folder in folders.split(os.pathsep) if folders else ():
        try:
            if any(_IN_CERT_DIR.fullmatch(found.name) for found in Path(folder).iterdir()):
                return
        except OSError:
            continue
    if folders:
        raise ConfigError(
            f"SSL_CERT_DIR={folders!r}: there is no certificate in it that OpenSSL finds (`openssl rehash` gives them "
            f"the names it looks for); {_INSTEAD}"
        )


def _system_must_have_certificates(http: Any, tls: object) -> None:
    """Refuse a system without certificates where those are what counts, as for httpx2: every server would be refused.

    Certificates in a folder are loaded when they are needed; macOS and Windows have theirs elsewhere.
    """
    if http.__name__ != "httpx2" or os.environ.get("SSL_CERT_DIR") or type(tls) is not ssl.SSLContext:
        return
    if tls.verify_mode == ssl.CERT_NONE or tls.cert_store_stats()["x509_ca"]:
        return
    with contextlib.suppress(OSError):
        folder = Path(ssl.get_default_verify_paths().openssl_capath)
        if any(_IN_CERT_DIR.fullmatch(found.name) for found in folder.iterdir()):
            return
    raise ConfigError(
        "http_engine='httpx2' trusts the certificates of this system, and it has none: install them "
        "(ca-certificates), name a file in SSL_CERT_FILE, or give the client an http_client of its own"
    )


def _fault(http: Any, error: Exception) -> str:
    """Return which variable made httpx raise *error*, and what to do about it; no message shows a password."""
    found = _certificates_fault(http) or _proxies_fault(http) or _no_proxy_fault(http)
    return found or f"no connection can be made: {error}"


def _certificates_fault(http: Any) -> str | None:
    try:
        http.create_ssl_context()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        return None
    named = os.environ.get("SSL_CERT_FILE")
    if named:
        try:
            ssl.create_default_context().load_verify_locations(cafile=named)
        except (OSError, ValueError):
            return f"SSL_CERT_FILE={named!r}: its certificates can't be read ({reason}); {_INSTEAD}"
    log = os.environ.get("SSLKEYLOGFILE")
    if log:
        return f"SSLKEYLOGFILE={log!r}: can't be written ({reason}); {_INSTEAD}"
    return None


def _proxies_fault(http: Any) -> str | None:
    for scheme, address in urllib.request.getproxies().items():
        if scheme not in ("http", "https", "all") or not address:
            continue
        try:
            http.HTTPTransport(proxy=address if "://" in address else f"http://{address}", verify=_bare()).close()
        except ImportError:
            reason = f"a SOCKS proxy needs the package socksio (pip install '{http.__name__}[socks]')"
        except (ValueError, http.InvalidURL):
            reason = "give the URL of a proxy: http://, https://, socks5:// or socks5h://, a host and a port"
        else:
            continue
        shown = "" if "@" in address or "?" in address else f"={address[:200]!r}"
        return f"{_variable(scheme)}{shown}: {reason}; {_INSTEAD}"
    return None


def _bare() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _variable(scheme: str) -> str:
    name = f"{scheme}_proxy"
    found = (name, name.upper(), *(there for there in os.environ if there.lower() == name))
    return next((there for there in found if os.environ.get(there)), f"the system's proxy for {scheme}")


def _no_proxy_fault(http: Any) -> str | None:
    """Return the fault of NO_PROXY: what is left when each proxy by itself is good."""
    excepted = urllib.request.getproxies().get("no")
    if not excepted:
        return None
    return (
        f"{_variable('no')}={excepted[:200]!r}: {http.__name__} can't read it; give names and addresses with commas "
        f"between, IPv6 addresses without brackets; {_INSTEAD}"
    )
