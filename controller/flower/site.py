"""A site's part of a round: its agents play the twin with the common weights, and learn.

The twin plays the whole network, because agents meet in it; what leaves the site are the clipped
changes of its own nodes. Critics and optimisers go from one round to the next and stay at the site,
in a file for each round: a site that was killed in a round plays it once more from the same state.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.checkpoint import load, save
from controller.dispatch import Dispatch
from controller.federated import privatise_each
from controller.flower.plan import Plan
from controller.game import ledger_of, prepare
from controller.mind import LearnConfig, Mind
from controller.policy_file import actor_of
from controller.rivals.dpem import allocator, rules_of
from controller.setting import scenario_of
from quantum.errors import InputError
from quantum.ledger import seed_at
from quantum.ledger.state import Floats

__all__ = ["State", "learn_round", "train_site"]

State = dict[str, NDArray[np.generic]]
#: What a site has said is kept with its state where it is not the same a second time.
_SAID = "said"


def learn_round(
    plan: Plan, round_index: int, weights: Floats, state: State
) -> tuple[Floats, State]:
    """Play a round with ``weights`` (P,) at every node; return the changes (n, P) and the state.

    Every node learns by itself from what happened to it, so that a row is the same whoever plays.
    """
    setting = plan.setting(round_index)
    game = prepare(scenario_of(setting), **setting.physics).heard_by(allocator)
    nodes = np.arange(game.world.n)
    slots = max(1, round(plan.seconds / game.world.slot_s))
    everybody = (tuple(nodes.tolist()),)
    rules = replace(
        rules_of(game, everybody, allocator=allocator, learn=False), learn=True, round_slots=slots
    )
    dispatch = Dispatch(rules, lambda _: None, ledger_of(game, allocator))
    mind = Mind(
        game.world,
        rules.rule,
        nodes,
        seed=seed_at(game.world, 0),
        learn=True,
        config=LearnConfig(explore=1.0, clip_norm=plan.longest),
        actor=actor_of(weights, game.world.n),
    )
    if state:
        mind.load_state(state)
    while True:
        for look in dispatch.open():
            speak = mind.speak(look)
            if speak.update:
                rows = np.frombuffer(speak.update, dtype="<f8").reshape(len(nodes), -1)
                return rows, dict(mind.state())
            dispatch.hear(0, speak)
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))


def train_site(plan: Plan, site: int, round_index: int, weights: Floats, folder: Path) -> Floats:
    """Return the changes (k, P) of a site's nodes; what they learned besides stays in ``folder``.

    Raises InputError where the state of the round before is missing, or is of another round.
    """
    if not 0 <= round_index < plan.rounds:
        raise InputError(f"round must be between 0 and {plan.rounds - 1}, got {round_index}")
    folder.mkdir(parents=True, exist_ok=True)
    if plan.privacy == "local" and _file(folder, round_index + 1).exists():
        # Asked again: other noise on the same changes would give away more of them.
        said: Floats = _read(folder, plan, round_index + 1)[_SAID].astype(np.float64)
        return said
    before = {} if round_index == 0 else _read(folder, plan, round_index)
    before.pop(_SAID, None)
    rows, state = learn_round(plan, round_index, weights, before)
    mine = plan.nodes_of(site, len(rows))
    changes = rows[mine]
    if plan.privacy == "local":
        changes = privatise_each(
            changes,
            mine,
            clip_norm=plan.clip_norm,
            noise_multiplier=plan.scheme(len(rows)).message_noise,
            seed=None,
            slot=round_index,
        )
        state[_SAID] = changes
    save(_file(folder, round_index + 1), state, seed=plan.seed, round_index=round_index + 1)
    # The one before may be asked for again, older ones not.
    _file(folder, round_index - 1).unlink(missing_ok=True)
    return changes


def _file(folder: Path, rounds: int) -> Path:
    return folder / f"after-{rounds}-rounds.safetensors"


def _read(folder: Path, plan: Plan, round_index: int) -> State:
    path = _file(folder, round_index)
    if not path.exists():
        raise InputError(
            f"{path} is missing: this site has not played round {round_index - 1} of this run; "
            "give the folder that it used before"
        )
    found = load(path)
    if (found.seed, found.round) != (plan.seed, round_index):
        raise InputError(f"{path} is of seed {found.seed} and round {found.round}")
    return dict(found.arrays)
