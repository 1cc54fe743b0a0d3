"""P3: tokens go to what was committed, the first path first; what idle tokens do, if anything.

A node with a token makes a pair for the path of the lowest rank that misses one; when no main path
misses any at the node, for recovery paths. In the cached form tokens that are still idle go by the
protocol's rule for stock, and full memories give up what is missed least.
"""

import numpy as np

from controller.rivals.slotted.state import REALISED, Protocol, Round
from quantum.draws import uniform
from quantum.kernels import kernel
from quantum.ledger.claims import ANNOUNCED_S
from quantum.ledger.generate import CLAIMED, choose, is_crowded, score_links, surplus_of, urgency_of
from quantum.ledger.observe import STOCK, observe
from quantum.ledger.refined import claim_refined
from quantum.ledger.state import RAW, TIES, Ledger, World, seed_at

__all__ = ["act", "find_needs", "need_better"]

_NOBODY = 1 << 40


@kernel
def find_needs(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """Note for every link how many pairs the round still misses and for which path first.

    ``ledger.link.wanted`` becomes all that the round wants of a link, in stock or not.
    """
    links, slot = state.link, ledger.now[0].clock
    for number in range(world.m):
        ledger.link[number].wanted = 0.0
        links[number].need, links[number].rank = 0.0, _NOBODY
    if plan.kind == REALISED:
        return
    for number in range(state.now[0].paths):
        path = state.path[number]
        if slot > world.request[path.request].deadline:
            path.left = 0
        path.left = min(path.left, ledger.request[path.request].left)
        for hop in range(path.length):
            if path.left > 0:
                _want(ledger, state, path.links[hop], path.left, number)
    for spot in range(state.now[0].recoveries):
        around = state.recovery[spot]
        if state.path[around.path].left > 0:
            for hop in range(around.length):
                rank = len(state.path) + around.path
                _want(ledger, state, around.links[hop], 1, rank)


@kernel
def _want(ledger: Ledger, state: Round, number: int, count: int, rank: int) -> None:
    link, real = state.link[number], ledger.link[number]
    real.wanted += count
    if real.wanted > real.stock:
        link.need = real.wanted - real.stock
        link.rank = min(link.rank, rank)


@kernel
def need_better(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """Let requests that need distilled pairs claim them, and links miss the pairs for these.

    As for every allocator in every slot: rounds and their paths know pairs as they are made only.
    """
    start = ledger.now[0].clock + int(ANNOUNCED_S / world.slot_s)
    for number in range(world.m):
        state.link[number].spare = ledger.link[number].wanted
    claim_refined(world, ledger, plan.better, start)
    for number in range(world.m):
        link, real = state.link[number], ledger.link[number]
        missing = real.wanted - real.stock - 2.0 * real.refined
        if real.wanted > link.spare and missing > 0.0:
            link.need = max(link.need, missing)
            link.rank = min(link.rank, len(state.path))


@kernel
def act(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """Write what every node with a token, or a crowded memory, does in this slot."""
    nodes, fixed, inc_link, rule = ledger.node, world.node, world.inc_link, plan.rule
    width = inc_link.shape[1]
    view, scores = np.empty((width, RAW)), np.empty(width)
    for node in range(world.n):
        nodes[node].yields = -1
        tokens, degree = nodes[node].tokens, fixed[node].degree
        crowded = plan.cached == 1 and is_crowded(nodes, fixed, node)
        if tokens == 0 and not crowded:
            continue
        if plan.cached == 1:
            observe(world, ledger, node, view)
            if crowded:
                chosen = surplus_of(rule, inc_link[node], degree, view)
                nodes[node].yields, nodes[node].surplus = chosen
        full = nodes[node].used >= fixed[node].qubits
        for number in range(tokens):
            best = _most_urgent(world, ledger, state, plan, node)
            ledger.urgency[node, number] = CLAIMED
            if best >= 0:
                state.link[inc_link[node, best]].need -= 1.0
            elif plan.cached == 1:
                slot = ledger.now[0].clock
                draw = uniform(seed_at(world, slot), TIES, node, slot, number)
                score_links(rule, inc_link[node], degree, full, view, scores)
                best = choose(rule, degree, view, scores, draw)
                if best >= 0:
                    urgent = urgency_of(rule, inc_link[node, best], view, best)
                    ledger.urgency[node, number] = urgent
            if best >= 0:
                view[best, STOCK] += 1.0
            ledger.choice[node, number] = best


@kernel
def _most_urgent(world: World, ledger: Ledger, state: Round, plan: Protocol, node: int) -> int:
    """Return the position of the link that misses a pair most, -1 where none does."""
    links, best, found = state.link, 0.0, -1
    for k in range(world.node[node].degree):
        number = world.inc_link[node, k]
        link, peer = links[number], world.inc_node[node, k]
        if link.need <= 0.0:
            continue
        if plan.cached == 0 and ledger.node[peer].used >= world.node[peer].qubits:
            continue
        if plan.kind == REALISED:
            value = link.need
        else:
            value = 1.0 / (1.0 + link.rank)
        if value > best:
            best, found = value, k
    return found
