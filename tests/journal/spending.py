"""A guarded section that reports what it has spent, in both kinds of code."""

from __future__ import annotations

import cycles
from cycles import usd
from tests.support.authorities import ACTION


def spend(client, amount="0.03"):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd(amount))
    return held


async def spend_async(client, amount="0.03"):
    async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd(amount))
    return held
