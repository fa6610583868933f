"""Send jobs for two customers, and show what they came to."""

from __future__ import annotations

from tasks import research, send_mail

import cycles

jobs = []
for customer in ("zoe", "adam"):
    with cycles.subject(workspace=customer):  # it travels with the messages
        # celery has no types: a task looks like the function that it was made of
        jobs.append(send_mail.delay(customer))  # pyright: ignore[reportFunctionMemberAccess]
        jobs.append(research.delay(f"{customer}'s question"))  # pyright: ignore[reportFunctionMemberAccess]
for job in jobs:
    print(job.get(timeout=120))
with cycles.Client() as client:
    for balance in client.balances():
        print(f"{balance.scope_path}: {balance.remaining.amount} microcents left")
