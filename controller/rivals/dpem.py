"""DPEM itself: decentralised, forecasting, learning. In the twin it plays without sockets.

Every node decides with its own policy, a residual on the tuned mean-rate heuristic; the same
minds and the same dispatcher as in the live system, with the ledger's closed form in the place of
a backend.
"""

import numpy as np

from controller.dispatch import Dispatch, Rules
from controller.game import Game
from controller.learning_round import FEWEST_CLIENTS
from controller.mind import Mind
from controller.plan import Plan, delay_slots
from controller.policy import Actor
from controller.privacy import default_delta, noise_for
from controller.rivals.allocator import Allocator, Player
from quantum.ledger import Ledger, Rule
from quantum.ledger.state import Floats
from quantum.scenario import Scenario

__all__ = ["allocator", "footprint_of", "player", "rule_of", "rules_of"]


def rule_of(targets: Floats) -> Rule:
    """Return the heuristic that the policy starts as: the tuned mean-rate rule."""
    return Rule(fill=2, complete=1, targets=targets)


def _rule(scenario: Scenario, plan: Plan) -> Rule:
    return rule_of(plan.mean_targets)


def footprint_of(scenario: Scenario, shares: Floats) -> Floats:
    """Return the pairs of each link used per pair that a node asks for, (n, m)."""
    trace, n = scenario.trace, len(scenario.network.nodes)
    out = np.zeros((n, len(scenario.network.links)))
    if not len(trace.commodities):
        return out
    source = trace.commodities[:, 0]
    total = np.bincount(source, weights=trace.weights, minlength=n)
    np.add.at(out, source, trace.weights[:, None] * shares)
    return out / np.maximum(total, 1e-12)[:, None]


def rules_of(
    game: Game,
    groups: tuple[tuple[int, ...], ...],
    *,
    allocator: Allocator,
    learn: bool,
    measured: bool = False,
    round_s: float = 5.0,
    epsilon: float = 8.0,
) -> Rules:
    """Write down what a run of an allocator on a game is.

    Central allocators decide in the broker by their rule and do not learn. The noise of federated
    averaging is such that all rounds of the run together cost ``epsilon``.
    """
    scenario, world = game.scenario, game.world
    learn = learn and not allocator.central
    round_slots = max(1, round(round_s / scenario.slot_s))
    rounds = (world.horizon - 1) // round_slots
    noise = 0.0
    if learn and rounds > 0 and world.n >= FEWEST_CLIENTS:
        noise = noise_for(epsilon, default_delta(world.n), rounds)
    return Rules(
        world=world,
        rule=allocator.rule(scenario, game.plan),
        central=allocator.central,
        network=scenario.network,
        footprint=footprint_of(scenario, game.plan.shares),
        delay_slots=delay_slots(scenario, central=allocator.central),
        groups=groups,
        learn=learn,
        measured=measured,
        round_slots=round_slots,
        noise_multiplier=noise,
    )


def player(game: Game, *, learn: bool = True, actor: Actor | None = None) -> Player:
    """Return what plays ledgers of the game with one mind for all nodes."""
    world = game.world
    nodes = np.arange(world.n)
    rules = rules_of(game, (tuple(nodes.tolist()),), allocator=allocator, learn=learn)
    playing: dict[int, tuple[Dispatch, Mind]] = {}

    def play(ledger: Ledger, stop: int) -> None:
        if id(ledger) not in playing:
            mind = Mind(world, rules.rule, nodes, seed=world.seed, learn=learn, actor=actor)
            playing[id(ledger)] = (Dispatch(rules, lambda _: None, ledger), mind)
        dispatch, mind = playing[id(ledger)]
        while dispatch.slot < stop:
            for look in dispatch.open():
                dispatch.hear(0, mind.speak(look))
            job = dispatch.close()
            if job is not None:
                dispatch.settle(dispatch.answer_by_closed_form(job.job))

    return play


allocator = Allocator(
    name="dpem",
    central=False,
    sentence="Decentralised: every node forecasts, decides by its own policy, learns and averages.",
    rule=_rule,
    play=player,
)
