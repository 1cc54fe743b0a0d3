"""The twin: a whole network played in one process, at millions of node-slots a second.

Rule-based allocators run in one compiled loop; a learned policy is asked between the steps (see
``controller/env.py``). Draws, physics and accounting are the ledger's, so the live system, which
plays the same ledger through sockets, takes the same decisions.
"""

from dataclasses import dataclass

import numpy as np

from quantum.kernels import lean
from quantum.ledger import (
    Ledger,
    Rule,
    World,
    act_as_needed,
    close_slot,
    generate,
    open_slot,
    serve,
)
from quantum.ledger.state import SHARED, Ints

__all__ = ["Score", "advance", "counted", "score"]


@lean
def advance(world: World, ledger: Ledger, rule: Rule, stop: int) -> None:
    """Play slots by the rule until ``ledger.clock`` is ``stop``."""
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        act_as_needed(world, ledger, rule)
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        close_slot(world, ledger)


@dataclass(frozen=True)
class Score:
    """What a run is worth; requests that arrived in the evaluation window count.

    ``pairs_delivered`` meet the fidelity asked; ``contention`` is the share of resource-slots that
    two or more live requests want; latencies are of delivered pairs, in network time.
    """

    requests: int
    pairs_requested: int
    pairs_delivered: int
    contention: float
    latency_p50_ms: float
    latency_p99_ms: float

    @property
    def delivery_rate(self) -> float:
        """Delivered over requested pairs, 0 where nothing was requested."""
        return self.pairs_delivered / self.pairs_requested if self.pairs_requested else 0.0


def counted(world: World) -> Ints:
    """Return the requests that arrived in the evaluation window."""
    arrival, stop = world.request.arrival, world.warmup + world.slots
    return np.flatnonzero((arrival >= world.warmup) & (arrival < stop))


def score(world: World, ledger: Ledger) -> Score:
    """Score a ledger that was played to the world's horizon."""
    which = counted(world)
    spaces = (world.m + world.n) * world.slots
    return Score(
        requests=len(which),
        pairs_requested=int(world.request.pairs[which].sum()),
        pairs_delivered=int(ledger.request.good[which].sum()),
        contention=float(ledger.totals[SHARED]) / spaces if spaces else 0.0,
        latency_p50_ms=_wait(ledger.waits, 0.5) * world.slot_s * 1e3,
        latency_p99_ms=_wait(ledger.waits, 0.99) * world.slot_s * 1e3,
    )


def _wait(histogram: Ints, share: float) -> float:
    """Return the slots within which ``share`` of the delivered pairs came; 0 where none came."""
    total = int(histogram.sum())
    if total == 0:
        return 0.0
    return float(np.searchsorted(np.cumsum(histogram), share * total))
