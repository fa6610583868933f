"""What the tests of limits share: a client that counts its requests."""

from __future__ import annotations

from typing import Any

import pytest

from cycles import Guard, Limit, usd
from tests.support.authorities import ACTION, SCOPE, UNIT

RUN = ("agent.run", "research")


class Counted:
    """A client of an authority of the test's own, and the requests that it has sent."""

    def __init__(self, authority: Any) -> None:
        self.authority = authority
        self.asked: list[str] = []
        handle = authority.app.handle

        def counting(request: Any) -> Any:
            self.asked.append(f"{request.method} {request.path}")
            return handle(request)

        authority.app.handle = counting
        self.client = authority.client(tenant="acme")
        self.async_client = authority.async_client(tenant="acme")

    @property
    def creates(self) -> int:
        return self.asked.count("POST /v1/reservations")

    @property
    def commits(self) -> int:
        return sum(line.endswith("/commit") for line in self.asked)

    @property
    def spent(self) -> int:
        return self.authority.balance(SCOPE, UNIT).spent

    @property
    def reserved(self) -> int:
        return self.authority.balance(SCOPE, UNIT).reserved

    def committed(self, reservation_id: str) -> Any:
        return self.client.reservation(reservation_id).committed_metadata


@pytest.fixture
def counted(authority):
    found = Counted(authority)
    yield found
    found.client.close()


@pytest.fixture
def limit(counted):
    return Limit(cents(50), action=RUN, client=counted.client)


@pytest.fixture
def guard(counted):
    return Guard(cents(10), action=ACTION, client=counted.client)


def cents(count: int) -> Any:
    return usd(f"0.{count:02d}")


CENT = 1_000_000
__all__ = ["ACTION", "CENT", "RUN", "Counted", "cents"]
