"""On demand: a central controller makes pairs only for requests that have arrived.

The baseline of the paper: first come first served, each along its shortest path. Nothing is kept
ahead of demand, nothing is weighed.
"""

import numpy as np

from controller.plan import Plan
from controller.rivals.allocator import NEVER, Allocator
from quantum.ledger import Rule
from quantum.scenario import Scenario

__all__ = ["allocator", "plain"]


def plain(scenario: Scenario, plan: Plan, *, fill: int) -> Rule:
    """Return a rule without targets, eviction and prices: fewest hops, first come first served.

    ``fill`` is what tokens do that no request claims: 0 nothing, 1 a pair on any link. Loss of
    fidelity keeps a small price, so that of equally short paths the better one is taken.
    """
    return Rule(
        fill=fill,
        complete=0,
        targets=np.zeros(len(scenario.network.links)),
        evict=NEVER,
        bucket=0.0,
        inverse=0.0,
        scarce=0.0,
        age=0.0,
        fidelity=0.01,
        rounds=plan.rounds,
    )


def _rule(scenario: Scenario, plan: Plan) -> Rule:
    return plain(scenario, plan, fill=0)


allocator = Allocator(
    name="on-demand",
    central=True,
    sentence="Central, first come first served, shortest paths; makes pairs only when asked.",
    rule=_rule,
)
