"""Mean rate, tuned: stock targets from the long-run mean demand. The rival to beat.

No forecast and no learning. To :mod:`controller.rivals.mean_rate_plain` it adds, each a lever:

- targets from the flows at 1.5 times the knee, where they spread, for a second of demand whatever
  the cutoff (``stock_s``), with a ``reserve``;
- tokens go to the gap relative to the target as well (``gap``, ``relative``), and rather to
  neighbours whose memory has room (``peer_fill``);
- a full memory gives up the pair that is missed least (``evict``);
- pending requests plan together where pairs are made (``complete``), and chains of stored pairs
  are chosen by price: empty swap buckets, scarce pairs, age, loss of fidelity.

What each is worth with the others in place, in points of the bound (32 training cells, half of
them with deadlines of 0.1 s; standard errors): eviction 4.8 +- 1.0; claims that complete stock
and share it out 3.6 +- 0.8, of which the sharing 0.8 +- 0.5; neighbours' memory 0.9 +- 0.4; flows
at 1.5 times the knee 0.6 +- 0.4; a second whatever the cutoff 0.5 +- 0.3; the relative gap 0.2 +-
0.3. Prices were measured before claims were shared out, on 30 other cells: that of nearly empty
buckets 0.2 +- 0.3, scarcity and age 0.0 +- 0.1, so none of them is seen to pay here.
"""

from typing import Any

import numpy as np

from controller.plan import RESERVE, STOCK_S, Plan
from controller.rivals.allocator import Allocator
from controller.rivals.tuned import tuned
from quantum.ledger import Rule
from quantum.ledger.state import Floats
from quantum.scenario import Scenario

__all__ = ["LEVERS", "allocator", "make", "rule_of", "stock_of"]

#: What tuning may try.
LEVERS = {
    "stock_s": (0.5, 0.7, 1.0, 1.4, 2.0),
    "reserve": (0.1, 0.3, 0.6, 1.0),
    "gap": (0.25, 0.5, 1.0, 2.0),
    "relative": (0.5, 1.0, 2.0),
    "peer_fill": (0.0, 0.5, 1.0, 2.0),
    "evict": (0.0, 0.2, 0.5, 1.0),
    "bucket": (0.0, 2.0, 4.0, 8.0),
    "inverse": (1.0, 3.0, 6.0, 12.0),
    "scarce": (0.0, 0.5, 1.0, 2.0),
    "age": (0.0, 0.5, 1.0, 2.0),
    "fidelity": (0.25, 0.5, 1.0, 2.0),
    "rate": (0.5, 1.0, 2.0, 4.0),
    "makes": (0.1, 0.2, 0.3, 0.5),
}


def stock_of(plan: Plan, *, stock_s: float = STOCK_S, reserve: float = RESERVE) -> Floats:
    """Return the targets (m,) in pairs: the mean demand of ``stock_s`` seconds, and a reserve."""
    if plan.knee_hz <= 0.0:
        return plan.mean_targets
    per_s = (plan.mean_targets - RESERVE) / STOCK_S
    targets: Floats = np.maximum(0.0, per_s) * stock_s + reserve
    return targets


def rule_of(targets: Floats, *, complete: float = 2.0, **weights: Any) -> Rule:
    """Return the tuned heuristic for some targets; ``weights`` are fields of the rule."""
    return Rule(fill=2, complete=int(complete), targets=targets)._replace(**weights)


def make(*, stock_s: float = STOCK_S, reserve: float = RESERVE, **weights: float) -> Allocator:
    """Return the allocator with other settings; ``weights`` are fields of the rule."""

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        return rule_of(stock_of(plan, stock_s=stock_s, reserve=reserve), **weights)._replace(
            rounds=plan.rounds, refined=plan.refined
        )

    return Allocator(
        name="mean-rate",
        central=True,
        sentence="Central, keeps stock for a second of mean demand; tuned prices and eviction.",
        rule=rule,
        paper="ours, from mean-rate-plain",
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("mean-rate"))
