"""The analytic backend: exact states of whole batches, without a circuit simulator.

Where every state stays Bell-diagonal, or what else there is to it can no longer be seen,
correlators are exact and the closed forms of :mod:`quantum.werner` and :mod:`quantum.ghz` do;
otherwise the full states of :mod:`backends.pauli` and :mod:`backends.registers` are carried. Both
are exact, amplitude damping included.
"""

import math
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from backends import pauli, registers
from backends.contract import Bits, Outcome, Plan, Truth
from backends.registers import Register
from backends.sampling import check_angles, check_plan, pick, sample
from quantum import bell, ghz, noise, werner
from quantum.batch import Batch, check_batch
from quantum.program import End
from quantum.program import Protocol as Distillation

__all__ = ["AnalyticBackend", "exact"]

Floats = NDArray[np.float64]

State = TypeVar("State")

#: Numbers of a batch's end states at once: more only leave the processor's cache.
_AT_ONCE = 2**18


class AnalyticBackend:
    """Executes programs by formula. See :class:`backends.contract.Backend`."""

    name = "analytic"
    keeps = True

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""
        check_plan(plan, len(check_batch(batch)), batch.qubits)
        truth = exact(batch)
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")

    def analyse(
        self, batch: Batch, angles_rad: Floats, draw: Floats, rng: np.random.Generator
    ) -> Bits:
        """Execute each program once and measure both qubits of its pair, each in its basis."""
        check_angles(angles_rad, draw, len(check_batch(batch)), batch.qubits)
        chances, success = _analysed(batch, angles_rad)
        return Bits(pick(chances, success, draw, rng), "sim")

    def close(self) -> None:
        """Release nothing; safe to call twice."""


def exact(batch: Batch) -> Truth:
    """Return the exact end states of a batch.

    Populations are conditional on success; where success never happens they are those of the fully
    mixed state.
    """
    closed = correlators_suffice(batch)
    size, weights = len(batch), 2**batch.qubits
    out = Truth(populations=np.empty((size, weights)), success=np.empty(size))
    step = _AT_ONCE // weights
    for start in range(0, size, step):
        part = slice(start, start + step)
        piece = batch.part(start, start + step)
        signed, success = _walk(_ClosedForms(piece)) if closed else _walk(_FullStates(piece))
        given = np.where((success > 0.0)[:, None], ghz.populations(signed), 1.0 / weights)
        out.populations[part] = np.clip(given, 0.0, 1.0)
        out.success[part] = success
    return out


def _analysed(batch: Batch, angles_rad: Floats) -> tuple[Floats, Floats]:
    """Return (chances ``(B, 4)`` of the results 00, 01, 10, 11, success ``(B,)``).

    Local results and mixed terms count here, so the full states are carried in any case.
    """
    state, success = _states(_FullStates(batch))
    return pauli.chances(_pair(state), angles_rad), success


def correlators_suffice(batch: Batch) -> bool:
    """Whether the correlators of each pair and register predict the end state exactly.

    Steps read nothing else, but for two: a wait with relaxation also reads local Bloch vectors, and
    EPL local and mixed terms. Both are absent where a state is Bell-diagonal, or GHZ-diagonal.
    """
    relaxes = not math.isinf(batch.memory.t1_s)
    diagonal: set[int] = set()
    large: set[int] = set()
    loaded = 0
    for kind, first, second in batch.skeleton:
        both = {first, second} <= diagonal
        match kind:
            case "generate" | "bbpssw":
                diagonal.add(first)
            case "load":
                if _is_bell_diagonal(batch.states[:, loaded]):
                    diagonal.add(first)
                loaded += 1
            case "wait":
                if relaxes and (first not in diagonal or first in large):
                    return False
                if relaxes:
                    diagonal.discard(first)
            case "epl":
                if not both:
                    return False
            case "merge_first" | "merge_last":
                large.add(first)
                if not both:
                    diagonal.discard(first)
            case "dejmps":
                if not both:
                    diagonal.discard(first)
            case "swap":
                pass  # The right pair lends no more than its correlators to the left one.
    return True


def _is_bell_diagonal(states: Floats) -> bool:
    return not np.any(states[:, ~np.eye(4, dtype=bool)])


class _Rules(Protocol[State]):
    """What the steps of a batch do to states of one kind."""

    batch: Batch

    def generate(self, number: int) -> State: ...
    def load(self, number: int) -> State: ...
    def wait(self, state: State, number: int) -> State: ...
    def swap(self, left: State, right: State) -> State: ...
    def distill(self, name: Distillation, keep: State, spend: State) -> tuple[State, Floats]: ...
    def merge(self, keep: State, spend: State, at: End) -> State: ...
    def correlators(self, state: State) -> Floats: ...


def _walk(rules: _Rules[State]) -> tuple[Floats, Floats]:
    """Follow the skeleton: (correlators ``(B, 2^n - 1)``, success ``(B,)``)."""
    state, success = _states(rules)
    return rules.correlators(state), success


def _states(rules: _Rules[State]) -> tuple[State, Floats]:
    """Follow the skeleton: (what is left at its end, success ``(B,)``)."""
    batch = rules.batch
    success = np.ones(len(batch))
    states: dict[int, State] = {}
    made = loaded = waited = 0
    for kind, first, second in batch.skeleton:
        match kind:
            case "generate":
                states[first] = rules.generate(made)
                made += 1
            case "load":
                states[first] = rules.load(loaded)
                loaded += 1
            case "wait":
                states[first] = rules.wait(states[first], waited)
                waited += 1
            case "swap":
                states[first] = rules.swap(states[first], states.pop(second))
                success = success * batch.gates.success
            case "dejmps" | "bbpssw" | "epl":
                states[first], chance = rules.distill(kind, states[first], states.pop(second))
                success = success * chance
            case "merge_first" | "merge_last":
                at: End = "first" if kind == "merge_first" else "last"
                states[first] = rules.merge(states[first], states.pop(second), at)
                success = success * batch.gates.success
    return states[batch.last_pair], success


class _ClosedForms:
    """Correlators ``(B, 2^n - 1)`` alone."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._fresh = bell.correlators(batch.populations)

    def generate(self, number: int) -> Floats:
        return self._fresh[:, number]

    def load(self, number: int) -> Floats:
        return pauli.correlators(self.batch.states[:, number])

    def wait(self, state: Floats, number: int) -> Floats:
        left_s, right_s = self.batch.waits_s[:, number].T
        left, right = self.batch.attempts[:, number].T
        if state.shape[1] == 3:
            return werner.wait(state, left_s, right_s, self.batch.memory, left + right)
        return ghz.wait(state, left_s, right_s, self.batch.memory, left, right)

    def swap(self, left: Floats, right: Floats) -> Floats:
        return werner.swap(left, right, self.batch.gates)

    def distill(self, name: Distillation, keep: Floats, spend: Floats) -> tuple[Floats, Floats]:
        return _FORMULAS[name](keep, spend, self.batch.gates)

    def merge(self, keep: Floats, spend: Floats, at: End) -> Floats:
        return ghz.merge(keep, spend, self.batch.gates, at)

    def correlators(self, state: Floats) -> Floats:
        return state


_FORMULAS = {"dejmps": werner.dejmps, "bbpssw": werner.bbpssw, "epl": werner.epl}


class _FullStates:
    """Pauli tensors ``(B, 4, 4)`` of pairs, and registers."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._fresh = bell.correlators(batch.populations)
        self._damping, self._coherence = noise.decay(batch.waits_s, batch.memory, batch.attempts)

    def generate(self, number: int) -> Floats:
        return pauli.from_correlators(self._fresh[:, number])

    def load(self, number: int) -> Floats:
        return self.batch.states[:, number]

    def wait(self, state: Floats | Register, number: int) -> Floats | Register:
        decay = self._damping[:, number], self._coherence[:, number]
        if isinstance(state, Register):
            return registers.wait(state, *decay)
        return pauli.wait(state, *decay)

    def swap(self, left: Floats | Register, right: Floats | Register) -> Floats:
        return pauli.swap(_pair(left), _pair(right), self.batch.gates)

    def distill(
        self, name: Distillation, keep: Floats | Register, spend: Floats | Register
    ) -> tuple[Floats, Floats]:
        return pauli.distill(name, _pair(keep), _pair(spend), self.batch.gates)

    def merge(self, keep: Floats | Register, spend: Floats | Register, at: End) -> Register:
        return registers.merge(_register(keep), _register(spend), self.batch.gates, at)

    def correlators(self, state: Floats | Register) -> Floats:
        if isinstance(state, Register):
            return registers.correlators(state)
        return pauli.correlators(state)


def _pair(state: Floats | Register) -> Floats:
    assert not isinstance(state, Register)  # check_batch has refused it
    return state


def _register(state: Floats | Register) -> Register:
    return state if isinstance(state, Register) else registers.from_pair(state)
