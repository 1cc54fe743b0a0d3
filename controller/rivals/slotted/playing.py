"""Rounds in the ledger: what happens in each slot of a slotted protocol."""

from controller.game import Game
from controller.rivals.allocator import Player
from controller.rivals.slotted.commit import commit_paths, commit_recoveries
from controller.rivals.slotted.corridor import find_corridors, pull_towards
from controller.rivals.slotted.generating import act, find_needs, need_better
from controller.rivals.slotted.state import (
    REALISED,
    Candidates,
    Protocol,
    Round,
    budget,
    new_round,
)
from controller.rivals.slotted.swapping import swap_greedily, swap_paths
from quantum.kernels import kernel
from quantum.ledger import Ledger, World, close_slot, generate, open_slot
from quantum.ledger.places import take
from quantum.ledger.refine import refine
from quantum.ledger.serve import serve_best
from quantum.ledger.state import DROPPED

__all__ = ["advance_rounds", "player_with"]


def player_with(game: Game, plan: Protocol, found: Candidates) -> Player:
    """Return what plays one ledger of a game by a protocol."""
    state = new_round(game.world)

    def player(ledger: Ledger, stop: int) -> None:
        advance_rounds(game.world, ledger, state, plan, found, stop)

    return player


@kernel
def advance_rounds(
    world: World, ledger: Ledger, state: Round, plan: Protocol, found: Candidates, stop: int
) -> None:
    """Play slots until ``ledger.clock`` is ``stop``; rounds begin at multiples of their length.

    A player that starts in the middle of a round has nothing committed until the next one.
    """
    while ledger.now[0].clock < stop:
        slot = ledger.now[0].clock
        open_slot(world, ledger, plan.rule)
        if slot % plan.round_slots == 0:
            budget(world, ledger, state, plan)
            if plan.kind == REALISED:
                find_corridors(world, ledger, state, plan)
            else:
                commit_paths(world, state, plan, found)
                commit_recoveries(world, state, plan)
        find_needs(world, ledger, state, plan)
        if plan.kind == REALISED:
            pull_towards(world, ledger, state)
        if plan.better.rounds > 0:
            need_better(world, ledger, state, plan)
        act(world, ledger, state, plan)
        generate(world, ledger, plan.rule)
        if plan.better.rounds > 0:
            refine(world, ledger, plan.better)
        last = slot % plan.round_slots == plan.round_slots - 1
        if plan.kind == REALISED:
            swap_greedily(world, ledger, state, plan, last)
        else:
            swap_paths(world, ledger, state, plan, last)
        if plan.better.rounds > 0 and (last or plan.early == 1):
            serve_best(world, ledger, plan.better, True)
        if last and plan.cached == 0:
            _drop_all(ledger)
        close_slot(world, ledger)


@kernel
def _drop_all(ledger: Ledger) -> None:
    """End a round without memory: every pair that was not swapped goes."""
    for place in range(len(ledger.pair)):
        if ledger.pair[place].u >= 0:
            take(ledger, place)
            ledger.totals[DROPPED] += 1
