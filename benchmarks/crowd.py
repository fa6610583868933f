"""10,000 async guards that open, hold their leases and end together: `python benchmarks/crowd.py [--quick]`.

Leases of 60 s are held for 90 s. What is counted is who got no answer, and who was charged after the lease had ended.
Once against a stub that keeps leases and nothing else, which shows what the client can do, and once against an
authority on a file. Both are processes of their own. A machine that can't answer 10,000 reserves in 30 s gets as many
as it can answer in 20 s, and the figure says how many these were.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, ClassVar, Final

from _measure import Sheet, main
from _sides import ACTION, ACTUAL, ESTIMATE, Stub, answered, authority, config, serve, stub

import cycles
from cycles import AsyncClient, Guard

if TYPE_CHECKING:
    from cycles import Config

ENGINE: Final = "aiohttp"
MOST: Final = 10_000
TRIAL: Final = 200
"""Guards that show how fast the machine is."""


class Leases(Stub):
    """A stub that knows until when each lease lasts, and says 410 to who comes later."""

    ends: ClassVar[dict[bytes, float]] = {}

    def answer(self, request: bytes) -> bytes:
        path, body = request.split(b" ", 2)[1].split(b"/"), json.loads(request.partition(b"\r\n\r\n")[2] or b"{}")
        if not body:
            return answered(b'{"reservations":[],"has_more":false}')
        now, held = time.monotonic(), path[3] if len(path) > 3 else uuid.uuid4().hex.encode()
        left = self.ends.get(held, now) - now
        if len(path) > 3 and left <= 0:
            error = answered(b'{"error":"RESERVATION_EXPIRED","message":"too late","request_id":"r"}')
            return error.replace(b"200 OK", b"410 Gone", 1)
        seconds = left + (body.get("extend_by_ms") or body.get("ttl_ms") or 0) / 1000
        self.ends[held] = now + seconds
        said = {
            "reservation_id": held.decode(),
            "decision": "ALLOW",
            "affected_scopes": [],
            "charged": ACTUAL.to_dict(),
        }
        times = {"remaining_ttl_ms": round(seconds * 1000), "expires_at_ms": round(self.ends[held] * 1000)}
        status = "COMMITTED" if path[-1] == b"commit" else "ACTIVE"
        return answered(json.dumps({**said, **times, "status": status}).encode())


class Crowd:
    """Guards that open at once and end at once, and what became of each."""

    def __init__(self, config: Config, count: int) -> None:
        self.config, self.count = config, count
        self.opened = self.in_time = self.late = self.errors = 0
        self.done = asyncio.Event()
        self.all_open = asyncio.Event()

    async def one(self, client: AsyncClient, ttl: float) -> None:
        try:
            async with Guard(ESTIMATE, action=ACTION, client=client, ttl=ttl) as held:
                self._has_opened()
                await self.done.wait()
                settlement = await held.commit(ACTUAL)
        except cycles.CyclesError:
            self.errors += 1
            self._has_opened()
            return
        is_late = settlement.via != "commit" or held._section.lease_lost
        self.late += is_late
        self.in_time += not is_late

    def _has_opened(self) -> None:
        self.opened += 1
        if self.opened == self.count:
            self.all_open.set()

    async def run(self, ttl: float, seconds: float) -> tuple[float, float]:
        """Return the seconds that the opening and the ending took."""
        async with AsyncClient(self.config) as client:
            began = time.perf_counter()
            tasks = [asyncio.create_task(self.one(client, ttl)) for _ in range(self.count)]
            await self.all_open.wait()
            opening = time.perf_counter() - began
            await asyncio.sleep(seconds)
            began = time.perf_counter()
            self.done.set()
            await asyncio.gather(*tasks)
            return opening, time.perf_counter() - began


async def crowd(sheet: Sheet, what: str, config: Config) -> None:
    await Crowd(config, TRIAL).run(60.0, 0.0)  # warms up
    opening, _ = await Crowd(config, TRIAL).run(60.0, 0.0)
    rate = TRIAL / opening
    count = 50 if sheet.quick else MOST if MOST / rate <= 30 else int(20 * rate)
    ttl, seconds = (12.0, 6.0) if sheet.quick else (60.0, 90.0)
    crowd, cpu = Crowd(config, count), time.process_time()
    opening, ending = await crowd.run(ttl, seconds)
    cpu = time.process_time() - cpu
    name = f"async guards open, held and ended at once, {what}"
    sheet.add(f"{name}: how many", count, MOST, least=True)
    sheet.add(f"{name}: not committed in time", crowd.late, 0)
    sheet.add(f"{name}: errors", crowd.errors, 0)
    sheet.add(f"{name}: opened in", opening, unit="s")
    sheet.add(f"{name}: ended in", ending, unit="s")
    sheet.add(f"{name}: the client's CPU for each", cpu / count * 1e3, unit="ms")


def work(sheet: Sheet) -> None:
    """Hold many leases at once."""
    with stub(__file__) as url:
        asyncio.run(crowd(sheet, "stub", config(url, http_engine=ENGINE)))
    with authority(http_engine=ENGINE) as served:
        asyncio.run(crowd(sheet, "authority on a file", served))


if __name__ == "__main__":
    if sys.argv[1:] == ["stub"]:
        asyncio.run(serve(Leases))
    main(work)
