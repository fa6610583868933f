"""A world that a test owns: scripted answers, a virtual clock, and a list of everything that was asked."""

from __future__ import annotations

from typing import Any

from cycles._core.effects import (
    Call,
    Clock,
    Effect,
    Flow,
    Forget,
    Jitter,
    NewKey,
    Notify,
    Now,
    Record,
    Sleep,
    Take,
    Tell,
)
from cycles._core.outcomes import Answer, Trouble
from cycles_api.models import (
    CommitResponse,
    ErrorResponse,
    EventCreateResponse,
    ReleaseResponse,
    ReservationCreateResponse,
)

TOKENS_7 = {"unit": "TOKENS", "amount": 7}


def reply(status: int, model: Any, **headers: str) -> Answer[Any]:
    """An answer with a readable body."""
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(model, ErrorResponse):
        return Answer(status=status, error=model, headers=shown)
    return Answer(status=status, parsed=model, headers=shown)


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Answer[Any]:
    return reply(status, ErrorResponse(error=code, message=message, request_id="req-1"), **headers)


def granted(**changes: Any) -> Answer[Any]:
    body = {
        "decision": "ALLOW",
        "reservation_id": "res-1",
        "affected_scopes": ["tenant:acme"],
        "expires_at_ms": 60_000,
        "remaining_ttl_ms": 60_000,
    }
    return reply(200, ReservationCreateResponse.from_dict(body | changes))


def committed(amount: int = 7) -> Answer[Any]:
    charged = {"unit": "TOKENS", "amount": amount}
    return reply(200, CommitResponse.from_dict({"status": "COMMITTED", "charged": charged}))


def applied() -> Answer[Any]:
    return reply(201, EventCreateResponse.from_dict({"status": "APPLIED", "event_id": "evt-1"}))


def released() -> Answer[Any]:
    return reply(200, ReleaseResponse.from_dict({"status": "RELEASED", "released": TOKENS_7}))


LOST: Answer[Any] = Answer(trouble=Trouble.LOST, reason="ReadTimeout")
NOT_SENT: Answer[Any] = Answer(trouble=Trouble.NOT_SENT, reason="ConnectError")
GARBLED: Answer[Any] = Answer(status=200, trouble=Trouble.UNREADABLE, reason="DecodeError")


class World:
    """Performs effects from a script of answers; time passes only in Sleep."""

    def __init__(self) -> None:
        self.answers: list[Answer[Any] | BaseException] = []
        self.calls: list[Call[Any]] = []
        self.log: list[str] = []
        self.notes: list[str] = []
        self.facts: list[Any] = []
        self.sleeps: list[float] = []
        self.records: list[Any] = []
        self.keeps = True
        self.told: list[Any] = []
        self.now = 100.0
        self.keys = 0
        self.jitter = 0.5

    def run(self, flow: Flow[Any]) -> Any:
        try:
            effect = next(flow)
            while True:
                try:
                    result = self.perform(effect)
                except BaseException as error:
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as end:
            return end.value

    def perform(self, effect: Effect[Any]) -> Any:
        match effect:
            case Call():
                self.calls.append(effect)
                self.log.append(effect.operation.name)
                answer = self.answers.pop(0)
                if isinstance(answer, BaseException):
                    raise answer
                return answer
            case Sleep():
                self.sleeps.append(effect.seconds)
                self.now += effect.seconds
                return None
            case Now():
                return self.now
            case Jitter():
                return self.jitter
            case NewKey():
                self.keys += 1
                return f"key-{self.keys}"
            case Record() | Forget():
                self.log.append(type(effect).__name__)
                self.records.append(effect.pending)
                return self.keeps if isinstance(effect, Record) else None
            case Clock():
                return 1_800_000_000_000 + round(self.now * 1000)
            case Take():
                return effect.queue.take()
            case Tell():
                self.told.append(effect.details)
                return None
            case Notify():
                self.facts.append(effect.facts)
                self.notes.append(effect.event)
                return None
        raise AssertionError(f"unknown effect {effect!r}")

    @property
    def keys_sent(self) -> list[str]:
        return [call.arguments["body"].idempotency_key for call in self.calls if "body" in call.arguments]
