"""Commit and release: the two requests that end a reservation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles.amounts import spelled
from cycles.local.ledger import notices
from cycles.local.ledger.bodies import amount_body, balance_body
from cycles.local.ledger.charging import put_all, spend
from cycles.local.ledger.encoding import Answer
from cycles.local.ledger.idempotency import digest_of, final_replay
from cycles.local.ledger.reservations import budgeted, given_back, must_be_active, must_be_in_time, open_tenant
from cycles.local.ledger.values import Budget, Hold, Refusal, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books

Body = dict[str, Any]


def commit(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Charge the actual amount, and give the rest of the hold back."""
    replayed = final_replay(hold, "COMMITTED", body)
    if replayed is not None:
        return replayed
    open_tenant(books, hold.tenant)
    must_be_active(hold)
    actual = body["actual"]["amount"]
    if body["actual"]["unit"] != hold.unit:
        raise Refusal(400, "UNIT_MISMATCH", f"the reservation is in {hold.unit}, not in {body['actual']['unit']}")
    must_be_in_time(hold, hold.deadline_ms, now_ms)
    before = budgeted(books, hold)
    charged, budgets = (actual, before) if actual <= hold.estimate else _with_overage(hold, before, actual)
    unused = hold.estimate - charged if charged < hold.estimate else 0
    after = [
        changed(
            row,
            reserved=row.reserved - hold.estimate,
            remaining=row.remaining + unused,
            spent=row.spent + hold.estimate - unused,
            updated_at_ms=now_ms,
        )
        for row in budgets
    ]
    released = {"released": amount_body(hold.unit, unused)} if unused else {}
    answer = Answer(
        status="COMMITTED",
        charged=amount_body(hold.unit, charged),
        **released,
        balances=[balance_body(row) for row in after],
    )
    put_all(books, after)
    charge = {"charged": charged, "committed_metadata": body.get("metadata")}
    books.put_hold(_finished(hold, "COMMITTED", body, answer, now_ms, **charge))
    if books.notices is not None:
        books.notices += notices.committed(hold, actual, charged, now_ms)
        books.notices += notices.moved(hold.tenant, before, after, now_ms)
    return answer


def _with_overage(hold: Hold, budgets: list[Budget], actual: int) -> tuple[int, list[Budget]]:
    """Return how much of an actual above the estimate is charged, and the budgets after the part beyond the hold."""
    if hold.overage_policy == "REJECT":
        raise Refusal(
            409,
            "BUDGET_EXCEEDED",
            f"{spelled(hold.unit, actual)} is more than the {spelled(hold.unit, hold.estimate)} reserved at "
            f"{hold.affected[-1]}, and the overage policy is REJECT",
            {"reserved": hold.estimate, "requested": actual, "unit": hold.unit},
        )
    extra, budgets = spend(budgets, actual - hold.estimate, hold.overage_policy)
    return hold.estimate + extra, budgets


def release(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Give the whole hold back."""
    replayed = final_replay(hold, "RELEASED", body)
    if replayed is not None:
        return replayed
    open_tenant(books, hold.tenant)
    must_be_active(hold)
    must_be_in_time(hold, hold.deadline_ms, now_ms)
    after = given_back(books, hold, now_ms)
    answer = Answer(
        status="RELEASED",
        released=amount_body(hold.unit, hold.estimate),
        balances=[balance_body(row) for row in after],
    )
    put_all(books, after)
    books.put_hold(_finished(hold, "RELEASED", body, answer, now_ms))
    return answer


def _finished(hold: Hold, status: str, body: Body, answer: Body, now_ms: int, **charge: Any) -> Hold:
    """Return *hold* as it is after the request *body* ended it with *answer*."""
    return changed(
        hold,
        status=status,
        finalized_at_ms=now_ms,
        final_key=body["idempotency_key"],
        final_hash=digest_of(body),
        final_body=answer,
        **charge,
    )
