"""The mind of an agent process: what its nodes remember, forecast, decide and learn.

No sockets: it maps a Look to a Speak. The live agent and the twin of a learned policy use it alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.arrivals import Arrivals, Recurrent
from controller.decide import FEATURES, Memory, decide, new_memory
from controller.federated import clip, privatise_each
from controller.policy import Actor, from_parameters, initial_actor, parameters
from controller.pooled import PooledLearner
from controller.ppo import Learner, PPOConfig
from controller.rollout import rollout_of
from quantum.egp import Create, Look, Speak, Yield
from quantum.errors import InputError
from quantum.ledger.state import ACTION_TOKENS, RAW, Floats, Ints, Rule, World, seed_at

__all__ = ["LearnConfig", "Mind"]


@dataclass(frozen=True)
class LearnConfig:
    """How agents learn while they act; a sentence under every number."""

    temperature: float = 0.05
    """Spread of exploration in units of the heuristic's score (pairs)."""
    explore: float = 0.1
    """Share of node-slots in which a node explores; elsewhere it takes the best candidate."""
    learning_rate: float = 1e-2
    """Step of Adam for policies and critics; a minute has a dozen updates only."""
    entropy_coefficient: float = 0.0
    """Worth of a nat of entropy: exploration is the temperature's business."""
    leash_coefficient: float = 0.1
    """Cost of a nat of divergence from the policy that learning started from."""
    kl_target: float = 0.02
    """Nats that an update of a node may move; its learning rate adapts, also when links change."""
    gae_lambda: float = 0.95
    """Trust in rewards rather than in the critic, per decision."""
    gamma_slot: float = 0.98
    """Discount per slot: half a second ahead counts for 60 %."""
    clip_norm: float = 0.2
    """Largest change of one node's weights in a federated round."""
    local_noise: float = 0.0
    """Noise that nodes add to their changes before they send them, over ``clip_norm``."""
    secret: bool = False
    """Whether that noise comes from the operating system rather than from the seed."""
    steps: int = 256
    """Decisions of a node that are remembered between two updates."""
    device: str = "cpu"
    """Where PPO computes: cpu or cuda."""


class Mind:
    """Decides for ``nodes`` of a world, starting as the heuristic ``rule``.

    Requests are forecast by ``arrivals`` as far as the rule looks ahead, learning or not; by
    default by :class:`controller.arrivals.Recurrent`. ``together``: all that these nodes decided
    teaches one actor, which they all act by (:mod:`controller.pooled`).
    """

    def __init__(
        self,
        world: World,
        rule: Rule,
        nodes: Ints,
        *,
        seed: int,
        learn: bool,
        config: LearnConfig | None = None,
        actor: Actor | None = None,
        anchor: Actor | None = None,
        arrivals: Arrivals | None = None,
        together: bool = False,
    ) -> None:
        self._world, self._rule, self._nodes = world, rule, nodes
        self._seed, self._learn = seed, learn
        self._config = config or LearnConfig()
        self._local = np.full(world.n, -1, dtype=np.int64)
        self._local[nodes] = np.arange(len(nodes))
        width = world.inc_link.shape[1]
        self._shape = (width, RAW)
        self.actor = actor or initial_actor(len(nodes), len(FEATURES), seed=seed)
        steps = self._config.steps if learn else 1
        self._memory: Memory = new_memory(len(nodes), steps, width + 1)
        self._own = np.flatnonzero(np.isin(world.cls.a, nodes))
        self._arrivals = arrivals or Recurrent(world.cls, world.slot_s, sources=nodes)
        self._ahead = round(rule.horizon_s / world.slot_s)
        mine = np.flatnonzero(np.isin(world.cls.a[world.request.cls], nodes))
        self._requests = mine[np.argsort(world.request.told[mine], kind="stable")]
        self._next = 0
        self.updates = 0
        self._learner: Learner | PooledLearner | None = None
        if learn:
            ppo = PPOConfig(
                learning_rate=self._config.learning_rate,
                gae_lambda=self._config.gae_lambda,
                entropy_coefficient=self._config.entropy_coefficient,
                leash_coefficient=self._config.leash_coefficient,
                kl_target=self._config.kl_target,
                temperature=self._config.temperature,
            )
            kind = PooledLearner if together else Learner
            self._learner = kind(
                len(nodes), len(FEATURES), seed=seed, config=ppo, device=self._config.device
            )
            self._learner.load_actor(self.actor)
            # The leash is tied to where learning started.
            self._learner.set_anchor(anchor or self.actor)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return what the nodes have learned besides their policy; empty where they do not learn.

        Critics and the moments of their optimisers: all of it stays with the nodes.
        """
        if self._learner is None:
            return {}
        return {f"learner.{name}": part for name, part in self._learner.state().items()}

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on with what :meth:`state` gave, under the policy that this mind was made with.

        Raises InputError where it is the state of other nodes or does not learn.
        """
        if self._learner is None:
            raise InputError("a mind that does not learn has no learning state")
        self._learner.load_state(_named("learner.", state))
        self._learner.load_actor(self.actor)

    def speak(self, look: Look) -> Speak:
        """Return what the nodes do after they saw ``look``."""
        update = b""
        if self._learn:
            self._memory.pending[:] += np.frombuffer(look.credit, dtype="<f8")
            if look.parameters:
                self._adopt(np.frombuffer(look.parameters, dtype="<f8"))
            if look.learn:
                update = self._improve(look.slot)
        creates, yields = self._act(look)
        return Speak(
            slot=look.slot,
            creates=tuple(self._requested(look.slot) + creates),
            yields=tuple(yields),
            forecast=self._forecast(look.slot),
            update=update,
            updates_done=self.updates,
        )

    def _act(self, look: Look) -> tuple[list[Create], list[Yield]]:
        """Spend the tokens of the nodes in the look."""
        size = len(look.nodes)
        if size == 0:
            return [], []
        nodes = np.array(look.nodes, dtype=np.int64)
        tokens = np.array(look.tokens, dtype=np.int64)
        views = np.frombuffer(look.views, dtype="<f8").reshape(size, *self._shape).copy()
        choice = np.full((size, ACTION_TOKENS), -1, dtype=np.int64)
        urgency = np.zeros((size, ACTION_TOKENS))
        given, surplus = np.full(size, -1, dtype=np.int64), np.zeros(size)
        world = self._world
        decide(
            self._rule,
            world.node,
            world.inc_link,
            world.inc_node,
            world.slot_s,
            seed_at(world, look.slot),
            look.slot,
            nodes,
            self._local[nodes],
            tokens,
            np.array(look.fill, dtype=np.int64),
            views,
            self.actor,
            self._config.temperature,
            self._config.explore if self._learn else 0.0,
            self._memory,
            choice,
            urgency,
            given,
            surplus,
        )
        creates = [
            Create(
                create_id=-1 - number,
                source=node,
                destination=int(world.inc_node[node, k]),
                hold=True,
                urgency=float(urgency[row, number]),
            )
            for row, node in enumerate(look.nodes)
            for number in range(look.tokens[row])
            if (k := int(choice[row, number])) >= 0
        ]
        yields = [
            Yield(node=look.nodes[row], position=int(given[row]), surplus=float(surplus[row]))
            for row in range(size)
            if given[row] >= 0
        ]
        return creates, yields

    def _requested(self, slot: int) -> list[Create]:
        """Return the applications' requests that the nodes hear of in this slot."""
        world, out = self._world, []
        while self._next < len(self._requests):
            number = int(self._requests[self._next])
            request = world.request[number]
            if request.told > slot:
                break
            self._next += 1
            cls = world.cls[request.cls]
            out.append(
                Create(
                    create_id=number,
                    source=int(cls.a),
                    destination=int(cls.b),
                    pairs=int(request.pairs),
                    minimum_fidelity=float(cls.fidelity),
                    max_time_s=float((request.deadline - request.arrival) * world.slot_s),
                )
            )
            if request.told == request.arrival:
                # Who announces is known already, and will announce again.
                self._arrivals.record(slot, int(request.cls), int(request.pairs))
        return out

    def _forecast(self, slot: int) -> bytes:
        """Publish the pairs that are expected of the nodes' classes; empty without foresight."""
        if self._ahead < 1:
            return b""
        soon = self._arrivals.expected(slot, self._ahead)[self._own]
        return np.ascontiguousarray(soon, dtype="<f8").tobytes()

    def _improve(self, slot: int) -> bytes:
        """Update the policy; return the clipped change of the weights."""
        assert self._learner is not None
        before = parameters(self.actor)
        rollout = rollout_of(self._memory, self._config.gamma_slot)
        if rollout is not None:
            self._learner.update(rollout)
            self.updates += 1
        self._memory.taken[:] = 0
        self._memory.pending[:] = 0.0
        change = clip(parameters(self._learner.actor()) - before, self._config.clip_norm)
        # The broker hands out what goes live; until then nodes act as before.
        self._learner.load_actor(self.actor)
        if self._config.local_noise > 0.0:
            change = privatise_each(
                change,
                self._nodes,
                clip_norm=self._config.clip_norm,
                noise_multiplier=self._config.local_noise,
                seed=None if self._config.secret else self._seed,
                slot=slot,
            )
        return np.ascontiguousarray(change, dtype="<f8").tobytes()

    def _adopt(self, flat: Floats) -> None:
        """Take weights: one set for every node, or (after an average) one for all."""
        assert self._learner is not None
        hidden = self.actor.w1.shape[2]
        size = self.actor.w1[0].size + 2 * hidden
        rows = flat.reshape(-1, size)
        if len(rows) == 1:
            rows = np.repeat(rows, len(self._nodes), axis=0)
        self.actor = from_parameters(rows, len(FEATURES), hidden)
        self._learner.load_actor(self.actor)


def _named(prefix: str, state: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
