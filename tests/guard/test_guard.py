"""What a Guard does, on both sides, against the embedded authority."""

from __future__ import annotations

import contextvars
import gc
import inspect
import threading
import weakref

import pytest

import cycles
from cycles import usd
from tests.support.authorities import ACTION


def last(authority):
    return authority.reservations()[-1]


# -- with-blocks -------------------------------------------------------------------------------------------------------
def test_a_commit_charges_and_gives_the_rest_back(side, guard, figures):
    with side.block(guard()) as reservation:
        assert figures() == (0, 10, 90)
        assert reservation.state == "ACTIVE"
        settlement = side.call(reservation.commit, usd("0.03"))
    assert figures() == (3, 0, 97)
    assert reservation.state == "COMMITTED"
    assert settlement.charged == usd("0.03")
    assert settlement.released == usd("0.07")
    assert reservation.settlement is settlement


def test_a_reservation_shows_what_was_granted(side, guard, clock):
    with side.block(guard(ttl=30, agent="planner")) as reservation:
        assert reservation.id
        assert reservation.decision == "ALLOW"
        assert reservation.reserved == reservation.estimate == usd("0.10")
        assert reservation.affected_scopes == ("tenant:acme", "tenant:acme/agent:planner")
        assert reservation.scope_path == "tenant:acme/agent:planner"
        assert reservation.expires_at.timestamp() * 1000 == clock.now + 30_000
        assert [balance.scope_path for balance in reservation.balances] == ["tenant:acme"]
        assert (reservation.caps, reservation.is_capped, reservation.allows_tool("any")) == (None, False, True)
        assert reservation.id in repr(reservation)


def test_caps_are_shown_and_tools_are_judged_by_them(side, guard, authority):
    authority.budget(
        "tenant:acme", usd("1"), caps={"max_tokens": 5, "tool_allowlist": ["web"], "tool_denylist": ["web"]}
    )
    with side.block(guard()) as reservation:
        assert reservation.is_capped
        assert reservation.caps.max_tokens == 5
        assert reservation.allows_tool("web")
        assert not reservation.allows_tool("WEB")
    authority.budget("tenant:acme", usd("1"), caps={"tool_denylist": ["shell"]})
    with side.block(guard()) as reservation:
        assert reservation.allows_tool("web")
        assert not reservation.allows_tool("shell")


def test_nothing_reported_commits_the_estimate_marked(side, guard, figures, authority):
    with side.block(guard()):
        pass
    assert figures() == (10, 0, 90)
    assert last(authority).committed_metadata == {"actual_source": "estimate"}


def test_unreported_release_and_error(side, guard, figures):
    with side.block(guard(unreported="release")):
        pass
    assert figures() == (0, 0, 100)
    with pytest.raises(cycles.UnreportedSpend), side.block(guard(unreported="error")):
        pass
    assert figures() == (0, 10, 90)  # nothing was sent: the hold ends at its expiry


def test_a_report_is_committed_at_the_end(side, guard, figures, authority):
    with side.block(guard()) as reservation:
        reservation.report(actual=usd("0.01"), metadata={"step": 1})
        reservation.report(actual=usd("0.02"), metrics=cycles.Metrics(tokens_input=5))
    assert figures() == (2, 0, 98)
    assert last(authority).committed_metadata == {"step": 1}


def test_an_exception_releases_and_goes_on(side, guard, figures, authority):
    with pytest.raises(ZeroDivisionError), side.block(guard()):
        raise ZeroDivisionError
    assert figures() == (0, 0, 100)
    assert last(authority).status == "RELEASED"


def test_an_exception_after_a_report_commits_it(side, guard, figures):
    with pytest.raises(ZeroDivisionError), side.block(guard()) as reservation:
        reservation.report(actual=usd("0.04"))
        raise ZeroDivisionError
    assert figures() == (4, 0, 96)


def test_a_denied_block_never_runs(side, guard, figures):
    ran = []
    with pytest.raises(cycles.BudgetExceeded, match="tenant:acme") as caught, side.block(guard(usd("1.01"))):
        ran.append(True)
    assert ran == []
    assert figures() == (0, 0, 100)
    assert caught.value.scope == "tenant:acme"
    assert caught.value.request_id


def test_commit_and_release_happen_once(side, guard, figures):
    with side.block(guard()) as reservation:
        side.call(reservation.release, "not needed")
        with pytest.raises(cycles.AlreadySettled):
            side.call(reservation.commit, usd("0.01"))
    with pytest.raises(cycles.AlreadySettled):
        side.call(reservation.release)
    assert figures() == (0, 0, 100)


def test_extend_moves_the_expiry(side, guard, clock, figures):
    with side.block(guard(ttl=10)) as reservation:
        clock.advance(8)
        side.call(reservation.extend, 20)
        assert reservation.expires_at.timestamp() * 1000 == clock.now + 22_000
        clock.advance(20)
        side.call(reservation.commit, usd("0.03"))
    assert figures() == (3, 0, 97)


def test_spend_under_an_expired_hold_is_charged_by_event(side, guard, clock, figures):
    """CR-CORE-002 against a whole authority: the hold is gone, the spend is not."""
    with side.block(guard(ttl=10, grace_period=0)) as reservation:
        clock.advance(11)
        settlement = side.call(reservation.commit, usd("0.03"))
    assert (settlement.via, settlement.charged) == ("event", usd("0.03"))
    assert reservation.state == "COMMITTED"
    assert figures() == (3, 0, 97)


def test_an_asked_commit_that_is_refused_raises(side, guard, figures):
    with pytest.raises(cycles.BudgetExceeded), side.block(guard(overage_policy="REJECT")) as reservation:
        side.call(reservation.commit, usd("0.11"))
    assert reservation.state == "UNSETTLED"
    assert isinstance(reservation.settlement_error, cycles.BudgetExceeded)
    assert figures() == (0, 10, 90)


def test_a_refused_settlement_does_not_hide_the_result(side, guard, caplog):
    call = guard(overage_policy="REJECT", actual=lambda _: usd("0.11"))(side.function(lambda: "the result"))
    assert side.call(call) == "the result"
    assert any("settlement rejected" in record.message for record in caplog.records)


def test_raise_on_unsettled_raises_it(side, guard):
    options = {"overage_policy": "REJECT", "actual": lambda _: usd("0.11"), "raise_on_unsettled": True}
    call = guard(**options)(side.function(lambda: "the result"))
    with pytest.raises(cycles.BudgetExceeded):
        side.call(call)


def test_one_guard_is_not_entered_twice_at_once_and_can_be_used_again(side, guard, figures):
    once = guard()
    with side.block(once) as reservation:
        with pytest.raises(RuntimeError, match="entered already"), side.block(once):
            pass
        side.call(reservation.commit, usd("0.01"))
    with side.block(once) as reservation:
        side.call(reservation.commit, usd("0.01"))
    assert figures()[0] == 2


def test_a_guard_that_was_denied_can_be_used_again(side, guard, authority):
    again = guard(usd("2"))
    with pytest.raises(cycles.BudgetExceeded), side.block(again):
        pass
    authority.budget("tenant:acme", usd("5"))
    with side.block(again) as reservation:
        assert reservation.state == "ACTIVE"


def test_nested_guards_hold_their_own_budgets(side, guard, figures):
    with side.block(guard()) as outer:
        with side.block(guard(usd("0.20"))) as inner:
            assert figures() == (0, 30, 70)
            side.call(inner.commit, usd("0.05"))
        side.call(outer.commit, usd("0.01"))
    assert figures() == (6, 0, 94)


def test_dry_run_holds_nothing(side, guard, figures):
    with side.block(guard(dry_run=True)) as reservation:
        assert (reservation.state, reservation.id, reservation.expires_at) == ("DRY_RUN", None, None)
        side.call(reservation.commit, usd("0.01"))
    with side.block(guard(usd("5"), dry_run=True)) as reservation:
        assert (reservation.decision, reservation.reason_code) == ("DENY", "BUDGET_EXCEEDED")
    assert figures() == (0, 0, 100)


# -- decorated functions -----------------------------------------------------------------------------------------------
def test_a_decorated_function_commits_what_actual_makes_of_its_result(side, guard, figures):
    call = guard(actual=lambda reply: usd(reply["cost"]))(side.function(lambda x: {"cost": "0.03", "x": x}))
    assert side.call(call, 5) == {"cost": "0.03", "x": 5}
    assert figures() == (3, 0, 97)


def test_fields_may_be_callables_of_the_calls_own_arguments(side, guard, authority):
    call = guard(
        estimate=lambda cents, who: usd(f"0.{cents:02d}"),
        agent=lambda cents, who: who,
        metadata=lambda cents, who: {"cents": cents},
        action=lambda cents, who: ("tool.pay", who),
    )(side.function(lambda cents, who: None))
    side.call(call, 7, who="bob")
    hold = last(authority)
    assert (hold.estimate, hold.subject, hold.metadata) == (7_000_000, {"tenant": "acme", "agent": "bob"}, {"cents": 7})
    assert hold.action == {"kind": "tool.pay", "name": "bob"}


def test_a_failing_actual_commits_the_estimate_and_keeps_the_result(side, guard, figures, caplog):
    call = guard(actual=lambda reply: reply["nope"])(side.function(dict))
    assert side.call(call) == {}
    assert figures() == (10, 0, 90)
    assert any("actual failed" in record.message and record.levelname == "ERROR" for record in caplog.records)


@pytest.mark.parametrize("bad", [cycles.tokens(5), 0.03, "0.03"])
def test_an_actual_that_can_not_be_committed_counts_as_failing(side, guard, figures, bad):
    call = guard(actual=lambda reply: bad)(side.function(lambda: "fine"))
    assert side.call(call) == "fine"
    assert figures() == (10, 0, 90)


def test_a_dry_run_does_not_call_the_function(side, guard):
    called = []
    call = guard(usd("5"), dry_run=True)(side.function(lambda: called.append(1)))
    answer = side.call(call)
    assert called == []
    assert (answer.decision, answer.reason_code) == ("DENY", "BUDGET_EXCEEDED")


def test_current_is_the_innermost_reservation(side, guard):
    seen = []

    def inner():
        seen.append(cycles.current().estimate)

    def outer():
        seen.append(cycles.current().estimate)

    side.call(guard(usd("0.01"))(side.function(outer)))
    side.call(guard(usd("0.02"))(side.function(inner)))
    assert seen == [usd("0.01"), usd("0.02")]
    assert cycles.current() is None


def test_what_is_begun_in_a_section_does_not_keep_its_result(side, guard):
    """A task copies the context that it is begun in, and may run for as long as the program."""
    begun = []

    class Reply:
        pass

    def work():
        begun.append(contextvars.copy_context())
        return Reply()

    reply = weakref.ref(side.call(guard()(side.function(work))))
    gc.collect()
    assert begun[0].run(cycles.current) is None
    assert reply() is None


def test_metadata_of_the_function_survives(side, guard):
    def named(x: int) -> str:
        """Says x."""
        return str(x)

    wrapped = guard()(side.function(named) if side.kind == "sync" else named)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__wrapped__) == ("named", "Says x.", named)
    assert inspect.signature(wrapped) == inspect.signature(named)


def test_kinds_of_functions_stay_what_they_are(guard):
    async def coroutine(): ...

    def generator():
        yield

    async def async_generator():
        yield

    assert inspect.iscoroutinefunction(guard()(coroutine))
    assert inspect.isgeneratorfunction(guard()(generator))
    assert inspect.isasyncgenfunction(guard()(async_generator))


# -- the wrong client --------------------------------------------------------------------------------------------------
def test_a_guard_of_the_other_kind_says_so(authority):
    with pytest.raises(cycles.ConfigError, match="give it a Client"):
        cycles.Guard(usd("0.01"), action=ACTION, client=authority.async_client(tenant="acme")).__enter__()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unreported": "guess"}, "unreported='guess'"),
        ({"actual": "0.01"}, "actual=.*callable"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_refused_at_once(fields, message):
    with pytest.raises(cycles.InvalidRequest, match=message):
        cycles.Guard(usd("0.01"), action=ACTION, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"estimate": 5}, "estimate=5"),
        ({"action": "chat"}, r"action='chat'.*\(kind, name\)"),
        ({"action": ("", "n")}, "action kind=''"),
        ({"ttl": 0.5}, "ttl=0.5: 1 to 86400 seconds"),
        ({"ttl": "60"}, "ttl='60'"),
        ({"grace_period": 61}, "grace_period=61"),
        ({"overage_policy": "MAYBE"}, "overage_policy='MAYBE'.*REJECT"),
        ({"tenant": None}, "no level"),
        ({"agent": ""}, "agent=''"),
        ({"agent": "x" * 129}, "129 characters"),
        ({"metadata": {"x": {1, 2}}}, "metadata: not JSON"),
        ({"metadata": {"x": float("nan")}}, "metadata: not JSON"),
        ({"metadata": {"x": "\ud800"}}, "metadata: not JSON"),
        ({"tags": "one"}, "tags='one'"),
        ({"tags": ["x"] * 11}, "tags: 11"),
        ({"dimensions": {str(n): "x" for n in range(17)}}, "dimensions: 17"),
        ({"idempotency_key": ""}, "idempotency_key=''"),
        ({"wait": -1}, "wait=-1"),
        ({"wait": 10**400}, "wait=inf: 0 to 86400"),
        ({"ttl": 10**400}, "ttl=inf: 1 to 86400"),
        ({"ttl": float("nan")}, "ttl=nan"),
        ({"ttl": float("inf")}, "ttl=inf"),
        ({"dimensions": ["a"]}, r"dimensions=\['a'\]: give a mapping"),
        ({"tags": 5}, "tags=5: give a list"),
        ({"dry_run": "no"}, "dry_run='no': give True or False"),
    ],
)
def test_bad_input_is_refused_before_sending_and_names_the_field(side, guard, figures, fields, message):
    with pytest.raises(cycles.InvalidRequest, match=message), side.block(guard(**fields)):
        pass
    assert figures() == (0, 0, 100)


# -- many at once ------------------------------------------------------------------------------------------------------
def test_one_guard_in_many_threads_mixes_nothing_up(authority, figures):
    with authority.client(tenant="acme") as client:
        seen = {}

        @cycles.Guard(cycles.usd_microcents, action=ACTION, client=client, actual=cycles.usd_microcents)
        def work(n):
            seen[n] = cycles.current().estimate.amount
            return n

        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 51)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == {n: n for n in range(1, 51)}
    assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == sum(range(1, 51))


def test_a_function_that_only_returns_a_coroutine_is_refused_and_its_hold_given_back(authority, figures):
    """It would be settled before its work began."""
    ran = []

    async def work():
        ran.append(1)

    def returns_it():
        return work()

    with authority.client(tenant="acme") as client:
        guarded = cycles.Guard(usd("0.10"), action=ACTION, client=client)(returns_it)
        with pytest.raises(TypeError, match="put the Guard on the async def"):
            guarded()
    assert ran == []
    assert figures() == (0.0, 0.0, 100.0)


def test_current_passes_over_what_is_settled(authority):
    with authority.client(tenant="acme") as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as outer:
            with cycles.Guard(usd("0.10"), action=ACTION, client=client) as inner:
                assert cycles.current() is inner
                inner.commit(usd("0.01"))
                assert cycles.current() is outer
            outer.release()
            assert cycles.current() is None
        with cycles.Guard(usd("0.10"), action=ACTION, client=client, dry_run=True) as dry:
            assert cycles.current() is dry
