"""Generation: heuristic choices, and what becomes of choices when memories are full.

An action of a node is, for each of its tokens, a link (or idle) with an *urgency*, and once per
slot the link whose oldest pair it would give up first, with that pair's *surplus*. A pair is made
when both ends have room, or when every full end yields a pair and urgency + surplus exceeds the
rule's ``evict``.
"""

import numpy as np

from quantum.draws import uniform
from quantum.kernels import Table, lean, small
from quantum.ledger.heard import hide, remember
from quantum.ledger.observe import FORECAST, OLDEST, OPEN, PEER_FILL, STOCK, WANTED, observe
from quantum.ledger.places import put, take
from quantum.ledger.state import (
    EVICTED,
    GENERATED,
    REFUSED,
    TIES,
    WASTED,
    Floats,
    Ints,
    Ledger,
    Rule,
    World,
    seed_at,
)

__all__ = [
    "CLAIMED",
    "NEVER",
    "act_as_needed",
    "act_by_rule",
    "choose",
    "generate",
    "is_crowded",
    "score_links",
    "surplus_of",
    "urgency_of",
]

#: Score of a link that live requests are waiting for; above any gap to a target.
CLAIMED = 100.0
#: Score of a link that requests are expected for, where the rule lets them press.
PRESSED = 50.0
#: A rule with this ``evict`` or more never drops a stored pair.
NEVER = 1e17
#: Instead of the place of a pair to give up.
ROOM, IMPOSSIBLE = -1, -2
FILL_NONE, FILL_ANY, FILL_GAP = 0, 1, 2


@lean
def score_links(
    rule: Rule, links: Ints, degree: int, own_full: bool, view: Floats, scores: Floats
) -> None:
    """Score one more pair on each link of a view; -inf where it cannot be stored.

    ``links`` (K,) numbers of the incident links, ``view`` (K, 7), ``scores`` (K,) is written. The
    tuned mean-rate heuristic: claims first, then the gap to the target, absolute and relative, and
    rather with neighbours that have room. What expected requests want raises the target.
    """
    targets, yielding = rule.targets, rule.evict < NEVER
    for k in range(len(scores)):
        scores[k] = -np.inf
    for k in range(degree):
        if view[k, OPEN] < 1.0:
            continue
        stock, soon = view[k, STOCK], view[k, FORECAST]
        target = targets[links[k]] + rule.soon * soon
        missing, gap = view[k, WANTED] - stock, target - stock
        pressed = soon > 0.0 and missing + soon >= rule.press
        full = own_full or view[k, PEER_FILL] >= 1.0
        if missing > 0.0:
            if not full or yielding:
                scores[k] = CLAIMED + missing
        elif pressed:
            if not full or yielding:
                scores[k] = PRESSED + missing + soon
        elif not full or (yielding and gap > 0.0):
            gain = rule.gap * gap + rule.relative * gap / (target + 0.3)
            scores[k] = gain - rule.peer_fill * view[k, PEER_FILL]


@lean
def choose(rule: Rule, degree: int, view: Floats, scores: Floats, draw: float) -> int:
    """Pick the position of a link for one token by the rule, -1 for idle."""
    best, found = -np.inf, -1
    for k in range(degree):
        claimed = view[k, WANTED] > view[k, STOCK]
        if (claimed or rule.fill == FILL_GAP) and scores[k] + 1e-6 * draw * k > best:
            best, found = scores[k] + 1e-6 * draw * k, k
    if found >= 0 or rule.fill != FILL_ANY or degree == 0:
        return found
    start = int(draw * degree)
    for offset in range(degree):
        k = (start + offset) % degree
        if scores[k] > -np.inf:
            return k
    return -1


@lean
def urgency_of(rule: Rule, link: int, view: Floats, k: int) -> float:
    """Say how much one more pair on the k-th link is missed."""
    stock, soon = view[k, STOCK], view[k, FORECAST]
    if view[k, WANTED] > stock:
        return CLAIMED
    if soon > 0.0 and view[k, WANTED] + soon - stock >= rule.press:
        return PRESSED
    return rule.targets[link] + rule.soon * soon - stock


@lean
def surplus_of(rule: Rule, links: Ints, degree: int, view: Floats) -> tuple[int, float]:
    """Choose the link whose oldest pair would be missed least: (position or -1, surplus)."""
    best, found = -1e18, -1
    for k in range(degree):
        if view[k, STOCK] < 1.0:
            continue
        soon = rule.soon * view[k, FORECAST]
        need = max(view[k, WANTED], rule.targets[links[k]]) + soon
        surplus = view[k, STOCK] - need + 0.5 * view[k, OLDEST]
        if surplus > best:
            best, found = surplus, k
    return found, best


@small
def is_crowded(nodes: Table, fixed: Table, node: int) -> bool:
    """Tell whether a memory is full or nearly, so that it must say what it would yield."""
    return bool(nodes[node].used >= fixed[node].qubits - 1)


@lean
def act_by_rule(world: World, ledger: Ledger, rule: Rule) -> None:
    """Write the action of every node that has a token or a crowded memory, by the rule."""
    _spend(world, ledger, rule)
    if rule.evict < NEVER:
        for node in range(world.n):
            _offer(world, ledger, rule, node)


@lean
def act_as_needed(world: World, ledger: Ledger, rule: Rule) -> None:
    """Do as :func:`act_by_rule`, but ask only those memories where a pair is to go.

    What the others would give up is not written; nobody will ask for it.
    """
    _spend(world, ledger, rule)
    if rule.evict >= NEVER:
        return
    for node in range(world.n):
        for number in range(ledger.node[node].tokens):
            k = ledger.choice[node, number]
            if k >= 0:
                _offer(world, ledger, rule, node)
                _offer(world, ledger, rule, world.inc_node[node, k])


@lean
def _spend(world: World, ledger: Ledger, rule: Rule) -> None:
    """Choose a link for every token by the rule; no memory has offered a pair yet."""
    nodes, fixed, inc_link = ledger.node, world.node, world.inc_link
    view, scores, slot = ledger.sight, ledger.scores, ledger.now[0].clock
    for node in range(world.n):
        nodes[node].yields = -1
        tokens = nodes[node].tokens
        if tokens == 0:
            continue
        degree = fixed[node].degree
        observe(world, ledger, node, view)
        full = nodes[node].used >= fixed[node].qubits
        for number in range(tokens):
            draw = uniform(seed_at(world, slot), TIES, node, slot, number)
            score_links(rule, inc_link[node], degree, full, view, scores)
            best = choose(rule, degree, view, scores, draw)
            ledger.choice[node, number] = best
            if best >= 0:
                ledger.urgency[node, number] = urgency_of(rule, inc_link[node, best], view, best)
                view[best, STOCK] += 1.0


@lean
def _offer(world: World, ledger: Ledger, rule: Rule, node: int) -> None:
    """Let a crowded memory say which pair it would give up."""
    spot = ledger.node[node]
    if spot.yields < 0 and is_crowded(ledger.node, world.node, node):
        observe(world, ledger, node, ledger.sight)
        degree, links = world.node[node].degree, world.inc_link[node]
        spot.yields, spot.surplus = surplus_of(rule, links, degree, ledger.sight)


@lean
def generate(world: World, ledger: Ledger, rule: Rule) -> None:
    """Carry out the actions, node by node in index order."""
    nodes, choice, totals = ledger.node, ledger.choice, ledger.totals
    for node in range(world.n):
        for number in range(nodes[node].tokens):
            k = choice[node, number]
            ledger.made[node, number] = -1
            if k < 0 or k >= world.node[node].degree:
                totals[WASTED] += 1
                continue
            link, peer = world.inc_link[node, k], world.inc_node[node, k]
            urgency = ledger.urgency[node, number]
            if ledger.link[link].open == 0:
                totals[REFUSED] += 1
                continue
            given = _given_up(world, ledger, rule, node, link, urgency)
            taken = _given_up(world, ledger, rule, peer, link, urgency)
            if given > IMPOSSIBLE and taken > IMPOSSIBLE:
                _give_up(ledger, node, given)
                _give_up(ledger, peer, taken)
                put(world, ledger, link, node)
                totals[GENERATED] += 1
                ledger.made[node, number] = totals[GENERATED]
            else:
                totals[REFUSED] += 1
    if len(world.age) > 0 and len(ledger.ghost) == 0:
        # From here to the end of the slot a controller sees what it has heard of.
        hide(world, ledger, 0)


@lean
def _given_up(
    world: World, ledger: Ledger, rule: Rule, node: int, wish: int, urgency: float
) -> int:
    """Return the place of the pair that ``node`` would give up, ROOM or IMPOSSIBLE."""
    spot = ledger.node[node]
    if spot.used < world.node[node].qubits:
        return ROOM
    k = spot.yields
    if k < 0 or k >= world.node[node].degree or world.inc_link[node, k] == wish:
        return IMPOSSIBLE
    if urgency + spot.surplus <= rule.evict:
        return IMPOSSIBLE
    place = ledger.link[world.inc_link[node, k]].oldest
    return int(place) if place >= 0 else IMPOSSIBLE


@lean
def _give_up(ledger: Ledger, node: int, place: int) -> None:
    """Drop the pair that a node gives up, if it has to."""
    if place < 0:
        return
    if len(ledger.ghost) > 0:
        remember(ledger, place, -1)
    take(ledger, place)
    ledger.totals[EVICTED] += 1
    # One pair was promised; the next eviction needs a new look.
    ledger.node[node].yields = -1
