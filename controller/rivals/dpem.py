"""DPEM itself: decentralised, forecasting, learning. In the twin it plays without sockets.

Every node decides with its own policy, a residual on the tuned mean-rate heuristic; the same
minds and the same dispatcher as in the live system, with the ledger's closed form in the place of
a backend.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from controller.dispatch import Dispatch
from controller.federation import Federation, Scheme, noise_of
from controller.foreseen import foreseen
from controller.frozen import frozen_player
from controller.game import Game
from controller.hearing import as_heard
from controller.mind import LearnConfig, Mind
from controller.plan import Plan, delay_slots
from controller.policy import Actor, parameters
from controller.policy_file import SHIPPED, actor_of, heuristic_weights, start_weights
from controller.rivals import mean_rate
from controller.rivals.allocator import Allocator, Player
from controller.rivals.tuned import tuned
from controller.rules import Journal, Rules, played_rule
from quantum.egp import Look, Speak
from quantum.errors import InputError
from quantum.ledger import Ledger, Rule, seed_at
from quantum.ledger.state import Floats
from quantum.scenario import Scenario

__all__ = [
    "LEVERS",
    "Twin",
    "allocator",
    "forecasting",
    "frozen",
    "learning_of",
    "make",
    "player",
    "rule_of",
    "rules_of",
]

SENTENCE = "Decentralised: every node forecasts, decides by its own policy, learns and averages."
#: Requests that are expected within this time claim links.
HORIZON_S = 0.8
#: Classes of which fewer pairs are expected claim nothing.
LEAST = 0.25
#: Announced requests get pairs swapped so long before they start.
AHEAD_S = 0.5
#: And those two nodes, of which so much of a batch is expected.
SURE = 0.8
#: Share of mean-rate's targets that is kept; the demand that is expected claims beside it.
UNDERNEATH = 1.0


#: What tuning may try; the weights of the heuristic underneath stay those of tuned mean-rate.
LEVERS = {
    "horizon_s": (0.0, 0.3, 0.8, 1.0),
    "least": (0.05, 0.1, 0.25, 1.0),
    "soon": (0.5, 1.0, 2.0),
    "press": (0.0, 0.5, 1.0, 1e18),
    "ahead_s": (0.0, 0.3, 0.5, 1.0),
    "sure": (0.0, 0.4, 0.6, 0.8),
    "underneath": (0.5, 0.75, 1.0),
}


def rule_of(targets: Floats, **weights: float) -> Rule:
    """Return what the policy starts as: tuned mean-rate, with claims of what is expected and swaps
    ahead for what is announced or as good as sure.

    ``weights`` are fields of the rule, by default those that tuning found.
    """
    known = {k: v for k, v in tuned("mean-rate").items() if k in Rule._fields}
    start = {"horizon_s": HORIZON_S, "least": LEAST, "ahead_s": AHEAD_S, "sure": SURE}
    own = start | {k: v for k, v in tuned("dpem").items() if k in Rule._fields}
    return mean_rate.rule_of(targets, **{**known, **own, **weights})


def rules_of(
    game: Game,
    groups: tuple[tuple[int, ...], ...],
    *,
    allocator: Allocator,
    learn: bool,
    measured: bool = False,
    round_s: float = 5.0,
    federation: Federation | None = None,
    episodes: int = 1,
    secret: bool = False,
    gated: bool = True,
) -> Rules:
    """Write down what a run of an allocator on a game is.

    Central allocators decide in the broker by their rule and do not learn. The noise of federated
    averaging is such that all rounds of ``episodes`` such runs together cost its epsilon. Raises
    InputError where the network has too few nodes for the aggregator.
    """
    scenario = game.scenario
    world = as_heard(game.world, scenario, central=allocator.central)
    learn = learn and not allocator.central
    round_slots = max(1, round(round_s / scenario.slot_s))
    rounds = (world.horizon - 1) // round_slots
    federation = (federation or Federation()).check()
    if learn and federation.aggregator != "mean" and world.n < federation.fewest_clients:
        raise InputError(
            f"aggregator {federation.aggregator} needs at least {federation.fewest_clients} nodes, "
            f"the network has {world.n}"
        )
    noise = noise_of(federation, world.n, rounds * episodes) if learn else 0.0
    return Rules(
        world=world,
        rule=played_rule(allocator.rule(scenario, game.plan), measured=measured),
        central=allocator.central,
        network=scenario.network,
        delay_slots=delay_slots(scenario, central=allocator.central),
        groups=groups,
        learn=learn,
        measured=measured,
        round_slots=round_slots,
        noise_multiplier=noise,
        federation=federation,
        secret=secret,
        gated=learn and gated,
        temperature=LearnConfig().temperature,
    )


def learning_of(rules: Rules, config: LearnConfig | None = None) -> LearnConfig:
    """Return how nodes learn in a run: clipped and, with local privacy, with noise of their own."""
    scheme = Scheme(rules.federation, rules.world.n, rules.clip_norm, rules.noise_multiplier)
    config = config or LearnConfig()
    if scheme.message_noise > 0.0:
        # The noise is accounted for over this norm.
        config = replace(config, clip_norm=rules.clip_norm)
    elif scheme.federation.clipping == "adaptive":
        config = replace(config, clip_norm=scheme.client_clip)
    return replace(config, local_noise=scheme.message_noise, secret=rules.secret)


class Twin:
    """Plays one ledger of a game with one mind for all nodes; call it with the slot to stop at.

    ``actor`` has the weights that all nodes start with, by default those of the heuristic; the
    leash is tied to ``anchor``, by default to that start. With ``gated`` changes must pass the
    gate, as in a run (:mod:`controller.gate`). ``rule`` is another heuristic; ``episodes`` is how
    many such runs share the budget of ``federation``. ``journal`` is given every decision. With
    ``together`` one central learner learns for all (:mod:`controller.pooled`). The dispatcher and
    the mind stay readable after the last slot.
    """

    def __init__(
        self,
        game: Game,
        ledger: Ledger,
        *,
        learn: bool = True,
        actor: Actor | None = None,
        anchor: Actor | None = None,
        config: LearnConfig | None = None,
        gated: bool = True,
        federation: Federation | None = None,
        episodes: int = 1,
        rule: Rule | None = None,
        journal: Journal = lambda _: None,
        together: bool = False,
        round_s: float = 5.0,
    ) -> None:
        world, nodes = game.world, np.arange(game.world.n)
        everybody = (tuple(nodes.tolist()),)
        rules = rules_of(
            game,
            everybody,
            allocator=allocator,
            learn=learn,
            round_s=round_s,
            federation=federation,
            episodes=episodes,
            gated=gated,
        )
        if actor is not None:
            # Changes are added to what the nodes started from.
            rules = replace(rules, start=parameters(actor)[0])
        if rule is not None:
            rules = replace(rules, rule=rule)
        self.ledger = ledger
        self.dispatch = Dispatch(rules, journal, ledger)
        self.mind = Mind(
            world,
            rules.rule,
            nodes,
            seed=seed_at(world, 0),
            learn=learn,
            config=learning_of(rules, config),
            actor=actor,
            anchor=anchor,
            together=together,
        )

    def __call__(self, stop: int) -> None:
        """Play until the slot ``stop``."""
        dispatch = self.dispatch
        while dispatch.slot < stop:
            for look in dispatch.open():
                dispatch.hear(0, self.speak(look))
            job = dispatch.close()
            if job is not None:
                dispatch.settle(dispatch.results.by_closed_form(job.job))

    def speak(self, look: Look) -> Speak:
        """Return what the nodes send after they saw ``look``."""
        return self.mind.speak(look)


def player(
    game: Game,
    *,
    learn: bool = True,
    actor: Actor | None = None,
    config: LearnConfig | None = None,
    rule: Rule | None = None,
    federation: Federation | None = None,
) -> Player:
    """Return what plays ledgers of the game, each with a mind of its own.

    It starts from ``actor``, by default the policy that is part of the package. ``rule`` is the
    heuristic that it corrects, by default that of :data:`allocator`. ``federation`` says how those
    who learn average.
    """
    start = actor or actor_of(start_weights(SHIPPED), game.world.n)
    if not learn:
        heuristic = rule or allocator.rule(game.scenario, game.plan)
        temperature = (config or LearnConfig()).temperature
        soon = foreseen(game.world, heuristic)
        return frozen_player(game.world, heuristic, start, temperature, soon)
    playing: list[Twin] = []

    def play(ledger: Ledger, stop: int) -> None:
        if not playing or playing[-1].ledger is not ledger:
            twin = Twin(game, ledger, actor=start, config=config, rule=rule, federation=federation)
            playing.append(twin)
        playing[-1](stop)

    return play


def make(*, underneath: float = UNDERNEATH, **weights: float) -> Allocator:
    """Return the allocator with other settings.

    ``underneath`` is the share of mean-rate's targets that is kept; ``weights`` are fields of the
    rule, see :data:`LEVERS`.
    """

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        usual = mean_rate.allocator.rule(scenario, plan)
        return rule_of(underneath * usual.targets, **weights)._replace(
            rounds=usual.rounds, refined=usual.refined
        )

    def play(game: Game) -> Player:
        return player(game, rule=rule(game.scenario, game.plan))

    return Allocator(
        name="dpem",
        central=False,
        sentence=SENTENCE,
        rule=rule,
        play=play,
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("dpem"))


def _forecasting(game: Game) -> Player:
    return player(game, learn=False, actor=actor_of(heuristic_weights(0), game.world.n))


forecasting = replace(
    allocator,
    name="dpem-forecast",
    sentence="Tuned mean-rate at the nodes, with forecasts and swaps ahead: dpem without a policy.",
    play=_forecasting,
    make=None,
    levers={},
)
frozen = replace(
    allocator,
    name="dpem-frozen",
    sentence="The policy that dpem starts from, as it is: nobody learns.",
    play=partial(player, learn=False),
    make=None,
    levers={},
)
