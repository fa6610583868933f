"""What the generated bindings cost beside bare httpx: `python benchmarks/bindings.py [--quick]`.

A whole reserve call, over the loopback to a stub in a process of its own, and without any network.
"""

from __future__ import annotations

from typing import Any, Final

import httpx
from _measure import Sheet, in_turns, main, middle, ratio, timed
from _sides import GRANT, stub

from cycles_api.api.reservations import create_reservation
from cycles_api.client import AuthenticatedClient
from cycles_api.models import Action, Amount, ReservationCreateRequest, Subject

CONTENT: Final = GRANT % b"ACTIVE"
BODY: Final = ReservationCreateRequest(
    idempotency_key="7f0c2f6e-reserve-1",
    subject=Subject(tenant="acme", agent="planner"),
    action=Action(kind="llm.completion", name="openai:gpt-4o"),
    estimate=Amount(unit="USD_MICROCENTS", amount=5_000_000),
    ttl_ms=60_000,
)


def compare(sheet: Sheet, how: str, base_url: str, settings: dict[str, Any]) -> None:
    client, payload = AuthenticatedClient(base_url, "key", httpx_args=settings), BODY.to_dict()
    headers = {"X-Cycles-API-Key": "key"}
    with httpx.Client(base_url=base_url, headers=headers, timeout=10.0, **settings) as bare, client:
        calls = 20 if sheet.quick else 100
        times = in_turns(
            {
                "bare": lambda: timed(lambda: bare.post("/v1/reservations", json=payload).json(), calls),
                "ours": lambda: timed(lambda: create_reservation.sync_detailed(client=client, body=BODY), calls),
            },
            3 if sheet.quick else 15,
        )
    floor = f"a bare post and .json(): {middle(times, 'bare'):.0f} µs"
    sheet.add(f"reserve by the bindings alone, {how}", ratio(times, "ours", "bare"), 1.15, floor=floor)


def work(sheet: Sheet) -> None:
    """Compare the generated bindings with bare httpx."""
    with stub() as url:
        compare(sheet, "loopback", url, {})
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=CONTENT))
    compare(sheet, "no network", "http://mock", {"transport": answer})


if __name__ == "__main__":
    main(work)
