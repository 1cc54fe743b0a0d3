"""Two ways to let Qiskit Aer act on a density matrix.

Aer's state objects (``AerStateWrapper``) take operations one by one, on memory that is lent to
them, in 22 us plus 1 us for each operation. A circuit costs 100 us through Aer's controller, and
some milliseconds as a ``QuantumCircuit``. State objects are a private interface: the version is
pinned, they are proven on known operations before use, and where that fails circuits take over.
"""

import threading
import warnings
import weakref
from functools import cache
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from backends.squid.engine import Complex
from backends.squid.engines import kernels
from backends.squid.engines.operations import superoperator

__all__ = ["Circuits", "MappedStates", "Operation", "Player", "open_player", "why_not_mapped"]

#: (qubits, the first the least significant; Kraus operators in Fortran order)
Operation = tuple[list[int], list[Complex]]


class Player(Protocol):
    """Applies operations to a density matrix, in place."""

    name: str

    def play(self, matrix: Complex, operations: list[Operation]) -> None:
        """Apply the operations in turn to a state ``(2^n, 2^n)``."""


class MappedStates:
    """Aer's state objects, one for each number of qubits, each on an array of ours."""

    name = "direct"

    def __init__(self) -> None:
        self._states: dict[int, tuple[Any, Complex]] = {}
        self._lock = threading.Lock()

    def play(self, matrix: Complex, operations: list[Operation]) -> None:
        """Apply the operations in turn to a state ``(2^n, 2^n)``."""
        size = len(matrix)
        with self._lock:
            state, array = self._states.get(size) or self._open(size)
            array[...] = matrix
            try:
                for qubits, kraus in operations:
                    state.apply_kraus(qubits, kraus)
                state.flush()
            except BaseException:
                del self._states[size]  # it may still hold operations
                raise
            matrix[...] = array

    def _open(self, size: int) -> tuple[Any, Complex]:
        from qiskit_aer.backends.controller_wrappers import AerStateWrapper

        state = AerStateWrapper()
        state.configure("method", "density_matrix")
        state.configure("max_parallel_threads", "1")
        state.configure("fusion_enable", "False")
        # Aer reads columns first; it copies other arrays, and then the lent one does not change.
        array = np.zeros((size, size), dtype=np.complex128, order="F")
        state.initialize_density_matrix(size.bit_length() - 1, array, False)
        self._states[size] = state, array
        # Aer would free the array's memory at the end.
        weakref.finalize(self, _take_back, state, array)
        return self._states[size]


def _take_back(state: Any, _lent: Complex) -> None:
    state.move_to_buffer()
    state.clear()


class Circuits:
    """The public interface: each time a ``QuantumCircuit`` on ``AerSimulator``."""

    name = "public"

    def __init__(self) -> None:
        from qiskit_aer import AerSimulator

        self._simulator = AerSimulator(
            method="density_matrix",
            fusion_enable=False,
            max_parallel_threads=1,
            max_parallel_experiments=1,
        )

    def play(self, matrix: Complex, operations: list[Operation]) -> None:
        """Apply the operations in turn to a state ``(2^n, 2^n)``."""
        from qiskit import QuantumCircuit
        from qiskit.circuit import Instruction

        circuit = QuantumCircuit(len(matrix).bit_length() - 1)
        circuit.set_density_matrix(matrix)
        for qubits, kraus in operations:
            circuit.append(Instruction("kraus", len(qubits), 0, kraus), qubits)
        circuit.save_density_matrix(label="end")
        # Nothing is sampled, so no result depends on the seed.
        result = self._simulator.run(circuit, shots=1, seed_simulator=1).result()
        if not result.success:
            raise RuntimeError(f"Aer refused a circuit: {result.status}")
        matrix[...] = np.asarray(result.data(0)["end"])


@cache
def open_player() -> Player:
    """Return the state objects if they work as known, else circuits with a warning."""
    states = MappedStates()
    why_not = why_not_mapped(states)
    if not why_not:
        return states
    from backends.aer.opening import SlowPathWarning

    warnings.warn(f"aer runs slowly, by its public interface: {why_not}", SlowPathWarning, 3)
    return Circuits()


def why_not_mapped(states: Player) -> str:
    """Return why Aer's state objects cannot be used, "" if they can.

    They can if the version is the known one, and unitaries and channels of which nothing is
    symmetric or real do to states of 1 to 3 qubits what they should.
    """
    from backends.aer.direct import PINNED

    installed = version("qiskit-aer")
    if installed != PINNED:
        return f"qiskit-aer is {installed}, the interface is known for {PINNED}"
    try:
        error = max(_error(states, qubits) for qubits in (1, 2, 3, 2))
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, LookupError) as wrong:
        return f"qiskit-aer's private interface has changed: {wrong}"
    return "" if error < 1e-12 else f"qiskit-aer's private interface is off by {error:.2g}"


def _error(player: Player, qubits: int) -> float:
    rng = np.random.default_rng(qubits)
    root = _complex(rng, 2**qubits)
    right = root @ root.conj().T
    right /= np.trace(right).real
    found = right.copy()
    turn, noise = _isometry(rng, 2, 1), _isometry(rng, 2, 3)
    kernels.apply_one(right, _channel(turn), 1)
    kernels.apply_one(right, _channel(noise), 2 ** (qubits - 1))
    operations: list[Operation] = [([0], turn), ([qubits - 1], noise)]
    if qubits > 1:
        both = _isometry(rng, 4, 2)
        kernels.apply_channel(right, _channel(both), 2 ** (qubits - 1), 1)
        operations.append(([0, qubits - 1], both))
    player.play(found, operations)
    return float(np.abs(found - right).max())


def _complex(rng: np.random.Generator, rows: int, columns: int | None = None) -> Complex:
    shape = rows, columns or rows
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def _isometry(rng: np.random.Generator, size: int, count: int) -> list[Complex]:
    """Return Kraus operators of a channel as good as any."""
    columns = np.linalg.qr(_complex(rng, size * count, size))[0]
    return [np.asfortranarray(part) for part in columns.reshape(count, size, size)]


def _channel(kraus: list[Complex]) -> Complex:
    return np.ascontiguousarray(sum(superoperator(operator) for operator in kraus))
