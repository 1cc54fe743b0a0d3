"""A rival in thirty lines: every link keeps its share of what its two ends can store."""

import numpy as np

from controller.plan import Plan
from controller.rivals.allocator import Allocator
from quantum.ledger import Rule
from quantum.scenario import Scenario


def rule(scenario: Scenario, plan: Plan) -> Rule:
    """Return the heuristic: how many pairs to keep in stock on every link (m,)."""
    network = scenario.network
    degree = np.maximum(1, np.bincount(network.links.ravel(), minlength=len(network.nodes)))
    share = network.qubits / degree
    a, b = network.links.T
    return Rule(fill=2, complete=1, targets=np.minimum(share[a], share[b]))


allocator = Allocator(
    name="even-share",
    central=False,  # every node decides for itself, so nothing waits for a controller
    sentence="Decentralised: memories are shared out evenly among links.",
    rule=rule,
)
