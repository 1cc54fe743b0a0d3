"""What programs ask of NetSquid itself: time, seeds, formalisms, and states of qubits."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.squid.engine import Complex
from backends.squid.errors import SquidError
from backends.squid.standin.state import STATE

__all__ = [
    "MICROSECOND",
    "MILLISECOND",
    "NANOSECOND",
    "SECOND",
    "BellIndex",
    "EventExpression",
    "QFormalism",
    "Qubit",
    "bell_states",
    "calculate_fidelity_epr",
    "fidelity",
    "get_qstate_formalism",
    "get_random_state",
    "reduced_dm",
    "set_qstate_formalism",
    "set_random_state",
    "sim_reset",
    "sim_time",
]

NANOSECOND, MICROSECOND, MILLISECOND, SECOND = 1.0, 1e3, 1e6, 1e9


class EventExpression:
    """What a program yields while it waits: a name for annotations, never looked at."""


class QFormalism(enum.Enum):
    """How NetSquid keeps states. Here they are density matrices, whatever is chosen."""

    KET = "ket"
    DM = "dm"
    STAB = "stab"
    GSLC = "gslc"
    SPARSEDM = "sparsedm"


def set_qstate_formalism(formalism: QFormalism) -> None:
    """Accept any formalism: states are density matrices."""
    if not isinstance(formalism, QFormalism):
        raise SquidError(f"formalism must be a QFormalism, got {formalism!r}")


def get_qstate_formalism() -> QFormalism:
    """Return how states are kept."""
    return QFormalism.DM


def sim_time(magnitude: float = NANOSECOND) -> float:
    """Return the time of the simulation in ns, or in units of ``magnitude`` ns."""
    return STATE.now_ns() / magnitude


def sim_reset() -> None:
    """Let the next run start at time 0. Seeds stay as they are."""
    STATE.reset_time()


def set_random_state(seed: int | None = None, rng: Any = None) -> None:
    """Draw the seeds of all runs to come from a seed, or from a generator of NumPy."""
    if (seed is None) == (rng is None):
        raise SquidError("set_random_state takes a seed or a generator rng, one of them")
    if rng is not None:
        if not isinstance(rng, np.random.RandomState | np.random.Generator):
            raise SquidError(f"rng must be a generator of NumPy, got {rng!r}")
        STATE.random = rng
        return
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SquidError(f"seed must be a whole number >= 0, got {seed!r}")
    STATE.seed(int(seed))


def get_random_state() -> Any:
    """Return the generator from which the seeds of runs are drawn."""
    if STATE.random is None:
        STATE.next_seed()
    return STATE.random


# ---------------------------------------------------------------------------- states of qubits


@dataclass(frozen=True)
class Qubit:
    """A qubit of a node, by the position that it is in."""

    node: Any
    position: int

    @property
    def name(self) -> str:
        """Node and position."""
        return f"{self.node.name}-{self.position}"


def reduced_dm(qubits: Qubit | Sequence[Qubit]) -> Complex:
    """Return the density matrix of qubits as they are now, the first the most significant."""
    asked = [qubits] if isinstance(qubits, Qubit) else list(qubits)
    if not asked:
        raise SquidError("the state of no qubits was asked for")
    engine = asked[0].node.memory.engine
    state: Complex = engine.state([q.node.memory.qubit(q.position) for q in asked])
    return state


def fidelity(
    qubits: Qubit | Sequence[Qubit], reference_state: NDArray[Any], squared: bool = False
) -> float:
    """Return the fidelity of qubits to a pure state; its root, unless ``squared``."""
    squares = _overlap(reduced_dm(qubits), reference_state)
    return squares if squared else float(np.sqrt(max(squares, 0.0)))


class BellIndex(enum.IntEnum):
    """Bell states as NetSquid numbers them."""

    B00 = 0
    B01 = 1
    B10 = 2
    B11 = 3
    PHI_PLUS = 0
    PSI_PLUS = 1
    PHI_MINUS = 2
    PSI_MINUS = 3


def _ket(*amplitudes: complex) -> Complex:
    ket = np.array(amplitudes, dtype=np.complex128).reshape(-1, 1)
    return ket / np.linalg.norm(ket)


s0, s1 = _ket(1, 0), _ket(0, 1)
h0, h1 = _ket(1, 1), _ket(1, -1)
y0, y1 = _ket(1, 1j), _ket(1, -1j)
b00, b01, b10, b11 = _ket(1, 0, 0, 1), _ket(0, 1, 1, 0), _ket(1, 0, 0, -1), _ket(0, 1, -1, 0)
bell_states = [b00, b01, b10, b11]


def calculate_fidelity_epr(dm_epr_state: NDArray[Any], bell_state: int) -> float:
    """Return the fidelity, squared, of a pair to a Bell state.

    >>> calculate_fidelity_epr(np.eye(4) / 4, BellIndex.PSI_MINUS)
    0.25
    """
    return round(_overlap(dm_epr_state, bell_states[bell_state]), 15)


def _overlap(state: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return <r|state|r> for a ket r, or for a pure density matrix."""
    pure = np.asarray(reference, dtype=np.complex128)
    if 1 in pure.shape or pure.ndim == 1:
        ket = pure.reshape(-1, 1)
        pure = ket @ ket.conj().T
    if pure.shape != np.shape(state):
        raise SquidError(
            f"the reference has {int(np.log2(len(pure)))} qubits, the state "
            f"{int(np.log2(len(state)))}"
        )
    return float(np.real(np.trace(pure @ state)))
