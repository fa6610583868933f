"""Schedules with limits: sections inside that take turns effect by effect, pieces, lost leases, kills, recovery.

The model here knows what each section has spent, and asks the account nothing. What must hold:

    admission       what the sections of a limit hold and have spent is within it whenever one more is admitted
    charge          the authority took exactly what the sections settled, by their limit or by themselves
    interrupt       a section that is interrupted, before or after any effect, holds nothing once its end has run
    kill            it took what they had settled or reported, once that is on record
    end             nothing is held any more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._client.running_section import leave_to_background
from cycles._core import limit_flows, section_flows, settlements
from cycles._core.effects import Forget, Record, Sleep
from cycles._core.jobs import Charge, GiveBack
from cycles._core.recovery import Recovery, recover
from cycles._core.renewal import Heart
from cycles._core.requests import terms
from cycles.amounts import tokens
from cycles.errors import CyclesError
from cycles.testing.disk import Single
from cycles.testing.faults import Fault
from cycles.testing.limit_model import LEVELS, SimulatedLimit, Spender
from cycles.testing.limit_tasks import renewed, until_done
from cycles.testing.limit_world import LimitWorld
from cycles.testing.violation import must

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.limits import Piece
    from cycles._core.requests import Terms
    from cycles._core.section import Section

_MOST_ROUNDS: Final = 120


class LimitSimulation(LimitWorld):
    """A schedule with limits, from its seed; the same face as `Simulation`."""

    scale = 1

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._limits: Final[list[SimulatedLimit]] = []
        self.spenders: Final[list[Spender]] = []
        self._share_awaited: Final = self.random.choice((0.9, 0.4))
        self._interrupts: Final = self.random.choice((0.0, 0.3))
        self.in_flux: Final[dict[Spender, tuple[int, int]]] = {}

    # -- the whole schedule --------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Run it to its end.

        Raises:
            Broken: when an invariant does not hold.
        """
        limit = self._new_limit("run", None)
        self.start("run", self._run_of(limit, depth=0))
        self.until_idle()
        must(not self.tasks, "a schedule ends", "")
        was_quiet = self.calm_network and not self.has_crashed and not self.faults
        if was_quiet:
            self._nothing_held()
        self.calm_down()
        for _ in range(_MOST_ROUNDS):
            if not self.disk.files:
                break
            self._recover()
            self.now += 90.0  # in all more than the longest floor
        must(not self.disk.files, "every record is settled or refused", list(self.disk.files))
        while self.wire.late:
            self.now = max(self.now, min(when for when, _ in self.wire.late))
            self.wire.deliver_late(self.now)
        self.now = max(self.now, self.authority.last_deadline) + 1.0
        self.authority.sweep(self.now)
        self._nothing_held()
        least = sum(spender.least for spender in self.spenders)
        most = sum(spender.most for spender in self.spenders)
        taken = self.authority.taken
        must(
            least <= taken <= most,
            "the authority is charged what inner sections settled",
            f"{taken} taken, {least} to {most} spent",
        )

    def _nothing_held(self) -> None:
        live = [hold for hold in self.authority.books.holds.values() if hold.status == "ACTIVE"]
        must(not live, "nothing is held after the end", live)

    def _recover(self) -> None:
        """Settle what the journal holds, as another process does; two may do so at once."""
        for name in list(self.disk.files):
            for number in range(self.random.choice((1, 1, 2))):
                queue = Single(self.disk, name)
                self.start(f"recover {number}", recover(queue, Recovery(), 2))
        self.until_idle()

    # -- programs ------------------------------------------------------------------------------------------------------
    def _new_limit(self, name: str, outer: SimulatedLimit | None) -> SimulatedLimit:
        limit = SimulatedLimit(self, name, outer)
        self._limits.append(limit)
        return limit

    def _run_of(self, limit: SimulatedLimit, *, depth: int) -> Flow[None]:
        try:
            yield from limit_flows.begin(limit.account, limit.reserve)
        except CyclesError:
            return
        self._keep(limit)
        running: list[bool] = []
        for number in range(self.random.choice((1, 2, 3, 5))):
            waited_for = self.random.random() < self._share_awaited
            if waited_for:
                running.append(True)
            task = self.start(
                f"{limit.account.name}.{number}",
                self._waited_for(limit, number, running) if waited_for else self.section(limit, number),
            )
            if self.random.random() < self._interrupts:
                task.interrupt_in, task.is_after = self.random.randrange(16), self.random.random() < 0.5
        if depth == 0 and self.random.random() < 0.4:
            yield from Sleep(self.random.choice((0.0, 0.5)))
            inner = self._new_limit("part", limit)
            yield from self._run_of(inner, depth=1)
        while running:
            yield from Sleep(0.1)
        yield from Sleep(self.random.choice((0.0, 0.4, 4.0)))  # what nobody waits for may be under way
        yield from self._end_of(limit)

    def _end_of(self, limit: SimulatedLimit) -> Flow[None]:
        pieces = self._pieces_of(limit)
        for spender in pieces:
            spender.held = 0  # gives the rest back one by one
        leaving = [spender for spender in limit.open if spender.most]
        for spender in leaving:  # between its limit's record and its own, a report is in neither
            spender.least = 0
        self._keys += 1
        was_cut_off = yield from self._perhaps_cut_off(limit_flows.end(limit.account, f"key-{self._keys}"))
        if was_cut_off and not self.plan.calm and self.random.random() < 0.6:
            self._crash_at = self.effects + self.random.randrange(1, 4)  # who is interrupted is often killed next
        for hold in limit.account.holds:
            must(not hold.section.is_open, "an end leaves no reservation open", hold.section.reservation_id)
            leave_to_background(hold.section, self)
        if limit.outer is not None:
            limit.outer.spent += limit.spent if pieces else 0
            limit.outer.open.difference_update(pieces)
        limit.open.clear()
        self.in_flux.update((spender, spender.now) for spender in leaving)

    def _pieces_of(self, limit: SimulatedLimit) -> list[Spender]:
        """Return what *limit* has of its outer one, as the model knows it."""
        if limit.outer is None:
            return []
        spenders = limit.outer.account.spenders
        return [spenders[hold.section.share] for hold in limit.account.holds if hold.section.share in spenders]

    def _waited_for(self, limit: SimulatedLimit, number: int, running: list[bool]) -> Flow[None]:
        yield from self.section(limit, number)
        running.pop()

    def section(self, limit: SimulatedLimit, number: int) -> Flow[None]:
        random = self.random
        estimate, actual = random.randrange(1, 9), random.randrange(0, 12)
        wanted = terms(tokens(estimate), action=("tool", f"t{number % 3}"), levels=LEVELS, ttl=5.0)
        admitted = yield from self.admitted(limit, wanted)
        if admitted is None:
            return
        section, spender = admitted
        kind = random.choice(("commit", "commit", "release", "raise", "nothing"))
        try:
            for _ in range(random.choice((0, 0, 1, 2))):
                yield from Sleep(random.choice((0.01, 0.3, 8.0)))
                if random.random() < 0.6:
                    yield from self._reports(section, spender, random.randrange(0, 12))
        except KeyboardInterrupt:
            kind = "raise"
        yield from self._ends(limit, section, spender, actual, kind)

    def admitted(self, limit: SimulatedLimit, wanted: Terms) -> Flow[tuple[Section, Spender] | None]:
        """Ask *limit* for a section; return it, and what the model knows of it, or None when there is none."""
        random, task, account = self.random, self.running, limit.account
        try:
            yield from Sleep(random.choice((0.0, 0.0, 0.2, 3.0)))
            section = yield from limit_flows.admit(
                account,
                wanted,
                limit.policy,
                limit.reserve,
                lambda: section_flows.begin(wanted, limit.policy),
                wait=random.choice((0.0, 0.0, 2.0)),
            )
        except (CyclesError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                task.abandons()
            self._keep(limit)
            return None
        share = section.share
        spender = Spender(wanted.estimate.amount) if share is None else account.spenders[share]
        self.spenders.append(spender)
        self._beats(section)
        self._keep(limit)
        return section, spender

    def _reports(self, section: Section, spender: Spender, amount: int) -> Flow[None]:
        spender.moves_to(amount)
        spender.held = min(spender.held, max(spender.estimate, amount))  # the account may be there already
        try:
            yield from section_flows.report(section, tokens(amount), None, None)
            self.in_flux[spender] = spender.now  # else it is counted, and perhaps on record
        finally:
            spender.held = max(spender.estimate, amount)

    def _ends(self, limit: SimulatedLimit, section: Section, spender: Spender, actual: int, kind: str) -> Flow[None]:
        reported = spender.now[0] if section.reported is not None else None
        if kind == "commit":
            amount = actual
        elif kind == "release":
            amount = 0
        elif kind == "raise":
            amount = 0 if reported is None else reported
        else:
            amount = spender.estimate if reported is None else reported
        spender.moves_to(amount)
        spender.held = min(spender.held, amount)
        try:
            if kind == "commit":
                yield from section_flows.commit(section, tokens(actual))
            elif kind == "release":
                yield from section_flows.release(section, "not needed")
            else:
                yield from section_flows.end(section, raised=KeyError() if kind == "raise" else None)
            self.in_flux[spender] = spender.now
        except KeyboardInterrupt:  # on record may be what it settled, or what it had reported
            amount = self._leaves(limit, section, amount)
            spender.moves_to(amount)
        limit.settled(spender, amount)

    def _leaves(self, limit: SimulatedLimit, section: Section, amount: int) -> int:
        """Do what a client does with a section whose end was interrupted; return what it will have spent."""
        if section.is_open:  # it is dropped
            left = section.provisional
            amount = 0 if left is None else left.actual.amount
            section_flows.dropped(section)
            if left is not None:
                self.start("charge", settlements.settle(left.final(), limit.policy, goes_on=True))
        else:
            leave_to_background(section, self)
        return amount

    def _keep(self, limit: SimulatedLimit) -> None:
        """Renew new leases, and ask for a piece ahead of need, as a client does after each reserve."""
        for hold in limit.account.unkept():
            self._beats(hold.section)
        must(limit.account.granted <= limit.account.amount, "pieces never exceed the limit", limit.account.granted)
        piece = limit.account.ahead()
        if piece is not None:
            self.start("ahead", self._ahead(limit, piece))

    def _ahead(self, limit: SimulatedLimit, piece: Piece) -> Flow[None]:
        yield from limit_flows.take_ahead(limit.account, piece, limit.reserve)
        self._keep(limit)

    def _beats(self, section: Section) -> None:
        if section.share is None and section.reservation_id is not None:
            self.start("heart", renewed(Heart(section, ordinary=5.0)))

    # -- interrupts ------------------------------------------------------------------------------------------------
    def _perhaps_cut_off(self, flow: Flow[Any]) -> Flow[bool]:
        """Run *flow*, the end of a limit; an interrupt may hit it at any effect, before or after that is performed.

        Returns:
            Whether one did.
        """
        at = self.random.randrange(self.random.choice((3, 16))) if self.random.random() < 0.4 else None
        number = 0
        try:
            effect = next(flow)
            while number != at:
                effect = flow.send((yield effect))
                number += 1
            if isinstance(effect, Record | Forget) or self.random.random() < 0.5:
                yield effect
            self.faults[Fault.KEYBOARD_INTERRUPT] += 1
            self.trace.add(self.now, "run", "", effect, fault=Fault.KEYBOARD_INTERRUPT, outcome="thrown")
            effect = flow.throw(KeyboardInterrupt())
            while True:  # what is left to do before it comes out
                effect = flow.send((yield effect))
        except StopIteration:
            return False
        except KeyboardInterrupt:
            return True
        finally:
            flow.close()

    def give_back(self, section: Section) -> None:
        """Do what is left to do for a *section* that was dropped: none is."""
        raise AssertionError(section)

    def settle_later(self, section: Section) -> None:
        """Go on with the charge of *section*, as a client's background does."""
        if section.owed is not None:
            self.start("charge", until_done(Charge(section.owed, section.policy, due=self.now)))

    def release_later(self, section: Section) -> None:
        """Go on with giving back the hold of *section*; see `settle_later`."""
        if section.provisional is not None:
            self.disk.forget(section.provisional, rejected=False)
        held = section.reservation_id
        if held is None:
            return
        self.start("give back", until_done(GiveBack(section.policy, reservation_id=held, due=self.now)))

    def _stepped(self) -> None:
        """What sections said is on record as soon as nobody is in the middle of recording."""
        if self.in_flux and not any(limit.is_recording for limit in self._limits):
            for spender, amounts in self.in_flux.items():
                spender.is_on_record(amounts)
            self.in_flux.clear()
