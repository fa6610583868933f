"""Mixed operations at random against one ledger, by whatever way its requests go."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any, Final

OPERATIONS: Final = ["reserve"] * 6 + ["commit"] * 4 + ["release", "extend", "event", "decide"]

Line = list[Any]


class Toiler(ABC):
    """Does operations at random; its idempotency keys end in the amount, so that the ledger says what was meant.

    Args:
        name: Seeds what it does.
        agents: Who spends, one of them at a time; None: the tenant itself.
    """

    def __init__(self, name: str, agents: tuple[str | None, ...]) -> None:
        self.name, self.agents = name, agents
        self.random = random.Random(name)
        self.made = 0
        self.held: list[tuple[str, int]] = []

    @abstractmethod
    def asked(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a POST, or None when it is a refusal of the ledger's."""

    def post(self, path: str, amount: int, **body: Any) -> dict[str, Any] | None:
        """Ask under a new key; see `asked`."""
        self.made += 1
        return self.asked(path, body | {"idempotency_key": f"{self.name}-{self.made}-{amount}"})

    def terms(self, amount: int, name: str = "estimate") -> dict[str, Any]:
        agent = self.random.choice(self.agents)
        subject = {"tenant": "acme"} | ({"agent": agent} if agent else {})
        policy = self.random.choice(("REJECT", "ALLOW_IF_AVAILABLE"))
        money = {"unit": "TOKENS", "amount": amount}
        return {"subject": subject, "action": {"kind": "k", "name": "n"}, "overage_policy": policy, name: money}

    def work(self) -> Line:
        """Do one operation; return what was acknowledged."""
        what, amount = self.random.choice(OPERATIONS), self.random.randint(0, 9)
        if what == "reserve" or (what in ("commit", "release", "extend") and not self.held):
            brief = {"ttl_ms": 1_000, "grace_period_ms": 0} if self.random.random() < 0.05 else {"ttl_ms": 3_600_000}
            answer = self.post("reservations", amount, **self.terms(amount), **brief)
            if answer is not None:
                self.held.append((answer["reservation_id"], amount))
                return ["reserve", answer["reservation_id"], amount]
        elif what == "event":
            answer = self.post("events", amount, **self.terms(amount, "actual"))
            if answer is not None:
                return ["event", answer["event_id"], answer.get("charged", {"amount": amount})["amount"]]
        elif what == "decide":
            terms = self.terms(amount)
            del terms["overage_policy"]
            answer = self.post("decide", amount, **terms)
            assert answer is not None
        elif what == "extend":
            answer = self.post(f"reservations/{self.held[-1][0]}/extend", 0, extend_by_ms=1)
            if answer is not None:
                return ["extend", self.held[-1][0], answer["expires_at_ms"]]
        else:
            held, estimate = self.held.pop(self.random.randrange(len(self.held)))
            if what == "release":
                answer = self.post(f"reservations/{held}/release", 0)
                return ["refused"] if answer is None else ["release", held, estimate]
            answer = self.post(f"reservations/{held}/commit", amount, actual={"unit": "TOKENS", "amount": amount})
            if answer is not None:
                return ["commit", held, answer["charged"]["amount"]]
        return ["refused" if answer is None else what]
