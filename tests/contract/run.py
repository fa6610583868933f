"""schemathesis against a served authority, from our own document: `nox -s schemathesis`.

No answer may be a 5xx, each must have a status, a content type and a body that the document knows, and what breaks the
document must be refused. Afterwards the ledger must balance.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.server import serve

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "openapi" / "cycles.yaml"
RESERVATIONS = 300
NOT_CHECKED = (
    "positive_data_acceptance",  # the server has rules that no schema says: the letters of a subject, units, cursors
    "use_after_free",  # a released reservation is still there
    "ensure_resource_availability",
)
SCOPES = ("tenant:acme", "tenant:acme/agent:planner")
LARGE = 10**15


def prepared(authority: LocalAuthority, url: str, secret: str) -> list[str]:
    """Fund the authority, and return reservations that there are."""
    for scope in SCOPES:
        for amount in (usd(10_000_000), tokens(LARGE), cycles.credits(LARGE)):
            authority.budget(scope, amount)
    made = []
    with httpx.Client(base_url=url, headers={"X-Cycles-API-Key": secret}) as http:
        for number in range(RESERVATIONS):
            ask = {
                "idempotency_key": f"prepared-{number}",
                "subject": {"tenant": "acme", "agent": "planner"},
                "action": {"kind": "llm.completion", "name": "n"},
                "estimate": {"unit": ("USD_MICROCENTS", "TOKENS")[number % 2], "amount": number * 1000},
                "ttl_ms": 3_600_000,
            }
            made.append(http.post("/v1/reservations", json=ask).raise_for_status().json()["reservation_id"])
    return made


def balanced(authority: LocalAuthority) -> bool:
    """Whether every budget's figures fit each other and what is held."""
    live = [hold for hold in authority.reservations() if hold.status == "ACTIVE"]
    for row in authority.balances():
        held = sum(hold.estimate for hold in live if hold.unit == row.unit and row.scope_path in hold.budgeted)
        if (row.remaining, row.reserved) != (row.allocated - row.spent - row.reserved - row.debt, held):
            print(f"the ledger is out of balance: {row}, {held} held")
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=None, help="end then, however little has been looked at")
    parser.add_argument("--examples", type=int, default=20, help="examples of an operation in one round")
    parser.add_argument("--seed", type=int, default=None, help="replay one run")
    parser.add_argument("--db", action="store_true", help="on a file instead of in memory")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        path = at / "ledger.db" if asked.db else None
        with LocalAuthority(path, admin_key="the-administrator") as authority, serve(authority) as url:
            secret = authority.key(tenant="acme")
            ids = at / "reservations.json"
            ids.write_text(json.dumps(prepared(authority, url, secret)))
            line = [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", str(DOCUMENT), "--url", url),
                *("--header", f"X-Cycles-API-Key: {secret}", "--phases", "examples,coverage,fuzzing"),
                *("--checks", "all", "--exclude-checks", ",".join(NOT_CHECKED)),
                *("--max-examples", str(asked.examples), "--warnings", "off"),
                *(("--max-time", str(asked.seconds)) if asked.seconds is not None else ()),
                *(("--seed", str(asked.seed)) if asked.seed is not None else ()),
                "--no-color",
            ]
            environment = os.environ | {"CYCLES_RESERVATIONS": str(ids), "SCHEMATHESIS_HOOKS": "tests.contract.hooks"}
            environment["PYTHONPATH"] = str(ROOT)
            done = subprocess.run(line, cwd=folder, env=environment, check=False)
            statuses = [hold.status for hold in authority.reservations()]
            reached = {status: statuses.count(status) for status in ("ACTIVE", "COMMITTED", "RELEASED")}
            print(f"reservations afterwards: {reached}")
            # Schemathesis that never got to the ledger would find nothing either.
            deep = min(reached["COMMITTED"], reached["RELEASED"], len(statuses) - RESERVATIONS) > 0
            return done.returncode or (0 if deep and balanced(authority) else 1)


if __name__ == "__main__":
    sys.exit(main())
