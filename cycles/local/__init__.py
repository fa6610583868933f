"""An authority inside the process: the whole protocol's runtime plane on SQLite, without any server.

It computes what a production server computes (reserve, commit, release, extend, decide, events, balances, lists), so
that code which works here works there. What it is not: it keeps one machine's ledger, one process writes at a time, and
there is one clock. Webhooks, the event stream, audit log, policies, evidence signing and rate limits are not there.
"""

from cycles.local.authority import LocalAuthority
from cycles.local.values import Budget, Hold, Tenant

__all__ = ["Budget", "Hold", "LocalAuthority", "Tenant"]
