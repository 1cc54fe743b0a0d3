"""Requests that come while the network runs: rows of a ring, served at once or kept until they end.

A run of the arena has all its requests in a table. A service does not know them, so its world has a
bounded number of rows (:mod:`quantum.live_world`); a row is written when a request comes, stands in
the queue of live ones like any other, and is free again when the request was answered. A row is a
class of its own. The draws of a row's pairs are keyed by its running number of attempts, which goes
on when the row is used again, so no two pairs share their luck. Among requests of one client who
came first is served first; between clients see :mod:`quantum.ledger.turns`.
"""

from typing import NamedTuple

import numpy as np

from quantum.draws import uniform
from quantum.kernels import Table, lean
from quantum.ledger.events import LINK_KEY
from quantum.ledger.fans import begin_spending
from quantum.ledger.generate import act_as_needed, generate
from quantum.ledger.paths import find_stored
from quantum.ledger.prices import CLOSED
from quantum.ledger.serve import assemble, choose_pairs
from quantum.ledger.slot import close_slot, open_slot
from quantum.ledger.state import (
    BASIS,
    DELIVERED,
    FAR,
    LINK_TESTED,
    LOST,
    MAX_HOPS,
    OUTCOME,
    Floats,
    Ints,
    Ledger,
    Rule,
    World,
    seed_at,
)
from quantum.ledger.turns import (
    Turns,
    charge_chain,
    give_back,
    is_shared,
    let_go,
    line_up,
    serve_in_turn,
    withhold,
)

__all__ = ["HOPELESS", "Intake", "play_slots", "take_in"]

#: Links that a chain may have more than the shortest path, as in the arena.
DETOUR = 4
#: Pairs left of a request that no chain could ever meet.
HOPELESS = -1


class Intake(NamedTuple):
    """What is handed to the kernels and back; B new requests, R rows, E events."""

    ask: Table  # (B,) row, a, b, fidelity, pairs, deadline (last slot to serve it), client
    ended: Ints  # (R,) rows whose deadline passed in the slots that were played
    told: Ints  # (4,) how many ended, slots played, pairs made, pairs lost
    made: Table  # (E,) row, hops, predicted: pairs that were delivered
    tally: Ints  # (H + 1, 2) tests by the number of links: passed and failed, since the beginning
    known: Ints  # (n,) whether the distances to a node have been worked out
    queue: Ints  # (n,) scratch
    best: Floats  # (3,) the largest of each correlator that a fresh pair can have
    turns: Turns


@lean
def take_in(world: World, ledger: Ledger, rule: Rule, intake: Intake, asks: int) -> None:
    """Write ``asks`` new requests into their rows and serve them from stock, in their order.

    Those that are not served wait in the queue. Rows of those that are may be used again.
    """
    first = ledger.now[0].live
    for index in range(asks):
        _write(world, ledger, intake, index)
    withhold(ledger, intake.turns)
    _serve(world, ledger, rule, intake.turns, first)
    give_back(ledger, intake.turns)
    kept = first
    for index in range(first, ledger.now[0].live):
        row = ledger.queue[index].live
        if ledger.request[row].left > 0:
            ledger.queue[kept].live = row
            kept += 1
    ledger.now[0].live = kept
    _tell(world, ledger, intake)


@lean
def play_slots(world: World, ledger: Ledger, rule: Rule, intake: Intake, slots: int) -> None:
    """Play up to ``slots`` slots; stops after one that has something to tell.

    That is: pairs were assembled, requests ended, or events fill half of their table.
    """
    intake.told[0] = 0
    intake.told[1] = 0
    for _ in range(slots):
        open_slot(world, ledger, rule)
        flows = 0
        if is_shared(ledger, intake.turns):
            flows = line_up(world, ledger, rule, intake.turns)
        act_as_needed(world, ledger, rule)
        generate(world, ledger, rule)
        before = ledger.now[0].events
        let_go(world, ledger, intake.turns)
        if flows > 0:
            serve_in_turn(world, ledger, rule, intake.turns, flows)
        else:
            _serve(world, ledger, rule, intake.turns, 0)
        told = ledger.now[0].events > before or 2 * ledger.now[0].events > len(ledger.event)
        for index in range(ledger.now[0].live):
            row = ledger.queue[index].live
            if ledger.request[row].left > 0 and ledger.now[0].clock >= world.request[row].deadline:
                intake.ended[intake.told[0]] = row
                intake.told[0] += 1
        close_slot(world, ledger)
        intake.told[1] += 1
        if told or intake.told[0] > 0:
            break
    _tell(world, ledger, intake)


@lean
def _write(world: World, ledger: Ledger, intake: Intake, index: int) -> None:
    """Write a request into its row, and put it at the end of the queue."""
    ask, slot = intake.ask[index], ledger.now[0].clock
    row = ask.row
    wish, asked, cls = world.request[row], ledger.request[row], world.cls[row]
    wish.arrival, wish.told, wish.deadline = slot, slot, ask.deadline
    wish.cls, wish.pairs = row, ask.pairs
    intake.turns.client[row], intake.turns.way[row].until = ask.client, slot
    asked.visible, asked.left, asked.good, asked.quality = slot, ask.pairs, 0, 0.0
    asked.asked, asked.claimed, asked.search = 1, 0, 0
    cls.a, cls.b, cls.fidelity, cls.row, cls.back = ask.a, ask.b, ask.fidelity, ask.b, ask.a
    afford = (4.0 * ask.fidelity - 1.0) / 3.0
    cls.budget = -np.log(min(max(afford, 1e-9), 1.0 - 1e-9))
    _measure_out(world, intake, ask.a)
    _measure_out(world, intake, ask.b)
    near = world.distance[ask.b, ask.a]
    cls.hops = min(_most_hops(world, intake.best, ask.fidelity), near + DETOUR)
    if near > cls.hops:
        # Too far for its fidelity, or in another part of the network: it has no place in the queue.
        asked.left = HOPELESS
        return
    ledger.queue[ledger.now[0].live].live = row
    ledger.now[0].live += 1


@lean
def _most_hops(world: World, best: Floats, fidelity: float) -> int:
    """Return how many pairs as good as ``best`` a chain may have and meet the fidelity."""
    x, y, z = 1.0, 1.0, 1.0
    for hops in range(1, MAX_HOPS + 1):
        x, y, z = x * best[0], y * best[1], z * best[2]
        if hops > 1:
            x, y, z = x * world.swap_xyz[0], y * world.swap_xyz[1], z * world.swap_xyz[2]
        if (1.0 + x + y + z) / 4.0 < fidelity:
            return hops - 1
    return MAX_HOPS


@lean
def _measure_out(world: World, intake: Intake, target: int) -> None:
    """Count hops from every node to a node, where nobody has asked for it yet."""
    if intake.known[target] == 1:
        return
    intake.known[target] = 1
    distance, queue = world.distance[target], intake.queue
    for node in range(world.n):
        distance[node] = FAR
    distance[target], queue[0] = 0, target
    head, tail = 0, 1
    while head < tail:
        u = queue[head]
        head += 1
        if distance[u] == MAX_HOPS:
            break
        for k in range(world.node[u].degree):
            v = world.inc_node[u, k]
            if distance[v] == FAR:
                distance[v] = distance[u] + 1
                queue[tail] = v
                tail += 1


@lean
def _serve(world: World, ledger: Ledger, rule: Rule, turns: Turns, first: int) -> None:
    """Assemble pairs for live requests from the one at ``first`` on, as events have room."""
    slot, since = ledger.now[0].clock, begin_spending(world, ledger)
    for index in range(first, ledger.now[0].live):
        row = ledger.queue[index].live
        if slot > world.request[row].deadline:
            continue
        while ledger.request[row].left > 0 and ledger.now[0].events < len(ledger.event):
            length = find_stored(world, ledger, rule, row, CLOSED, since)
            if length == 0:
                break
            charge_chain(world, ledger, turns, row, length)
            choose_pairs(world, ledger, row, length)
            assemble(world, ledger, rule, row, length)


@lean
def _tell(world: World, ledger: Ledger, intake: Intake) -> None:
    """Sum up the events: what was delivered, and what tests have shown.

    Tests are decided by the closed form, with the draws of the arena. A link that was tested is a
    path of one link.
    """
    made = lost = 0
    for index in range(ledger.now[0].events):
        event = ledger.event[index]
        if event.kind == DELIVERED:
            row = intake.made[made]
            row.row, row.hops, row.predicted = event.request, event.hops, event.believed
            made += 1
        elif event.kind == LOST:
            lost += 1
        else:
            seed = seed_at(world, event.slot)
            key = event.request + (LINK_KEY if event.kind == LINK_TESTED else 0)
            basis = int(uniform(seed, BASIS, key, event.slot, event.attempt) * 3.0)
            draw = uniform(seed, OUTCOME, key, event.slot, event.attempt)
            failed = 0 if draw < (1.0 + event.corr[basis]) / 2.0 else 1
            intake.tally[event.hops, failed] += 1
    intake.told[2] = made
    intake.told[3] += lost
    ledger.now[0].events = 0
