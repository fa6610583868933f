"""The keys that an authority signs evidence with: a file of them, rotation, and what of them is public.

A key file is a JSON Web Key Set with the private parts, and the name of the server. A key signs in its window; one
whose window has ended stays in the set, so that what it signed can still be checked. No error, log line or repr shows a
private part, nor does an exception hold one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from cycles._outside.extras import install
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MOST_BYTES: Final = 1024 * 1024
_PUBLIC: Final = ("kty", "crv", "alg", "kid", "x", "cycles_nbf_ms", "cycles_exp_ms")

Jwk = dict[str, Any]


class Signer(NamedTuple):
    """A key that may sign now.

    Attributes:
        did: How envelopes name it.
        key: What signs.
    """

    did: str
    key: Ed25519PrivateKey


class SigningKeys:
    """The keys of one server.

    Args:
        source: A key file, which is read again when it has changed; or the 32 bytes of one private key, which signs at
            any time.

    Raises:
        ConfigError: when it can't be used, or others can read the file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._path: Final = None if isinstance(source, bytes) else Path(source).expanduser()
        self._seen: tuple[int, int, int] | None = None
        self._set: Jwk = {}
        if isinstance(source, bytes):
            self._set = _alone(source)
        else:
            self._read()

    @property
    def server_id(self) -> str:
        """The name of the server."""
        name: str = self._set["server_id"]
        return name

    def signer(self, now_ms: int) -> Signer | None:
        """Return the key whose window covers *now_ms*; of several the one that began last, or None."""
        self._refresh()
        usable = [key for key in self._set["keys"] if "d" in key and _covers(key, now_ms)]
        if not usable:
            return None
        key = max(usable, key=lambda each: int(each["cycles_nbf_ms"]))
        digest = hashlib.sha256(self.server_id.encode()).hexdigest()
        return Signer(f"did:cycles:{digest}#{key['kid']}", _private(_decoded(key["d"])))

    def public(self) -> dict[str, Any]:
        """Return the key set for everybody."""
        self._refresh()
        return {"keys": [_published(key) for key in self._set["keys"]]}

    def _refresh(self) -> None:
        if self._path is not None:
            with suppress(OSError, ConfigError):  # what was read before is good until there is something better
                self._read()

    def _read(self) -> None:
        assert self._path is not None  # noqa: S101 - types: there is a file
        with _opened(self._path) as file:
            found = os.fstat(file.fileno())
            if os.name == "posix" and found.st_mode & 0o077:
                raise ConfigError(
                    f"{self._path}: others can read this key file (mode {found.st_mode & 0o777:04o}): "
                    "chmod 600 it, and make another key (`cycles local keygen --rotate`) if they may have done so"
                )
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return
            content = file.read(_MOST_BYTES)
        self._set, self._seen = _checked(self._path, content), seen

    def __reduce__(self) -> NoReturn:
        raise TypeError("signing keys can't be pickled or copied")

    def __repr__(self) -> str:
        return f"<SigningKeys of {self.server_id!r}: {', '.join(key['kid'] for key in self._set['keys'])}>"


# -- making them -------------------------------------------------------------------------------------------------------
def generate(path: Path, *, server_id: str | None, now_ms: int) -> Jwk:
    """Make a key file with one key, which is good from now on; return that key's public part.

    Raises:
        ConfigError: when there is a file already, or it can't be written.
    """
    key = _fresh(now_ms)
    named = server_id or f"urn:cycles:local:{secrets.token_hex(8)}"
    _write(path, {"server_id": named, "keys": [key]})
    return {"server_id": named, **_published(key)}


def rotate(path: Path, *, begins_ms: int, now_ms: int) -> Jwk:
    """Add a key to a file, which signs from *begins_ms* on, when the windows of the others end; return its public part.

    Private parts of keys whose windows had ended before are removed: they can sign nothing any more.

    Raises:
        ConfigError: when the file can't be read or written.
    """
    SigningKeys(path)  # which checks it
    with _opened(path) as file:
        found = _checked(path, file.read(_MOST_BYTES))
    for key in found["keys"]:
        ends_ms = key.get("cycles_exp_ms")
        if ends_ms is None or ends_ms > begins_ms:
            key["cycles_exp_ms"] = max(begins_ms, key["cycles_nbf_ms"])
        elif ends_ms <= now_ms:
            key.pop("d", None)
    key = _fresh(begins_ms)
    beside = path.with_name(f".{path.name}.new")
    _write(beside, {**found, "keys": [*found["keys"], key]})
    try:
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return {"server_id": found["server_id"], **_published(key)}


def _fresh(begins_ms: int) -> Jwk:
    return {**_jwk(os.urandom(32), begins_ms), "cycles_exp_ms": None}


def _write(path: Path, content: Jwk) -> None:
    """Write a new file that nobody else can read; two that make it at once do not mix."""
    descriptor, trouble = -1, None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        trouble = "there is a file already; --rotate adds a key to a key file"
    except OSError as error:
        trouble = error.strerror
    if trouble is not None:
        raise ConfigError(f"{path}: {trouble}")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


# -- keys --------------------------------------------------------------------------------------------------------------
def _alone(seed: bytes) -> Jwk:
    if len(seed) != 32:
        raise ConfigError(f"signing_key: {len(seed)} bytes; an Ed25519 key has 32, or give the path of a key file")
    key = {**_jwk(seed, 0), "cycles_exp_ms": None}
    return {"server_id": f"urn:cycles:local:{key['kid']}", "keys": [key]}


def _jwk(seed: bytes, begins_ms: int) -> Jwk:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - an extra

    public = _private(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "kid": hashlib.sha256(public).hexdigest()[:16],
        "x": _encoded(public),
        "d": _encoded(seed),
        "cycles_nbf_ms": begins_ms,
    }


def _private(seed: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra

    return Ed25519PrivateKey.from_private_bytes(seed)


def _published(key: Jwk) -> Jwk:
    return {name: key[name] for name in _PUBLIC if key.get(name) is not None}


def _covers(key: Jwk, now_ms: int) -> bool:
    ends_ms = key.get("cycles_exp_ms")
    return bool(key["cycles_nbf_ms"] <= now_ms and (ends_ms is None or now_ms < ends_ms))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- reading them ------------------------------------------------------------------------------------------------------
def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; `cycles local keygen` makes a key file") from None


def _checked(path: Path, content: bytes) -> Jwk:
    """Return the key set in a file's *content*. What goes wrong names no content, and has none of it around."""
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
    trouble = _trouble(found)
    if trouble is not None:
        raise ConfigError(f"{path}: no key file: {trouble}; `cycles local keygen` makes one")
    key_set: Jwk = found
    return key_set


def _trouble(found: Any) -> str | None:
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not isinstance(found.get("server_id"), str):
        return "it must be a JSON object with a server_id and keys"
    for key in keys:
        if (
            not isinstance(key, dict)
            or not isinstance(key.get("kid"), str)
            or type(key.get("cycles_nbf_ms")) is not int
        ):
            return "each of its keys must have a kid and a cycles_nbf_ms"
        if type(key.get("cycles_exp_ms")) not in (int, type(None)):
            return f"the cycles_exp_ms of key {key['kid']} is no whole number"
        if not _fits(key):
            return f"key {key['kid']} is no Ed25519 key, or its two parts do not belong together"
    if not any("d" in key for key in keys):
        return "none of its keys has a private part"
    return None


def _fits(key: Jwk) -> bool:
    if (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519") or not isinstance(key.get("x"), str):
        return False
    if "d" not in key:
        return True
    with suppress(ValueError, TypeError):
        return bool(_jwk(_decoded(key["d"]), 0)["x"] == key["x"])
    return False


def need_extra() -> None:
    """Raise ConfigError when what signing needs is not installed."""
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra, which may be missing
        import rfc8785  # noqa: F401, PLC0415
    except ModuleNotFoundError as missing:
        if missing.name not in ("cryptography", "rfc8785"):
            raise
        raise ConfigError(f"signing needs an extra: {install('evidence')}") from None


def hex_of(jwk: Jwk) -> str:
    """Return the public key in 64 hex digits, as a verifier may pin it."""
    return _decoded(jwk["x"]).hex()
