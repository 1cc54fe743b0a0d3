"""How fast the policy is learned: together, alone, and by one central learner, on the same draws.

The policy that runs start from has little left to learn, so its curves are flat. Here it starts
from nothing: the heuristic's scores are taken away, and the weights are those of a policy that has
learned nothing. A node still makes pairs that a request has claimed; every other token goes to the
link that the weights prefer, at first to the same one always. It sees the same twelve numbers, so
that what the heuristic knows has to be found by reward alone. Requests are not forecast.

Every learner sees its nodes explore everywhere, updates at the end of each round by the same PPO
with the same clipping of a round's change, without leash and without gate. After each round the
policy, or with learners alone every node's own, plays unseen draws of the same network greedily.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from controller.decide import FEATURES
from controller.federation import Federation
from controller.frozen import frozen_player
from controller.game import Game, ledger_of, prepare
from controller.mind import LearnConfig
from controller.policy import Actor, initial_actor
from controller.rivals.dpem import Twin, allocator
from controller.setting import Setting, scenario_of
from controller.statistics import Convergence, Sooner, convergence, sooner
from quantum.ledger import Rule
from quantum.seeding import generator
from quantum.twin import score

__all__ = ["SCHEMES", "Beside", "Converged", "Curve", "bare_rule", "converge", "learning_curve"]

ROUND_S, WARMUP_S, UNSEEN_S = 1.0, 10.0, 40.0
#: Evaluation draws are those of another seed, which no training plays; the network is the same.
_UNSEEN = 4 * 1_000_003
_CONFIG = LearnConfig(explore=1.0, leash_coefficient=0.0)


class _Scheme(msgspec.Struct, frozen=True):
    what: str
    federation: Federation
    together: bool = False


#: Who learns from what. The first is compared with each of the others.
SCHEMES = {
    "federated": _Scheme(
        "each node from its own, averaged every round", Federation(privacy="none")
    ),
    "independent": _Scheme("each node from its own, nothing shared", Federation(aggregator="none")),
    "central": _Scheme(
        "one actor and one critic from all decisions of all nodes",
        Federation(privacy="none"),
        together=True,
    ),
    "private": _Scheme("federated with the noise of epsilon 8", Federation()),
}


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """How one scheme learned: ``performances`` (seeds, evaluations) in points of the bound.

    The first evaluation is of the start, the others follow a round each. ``to_final`` are the
    rounds to 95 % of the scheme's own final level. ``epsilon`` is of all rounds together.
    """

    scheme: str
    what: str
    epsilon: float | None
    to_final: Convergence
    performances: tuple[tuple[float, ...], ...]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The first scheme beside another, paired by seed: rounds saved, and levels in points."""

    against: str
    sooner: Sooner


class Converged(msgspec.Struct, frozen=True, kw_only=True):
    """All that was learned, in ``rounds`` rounds of ``round_s`` seconds of network time each.

    ``heuristic`` (seeds,) is what the rule reaches whose scores were taken away, in points;
    ``decisions`` (mean of seeds) are those that the nodes learned from in all rounds together.
    """

    clients: int
    rounds: int
    round_s: float
    seeds: tuple[int, ...]
    heuristic: tuple[float, ...]
    curves: tuple[Curve, ...]
    beside: tuple[Beside, ...]


def bare_rule(game: Game) -> Rule:
    """Return the rule of dpem without its scores, forecasts and swaps ahead."""
    usual = allocator.rule(game.scenario, game.plan)
    return usual._replace(gap=0.0, relative=0.0, peer_fill=0.0, horizon_s=0.0, ahead_s=0.0)


def learning_curve(
    game: Game, unseen: Game, scheme: str, rounds: int
) -> tuple[tuple[float, ...], float | None]:
    """Learn by a scheme on ``game``; return the performance after each round, and epsilon.

    ``rounds`` + 1 performances on ``unseen``, in points of the bound; the first is of the start.
    """
    how, rule, nodes = SCHEMES[scheme], bare_rule(game), game.world.n
    twin = Twin(
        game,
        ledger_of(game, allocator),
        actor=initial_actor(nodes, len(FEATURES), seed=game.scenario.seed),
        config=_CONFIG,
        gated=False,
        federation=how.federation,
        rule=rule,
        together=how.together,
        round_s=ROUND_S,
    )
    found, each = [], twin.dispatch.rules.round_slots
    for number in range(rounds + 1):
        # A round is closed at the end of its slot; the next look brings the weights.
        twin(number * each + 2)
        found.append(_performance(unseen, bare_rule(unseen), twin.mind.actor))
    done = twin.dispatch.rounds
    return tuple(found), done.scheme.epsilon(done.done)


def _performance(game: Game, rule: Rule, actor: Actor) -> float:
    """Return what a policy reaches, in points of the bound."""
    heard, ledger = game.heard_by(allocator), ledger_of(game, allocator)
    play = frozen_player(heard.world, rule, actor, _CONFIG.temperature)
    play(ledger, heard.world.horizon)
    return 100.0 * score(heard.world, ledger).pairs_delivered / game.bound


def converge(
    setting: Setting,
    *,
    clients: int,
    rounds: int,
    seeds: Sequence[int],
    schemes: Sequence[str] = tuple(SCHEMES),
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Converged:
    """Learn by all schemes on the same draws, seed by seed, in a mesh of ``clients`` nodes.

    The ``setting`` gives preset, demand and load. ``progress`` is told what is played, how far it
    is, and of how much. Raises InputError where a setting makes no game.
    """
    topology = "mesh" if clients == 100 else f"mesh-{clients}"
    tables = {name: list[tuple[float, ...]]() for name in schemes}
    spent: dict[str, float | None] = {}
    heuristic = []
    for turn, seed in enumerate(seeds):
        here = msgspec.structs.replace(setting, topology=topology, seed=seed, warmup_s=WARMUP_S)
        game = _game(here, seed, rounds * ROUND_S)
        unseen = _game(here, seed + _UNSEEN, UNSEEN_S)
        plain = initial_actor(game.world.n, len(FEATURES), seed=seed)
        usual = allocator.rule(unseen.scenario, unseen.plan)
        heuristic.append(_performance(unseen, usual._replace(horizon_s=0.0, ahead_s=0.0), plain))
        for number, name in enumerate(schemes):
            progress(name, turn * len(schemes) + number, len(seeds) * len(schemes))
            curve, spent[name] = learning_curve(game, unseen, name, rounds)
            tables[name].append(curve)
    at = np.arange(rounds + 1, dtype=np.float64)
    first = schemes[0]
    return Converged(
        clients=clients,
        rounds=rounds,
        round_s=ROUND_S,
        seeds=tuple(seeds),
        heuristic=tuple(heuristic),
        curves=tuple(
            Curve(
                scheme=name,
                what=SCHEMES[name].what,
                epsilon=spent[name],
                to_final=convergence(tables[name], at, rng=_draws()),
                performances=tuple(tables[name]),
            )
            for name in schemes
        ),
        beside=tuple(
            Beside(against=name, sooner=sooner(tables[first], tables[name], at, rng=_draws()))
            for name in schemes[1:]
        ),
    )


def _game(setting: Setting, seed: int, seconds: float) -> Game:
    """Make a game that lasts at least ``seconds``, of which those after the warm-up count."""
    now = msgspec.structs.replace(setting, seed=seed, seconds=max(1.0, seconds - WARMUP_S + 0.1))
    return prepare(scenario_of(now.check()), **now.physics)


def _draws() -> np.random.Generator:
    return generator(0, "convergence intervals")
