"""How tutorials use Aer: the references beside which :mod:`backends.benchmarks` puts this backend.

Both make the pairs of the benchmark as circuits of public Qiskit, one for each pair and basis, and
sample shots from them, with settings in favour of the reference: the density-matrix method, whose
noise is not drawn anew for every shot, one thread, and level 0 where there is transpiling.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum import bell
from quantum.program import Memory

__all__ = ["fresh_simulators", "shared_simulator"]

Floats = NDArray[np.float64]

Run = Callable[[Any], dict[str, int]]


def fresh_simulators(
    waits_s: Floats, fidelity: float, memory: Memory, shots: int, rng: np.random.Generator
) -> Floats:
    """Estimate the fidelities of pairs ``(B,)``: a simulator, transpiled and run, per circuit.

    ``waits_s`` is ``(B, 2)``, ``shots`` are those of each of the three bases.
    """
    from qiskit import transpile

    def run(circuit: Any) -> dict[str, int]:
        simulator = _simulator(rng)
        ready = transpile(circuit, simulator, optimization_level=0)
        counts: dict[str, int] = simulator.run(ready, shots=shots).result().get_counts()
        return counts

    return np.array([_estimate(run, waits, fidelity, memory, shots) for waits in waits_s])


def shared_simulator(
    waits_s: Floats, fidelity: float, memory: Memory, shots: int, rng: np.random.Generator
) -> Floats:
    """Estimate the same with one simulator for all and nothing transpiled: a stronger reference."""
    simulator = _simulator(rng)

    def run(circuit: Any) -> dict[str, int]:
        seed = int(rng.integers(2**31))
        result = simulator.run(circuit, shots=shots, seed_simulator=seed).result()
        counts: dict[str, int] = result.get_counts()
        return counts

    return np.array([_estimate(run, waits, fidelity, memory, shots) for waits in waits_s])


def _simulator(rng: np.random.Generator) -> Any:
    from qiskit_aer import AerSimulator

    seed = int(rng.integers(2**31))
    return AerSimulator(method="density_matrix", max_parallel_threads=1, seed_simulator=seed)


def _estimate(run: Run, waits_s: Floats, fidelity: float, memory: Memory, shots: int) -> float:
    total = 1.0
    for basis in bell.BASES:
        counts = run(_circuit(basis, waits_s, fidelity, memory))
        even = sum(counts.get(key, 0) for key in ("00", "11"))
        signed = 2.0 * even / shots - 1.0
        total += -signed if basis == "yy" else signed
    return total / 4.0


def _circuit(basis: str, waits_s: Floats, fidelity: float, memory: Memory) -> Any:
    from qiskit import QuantumCircuit
    from qiskit_aer.noise import pauli_error, thermal_relaxation_error

    rest = (1.0 - fidelity) / 3.0
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.append(pauli_error([("I", fidelity), ("X", rest), ("Y", rest), ("Z", rest)]), [1])
    for qubit, seconds in enumerate(waits_s.tolist()):
        circuit.append(thermal_relaxation_error(memory.t1_s, memory.t2_s, seconds), [qubit])
        if basis == "yy":
            circuit.sdg(qubit)
        if basis != "zz":
            circuit.h(qubit)
    circuit.measure([0, 1], [0, 1])
    return circuit
