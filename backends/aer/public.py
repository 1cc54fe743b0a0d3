"""The slow way into Aer, by its public interface only: ``QuantumCircuit`` and ``AerSimulator``.

Used where the private interface of :mod:`backends.aer.direct` is missing or has changed; it plays
the same tapes to the same states. Channels are instructions named ``superop``, which is one of the
documented instructions of Aer's density-matrix method.
"""

import numpy as np
from numpy.typing import NDArray

from backends.aer.tape import Tape

__all__ = ["PublicPath"]

Complex = NDArray[np.complex128]

#: Programs per circuit; the cost of building dominates, so this hardly matters.
_PER_CIRCUIT = 100


class PublicPath:
    """Plays tapes on Aer's density matrices through the public interface; one thread."""

    name = "public"

    def __init__(self) -> None:
        from qiskit_aer import AerSimulator

        self._simulator = AerSimulator(
            method="density_matrix",
            fusion_enable=False,
            max_parallel_threads=1,
            max_parallel_experiments=1,
        )

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""
        from qiskit import QuantumCircuit
        from qiskit.circuit import Instruction

        matrices = [operation.matrices for operation in tape.operations]
        circuits = []
        for start in range(0, tape.size, _PER_CIRCUIT):
            circuit = QuantumCircuit(tape.width)
            for program in range(start, min(start + _PER_CIRCUIT, tape.size)):
                own_start = tape.start if tape.start.ndim == 2 else tape.start[program]
                circuit.set_density_matrix(own_start)
                for operation, matrix in zip(tape.operations, matrices, strict=True):
                    qubits = list(operation.qubits)
                    if operation.gate == "cx":
                        circuit.cx(*qubits)
                    elif operation.gate == "cz":
                        circuit.cz(*qubits)
                    else:
                        assert matrix is not None
                        own = matrix[program] if matrix.ndim == 3 else matrix
                        circuit.append(Instruction("superop", len(qubits), 0, [own]), qubits)
                circuit.save_density_matrix(list(tape.save), label=str(program))
            circuits.append(circuit)
        result = self._simulator.run(circuits, shots=1, seed_simulator=1).result()
        if not result.success:
            raise RuntimeError(f"Aer refused a circuit: {result.status}")
        dimension = 2 ** len(tape.save)
        out = np.empty((tape.size, dimension, dimension), dtype=complex)
        for program in range(tape.size):
            out[program] = result.data(program // _PER_CIRCUIT)[str(program)]
        return out
