"""Learning in the twin, episode after episode, and the file that comes of it.

An episode is a run of the twin: networks and draws change from one to the next, what was learned
stays. The policy is one set of weights, the federated average, so that it fits any network; it
alone is in the policy file. What must not leave the nodes (critics, the moments of optimisers) is
in a second file beside it, which training goes on from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.checkpoint import load, save
from controller.federation import Federation, delta_of
from controller.game import Game, Plans, play, prepare
from controller.mind import LearnConfig
from controller.policy import parameters
from controller.policy_file import (
    FEATURE_NOTE,
    actor_of,
    heuristic_weights,
    policy_in,
    state_path,
    write_policy,
)
from controller.privacy import Part, composed
from controller.rivals.allocator import find
from controller.rivals.dpem import Twin, allocator
from controller.setting import Setting, scenario_of
from quantum.errors import InputError
from quantum.ledger import Ledger
from quantum.ledger.state import Floats

__all__ = ["Course", "Episode", "Training", "course_of", "done_in", "train"]

#: Against whom learning is measured, on the same draws.
RIVAL = "mean-rate"
Arrays = dict[str, NDArray[np.generic]]
#: Gives the game of episode k.
Course = Callable[[int], Game]


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
    """What goes from one episode to the next; ``anchor`` is what the leash is tied to."""

    anchor: Floats
    policy: Floats
    local: Arrays
    episodes: tuple[Episode, ...]
    notes: Mapping[str, Any]


def course_of(setting: Setting) -> Course:
    """Return the course of one setting: episode k plays it with its seed + k."""
    plans: Plans = {}

    def game(number: int) -> Game:
        now = msgspec.structs.replace(setting, seed=setting.seed + number)
        return prepare(scenario_of(now), plans, **now.physics)

    return game


def train(
    course: Course,
    episodes: int,
    out: Path,
    *,
    seed: int,
    start: Floats | None = None,
    resume: Path | None = None,
    federation: Federation | None = None,
    planned: int | None = None,
    config: LearnConfig | None = None,
    device: str = "cpu",
    notes: Mapping[str, Any] | None = None,
    progress: Callable[[int, Episode], None] | None = None,
) -> Training:
    """Learn for ``episodes`` more and write the policy and the learning state after each of them.

    ``start`` (P,) are the weights to begin with, and what the leash is tied to; the heuristic's
    unless given. ``resume`` is the policy file of a training whose learning state lies beside it;
    going on is bit for bit what one longer training is. ``notes`` of a new training go into the
    policy file. The privacy budget of ``federation`` is for ``planned`` episodes: those asked for,
    or what an earlier call planned; to play more has to be said.
    Raises InputError for a setting that makes no run, and files that cannot be read or written.
    """
    if episodes < 1 and resume is None:
        raise InputError(f"episodes must be at least 1, got {episodes}")
    if resume is None:
        first = heuristic_weights(seed) if start is None else start
        so_far = _Progress(first, first, {}, (), notes or {})
    else:
        so_far = _resumed(resume, seed)
    digest = "" if resume is None else load(state_path(resume)).digest
    # What is delivered meanwhile is nobody's loss: here nodes explore everywhere.
    config = replace(config or LearnConfig(explore=1.0), device=device)
    federation = federation or Federation()
    if federation.alone:
        raise InputError(
            "aggregator none makes no policy of all nodes, which is what training writes"
        )
    planned = _planned(so_far.episodes, episodes, planned)
    for _ in range(episodes):
        game = course(len(so_far.episodes))
        so_far = _episode(game, so_far, config, federation, planned)
        digest = _write(out, so_far, seed)
        if progress is not None:
            progress(len(so_far.episodes), so_far.episodes[-1])
    spent, delta = _privacy(so_far.episodes, federation)
    return Training(
        episodes=so_far.episodes,
        epsilon=spent,
        delta=delta,
        privacy=federation.privacy,
        aggregator=federation.aggregator,
        federated_rounds=sum(e.rounds for e in so_far.episodes),
        digest=digest,
        policy=str(out),
        state=str(state_path(out)),
    )


def done_in(policy: Path) -> int:
    """Return the episodes that a training has done; InputError where its state is missing."""
    beside = state_path(policy)
    if not beside.exists():
        raise InputError(f"cannot resume from {policy}: its learning state {beside} is missing")
    return load(beside).round


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
    actor, anchor = (actor_of(one, game.world.n) for one in (before.policy, before.anchor))
    twins: list[Twin] = []

    def player(ledger: Ledger, stop: int) -> None:
        if not twins:
            twin = Twin(
                game,
                ledger,
                actor=actor,
                anchor=anchor,
                config=config,
                gated=False,
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
    return replace(before, policy=policy, local=mind.state(), episodes=(*before.episodes, episode))


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


def _write(out: Path, so_far: _Progress, seed: int) -> str:
    """Write the learning state, then the policy; each is replaced as a whole."""
    rows = np.array([msgspec.structs.astuple(episode) for episode in so_far.episodes])
    arrays: Arrays = {"policy": so_far.policy, "anchor": so_far.anchor, "episodes": rows}
    number, said = len(so_far.episodes), {**so_far.notes, **FEATURE_NOTE}
    digest = save(state_path(out), arrays | so_far.local, seed=seed, round_index=number, notes=said)
    write_policy(out, so_far.policy, seed=seed, round_index=number, notes=said)
    return digest


def _resumed(path: Path, seed: int) -> _Progress:
    """Read the learning state beside a policy file."""
    done_in(path)
    beside = state_path(path)
    found = load(beside)
    if found.seed != seed:
        raise InputError(f"{beside} was trained with --seed {found.seed}, not {seed}")
    rows = found.arrays.pop("episodes", np.zeros(0))
    policy = policy_in(found, beside)
    anchor = found.arrays.pop("anchor", policy[:0])
    del found.arrays["policy"]
    kinds = [field.type for field in msgspec.structs.fields(Episode)]
    if rows.shape != (found.round, len(kinds)) or found.round < 1 or anchor.shape != policy.shape:
        raise InputError(f"{beside} is no learning state")
    episodes = tuple(
        Episode(*(kind(x) for kind, x in zip(kinds, row, strict=True))) for row in rows.tolist()
    )
    return _Progress(anchor.astype(np.float64), policy, found.arrays, episodes, found.notes)
