"""Mean rate, plain: order-up-to stock from the long-run mean demand, and nothing else.

Targets are what the mean demand, flowing as in the bound at the actual load, uses of each link in
one cutoff. A token goes to the incident link with the largest gap; requests take the path of fewest
hops, first come first served; nothing is given up for anything else. Anticipated load as a guide
for resources is old; for quantum networks see X. Wu et al., "SeQUeNCe", Quantum Sci. Technol. 6,
045027 (2021), section 6. What tuning adds to this is in :mod:`controller.rivals.mean_rate`.
"""

from functools import lru_cache

import numpy as np

from controller.plan import Plan
from controller.rivals.allocator import Allocator
from controller.rivals.on_demand import plain
from controller.rivals.tuned import tuned
from quantum.flows import shares_by_grade
from quantum.ledger import Rule
from quantum.scenario import Scenario

__all__ = ["allocator", "make"]

#: What tuning may try.
LEVERS = {"stock": (0.5, 0.7, 1.0, 1.4, 2.0)}


def make(*, stock: float = 1.0) -> Allocator:
    """Return the allocator with other settings: ``stock`` cutoffs of mean demand are kept."""

    # The same scenario is asked again for its lonely games.
    @lru_cache(maxsize=1)
    def rule(scenario: Scenario, plan: Plan) -> Rule:
        trace, network = scenario.trace, scenario.network
        targets, refined = np.zeros(len(network.links)), np.zeros(len(network.links))
        if plan.knee_hz > 0.0:
            shares, better = shares_by_grade(network, trace, trace.load_hz, max_rounds=plan.rounds)
            pairs = stock * network.cutoff_s * trace.load_hz
            targets, refined = pairs * (trace.weights @ shares), pairs * (trace.weights @ better)
        return plain(scenario, plan, fill=2)._replace(
            targets=targets, gap=1.0, relative=0.0, peer_fill=0.0, refined=refined
        )

    return Allocator(
        name="mean-rate-plain",
        central=True,
        sentence="Central, keeps stock for a cutoff of mean demand; largest gap first, no prices.",
        rule=rule,
        paper="X. Wu et al., Quantum Sci. Technol. 6, 045027 (2021), section 6",
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("mean-rate-plain"))
