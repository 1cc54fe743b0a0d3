"""The squidasm backend: allocations as NetQASM programs, on the executor of this package.

Every step of a program is an application of its own: the nodes that it concerns run programs on
the instruction set that QNodeOS takes, keep their qubits, and take them up again in the next one.
Between two steps a state is averaged over the outcomes of the first, so a chain of n links costs n
times as much as a swap, and the answer is exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backends.contract import Outcome, Plan, Truth
from backends.sampling import check_plan, sample
from backends.squid import acts
from backends.squid.acts import Deed, Given
from backends.squid.engine import Complex
from backends.squid.setting import Generic
from backends.squid.stage import Stage
from quantum import bell, noise
from quantum.batch import Batch, Kind, check_batch
from quantum.program import MOST_QUBITS, Memory
from quantum.werner import IMPOSSIBLE

__all__ = ["SquidBackend"]

Floats = NDArray[np.float64]

#: Numbers of the largest state of a simulation: 16 MB.
_AT_ONCE = 2**20


class SquidBackend:
    """Executes programs as NetQASM applications. See :class:`backends.contract.Backend`.

    Counts are drawn from the exact chances of test measurements. Registers of more than two qubits
    are not tested by programs: their stabilizers are read from the state.
    """

    name = "squidasm"
    keeps = True

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""
        check_plan(plan, len(check_batch(batch)), batch.qubits)
        try:
            truth = _exact(batch)
        except BaseException:
            # Nodes that were interrupted are in the middle of something.
            _stage.cache_clear()
            raise
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")

    def close(self) -> None:
        """Release nothing; safe to call twice."""


def _exact(batch: Batch) -> Truth:
    size, weights = len(batch), 2**batch.qubits
    truth = Truth(populations=np.empty((size, weights)), success=np.empty(size))
    step = max(1, _AT_ONCE // 4 ** _most_qubits(batch))
    for start in range(0, size, step):
        part = slice(start, start + step)
        given, success = _Walk(batch.part(start, start + step)).play()
        truth.populations[part] = np.where((success > 0.0)[:, None], given, 1.0 / weights)
        truth.success[part] = success
    return truth


def _most_qubits(batch: Batch) -> int:
    """Return how many qubits are in one state at most."""
    qubits: dict[int, int] = {}
    most = 4
    for kind, first, second in batch.skeleton:
        if kind in ("generate", "load"):
            qubits[first] = 2
        elif kind in ("merge_first", "merge_last"):
            joined = qubits[first] + qubits.pop(second)
            most, qubits[first] = max(most, joined), joined - 1
    return most


@lru_cache(maxsize=8)
def _stage(gate_depolarizing: float, readout_error: float) -> Stage:
    """Return nodes whose gates on two qubits and measurements are as good as said."""
    device = Generic(
        qubits=2,
        t1_ns=0.0,
        t2_ns=0.0,
        init_ns=0.0,
        single_ns=0.0,
        two_ns=0.0,
        measure_ns=0.0,
        two_depolar=0.0,
        joint_depolar=gate_depolarizing,
        flip_0=readout_error,
        flip_1=readout_error,
    )
    return Stage(MOST_QUBITS, device)


@dataclass(frozen=True, eq=False)
class _Register:
    """A pair or register of each program.

    ``states`` ``(B, 2^n, 2^n)``; ``waits_s`` and ``attempts`` ``(B, n)`` are still to come.
    """

    states: Complex
    waits_s: Floats
    attempts: Floats
    fresh: bool

    @classmethod
    def of(cls, states: Complex, *, fresh: bool) -> "_Register":
        size, width = states.shape[:2]
        none = np.zeros((size, width.bit_length() - 1))
        return cls(states, none, none, fresh)

    @property
    def qubits(self) -> int:
        return int(self.waits_s.shape[1])

    def waiting(self, seconds: Floats, attempts: Floats) -> "_Register":
        """Add what the first qubit and what all others wait: two columns each."""
        column = np.minimum(np.arange(self.qubits), 1)
        return replace(
            self,
            waits_s=self.waits_s + seconds[:, column],
            attempts=self.attempts + attempts[:, column],
        )

    def given(self, nodes: tuple[int, ...], memory: Memory) -> Given:
        """Return it as an act takes it."""
        waits: tuple[Complex, ...] = ()
        if self.waits_s.any() or self.attempts.any():
            damping, coherence = noise.decay(self.waits_s, memory, self.attempts)
            waits = tuple(_decay(*both) for both in zip(damping.T, coherence.T, strict=True))
        return Given(self.states, nodes, self.fresh, waits)


def _decay(damping: Floats, coherence: Floats) -> Complex:
    """Return channels ``(B, 4, 4)`` on row-stacked density matrices."""
    out = np.zeros((len(damping), 4, 4), dtype=np.complex128)
    out[:, 0, 0] = 1.0
    out[:, 0, 3] = damping
    out[:, 1, 1] = out[:, 2, 2] = coherence
    out[:, 3, 3] = 1.0 - damping
    return out


class _Walk:
    """Follows the skeleton of a batch, act by act."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._success = np.ones(len(batch))
        self._registers: dict[int, _Register] = {}
        # Whether a swap is heralded is no matter of gates: its chance is a factor.
        self._noisy = _stage(batch.gates.gate_depolarizing, batch.gates.readout_error)
        self._ideal = _stage(0.0, 0.0)

    def play(self) -> tuple[Floats, Floats]:
        """Return (populations given success ``(B, 2^n)``, success ``(B,)``)."""
        batch = self._batch
        made = loaded = waited = 0
        for kind, first, second in batch.skeleton:
            match kind:
                case "generate":
                    states = _bell_diagonal(batch.populations[:, made])
                    self._registers[first] = _Register.of(states, fresh=True)
                    made += 1
                case "load":
                    states = bell.density_matrix(batch.states[:, loaded])
                    self._registers[first] = _Register.of(states, fresh=True)
                    loaded += 1
                case "wait":
                    self._registers[first] = self._registers[first].waiting(
                        batch.waits_s[:, waited], batch.attempts[:, waited]
                    )
                    waited += 1
                case _:
                    one, other = self._registers[first], self._registers.pop(second)
                    self._registers[first] = self._joined(kind, one, other)
        last = self._registers[batch.last_pair]
        return self._populations(last), self._success

    def _joined(self, kind: Kind, one: _Register, other: _Register) -> _Register:
        """Return what a consuming step leaves, given that it succeeds."""
        herald = self._batch.gates.success
        nodes: tuple[tuple[int, ...], tuple[int, ...]]
        match kind:
            case "dejmps" | "bbpssw" | "epl":
                if kind == "bbpssw":
                    one, other = self._twirled(one), self._twirled(other)
                nodes, deeds, herald = ((0, 1), (0, 1)), acts.distill(kind), 1.0
            case "merge_first" | "merge_last":
                at = 0 if kind == "merge_first" else one.qubits - 1
                total = one.qubits + other.qubits - 1
                nodes = tuple(range(one.qubits)), (at, *range(one.qubits, total))
                deeds = acts.merge(one.qubits, other.qubits, at)
            case _:
                nodes, deeds = ((0, 1), (1, 2)), acts.swap()
        states = self._perform(self._noisy, deeds, zip((one, other), nodes, strict=True))
        chance = np.trace(states, axis1=1, axis2=2).real
        possible = chance > IMPOSSIBLE
        self._success = self._success * np.where(possible, chance, 0.0) * herald
        states /= np.where(possible, chance, 1.0)[:, None, None]
        width = states.shape[1]
        states[~possible] = np.eye(width) / width
        return _Register.of(states, fresh=False)

    def _twirled(self, pair: _Register) -> _Register:
        """Return a pair after a rotation that both nodes chose at random."""
        states = np.zeros_like(pair.states)
        for turn in range(acts.TURNS):
            states += self._perform(self._ideal, acts.twirl(turn), [(pair, (0, 1))])
        return _Register.of(states / acts.TURNS, fresh=False)

    def _perform(
        self, stage: Stage, deeds: list[Deed], inputs: Iterable[tuple[_Register, tuple[int, ...]]]
    ) -> Complex:
        memory = self._batch.memory
        return acts.perform(stage, [given.given(nodes, memory) for given, nodes in inputs], deeds)

    def _populations(self, last: _Register) -> Floats:
        """Return what tests of pairs say in each basis, or what states of registers are."""
        inputs = [(last, tuple(range(last.qubits)))]
        if last.qubits == 2:
            passes = [self._perform(self._ideal, acts.test(b), inputs) for b in range(3)]
            chances = np.stack([chance[:, 0, 0].real for chance in passes], axis=-1)
            weights = bell.populations(2.0 * chances - 1.0)
        else:
            weights = _ghz_populations(self._perform(self._ideal, acts.hold(last.qubits), inputs))
        return np.clip(weights, 0.0, 1.0)


def _bell_diagonal(weights: Floats) -> Complex:
    """Return states ``(B, 4, 4)`` with populations ``(B, 4)``."""
    expectations = np.zeros((len(weights), 4, 4))
    expectations[:, 0, 0] = 1.0
    x, y, z = bell.correlators(weights).T
    expectations[:, 1, 1], expectations[:, 2, 2], expectations[:, 3, 3] = x, -y, z
    return bell.density_matrix(expectations)


def _ghz_populations(states: Complex) -> Floats:
    """Return populations ``(B, 2^n)`` of states ``(B, 2^n, 2^n)``, see :mod:`quantum.ghz`."""
    zero = np.arange(states.shape[1] // 2)
    one = states.shape[1] - 1 - zero
    even = (states[:, zero, zero] + states[:, one, one]).real / 2.0
    odd = states[:, zero, one].real
    return np.stack([even + odd, even - odd], axis=-1).reshape(len(states), -1)
