"""What a backend is asked to do, as plain data: generate, wait, distill, swap, merge, measure.

A *pair* is numbered and has a left and a right qubit. ``Swap(left, right)`` measures the right
qubit of pair ``left`` and the left qubit of pair ``right`` in the Bell basis, corrects, and the
joined pair keeps the number ``left``. ``Distill(keep, spend)`` sacrifices pair ``spend``.
``Merge(keep, spend)`` fuses two GHZ states that share a node into a larger one; pairs are GHZ
states of two qubits, and a numbered state of more qubits is called a *register*. When a program
ends exactly one pair or register is left: it is kept, or measured if the last step is a
``Measure``.

Conventions (DESIGN section 5): depolarising ``p`` means rho -> (1-p) rho + p I/4 on the two qubits
of a gate, before the measurement; a readout error flips each measured bit of swaps, merges and
distillation; T2 includes T1; the final test measurement is ideal. Corrections are applied when they
are known, which is at once: a wait that follows acts on the corrected state.
"""

import math
from typing import Literal, get_args

import msgspec

from quantum.bell import check_populations, check_state
from quantum.errors import Code, InputError, RequestError

__all__ = [
    "MOST_QUBITS",
    "Distill",
    "End",
    "Gates",
    "Generate",
    "Load",
    "Measure",
    "Memory",
    "Merge",
    "Program",
    "Protocol",
    "Step",
    "Swap",
    "Wait",
    "check",
]

Protocol = Literal["dejmps", "bbpssw", "epl"]
Basis = Literal["xx", "yy", "zz", "random"]
End = Literal["first", "last"]

_PROTOCOLS, _BASES, _ENDS = get_args(Protocol), get_args(Basis), get_args(End)

#: Qubits of the largest register: a density matrix of ten qubits is what Aer needs on the way.
MOST_QUBITS = 8


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Relaxation times of the memory qubits; ``inf`` means no decay. T2 <= 2 T1.

    ``attempts_1e`` is the number of generation attempts of a neighbouring qubit after which the
    coherence of a stored one has fallen to 1/e (NV centres: Kalb et al., Phys. Rev. A 97, 062330,
    2018; Pompili et al., Science 372, 259, 2021).
    """

    t1_s: float = math.inf
    t2_s: float = math.inf
    attempts_1e: float = math.inf

    def check(self) -> "Memory":
        """Refuse times that are not positive or that no qubit can have."""
        for name, value in (("t1_s", self.t1_s), ("t2_s", self.t2_s)):
            if not value > 0.0:
                raise InputError(f"memory.{name} must be > 0 seconds, got {value}")
        if self.t2_s > 2.0 * self.t1_s:
            raise InputError(
                f"memory.t2_s must be <= 2 t1_s = {2 * self.t1_s:g}, got {self.t2_s:g}"
            )
        if not self.attempts_1e > 0.0:
            raise InputError(f"memory.attempts_1e must be > 0 attempts, got {self.attempts_1e}")
        return self


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of swaps and merges: heralded success, depolarising weight, readout flips (0-1)."""

    success: float = 1.0
    gate_depolarizing: float = 0.0
    readout_error: float = 0.0

    def check(self) -> "Gates":
        """Refuse values that are no probabilities."""
        for name in ("success", "gate_depolarizing", "readout_error"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"swap.{name} must be between 0 and 1, got {value}")
        return self


class Generate(msgspec.Struct, frozen=True, tag="generate", forbid_unknown_fields=True):
    """Make a fresh pair with these Bell populations (phi_plus, phi_minus, psi_plus, psi_minus)."""

    pair: int
    populations: tuple[float, float, float, float]


class Load(msgspec.Struct, frozen=True, tag="load", forbid_unknown_fields=True):
    """Make a fresh pair in any two-qubit state, given by its sixteen Pauli expectations.

    ``expectations[4 a + b]`` is <sigma_a (x) sigma_b> with a on the left and b on the right qubit
    and sigma = (I, X, Y, Z).
    """

    pair: int
    expectations: tuple[float, ...]


class Wait(msgspec.Struct, frozen=True, tag="wait", forbid_unknown_fields=True, omit_defaults=True):
    """Let the memory qubits of a pair decay for the given times.

    In a register ``left_s`` is the time of its first qubit and ``right_s`` that of all others.
    ``left_attempts`` and ``right_attempts`` count the attempts of neighbouring qubits meanwhile,
    see :class:`Memory`.
    """

    pair: int
    left_s: float
    right_s: float
    left_attempts: float = 0.0
    right_attempts: float = 0.0


class Distill(msgspec.Struct, frozen=True, tag="distill", forbid_unknown_fields=True):
    """Spend one pair to improve another; the heralded success is post-selected."""

    keep: int
    spend: int
    protocol: Protocol


class Swap(msgspec.Struct, frozen=True, tag="swap", forbid_unknown_fields=True):
    """Join two pairs by a Bell measurement; the result keeps the number ``left``."""

    left: int
    right: int


class Merge(msgspec.Struct, frozen=True, tag="merge", forbid_unknown_fields=True):
    """Fuse two GHZ states at a node where each has a qubit; the result keeps the number ``keep``.

    A CNOT from the ``at`` (first or last) qubit of ``keep`` onto the first qubit of ``spend``,
    whose measurement in Z then decides an X on each other qubit of ``spend``; those are appended to
    ``keep`` in their order.
    """

    keep: int
    spend: int
    at: End = "last"


class Measure(msgspec.Struct, frozen=True, tag="measure", forbid_unknown_fields=True):
    """Test a stabilizer of what is left; ``random`` draws it uniformly for every shot.

    The stabilizers of a pair are the parities xx, yy and zz; those of a register can only be drawn
    at random (:mod:`quantum.ghz`).
    """

    pair: int
    basis: Basis
    shots: int = 1


Step = Generate | Load | Wait | Distill | Swap | Merge | Measure


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A list of steps and the hardware it runs on.

    A ``photonic`` pair flies by: it can be measured and nothing else.
    """

    steps: tuple[Step, ...]
    memory: Memory = Memory()
    gates: Gates = Gates()
    photonic: bool = False

    @property
    def measure(self) -> Measure | None:
        """The test at the end, or None when the pair is kept."""
        last = self.steps[-1] if self.steps else None
        return last if isinstance(last, Measure) else None


def check(program: Program) -> Program:
    """Return the program, or raise :class:`InputError` that names the step which is wrong.

    A photonic program that does more than measure its pair gives :class:`RequestError` UNSUPP.
    """
    try:
        return _check(program)
    except (TypeError, ValueError, AttributeError) as wrong:
        raise InputError(f"the program holds a value of a wrong kind: {wrong}") from wrong


def _check(program: Program) -> Program:
    program.memory.check()
    program.gates.check()
    if program.photonic:
        _only_measures(program)
    alive: dict[int, int] = {}
    """Qubits of each pair or register that exists."""
    seen: set[int] = set()
    for number, step in enumerate(program.steps):
        where = f"steps[{number}] {type(step).__name__.lower()}"
        match step:
            case Generate(pair, weights):
                _new(seen, where, pair)
                check_populations(f"{where}: populations", weights)
                alive[pair] = 2
            case Load(pair, expectations):
                _new(seen, where, pair)
                check_state(f"{where}: expectations", expectations)
                alive[pair] = 2
            case Wait(pair, left_s, right_s, left_attempts, right_attempts):
                _need(alive, where, pair)
                if not (0.0 <= left_s < math.inf and 0.0 <= right_s < math.inf):
                    raise InputError(
                        f"{where}: waits must be finite and >= 0 s, got {left_s}, {right_s}"
                    )
                if not (0.0 <= left_attempts < math.inf and 0.0 <= right_attempts < math.inf):
                    raise InputError(
                        f"{where}: attempts must be finite and >= 0, "
                        f"got {left_attempts}, {right_attempts}"
                    )
            case Distill(keep, spend, protocol):
                _need_pairs(alive, where, keep, spend)
                _one_of(f"{where}: protocol", protocol, _PROTOCOLS)
                del alive[spend]
            case Swap(left, right):
                _need_pairs(alive, where, left, right)
                del alive[right]
            case Merge(keep, spend, at):
                _need(alive, where, keep, spend)
                _one_of(f"{where}: at", at, _ENDS)
                alive[keep] += alive.pop(spend) - 1
                if alive[keep] > MOST_QUBITS:
                    raise InputError(f"{where}: a register has at most {MOST_QUBITS} qubits")
            case Measure(pair, basis, shots):
                _need(alive, where, pair)
                if number != len(program.steps) - 1:
                    raise InputError(f"{where}: a measurement must be the last step")
                if type(shots) is not int or shots < 1:
                    raise InputError(f"{where}: shots must be a whole number >= 1, got {shots}")
                _one_of(f"{where}: basis", basis, _BASES)
                if alive[pair] > 2 and basis != "random":
                    raise InputError(
                        f"{where}: the basis of {alive[pair]} qubits must be random, got {basis}"
                    )
            case _:
                raise InputError(f"{where}: is no step of a program")
    if len(alive) != 1:
        raise InputError(f"a program must end with exactly one pair, this one has {len(alive)}")
    return program


def _only_measures(program: Program) -> None:
    for number, step in enumerate(program.steps):
        if not isinstance(step, Generate | Load | Measure):
            raise RequestError(
                Code.UNSUPP,
                f"steps[{number}] {type(step).__name__.lower()}: a photonic pair can only be "
                "measured: it cannot wait, be swapped, merged or distilled",
            )


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{where} must be {', '.join(known[:-1])} or {known[-1]}, got {value!r}")


def _new(seen: set[int], where: str, pair: int) -> None:
    if pair in seen:
        raise InputError(f"{where}: pair {pair} was already generated")
    seen.add(pair)


def _need(alive: dict[int, int], where: str, *pairs: int) -> None:
    for pair in pairs:
        if pair not in alive:
            raise InputError(f"{where}: pair {pair} does not exist at this point")
    if len(set(pairs)) < len(pairs):
        raise InputError(f"{where}: needs two different pairs, got {pairs}")


def _need_pairs(alive: dict[int, int], where: str, *pairs: int) -> None:
    _need(alive, where, *pairs)
    for pair in pairs:
        if alive[pair] != 2:
            raise InputError(f"{where}: pair {pair} is a register of {alive[pair]} qubits")
