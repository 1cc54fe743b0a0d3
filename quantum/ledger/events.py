"""What is done with assembled pairs: how tests are drawn, who is paid, what is executed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from quantum.bell import populations
from quantum.draws import uniform
from quantum.kernels import Table, kernel
from quantum.ledger.state import (
    BASIS,
    DELIVERED,
    LINK_TESTED,
    LOST,
    MAX_HOPS,
    OUTCOME,
    Floats,
    Ints,
    Ledger,
    World,
)
from quantum.program import Distill, Gates, Generate, Memory, Program, Step, Swap, Wait

__all__ = [
    "LINK_KEY",
    "Made",
    "Making",
    "Weights",
    "closed_form_passes",
    "draw_tests",
    "kinds_of",
    "link_pairs",
    "making_of",
    "pay",
    "program_of",
    "programs_of",
    "take_events",
]

#: Bell populations of a fresh pair.
Weights = tuple[float, float, float, float]
#: A pair that went into a distillation: its populations, and the seconds that it waited before.
Made = tuple[Weights, float]

#: Added to the node of a link test so that its draws are not those of a request.
LINK_KEY = 1 << 40


def take_events(ledger: Ledger) -> Table:
    """Return the events since the last call, and forget them."""
    count = int(ledger.now[0].events)
    ledger.now[0].events = 0
    return ledger.event[:count].copy()


class Making(NamedTuple):
    """Where fresh pairs come from: their Bell populations by link, for blocks of so many slots."""

    weights: list[list[Weights]]
    slots: int

    def fresh(self, link: int, slot: int) -> Weights:
        """Return the populations of a pair of the link that was made in the slot."""
        return self.weights[min(slot // self.slots, len(self.weights) - 1)][link]


def making_of(world: World, nominal: Floats) -> Making:
    """Return the populations of fresh pairs; ``nominal`` (m, 4) where they do not drift."""
    blocks = nominal[None] if len(world.truth) == 1 else populations(world.truth)
    weights = [[(a, b, c, d) for a, b, c, d in block] for block in blocks.tolist()]
    return Making(weights, world.truth_slots)


def programs_of(
    events: Table, making: Making, slot_s: float, memory: Memory, gates: Gates
) -> list[Program]:
    """Write the history of every event as a program."""
    columns = ("hops", "links", "births", "ages", "ages_right", "kept", "spent")
    out = []
    for hops, links, births, left, right, kept, spent in zip(
        *(events[name].tolist() for name in columns), strict=True
    ):
        fresh = [making.fresh(links[k], births[k]) for k in range(hops)]
        waits, others = ([age * slot_s for age in ages[:hops]] for ages in (left, right))
        better: dict[int, tuple[Made, Made]] = {}
        for k in range(hops):
            if spent[k] >= 0:
                one, other = (
                    (making.fresh(links[k], births[k] - waited), waited * slot_s)
                    for waited in (kept[k], spent[k])
                )
                better[k] = one, other
        out.append(program_of(fresh, waits, memory, gates, others, better))
    return out


def kinds_of(events: Table) -> Ints:
    """Return the kind of every path: its number of links, plus MAX_HOPS where one was distilled.

    Tests of pairs of one kind say something about each other.
    """
    reached = np.arange(events.spent.shape[1])[None, :] < events.hops[:, None]
    better = (reached & (events.spent >= 0)).any(axis=1)
    kinds: Ints = events.hops + MAX_HOPS * better
    return kinds


def link_pairs(events: Table) -> int:
    """Count the link pairs in assembled pairs; a distilled one is two.

    >>> from quantum.kernels import table
    >>> pairs = table(1, hops=int, spent=(int, 3))
    >>> pairs.hops, pairs.spent = 2, (-1, 4, 7)
    >>> link_pairs(pairs)
    3
    """
    reached = np.arange(events.spent.shape[1])[None, :] < events.hops[:, None]
    return int(events.hops.sum() + (reached & (events.spent >= 0)).sum())


@kernel
def draw_tests(seed: int, events: Table, measured: bool) -> tuple[Ints, Floats]:
    """Draw basis (-1: kept) and outcome uniform of every event, by key.

    ``measured``: the network only measures pairs (photonic links), so delivered pairs are tested.
    """
    basis = np.full(len(events), -1, dtype=np.int64)
    draw = np.zeros(len(events))
    for index in range(len(events)):
        event = events[index]
        if event.kind == LOST or (event.kind == DELIVERED and not measured):
            continue
        key = event.request + (LINK_KEY if event.kind == LINK_TESTED else 0)
        basis[index] = int(uniform(seed, BASIS, key, event.slot, event.attempt) * 3.0)
        draw[index] = uniform(seed, OUTCOME, key, event.slot, event.attempt)
    return basis, draw


@kernel
def closed_form_passes(events: Table, basis: Ints, draw: Floats) -> Ints:
    """Decide the tests by the ledger's own closed form: 1 passed, 0 failed, -1 kept."""
    passed = np.full(len(events), -1, dtype=np.int64)
    for index in range(len(events)):
        if basis[index] >= 0:
            chance = (1.0 + events[index].corr[basis[index]]) / 2.0
            passed[index] = 1 if draw[index] < chance else 0
    return passed


@kernel
def pay(world: World, events: Table, valid: Ints, trust: Floats, credit: Floats) -> None:
    """Share the reward of delivered pairs among the nodes that made and swapped their parts.

    ``trust`` (C, 2 H + 1) is the probability, by measured tests, that a pair of a class and a kind
    (:func:`kinds_of`) meets its fidelity; it is the reward of the pair. ``valid`` (E,) is 0 where
    execution failed: no reward. ``credit`` (n,) is added to.
    """
    for index in range(len(events)):
        event = events[index]
        if event.kind != DELIVERED or valid[index] == 0:
            continue
        row = world.request[event.request].cls
        better = 0
        for hop in range(event.hops):
            if event.spent[hop] >= 0:
                better += 1
        kind = event.hops + (MAX_HOPS if better > 0 else 0)
        part = trust[row, kind] / (2.0 * event.hops - 1.0 + better)
        for hop in range(event.hops):
            credit[event.makers[hop]] += part
            if event.spent[hop] >= 0:
                credit[event.spent_makers[hop]] += part
            if hop < event.hops - 1:
                credit[event.swaps[hop]] += part


def program_of(
    weights: Sequence[Weights],
    waits_s: Sequence[float],
    memory: Memory,
    gates: Gates,
    right_s: Sequence[float] | None = None,
    distilled: Mapping[int, tuple[Made, Made]] | None = None,
) -> Program:
    """Write an assembled pair as a program: make each link, let it wait, swap from the left.

    ``weights`` are the Bell populations of the pairs of the chain in order, ``waits_s`` how long
    each waited. ``right_s`` are the waits of the right qubits where they differ: a qubit that was
    swapped earlier than its partner waited less. ``distilled`` says by position which pairs came of
    two, the one that was kept and the one that was spent, and how long those had waited before.
    """
    other = waits_s if right_s is None else right_s
    better, spare = distilled or {}, len(weights)
    steps: list[Step] = []
    for pair, (fresh, left, right) in enumerate(zip(weights, waits_s, other, strict=True)):
        # Also a wait of nothing is written, so that chains of one length have one skeleton.
        if pair in better:
            for number, (made, wait_s) in zip((pair, spare), better[pair], strict=True):
                steps += [Generate(number, made), Wait(number, wait_s, wait_s)]
            steps.append(Distill(pair, spare, "dejmps"))
            spare += 1
        else:
            steps.append(Generate(pair, fresh))
        steps.append(Wait(pair, left, right))
    steps.extend(Swap(0, pair) for pair in range(1, len(weights)))
    return Program(tuple(steps), memory, gates)


@kernel
def charge(world: World, ledger: Ledger, weight: float, credit: Floats) -> None:
    """Charge nodes for contention: ``weight`` for each own resource that two requests want now."""
    nodes, links = ledger.node, ledger.link
    for node in range(world.n):
        if nodes[node].claims >= 2:
            credit[node] -= weight
    for link in range(world.m):
        if links[link].claims >= 2:
            credit[world.link[link].a] -= 0.5 * weight
            credit[world.link[link].b] -= 0.5 * weight
