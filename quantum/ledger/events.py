"""What is done with assembled pairs: how tests are drawn, who is paid, what is executed."""

from collections.abc import Sequence

import numpy as np

from quantum.kernels import Table, kernel
from quantum.ledger.state import (
    BASIS,
    DELIVERED,
    LINK_TESTED,
    LOST,
    OUTCOME,
    Floats,
    Ints,
    Ledger,
    World,
)
from quantum.program import Gates, Generate, Memory, Program, Step, Swap, Wait
from quantum.seeding import uniform

__all__ = ["closed_form_passes", "draw_tests", "pay", "program_of", "take_events"]

#: Added to the node of a link test so that its draws are not those of a request.
_LINK_KEY = 1 << 40


def take_events(ledger: Ledger) -> Table:
    """Return the events since the last call, and forget them."""
    count = int(ledger.now[0].events)
    ledger.now[0].events = 0
    return ledger.event[:count].copy()


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
        key = event.request + (_LINK_KEY if event.kind == LINK_TESTED else 0)
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
    """Share the reward of delivered pairs among the nodes that made and swapped them.

    ``trust`` (C, H + 1) is the probability, by measured tests, that a pair of a class and a number
    of links meets its fidelity; it is the reward of the pair. ``valid`` (E,) is 0 where execution
    failed: no reward. ``credit`` (n,) is added to.
    """
    for index in range(len(events)):
        event = events[index]
        if event.kind != DELIVERED or valid[index] == 0:
            continue
        row = world.request[event.request].cls
        part = trust[row, event.hops] / (2.0 * event.hops - 1.0)
        for hop in range(event.hops):
            credit[event.makers[hop]] += part
            if hop < event.hops - 1:
                credit[event.swaps[hop]] += part


def program_of(
    links: Sequence[int],
    waits_s: Sequence[float],
    weights: Sequence[tuple[float, float, float, float]],
    memory: Memory,
    gates: Gates,
    right_s: Sequence[float] | None = None,
) -> Program:
    """Write an assembled pair as a program: make each link, let it wait, swap from the left.

    ``links`` of the chain in order, how long each pair waited, and the Bell populations of every
    link of the network. ``right_s`` are the waits of the right qubits where they differ: a qubit
    that was swapped earlier than its partner waited less.
    """
    other = waits_s if right_s is None else right_s
    steps: list[Step] = []
    for pair, (link, left, right) in enumerate(zip(links, waits_s, other, strict=True)):
        # Also a wait of nothing is written, so that chains of one length have one skeleton.
        steps.append(Generate(pair, weights[link]))
        steps.append(Wait(pair, left, right))
    steps.extend(Swap(0, pair) for pair in range(1, len(links)))
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
