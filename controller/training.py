"""Learning in the twin, episode after episode, and the file that comes of it.

An episode is a run of the twin: networks and draws change from one to the next, what was learned
stays. The policy is one set of weights, the federated average, so that it fits any network; it
alone is in the policy file. What must not leave the nodes (critics, the moments of optimisers) is
in a second file beside it, which training goes on from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.checkpoint import Checkpoint, load, save
from controller.decide import FEATURES
from controller.federation import Federation, delta_of
from controller.game import Game, Plans, play, prepare
from controller.mind import LearnConfig
from controller.policy import Actor, from_parameters, initial_actor, parameters
from controller.privacy import Part, composed
from controller.rivals.allocator import find
from controller.rivals.dpem import Twin, allocator
from controller.setting import Setting, scenario_of
from quantum.errors import InputError
from quantum.ledger import Ledger
from quantum.ledger.state import Floats

__all__ = ["Episode", "Training", "actor_of", "policy_from", "state_path", "train", "weights_from"]

#: Against whom learning is measured, on the same draws.
RIVAL = "mean-rate"
Arrays = dict[str, NDArray[np.generic]]


class Episode(msgspec.Struct, frozen=True):
    """What one episode brought, beside the rival on the same draws; numbers only.

    ``reward`` is the sum over nodes; ``rounds`` federated rounds with ``noise_multiplier``, which
    nodes added themselves where ``local``, and ``participation``; ``updates`` learning steps of
    each node. The privacy budget is for ``planned`` episodes.
    """

    seed: int
    nodes: int
    pairs_requested: int
    delivery_rate: float
    fraction_of_bound: float
    rival_delivery_rate: float
    rival_fraction_of_bound: float
    reward: float
    rounds: int
    updates: int
    noise_multiplier: float
    participation: float
    local: int
    planned: int


class Training(msgspec.Struct, frozen=True):
    """All episodes so far; ``epsilon`` and ``delta`` of the policy, None without a guarantee.

    They hold for a node that took part in every round, which is more than any did where episodes
    are on several networks. ``digest`` names the learning state, the policy included.
    """

    episodes: tuple[Episode, ...]
    epsilon: float | None
    delta: float | None
    privacy: str
    aggregator: str
    federated_rounds: int
    digest: str
    policy: str
    state: str


@dataclass(frozen=True, eq=False)
class _Progress:
    """What goes from one episode to the next."""

    policy: Floats
    local: Arrays
    episodes: tuple[Episode, ...]


def train(
    setting: Setting,
    episodes: int,
    out: Path,
    *,
    resume: Path | None = None,
    planned: int | None = None,
    config: LearnConfig | None = None,
    progress: Callable[[Episode], None] | None = None,
) -> Training:
    """Learn for ``episodes`` more and write the policy and the learning state after each of them.

    Episode k plays the setting with its seed + k. ``resume`` is the policy file of a training
    whose learning state lies beside it; going on is bit for bit what one longer training is.
    The setting's privacy budget is for ``planned`` episodes: those asked for, or what an earlier
    call planned; to play more has to be said. Raises InputError for a setting that makes no run,
    and files that cannot be read or written.
    """
    if episodes < 1:
        raise InputError(f"episodes must be at least 1, got {episodes}")
    setting.check()
    so_far = _fresh(setting.seed) if resume is None else _resumed(resume, setting.seed)
    planned = _planned(so_far.episodes, episodes, planned)
    plans: Plans = {}
    digest = ""
    for _ in range(episodes):
        number = len(so_far.episodes)
        now = msgspec.structs.replace(setting, seed=setting.seed + number)
        game = prepare(scenario_of(now), plans, **now.physics)
        so_far = _episode(game, so_far, config, now.federation, planned)
        digest = _write(out, so_far, setting.seed)
        if progress is not None:
            progress(so_far.episodes[-1])
    spent, delta = _privacy(so_far.episodes, setting.federation)
    return Training(
        episodes=so_far.episodes,
        epsilon=spent,
        delta=delta,
        privacy=setting.privacy,
        aggregator=setting.aggregator,
        federated_rounds=sum(e.rounds for e in so_far.episodes),
        digest=digest,
        policy=str(out),
        state=str(state_path(out)),
    )


def _planned(before: tuple[Episode, ...], more: int, planned: int | None) -> int:
    """Return how many episodes share the budget; InputError where there are more than planned."""
    total = len(before) + more
    if planned is None:
        planned = before[-1].planned if before else total
    if total > planned:
        raise InputError(
            f"the privacy budget is for {planned} episodes, these would be {total}: say "
            f"--planned-episodes {total} to spend more than that budget"
        )
    return planned


def _episode(
    game: Game,
    before: _Progress,
    config: LearnConfig | None,
    federation: Federation,
    planned: int,
) -> _Progress:
    """Play one game with learning, and the rival on the same draws."""
    rival = play(game, find(RIVAL), with_losses=False)
    actor = actor_of(before.policy, game.world.n)
    twins: list[Twin] = []

    def player(ledger: Ledger, stop: int) -> None:
        if not twins:
            twin = Twin(
                game,
                ledger,
                actor=actor,
                config=config,
                federation=federation,
                episodes=planned,
            )
            # Critics belong to nodes: elsewhere they start afresh.
            if before.local and before.episodes[-1].nodes == game.world.n:
                twin.mind.load_state(before.local)
            twins.append(twin)
        twins[0](stop)

    result = play(game, replace(allocator, play=lambda _: player), with_losses=False)
    dispatch, mind = twins[0].dispatch, twins[0].mind
    rounds = dispatch.rounds
    episode = Episode(
        seed=game.scenario.seed,
        nodes=game.world.n,
        pairs_requested=result.score.pairs_requested,
        delivery_rate=result.score.delivery_rate,
        fraction_of_bound=result.fraction_of_bound,
        rival_delivery_rate=rival.score.delivery_rate,
        rival_fraction_of_bound=rival.fraction_of_bound,
        reward=dispatch.results.reward,
        rounds=rounds.done,
        updates=mind.updates,
        noise_multiplier=dispatch.rules.noise_multiplier,
        participation=federation.participation,
        local=int(federation.privacy == "local"),
        planned=planned,
    )
    # Too few nodes to hide in an average learned each for itself: their mean goes on.
    policy = rounds.current if rounds.federated else parameters(mind.actor).mean(axis=0)
    return _Progress(policy, mind.state(), (*before.episodes, episode))


def _privacy(
    episodes: tuple[Episode, ...], federation: Federation
) -> tuple[float | None, float | None]:
    """Compose all rounds of all episodes, whatever their noise."""
    shared = [e for e in episodes if e.rounds > 0]
    if not shared or any(e.rounds == 0 and e.updates > 0 for e in episodes):
        return None, None
    delta = delta_of(federation, max(e.nodes for e in shared))
    # A node's own message is protected against replacement, twice the clipping norm away.
    parts = [
        Part(e.noise_multiplier / 2.0, e.rounds)
        if e.local
        else Part(e.noise_multiplier, e.rounds, e.participation)
        for e in shared
    ]
    spent = composed(parts, delta)
    return (None, None) if spent is None else (spent, delta)


def _fresh(seed: int) -> _Progress:
    return _Progress(parameters(initial_actor(1, len(FEATURES), seed=seed))[0], {}, ())


def _write(out: Path, so_far: _Progress, seed: int) -> str:
    """Write the learning state, then the policy; each is replaced as a whole."""
    rows = np.array([msgspec.structs.astuple(episode) for episode in so_far.episodes])
    arrays: Arrays = {"policy": so_far.policy, "episodes": rows, **so_far.local}
    number = len(so_far.episodes)
    digest = save(state_path(out), arrays, seed=seed, round_index=number)
    save(out, {"policy": so_far.policy}, seed=seed, round_index=number)
    return digest


def _resumed(path: Path, seed: int) -> _Progress:
    """Read the learning state beside a policy file."""
    beside = state_path(path)
    if not beside.exists():
        raise InputError(f"cannot resume from {path}: its learning state {beside} is missing")
    found = load(beside)
    if found.seed != seed:
        raise InputError(f"{beside} was trained with --seed {found.seed}, not {seed}")
    rows = found.arrays.pop("episodes", np.zeros(0))
    policy = _policy_in(found, beside)
    del found.arrays["policy"]
    kinds = [field.type for field in msgspec.structs.fields(Episode)]
    if rows.shape != (found.round, len(kinds)) or found.round < 1:
        raise InputError(f"{beside} is no learning state")
    episodes = tuple(
        Episode(*(kind(x) for kind, x in zip(kinds, row, strict=True))) for row in rows.tolist()
    )
    return _Progress(policy, found.arrays, episodes)


def state_path(policy: Path) -> Path:
    """Return where the learning state of a policy file lies.

    >>> state_path(Path("a/policy.safetensors")).name
    'policy.state.safetensors'
    """
    return policy.with_suffix(".state.safetensors")


def weights_from(path: Path) -> Floats:
    """Read the one weight set (P,) of a policy file; InputError if it is none."""
    return _policy_in(load(path), path)


def policy_from(path: Path, nodes: int) -> Actor:
    """Read a policy file for ``nodes`` nodes, which all start with its weights."""
    return actor_of(weights_from(path), nodes)


def actor_of(weights: Floats, nodes: int) -> Actor:
    """Give one weight set (P,) to every node; InputError if it is of another size.

    >>> start = parameters(initial_actor(1, len(FEATURES)))[0]
    >>> actor_of(start, 3).b1.shape
    (3, 8)
    """
    hidden, rest = divmod(weights.size, len(FEATURES) + 2)
    if weights.ndim != 1 or rest or hidden < 1:
        raise InputError(
            f"a policy has a multiple of {len(FEATURES) + 2} weights, got {weights.shape}"
        )
    return from_parameters(np.tile(weights, (nodes, 1)), len(FEATURES), hidden)


def _policy_in(found: Checkpoint, path: Path) -> Floats:
    policy = found.arrays.get("policy")
    if policy is None or policy.ndim != 1:
        raise InputError(f"{path} holds no policy")
    weights = policy.astype(np.float64)
    actor_of(weights, 1)
    return weights
