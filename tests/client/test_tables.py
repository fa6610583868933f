"""Lists and reservations as notebooks show them."""

from __future__ import annotations

import pytest

import cycles
from cycles import usd
from cycles._client.tables import MOST_ROWS, rows_line, rows_table
from cycles.local import LocalAuthority
from cycles_api.shown import table


@pytest.fixture
def acme():
    """An authority that gives the tenant acme a dollar."""
    authority = LocalAuthority()
    authority.budget("tenant:acme", usd("1"))
    return authority


WORK = ("tool.search", "<web> & more")


def test_lists_and_reservations_are_tables_of_amounts_that_people_read():
    authority = LocalAuthority()
    authority.budget("tenant:acme", usd("1.50"))
    with authority.client(tenant="acme") as client:
        balances = client.balances()
        shown = balances._repr_html_()
        assert "<td>tenant:acme</td>" in shown
        assert ">$1.50<" in shown
        assert [row.scope_path for row in balances] == ["tenant:acme"], "showing them takes none away"
        assert balances._repr_html_() == "<p>no rows</p>"
        reservation = client.reserve(usd("0.10"), action=WORK)
        assert "<td>ACTIVE</td>" in reservation._repr_html_()
        reservation.commit(usd("0.07"))
        assert ">$0.07<" in reservation._repr_html_()
        listed = client.reservations()._repr_html_()
        assert ">$0.07<" in listed
        assert "&lt;web&gt; &amp; more" in listed
        assert repr(client.balances()) == "<Rows: iterate over it, or make a list of it>"


def test_a_reservation_of_nothing():
    authority = LocalAuthority()
    authority.budget("tenant:acme", usd("1"))
    with authority.client(tenant="acme") as client:
        dry = client.reserve(usd("0.10"), action=WORK, dry_run=True)
        assert "<td>DRY_RUN</td>" in dry._repr_html_()


def test_a_long_list_says_that_more_follows():
    authority = LocalAuthority()
    authority.budget("tenant:acme", usd("1"))
    with authority.client(tenant="acme") as client:
        for _ in range(3):
            client.reserve(usd("0.01"), action=WORK).release()
        assert "more rows follow" in client.reservations(page_size=2)._repr_html_()
        assert "more rows follow" not in client.reservations(page_size=4)._repr_html_()


def test_a_list_that_was_looked_at_says_what_comes_next(acme):
    with acme.client(tenant="acme") as client:
        for _ in range(3):
            client.reserve(usd("0.01"), action=WORK).release()
        (balance,) = client.balances()
        assert repr(balance) == "Balance(tenant:acme, $1.00 of $1.00 left)"
        rows = client.reservations(page_size=2)
        first = next(rows)
        told = repr(rows).splitlines()
        assert told[0] == "Rows("
        assert told[1].startswith(f"    ReservationSummary({first.reservation_id[:4]}")
        assert told[2:] == ["    …", ")"]
        assert len(list(rows)) == 2, "showing them takes none away"
        assert repr(rows) == "Rows()"


@pytest.mark.anyio
async def test_rows_of_asynchronous_code_are_shown_when_awaited(acme):
    async with acme.async_client(tenant="acme") as client:
        unread = client.balances()
        assert repr(unread) == "<AsyncRows: iterate over it by `async for`, or show it by `await`>"
        assert "&lt;AsyncRows: iterate" in unread._repr_html_()
        assert not acme.requests, "nothing is asked for by showing them"
        assert await unread is unread
        assert repr(unread) == "AsyncRows(\n    Balance(tenant:acme, $1.00 of $1.00 left),\n)"
        assert ">$1.00<" in unread._repr_html_()
        await unread
        assert len(acme.requests) == 1, "what was read is not asked for again"
        assert [row.scope_path async for row in unread] == ["tenant:acme"]
        assert repr(unread) == "AsyncRows()"
        assert (await unread)._repr_html_() == "<p>no rows</p>"


def test_settlements_limits_and_what_a_reservation_became_are_tables(acme):
    with acme.client(tenant="acme") as client:
        limit = cycles.Limit(usd("0.50"), action=("agent.run", "<b>"), client=client)
        assert ">agent.run/&lt;b&gt;</td>" in limit._repr_html_()
        with limit, cycles.Guard(usd("0.10"), action=WORK, actual=usd("0.03"), client=client):
            pass
        assert limit._repr_html_().count(">$0.03<") == 1
        settled = client.reserve(usd("0.10"), action=WORK).commit(usd("0.07"))
        assert "<td>COMMITTED</td><td>commit</td>" in settled._repr_html_()
        assert ">$0.03<" in settled._repr_html_()
        (kept, *_) = client.reservations(status="COMMITTED")
        detail = client.reservation(kept.reservation_id)
        assert repr(detail).endswith("tool.search/<web> & more, tenant:acme, $0.07 charged of $0.10 held)")
        assert "&lt;web&gt; &amp; more" in detail._repr_html_()
    made = cycles.Limit(lambda: usd("1"), action=cycles.Action(kind="agent.run", name="x"))
    assert made._repr_html_() is None
    assert ">agent.run/x<" in cycles.Limit(usd("1"), action=cycles.Action(kind="agent.run", name="x"))._repr_html_()


def test_a_settlement_that_failed_names_the_error():
    error = cycles.AuthorityUnavailable("no answer")
    shown = cycles.Settlement(cycles.State.UNSETTLED, via="commit", attempts=1, error=error)._repr_html_()
    assert "<td>AuthorityUnavailable</td>" in shown


def test_rows_of_another_kind_and_times_beyond_the_calendar():
    assert rows_table(["<a>"], more=False).count("&lt;a&gt;") == 1
    assert rows_line("Rows", [1] * (MOST_ROWS + 1), more=False).count("\n    ") == MOST_ROWS + 1
    assert table(("a",), [(None,)], "note") == (
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td></td></tr></tbody></table><p>note</p>"
    )
