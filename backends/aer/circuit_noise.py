"""Noise as labelled instructions of Qiskit: what a stock ``AerSimulator`` samples.

All of it is made by public constructors of ``qiskit_aer.noise`` and ``qiskit.quantum_info``, not by
the superoperators of :mod:`backends.aer.channels`, so that circuits check these.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import Kraus
from qiskit_aer.noise import (
    depolarizing_error,
    mixed_unitary_error,
    pauli_error,
    thermal_relaxation_error,
)

from quantum import bell
from quantum.program import Memory

__all__ = [
    "depolarizing",
    "disturbed",
    "flip",
    "loaded",
    "relaxation",
    "source_errors",
    "twirl",
]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


def _labelled(channel: Any, label: str) -> Any:
    instruction = channel.to_instruction()
    instruction.label = label
    return instruction


def source_errors(weights: tuple[float, ...]) -> Any:
    """Turn phi_plus into a Bell-diagonal pair by an error of its right qubit."""
    chances = np.clip(weights, 0.0, None) / np.clip(weights, 0.0, None).sum()
    best, *rest = chances.tolist()
    if max(rest) - min(rest) < 1e-12:
        label = f"F={best:.6g}"
    else:
        label = "Bell " + " ".join(f"{chance:.4g}" for chance in chances)
    names = ("I", "Z", "X", "Y")  # phi_plus, phi_minus, psi_plus, psi_minus
    return _labelled(pauli_error(list(zip(names, chances.tolist(), strict=True))), label)


def loaded(expectations: tuple[float, ...]) -> Any:
    """Put two qubits (left, right) into any state, whatever they held."""
    table = np.array(expectations).reshape(4, 4)
    # Qiskit's first qubit is the less significant one.
    values, vectors = np.linalg.eigh(bell.density_matrix(table.T))
    values = np.clip(values, 0.0, None) / np.clip(values, 0.0, None).sum()
    operators = [
        math.sqrt(value) * np.outer(vector, row)
        for value, vector in zip(values, vectors.T, strict=True)
        for row in np.eye(4)
        if value > 0.0
    ]
    fidelity = (1.0 + table[1, 1] - table[2, 2] + table[3, 3]) / 4.0
    return _labelled(Kraus(operators), f"load F={fidelity:.6g}")


def relaxation(memory: Memory, seconds: float) -> Any:
    """Let a qubit relax and dephase in its memory."""
    times = [
        f"{name}={value:g} s"
        for name, value in (("T1", memory.t1_s), ("T2", memory.t2_s))
        if value < math.inf
    ]
    error = thermal_relaxation_error(memory.t1_s, memory.t2_s, seconds)
    if memory.t2_s > memory.t1_s:
        # No mixture of Paulis and resets. As a channel of the circuit, not of its noise model, for
        # which Aer 0.18 then turns every other error into Kraus operators too, and fails at it.
        error = Kraus(error.to_quantumchannel())
    return _labelled(error, f"{' '.join(times)}, {seconds:.4g} s")


def disturbed(memory: Memory, attempts: float) -> Any:
    """Let the attempts of a neighbour dephase a qubit: coherence exp(-n / n_1e)."""
    flipped = -math.expm1(-attempts / memory.attempts_1e) / 2.0
    error = pauli_error([("I", 1.0 - flipped), ("Z", flipped)])
    return _labelled(error, f"{attempts:.6g} attempts")


def depolarizing(weight: float) -> Any:
    """Depolarise the two qubits of a gate: rho -> (1-p) rho + p I/4."""
    return _labelled(depolarizing_error(weight, 2), f"depol {weight:.4g}")


def flip(error: float) -> Any:
    """Exchange 0 and 1 before a measurement."""
    return _labelled(pauli_error([("I", 1.0 - error), ("X", error)]), f"readout {error:.4g}")


def twirl() -> Any:
    """Twirl a pair to a Werner state: one of twelve Cliffords, U on the left and U* on the right.

    Paulis times the turns that exchange x, y and z in a circle form a unitary 2-design (Bennett et
    al., Phys. Rev. A 54, 3824, 1996, appendix A, for singlets).
    """
    paulis = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]])]
    paulis.append(np.diag([1.0, -1.0]))
    circle = np.diag([1.0, 1.0j]) @ np.array([[1, 1], [1, -1]]) / math.sqrt(2.0)
    turns = [
        np.linalg.matrix_power(circle, power) @ pauli for power in range(3) for pauli in paulis
    ]
    both = [(np.kron(turn.conj(), turn), 1.0 / 12.0) for turn in turns]
    return _labelled(mixed_unitary_error(both), "twirl: 1 of 12 Cliffords")
