"""`cycles local budget`: the budgets of a ledger file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cycles.cli._ledger import ledger, ledger_option
from cycles.cli._options import amount_options, taken_amount, taken_amounts
from cycles.cli._output import figures_in, json_output, show_budgets
from cycles.cli._parameters import ObjectType, ScopeType, TenantType
from cycles.errors import CyclesError, InvalidRequest
from cycles.local.admin.names import UNIT_NAMES, parse_budget, short_name_of, unit_named
from cycles.local.ledger.periods import KINDS
from cycles.local.ledger.renewals import NEVER

if TYPE_CHECKING:
    from cycles.local import Budget, LocalAuthority
    from cycles_api.models.amount import Amount

period_option = click.option(
    "--period",
    type=click.Choice((*KINDS, NEVER)),
    help="Begin anew each hour, day, week (on Monday) or month, with this allocation; none: never any more.",
)
zone_option = click.option(
    "--zone", metavar="ZONE", help="Whose midnight counts, such as Europe/Berlin; default: UTC, or as it was."
)
OPERATIONS = ("CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT")

scope_argument = click.argument("scope", type=ScopeType())
overdraft_option = click.option(
    "--overdraft-limit", metavar="AMOUNT", help="How much may be owed, in the budget's own unit."
)
caps_option = click.option(
    "--caps",
    type=ObjectType(),
    help="What grants at exactly this scope are limited to, such as '{\"max_tokens\": 500}'; {} takes them away.",
)


@click.group()
def budget() -> None:
    """The budgets of a ledger file: create, set, fund, freeze, unfreeze, close, list."""


def _shown(rows: list[Budget], *, as_json: bool) -> None:
    show_budgets([figures_in(row) for row in rows], as_json=as_json, empty="no budget")


def _in_unit_of(amount: Amount, text: str, name: str) -> Amount:
    """Return *text* as an amount in the unit of another."""
    try:
        return parse_budget(short_name_of(amount.unit), text)
    except CyclesError as error:
        raise click.BadParameter(error.message, param_hint=name) from None


@budget.command("create")
@ledger_option()
@scope_argument
@amount_options("The allocation")
@overdraft_option
@caps_option
@period_option
@zone_option
@json_output
def create_budget(db: str, scope: str, **values: Any) -> None:
    """Create the budget of SCOPE; one in each unit that is given.

    With * as a value in SCOPE, it is what each such scope begins with when it is first used.

    \b
    Example:
      cycles local budget create tenant:acme/agent:planner --usd 5 --period day
    """
    _put(db, scope, values, must_be_new=True)


@budget.command("set")
@ledger_option()
@scope_argument
@amount_options("The allocation")
@overdraft_option
@caps_option
@period_option
@zone_option
@json_output
def set_budget(db: str, scope: str, **values: Any) -> None:
    """Create the budget of SCOPE, or set its allocation, also of periods to come.

    What is spent, reserved and owed stays.

    \b
    Example:
      cycles local budget set tenant:acme --usd 30 --overdraft-limit 2.50
    """
    _put(db, scope, values, must_be_new=False)


def _put(db: str, scope: str, values: dict[str, Any], *, must_be_new: bool) -> None:
    limit, caps, as_json = values["overdraft_limit"], values["caps"], values["as_json"]
    amounts = taken_amounts(values)
    if not amounts or (limit is not None and len(amounts) > 1):
        many = "one amount beside --overdraft-limit" if amounts else "an amount"
        raise click.UsageError(f"give {many}: --usd, --tokens, --credits or --risk-points")
    owed = None if limit is None else _in_unit_of(amounts[0], limit, "--overdraft-limit")
    with ledger(db, as_json=as_json) as authority:
        if must_be_new:
            _must_be_new(authority, scope, amounts)
        anew = {"period": values["period"], "zone": values["zone"]}
        rows = [authority.budget(scope, amount, overdraft_limit=owed, caps=caps, **anew) for amount in amounts]
    _shown(rows, as_json=as_json)


def _must_be_new(authority: LocalAuthority, scope: str, amounts: list[Amount]) -> None:
    units = {str(amount.unit) for amount in amounts}
    for row in (*authority.balances(), *authority.defaults()):
        if row.scope_path == scope and row.unit in units:
            raise InvalidRequest(
                f"{scope} has a budget in {row.unit} already: `cycles local budget set` changes it, `fund` adds to it"
            )


@budget.command()
@ledger_option()
@scope_argument
@amount_options("How much")
@click.option(
    "--operation",
    type=click.Choice(OPERATIONS, case_sensitive=False),
    default="CREDIT",
    show_default=True,
    help="CREDIT adds, DEBIT takes; RESET sets the allocation; RESET_SPENT begins a new period; REPAY_DEBT repays.",
)
@click.option("--spent", metavar="AMOUNT", help="With RESET_SPENT: what counts as spent; default: nothing.")
@json_output
def fund(db: str, scope: str, *, operation: str, spent: str | None, as_json: bool, **values: Any) -> None:
    """Add to the budget of SCOPE, take from it, begin its period anew, or repay its debt.

    Each of them also opens a budget again that went over its limit. Of a budget that begins anew, CREDIT, DEBIT and
    REPAY_DEBT change its present period only.

    \b
    Example:
      cycles local budget fund tenant:acme --usd 10
    """
    amount = taken_amount(values)
    counted = None if spent is None else _in_unit_of(amount, spent, "--spent").amount
    with ledger(db, as_json=as_json) as authority:
        _shown([authority.fund(scope, operation, amount, spent=counted)], as_json=as_json)


@budget.command("list")
@ledger_option()
@click.option("--tenant", type=TenantType(), help="Only this tenant's.")
@json_output
def list_budgets(db: str, tenant: str | None, *, as_json: bool) -> None:
    """List every budget, with its status, its period, and when it begins anew; then the defaults of new scopes.

    \b
    Example:
      cycles local budget list
    """
    with ledger(db, as_json=as_json) as authority:
        found = (*authority.balances(), *authority.defaults())
        rows = [row for row in found if tenant is None or row.tenant == tenant.lower()]
    _shown(rows, as_json=as_json)


def _status_command(name: str, method: str, meaning: str) -> None:
    @budget.command(name, help=f"{meaning}\n\n\b\nExample:\n  cycles local budget {name} tenant:acme")
    @ledger_option()
    @scope_argument
    @click.option("--unit", type=click.Choice(UNIT_NAMES), help="Which, when SCOPE has budgets in several units.")
    @json_output
    def command(db: str, scope: str, unit: str | None, *, as_json: bool) -> None:
        with ledger(db, as_json=as_json) as authority:
            chosen = _only_unit(authority, scope) if unit is None else unit_named(unit)
            _shown([getattr(authority, method)(scope, chosen)], as_json=as_json)


def _only_unit(authority: LocalAuthority, scope: str) -> str:
    units = [row.unit for row in (*authority.balances(), *authority.defaults()) if row.scope_path == scope]
    if not units:
        raise InvalidRequest(f"no budget at {scope}; `cycles local budget list` shows what there is")
    if len(units) > 1:
        raise click.UsageError(f"{scope} has budgets in {' and '.join(units)}: say which with --unit")
    return units[0]


_status_command("freeze", "freeze", "Let nothing new be reserved from SCOPE; what is held can still be settled.")
_status_command("unfreeze", "unfreeze", "Undo freeze.")
_status_command("close", "close_budget", "Close the budget of SCOPE for good.")
