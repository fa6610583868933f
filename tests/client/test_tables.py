"""Lists and reservations as notebooks show them."""

from __future__ import annotations

import cycles
from cycles import usd
from cycles._client.tables import rows_table, table
from cycles.local import LocalAuthority

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


async def _shown_async(client: cycles.AsyncClient) -> str:
    async with client:
        return repr(client.balances())


def test_what_must_be_awaited_says_so():
    import asyncio  # noqa: PLC0415

    authority = LocalAuthority()
    authority.budget("tenant:acme", usd("1"))
    shown = asyncio.run(_shown_async(authority.async_client(tenant="acme")))
    assert shown == "<AsyncRows: iterate over it by `async for`>"


def test_rows_of_another_kind_and_times_beyond_the_calendar():
    assert rows_table(["<a>"], more=False).count("&lt;a&gt;") == 1
    assert table(("a",), [(None,)], "note") == (
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td></td></tr></tbody></table><p>note</p>"
    )
