"""Uniform: a central controller keeps every link busy, whatever is asked."""

import numpy as np

from controller.plan import Plan
from controller.rivals.allocator import Allocator
from controller.rivals.on_demand import plain
from quantum.ledger import Rule
from quantum.scenario import Scenario

__all__ = ["allocator"]


def _rule(scenario: Scenario, plan: Plan) -> Rule:
    return plain(scenario, plan, fill=1)._replace(
        refined=np.full(len(scenario.network.links), np.inf)
    )


allocator = Allocator(
    name="uniform",
    central=True,
    sentence="As on-demand, but spare tokens make pairs on links drawn evenly, always.",
    rule=_rule,
)
