"""Exit codes, and errors as people and programs read them. They show no traceback and no key."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from cycles import errors
from cycles.cli._output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

NO: Final = 1
"""The answer is no: denied, something is wrong, something is still pending."""

USAGE: Final = 2
"""The command line, or a setting, is wrong or missing."""

UNREACHABLE: Final = 3
"""The authority can't be reached, failed, is too busy, or something else answers at its address."""

REFUSED: Final = 4
"""The authority understood, and refuses: the key, the tenant, an unknown id, a reservation that is over."""

UNWRITTEN: Final = 5
"""What the command has to say can't be written; its work may be done."""

CODES: Final = (
    (0, "done; the answer is yes"),
    (NO, "the answer is no: denied, something is wrong (`doctor`), something is still pending, or you said no"),
    (USAGE, "the command line or a setting is wrong or missing; nothing was sent"),
    (UNREACHABLE, "the authority can't be reached, failed, or is no authority; trying again later may help"),
    (REFUSED, "the authority refuses: the key, the tenant, an unknown id, a reservation that is over already"),
    (UNWRITTEN, "what the command has to say can't be written, such as to a full disk"),
)
"""What docs/cli.md says about exit codes."""

REMEDIES: Final[dict[type[errors.CyclesError], str]] = {
    errors.BudgetExceeded: "ask for less, wait for releases, or have the budget raised (`cycles balances` shows it)",
    errors.BudgetNotFound: "check the subject's levels and the unit (`cycles balances`), or have a budget made",
    errors.Unauthorized: "set CYCLES_API_KEY (or --api-key-file) to a live key of this authority",
    errors.Forbidden: "the key is another tenant's: set CYCLES_TENANT (or --tenant) to the key's, or use another key",
    errors.UnitMismatch: "give the amount in the unit of the budget (`cycles balances` shows it)",
    errors.IdempotencyMismatch: "the key was used for something else: choose another one",
    errors.InternalError: "ask the authority's operator, with the request id",
    errors.UnexpectedResponse: "`cycles doctor` says what answers there",
    errors.AuthorityUnavailable: "`cycles doctor` finds out where it fails",
    errors.SettlementPending: "do not record it again; `cycles journal drain` settles it",
}
"""What to do about an error in a command; else the error's own remedy is shown."""

LOCAL_REMEDIES: Final[dict[type[errors.CyclesError], str]] = {
    errors.BudgetExceeded: "ask for less, wait for releases, or fund the budget (`cycles local budget fund`)",
    errors.BudgetFrozen: "unfreeze it (`cycles local budget unfreeze`)",
    errors.BudgetNotFound: "check the subject's levels and the unit (`cycles balances`), or make a budget "
    "(`cycles local budget create`)",
    errors.DebtOutstanding: "repay the debt first (`cycles local budget fund --operation REPAY_DEBT`)",
    errors.OverdraftLimitExceeded: "fund it (`cycles local budget fund`)",
}
"""What to do about it in a ledger of this machine, whose operator is the one who reads it."""


_UNWRITABLE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF))


def end_unwritten(error: OSError) -> NoReturn:
    """End the command whose output failed with *error*; all other errors are raised again."""
    if error.errno not in _UNWRITABLE:
        raise error
    with suppress(OSError):
        click.echo(f"Error: the output can't be written: {error.strerror}", err=True)
    # Python would try once more at its exit to write what is left.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
    sys.exit(UNWRITTEN)


def code_of(error: errors.CyclesError) -> int:
    """Return the exit code of *error*."""
    if isinstance(error, errors.ConfigError | errors.InvalidRequest | errors.JournalError):
        return USAGE
    if isinstance(error, errors.Denied | errors.SettlementPending):
        return NO
    unusable = (errors.AuthorityUnavailable, errors.InternalError, errors.UnexpectedResponse, errors.RateLimited)
    return UNREACHABLE if isinstance(error, unusable) else REFUSED


def remedy_of(
    kind: type[errors.CyclesError], detail: errors.DenialDetail | None = None, *, is_local: bool
) -> str | None:
    """Return what to do about an error of this *kind*, or None when its message says it.

    Args:
        kind: Of the error.
        detail: What the authority says about a denial, or None: its own advice is the best there is, but for the
            commands that change a ledger of this machine.
        is_local: Whether the ledger is a `local:` one: only there `cycles local` changes budgets.
    """
    known = LOCAL_REMEDIES if is_local else {}
    if detail is None or detail.suggested_fix is None:
        known = {**REMEDIES, **known}
        return next((known[each] for each in kind.__mro__ if each in known), kind.remedy)
    return next((known[each] for each in kind.__mro__ if each in known), detail.suggested_fix)


def remedy_for(reason_code: str | None, detail: errors.DenialDetail | None = None, *, is_local: bool) -> str | None:
    """Return what to do about a denial with this reason."""
    return remedy_of(errors.DENIALS.get(reason_code or "", errors.CyclesError), detail, is_local=is_local)


class Failure(click.ClickException):
    """An error as the command shows it: on stderr, with its remedy; one line of JSON where JSON is written.

    Args:
        message: What went wrong.
        code: The exit code.
        remedy: What to do, or None when the message says so.
        as_json: Whether to write it as JSON.
        facts: More fields of the JSON, for programs.
    """

    def __init__(
        self,
        message: str,
        code: int,
        *,
        remedy: str | None = None,
        as_json: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click's own subclasses do so too
        self.remedy: Final = remedy
        self.as_json: Final = as_json
        self.facts: Final = facts or {}

    def show(self, file: Any = None) -> None:
        if self.as_json:
            said: dict[str, Any] = {"message": self.message, "remedy": self.remedy, "exit_code": self.exit_code}
            click.echo(json.dumps({"error": said | self.facts}), file=file, err=file is None)
            return
        click.echo(f"Error: {printable(self.message)}", file=file, err=file is None)
        if self.remedy is not None:
            click.echo(f"Remedy: {self.remedy}", file=file, err=file is None)


class Asked:
    """What a command asks, as far as it is known when an error is shown.

    Attributes:
        is_local: Whether it is a ledger of this machine.
    """

    def __init__(self, *, is_local: bool) -> None:
        self.is_local = is_local


@contextmanager
def explained(*, as_json: bool = False, refused: bool = False, is_local: bool = False) -> Iterator[Asked]:
    """Show our errors as the command's, without a traceback.

    Args:
        as_json: Whether to write them as JSON.
        refused: Whether an InvalidRequest is the ledger's refusal, as in provisioning, and no usage error.
        is_local: Whether the command asks a ledger of this machine; it may say so later.
    """
    asked = Asked(is_local=is_local)
    try:
        yield asked
    except errors.CyclesError as error:
        code = REFUSED if refused and isinstance(error, errors.InvalidRequest) else code_of(error)
        facts: dict[str, Any] = {"type": type(error).__name__, "status": error.status, "code": error.code}
        facts |= {"request_id": error.request_id, "details": error.details}
        shown = error.message if as_json or not error.facts else f"{error.message} ({error.facts})"
        detail = error.detail if isinstance(error, errors.Denied) else None
        remedy = remedy_of(type(error), detail, is_local=asked.is_local)
        raise Failure(shown, code, remedy=remedy, as_json=as_json, facts=facts) from None
