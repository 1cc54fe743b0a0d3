"""Oracle: a central controller with a perfect forecast. The only allocator that looks ahead.

It knows every request some time before it arrives, and lets it claim links as if it were known
already: paths for the whole batch, shared out by whole swap tokens
(:mod:`quantum.ledger.claims`), after the requests that are really there. Half of the mean-rate
targets stay underneath. Pairs are handed out when requests have arrived and are known, never
before: it shows what a perfect forecast is worth to an allocator that is otherwise the tuned
mean-rate one, and no more than that. It is not optimal.
"""

import numpy as np

from controller.game import Game
from controller.plan import RESERVE, STOCK_S, Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.mean_rate import LEVERS as MEAN_RATE_LEVERS
from controller.rivals.mean_rate import rule_of, stock_of
from controller.rivals.tuned import tuned
from quantum.kernels import kernel
from quantum.ledger import (
    Ledger,
    Rule,
    World,
    act_by_rule,
    close_slot,
    generate,
    open_slot,
    serve,
)
from quantum.ledger.claims import claim_together
from quantum.ledger.slot import ANNOUNCED_S, live_until
from quantum.ledger.state import Ints
from quantum.scenario import Scenario

__all__ = ["allocator", "make", "play_foreseen", "upcoming"]

#: What tuning may try, beside the weights of mean-rate.
LEVERS = {
    "horizon_s": (0.1, 0.2, 0.3, 0.5, 1.0),
    "underneath": (0.0, 0.25, 0.5, 1.0),
    **MEAN_RATE_LEVERS,
}


@kernel
def upcoming(world: World, ledger: Ledger, ahead: int) -> Ints:
    """Return the requests that arrive within ``ahead`` slots and are not yet known, in order.

    This is the future; nobody but the oracle may ask.
    """
    slot = ledger.now[0].clock
    out = np.empty(len(world.request), dtype=np.int64)
    size, request = 0, ledger.now[0].next_arrival
    # Word of a request travels: some have arrived and are not known yet.
    while request > 0 and world.request[request - 1].arrival >= slot - ahead:
        request -= 1
    while request < len(world.request) and world.request[request].arrival <= slot + ahead:
        if ledger.request[request].visible > slot and world.request[request].deadline >= slot:
            out[size] = request
            size += 1
        request += 1
    return out[:size]


@kernel
def play_foreseen(world: World, ledger: Ledger, rule: Rule, ahead: int, stop: int) -> None:
    """Play slots up to ``stop``; requests of the next ``ahead`` slots claim as well."""
    links, soon = ledger.link, int(ANNOUNCED_S / world.slot_s)
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        for number in range(world.m):
            links[number].wanted = 0.0
        known = live_until(world, ledger, ledger.now[0].clock + soon)
        claim_together(world, ledger, rule, np.append(known, upcoming(world, ledger, ahead)))
        act_by_rule(world, ledger, rule)
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        ledger.now[0].events = 0
        close_slot(world, ledger)


def make(
    *,
    horizon_s: float = 0.3,
    underneath: float = 0.5,
    stock_s: float = STOCK_S,
    reserve: float = RESERVE,
    **weights: float,
) -> Allocator:
    """Return the allocator with other settings: how far it sees, the share of mean targets kept."""

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        targets = stock_of(plan, stock_s=stock_s, reserve=reserve)
        return rule_of(underneath * targets, **weights)

    def play(game: Game) -> Player:
        world = game.world
        # The ledger's own claims are made anew, so they may be cheap.
        settings = rule(game.scenario, game.plan)._replace(complete=0)
        ahead = round(horizon_s / world.slot_s)

        def player(ledger: Ledger, stop: int) -> None:
            play_foreseen(world, ledger, settings, ahead, stop)

        return player

    return Allocator(
        name="oracle",
        central=True,
        sentence="Central with a perfect forecast: sees requests before they arrive, as none may.",
        rule=rule,
        play=play,
        paper="ours; what a forecast can be worth",
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("oracle"))
