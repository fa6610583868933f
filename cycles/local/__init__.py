"""An authority inside the process: the protocol's runtime plane on SQLite or PostgreSQL, without any server.

It computes what a production server computes (reserve, commit, release, extend, decide, events, balances, lists), to
the unit and in the same order of checks, so that code which works here works there. It shares no code with the client.
Tenants, API keys and budgets are made in Python, on the command line, or over HTTP (docs/authority.md).

What it is not:

- a conformant server: it claims the runtime plane only, and of the administration only what provisioning needs. There
  are no event stream and webhooks, audit log, policies, quotas, bulk actions, metrics and rate limits. It signs
  evidence when it has a key.
- distributed: a ledger file belongs to one machine, one process writes at a time, and the machine has the one clock.
  A ledger in PostgreSQL is shared by servers on many, and the clock is the database's (docs/postgres.md).
- a vault: whoever can read the file can read every figure in it (of API keys only hashes), and whoever can write it can
  change them. Over HTTP keys travel in plain text, so it listens on loopback unless told otherwise.
- an archive: reservations are deleted 30 days after their deadline, and events 30 days after they were charged.

Beyond the protocol it can put caps on a budget, so that their handling can be tried out.
"""

from cycles.local.authority import LocalAuthority
from cycles.local.ledger.keys import ApiKey
from cycles.local.ledger.notices import RuntimeEvent
from cycles.local.ledger.periods import Period
from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Tenant, Terms
from cycles.local.wire.clock import ManualClock
from cycles.local.wire.faults import Fault, Faults
from cycles.local.wire.history import RecordedRequest

__all__ = [
    "ApiKey",
    "Budget",
    "ChargedEvent",
    "Fault",
    "Faults",
    "Hold",
    "LocalAuthority",
    "ManualClock",
    "Period",
    "RecordedRequest",
    "RuntimeEvent",
    "Tenant",
    "Terms",
]
