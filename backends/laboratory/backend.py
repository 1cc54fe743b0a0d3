"""The backend of a rack whose links share one measuring station.

Requests take pairs that were counted lately, or have them counted now. Between requests
(:meth:`LaboratoryBackend.idle`) links are mended, calibrations renewed and stocks refilled, one
short step at a time: a request never waits for more than a step, and no step begins while one runs.
Each window is judged before its pairs may be used; a link that is not UP gives none.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from backends.contract import Outcome, Plan
from backends.drivers.sessions import Session
from backends.laboratory.diagnosis import (
    Health,
    LinkState,
    Trouble,
    after_failure,
    after_success,
    due,
    look,
)
from backends.laboratory.evidence import Evidence, LinkEstimate, Window, window_of
from backends.laboratory.mending import Calibration, Steps, mend
from backends.laboratory.opening import Opener, open_drivers, start_stubs
from backends.laboratory.station import Station
from backends.laboratory.stock import Stock
from backends.photonic import refuse, tests_of
from backends.rack import open_instrument
from backends.sampling import check_plan
from quantum.batch import Batch, check_batch
from quantum.errors import DeviceError, InputError, RequestError
from quantum.rack import STUB, load_rack

__all__ = ["LaboratoryBackend", "LinkStatus"]

Ints = NDArray[np.int64]

#: Windows without any coincidence after which a request is given up.
_DARK_WINDOWS = 20
#: Stocks are refilled at half of their age, or below so many pairs.
_LOW_PAIRS = 24
#: Calibrations remembered.
_REMEMBERED = 1000


class LinkStatus(msgspec.Struct, frozen=True):
    """What is known of a link now."""

    link: str
    health: Health
    reason: str
    estimate: LinkEstimate
    skew_ps: int


class LaboratoryBackend:
    """Tests single pairs on the links of a rack with optics, and keeps the links calibrated.

    ``link`` is the one for programs that name none; it may be left out where there is but one.
    ``prepare`` calibrates all links before the constructor returns; it raises
    :class:`DeviceError` where none comes UP. A ``session`` records everything, or stands in for the
    instruments. One thread.
    """

    name = "lab"
    keeps = False

    def __init__(
        self,
        rack: Path,
        *,
        link: int | None = None,
        opener: Opener = open_instrument,
        clock: Callable[[], float] = time.monotonic,
        prepare: bool = True,
        session: Session | None = None,
    ) -> None:
        self.rack = load_rack(rack)
        last = len(self.rack.links) - 1
        if link is not None and not 0 <= link <= last:
            raise InputError(f"link must be 0 to {last}, got {link}")
        self._link = 0 if link is None and last == 0 else link
        self._clock = clock if session is None else session.time_of("lab").clock
        self.policy = self.rack.calibration
        self.calibrations: list[Calibration] = []
        self._numbers = [0] * (last + 1)
        self.states = [LinkState() for _ in self.rack.links]
        self._evidence = [Evidence(self.policy.window_s) for _ in self.rack.links]
        taggers = [self.rack.instruments[entry.instrument] for entry in self.rack.links]
        self._stock = Stock(min(entry.max_age_s for entry in taggers))
        self._skews = [entry.optics.skew_ps if entry.optics else 0 for entry in self.rack.links]
        self._working: tuple[int, Steps] | None = None
        self._turn = 0
        self._closed = False
        nodes = self.rack.network.nodes
        self.names = [f"{nodes[a]}-{nodes[b]}" for a, b in self.rack.network.links.tolist()]
        own = opener is open_instrument and (session is None or not session.replays)
        if session is not None:
            opener = partial(open_instrument, session=session)
        self.stubs = start_stubs(self.rack, rack) if own else None
        try:
            addresses = self.stubs.addresses if self.stubs is not None else {}
            self.station = Station(self.rack, open_drivers(self.rack, addresses, opener))
        except (DeviceError, InputError):
            if self.stubs is not None:
                self.stubs.close()
            raise
        try:
            self.source = self._source()
            if prepare:
                self._prepare()
        except (DeviceError, RequestError):
            self.close()
            raise

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Test as many real pairs as the plan asks for; ``plan.draw`` has no meaning here.

        Raises :class:`DeviceError` where a link is not UP, or does not stay so while it counts.
        """
        if self._closed:
            raise DeviceError("the lab backend is closed")
        check_plan(plan, len(check_batch(batch)), batch.qubits)
        refuse(batch, plan)
        links = self._links_of(plan)
        wanted = tests_of(plan, rng)
        counts = np.zeros((len(batch), 3, 2), dtype=np.int64)
        for link in sorted(set(links.tolist())):
            mine = links == link
            for basis in self._order(wanted[mine]):
                need = np.where(mine, wanted[:, basis], 0)
                passed = self._collect(link, basis, int(need.sum()), rng)
                counts[:, basis, 0] += rng.multivariate_hypergeometric(need, passed)
                counts[mine, basis, 1] = need[mine] - counts[mine, basis, 0]
        names = tuple(self.states[link].calibration for link in links.tolist())
        return Outcome(counts=counts, truth=None, source=self.source, calibration=names)

    def idle(self) -> bool:
        """Do one step of what is to be done between requests; False where there is nothing."""
        if self._closed:
            return False
        if self._working is None:
            self._begin()
        if self._working is not None:
            self._step()
            return True
        return self._refill()

    def status(self) -> list[LinkStatus]:
        """Return what is known of every link; an estimate that is too old is told as its reason."""
        now_s, told = self._clock(), []
        for link, state in enumerate(self.states):
            estimate = self._evidence[link].estimate(now_s, state.calibration)
            health, reason = state.health, state.reason
            if health is Health.UP and estimate.age_s > self.policy.max_age_s:
                health = Health.DEGRADED
                reason = f"not measured for {estimate.age_s:.0f} s"
            told.append(LinkStatus(self.names[link], health, reason, estimate, self._skews[link]))
        return told

    def close(self) -> None:
        """Leave the instruments safe and release everything; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._working = None
        try:
            with contextlib.suppress(DeviceError):
                self.station.safe()
        finally:
            self.station.close()
            if self.stubs is not None:
                self.stubs.close()

    def _source(self) -> str:
        """Return ``stub`` where any instrument is one: such counts are not those of light."""
        entries = self.rack.instruments
        stubbed = any(
            entries[name].address == STUB or driver.identify().is_stub
            for name, driver in self.station.drivers.items()
        )
        return "stub" if stubbed else "real"

    def _prepare(self) -> None:
        """Calibrate every link, or know why not."""
        while any(s.health is Health.DEGRADED for s in self.states):
            self.idle()
        if not any(state.health is Health.UP for state in self.states):
            raise DeviceError(f"{self.names[0]}: {self.states[0].reason}")

    def _links_of(self, plan: Plan) -> Ints:
        given = plan.link if plan.link is not None else np.full(len(plan.basis), -1)
        links: Ints = np.where(given < 0, -1 if self._link is None else self._link, given)
        last = len(self.rack.links) - 1
        if links.size and (links.min() < 0 or links.max() > last):
            raise InputError(f"rack {self.rack.name} has {last + 1} links: say which, 0 to {last}")
        return links

    def _order(self, wanted: Ints) -> list[int]:
        """Bases that are needed; those in stock cost nothing, whatever their order."""
        return [basis for basis in range(3) if wanted[:, basis].any()]

    def _up(self, link: int) -> None:
        self.station.check_tripped()
        state = self.states[link]
        if state.health is not Health.UP:
            raise DeviceError(f"link {self.names[link]} is {state.health}: {state.reason}")

    def _collect(self, link: int, basis: int, need: int, rng: np.random.Generator) -> int:
        """Take ``need`` pairs of a link in a basis; return how many passed."""
        self._up(link)
        taken, passed = self._stock.take(link, basis, need, self._clock(), rng)
        dark = 0
        while taken < need:
            try:
                window = self._count(link, basis, self._skews[link])
            except DeviceError as wrong:
                self._fail(link, str(wrong))
                raise
            self._judge(link, window)
            self._up(link)
            dark = 0 if window.pairs else dark + 1
            if dark == _DARK_WINDOWS:
                self._fail(link, f"no coincidence in {dark} windows")
                self._up(link)
            some, good = self._stock.take(link, basis, need - taken, self._clock(), rng)
            taken, passed = taken + some, passed + good
        return passed

    def _count(self, link: int, basis: int, skew_ps: int) -> Window:
        """Count one window; whatever is wrong with it, it never becomes a count."""
        self.station.look(link, basis, skew_ps)
        seen = self.station.count(link)
        return window_of(
            basis, seen.even, seen.odd, seen.singles, seen.integration_s, seen.not_before_s
        )

    def _judge(self, link: int, window: Window) -> None:
        """Take a window into the evidence, and its pairs into stock if all is well."""
        evidence = self._evidence[link]
        evidence.add(window)
        if self.policy.calibrate == "never":
            self._stock.add(link, window)
            return
        state = self.states[link]
        trouble = look(evidence, state, self.policy, self._clock())
        if trouble is Trouble.NONE:
            self._stock.add(link, window)
            return
        self._degrade(link, trouble, f"{trouble}, seen in basis {window.basis}")

    def _degrade(self, link: int, trouble: Trouble, reason: str) -> None:
        """Give no more pairs of a link; its counts of before say nothing about what comes."""
        self._stock.drop(link)
        self._evidence[link].clear()
        self.states[link] = replace(
            self.states[link], health=Health.DEGRADED, reason=reason, trouble=trouble, failures=0
        )

    def _fail(self, link: int, reason: str) -> None:
        """Note that instruments failed: trust nothing of before."""
        self.station.doubt()
        self._stock.drop(link)
        self._evidence[link].clear()
        self.states[link] = after_failure(self.states[link], reason, self.policy, self._clock())

    def _begin(self) -> None:
        """Choose a link to mend or to calibrate anew: those that are not UP first."""
        now_s = self._clock()
        waiting = [n for n, state in enumerate(self.states) if due(state, self.policy, now_s)]
        waiting.sort(
            key=lambda n: (self.states[n].health is Health.UP, self.states[n].calibrated_s)
        )
        if not waiting:
            return
        link = waiting[0]
        state = self.states[link]
        if state.health is Health.UP:
            # The search moves the polarisation: nothing may be used meanwhile.
            self._degrade(link, Trouble.NONE, "its calibration is being renewed")
        steps = mend(
            self.station,
            self.policy,
            self._count,
            link=link,
            names=(f"{self.names[link]}-{self._numbers[link] + 1}", self.names[link]),
            trouble=self.states[link].trouble,
            skew_ps=self._skews[link],
            first=state.calibration == "",
        )
        self._working = (link, steps)

    def _step(self) -> None:
        assert self._working is not None
        link, steps = self._working
        try:
            next(steps)
        except StopIteration as done:
            self._working = None
            self._finish(link, *done.value)
        except (DeviceError, RequestError) as wrong:
            self._working = None
            self._fail(link, str(wrong))

    def _finish(self, link: int, found: Calibration, counted: Evidence) -> None:
        for window in counted.windows:
            self._evidence[link].add(window)
        self._numbers[link] += 1
        self._skews[link] = found.skew_ps
        self.calibrations = [*self.calibrations, found][-_REMEMBERED:]
        self.states[link] = after_success(self.states[link], found.name, found.rates, self._clock())

    def _refill(self) -> bool:
        """Count one window where the stock is low or old; links take turns."""
        now_s, size = self._clock(), len(self.states)
        for offset in range(size):
            link = (self._turn + offset) % size
            if self.states[link].health is not Health.UP:
                continue
            old = [
                basis
                for basis in (2, 0, 1)
                if self._stock.age_s(link, basis, now_s) > self._stock.max_age_s / 2.0
                or self._stock.size(link, basis, now_s) < _LOW_PAIRS
            ]
            if old:
                self._turn = link
                try:
                    self._judge(link, self._count(link, old[0], self._skews[link]))
                except (DeviceError, RequestError) as wrong:
                    self._fail(link, str(wrong))
                return True
        self._turn = (self._turn + 1) % size
        return False
