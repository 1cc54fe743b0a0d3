"""Claims planned together: requests share out links and swap tokens before pairs are made.

A request for many pairs would ask one path for more than its swap nodes can do, while others stand
idle. So it claims its cheapest path for as many pairs only as the path can carry by the deadline,
in whole swap tokens and in the pairs that its links have or can be expected to get, and what is
left claims the next path. What one request claims is dearer, or gone, for the next one.
"""

import numpy as np

from quantum.kernels import kernel
from quantum.ledger.paths import cheapest_path
from quantum.ledger.prices import price_claims, price_node
from quantum.ledger.state import Ints, Ledger, Rule, World

__all__ = ["claim_together"]

#: Paths that one request may claim; more change nothing (measured).
_MOST_PARTS = 8


@kernel
def claim_together(world: World, ledger: Ledger, rule: Rule, requests: Ints) -> None:
    """Claim links for the missing pairs of ``requests``, the first of them first.

    Adds to ``ledger.link.wanted``; swap tokens are only counted, none is spent.
    """
    nodes = ledger.node
    price_claims(world, ledger, rule)
    tokens = np.empty(world.n)
    for number in range(world.n):
        tokens[number] = nodes[number].swap_tokens
    for request in requests:
        slack = world.request[request].deadline - ledger.now[0].clock
        left = float(ledger.request[request].left)
        for _ in range(_MOST_PARTS):
            row = world.request[request].cls
            length = cheapest_path(world, ledger, rule, row, slack)
            if length == 0 or left <= 0.0:
                break
            part = min(left, _carries(world, ledger, rule, row, length, slack))
            _claim(world, ledger, rule, row, length, part)
            left -= part
    for number in range(world.n):
        nodes[number].swap_tokens = tokens[number]


@kernel
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
        stock = ledger.link[via].stock - ledger.link[via].wanted
        most = min(most, max(1.0, np.floor(stock + made)))
    return float(most)


@kernel
def _claim(world: World, ledger: Ledger, rule: Rule, row: int, length: int, part: float) -> None:
    """Claim the path in ``ledger.chain`` for ``part`` pairs, and price what is left of it."""
    nodes, fixed, ends = ledger.node, world.node, world.link
    node = world.cls[row].b
    for back in range(length):
        link = ledger.link[ledger.chain[back]]
        a, b = ends[ledger.chain[back]].a, ends[ledger.chain[back]].b
        node = a if b == node else b
        link.wanted += part
        if link.wanted >= link.stock:
            made = (fixed[a].generation + fixed[b].generation) / world.slot_s
            link.price = 1.0 + rule.rate / (0.2 + made)
        if back < length - 1:
            nodes[node].swap_tokens -= part
            price_node(nodes[node], fixed[node].bucket, rule.bucket, rule.inverse)
