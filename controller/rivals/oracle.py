"""Oracle: a central controller with a perfect forecast. The only allocator that looks ahead.

It knows every request some time before it arrives, and lets it claim links as if it were known
already: paths for the whole batch, shared out by whole swap tokens
(:mod:`quantum.ledger.shares`), after the requests that are really there. Half of the mean-rate
targets stay underneath. Pairs are handed out when requests have arrived and are known, never
before: it shows what a perfect forecast is worth to an allocator that is otherwise the tuned
mean-rate one, and no more than that. It is not optimal.
"""

from controller.game import Game
from controller.plan import RESERVE, STOCK_S, Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.mean_rate import LEVERS as MEAN_RATE_LEVERS
from controller.rivals.mean_rate import rule_of, stock_of
from controller.rivals.tuned import tuned
from quantum.kernels import kernel, lean
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
from quantum.ledger.claims import ANNOUNCED_S
from quantum.ledger.refined import claim_best, claim_refined, price_refined
from quantum.ledger.shares import begin_shares, claim_share, end_shares
from quantum.scenario import Scenario

__all__ = ["allocator", "make", "play_foreseen"]

#: What tuning may try, beside the weights of mean-rate.
LEVERS = {
    "horizon_s": (0.1, 0.2, 0.3, 0.5, 1.0),
    "underneath": (0.0, 0.25, 0.5, 1.0),
    **MEAN_RATE_LEVERS,
}


@lean
def _claim(world: World, ledger: Ledger, rule: Rule, ahead: int) -> None:
    """Let the requests that are known claim, then those of the next ``ahead`` slots.

    The latter is the future; nobody but the oracle may look there.
    """
    slot, start = ledger.now[0].clock, ledger.now[0].clock + int(ANNOUNCED_S / world.slot_s)
    begin_shares(world, ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival <= start:
            claim_share(world, ledger, rule, request)
    first = _first_unheard(world, ledger, ahead)
    for request in range(first, len(world.request)):
        if world.request[request].arrival > slot + ahead:
            break
        if ledger.request[request].visible > slot and world.request[request].deadline >= slot:
            claim_share(world, ledger, rule, request)
    end_shares(world, ledger)
    if rule.rounds > 0:
        claim_refined(world, ledger, rule, start)
        _claim_refined_ahead(world, ledger, rule, first, ahead)


@lean
def _first_unheard(world: World, ledger: Ledger, ahead: int) -> int:
    """Return the first request that may be to come; word travels, so some have arrived already."""
    request, slot = ledger.now[0].next_arrival, ledger.now[0].clock
    while request > 0 and world.request[request - 1].arrival >= slot - ahead:
        request -= 1
    return int(request)


@lean
def _claim_refined_ahead(world: World, ledger: Ledger, rule: Rule, first: int, ahead: int) -> None:
    """Let the requests to come claim distilled pairs, as those that are known have done."""
    slot, priced = ledger.now[0].clock, False
    for request in range(first, len(world.request)):
        if world.request[request].arrival > slot + ahead:
            break
        row = world.request[request].cls
        if ledger.request[request].visible <= slot or world.request[request].deadline < slot:
            continue
        if world.cls[row].refined == 0:
            continue
        if not priced:
            price_refined(world, ledger, rule)
            priced = True
        claim_best(world, ledger, rule, request, row)


@kernel
def play_foreseen(
    world: World, ledger: Ledger, rule: Rule, opening: Rule, ahead: int, stop: int
) -> None:
    """Play slots up to ``stop``; requests of the next ``ahead`` slots claim as well.

    ``opening`` is the rule by which slots open: its claims are made anew, so they may be cheap.
    """
    links = ledger.link
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, opening)
        # open_slot claimed for those that are known; here all claim together.
        for number in range(world.m):
            links[number].wanted = 0.0
        _claim(world, ledger, rule, ahead)
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
        return rule_of(underneath * targets, **weights)._replace(
            rounds=plan.rounds, refined=plan.refined
        )

    def play(game: Game) -> Player:
        world = game.world
        settings = rule(game.scenario, game.plan)
        opening = settings._replace(complete=0, rounds=0)
        ahead = round(horizon_s / world.slot_s)

        def player(ledger: Ledger, stop: int) -> None:
            play_foreseen(world, ledger, settings, opening, ahead, stop)

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
