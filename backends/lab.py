"""The backend made of instruments: pairs are real coincidences, counted by a driver.

A photonic rack measures pairs as they arrive. It cannot keep, swap or distill them, and the state
it makes is whatever the source makes: a program's populations are a wish, not a setting. A failed
instrument raises :class:`quantum.errors.DeviceError`; it never becomes a count.
"""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backends.contract import Outcome, Plan
from backends.drivers.sessions import Session
from backends.laboratory.opening import Opener
from backends.photonic import refuse, tests_of
from backends.rack import SHIPPED_RACK, open_instrument
from backends.sampling import check_plan
from quantum.batch import Batch, check_batch
from quantum.bell import BASES
from quantum.errors import DeviceError, InputError
from quantum.rack import STUB, load_rack

if TYPE_CHECKING:
    from backends.laboratory.backend import LaboratoryBackend

__all__ = ["LabBackend", "open_lab"]

Ints = NDArray[np.int64]

#: Whether equal outcomes are what phi_plus shows, for bases xx, yy, zz.
_EVEN_PASSES = (True, False, True)

#: Windows without any coincidence after which light is taken to be gone.
_DARK_WINDOWS = 20

#: An instrument that failed twice in a row is left alone for so long: who waits for one that is
#: gone, request by request, waits for minutes.
_REST_S = 3.0


@dataclass(frozen=True)
class _Surplus:
    """Pairs that were counted but not needed; the oldest was measured at ``since_s``."""

    passed: int
    failed: int
    since_s: float


class LabBackend:
    """Runs single-pair tests on the instrument of one link of a rack.

    ``rack`` is a rack file, by default the shipped one with a stub of its own. ``link`` numbers the
    link of the rack's network; it may be left out where there is but one. Pairs are drawn without
    replacement from windows counted after the basis was set; what is left over serves later
    requests in the same basis while it is young. A ``session`` records everything, or stands in for
    the instrument: a replay with the same requests and generators gives the same counts.
    """

    name = "lab"
    keeps = False

    def __init__(
        self,
        rack: Path | None = None,
        *,
        link: int | None = None,
        opener: Opener = open_instrument,
        clock: Callable[[], float] = time.monotonic,
        session: Session | None = None,
    ) -> None:
        self.rack = load_rack(rack if rack is not None else SHIPPED_RACK)
        last = len(self.rack.links) - 1
        if link is None and last > 0:
            raise InputError(f"rack {self.rack.name} has {last + 1} links: say which, 0 to {last}")
        chosen = link or 0
        if not 0 <= chosen <= last:
            raise InputError(f"link must be 0 to {last}, got {chosen}")
        self._entry = self.rack.instruments[self.rack.links[chosen].instrument]
        self._clock = clock if session is None else session.time_of("lab").clock
        self._basis: int | None = None
        self._configured = False
        self._touched = False
        self._closed = False
        self._surplus: dict[int, _Surplus] = {}
        self._failures = 0
        self._rests_until_s = -math.inf
        self._trouble = ""
        if session is not None:
            opener = partial(open_instrument, session=session)
        self.driver, self.stub = opener(self._entry, self.rack.folder)
        try:
            stubbed = self._entry.address == STUB or self.driver.identify().is_stub
        except DeviceError:
            self.close()
            raise
        self.source = "stub" if stubbed else "real"

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Test as many real pairs as the plan asks for; ``plan.draw`` has no meaning here."""
        if self._closed:
            raise DeviceError("the lab backend is closed")
        check_plan(plan, len(check_batch(batch)), batch.qubits)
        refuse(batch, plan)
        if self._clock() < self._rests_until_s:
            raise DeviceError(f"{self._trouble}; it is tried again every {_REST_S:g} s")
        wanted = tests_of(plan, rng)
        counts = np.zeros((len(batch), 3, 2), dtype=np.int64)
        try:
            for basis in self._order(wanted):
                need = wanted[:, basis]
                passed = self._collect(basis, int(need.sum()), rng)
                counts[:, basis, 0] = rng.multivariate_hypergeometric(need, passed)
                counts[:, basis, 1] = need - counts[:, basis, 0]
        except DeviceError as wrong:
            # The instrument may have restarted or hold another basis: trust nothing of before.
            self._forget()
            self._failures += 1
            if self._failures > 1:
                self._trouble = str(wrong)
                self._rests_until_s = self._clock() + _REST_S
            raise
        self._failures = 0
        return Outcome(counts=counts, truth=None, source=self.source)

    def close(self) -> None:
        """Leave the instrument safe and release everything; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        try:
            # An instrument that is gone already must not keep us from closing the rest.
            with contextlib.suppress(DeviceError):
                if self._touched:
                    self.driver.safe_state()
        finally:
            self.driver.close()
            if self.stub is not None:
                self.stub.close()

    def _order(self, wanted: Ints) -> list[int]:
        """Bases that are needed, the present one first: each change costs several windows."""
        needed = [basis for basis in range(3) if wanted[:, basis].any()]
        return sorted(needed, key=lambda basis: (basis != self._basis, basis))

    def _collect(self, basis: int, need: int, rng: np.random.Generator) -> int:
        """Take ``need`` pairs in a basis; return how many of them passed."""
        taken = passed = 0
        old = self._surplus.pop(basis, None)
        if old is not None and self._clock() - old.since_s <= self._entry.max_age_s:
            taken, passed = self._take(basis, old, need, rng)
        dark = 0
        while taken < need:
            window = self._window(basis)
            dark = 0 if window.passed + window.failed else dark + 1
            if dark == _DARK_WINDOWS:
                raise DeviceError(
                    f"{self._entry.name}: no coincidence in {dark} windows of "
                    f"{self._entry.integration_s:g} s; check source, clock offset and detectors"
                )
            more, good = self._take(basis, window, need - taken, rng)
            taken, passed = taken + more, passed + good
        return passed

    def _take(
        self, basis: int, pool: _Surplus, need: int, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draw up to ``need`` pairs from a pool without replacement; keep the rest."""
        size = pool.passed + pool.failed
        taken = min(need, size)
        passed = int(rng.hypergeometric(pool.passed, pool.failed, taken)) if taken else 0
        if taken < size:
            left = pool.passed - passed, pool.failed - (taken - passed)
            self._surplus[basis] = _Surplus(left[0], left[1], pool.since_s)
        return taken, passed

    def _window(self, basis: int) -> _Surplus:
        integration_s = self._entry.integration_s
        if not self._configured:
            self._touched = True
            self.driver.configure(integration_s)
            self._configured = True
        if self._basis != basis:
            self._basis = None
            self.driver.set_basis(BASES[basis])
            self._basis = basis
        seen = self.driver.coincidences(integration_s)
        good, bad = (seen.even, seen.odd) if _EVEN_PASSES[basis] else (seen.odd, seen.even)
        return _Surplus(good, bad, seen.not_before_s)

    def _forget(self) -> None:
        self._basis = None
        self._configured = False
        self._surplus.clear()


def open_lab(
    rack: Path | None = None, *, link: int | None = None, opener: Opener = open_instrument
) -> "LabBackend | LaboratoryBackend":
    """Open what a rack file asks for: links with optics, or one whose tagger switches its basis.

    ``rack`` is by default the shipped one with a stub of its own.
    """
    from backends.laboratory.backend import LaboratoryBackend

    path = rack if rack is not None else SHIPPED_RACK
    if load_rack(path).links[0].optics is not None:
        return LaboratoryBackend(path, link=link, opener=opener)
    return LabBackend(path, link=link, opener=opener)
