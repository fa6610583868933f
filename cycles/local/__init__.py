"""An authority inside the process: the protocol's runtime plane on SQLite or PostgreSQL, without any server.

It computes exactly what a production server computes (reserve, commit, release, extend, decide, events, balances,
lists), with the same order of checks, so code that works here works there. It shares no code with the client. You make
tenants, API keys and budgets in Python, on the command line, or over HTTP (docs/authority.md).

What it is not:

- a conformant server: it has the runtime plane, and of the administration only what provisioning needs. It has no event
  stream, webhooks, audit log, policies, quotas, bulk actions, metrics or rate limits. It signs evidence when it has a
  key.
- distributed: a ledger file belongs to one machine, whose clock counts, and one process writes at a time. Servers on
  many machines can share a ledger in PostgreSQL; then the database's clock counts (docs/postgres.md).
- a vault: whoever can read the file can read every figure in it (of API keys only hashes), and whoever can write it can
  change them. Over HTTP keys travel in plain text, so it listens on loopback unless you allow more.
- an archive: it deletes reservations 30 days after their deadline, and events 30 days after they were charged.

Beyond the protocol it can put caps on a budget, so that you can try how your code handles them.
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
