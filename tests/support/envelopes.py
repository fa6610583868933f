"""Envelopes and key sets, made by another hand than the one that signs in this package."""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key().public_bytes_raw()
SERVER = "urn:the-server"
NOW = 1_800_000_000_000
WINDOW = 1_000_000


def did_of(server=SERVER, kid="k1"):
    return f"did:cycles:{hashlib.sha256(server.encode()).hexdigest()}#{kid}"


def plain(value):
    """Canonical JSON of values that need none of its subtleties."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sealed(key=KEY, **changed):
    """An envelope that *key* signed, as an authority other than ours would make it."""
    made = {
        "schema_version": "cycles-evidence/v0.1",
        "artifact_type": "commit",
        "server_id": SERVER,
        "signer_did": did_of(),
        "issued_at_ms": NOW,
        "trace_id": "0" * 32,
        "payload": {"commit": {"status": "COMMITTED", "charged": {"unit": "TOKENS", "amount": 7}, "note": "né"}},
        "evidence_id": "",
        "signature": "",
        **changed,
    }
    made["evidence_id"] = hashlib.sha256(plain(made)).hexdigest()
    made["signature"] = key.sign(plain(made)).hex()
    return made


def jwk(public=PUBLIC, **changed):
    x = base64.urlsafe_b64encode(public).decode().rstrip("=")
    window = {"cycles_nbf_ms": NOW - WINDOW, "cycles_exp_ms": NOW + WINDOW}
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x, "kid": "k1", **window, **changed}


def keys(*found):
    return {"keys": list(found or (jwk(),))}


DID = sealed()
"""Its signer is named by a DID, whose key is in a key set."""

RAW = sealed(signer_did=PUBLIC.hex())
"""Its signer is named by the key itself."""
