"""What a broker publishes about a run so far."""

from controller.dispatch import Dispatch
from quantum.egp import Telemetry
from quantum.ledger.state import SHARED

__all__ = ["telemetry_of"]


def telemetry_of(dispatch: Dispatch) -> Telemetry:
    """Sum up a run so far."""
    ledger, world = dispatch.ledger, dispatch.rules.world
    arrived = int(ledger.now[0].next_arrival)
    asked = world.request.pairs[:arrived]
    return Telemetry(
        slot=dispatch.slot,
        horizon=world.horizon,
        requested=int(asked.sum()),
        delivered=int(ledger.request.good[:arrived].sum()),
        executed=dispatch.results.executed,
        tested=dispatch.results.tested,
        stored=int(ledger.link.stock.sum()),
        rounds=dispatch.rounds.done,
        reward=dispatch.results.reward,
        fidelity=dispatch.results.pools.recent(),
        slot_s=world.slot_s,
        contention=_contention(dispatch),
    )


def _contention(dispatch: Dispatch) -> float:
    """Return the contention so far, 0 before counting begins."""
    world = dispatch.rules.world
    counted = min(world.slots, dispatch.slot - world.warmup) * (world.m + world.n)
    return float(dispatch.ledger.totals[SHARED]) / counted if counted > 0 else 0.0
