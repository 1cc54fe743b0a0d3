"""The gate: new weights go live only if paired runs in the twin show that they are not worse.

What is played is the last seconds of the run itself: the requests that came, on the network as it
is now, from empty memories and with fresh luck, keyed by the seed and the round; the future is not
looked at. Live and new weights play the same draws, greedily and without learning. New weights pass
if the one-sided 95 % lower limit of the difference in pairs delivered (Student's t over the runs)
is above minus :data:`MARGIN` of the pairs asked for: no difference passes, no evidence does not.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from controller.foreseen import Foreseen, foreseen
from controller.frozen import frozen_player
from controller.policy import Actor
from controller.rules import Rules
from quantum.kernels import Table, table
from quantum.ledger import Ledger, World, new_ledger, swaps_ahead
from quantum.ledger.state import Floats, Ints, seed_at
from quantum.seeding import generator

__all__ = ["MARGIN", "RUNS", "WINDOW_S", "Verdict", "judge", "rehearsal"]

#: How much of the last seconds is played, and how many times with other luck.
WINDOW_S, RUNS = 6.0, 8
#: What counts as not worse, in pairs delivered over pairs asked for.
MARGIN = 0.01
#: Student's t of 95 % with RUNS - 1 degrees of freedom.
_T95 = 1.8946


class Verdict(msgspec.Struct, frozen=True):
    """Whether weights may go live; ``difference`` is the mean over runs and ``low`` its limit.

    Both are pairs delivered over pairs asked for, new less live; None where nothing was asked.
    """

    passed: bool
    difference: float | None
    low: float | None


def judge(rules: Rules, ledger: Ledger, live: Actor, new: Actor, *, number: int) -> Verdict:
    """Compare weights for all nodes of a run; ``number`` is that of the round."""
    found = rehearsal(rules, ledger)
    if found is None:
        return Verdict(False, None, None)
    world, delay = found
    soon = foreseen(world, rules.rule)
    seeds = generator(seed_at(rules.world, 0), "gate", number).integers(2**62, size=RUNS)
    asked = int(world.request.pairs.sum())

    def more(seed: int) -> float:
        lucky = world._replace(seed=seed)
        got = [_delivered(rules, lucky, delay, soon, actor) for actor in (new, live)]
        return (got[0] - got[1]) / asked

    # The run waits for the verdict, so all cores may play.
    with ThreadPoolExecutor(min(RUNS, os.cpu_count() or 1)) as threads:
        differences = np.array(list(threads.map(more, seeds.tolist())))
    mean = float(differences.mean())
    low = mean - _T95 * float(differences.std(ddof=1)) / math.sqrt(RUNS)
    return Verdict(low >= -MARGIN, mean, low)


def rehearsal(rules: Rules, ledger: Ledger) -> tuple[World, Ints] | None:
    """Return the world of the last seconds and the delays (R,) of its requests; None if none came.

    Only requests that were made until now are in it.
    """
    world, slot = rules.world, int(ledger.now[0].clock)
    begin = max(0, slot - round(WINDOW_S / world.slot_s))
    arrival = world.request.arrival
    which = np.flatnonzero((arrival >= begin) & (arrival < slot) & (ledger.request.asked == 1))
    if len(which) == 0:
        return None
    request = world.request[which].copy()
    request.arrival -= begin
    request.deadline -= begin
    request.told = np.maximum(0, request.told - begin)
    last = int(request.deadline.max()) + 1
    past = world._replace(
        fork=0,
        past=0,
        warmup=0,
        slots=slot - begin,
        horizon=max(slot - begin, last),
        request=request,
        change=_as_it_is(ledger),
        # Links that drift are as they are now.
        truth=_block(world.truth, slot // world.truth_slots),
        belief=_block(world.belief, slot // world.truth_slots),
    )
    return past, rules.delay_slots[which]


def _block(blocks: Floats, number: int) -> Floats:
    number = min(number, len(blocks) - 1)
    return np.ascontiguousarray(blocks[number : number + 1])


def _as_it_is(ledger: Ledger) -> Table:
    """Return changes that take away, in the first slot, the nodes and links that are down."""
    nodes = np.flatnonzero(ledger.node["up"] == 0)
    links = np.flatnonzero(ledger.behind["up"] == 0)
    change = table(len(nodes) + len(links), slot=int, node=int, index=int, up=int)
    change.node[: len(nodes)] = 1
    change.index = np.concatenate([nodes, links])
    return change


def _delivered(rules: Rules, world: World, delay: Ints, soon: Foreseen, actor: Actor) -> int:
    ahead = swaps_ahead(world, rules.rule)
    ledger = new_ledger(world, delay_slots=delay, events=0, composites=ahead)
    player = frozen_player(
        world, rules.rule, actor, rules.temperature, soon, measured=rules.measured
    )
    player(ledger, world.horizon)
    return int(ledger.request.good.sum())
