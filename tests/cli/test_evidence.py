"""`cycles evidence`, `cycles local keygen` and `cycles serve --sign`: verify, audit, and the keys."""

from __future__ import annotations

import json
import sqlite3

import pytest

import cycles
from cycles import tokens, usd
from cycles.cli._audit import Audit
from cycles.local import LocalAuthority
from cycles.local.server import serve
from tests.support.authorities import ACTION

from .conftest import _environ
from .runner import KEY, Cli
from .test_serve import ready, serving

JWKS = "/v1/.well-known/cycles-jwks.json"


@pytest.fixture
def authority(path):
    with LocalAuthority(path, signing_key=bytes(32)) as made:
        made.budget("tenant:acme", usd("25"))
        made.add_key(KEY, tenant="acme")
        yield made


@pytest.fixture
def client(authority):
    with authority.client(tenant="acme") as made:
        yield made


@pytest.fixture
def envelope(client, authority, tmp_path):
    """An envelope in a file, and the key set in another."""
    found = client.decide(usd("1"), action=ACTION).evidence
    http = authority.http_client()
    (tmp_path / "envelope.json").write_bytes(http.get(found["cycles_evidence_url"]).content)
    (tmp_path / "keys.json").write_bytes(http.get(JWKS).content)
    return found["evidence_id"]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The command without any authority, in the directory of the files."""
    monkeypatch.chdir(tmp_path)
    return Cli({})


# -- verify ------------------------------------------------------------------------------------------------------------
def test_verify_a_file_offline(offline, envelope):
    shown = offline("evidence", "verify", "envelope.json", "--keys", "keys.json").output
    assert shown.splitlines()[0].split() == ["outcome", "authentic"]
    assert envelope in shown
    said = offline.json("evidence", "verify", "envelope.json", "--keys", "keys.json")
    assert (said["authentic"], said["outcome"], said["artifact_type"]) == (True, "authentic", "decide")
    assert said["envelope"]["evidence_id"] == envelope
    said = offline.json("evidence", "verify", "envelope.json", code=3)
    assert "give --keys FILE" in offline("evidence", "verify", "envelope.json", code=3).stderr
    assert said["outcome"] == "signer_resolution_failed"
    said = offline.json("evidence", "verify", "envelope.json", "--keys", "00" * 32, code=1)
    assert said["outcome"] == "signature_invalid"
    said = offline.json("evidence", "verify", "envelope.json", "--keys", "keys.json", "--server-id", "me", code=1)
    assert said["outcome"] == "signer_authority_failed"
    assert "[Errno" not in offline("evidence", "verify", "nothing.json", code=2).output
    offline("evidence", "verify", "envelope.json", "--keys", "nothing.json", code=2)


def test_verify_from_standard_input(offline, envelope, tmp_path):
    text = (tmp_path / "envelope.json").read_text()
    assert "authentic" in offline("evidence", "verify", "-", "--keys", "keys.json", stdin=text).output
    changed = text.replace("acme", "acne")
    assert (
        "signature_invalid" in offline("evidence", "verify", "-", "--keys", "keys.json", stdin=changed, code=1).output
    )


@pytest.mark.slow
def test_verify_an_id_at_the_authority(authority, envelope, tmp_path):
    with serve(authority) as url:
        asking = Cli(_environ(url, tmp_path))
        assert asking.json("evidence", "verify", envelope)["authentic"]
        assert asking.json("evidence", "verify", str(tmp_path / "envelope.json"))["authentic"]
        assert asking.json("evidence", "verify", envelope, "--keys", f"{url}{JWKS}")["authentic"]
        asking("evidence", "verify", "0" * 64, code=4, retry_max_attempts="1")
    asking("evidence", "verify", envelope, code=3, retry_max_attempts="1")


# -- audit -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def audited(authority, client, tmp_path):
    """Three reservations, and the command at their authority."""
    held = [client.reserve(usd("0.10"), action=ACTION) for _ in range(3)]
    held[0].commit(usd("0.03"))
    held[1].release()
    with serve(authority) as url:
        yield held, Cli(_environ(url, tmp_path))
    held[2].release()


def test_an_audit_of_what_fits(audited):
    said = audited[1].json("evidence", "audit", "--from", "1h")
    assert said == {"reservations": 3, "authentic": 5, "differences": []}
    shown = audited[1]("evidence", "audit", "--from", "1h").output
    assert shown == "3 reservations, 5 authentic envelopes, 0 differences\n"
    assert audited[1].json("evidence", "audit", "--to", "1h")["reservations"] == 0


def change(path, sql, *values):
    with sqlite3.connect(path) as connection:
        assert connection.execute(sql, values).rowcount == 1
    connection.close()


def test_an_audit_lists_what_differs(audited, path):
    (committed, released, active), asking = audited
    change(path, "UPDATE holds SET data = json_set(data, '$.charged', 1) WHERE reservation_id = ?", committed.id)
    change(path, "DELETE FROM evidence WHERE reservation_id = ? AND artifact = 'release'", released.id)
    change(path, "UPDATE holds SET data = json_set(data, '$.estimate', 7) WHERE reservation_id = ?", released.id)
    spoil = "UPDATE evidence SET data = json_set(data, '$.issued_at_ms', 1) WHERE reservation_id = ?"
    change(path, spoil, active.id)
    said = asking.json("evidence", "audit", code=1)
    assert (said["reservations"], said["authentic"]) == (3, 3)
    found = {(each["reservation_id"], each["artifact"]): each["what"] for each in said["differences"]}
    assert found == {
        (committed.id, "commit"): "signed charged 3000000 USD_MICROCENTS, and the ledger says $0.00000001",
        (released.id, "release"): "it is RELEASED, and there is no evidence of its release",
        (released.id, "reserve"): "signed reserved 10000000 USD_MICROCENTS, and the ledger says $0.00000007",
        (active.id, "reserve"): "signature_invalid: its evidence_id is not the hash of its content",
    }
    assert asking("evidence", "audit", code=1).output.splitlines()[0].split() == [
        *("RESERVATION", "EVIDENCE", "OF", "DIFFERENCE")
    ]


def test_an_audit_of_evidence_in_the_wrong_place(audited, path):
    (committed, released, active), asking = audited
    moved = "UPDATE evidence SET reservation_id = ? WHERE reservation_id = ? AND artifact = 'commit'"
    change(path, moved, active.id, committed.id)
    renamed = "UPDATE evidence SET artifact = 'commit' WHERE reservation_id = ? AND artifact = 'release'"
    change(path, renamed, released.id)
    found = {
        (each["reservation_id"], each["artifact"], each["what"])
        for each in asking.json("evidence", "audit", code=1)["differences"]
    }
    assert found == {
        (committed.id, "commit", "it is COMMITTED, and there is no evidence of its commit"),
        (active.id, "commit", "there is evidence of its commit, and it is ACTIVE"),
        (active.id, "commit", f"it is about reservation {committed.id}"),
        (active.id, "commit", "signed charged 3000000 USD_MICROCENTS, and the ledger says nothing"),
        (released.id, "release", "it is RELEASED, and there is no evidence of its release"),
        (released.id, "commit", "there is evidence of its commit, and it is RELEASED"),
        (released.id, "commit", "it is evidence of a release"),
    }


def test_an_audit_where_nothing_signs(served_unsigned):
    said = served_unsigned.json("evidence", "audit", code=1)
    assert [each["what"] for each in said["differences"]] == ["it is ACTIVE, and there is no evidence of its reserve"]


def test_an_audit_of_a_local_ledger_says_that_nothing_signs_there(offline, tmp_path):
    ledger = f"local:{tmp_path / 'ledger.db'}?tokens=10"
    with cycles.Client(cycles.Config(ledger, tenant="acme", journal_enabled=False)) as client:
        client.reserve(tokens(1), action=ACTION).release()
    ran = offline("evidence", "audit", "--base-url", ledger, "--tenant", "acme", code=1)
    assert "a local: URL signs nothing" in ran.stderr
    assert "RELEASED, and there is no evidence of its release" in ran.output


@pytest.fixture
def served_unsigned(tmp_path):
    with LocalAuthority() as authority, authority.client(tenant="acme") as client:
        authority.budget("tenant:acme", tokens(10))
        authority.add_key(KEY, tenant="acme")
        held = client.reserve(tokens(1), action=ACTION)
        with serve(authority) as url:
            yield Cli(_environ(url, tmp_path))
        held.release()


# -- keys --------------------------------------------------------------------------------------------------------------
def test_keygen_and_rotate(offline, tmp_path):
    shown = offline("local", "keygen", "keys", "--server-id", "urn:mine").output
    assert shown.splitlines()[0].split() == ["server", "urn:mine"]
    offline("local", "keygen", "keys", code=2)
    made = offline.json("local", "keygen", "keys", "--rotate", "--after", "1h")
    kept = json.loads((tmp_path / "keys").read_text())["keys"]
    assert [key["kid"] for key in kept][1] == made["kid"]
    assert kept[0]["cycles_exp_ms"] == kept[1]["cycles_nbf_ms"] == made["cycles_nbf_ms"]
    assert not any(key["d"] in shown + json.dumps(made) for key in kept)
    offline("local", "keygen", "keys", "--rotate", "--server-id", "x", code=2)
    offline("local", "keygen", "keys", "--rotate", "--after", "2026-01-01", code=2)
    offline("local", "keygen", "none", "--rotate", code=2)


def test_serve_takes_no_file_without_keys(offline, tmp_path):
    (tmp_path / "keys").write_text("{}")
    (tmp_path / "keys").chmod(0o600)
    assert "no key file" in offline("serve", "--port", "0", "--sign", "keys", code=2).output


@pytest.mark.slow
def test_a_served_authority_signs(offline, tmp_path):
    offline("local", "keygen", "keys")
    arguments = ("--json", "--budget", "tenant:acme=usd:1", "--sign", str(tmp_path / "keys"))
    with serving(*arguments) as process:
        said = ready(process)
        environ = {f"CYCLES_{name.upper()}": said[name] for name in ("base_url", "api_key", "tenant")}
        with cycles.Client(cycles.Config.from_env(environ)) as client:
            client.reserve(usd("0.10"), action=ACTION).commit(usd("0.01"))
        assert Cli(environ).json("evidence", "audit") == {"reservations": 1, "authentic": 2, "differences": []}


def test_two_reservations_can_not_have_the_same_evidence(client, authority):
    client.reserve(usd("0.10"), action=ACTION).release()
    (row,) = client.reservations(include=["evidence"])
    other = type(row).from_dict(row.to_dict() | {"reservation_id": "other"})
    audit = Audit(client, None, None)
    for each in (row, other):
        audit.look_at(each)
    same = f"reservation {row.reservation_id} has the same evidence"
    assert [each.artifact for each in audit.differences if each.what == same] == ["reserve", "release"]
