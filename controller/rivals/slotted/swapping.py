"""P4: complete paths are swapped, broken ones go around over their recovery paths.

Shi and Qian mend a broken path by the exclusive or of its links with the rings that recovery paths
close with it (arXiv:1909.09329). Every such sum that joins the ends contains a path of
links of the main path, forwards or backwards, and of whole recovery paths, and every such path is
such a sum. So the shortest one is searched on the positions of the main path.
"""

import numpy as np

from controller.rivals.slotted.state import Protocol, Round, other_end
from quantum.kernels import Table, kernel, small
from quantum.ledger.fans import begin_spending
from quantum.ledger.paths import find_stored
from quantum.ledger.prices import CLOSED, price_link
from quantum.ledger.serve import assemble, choose_pairs
from quantum.ledger.state import MAX_HOPS, Ints, Ledger, World

__all__ = ["mend", "swap_greedily", "swap_paths"]


@kernel
def swap_paths(world: World, ledger: Ledger, state: Round, plan: Protocol, last: bool) -> None:
    """Swap along committed paths, in their order; ``last``: the round ends with this slot.

    Broken paths are mended when the round, or the time of their request, ends; after the whole
    ones, so that nobody loses a pair to a detour.
    """
    slot = ledger.now[0].clock
    for mending in range(2 if plan.reach > 0 else 1):
        for number in range(state.now[0].paths):
            path = state.path[number]
            request = world.request[path.request]
            if path.left == 0 or slot < request.arrival or slot > request.deadline:
                continue
            ending = last or slot == request.deadline
            if not ending and (plan.early == 0 or mending == 1):
                continue
            while path.left > 0 and ledger.request[path.request].left > 0:
                if mending == 1:
                    length = mend(world, ledger, state, number)
                else:
                    length = _whole(ledger, state, number)
                if length == 0 or not _can_swap(world, ledger, plan, path.request, length):
                    break
                choose_pairs(world, ledger, request.cls, length)
                assemble(world, ledger, plan.rule, path.request, length)
                path.left -= 1


@kernel
def _whole(ledger: Ledger, state: Round, number: int) -> int:
    """Copy the main path to ``ledger.chain`` if all its links have a pair; returns its links."""
    path = state.path[number]
    for hop in range(path.length):
        if ledger.link[path.links[hop]].stock == 0:
            return 0
        ledger.chain[hop] = path.links[hop]
    return int(path.length)


@kernel
def _can_swap(world: World, ledger: Ledger, plan: Protocol, request: int, length: int) -> bool:
    """Tell whether the links in ``ledger.chain`` meet the fidelity now, with a token at each swap.

    Their youngest pairs count, as :func:`~quantum.ledger.serve.choose_pairs` wants them.
    """
    row = world.request[request].cls
    c, node, links = np.ones(3), world.cls[row].b, ledger.link
    for back in range(length):
        number = ledger.chain[back]
        price_link(world, ledger, plan.rule, number)
        node = other_end(world.link[number], node)
        if back < length - 1 and ledger.node[node].swap_tokens < 1.0:
            return False
        for axis in range(3):
            c[axis] *= links[number].corr[axis]
            if back > 0:
                c[axis] *= world.swap_xyz[axis]
    return bool(c.sum() >= 4.0 * world.cls[row].fidelity - 1.0)


@kernel
def mend(world: World, ledger: Ledger, state: Round, number: int) -> int:
    """Find the shortest way from end to end over main links and recovery paths that have pairs.

    Its links go to ``ledger.chain``, destination first; returns how many, 0 where there is none or
    where the way would need a link twice.
    """
    path, links = state.path[number], ledger.link
    length, far = path.length, 10_000
    reach = np.full(MAX_HOPS + 1, far)
    came, how = np.zeros(MAX_HOPS + 1, np.int64), np.zeros(MAX_HOPS + 1, np.int64)
    reach[0] = 0
    for _ in range(length):
        for hop in range(length):
            if links[path.links[hop]].stock > 0:
                _relax(reach, came, how, hop, hop + 1, 1, -1)
                _relax(reach, came, how, hop + 1, hop, 1, -1)
        for spot in range(state.now[0].recoveries):
            around = state.recovery[spot]
            if around.path == number and _stocked(ledger, around):
                _relax(reach, came, how, around.first, around.last, around.length, spot)
                _relax(reach, came, how, around.last, around.first, around.length, spot)
    if reach[length] > min(MAX_HOPS, world.cls[world.request[path.request].cls].hops):
        return 0
    return int(_walk(world, ledger, state, path, came, how))


@small
def _relax(reach: Ints, came: Ints, how: Ints, start: int, end: int, cost: int, spot: int) -> None:
    if reach[start] + cost < reach[end]:
        reach[end], came[end], how[end] = reach[start] + cost, start, spot


@small
def _stocked(ledger: Ledger, around: Table) -> bool:
    whole = True
    for hop in range(around.length):
        whole = whole and ledger.link[around.links[hop]].stock > 0
    return bool(whole)


@kernel
def _walk(world: World, ledger: Ledger, state: Round, path: Table, came: Ints, how: Ints) -> int:
    """Write the way into ``ledger.chain``; 0 where it comes to a node twice."""
    back, position = 0, path.length
    way = np.empty(MAX_HOPS, np.int64)
    while position != 0:
        before, spot = came[position], how[position]
        if spot < 0:
            way[back] = path.links[min(before, position)]
            back += 1
        else:
            around = state.recovery[spot]
            forward = before == around.first
            for hop in range(around.length):
                # The way is collected from its end.
                way[back] = around.links[around.length - 1 - hop if forward else hop]
                back += 1
        position = before
    node = world.cls[world.request[path.request].cls].b
    seen = np.empty(MAX_HOPS + 1, np.int64)
    seen[0] = node
    for hop in range(back):
        number = way[back - 1 - hop]
        ledger.chain[hop] = number
        node = other_end(world.link[number], node)
        for earlier in range(hop + 1):
            if seen[earlier] == node:
                return 0
        seen[hop + 1] = node
    return back


@kernel
def swap_greedily(world: World, ledger: Ledger, state: Round, plan: Protocol, last: bool) -> None:
    """Swap the shortest path of stored pairs over all requests, again and again (Pant et al.).

    Removing pairs only makes paths longer, so a length that was found earlier is a bound.
    """
    slot, entries = ledger.now[0].clock, state.entry
    for index in range(state.now[0].entries):
        entry = entries[index]
        asked = world.request[entry.request]
        ending = last or slot == asked.deadline
        entry.length, entry.seen = MAX_HOPS + 1, -1
        if slot < asked.arrival or slot > asked.deadline or not (plan.early == 1 or ending):
            continue
        a, b = world.cls[asked.cls].a, world.cls[asked.cls].b
        if ledger.request[entry.request].left > 0 and (
            ledger.node[a].used > 0 and ledger.node[b].used > 0
        ):
            entry.length = 0
    since = begin_spending(world, ledger)
    while True:
        best, which = MAX_HOPS + 1, -1
        for index in range(state.now[0].entries):
            if entries[index].length < best:
                best, which = entries[index].length, index
        if which < 0:
            return
        entry = entries[which]
        row = world.request[entry.request].cls
        length = find_stored(world, ledger, plan.rule, row, CLOSED, since)
        if length == 0:
            entry.length = MAX_HOPS + 1
        elif length > entry.length:
            entry.length = length
        else:
            choose_pairs(world, ledger, row, length)
            assemble(world, ledger, plan.rule, entry.request, length)
            if ledger.request[entry.request].left == 0:
                entry.length = MAX_HOPS + 1
