"""The checks of `cycles doctor`: settings, key, tenant, clock, budgets, ledger file, journal.

They change nothing: they read budgets and never reserve, and they make no ledger file.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.requests import LEVELS
from cycles._journal.registry import journal_of
from cycles._outside.urls import is_postgres, local_name, without_password
from cycles.amounts import describe
from cycles.cli._output import figures_in, figures_of
from cycles.config import SETTINGS, Config
from cycles.errors import ConfigError, CyclesError, JournalError
from cycles.local import LocalAuthority
from cycles.local.admin.names import read_url
from cycles.local.ledger.scopes import scopes_of
from cycles.local.registry import DEFAULT_TENANT
from cycles.local.store.places import located, size_of
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import to_unit_enum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cycles._journal.journal import Journal
    from cycles.client import Client

OK: Final = "ok"
NOTE: Final = "note"
WRONG: Final = "wrong"
"""The states of a check; only WRONG makes the command end with status 1."""

SKEW: Final = 5.0
"""Seconds between two clocks that `doctor` does not mention; the Date header is exact to one."""

_NO_BUDGET: Final = (
    "have the operator make one, or change the subject's levels; where a budget begins at first use, as with "
    "tenant:acme/workspace:*, this is no fault: name that level"
)

_MOST_ROWS: Final = 10_000
"""Budgets of one tenant that `doctor` reads at most."""


class Check(NamedTuple):
    """What was checked, its state, what was found, and what to do about it."""

    name: str
    state: str
    found: str
    remedy: str | None = None


# -- settings ----------------------------------------------------------------------------------------------------------
def settings_of(
    config: Config | None, options: Mapping[str, str], given: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """Return every setting with its value, secrets masked, and where it came from.

    Args:
        config: The settings; None when they are wrong: then the rows show the environment and the command line.
        options: The command line's option for each setting that has one.
        given: The command line's values.
    """
    rows = []
    for setting in SETTINGS:
        variable = f"CYCLES_{setting.name.upper()}"
        if config is not None:
            value, source = getattr(config, setting.name), config.sources[setting.name]
        elif given.get(setting.name):
            value, source = given[setting.name], "argument"
        else:
            value = os.environ.get(variable) or setting.default
            source = variable if os.environ.get(variable) else "default"
        if source == "argument":
            source = options.get(setting.name, "command line")
        if isinstance(value, str) and setting.name == "base_url":
            value = local_name(value)
        if value is not None and setting.secret:
            value = "***"
        elif isinstance(value, str) and config is None:
            value = setting.show(value)[1:-1]  # as the error shows it, without its quotes
        rows.append({"name": setting.name, "value": value, "source": source})
    return rows


def unknown_variables() -> Iterator[Check]:
    """Note variables that look like settings and are none."""
    known = [f"CYCLES_{setting.name.upper()}" for setting in SETTINGS] + [
        "CYCLES_ADMIN_KEY",
        "CYCLES_LOCAL_DB",
    ]  # of other commands
    for name in sorted(os.environ):
        if name.startswith("CYCLES_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else "docs/configuration.md lists what there is"
            yield Check("settings", NOTE, f"{name} means nothing here", meant)


# -- key and tenant ----------------------------------------------------------------------------------------------------
def key_and_tenant(config: Config, status: int, told: str, key_tenant: str | None) -> Iterator[Check]:
    """Check whether the authority accepts the key, and whether the tenant is the key's."""
    if status == 401:
        remedy = "set CYCLES_API_KEY (or --api-key-file) to a live key of this authority"
        yield Check("key", WRONG, f"the key is refused: {told}", remedy)
        return
    yield Check("key", OK, "accepted" + (f"; it is of tenant {key_tenant}" if key_tenant else ""))
    if status == 403:
        right = f"set CYCLES_TENANT={key_tenant}" if key_tenant else "set CYCLES_TENANT to the key's tenant"
        yield Check("tenant", WRONG, f"{config.tenant} is not the key's tenant: {told}", f"{right}, or use another key")
    elif config.tenant is None:
        remedy = f"set CYCLES_TENANT{f'={key_tenant}' if key_tenant else ''}"
        yield Check("tenant", NOTE, "none is configured: every call has to name one", remedy)
    else:
        yield Check("tenant", OK, f"{config.tenant}, as the key's")


def clock(date: str | None, now: float) -> Check:
    """Compare the authority's clock with ours: *now* is in seconds since the epoch."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return Check("clock", NOTE, "the authority does not tell its time (no Date header)")
    apart = theirs + 0.5 - now  # the header has whole seconds
    if abs(apart) <= SKEW:
        return Check("clock", OK, f"within {max(1.0, abs(apart)):.0f} s of the authority's")
    late = "behind" if apart > 0 else "ahead of"
    remedy = "set this machine's clock: leases are counted by the authority's, time windows of lists by this one's"
    return Check("clock", NOTE, f"{abs(apart):.0f} s {late} the authority's", remedy)


# -- budgets -----------------------------------------------------------------------------------------------------------
def budgets_at(client: Client, config: Config, tenant: str) -> Iterator[Check]:
    """Check the budgets of the configured subject at an authority."""
    try:
        rows = [figures_of(row) for row in islice(client.balances(tenant=tenant, page_size=200), _MOST_ROWS)]
    except CyclesError as error:
        yield Check("budget", WRONG, f"can't be read: {error}", "ask the authority's operator")
        return
    yield from found_budgets(config, tenant, rows, _NO_BUDGET)


def found_budgets(config: Config, tenant: str, rows: list[dict[str, Any]], remedy: str) -> Iterator[Check]:
    """Check those of a tenant's budgets that the configured subject spends from."""
    subject = {level: getattr(config, level) for level in LEVELS} | {"tenant": tenant}
    scopes = scopes_of(subject)
    mine = [row for row in rows if row["scope"] in scopes]
    below = [row["scope"] for row in rows if row["scope"].startswith(f"{scopes[-1]}/")]
    if not mine and below:
        found = f"none for {scopes[-1]} itself: work that names no level below it is denied"
        yield Check("budget", NOTE, f"{found}; {len(below)} below it, such as {min(below)}")
    elif not mine:
        elsewhere = ", ".join(sorted({row["scope"] for row in rows})[:3])
        there = f"; there are others, such as {elsewhere}" if elsewhere else ""
        yield Check("budget", WRONG, f"none for {scopes[-1]}: a reserve there is denied{there}", remedy)
    for row in mine:
        yield budget(row, is_local=config.is_local)


def budget(row: Mapping[str, Any], *, is_local: bool) -> Check:
    """Check whether one budget can grant anything; what to do about it depends on whose ledger it is."""
    unit = to_unit_enum(row["unit"])
    left, all_of_it, debt = (
        describe(Amount(unit=unit, amount=row[name])) for name in ("remaining", "allocated", "debt")
    )
    found = f"{row['scope']}: {left} of {all_of_it} remain"
    fund = "fund it (`cycles local budget fund`)" if is_local else "have its operator fund it"
    if row.get("status", "ACTIVE") != "ACTIVE":
        unfreeze = "unfreeze it (`cycles local budget unfreeze`)" if is_local else "have its operator unfreeze it"
        remedy = unfreeze if row["status"] == "FROZEN" else "use another scope"
        return Check("budget", WRONG, f"{found}, but it is {row['status']}", remedy)
    if row["is_over_limit"]:
        return Check("budget", WRONG, f"{found}; it went over its limit, and every reserve is denied", fund)
    if row["debt"] > 0 and row["overdraft_limit"] == 0:
        return Check("budget", WRONG, f"{found}; it owes {debt}, and every reserve is denied", fund)
    if row["remaining"] <= 0:
        return Check("budget", WRONG, f"{found}; every reserve is denied", fund)
    return Check("budget", OK, found)


# -- an authority inside the process -----------------------------------------------------------------------------------
def local_ledger(config: Config) -> Iterator[Check]:
    """Check what a `local:` URL names, without making it."""
    tenant = config.tenant or DEFAULT_TENANT
    try:
        path, wanted = read_url(config.base_url)
    except ConfigError as error:
        yield Check("ledger", WRONG, error.message, "write local:, local:PATH or local:?usd=1.00")
        return
    if not path:
        found = "in memory: each program has its own, which ends with it"
        yield Check("ledger", NOTE, found, "local:PATH is a file that the programs of this machine share")
    rows: list[dict[str, Any]] = []
    if path:
        try:
            rows = _rows_in(path, tenant)
        except CyclesError as error:
            remedy = "mend that, or name another file in CYCLES_BASE_URL=local:PATH"
            yield Check("ledger", WRONG, error.message, remedy)
            return
        yield _about_file(path)
    units = {row["unit"] for row in rows if row["scope"] == f"tenant:{tenant.lower()}"}
    made = [budget.amount for budget in wanted if str(budget.amount.unit) not in units]
    for amount in made:
        yield Check("budget", OK, f"tenant:{tenant}: {describe(amount)}, made when it is first used")
    if rows or not made:
        where = f"`cycles local budget create tenant:{tenant} --usd 25`" if path else "such as local:?usd=1.00"
        yield from found_budgets(config, tenant, rows, f"make one: {where}")


def _rows_in(path: str, tenant: str) -> list[dict[str, Any]]:
    if not is_postgres(path) and size_of(located(path)) == 0:
        return []  # and an empty file is left as it is
    with LocalAuthority(path) as authority, authority.store.reading() as books:
        return [figures_in(row) for row in books.budgets_of(tenant)]


def _about_file(path: str) -> Check:
    if is_postgres(path):
        return Check("ledger", OK, without_password(path))
    if Path(path).exists():
        return Check("ledger", OK, path)
    return Check("ledger", NOTE, f"{path} is not there yet: the first program that uses it makes it")


# -- the journal -------------------------------------------------------------------------------------------------------
def journal(config: Config) -> Iterator[Check]:
    """Check the journal of this authority, tenant and key."""
    if config.is_in_memory:
        return
    found = journal_of(config, lambda event, facts: None)  # noqa: ARG005 - the quarantine is reported below
    if found is None:
        remedy = "set CYCLES_JOURNAL_ENABLED=true"
        yield Check("journal", NOTE, "turned off: spend that is not settled dies with its program", remedy)
        return
    try:
        _must_be_writable(found)
    except JournalError as error:
        yield Check("journal", WRONG, error.message, "name a directory of this user's in CYCLES_JOURNAL_DIR")
        return
    if config.journal_fsync:
        yield Check("journal", OK, f"{found.directory.parent}; can be written, and survives a crash of the machine")
    else:
        remedy = "set CYCLES_JOURNAL_FSYNC=true"
        yield Check("journal", NOTE, f"{found.directory.parent}; does not survive a crash of the machine", remedy)
    yield from _what_it_holds(found)


def _must_be_writable(found: Journal) -> None:
    found.must_be_ours()
    if found.directory.exists():
        found.check()
        return
    there = next(path for path in found.directory.parents if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise JournalError(f"{found.directory.parent}: can't be made in {there}")


def _what_it_holds(found: Journal) -> Iterator[Check]:
    entries = list(found.entries())
    count = Counter(entry.where for entry in entries)
    running = sum(entry.is_running for entry in entries)
    if running:
        yield Check("journal", NOTE, f"{running} of running sections, or of ones that were killed")
    waits = [wait for entry in entries if (wait := entry.parked_until()) is not None]
    waiting = [
        entry.written_at
        for entry in entries
        if entry.where == "pending" and not entry.is_running and entry.parked_until() is None
    ]
    if waiting:
        remedy = "`cycles journal drain` settles it now; the next program with these settings does it too"
        told = f"{len(waiting)} pending since {min(waiting):%Y-%m-%d %H:%M}Z: spend that is not charged yet"
        yield Check("journal", NOTE, told, remedy)
    if waits:
        until = f"{max(waits):%Y-%m-%d %H:%M:%S}Z"
        parked = f"{len(waits)} parked until {until} at the latest: the authority asked to wait (429, Retry-After)"
        yield Check("journal", NOTE, parked, "`cycles journal drain --now` tries it before that")
    if count["rejected"]:
        remedy = "look with `cycles journal rejected list`, then `cycles journal rejected remove FILE`"
        yield Check("journal", WRONG, f"{count['rejected']} rejected: spend that the authority refused", remedy)
    if count["quarantine"]:
        remedy = "look with `cycles journal quarantine list`, then restore or remove"
        yield Check("journal", WRONG, f"{count['quarantine']} in quarantine: files that can't be read", remedy)
    if not entries:
        yield Check("journal", OK, "empty: nothing is pending, rejected or in quarantine")
