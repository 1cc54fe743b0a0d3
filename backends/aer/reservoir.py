"""A quantum reservoir on Aer: fixed random circuits that turn sequences of angles into features.

Five qubits; each step turns every qubit by its input (RY) and then entangles all of them by one
fixed layer (a ring of ZZ rotations, then X rotations, drawn once by key). Read out are the
expectations of Z on every qubit and of ZZ on every pair, exactly, from the state. Nothing in the
circuit is trained: Fujii and Nakajima, Phys. Rev. Applied 8, 024030 (2017). Circuits run in batches
of one circuit with many bindings, so a batch is lowered once.
"""

import itertools
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit_aer import AerSimulator

from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["FEATURES", "QUBITS", "STEPS", "reservoir"]

Floats = NDArray[np.float64]

QUBITS, STEPS = 5, 6
#: Expectations that are read: five of one qubit, ten of two.
FEATURES = QUBITS + QUBITS * (QUBITS - 1) // 2
#: Bindings of one call of Aer.
_BATCH = 2000
#: Which reservoir: the fixed angles are drawn with it.
_SEED = 0


def reservoir(angles: Floats) -> Floats:
    """Return the expectations (W, FEATURES) after sequences of angles (W, STEPS, QUBITS), radians.

    Deterministic: no shots are drawn. Raises InputError on another shape or values not finite.

    >>> reservoir(np.zeros((2, 6, 5))).shape
    (2, 15)
    """
    if angles.ndim != 3 or angles.shape[1:] != (STEPS, QUBITS):
        raise InputError(f"reservoir angles must be (W, {STEPS}, {QUBITS}), got {angles.shape}")
    if not np.all(np.isfinite(angles)):
        raise InputError("reservoir angles must be finite")
    circuit, names = _circuit()
    simulator = AerSimulator(method="statevector", max_parallel_threads=1)
    rows = angles.reshape(len(angles), STEPS * QUBITS)
    found = np.empty((len(rows), FEATURES))
    for first in range(0, len(rows), _BATCH):
        part = rows[first : first + _BATCH]
        binds = {name: part[:, i].tolist() for i, name in enumerate(names)}
        result = simulator.run(
            [circuit], parameter_binds=[binds], shots=1, seed_simulator=0
        ).result()
        if not result.success:
            raise InputError(f"reservoir: Aer failed: {result.status}")
        chances = np.array([result.data(i)["probabilities"] for i in range(len(part))])
        # Sums, not a matrix product: a row must not depend, to the last bit, on its batch.
        found[first : first + len(part)] = (chances[:, None, :] * _signs()).sum(axis=-1)
    return found


@cache
def _circuit() -> tuple[QuantumCircuit, tuple[object, ...]]:
    """Return the circuit and its parameters, step by step and qubit by qubit."""
    rng = generator(_SEED, "reservoir")
    zz, x = rng.uniform(0.25 * math.pi, 0.75 * math.pi, (2, QUBITS))
    names = ParameterVector("a", STEPS * QUBITS)
    circuit = QuantumCircuit(QUBITS)
    for step in range(STEPS):
        for q in range(QUBITS):
            circuit.ry(names[step * QUBITS + q], q)
        for q in range(QUBITS):
            circuit.rzz(float(zz[q]), q, (q + 1) % QUBITS)
        for q in range(QUBITS):
            circuit.rx(float(x[q]), q)
    circuit.save_probabilities()
    return circuit, tuple(names)


@cache
def _signs() -> Floats:
    """Return the eigenvalues of each expectation on the 32 basis states, (FEATURES, 32)."""
    states = np.arange(2**QUBITS)
    one = [1.0 - 2.0 * ((states >> q) & 1) for q in range(QUBITS)]
    two = [one[a] * one[b] for a, b in itertools.combinations(range(QUBITS), 2)]
    return np.array(one + two)
