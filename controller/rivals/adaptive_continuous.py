"""Adaptive continuous generation: every node learns which neighbours its pairs are used with.

A. Kolar et al., "Adaptive, Continuous Entanglement Generation for Quantum Networks", IEEE INFOCOM
Workshops 2022, arXiv:2212.08806; protocol and simulations: C. Zhan et al., arXiv:2502.01964.

Nodes make pairs all the time, with a neighbour drawn from a probability of their own. When a pair
with a neighbour is used, that neighbour's probability rises, the others fall in proportion: with
rate a, P_used += a (1 - P_used) and P_other *= 1 - a, which keeps the sum.

In this world a node draws a neighbour for each spare generation token, among those that have room.
Tokens serve live requests first, and requests take the cheapest chain of stored pairs; how claims
and chains are priced is left to tuning, since the paper leaves routing open.
"""

import numpy as np

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import NEVER, Allocator, Player
from controller.rivals.tuned import tuned
from quantum.draws import uniform
from quantum.kernels import Table, kernel
from quantum.ledger import RAW, Ledger, Rule, World, close_slot, generate, open_slot, serve
from quantum.ledger.generate import choose, score_links, urgency_of
from quantum.ledger.observe import STOCK, observe
from quantum.ledger.state import LINK_TESTED, TIES, Floats, Ints, seed_at
from quantum.scenario import Scenario

__all__ = ["allocator", "even", "learn", "make", "neighbour_of", "play_adaptive"]

#: What tuning may try.
LEVERS = {
    "rate": (0.01, 0.02, 0.05, 0.1, 0.2),
    "floor": (0.0, 0.1, 0.2, 0.4),
    "complete": (0.0, 1.0, 2.0),
    "bucket": (0.0, 1.0, 2.0, 4.0),
    "inverse": (0.0, 1.0, 3.0, 6.0),
    "age": (0.0, 0.5, 1.0),
    "fidelity": (0.01, 0.25, 0.5, 1.0),
}


def even(world: World) -> Floats:
    """Return the probabilities (n, K) before anything was used: equal for all neighbours."""
    degree = world.node.degree
    taken = np.arange(world.inc_link.shape[1])[None, :] < degree[:, None]
    chance: Floats = taken / np.maximum(1, degree)[:, None]
    return chance


@kernel
def neighbour_of(chance: Floats, scores: Floats, degree: int, floor: float, draw: float) -> int:
    """Draw a position by its probability among those that have a finite score, -1 if none has.

    ``floor`` of the draws are even, so that no neighbour is forgotten.
    """
    total = 0.0
    for k in range(degree):
        if scores[k] > -np.inf:
            total += (1.0 - floor) * chance[k] + floor / degree
    left, last = draw * total, -1
    for k in range(degree):
        if scores[k] > -np.inf:
            last = k
            left -= (1.0 - floor) * chance[k] + floor / degree
            if left < 0.0:
                break
    return last


@kernel
def _act(world: World, ledger: Ledger, rule: Rule, chance: Floats, floor: float) -> None:
    """Write the action of every node that has a token: live requests first, then by chance."""
    nodes, fixed, inc_link = ledger.node, world.node, world.inc_link
    width = inc_link.shape[1]
    view, scores = np.empty((width, RAW)), np.empty(width)
    for node in range(world.n):
        degree = fixed[node].degree
        nodes[node].yields = -1
        if nodes[node].tokens > 0:
            observe(world, ledger, node, view)
        full = nodes[node].used >= fixed[node].qubits
        for number in range(nodes[node].tokens):
            slot = ledger.now[0].clock
            draw = uniform(seed_at(world, slot), TIES, node, slot, number)
            score_links(rule, inc_link[node], degree, full, view, scores)
            best = choose(rule, degree, view, scores, draw)
            if best < 0:
                best = neighbour_of(chance[node], scores, degree, floor, draw)
            ledger.choice[node, number] = best
            if best >= 0:
                ledger.urgency[node, number] = urgency_of(rule, inc_link[node, best], view, best)
                view[best, STOCK] += 1.0


@kernel
def _raise(chance: Floats, links: Ints, degree: int, link: int, rate: float) -> None:
    for k in range(degree):
        chance[k] *= 1.0 - rate
        if links[k] == link:
            chance[k] += rate


@kernel
def learn(world: World, events: Table, chance: Floats, rate: float) -> None:
    """Raise the probability of every used pair at both its ends, in ``chance`` (n, K)."""
    ends, inc_link, fixed = world.link, world.inc_link, world.node
    for index in range(len(events)):
        if events[index].kind == LINK_TESTED:
            continue
        for hop in range(events[index].hops):
            link = events[index].links[hop]
            a, b = ends[link].a, ends[link].b
            _raise(chance[a], inc_link[a], fixed[a].degree, link, rate)
            _raise(chance[b], inc_link[b], fixed[b].degree, link, rate)


@kernel
def play_adaptive(
    world: World, ledger: Ledger, rule: Rule, chance: Floats, rate: float, floor: float, stop: int
) -> None:
    """Play slots up to ``stop``; ``chance`` (n, K) is learned on the way."""
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        _act(world, ledger, rule, chance, floor)
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        learn(world, ledger.event[: ledger.now[0].events], chance, rate)
        ledger.now[0].events = 0
        close_slot(world, ledger)


def make(
    *,
    rate: float = 0.05,
    floor: float = 0.0,
    complete: float = 2.0,
    bucket: float = 2.0,
    inverse: float = 3.0,
    age: float = 0.5,
    fidelity: float = 0.5,
) -> Allocator:
    """Return the allocator with other settings; ``floor`` of the draws stay even."""

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        # Before anything is used, and so for a request alone, this is how it plays.
        return Rule(
            fill=1,
            complete=int(complete),
            targets=np.zeros(len(scenario.network.links)),
            evict=NEVER,
            bucket=bucket,
            inverse=inverse,
            scarce=0.0,
            age=age,
            fidelity=fidelity,
            rounds=plan.rounds,
        )

    def play(game: Game) -> Player:
        world = game.world
        settings = rule(game.scenario, game.plan)._replace(fill=0)
        chance = even(world)

        def player(ledger: Ledger, stop: int) -> None:
            play_adaptive(world, ledger, settings, chance, rate, floor, stop)

        return player

    return Allocator(
        name="adaptive-continuous",
        central=False,
        sentence="Decentralised: nodes learn which neighbours' pairs are used, and make those.",
        rule=rule,
        play=play,
        paper="A. Kolar et al., INFOCOM Workshops 2022, arXiv:2212.08806; "
        "C. Zhan et al., arXiv:2502.01964",
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("adaptive-continuous"))
