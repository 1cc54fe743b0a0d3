"""What happens between a node and the ledger in a slot of :mod:`controller.environments.field`."""

import numpy as np
from numpy.typing import NDArray

from controller.decide import see
from quantum.draws import uniform
from quantum.kernels import kernel
from quantum.ledger.generate import surplus_of, urgency_of
from quantum.ledger.observe import STOCK
from quantum.ledger.state import TIES, Floats, Ints, Ledger, Rule, World

__all__ = ["carry_out", "give_up", "look", "spend"]


@kernel
def look(
    rule: Rule,
    world: World,
    seed: int,
    slot: int,
    nodes: Ints,
    tokens: Ints,
    fill: Ints,
    spent: Ints,
    views: Floats,
    features: Floats,
    mask: NDArray[np.bool_],
    base: Floats,
) -> None:
    """Write what nodes with a token left see; all else stays as it is."""
    scores = np.empty(world.inc_link.shape[1])
    for b in range(len(nodes)):
        node = nodes[b]
        if spent[node] >= tokens[b]:
            continue
        see(
            rule,
            world.node,
            world.inc_link[node],
            world.inc_node[node],
            world.node[node].degree,
            world.slot_s,
            fill[b],
            world.node[node].qubits,
            uniform(seed, TIES, node, slot, spent[node]),
            views[b],
            scores,
            features[node],
            mask[node],
            base[node],
        )


@kernel
def spend(
    rule: Rule,
    world: World,
    ledger: Ledger,
    nodes: Ints,
    tokens: Ints,
    action: Ints,
    spent: Ints,
    views: Floats,
) -> None:
    """Let every node with a token left spend one; what it sees changes for its next."""
    for b in range(len(nodes)):
        node = nodes[b]
        if spent[node] >= tokens[b]:
            continue
        number, k = spent[node], action[node]
        spent[node] += 1
        if k < world.node[node].degree:
            link = world.inc_link[node, k]
            ledger.choice[node, number] = k
            ledger.urgency[node, number] = urgency_of(rule, link, views[b], k)
            views[b, k, STOCK] += 1.0


@kernel
def give_up(
    rule: Rule, world: World, ledger: Ledger, nodes: Ints, fill: Ints, views: Floats
) -> None:
    """Let crowded memories name the pair that the heuristic would give up."""
    for b in range(len(nodes)):
        node = nodes[b]
        if fill[b] >= world.node[node].qubits - 1:
            degree = world.node[node].degree
            position, surplus = surplus_of(rule, world.inc_link[node], degree, views[b])
            ledger.node[node].yields, ledger.node[node].surplus = position, surplus


@kernel
def carry_out(
    ledger: Ledger,
    nodes: Ints,
    tokens: Ints,
    choice: Ints,
    urgency: Floats,
    given: Ints,
    surplus: Floats,
) -> None:
    """Hand the decisions of a policy to the ledger."""
    for b in range(len(nodes)):
        for number in range(tokens[b]):
            ledger.choice[nodes[b], number] = choice[b, number]
            ledger.urgency[nodes[b], number] = urgency[b, number]
        if given[b] >= 0:
            ledger.node[nodes[b]].yields, ledger.node[nodes[b]].surplus = given[b], surplus[b]
