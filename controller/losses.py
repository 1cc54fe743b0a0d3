"""Contention loss: what requests miss because others are there.

Every request that missed pairs is played again in a world in which nobody else ever asks, on the
same draws and by the same rule, from the state in which that world would be when the request
becomes known. What it gets there and did not get here was lost to others.
"""

from collections.abc import Callable

import numpy as np

from controller.rivals.allocator import Player
from quantum.kernels import kernel
from quantum.ledger import Ledger, Rule, World, new_ledger, swaps_ahead
from quantum.ledger.state import Ints
from quantum.twin import advance, counted

__all__ = [
    "Alone",
    "contention_loss",
    "lost_pairs",
    "pairs_alone",
    "pairs_alone_forked",
    "pairs_alone_played",
]

#: What decides how a slot goes on; the rest is written before it is read, or only counted.
_STATE = (
    *("now", "node", "link", "pair", "held", "ring", "use"),
    *("leaf", "leaves", "ready", "behind", "ghost", "past", "reach", "fan", "lead"),
)


#: Tells what each of some requests would get alone in the world.
Alone = Callable[[Ints], Ints]


def contention_loss(world: World, ledger: Ledger, alone: Alone) -> float:
    """Return the pairs lost to other requests over the pairs requested, between 0 and 1.

    ``ledger`` was played to the horizon; requests of the evaluation window count. ``alone`` is
    asked for those that missed pairs.
    """
    which = counted(world)
    requested = int(world.request.pairs[which].sum())
    if requested == 0:
        return 0.0
    return int(lost_pairs(world, ledger, alone)[which].sum()) / requested


def lost_pairs(world: World, ledger: Ledger, alone: Alone) -> Ints:
    """Return the pairs that each request lost to others, shape (R,); 0 outside the window."""
    which = counted(world)
    missed = which[ledger.request.good[which] < world.request.pairs[which]]
    lost = np.zeros(len(world.request), dtype=np.int64)
    lost[missed] = np.maximum(0, alone(missed) - ledger.request.good[missed])
    return lost


def pairs_alone(world: World, rule: Rule, requests: Ints, delay_slots: Ints | None = None) -> Ints:
    """Return the pairs of the asked fidelity that each of ``requests`` would get alone."""
    ahead = swaps_ahead(world, rule)
    empty, scratch = (
        new_ledger(world, delay_slots=delay_slots, events=0, composites=ahead) for _ in range(2)
    )
    # Nobody comes: the queues of arrivals are at their ends.
    empty.now.next_arrival = empty.now.next_visible = len(world.request)
    visible = empty.request.visible
    got = np.zeros(len(requests), dtype=np.int64)
    for index in np.argsort(visible[requests], kind="stable"):
        request = int(requests[index])
        if visible[request] > world.request.deadline[request]:
            continue
        advance(world, empty, rule, int(visible[request]))
        _fork(empty, scratch)
        got[index] = _alone(world, scratch, rule, request)
    return got


def _fork(source: Ledger, target: Ledger) -> None:
    """Copy the state of a ledger into another one of the same world."""
    # Marks that earlier searches left in the target must stay older than any new one.
    newest = max(int(source.now[0].search), int(target.now[0].search))
    for name in _STATE:
        np.copyto(getattr(target, name), getattr(source, name))
    target.now.search = newest


def pairs_alone_forked(
    world: World,
    player: Player,
    requests: Ints,
    delay_slots: Ints | None = None,
    *,
    composites: bool = False,
) -> Ints:
    """Return what each of ``requests`` would get alone from a player without a memory.

    All that it knows is in the ledger, so one quiet network is played and forked, as for a rule.
    """
    quiet, scratch = (
        new_ledger(world, delay_slots=delay_slots, events=0, composites=composites)
        for _ in range(2)
    )
    quiet.now.next_arrival = quiet.now.next_visible = len(world.request)
    got = np.zeros(len(requests), dtype=np.int64)
    visible = quiet.request.visible
    for index in np.argsort(visible[requests], kind="stable"):
        request = int(requests[index])
        deadline = int(world.request.deadline[request])
        if visible[request] > deadline:
            continue
        player(quiet, int(visible[request]))
        _fork(quiet, scratch)
        scratch.queue[0].live = request
        scratch.now[0].live = 1
        player(scratch, deadline + 1)
        got[index] = scratch.request.good[request]
    return got


def pairs_alone_played(
    world: World,
    open_player: Callable[[], Player],
    requests: Ints,
    delay_slots: Ints | None = None,
    *,
    history_slots: int,
    composites: bool = False,
) -> Ints:
    """Return what each of ``requests`` would get alone from an allocator that is more than a rule.

    Each is played by a player of its own in an empty network, from ``history_slots`` before it
    becomes known.
    """
    got = np.zeros(len(requests), dtype=np.int64)
    for index, request in enumerate(requests.tolist()):
        ledger = new_ledger(world, delay_slots=delay_slots, events=0, composites=composites)
        visible, deadline = int(ledger.request.visible[request]), world.request.deadline[request]
        if visible > deadline:
            continue
        ledger.now.next_arrival = ledger.now.next_visible = len(world.request)
        ledger.now.clock = max(0, visible - history_slots)
        player = open_player()
        player(ledger, visible)
        ledger.queue[0].live = request
        ledger.now[0].live = 1
        player(ledger, int(deadline) + 1)
        got[index] = ledger.request.good[request]
    return got


@kernel
def _alone(world: World, ledger: Ledger, rule: Rule, request: int) -> int:
    """Play one request to its end, from the slot in which it becomes known."""
    asked = ledger.request[request]
    ledger.queue[0].live = request
    ledger.now[0].live = 1
    while ledger.now[0].live == 1:
        advance(world, ledger, rule, ledger.now[0].clock + 1)
    return int(asked.good)
