"""Verification, offline: one of five outcomes for whatever is given, by the key, its window, and who signed."""

from __future__ import annotations

import json
import re

import pytest

from cycles import evidence
from cycles._outside.extras import install
from cycles.errors import ConfigError, InvalidRequest
from cycles.evidence import KeySet, Outcome, verify
from tests.support.envelopes import DID, KEY, NOW, OTHER, PUBLIC, RAW, SERVER, did_of, jwk, keys, sealed


# -- the five outcomes -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("envelope", "known", "outcome"),
    [
        (DID, keys(), Outcome.AUTHENTIC),
        (RAW, keys(), Outcome.AUTHENTIC),
        (DID, PUBLIC.hex(), Outcome.AUTHENTIC),
        (RAW, PUBLIC, Outcome.AUTHENTIC),
        (RAW, None, Outcome.BINDING_ONLY),
        (DID, None, Outcome.SIGNER_RESOLUTION_FAILED),
        (DID, keys(jwk(kid="k2")), Outcome.SIGNER_AUTHORITY_FAILED),
        (DID, {"keys": []}, Outcome.SIGNER_AUTHORITY_FAILED),
        (RAW, keys(jwk(OTHER.public_key().public_bytes_raw())), Outcome.SIGNER_AUTHORITY_FAILED),
        (RAW, OTHER.public_key().public_bytes_raw(), Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(signer_did=did_of("urn:another")), keys(), Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(signer_did=did_of("urn:another")), None, Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(OTHER), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(OTHER, signer_did=PUBLIC.hex()), None, Outcome.SIGNATURE_INVALID),
        (DID, OTHER.public_key().public_bytes_raw(), Outcome.SIGNATURE_INVALID),
        (sealed(signer_did="did:web:example.org"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(signer_did=PUBLIC.hex().upper()), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(schema_version="cycles-evidence/v0.2"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type="reserve"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(payload={"commit": {}, "reserve": {}}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type="event", payload={"event": {}}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type=["commit"]), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type={}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(issued_at_ms=str(NOW)), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(trace_id=7), keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"evidence_id": DID["evidence_id"].upper()}, keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"signature": DID["signature"].upper()}, keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"added": 1}, keys(), Outcome.SIGNATURE_INVALID),
        ({name: value for name, value in DID.items() if name != "signature"}, keys(), Outcome.SIGNATURE_INVALID),
        (sealed(added={"by": "a newer server"}), keys(), Outcome.AUTHENTIC),
        (sealed(payload={"commit": {"x": 1.5e-7}}), keys(), Outcome.SIGNATURE_INVALID),  # `plain` writes 1.5e-07
    ],
)
def test_outcomes(envelope, known, outcome):
    for form in (envelope, json.dumps(envelope), json.dumps(envelope, indent=3, ensure_ascii=False).encode()):
        found = verify(form, known)
        assert found.outcome is outcome, found
        assert bool(found) is (found.outcome is Outcome.AUTHENTIC)
        assert found.reason


def test_an_envelope_shows_what_it_says():
    found = verify(DID, keys())
    assert (found.evidence_id, found.artifact_type) == (DID["evidence_id"], "commit")
    assert (found.server_id, found.signer_did) == (SERVER, did_of())
    assert found.issued_at.timestamp() * 1000 == NOW
    assert found.content["status"] == "COMMITTED"
    assert repr(found) == "<Verification authentic: signed by a key of the server>"
    nothing = verify("[]", keys())
    assert (nothing.evidence_id, nothing.issued_at, nothing.content, nothing.envelope) == (None, None, {}, {})
    assert verify({"issued_at_ms": 1e300}, keys()).issued_at is None


def test_the_server_may_be_named():
    assert verify(DID, keys(), server_id=SERVER)
    for known in (keys(), PUBLIC, None):
        found = verify(DID, known, server_id="urn:another")
        assert found.outcome is Outcome.SIGNER_AUTHORITY_FAILED


def test_without_a_key_set_what_is_broken_is_broken_all_the_same():
    for envelope, outcome in (
        (DID, Outcome.SIGNER_RESOLUTION_FAILED),
        (RAW, Outcome.SIGNER_RESOLUTION_FAILED),
        (DID | {"issued_at_ms": 1}, Outcome.SIGNATURE_INVALID),
        (sealed(signer_did=did_of("urn:another")), Outcome.SIGNER_AUTHORITY_FAILED),
    ):
        assert evidence.unresolved(envelope, "nobody answers").outcome is outcome


# -- windows -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("envelope", [DID, RAW])
@pytest.mark.parametrize(
    ("window", "good"),
    [
        ((NOW, NOW + 1), True),
        ((NOW, None), True),
        ((NOW + 1, None), False),
        ((0, NOW), False),
        ((NOW, NOW), False),
        ((NOW + 1, NOW - 1), False),
    ],
)
def test_a_key_is_good_in_its_window(envelope, window, good):
    begins, ends = window
    for known in (
        jwk(cycles_nbf_ms=begins, cycles_exp_ms=ends),
        jwk(cycles_nbf_ms=begins, cycles_exp_ms=ends, status="retired"),
    ):
        expected = Outcome.AUTHENTIC if good else Outcome.SIGNER_AUTHORITY_FAILED
        assert verify(envelope, keys(known)).outcome is expected
    if ends is None:
        known = jwk(cycles_nbf_ms=begins)
        del known["cycles_exp_ms"]
        assert bool(verify(envelope, keys(known))) is good


def test_after_a_rotation_each_key_is_good_for_its_own():
    old, new = KEY, OTHER
    known = keys(
        jwk(cycles_nbf_ms=0, cycles_exp_ms=NOW),
        jwk(new.public_key().public_bytes_raw(), kid="k2", cycles_nbf_ms=NOW, cycles_exp_ms=None),
    )
    assert verify(sealed(old, issued_at_ms=NOW - 1), known)
    assert verify(sealed(new, signer_did=did_of(kid="k2")), known)
    assert verify(sealed(old), known).outcome is Outcome.SIGNER_AUTHORITY_FAILED
    early = sealed(new, signer_did=did_of(kid="k2"), issued_at_ms=NOW - 1)
    assert verify(early, known).outcome is Outcome.SIGNER_AUTHORITY_FAILED


def test_one_name_for_two_keys_means_the_one_whose_window_it_is():
    new = OTHER.public_key().public_bytes_raw()
    known = keys(jwk(cycles_nbf_ms=0, cycles_exp_ms=NOW + 1), jwk(new, cycles_nbf_ms=NOW + 1, cycles_exp_ms=None))
    assert verify(DID, known)
    assert verify(sealed(OTHER), known).outcome is Outcome.SIGNATURE_INVALID
    assert verify(sealed(OTHER, issued_at_ms=NOW + 1), known)


# -- keys --------------------------------------------------------------------------------------------------------------
def test_foreign_and_odd_keys_are_skipped():
    odd = [
        "no object",
        jwk(kty="EC"),
        jwk(crv="X25519"),
        jwk(alg="ES256"),
        jwk(kid=7),
        jwk(x=7),
        jwk(x="é" * 43),
        jwk(x=jwk()["x"] + "="),
        jwk(x=jwk()["x"][:-1]),
        jwk(x="!" * 43),
        jwk(cycles_nbf_ms=1.5),
        jwk(cycles_nbf_ms=True),
        jwk(cycles_exp_ms="later"),
    ]
    assert KeySet.of(keys(*odd)).keys == ()
    found = KeySet.of(keys(*odd, {name: value for name, value in jwk().items() if name != "alg"}))
    assert [key.kid for key in found.keys] == ["k1"]
    assert verify(DID, found)


def test_keys_come_in_several_forms(tmp_path):
    file, pinned = tmp_path / "keys.json", tmp_path / "pinned"
    file.write_text(json.dumps(keys()))
    pinned.write_text(PUBLIC.hex() + "\n")
    for known in (
        file,
        str(file),
        pinned,
        KeySet.load(file),
        KeySet.of(json.dumps(keys())),
        KeySet.pinned(PUBLIC.hex()),
    ):
        assert verify(DID, known), known
    assert repr(KeySet.of(keys())) == "<KeySet k1>"
    assert repr(KeySet.pinned(PUBLIC)) == "<KeySet pinned>"
    assert repr(KeySet(())) == "<KeySet of no key>"


@pytest.mark.parametrize(
    ("known", "kind", "said"),
    [
        ("nowhere.json", ConfigError, "No such file"),
        (b"short", InvalidRequest, "32 bytes"),
        ({"keys": "k"}, InvalidRequest, "no key set"),
        ("https://authority.example/v1/.well-known/cycles-jwks.json", InvalidRequest, "verify sends nothing"),
        (7, InvalidRequest, "keys=int"),
    ],
)
def test_what_is_no_key(known, kind, said):
    with pytest.raises(kind, match=said):
        verify(DID, known)


def test_other_things_that_are_no_keys(tmp_path):
    for key, said in (("AB" * 32, "64 lower-case"), (7, "32 bytes")):
        with pytest.raises(InvalidRequest, match=said):
            KeySet.pinned(key)
    for text in ("[]", "{", "7"):
        with pytest.raises(InvalidRequest, match="key set"):
            KeySet.of(text)
    (tmp_path / "keys").write_text("[]")
    with pytest.raises(ConfigError, match="keys: it is no key set"):
        KeySet.load(tmp_path / "keys")


@pytest.mark.parametrize("missing", ["rfc8785", "cryptography"])
def test_without_the_extra_it_says_so(monkeypatch, missing):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ConfigError, match=re.escape(install("evidence"))):
        verify(DID, keys())
