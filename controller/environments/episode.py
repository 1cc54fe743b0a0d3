"""Episodes of a setting: what facades share. Observations, masks and rewards as padded arrays."""

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.decide import FEATURES
from controller.environments.field import Field
from controller.game import Game, world_of
from controller.plan import Plans, plan_of
from controller.setting import Setting, scenario_of
from quantum.errors import InputError
from quantum.flows import knee
from quantum.ledger.state import Floats, Ints
from quantum.presets import NETWORKS
from quantum.topology import load_topology
from quantum.twin import score

__all__ = ["LIMIT", "OBSERVED", "Episode", "Moment"]

#: What is observed of every candidate, in this order.
OBSERVED = (*FEATURES, "score of the heuristic over 100")
#: Observations lie between minus this and this; beyond it they are cut.
LIMIT = 1000.0
#: Flows of networks: environments of one process, and their episodes, are on the same few.
_PLANS: Plans = {}


@dataclass(frozen=True, eq=False)
class Moment:
    """What all nodes see, (nodes, candidates, F) float32 and (nodes, candidates) true: allowed.

    ``heuristic`` (nodes,) is what the heuristic would do: the best score, which is
    observed in single precision only. ``rewards`` (nodes,) came since the moment before; ``over``:
    the run is at its end.
    """

    observation: NDArray[np.float32]
    mask: NDArray[np.bool_]
    heuristic: Ints
    rewards: Floats
    over: bool

    @property
    def deciding(self) -> NDArray[np.bool_]:
        """Nodes that have more than one candidate, (nodes,)."""
        several: NDArray[np.bool_] = self.mask.sum(axis=1) > 1
        return several


@dataclass(eq=False)
class Episode:
    """Plays runs of a setting, each in a network of its own seed, one token of every node a step.

    ``nodes`` and ``candidates`` are those of the largest of the networks that seeds lead to, so
    shapes never change; what a network has not is masked. Idle is the last candidate.
    """

    setting: Setting
    nodes: int = field(init=False)
    candidates: int = field(init=False)
    _field: Field | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.setting.check()
        if self.setting.rack is not None or self.setting.policy is not None:
            raise InputError("rack and policy are for live runs; environments play the twin")
        if self.setting.allocator != "dpem":
            raise InputError(f"allocator must be dpem, got {self.setting.allocator!r}")
        networks = [load_topology(self.setting.topology, seed=k) for k in range(NETWORKS)]
        self.nodes = max(len(network.nodes) for network in networks)
        degrees = [np.bincount(network.links.ravel(), minlength=1) for network in networks]
        self.candidates = 1 + max(int(degree.max(initial=0)) for degree in degrees)

    @property
    def field(self) -> Field:
        """The network that is being played."""
        if self._field is None:
            raise InputError("reset() comes before the first step")
        return self._field

    def begin(self, seed: int) -> Moment:
        """Begin the run of a seed; it is the run that ``dpem compare`` plays with that seed."""
        setting = msgspec.structs.replace(self.setting, seed=seed).check()
        scenario = scenario_of(setting, knee)
        # The bound is not asked for here, and would take longer than the episode.
        game = Game(
            scenario=scenario,
            world=world_of(scenario, **setting.physics),
            plan=plan_of(scenario, _PLANS, max_rounds=setting.cell.distillation_rounds),
            bound=0.0,
            max_rounds=setting.cell.distillation_rounds,
        )
        self._field = Field(game)
        return self._advance(np.zeros(self.nodes))

    def step(self, action: Ints) -> Moment:
        """Let all nodes act (nodes,); time passes until one of them has a token again."""
        play = self.field
        chosen = np.array(action[: play.nodes], dtype=np.int64)
        if play.finished:
            raise InputError("the run is over: reset() begins another one")
        # Idle, and candidates that this network has not.
        chosen[(chosen < 0) | (chosen >= play.candidates - 1)] = play.candidates - 1
        play.spend(chosen)
        rewards = np.zeros(self.nodes)
        if not play.tokens.any():
            rewards[: play.nodes] += play.close()
            return self._advance(rewards)
        return self._moment(rewards)

    def facts(self) -> dict[str, float]:
        """Say where the run is, and what became of its requests so far."""
        play = self.field
        result = score(play.rules.world, play.ledger)
        return {
            "slot": play.slot,
            "time_s": play.slot * play.rules.world.slot_s,
            "pairs_delivered": result.pairs_delivered,
            "pairs_requested": result.pairs_requested,
            "delivery_rate": result.delivery_rate,
        }

    def _advance(self, rewards: Floats) -> Moment:
        play = self.field
        while not play.finished:
            play.open()
            if play.tokens.any():
                break
            rewards[: play.nodes] += play.close()
        return self._moment(rewards)

    def _moment(self, rewards: Floats) -> Moment:
        play, width = self.field, len(OBSERVED)
        observation = np.zeros((self.nodes, self.candidates, width), dtype=np.float32)
        mask = np.zeros((self.nodes, self.candidates), dtype=np.bool_)
        mask[:, -1] = True
        best = np.full(self.nodes, self.candidates - 1)
        if not play.finished:
            sight = play.sight()
            real, links = slice(0, play.nodes), slice(0, play.candidates - 1)
            for seen, here in ((links, links), (-1, -1)):
                part = np.concatenate(
                    [sight.features[:, seen], sight.base[:, seen, None] / 100.0], axis=-1
                )
                observation[real, here] = np.clip(part, -LIMIT, LIMIT)
            mask[real, links] = sight.mask[:, links]
            first = np.where(sight.mask, sight.base, -np.inf).argmax(axis=1)
            best[real] = np.where(first < play.candidates - 1, first, self.candidates - 1)
        return Moment(observation, mask, best, rewards, play.finished)
