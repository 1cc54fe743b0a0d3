"""What a round knows: its protocol in numbers, its committed paths, and what is left to commit."""

from typing import NamedTuple

import numpy as np

from controller.rivals.slotted.channels import WIDTH
from quantum.kernels import Table, kernel, small, table
from quantum.ledger.state import MAX_HOPS, Floats, Ints, Ledger, Rule, World

__all__ = [
    "BOTTLENECK",
    "CREATION_RATE",
    "OFFLINE",
    "ONLINE",
    "REALISED",
    "SUM_DISTANCE",
    "Candidates",
    "Protocol",
    "Round",
    "budget",
    "new_round",
    "other_end",
]

#: How paths are chosen: by a search online, among candidates found offline, not before swapping.
ONLINE, OFFLINE, REALISED = 0, 1, 2
#: Metrics of Q-PASS.
SUM_DISTANCE, CREATION_RATE, BOTTLENECK = 0, 1, 2
#: Most paths of a round: these, and so many for each node; and recovery paths for each path.
_PATHS, _PATHS_EACH, _RECOVERIES = 512, 4, 4


class Protocol(NamedTuple):
    """A slotted protocol in numbers."""

    kind: int
    round_slots: int
    cached: int  # keep pairs over rounds
    early: int  # 0 swap at the end of the round, 1 as soon as a path is complete
    reach: int  # hops that a recovery path may bridge, 0 none
    metric: int  # of Q-PASS: 0 sum of distances, 1 creation rate, 2 bottleneck capacity
    detour: int  # links that a path may have more than the shortest
    thrift: float  # how much scarce swap nodes count against a path
    rule: Rule  # for prices, for idle tokens and for full memories
    better: Rule  # for distilled pairs: claims, stock and chains


class Candidates(NamedTuple):
    """Paths found offline: C classes, S paths for each; empty for other protocols."""

    links: Ints  # (C, S, MAX_HOPS), source first, -1 padded
    length: Ints  # (C, S), 0 where there is none
    metric: Floats  # (C, S), sum of distances in km


class Round(NamedTuple):
    """What changes from round to round."""

    now: Table  # (1,) paths, recoveries, entries, first slot, search
    path: Table  # committed paths, in the order of commitment
    recovery: Table  # (first, last] hops of a path, counted from its destination, to be bridged
    node: Table  # (n,) what is left to commit
    link: Table  # (m,)
    entry: Table  # (R + 1,) requests of the round
    label: Table  # (MAX_HOPS + 1, n)
    frontier: Ints  # (2, n)
    chain: Ints  # (MAX_HOPS,) links of the last search, destination first
    tail: Floats  # (WIDTH,) of the last search


def new_round(world: World) -> Round:
    """Return the state before the first round."""
    n, m, requests = world.n, world.m, len(world.request)
    paths = _PATHS + _PATHS_EACH * n
    links = (int, MAX_HOPS)
    return Round(
        now=table(1, paths=int, recoveries=int, entries=int, first=int, search=int),
        path=table(paths, request=int, length=int, width=int, left=int, links=links),
        recovery=table(_RECOVERIES * paths, path=int, first=int, last=int, length=int, links=links),
        node=table(n, tokens=float, swaps=float, room=int, touched=int, best_stamp=int, best=float),
        link=table(
            m,
            stock=int,  # stored pairs that no path was promised
            need=float,  # pairs that are to be made
            rank=int,  # of the first path that misses one
            spare=float,  # what paths as pairs are made want
            used=int,  # last path that this link is part of
            demand=float,  # pairs that requests want through it
            corr=(float, 3),
        ),
        entry=table(
            requests + 1,
            request=int,
            want=float,
            value=float,
            seen=int,
            length=int,
            links=links,
            tail=(float, WIDTH),
        ),
        label=table(
            (MAX_HOPS + 1, n),
            stamp=int,
            via=int,
            score=float,
            damp=float,
            tail=(float, WIDTH),
            corr=(float, 3),
        ),
        frontier=np.zeros((2, n), np.int64),
        chain=np.zeros(MAX_HOPS, np.int64),
        tail=np.zeros(WIDTH),
    )


@kernel
def budget(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """P1: note what a new round has, tokens to come included, and its requests."""
    slot, span = ledger.now[0].clock, plan.round_slots
    state.now[0].first, state.now[0].paths, state.now[0].recoveries = slot, 0, 0
    made = (1.0 - world.test_share) * span
    for number in range(world.n):
        spot, fixed = state.node[number], world.node[number]
        spot.tokens = fixed.generation * made
        level = ledger.node[number].swap_tokens + fixed.swap_rate * (span - 1)
        spot.swaps = level if plan.early == 1 else min(level, fixed.bucket)
        spot.room, spot.touched = fixed.qubits, 0
    _count_on(world, ledger, state, plan)
    count = 0
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        asked = world.request[request]
        if asked.arrival < slot + span and asked.deadline >= slot:
            entry = state.entry[count]
            entry.request, entry.want = request, float(ledger.request[request].left)
            entry.seen, entry.value = -1, np.inf
            count += 1
    state.now[0].entries = count


@kernel
def _count_on(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """Note what links have in stock and how good their pairs will be.

    A new pair waits half a round; where there is stock, its youngest pair decides.
    """
    half, slot = min(plan.round_slots // 2, world.cutoff), ledger.now[0].clock
    for number in range(world.m):
        link, real = state.link[number], ledger.link[number]
        link.stock, link.used = real.stock, -1
        age = slot - ledger.pair[real.youngest].birth if real.stock > 0 else half
        _age(link, real.belief, world.decay[age])


@small
def _age(link: Table, belief: Floats, decay: Table) -> None:
    link.corr[0], link.corr[1] = belief[0] * decay.xy, belief[1] * decay.xy
    link.corr[2] = belief[2] * decay.zz + decay.shift


@small
def other_end(ends: Table, node: int) -> int:
    """Return the end of a link (a row of ``World.link``) that is not ``node``."""
    return int(ends.a if ends.b == node else ends.b)
