"""Claims that share: requests divide links and swap tokens among them before pairs are made.

A request for many pairs would ask one path for more than its swap nodes can do, while others stand
idle. So it claims its cheapest path for as many pairs only as the path can carry by the deadline,
in whole swap tokens and in the pairs that its links have or can be expected to get, and what is
left claims the next path. What one request claims is dearer, or gone, for the next one.
"""

import numpy as np

from quantum.kernels import lean, small
from quantum.ledger.paths import find_path
from quantum.ledger.prices import CLOSED, LEFT
from quantum.ledger.state import Ledger, Rule, World

__all__ = [
    "MOST_PARTS",
    "begin_ready",
    "begin_shares",
    "claim_path",
    "claim_share",
    "end_shares",
    "find_part",
    "missing",
    "note_shares",
    "resume_shares",
    "waiting",
]

#: Paths that one request may claim; more change nothing (measured).
MOST_PARTS = 8


@lean
def begin_shares(world: World, ledger: Ledger) -> None:
    """Note the swap tokens that there are; until :func:`end_shares`, claims take of them."""
    for number in range(world.n):
        ledger.node[number].saved = ledger.node[number].swap_tokens
    begin_ready(ledger)


@lean
def end_shares(world: World, ledger: Ledger) -> None:
    """Give back the swap tokens: claims only count them, they spend none."""
    for number in range(world.n):
        ledger.node[number].swap_tokens = ledger.node[number].saved


@lean
def note_shares(world: World, ledger: Ledger) -> None:
    """Note the swap tokens that all claims of this slot have left, for :func:`resume_shares`."""
    for number in range(world.n):
        ledger.node[number].unclaimed = ledger.node[number].swap_tokens


@lean
def resume_shares(world: World, ledger: Ledger) -> None:
    """Share out what the claims of this slot have left; until :func:`end_shares`."""
    for number in range(world.n):
        node = ledger.node[number]
        node.saved, node.swap_tokens = node.swap_tokens, node.unclaimed


@lean
def begin_ready(ledger: Ledger) -> None:
    """Let requests share out the pairs that wait for them, if any can."""
    if len(ledger.leaf) == 0:
        return
    for row in range(len(ledger.ready)):
        ledger.ready[row].free = ledger.ready[row].pairs


@small
def missing(world: World, ledger: Ledger, row: int, left: int) -> int:
    """Take of the pairs that wait for a class; return how many of ``left`` are still to come.

    Its own come first, then those that wait for any class of its two nodes.
    """
    alike = len(world.cls) + world.cls[row].first
    taken = min(left, ledger.ready[row].free)
    ledger.ready[row].free -= taken
    more = min(left - taken, ledger.ready[alike].free)
    ledger.ready[alike].free -= more
    return int(left - taken - more)


@small
def waiting(world: World, ledger: Ledger, row: int) -> int:
    """Count the pairs that a class could get at once and that nobody has taken a share of."""
    alike = len(world.cls) + world.cls[row].first
    return int(ledger.ready[row].free + ledger.ready[alike].free)


@lean
def claim_share(world: World, ledger: Ledger, rule: Rule, request: int) -> None:
    """Claim links for the missing pairs of a request, beside those that claimed before it.

    Adds to ``ledger.link.wanted``.
    """
    row = world.request[request].cls
    left = float(missing(world, ledger, row, ledger.request[request].left))
    slack = world.request[request].deadline - ledger.now[0].clock
    for _ in range(MOST_PARTS):
        if left <= 0.0:
            break
        length, part = find_part(world, ledger, rule, row, left, slack)
        if length == 0:
            break
        claim_path(world, ledger, row, length, part)
        left -= part


@lean
def find_part(
    world: World, ledger: Ledger, rule: Rule, row: int, left: float, slack: int
) -> tuple[int, float]:
    """Find a path for some of ``left`` pairs of a class: its links, none if 0, and the pairs.

    The links go to ``ledger.chain``.
    """
    length = find_path(world, ledger, rule, row, slack, LEFT, CLOSED)
    if length == 0:
        return 0, 0.0
    return length, min(left, _carries(world, ledger, rule, row, length, slack))


@lean
def _carries(world: World, ledger: Ledger, rule: Rule, row: int, length: int, slack: int) -> float:
    """Count the pairs that the path in ``ledger.chain`` can carry within ``slack`` slots."""
    nodes, fixed, ends = ledger.node, world.node, world.link
    node, most = world.cls[row].b, np.inf
    for back in range(length):
        via = ledger.chain[back]
        a, b = ends[via].a, ends[via].b
        node = a if b == node else b
        if back < length - 1:
            swaps = nodes[node].swap_tokens + fixed[node].swap_rate * slack
            most = min(most, np.floor(swaps))
        made = rule.makes * (fixed[a].generation + fixed[b].generation) * (slack + 1.0)
        made *= ledger.link[via].open
        stock = ledger.link[via].stock - ledger.link[via].wanted
        most = min(most, max(1.0, np.floor(stock + made)))
    return most


@lean
def claim_path(world: World, ledger: Ledger, row: int, length: int, part: float) -> None:
    """Claim the path in ``ledger.chain`` for ``part`` pairs; less than 0 gives claims back."""
    node, ends = world.cls[row].b, world.link
    for back in range(length):
        via = ledger.chain[back]
        ledger.link[via].wanted += part
        node = ends[via].a if ends[via].b == node else ends[via].b
        if back < length - 1:
            ledger.node[node].swap_tokens -= part
