"""The true process of a cell's demand, also as a forecaster that agents could follow.

What it expects nobody can forecast better from the past: it knows the phases, groups and rates that
a trace is drawn from, and what came so far, but no request before it comes.
"""

import numpy as np

from quantum.kernels import Table
from quantum.ledger.state import Floats, Ints
from quantum.presets import NETWORKS, Cell
from quantum.scenario import Scenario
from quantum.traffic import KINDS
from quantum.traffic_truth import Truth, true_process

__all__ = ["TrueArrivals", "process_of"]


def process_of(cell: Cell, scenario: Scenario) -> Truth | None:
    """Return the process that a scenario of a cell was drawn from; None for demand from a file.

    The scenario has to be one of :func:`quantum.presets.build` on the network of its seed.
    """
    name = cell.demand.lower()
    if name not in KINDS:
        return None
    return true_process(
        name,
        scenario.network,
        load_hz=scenario.trace.load_hz,
        seed=scenario.seed,
        network_seed=scenario.seed % NETWORKS,
        duration_s=scenario.warmup_s + scenario.seconds,
        slot_s=scenario.slot_s,
        fidelities=cell.fidelities,
        commodities=cell.commodities,
        distillation_rounds=cell.distillation_rounds,
    )


class TrueArrivals:
    """Expects what the true process does; see :class:`controller.arrivals.Arrivals`.

    ``commodities`` (K, 2) are the node pairs of the process, ``batch`` the pairs of a request. The
    classes of a node pair share what is expected of it equally, as its requests do.
    """

    def __init__(
        self, truth: Truth, classes: Table, commodities: Ints, *, batch: float, slot_s: float
    ) -> None:
        place = {(int(a), int(b)): k for k, (a, b) in enumerate(commodities.tolist())}
        ends = zip(classes["a"].tolist(), classes["b"].tolist(), strict=True)
        self._of: Ints = np.array([place[pair] for pair in ends], dtype=np.int64)
        alike = np.bincount(self._of, minlength=len(commodities))
        self._share: Floats = batch / alike[self._of]
        sizes, chances = truth.sizes()
        self._batches: Floats = (sizes * chances).sum(axis=1)
        self._once = truth.phase_s is not None
        self._last_s: Floats = np.full(len(commodities), -1.0)
        self._truth, self._slot_s = truth, slot_s

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`controller.arrivals.Arrivals`."""
        self._last_s[self._of[cls]] = slot * self._slot_s

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`controller.arrivals.Arrivals`."""
        now_s, ahead_s = slot * self._slot_s, horizon_slots * self._slot_s
        blocks = self._truth.blocks(now_s, self._last_s, 1, ahead_s)[:, 0]
        # A schedule has a block or none within its time; elsewhere blocks come one by one.
        mean = -np.expm1(-blocks) if self._once else blocks
        out: Floats = (mean * self._batches)[self._of] * self._share
        return out
