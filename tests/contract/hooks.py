"""What schemathesis needs beside the document: reservations that exist, and two rules that a schema can not express.

It runs inside schemathesis (SCHEMATHESIS_HOOKS), which `tests.contract.run` starts.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import schemathesis

LIVE = json.loads(Path(os.environ["CYCLES_RESERVATIONS"]).read_text())
chance = random.Random(0)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Let two of three requests about a reservation be about one that there is; schemathesis could only guess."""
    given = (case.path_parameters or {}).get("reservation_id")
    if isinstance(given, str) and 1 <= len(given) <= 128 and chance.random() < 0.67:
        case.path_parameters["reservation_id"] = chance.choice(LIVE)


@schemathesis.hook
def filter_case(context, case):
    """Leave out what the authority takes for absent though the schema forbids it: blank parameters and nulls.

    And X-Idempotency-Key, which must equal the body's key, whatever both are. tests/local covers these rules.
    """
    query = case.query if isinstance(case.query, dict) else {}
    return "" not in query.values() and "X-Idempotency-Key" not in (case.headers or {}) and not _has_null(case.body)


def _has_null(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, inner))
