"""PettingZoo: all nodes at once, each an agent with observation, mask and reward of its own."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from controller.environments.episode import LIMIT, OBSERVED, Episode, Moment
from controller.setting import Setting
from quantum.errors import InputError

__all__ = ["NodesEnv"]

Seen = dict[str, Any]


class NodesEnv(ParallelEnv[str, Seen, np.int64]):  # type: ignore[misc]
    """Every node is an agent; a step is one token of each node that has one.

    Observations are ``{"observation": (candidates, F), "action_mask": (candidates,)}``. Nodes that
    leave the network, or have no token, stay alive and can only idle: PettingZoo revives nobody
    within an episode. ``reset(seed=k)`` plays the run of seed k, ``reset()`` one that follows.
    """

    metadata = {"name": "dpem_nodes_v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, setting: Setting | None = None) -> None:
        self._episode = Episode(setting or Setting())
        candidates = self._episode.candidates
        self.possible_agents = [f"node_{number}" for number in range(self._episode.nodes)]
        self.agents: list[str] = []
        self.render_mode = None
        shape = (candidates, len(OBSERVED))
        # The interface asks for the same object each time, and for one of its own each agent.
        self.observation_spaces = {
            agent: spaces.Dict(
                {
                    "observation": spaces.Box(-LIMIT, LIMIT, shape, np.float32),
                    "action_mask": spaces.Box(0, 1, (candidates,), np.int8),
                }
            )
            for agent in self.possible_agents
        }
        self.action_spaces = {agent: spaces.Discrete(candidates) for agent in self.possible_agents}
        self._random: np.random.Generator | None = None
        self._moment: Moment | None = None

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return the space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Seen], dict[str, dict[str, Any]]]:
        """Begin a run and play it until some node has a token."""
        if seed is not None or self._random is None:
            self._random, _ = seeding.np_random(seed)
        number = int(self._random.integers(2**31)) if seed is None else seed
        self.agents = list(self.possible_agents)
        self._moment = moment = self._episode.begin(number)
        return self._seen(moment), self._infos(self.agents)

    def step(
        self, actions: dict[str, np.int64]
    ) -> tuple[
        dict[str, Seen],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Let all agents act; who is left out idles."""
        if not self.agents:
            raise InputError("the run is over: reset() begins another one")
        idle = self._episode.candidates - 1
        chosen = np.array([actions.get(agent, idle) for agent in self.possible_agents], np.int64)
        self._moment = moment = self._episode.step(chosen)
        agents, paid = self.agents, moment.rewards.tolist()
        if moment.over:
            self.agents = []
        return (
            self._seen(moment),
            dict(zip(agents, paid, strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, moment.over),
            self._infos(agents),
        )

    def heuristic(self) -> list[int]:
        """Return what the heuristic would do now, for all possible agents."""
        if self._moment is None:
            raise InputError("reset() comes before the first step")
        best: list[int] = self._moment.heuristic.tolist()
        return best

    def _seen(self, moment: Moment) -> dict[str, Seen]:
        allowed = moment.mask.astype(np.int8)
        return {
            agent: {"observation": moment.observation[row], "action_mask": allowed[row]}
            for row, agent in enumerate(self.possible_agents)
        }

    def _infos(self, agents: list[str]) -> dict[str, dict[str, Any]]:
        facts = self._episode.facts()
        return {agent: dict(facts) for agent in agents}

    def render(self) -> None:
        """Show nothing: there is no picture of a step."""

    def close(self) -> None:
        """Nothing is open."""
