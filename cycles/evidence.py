"""Offline verification of evidence: what an authority signed, and whether it was that authority (docs/evidence.md).

Nothing here sends anything; `client.evidence` fetches what is to be verified, and the keys. It needs the extra
`evidence` (rfc8785, cryptography).

Example:
    ```python
    from cycles import evidence

    found = evidence.verify({"evidence_id": "none"}, evidence.KeySet(()))
    if not found:
        print(found.outcome, found.reason)
    ```
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from cycles._outside.extras import install
from cycles.errors import ConfigError, InvalidRequest

__all__ = ["Key", "KeySet", "Keys", "Outcome", "Verification", "verify"]

SCHEMA_VERSION: Final = "cycles-evidence/v0.1"

_ARTIFACTS: Final = frozenset({"decide", "reserve", "commit", "release", "error"})
_ID: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_DID: Final = re.compile(r"did:cycles:([0-9a-f]{64})#(.+)", re.DOTALL)
_EXACT: Final = 2**53
"""Whole numbers below it are exact in canonical JSON."""

_MOST_BYTES: Final = 16 * 1024 * 1024


class Outcome(StrEnum):
    """The result of a verification."""

    AUTHENTIC = "authentic"  # the id and the signature fit, and the key is the server's, in its window
    BINDING_ONLY = "binding_only"  # the id and the signature fit, and no keys were given that say whose the key is
    SIGNER_AUTHORITY_FAILED = "signer_authority_failed"  # the key is not the server's, or not in its window
    SIGNER_RESOLUTION_FAILED = "signer_resolution_failed"  # no key set was available
    SIGNATURE_INVALID = "signature_invalid"  # it was changed, or is no envelope


class Verification:
    """The result of verifying one envelope. It is true if and only if the envelope is authentic.

    Attributes:
        outcome: One of five; see `Outcome`.
        reason: Why, in words.
        envelope: What was verified, as it was read; {} when it could not be read. Unless the outcome is AUTHENTIC,
            anybody may have written it.
    """

    __slots__ = ("envelope", "outcome", "reason")

    def __init__(self, outcome: Outcome, reason: str, envelope: dict[str, Any]) -> None:
        self.outcome: Final = outcome
        self.reason: Final = reason
        self.envelope: Final = envelope

    def __bool__(self) -> bool:
        return self.outcome is Outcome.AUTHENTIC

    @property
    def evidence_id(self) -> str | None:
        """The envelope's id, or None when it has none."""
        return self._text("evidence_id")

    @property
    def artifact_type(self) -> str | None:
        """What was signed: "decide", "reserve", "commit", "release" or "error"."""
        return self._text("artifact_type")

    @property
    def server_id(self) -> str | None:
        """The name of the server, as it says."""
        return self._text("server_id")

    @property
    def signer_did(self) -> str | None:
        """The key, as the envelope names it."""
        return self._text("signer_did")

    @property
    def issued_at(self) -> datetime | None:
        """When it was signed, by the authority's clock (UTC)."""
        issued_at_ms = self.envelope.get("issued_at_ms")
        if not isinstance(issued_at_ms, int | float):
            return None
        try:
            return datetime.fromtimestamp(issued_at_ms / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def content(self) -> dict[str, Any]:
        """The answer that was signed: the payload's one member."""
        payload = self.envelope.get("payload")
        found = payload.get(self.artifact_type) if isinstance(payload, dict) else None
        return found if isinstance(found, dict) else {}

    def _text(self, name: str) -> str | None:
        found = self.envelope.get(name)
        return found if isinstance(found, str) else None

    def __repr__(self) -> str:
        return f"<Verification {self.outcome}: {self.reason}>"


# -- keys --------------------------------------------------------------------------------------------------------------
class Key(NamedTuple):
    """A public key.

    Attributes:
        kid: Its name in the set; None for a pinned key.
        public: Its 32 bytes.
        begins_ms, ends_ms: It is good for what was signed from the one on, until before the other (None: no end).
    """

    kid: str | None
    public: bytes
    begins_ms: int = 0
    ends_ms: int | None = None

    def covers(self, issued_at_ms: int) -> bool:
        """Whether it is good for what was signed then."""
        return self.begins_ms <= issued_at_ms and (self.ends_ms is None or issued_at_ms < self.ends_ms)


class KeySet:
    """The public keys of a server, or one key that is pinned.

    Args:
        keys: The keys.
        is_pinned: Whether the caller vouches for the key itself, whatever name an envelope gives it, and at any time.
    """

    __slots__ = ("is_pinned", "keys")

    def __init__(self, keys: tuple[Key, ...], *, is_pinned: bool = False) -> None:
        self.keys: Final = keys
        self.is_pinned: Final = is_pinned

    @classmethod
    def pinned(cls, key: str | bytes) -> KeySet:
        """Return the set of one key that the caller knows to be the server's: 64 hex digits, or 32 bytes.

        Raises:
            InvalidRequest: when it is neither.
        """
        if isinstance(key, str):
            if not _ID.fullmatch(key):
                raise InvalidRequest("a pinned key has 64 lower-case hex digits")
            key = bytes.fromhex(key)
        if not isinstance(key, bytes) or len(key) != 32:
            raise InvalidRequest("a pinned key has 32 bytes, or 64 lower-case hex digits")
        return cls((Key(None, key),), is_pinned=True)

    @classmethod
    def of(cls, found: Mapping[str, Any] | bytes | str) -> KeySet:
        """Return the keys of a JSON Web Key Set, decoded or as JSON. What is no Ed25519 key is skipped.

        Raises:
            InvalidRequest: when it is no key set.
        """
        if not isinstance(found, Mapping):
            try:
                found = json.loads(found)
            except (ValueError, RecursionError):
                raise InvalidRequest("it is no JSON, and so no key set") from None
        keys = found.get("keys") if isinstance(found, Mapping) else None
        if not isinstance(keys, list):
            raise InvalidRequest('it is no key set: a key set is a JSON object with a list of "keys"')
        return cls(tuple(key for key in map(_key_of, keys) if key is not None))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeySet:
        """Return the keys in a file: a JSON Web Key Set, or one key in 64 hex digits, which is pinned.

        Raises:
            ConfigError: when it can't be read, or has no keys.
        """
        try:
            with Path(path).open("rb") as file:
                content = file.read(_MOST_BYTES)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        text = content.strip()
        try:
            return cls.pinned(text.decode()) if _ID.fullmatch(text.decode("latin-1")) else cls.of(content)
        except InvalidRequest as error:
            raise ConfigError(f"{path}: {error.message}") from None

    def __repr__(self) -> str:
        names = ", ".join("pinned" if key.kid is None else key.kid for key in self.keys)
        return f"<KeySet {names or 'of no key'}>"


Keys: TypeAlias = "KeySet | Mapping[str, Any] | str | bytes | os.PathLike[str]"
"""A KeySet; a decoded key set; a pinned key (64 hex digits, or 32 bytes); or a file's path."""


def key_set(keys: Keys) -> KeySet:
    """Return the set that *keys* stands for.

    Raises:
        InvalidRequest, ConfigError: when it can't be one.
    """
    if isinstance(keys, KeySet):
        return keys
    if isinstance(keys, Mapping):
        return KeySet.of(keys)
    if isinstance(keys, bytes):
        return KeySet.pinned(keys)
    if isinstance(keys, str) and _ID.fullmatch(keys):
        return KeySet.pinned(keys)
    if isinstance(keys, str) and keys.startswith(("http://", "https://")):
        raise InvalidRequest("verify sends nothing: client.evidence(envelope, keys=URL) fetches a key set")
    if isinstance(keys, str | os.PathLike):
        return KeySet.load(keys)
    raise InvalidRequest(f"keys={type(keys).__name__}: give a KeySet, a key set, a pinned key or the path of a file")


def _key_of(jwk: object) -> Key | None:
    """Return the key in *jwk*; None for one of another kind, or one that is not written as it must be."""
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        return None
    kid, begins, ends = jwk.get("kid"), jwk.get("cycles_nbf_ms"), jwk.get("cycles_exp_ms")
    public = _public(jwk.get("x"))
    if jwk.get("alg", "EdDSA") != "EdDSA" or not isinstance(kid, str) or public is None:
        return None
    if type(begins) is not int or type(ends) not in (int, type(None)):
        return None
    return Key(kid, public, begins, ends)


def _public(text: object) -> bytes | None:
    """Return the 32 bytes that *text* says, if it says them in the one way there is: unpadded base64url."""
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return raw if len(raw) == 32 and base64.urlsafe_b64encode(raw).decode().rstrip("=") == text else None


# -- verification ------------------------------------------------------------------------------------------------------
class _InvalidError(Exception):
    """This is no envelope, or one that was changed; the text says why."""


def verify(
    envelope: Mapping[str, Any] | bytes | str,
    keys: Keys | None = None,
    *,
    server_id: str | None = None,
) -> Verification:
    """Verify an envelope, offline.

    Args:
        envelope: As JSON (the bytes of the answer are best), or decoded.
        keys: The server's keys; see `Keys`. Without them, only whether the signature fits can be checked.
        server_id: The server that must have signed it; None: any whose keys these are.

    Returns:
        One of five outcomes, and why. No content of an envelope makes this raise.

    Raises:
        InvalidRequest, ConfigError: *keys* are no keys, or the extra is missing.
    """
    need_extra()
    known = None if keys is None else key_set(keys)
    found: dict[str, Any] = {}
    try:
        found = _read(envelope)
        signed = _bound(found)
        return _judged(found, signed, known, server_id)
    except _InvalidError as invalid:
        return Verification(Outcome.SIGNATURE_INVALID, str(invalid), found)


def unresolved(envelope: Mapping[str, Any] | bytes | str, reason: str, *, server_id: str | None = None) -> Verification:
    """Return what can be said of an envelope without a key set, which is missing for this *reason*."""
    found = verify(envelope, None, server_id=server_id)
    if found.outcome in (Outcome.BINDING_ONLY, Outcome.SIGNER_RESOLUTION_FAILED):
        return Verification(Outcome.SIGNER_RESOLUTION_FAILED, reason, found.envelope)
    return found


def _judged(envelope: dict[str, Any], signed: bytes, known: KeySet | None, server_id: str | None) -> Verification:
    """Return what the signature over *signed* is worth; the id fits."""
    did, signature = envelope["signer_did"], bytes.fromhex(envelope["signature"])
    match = _DID.fullmatch(did)
    own = bytes.fromhex(did) if _ID.fullmatch(did) else None
    if own is None and match is None:
        raise _InvalidError("signer_did is neither 64 hex digits nor did:cycles:…#kid")
    if own is not None and not _signs(own, signature, signed):
        raise _InvalidError("the signature is not of the key that the envelope names")
    outcome, reason = Outcome.SIGNER_AUTHORITY_FAILED, None
    if server_id is not None and envelope["server_id"] != server_id:
        reason = f"it is of the server {envelope['server_id']!r}"
    elif match is not None and match[1] != hashlib.sha256(envelope["server_id"].encode()).hexdigest():
        reason = "signer_did names a key of another server than server_id"
    elif known is None and own is None:
        outcome, reason = Outcome.SIGNER_RESOLUTION_FAILED, "there is no key set to find the signer's key in"
    elif known is None:
        outcome = Outcome.BINDING_ONLY
        reason = "the signature fits the key that it names, and whose that is was not checked"
    else:
        good, reason = _candidates(known, own, match, int(envelope["issued_at_ms"]))
        if good and not any(_signs(key.public, signature, signed) for key in good):
            raise _InvalidError("the signature is not of the server's key")
    if reason is None:
        outcome = Outcome.AUTHENTIC
        reason = "signed by the pinned key" if known and known.is_pinned else "signed by a key of the server"
    return Verification(outcome, reason, envelope)


def _candidates(
    known: KeySet, own: bytes | None, match: re.Match[str] | None, issued_at_ms: int
) -> tuple[list[Key], str | None]:
    """Return the keys that may have signed then, or why there is none."""
    named = [key for key in known.keys if (own == key.public if own is not None else _named(key, known, match))]
    if not named:
        return [], "the signer's key is not among the server's keys"
    good = [key for key in named if known.is_pinned or key.covers(issued_at_ms)]
    return good, None if good else "it was signed outside the window of its key"


def _named(key: Key, known: KeySet, match: re.Match[str] | None) -> bool:
    return known.is_pinned or (match is not None and key.kid == match[2])


def _signs(public: bytes, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):  # no point of the curve
        return False
    return True


def _bound(envelope: dict[str, Any]) -> bytes:
    """Return the bytes that are signed, of an envelope whose fields are as they must be and whose id fits."""
    for name, kind in (("server_id", str), ("signer_did", str), ("issued_at_ms", int), ("payload", dict)):
        found = envelope.get(name)
        is_whole = kind is int and isinstance(found, float) and found.is_integer()  # 1e12 is a whole number in JSON
        if type(found) is not kind and not is_whole:
            raise _InvalidError(f"its {name} is missing, or of the wrong kind")
    if envelope.get("schema_version") != SCHEMA_VERSION:
        raise _InvalidError(f"its schema_version is not {SCHEMA_VERSION}")
    artifact = envelope.get("artifact_type")
    if not isinstance(artifact, str) or artifact not in _ARTIFACTS or list(envelope["payload"]) != [artifact]:
        raise _InvalidError("its payload is not what its artifact_type says")
    if type(envelope.get("trace_id", "")) is not str:
        raise _InvalidError("its trace_id is no text")
    evidence_id, signature = envelope.get("evidence_id"), envelope.get("signature")
    if not isinstance(evidence_id, str) or not _ID.fullmatch(evidence_id):
        raise _InvalidError("its evidence_id is not 64 lower-case hex digits")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise _InvalidError("its signature is not 128 lower-case hex digits")
    if hashlib.sha256(_canonical({**envelope, "evidence_id": "", "signature": ""})).hexdigest() != evidence_id:
        raise _InvalidError("its evidence_id is not the hash of its content")
    return _canonical({**envelope, "signature": ""})


def _canonical(value: dict[str, Any]) -> bytes:
    import rfc8785  # noqa: PLC0415 - an extra

    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:  # its own errors, and those of names that UTF-8 can't carry
        raise _InvalidError(f"it has no canonical form: {error}") from None


# -- reading -----------------------------------------------------------------------------------------------------------
def _read(envelope: Mapping[str, Any] | bytes | str) -> dict[str, Any]:
    """Return an envelope as JSON means it, exactly: what two readers could read as two things is refused."""
    try:
        text = json.dumps(envelope, allow_nan=False) if isinstance(envelope, Mapping) else envelope
        found = json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_constant=_no_number, parse_float=_fraction
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise _InvalidError(f"it can't be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise _InvalidError("it is no JSON object")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _whole(text: str) -> int | float:
    """Return a whole number; from 2**53 on as JSON's readers in other languages have it, if that loses nothing."""
    number = int(text)
    if abs(number) < _EXACT:
        return number
    try:
        wide = float(number)
    except OverflowError:
        raise ValueError("a number is too large") from None
    if number not in (int(wide), int(Decimal(repr(wide)))):  # nor as canonical JSON writes it
        raise ValueError("a whole number has more digits than canonical JSON can tell apart")
    return wide


def _fraction(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


def need_extra() -> None:
    """Raise ConfigError when what verification needs is not installed."""
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra, which may be missing
        import rfc8785  # noqa: F401, PLC0415
    except ModuleNotFoundError as missing:
        if missing.name not in ("cryptography", "rfc8785"):
            raise
        raise ConfigError(f"verification needs an extra: {install('evidence')}") from None
