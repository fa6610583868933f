"""The authority signs its answers: what is signed, what is kept of it, and where keys may not show up."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import traceback

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.wire import signing_keys
from cycles.local.wire.signing_keys import SigningKeys
from tests.support.authorities import ADMIN_KEY, SCOPE, Clock
from tests.support.wire import Wire, failed

SEED = bytes(range(32))


@pytest.fixture
def authority(clock):
    with LocalAuthority(clock=clock, admin_key=ADMIN_KEY, signing_key=SEED) as made:
        made.budget(SCOPE, tokens(1000))
        yield made


def reference(response):
    return response.json()["cycles_evidence"]


def envelope_of(wire, found):
    with httpx.Client(transport=wire.authority.transport(), base_url="http://test") as http:  # without a key
        return http.get(found["cycles_evidence_url"]).json()


def fits(envelope, public):
    """Whether id and signature fit, by another canonical form than the authority's: these envelopes are plain."""

    def canonical(**blank):
        return json.dumps(envelope | blank, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(envelope["signature"]), canonical(signature=""))
    return envelope["evidence_id"] == hashlib.sha256(canonical(evidence_id="", signature="")).hexdigest()


# -- what is signed ----------------------------------------------------------------------------------------------------
def test_each_kind_of_answer_is_signed(wire, clock):
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    kid = hashlib.sha256(public).hexdigest()[:16]
    held = wire.reserve(40, metadata={"prompt": "not for everybody"})
    answers = {
        "decide": wire.decide(5000),
        "reserve": held,
        "commit": wire.commit(held, 30),
        "release": wire.release(wire.reserve(1)),
        "error": wire.reserve(5000),
    }
    for artifact, response in answers.items():
        found = reference(response)
        envelope = envelope_of(wire, found)
        assert found["cycles_evidence_url"] == f"http://test/v1/evidence/{envelope['evidence_id']}"
        assert fits(envelope, public)
        server = hashlib.sha256(envelope["server_id"].encode()).hexdigest()
        assert envelope["signer_did"] == f"did:cycles:{server}#{kid}"
        assert (envelope["artifact_type"], list(envelope["payload"])) == (artifact, [artifact])
        assert envelope["issued_at_ms"] == clock()
        assert envelope["trace_id"] == response.headers["x-cycles-trace-id"]
        signed = envelope["payload"][artifact]
        request = signed.pop("request")
        assert {**signed, "cycles_evidence": found} == response.json()
        assert request["tenant"] == "acme"
        assert "not for everybody" not in json.dumps(envelope)
    assert envelope_of(wire, reference(answers["commit"]))["payload"]["commit"]["request"] == {
        "tenant": "acme",
        "reservation_id": held.json()["reservation_id"],
        "actual": {"unit": "TOKENS", "amount": 30},
    }
    assert envelope_of(wire, reference(answers["reserve"]))["payload"]["reserve"]["request"] == {
        "tenant": "acme",
        "subject": {"tenant": "acme"},
        "action": {"kind": "k", "name": "n"},
        "estimate": {"unit": "TOKENS", "amount": 40},
    }


def test_the_same_request_again_has_the_same_evidence_and_another_one_its_own(wire):
    held = wire.reserve(40, key="k")
    wire.clock.advance(5)
    assert reference(wire.reserve(40, key="k")) == reference(held)
    assert reference(wire.reserve(40)) != reference(held)
    commits = [wire.commit(held, 30, key="c") for _ in "ab"]
    assert commits[0].json() == commits[1].json()
    denials = [wire.decide(5000, key=key) for key in "aab"]
    assert [reference(denial) == reference(denials[0]) for denial in denials] == [True, True, False]
    errors = [wire.reserve(5000, key="e") for _ in "ab"]
    assert reference(errors[0]) != reference(errors[1])  # an error is not kept: each is one of its own


def test_reservations_show_theirs(wire):
    held, given_back = wire.reserve(40), wire.reserve(1)
    committed, released = wire.commit(held, 30), wire.release(given_back)
    shown = {
        row["reservation_id"]: row for row in wire.get("/v1/reservations", include="evidence").json()["reservations"]
    }
    expected = {
        held.json()["reservation_id"]: {"reserve": reference(held), "commit": reference(committed)},
        given_back.json()["reservation_id"]: {"reserve": reference(given_back), "release": reference(released)},
    }
    assert {name: row["evidence"] for name, row in shown.items()} == expected
    for name, evidence in expected.items():
        assert wire.get(f"/v1/reservations/{name}").json()["evidence"] == evidence
    assert all("evidence" not in row for row in wire.get("/v1/reservations").json()["reservations"])


def test_what_is_not_signed(wire, authority, monkeypatch):
    held = wire.reserve(10)
    assert "cycles_evidence" not in wire.extend(held, 1000).json()
    assert "cycles_evidence" not in wire.event(1).json()
    assert "cycles_evidence" not in wire.get("/v1/reservations/nothing").json()
    with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
        assert "cycles_evidence" not in http.post("/v1/reservations", json=wire.ask(1)).json()  # anybody's: no key
    assert wire.http.get(f"/v1/evidence/{'0' * 64}").status_code == 404
    refused = wire.commit(held, 10, unit="CREDITS")
    assert envelope_of(wire, reference(refused))["payload"]["error"]["request"] == {
        "operation": "commit",
        "tenant": "acme",
        "reservation_id": held.json()["reservation_id"],
    }


def test_an_amount_that_canonical_json_can_not_tell_apart_goes_unsigned(wire, authority, caplog):
    authority.budget(f"{SCOPE}/agent:a", tokens(2**60))
    authority.budget(SCOPE, tokens(2**61))
    held = wire.reserve(2**53 + 1, subject={"tenant": "acme", "agent": "a"})
    assert held.json()["reserved"]["amount"] == 2**53 + 1
    assert "cycles_evidence" not in held.json()
    assert "goes without evidence" in caplog.text


def test_what_can_not_be_kept_is_refused_all_the_same(wire, authority, monkeypatch, caplog):
    def full(*_):
        raise authority.store.failure("disk full")

    monkeypatch.setattr("cycles.local.store.evidence.put", full)
    response = wire.reserve(5000)
    assert failed(response, 409, "BUDGET_EXCEEDED")
    assert "cycles_evidence" not in response.json()
    assert "was not kept" in caplog.text


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"host": "cycles.example:7878"}, "http://cycles.example:7878"),
        ({"host": "cycles.example", "x-forwarded-proto": "https"}, "https://cycles.example"),
        ({"host": "[::1]:7878"}, "http://[::1]:7878"),
        ({"host": "evil/@x"}, "http://cycles.local"),
    ],
)
def test_references_are_to_where_the_client_asked(wire, headers, base):
    found = reference(wire.post("/v1/decide", wire.ask(1), **headers))
    assert found["cycles_evidence_url"] == f"{base}/v1/evidence/{found['evidence_id']}"


def test_a_file_keeps_envelopes_and_one_without_a_key_shows_none(tmp_path, clock):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path, clock=clock, signing_key=SEED) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, clock)
        found = reference(wire.reserve(1))
        assert authority.check() == []
    with LocalAuthority(path, clock=clock) as authority:
        wire = Wire(authority, clock)
        assert failed(wire.http.get(f"/v1/evidence/{found['evidence_id']}"), 404, "NOT_FOUND")
        assert failed(wire.http.get("/v1/.well-known/cycles-jwks.json"), 404, "NOT_FOUND")
    with LocalAuthority(path, clock=clock, signing_key=SEED) as authority:
        wire = Wire(authority, clock)
        assert wire.http.get(f"/v1/evidence/{found['evidence_id']}").status_code == 200
        clock.advance(91 * 86_400)
        with authority.store.writing() as books:
            books.purge(clock())
        assert failed(wire.http.get(f"/v1/evidence/{found['evidence_id']}"), 404, "NOT_FOUND")


def test_a_file_of_before_gets_the_table(tmp_path, clock):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path, clock=clock) as authority, authority.store.writing() as books:
        authority_tables = [row[0] for row in books.connection.execute("SELECT name FROM sqlite_master")]
        assert "evidence" in authority_tables
        books.connection.execute("DROP TABLE evidence")
    with LocalAuthority(path, clock=clock, signing_key=SEED) as authority:
        authority.budget(SCOPE, tokens(100))
        assert reference(Wire(authority, clock).reserve(1))


# -- keys --------------------------------------------------------------------------------------------------------------
def signing_with(path, clock):
    authority = LocalAuthority(clock=clock, signing_key=path)
    authority.budget(SCOPE, tokens(1000))
    return Wire(authority, clock)


def test_rotation_changes_the_key_without_a_restart(tmp_path):
    path, clock = tmp_path / "keys.json", Clock()
    first = signing_keys.generate(path, server_id="urn:mine", now_ms=clock())
    assert path.stat().st_mode & 0o777 == 0o600
    wire = signing_with(path, clock)
    second = signing_keys.rotate(path, begins_ms=clock() + 10_000, now_ms=clock())
    used = []
    for _ in range(3):
        envelope = envelope_of(wire, reference(wire.decide(1)))
        used.append((envelope["server_id"], envelope["signer_did"].partition("#")[2]))
        clock.advance(5)
    assert used == [("urn:mine", first["kid"]), ("urn:mine", first["kid"]), ("urn:mine", second["kid"])]
    published = wire.http.get("/v1/.well-known/cycles-jwks.json").json()["keys"]
    assert [(key["kid"], key.get("cycles_exp_ms")) for key in published] == [
        (first["kid"], second["cycles_nbf_ms"]),
        (second["kid"], None),
    ]
    signing_keys.rotate(path, begins_ms=clock() + 10_000, now_ms=clock())
    assert ["d" in key for key in json.loads(path.read_text())["keys"]] == [False, True, True]


def test_without_a_key_for_now_answers_go_unsigned(tmp_path, caplog):
    path, clock = tmp_path / "keys.json", Clock()
    signing_keys.generate(path, server_id=None, now_ms=clock() + 1000)
    wire = signing_with(path, clock)
    assert "cycles_evidence" not in wire.decide(1).json()
    assert "no key" in caplog.text
    clock.advance(1)
    assert reference(wire.decide(1))


def test_a_key_file_that_becomes_unreadable_leaves_what_was_read(tmp_path):
    path, clock = tmp_path / "keys.json", Clock()
    signing_keys.generate(path, server_id=None, now_ms=clock())
    wire = signing_with(path, clock)
    for content in ("{", None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        assert reference(wire.decide(1))


def secrets_of(path):
    return [key["d"] for key in json.loads(path.read_text())["keys"]]


def test_private_parts_show_up_nowhere(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    path, clock = tmp_path / "keys.json", Clock()
    public = signing_keys.generate(path, server_id=None, now_ms=clock())
    (secret,) = secrets_of(path)
    with LocalAuthority(tmp_path / "ledger.db", clock=clock, signing_key=path) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, clock)
        answers = [wire.decide(1), wire.http.get("/v1/.well-known/cycles-jwks.json"), wire.reserve(5000)]
        shown = [repr(authority), repr(authority.app), repr(authority.app.signing), str(public)]
        shown += [answer.text for answer in answers] + [envelope_of(wire, reference(answers[0])).__repr__()]
        with pytest.raises(TypeError):
            pickle.dumps(authority.app.signing.keys)
    kept = [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir() if file != path]
    assert all(secret not in text for text in [*shown, *kept, caplog.text])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[:-20], "must be a JSON object"),
        (lambda text: text.replace('"x"', '"y"'), "is no Ed25519 key"),
        (lambda text: text.replace("Ed25519", "P-256"), "is no Ed25519 key"),
        (lambda text: text.replace('"d": "', '"d": "AA'), "do not belong together"),
        (lambda text: text.replace('"d"', '"e"'), "private part"),
        (lambda text: text.replace('"kid"', '"kit"'), "must have a kid"),
        (lambda text: text.replace("null", '"never"'), "cycles_exp_ms"),
        (lambda text: "[" * 100_000, "must be a JSON object"),
    ],
)
def test_a_key_file_that_can_not_be_used_is_refused_without_its_content(tmp_path, spoil, said):
    path = tmp_path / "keys.json"
    signing_keys.generate(path, server_id=None, now_ms=1)
    (secret,) = secrets_of(path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ConfigError, match=said) as refused:
        LocalAuthority(signing_key=path)
    error = refused.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert secret not in "".join(traceback.format_exception(error))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "keys.json"
    signing_keys.generate(path, server_id=None, now_ms=1)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        SigningKeys(path)


def test_other_keys_that_can_not_be_used(tmp_path):
    with pytest.raises(ConfigError, match="31 bytes"):
        LocalAuthority(signing_key=SEED[1:])
    with pytest.raises(ConfigError, match="keygen"):
        LocalAuthority(signing_key=tmp_path / "nothing.json")
    path = tmp_path / "keys.json"
    signing_keys.generate(path, server_id=None, now_ms=1)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="there is a file already"):
        signing_keys.generate(path, server_id=None, now_ms=1)
    (tmp_path / ".keys.json.new").touch()
    with pytest.raises(ConfigError, match="there is a file already"):
        signing_keys.rotate(path, begins_ms=1, now_ms=1)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="No such file"):
        signing_keys.generate(tmp_path / "no" / "keys.json", server_id=None, now_ms=1)
