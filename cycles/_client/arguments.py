"""From the keyword arguments of a client's method, and its configuration, to a flow: the same for both clients.

Everything is checked here, before anything is sent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cycles._client import subjects
from cycles._client.checked import Checked
from cycles._client.options import (
    BalanceFilters,
    DecideOptions,
    LimitOptions,
    RecordOptions,
    ReservationFilters,
    ReserveOptions,
)
from cycles._client.running_limit import RunningLimit, checked_hold, drawn_on
from cycles._core import limit_flows, listings, queries, requests, section_flows
from cycles._core.policy_keys import policy_keys_of
from cycles._core.requests import LEVELS
from cycles._journal.recovery import drain
from cycles_api.models.action import Action
from cycles_api.models.amount import Amount
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from cycles._client.access import Access
    from cycles._client.checked import Same
    from cycles._client.running_limit import LimitOwner
    from cycles._client.upkeep import Upkeep
    from cycles._core.effects import Flow
    from cycles._core.flows import Asking
    from cycles._core.listings import Listing
    from cycles._core.results import Decision, Settlement
    from cycles._core.section import Section
    from cycles._drivers.world import World
    from cycles._journal.recovery import Drained
    from cycles.config import Config
    from cycles_api.models.balance import Balance
    from cycles_api.models.reservation_detail import ReservationDetail
    from cycles_api.models.reservation_summary import ReservationSummary


def spend(access: Access, name: str, kind: type, options: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the idempotency key, if any, and the arguments of `requests.terms` in the *options* of a method."""
    rest = _known(name, kind, options)
    if "action" not in rest:
        raise TypeError(f"{name}() needs action=(kind, name)")
    key = rest.pop("idempotency_key", None)
    given = {level: rest.pop(level, UNSET) for level in LEVELS}
    rest["levels"] = levels = subjects.resolved(given, access.config)
    keys, action = rest.get("policy_keys"), rest["action"]
    if keys is None and isinstance(action, Action) and not isinstance(action.policy_keys, Unset):
        keys = action.policy_keys
    if keys is not None:
        rest["policy_keys"] = policy_keys_of(keys)
    access.key_tenant.check(levels["tenant"])
    return None if key is None else requests.text("idempotency_key", key, most=256), rest


def checked(access: Access, estimate: Amount, options: Mapping[str, Any], same: Same | None = None) -> Checked:
    """Return the arguments of `Client.reserve`, checked.

    Args:
        access: Of the client. It remembers what came of the last ones, by *same*, the unit and who spends.
        estimate: The most that the work is expected to cost.
        options: The other arguments.
        same: The `signature` of the options; None to check them anew.

    Raises:
        InvalidRequest: naming the field.
    """
    known: tuple[object, ...] | None = None
    if same is not None and type(estimate) is Amount and type(estimate.amount) is int:
        known = (same, str(estimate.unit), subjects.around())
        found = access.checked.find(known)
        if found is not None:
            access.key_tenant.check(found.terms.subject.tenant)
            return found.estimating(estimate)
    key, rest = spend(access, "reserve", ReserveOptions, {"ttl": 60.0, **options})
    wait = requests.milliseconds("wait", rest.pop("wait", 0.0), low=0.0, high=requests.MAX_TTL) / 1000
    raise_on_unsettled = requests.switch("raise_on_unsettled", rest.pop("raise_on_unsettled", True))
    own = requests.switch("own", rest.pop("own", False))
    if known is not None:
        estimate = Amount(unit=estimate.unit, amount=estimate.amount)  # the caller's own one may be changed
    terms = requests.terms(estimate, **rest)
    made = Checked(terms, access.config.retry, key, wait, raise_on_unsettled, access.config.heartbeat, own)
    if known is not None:
        access.checked.keep(known, made)
    return made


def reserving(access: Access, asked: Checked, limit: RunningLimit | None, asking: Asking) -> Flow[Section]:
    """Return the flow of `Client.reserve`.

    Args:
        access: Of the client.
        asked: The arguments.
        limit: What it draws on, or None.
        asking: Where the flow notes what is not known, should it be cut off.
    """
    terms, policy, key, wait = asked[:4]

    def alone() -> Flow[Section]:
        unguarded = access.config.unavailable == "allow"
        return section_flows.begin(terms, policy, key=key, wait=wait, unguarded=unguarded, asking=asking)

    if limit is None:
        return alone()

    def piece(amount: Amount) -> Flow[Section]:
        return limit.reserve(asking, None, 0.0, amount)

    return limit_flows.admit(limit.account, terms, policy, piece, alone, wait=wait)


def limiting(
    access: Access, amount: Amount, options: LimitOptions, *, owner: LimitOwner, world: World, asking: Asking
) -> tuple[RunningLimit, Flow[None]]:
    """Return a limit that is about to begin, and the flow that begins it; see `cycles.Limit`.

    Args:
        access: Of the client.
        amount: What it may cost at most.
        options: The keyword arguments.
        owner: Who shows its numbers.
        world: What its flows run in.
        asking: Where the flow notes what is not known, should it be cut off.
    """
    key, rest = spend(access, "Limit", LimitOptions, {"ttl": 60.0, **options})
    wait = requests.milliseconds("wait", rest.pop("wait", 0.0), low=0.0, high=requests.MAX_TTL) / 1000
    raise_on_unsettled = requests.switch("raise_on_unsettled", rest.pop("raise_on_unsettled", False))
    hold, own = rest.pop("hold", None), requests.switch("own", rest.pop("own", False))
    terms = requests.terms(amount, **rest, field="amount")
    piece = None if hold is None else checked_hold(hold, amount)
    outer = None if own else drawn_on(access, terms)
    limit = RunningLimit(access, terms, piece, outer, owner=owner, world=world, raise_on_unsettled=raise_on_unsettled)
    return limit, limit_flows.begin(limit.account, limit.reserving(asking, key=key, wait=wait))


def deciding(access: Access, estimate: Amount, options: DecideOptions) -> Flow[Decision]:
    """Return the flow of `Client.decide`."""
    key, rest = spend(access, "decide", DecideOptions, options)
    return queries.decide(requests.terms(estimate, **rest), access.config.retry, key=key)


def recording(access: Access, actual: Amount, options: RecordOptions) -> Flow[Settlement]:
    """Return the flow of `Client.record`."""
    key, rest = spend(access, "record", RecordOptions, options)
    metrics = requests.checked_metrics(rest.pop("metrics", None))
    return queries.record(requests.terms(actual, **rest, field="actual"), metrics, access.config.retry, key=key)


def balances(config: Config, filters: BalanceFilters) -> Listing[Balance]:
    """Return the list of `Client.balances`."""
    levels, rest = _narrowed(config, _known("balances", BalanceFilters, filters))
    return listings.balances(levels, **rest)


def reservations(config: Config, filters: ReservationFilters) -> Listing[ReservationSummary]:
    """Return the list of `Client.reservations`."""
    levels, rest = _narrowed(config, _known("reservations", ReservationFilters, filters))
    return listings.reservations(levels, datetime.now(UTC), **rest)


def reading(config: Config, reservation_id: str) -> Flow[ReservationDetail]:
    """Return the flow of `Client.reservation`."""
    return queries.reservation(requests.text("reservation_id", reservation_id, most=128), config.retry)


def draining(config: Config, upkeep: Upkeep, timeout: float | timedelta, *, now: bool) -> Flow[Drained]:
    """Return the flow of `Client.drain`."""
    requests.switch("now", now)
    seconds = requests.milliseconds("timeout", timeout, low=0.0, high=requests.MAX_TTL) / 1000
    patience = config.connect_timeout + config.read_timeout
    return drain(upkeep.journal, config.retry, seconds, patience, now=now, owed=upkeep.owed)


def _narrowed(config: Config, rest: dict[str, Any]) -> tuple[dict[str, str | None], dict[str, Any]]:
    """Return the levels that narrow a list, and its other filters: a list is of everything that may be seen."""
    given = {level: rest.pop(level, UNSET) for level in LEVELS}
    usual = {"tenant": config.tenant}
    return {name: usual.get(name) if isinstance(value, Unset) else value for name, value in given.items()}, rest


def _known(name: str, kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the *options* of the method *name*, which are all among those of *kind*."""
    unknown = sorted(options.keys() - kind.__annotations__.keys())
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
    return dict(options)
