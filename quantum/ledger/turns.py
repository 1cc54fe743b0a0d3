"""Whose turn it is: pairs for the waiting requests of several clients, by fair shares.

Requests of one client that ask for the same are a *flow*; within a flow who came first is served
first. Flows whose claimed paths share a link or a node with somebody else's stand in line: the one
whose client is least ahead on what they share goes first (:mod:`quantum.ledger.fair`), pair by
pair. A request that has some of its pairs goes before those that have none, unless their client is
well behind, or many would be half served when their time is over. What nobody else wants is not
counted, so it is all his who wants it.

A flow that has no whole chain yet, and whose client is behind others, keeps the last pair of each
link of its path and a swap token of each node between from those who come after it, or who asks for
one link would always take what a chain of several waits for. The client pays for what would have
been made meanwhile. Links that flows in front miss get pairs first.
"""

from typing import NamedTuple

from quantum.kernels import Table, lean, small
from quantum.ledger.fair import ALLOWANCE, ahead, charge
from quantum.ledger.fans import begin_spending, enter, leave
from quantum.ledger.heap import pop, push
from quantum.ledger.paths import find_path, find_stored
from quantum.ledger.prices import CLAIMS, CLOSED
from quantum.ledger.serve import assemble, choose_pairs
from quantum.ledger.state import Floats, Ints, Ledger, Rule, World

__all__ = [
    "Turns",
    "charge_chain",
    "give_back",
    "is_shared",
    "let_go",
    "line_up",
    "serve_in_turn",
    "withhold",
]

#: Order of a flow whose path nobody else wants: before all others, who do not mind.
_ALONE = -1e6
#: Of two flows equally far ahead where they are most, the one that is less so elsewhere is first,
#: then the one that came first.
_LESS, _LATER = 1e-2, 1e-4
#: A request that was begun goes before those of clients who are less behind than this.
_BEGUN = -ALLOWANCE / 2.0
#: A path is looked for anew after so many slots, and up to so many more: not all in one slot.
_FRESH, _SPREAD = 4, 8
#: More pairs than all requests together can miss.
_URGENT = 1e9


class Turns(NamedTuple):
    """What is known of clients; C clients, R rows, m + n resources (links, then nodes)."""

    client: Ints  # (R,) whose request is in a row
    tag: Floats  # (C, m + n)
    clock: Floats  # (m + n,)
    # (m + n,) number of the line that wrote it, who wants it, whether another does, its clock then,
    # pairs given to flows in front, whether one of them misses one, number of the line in which
    # its last pair is kept
    resource: Table
    # (R,) first and last row, client, links of its path, how far its client is ahead where he is
    # most, and what that makes its place in the line
    flow: Table
    after: Ints  # (R,) the next row of the flow, -1 none
    way: Table  # (R,) path of a row that was claimed last, and the slot until which it holds
    bins: Table  # (a power of 2, >= 2 R) number of the line, and flow: for finding it
    heap: Table  # (R + 1,) node, cost
    touched: Ints  # (2 H + 1,) resources of a path
    kept: Ints  # (m,) links whose last pair nobody sees
    tied: Ints  # (n,) nodes of whose swap tokens one is kept
    now: Table  # (1,) number of the line, links in ``kept``, nodes in ``tied``


@lean
def is_shared(ledger: Ledger, turns: Turns) -> bool:
    """Tell whether requests of more than one client wait."""
    for index in range(1, ledger.now[0].live):
        if turns.client[ledger.queue[index].live] != turns.client[ledger.queue[0].live]:
            return True
    return False


@lean
def charge_chain(world: World, ledger: Ledger, turns: Turns, row: int, length: int) -> None:
    """Charge the client of a row for a pair over the links in ``ledger.chain``."""
    count = _touch(world, turns, world.cls[row].b, ledger.chain, length)
    tags = turns.tag[turns.client[row]]
    for k in range(count):
        charge(tags, turns.clock, turns.touched[k], 1.0)


@lean
def let_go(world: World, ledger: Ledger, turns: Turns) -> None:
    """Let everybody see pairs again that were kept from others."""
    for k in range(turns.now[0].kept):
        link = turns.kept[k]
        if ledger.link[link].stock > 0:
            enter(ledger, world.link[link].a, world.link[link].b, link)
    turns.now[0].kept, turns.now[0].tied = 0, 0


@lean
def withhold(ledger: Ledger, turns: Turns) -> None:
    """Take swap tokens that are kept for somebody away, until :func:`give_back`."""
    for k in range(turns.now[0].tied):
        ledger.node[turns.tied[k]].swap_tokens -= 1.0


@lean
def give_back(ledger: Ledger, turns: Turns) -> None:
    """Give the swap tokens back that are kept for somebody."""
    for k in range(turns.now[0].tied):
        ledger.node[turns.tied[k]].swap_tokens += 1.0


@lean
def line_up(world: World, ledger: Ledger, rule: Rule, turns: Turns) -> int:
    """Gather flows, find their paths, and have pairs made first where those in front miss some.

    Returns the number of flows. To be called after the claims of a slot.
    """
    flows = _gather(world, ledger, turns)
    number, slot = turns.now[0].number, ledger.now[0].clock
    for index in range(flows):
        flow = turns.flow[index]
        way = turns.way[flow.head]
        if slot >= way.until:
            slack = world.request[flow.head].deadline - slot
            way.length = find_path(world, ledger, rule, flow.head, slack, CLAIMS, CLOSED)
            way.until = slot + _FRESH + flow.head % _SPREAD
            for back in range(way.length):
                way.chain[back] = ledger.chain[back]
        flow.length = way.length
        for back in range(flow.length):
            flow.chain[back] = way.chain[back]
        for k in range(_touch(world, turns, world.cls[flow.head].b, flow.chain, flow.length)):
            spot = turns.resource[turns.touched[k]]
            if spot.number != number:
                spot.number, spot.client, spot.shared = number, flow.client, 0
                spot.given, spot.missed = 0, 0
                spot.clock = turns.clock[turns.touched[k]]
            elif spot.client != flow.client:
                spot.shared = 1
    size = 0
    for index in range(flows):
        flow = turns.flow[index]
        flow.cost = _standing(world, ledger, turns, index, flow.chain, flow.length)
        size = push(turns.heap, size, index, flow.cost)
    while size > 0:
        flow = turns.flow[turns.heap[0].node]
        size = pop(turns.heap, size)
        if flow.cost == _ALONE:
            continue
        for back in range(flow.length):
            link = flow.chain[back]
            spot = turns.resource[link]
            if ledger.link[link].stock > spot.given:
                spot.given += 1
            elif spot.missed == 0:
                # However many miss it, it is as urgent as it is to the first of them.
                spot.missed = 1
                ledger.link[link].wanted += _URGENT * max(1.0, 2.0 - flow.cost)
    return flows


@lean
def serve_in_turn(world: World, ledger: Ledger, rule: Rule, turns: Turns, flows: int) -> None:
    """Assemble pairs for flows that are lined up, one by one, as events have room."""
    since, heap, size, links = begin_spending(world, ledger), turns.heap, 0, ledger.link
    number = turns.now[0].number
    for index in range(flows):
        size = push(heap, size, index, turns.flow[index].cost)
    while size > 0 and ledger.now[0].events < len(ledger.event):
        index, thought = heap[0].node, heap[0].cost
        size = pop(heap, size)
        flow = turns.flow[index]
        row = flow.head
        length = find_stored(world, ledger, rule, row, CLOSED, since)
        if length == 0:
            _keep(world, ledger, turns, index)
            continue
        cost = _standing(world, ledger, turns, index, ledger.chain, length)
        if cost > thought:
            # Others may have become less far ahead than he is.
            size = push(heap, size, index, cost)
            continue
        charge_chain(world, ledger, turns, row, length)
        choose_pairs(world, ledger, row, length)
        assemble(world, ledger, rule, row, length)
        for k in range(length):
            link = turns.touched[2 * k + 1]
            if turns.resource[link].kept == number and links[link].stock == 1:
                _hide(world, ledger, turns, link)
        if ledger.request[row].left == 0:
            flow.head = turns.after[row]
        if flow.head >= 0:
            size = push(heap, size, index, cost)
    give_back(ledger, turns)


@lean
def _gather(world: World, ledger: Ledger, turns: Turns) -> int:
    """Put live requests into flows, in the order of their coming; return how many flows."""
    turns.now[0].number += 1
    flows, number, mask = 0, turns.now[0].number, len(turns.bins) - 1
    for place in range(ledger.now[0].live):
        row = ledger.queue[place].live
        client, wish = turns.client[row], world.cls[row]
        spot = client * 31 + wish.a
        spot = (spot * 1009 + wish.b) * 1009 + int(wish.fidelity * 1e6)
        spot = (spot ^ (spot >> 11)) & mask
        while turns.bins[spot].number == number:
            flow = turns.flow[turns.bins[spot].flow]
            other = world.cls[flow.head]
            if (
                flow.client == client
                and other.a == wish.a
                and other.b == wish.b
                and other.fidelity == wish.fidelity
            ):
                break
            spot = (spot + 1) & mask
        turns.after[row] = -1
        if turns.bins[spot].number == number:
            flow = turns.flow[turns.bins[spot].flow]
            turns.after[flow.tail] = row
            flow.tail = row
            continue
        turns.bins[spot].number, turns.bins[spot].flow = number, flows
        flow = turns.flow[flows]
        flow.head, flow.tail, flow.client = row, row, client
        flows += 1
    return flows


@lean
def _touch(world: World, turns: Turns, target: int, chain: Ints, length: int) -> int:
    """Write the resources of a path that ends at a node: nodes and links in turn; return how many.

    ``chain``: its links, last first.
    """
    node = target
    turns.touched[0] = world.m + node
    for back in range(length):
        link = chain[back]
        node = world.link[link].a if world.link[link].b == node else world.link[link].b
        turns.touched[2 * back + 1], turns.touched[2 * back + 2] = link, world.m + node
    return 2 * length + 1


@lean
def _standing(
    world: World, ledger: Ledger, turns: Turns, index: int, chain: Ints, length: int
) -> float:
    """Say how far the client of a flow is ahead on a path, where he is most."""
    flow, most, least = turns.flow[index], _ALONE, 0.0
    tags = turns.tag[flow.client]
    for k in range(_touch(world, turns, world.cls[flow.head].b, chain, length)):
        spot = turns.resource[turns.touched[k]]
        if spot.number == turns.now[0].number and spot.shared == 1:
            gap = ahead(tags[turns.touched[k]], spot.clock)
            most, least = max(most, gap), min(least, gap)
    if most == _ALONE:
        return _ALONE
    flow.most = most
    begun = world.request[flow.head].pairs - ledger.request[flow.head].left
    most = max(most - begun, min(most, _BEGUN))
    return most + _LESS * least + _LATER * index / len(turns.flow)


@lean
def _keep(world: World, ledger: Ledger, turns: Turns, index: int) -> None:
    """Keep the last pairs and tokens of the path of a flow from those who come after it."""
    flow, number = turns.flow[index], turns.now[0].number
    if flow.cost == _ALONE or flow.most >= 0.0 or flow.length == 1:
        return
    tags = turns.tag[flow.client]
    count = _touch(world, turns, world.cls[flow.head].b, flow.chain, flow.length)
    for k in range(1, count - 1):
        place = turns.touched[k]
        spot = turns.resource[place]
        if spot.kept == number:
            continue
        if k % 2 == 1 and ledger.link[place].stock > 0:
            spot.kept = number
            charge(tags, turns.clock, place, 1.0 / world.cutoff)
            if ledger.link[place].stock == 1:
                _hide(world, ledger, turns, place)
        elif k % 2 == 0 and ledger.node[place - world.m].swap_tokens >= 1.0:
            spot.kept = number
            charge(tags, turns.clock, place, world.node[place - world.m].swap_rate)
            ledger.node[place - world.m].swap_tokens -= 1.0
            turns.tied[turns.now[0].tied] = place - world.m
            turns.now[0].tied += 1


@small
def _hide(world: World, ledger: Ledger, turns: Turns, link: int) -> None:
    leave(ledger, world.link[link].a, world.link[link].b, link)
    turns.kept[turns.now[0].kept] = link
    turns.now[0].kept += 1
