"""What ``dpem federate`` learns: the policy in the twin, and the forecast of a node's demand.

Both are tasks of this project with its own networks and demand. The policy starts as the tuned
mean-rate rule and is worth little more after a minute of learning, so that it shows what averaging
may break rather than what it brings. The forecast (:mod:`controller.forecast`) starts from nothing,
so that it shows both: heads are averaged, recurrent bodies start alike and stay with their nodes.
Everything is keyed by the seed and alike for all schemes that are compared.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import msgspec
import numpy as np

from controller.averaging import Average
from controller.federated import clip, privatise_each
from controller.federation import Federation, Scheme, noise_of
from controller.forecast import Forecaster
from controller.game import Game, play, prepare
from controller.history import History, HistoryConfig
from controller.poison import Poison
from controller.rivals.dpem import Twin, allocator, player
from controller.setting import Setting, scenario_of
from controller.training import actor_of
from quantum.egp import Look, Speak
from quantum.ledger import Ledger
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["ForecastTask", "Played", "PolicyTask", "Task"]

#: Evaluation draws are those of another seed, which no training plays.
_UNSEEN = 1_000_003
_ROUND_S, _WARMUP_S = 5.0, 10.0


class Played(msgspec.Struct, frozen=True):
    """What a federation came to: ``performance`` in the task's unit, larger is better."""

    performance: float
    rounds: int
    epsilon: float | None
    delta: float | None
    dropped: int


class Task(Protocol):
    """A task that clients learn together; one object per seed."""

    name: str
    unit: str

    def play(
        self, federation: Federation, *, poison: Poison | None = None, bounded: bool = True
    ) -> Played:
        """Learn by a federation, then measure on what nobody has trained on."""
        ...


@dataclass(eq=False)
class PolicyTask:
    """The actor in the twin; performance is the averaged policy's share of the bound, in points.

    It is measured on the network with draws of another seed, without learning and exploring.
    """

    setting: Setting
    rounds: int
    name: str = "policy"
    unit: str = "points of the bound"

    def _game(self, seed: int, seconds: float) -> Game:
        # The network follows the seed modulo four: unseen draws, but the same network.
        setting = msgspec.structs.replace(
            self.setting, seed=seed, seconds=seconds, warmup_s=_WARMUP_S
        )
        return prepare(scenario_of(setting), **setting.physics)

    @cached_property
    def _training(self) -> Game:
        # The game ends with the last deadline, which is after these seconds.
        return self._game(self.setting.seed, max(1.0, self.rounds * _ROUND_S - _WARMUP_S + 0.1))

    @cached_property
    def _unseen(self) -> Game:
        return self._game(self.setting.seed + 4 * _UNSEEN, 30.0)

    def play(
        self, federation: Federation, *, poison: Poison | None = None, bounded: bool = True
    ) -> Played:
        """Learn for ``rounds`` rounds in the twin, then let the average play alone."""
        game, twins = self._training, list[_PoisonedTwin]()

        def learning(ledger: Ledger, stop: int) -> None:
            if not twins:
                twins.append(_PoisonedTwin(game, ledger, federation, poison, bounded=bounded))
            twins[0](stop)

        play(game, replace(allocator, play=lambda _: learning), with_losses=False)
        rounds = twins[0].dispatch.rounds
        scheme = rounds.scheme
        spent = scheme.epsilon(rounds.done)
        actor = actor_of(rounds.current, game.world.n)
        alone = replace(allocator, play=lambda g: player(g, learn=False, actor=actor))
        found = play(self._unseen, alone, with_losses=False)
        return Played(
            performance=100.0 * found.fraction_of_bound,
            rounds=rounds.done,
            epsilon=spent,
            delta=None if spent is None else scheme.delta,
            dropped=rounds.dropped,
        )


class _PoisonedTwin(Twin):
    """A twin in which some nodes lie about what they learned."""

    def __init__(
        self,
        game: Game,
        ledger: Ledger,
        federation: Federation,
        poison: Poison | None,
        *,
        bounded: bool,
    ) -> None:
        super().__init__(game, ledger, federation=federation)
        self._poison = poison
        self._asked = 0
        if not bounded:
            self.dispatch.rounds.unbound()

    def speak(self, look: Look) -> Speak:
        """Return what the nodes send; liars put something else in the place of their changes."""
        speak = super().speak(look)
        if self._poison is None or not speak.update:
            return speak
        self._asked += 1
        rules = self.dispatch.rules
        sent = self._poison.apply(
            np.frombuffer(speak.update, dtype="<f8").reshape(rules.world.n, -1),
            seed=rules.world.seed,
            round_index=self._asked,
            scheme=self.dispatch.rounds.scheme,
        )
        return msgspec.structs.replace(speak, update=sent.astype("<f8").tobytes())


#: Bins of a tenth of a second: what clients learn from, and what is forecast to measure them.
_LEARNING_BINS, _MEASURED_BINS, _STRIDE = 700, 300, 3
#: Windows and steps of a client's round, and the longest change of its head.
_WINDOWS, _STEPS, _HEAD_CLIP = 32, 4, 0.3


@dataclass(eq=False)
class ForecastTask:
    """Heads of forecasters on every node's own demand; performance is the explained deviance.

    In per cent of the Poisson deviance of one rate for all nodes and bins, on the thirty seconds
    that follow those that were learned from.
    """

    setting: Setting
    rounds: int
    name: str = "forecast"
    unit: str = "per cent of deviance explained"

    @cached_property
    def _data(self) -> tuple[History, Floats, Floats]:
        """Return what is learned from, and inputs (T, N, L, I) and counts (T, N, horizon)."""
        config = HistoryConfig()
        seconds = (_LEARNING_BINS + _MEASURED_BINS) * config.bin_s
        setting = msgspec.structs.replace(self.setting, seconds=seconds, warmup_s=0.0)
        scenario = scenario_of(setting)
        nodes, trace = len(scenario.network.nodes), scenario.trace
        learned, whole = History(nodes, config), History(nodes, config)
        inputs: list[Floats] = []
        marks = list(range(_LEARNING_BINS, _LEARNING_BINS + _MEASURED_BINS - 10, _STRIDE))
        ends = trace.commodities[trace.commodity]
        for number in np.argsort(trace.time_s, kind="stable").tolist():
            time_s = float(trace.time_s[number])
            while len(inputs) < len(marks) and time_s >= marks[len(inputs)] * config.bin_s:
                whole.advance(marks[len(inputs)] * config.bin_s)
                inputs.append(whole.inputs())
            about: dict[str, Any] = {
                "source": int(ends[number, 0]),
                "destination": int(ends[number, 1]),
                "minimum_fidelity": float(trace.minimum_fidelity[number]),
                "pairs": int(trace.pairs[number]),
            }
            whole.record(time_s, **about)
            if time_s < _LEARNING_BINS * config.bin_s:
                learned.record(time_s, **about)
        learned.advance(_LEARNING_BINS * config.bin_s)
        whole.advance(seconds)
        series, used = whole.series(), marks[: len(inputs)]
        ahead = np.array([series[:, mark : mark + config.horizon] for mark in used])
        return learned, np.array(inputs), ahead

    def play(
        self, federation: Federation, *, poison: Poison | None = None, bounded: bool = True
    ) -> Played:
        """Learn heads for ``rounds`` rounds from the start of the history, then forecast."""
        history, inputs, ahead = self._data
        nodes = history.nodes
        seed = self.setting.seed
        model = Forecaster(nodes, len(history.config.columns), horizon=history.config.horizon)
        scheme = Scheme(federation, nodes, _HEAD_CLIP, noise_of(federation, nodes, self.rounds))
        average = Average(scheme, model.head()[0], seed=seed, bounded=bounded)
        dropped = 0
        for number in range(self.rounds):
            before = np.tile(average.current, (nodes, 1))
            model.load_head(before)
            rng = generator(seed, "federate windows", number)
            model.train(*history.windows(_WINDOWS, rng), _STEPS)
            sent = model.head() - before
            if bounded:
                sent = clip(sent, scheme.client_clip)
            if scheme.message_noise > 0.0:
                sent = privatise_each(
                    sent,
                    np.arange(nodes),
                    clip_norm=scheme.clip_norm,
                    noise_multiplier=scheme.message_noise,
                    seed=seed,
                    slot=number,
                )
            if poison is not None:
                sent = poison.apply(sent, seed=seed, round_index=number, scheme=scheme)
            dropped += average.close(np.arange(nodes), sent).dropped
        spent = scheme.epsilon(average.done)
        model.load_head(np.tile(average.current, (nodes, 1)))
        expected = np.array([model.predict(window) for window in inputs])
        rate = float(history.series().mean())
        return Played(
            performance=100.0 * (1.0 - _deviance(ahead, expected) / _deviance(ahead, rate)),
            rounds=average.done,
            epsilon=spent,
            delta=None if spent is None else scheme.delta,
            dropped=dropped,
        )


def _deviance(counts: Floats, expected: Floats | float) -> float:
    """Return the Poisson deviance of counts, summed, in nats."""
    mean = np.maximum(expected, 1e-12)
    logs = np.where(counts > 0.0, counts * np.log(np.maximum(counts, 1e-12) / mean), 0.0)
    return float(2.0 * (logs - (counts - mean)).sum())
