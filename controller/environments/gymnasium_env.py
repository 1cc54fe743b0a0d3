"""Gymnasium: one node among neighbours that follow the heuristic, or a central view of all nodes.

A step is one token: the nodes that have one spend it on a link or keep it, and time passes until
there is a token again. Runs have no natural end; at the end of their time they are truncated.
"""

from typing import Any, Literal, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from controller.environments.episode import LIMIT, OBSERVED, Episode, Moment
from controller.setting import Setting
from quantum.errors import InputError

__all__ = ["NetworkEnv", "NodeEnv"]

Single = NDArray[np.float32]
Bools = NDArray[np.bool_]


def _box(*shape: int) -> spaces.Space[Single]:
    box = spaces.Box(-LIMIT, LIMIT, (*shape, len(OBSERVED)), np.float32)
    return cast(spaces.Space[Single], box)


class NodeEnv(gymnasium.Env[Single, np.int64]):
    """One node decides; all others follow the heuristic.

    Observations are (candidates, :data:`OBSERVED`), an action is a candidate, the last is to idle.
    ``info["action_mask"]`` and :meth:`action_masks` say which are allowed; another one loses the
    token. The reward since the step before is the node's ``"own"`` or that of ``"all"`` nodes.
    ``reset(seed=k)`` plays the run of seed k, ``reset()`` one that follows from it.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        setting: Setting | None = None,
        *,
        node: int = 0,
        reward: Literal["own", "all"] = "own",
    ) -> None:
        self._episode = Episode(setting or Setting())
        if not 0 <= node < self._episode.nodes:
            raise InputError(f"node must be 0 to {self._episode.nodes - 1}, got {node}")
        if reward not in ("own", "all"):
            raise InputError(f"reward must be own or all, got {reward!r}")
        self._node, self._own = node, reward == "own"
        self.observation_space = _box(self._episode.candidates)
        self.action_space = spaces.Discrete(self._episode.candidates)
        self._moment: Moment | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Single, dict[str, Any]]:
        """Begin a run and play it until the node has its first token."""
        super().reset(seed=seed)
        moment = self._episode.begin(_seed(seed, self.np_random))
        self._moment, _ = self._until_its_turn(moment)
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[Single, float, bool, bool, dict[str, Any]]:
        """Spend the node's token; returns when it has the next one, or at the end of the run."""
        now = _begun(self._moment)
        everybody = now.heuristic.copy()
        everybody[self._node] = action
        after = self._episode.step(everybody)
        self._moment, reward = self._until_its_turn(after)
        return self._observation(), reward, False, self._moment.over, self._info()

    def action_masks(self) -> Bools:
        """Return which candidates are allowed now, as sb3-contrib asks for it."""
        mask: Bools = _begun(self._moment).mask[self._node]
        return mask

    def heuristic(self) -> np.int64:
        """Return what the heuristic would do now."""
        best: np.int64 = _begun(self._moment).heuristic[self._node]
        return best

    def _until_its_turn(self, moment: Moment) -> tuple[Moment, float]:
        """Let the others play until the node has something to decide; returns its reward."""
        reward = self._paid(moment)
        while not moment.over and not moment.deciding[self._node]:
            moment = self._episode.step(moment.heuristic)
            reward += self._paid(moment)
        return moment, reward

    def _paid(self, moment: Moment) -> float:
        return float(moment.rewards[self._node] if self._own else moment.rewards.sum())

    def _observation(self) -> Single:
        seen: Single = _begun(self._moment).observation[self._node]
        return seen

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks().astype(np.int8), **self._episode.facts()}


class NetworkEnv(gymnasium.Env[Single, NDArray[np.int64]]):
    """One agent sees and decides for all nodes; it is told nothing later than they are.

    Observations are (nodes, candidates, :data:`OBSERVED`), actions a candidate for every node; the
    masks of all nodes stand one after the other. The reward is that of all nodes.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, setting: Setting | None = None) -> None:
        self._episode = Episode(setting or Setting())
        nodes, candidates = self._episode.nodes, self._episode.candidates
        self.observation_space = _box(nodes, candidates)
        self.action_space = spaces.MultiDiscrete(np.full(nodes, candidates))
        self._moment: Moment | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Single, dict[str, Any]]:
        """Begin a run and play it until some node has a token."""
        super().reset(seed=seed)
        self._moment = self._episode.begin(_seed(seed, self.np_random))
        return self._moment.observation, self._info()

    def step(self, action: NDArray[np.int64]) -> tuple[Single, float, bool, bool, dict[str, Any]]:
        """Spend one token of every node that has one."""
        _begun(self._moment)
        self._moment = moment = self._episode.step(action)
        reward = float(moment.rewards.sum())
        return moment.observation, reward, False, moment.over, self._info()

    def action_masks(self) -> Bools:
        """Return which candidates are allowed now, (nodes * candidates,)."""
        mask: Bools = _begun(self._moment).mask.reshape(-1)
        return mask

    def heuristic(self) -> NDArray[np.int64]:
        """Return what the heuristic would do now."""
        return _begun(self._moment).heuristic

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks().astype(np.int8), **self._episode.facts()}


def _begun(moment: Moment | None) -> Moment:
    if moment is None:
        raise InputError("reset() comes before the first step")
    return moment


def _seed(seed: int | None, rng: np.random.Generator) -> int:
    return int(rng.integers(2**31)) if seed is None else seed
