"""The fast way into Aer: circuits assembled below Qiskit's circuit layer.

``AerCircuit`` and the controller are Aer's own, private, interface: about a hundred times faster
than ``QuantumCircuit`` and ``AerSimulator.run``, and free to change. Therefore the version is
pinned, and :mod:`backends.aer.backend` proves the interface on known programs before it uses it;
where that fails, :mod:`backends.aer.public` plays the same tapes.

Programs of a batch follow one another in one circuit on two or four qubits, each with its own save,
because Aer's fixed cost is paid once per circuit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels
from backends.aer.lowering import Operation, Tape

__all__ = ["PINNED", "DirectPath"]

Complex = NDArray[np.complex128]

#: The version whose private interface this module was written against.
PINNED = "0.18.2"

#: Programs per circuit: below, Aer's cost per circuit shows; far above, its result tables do.
_PER_CIRCUIT = 150

_CZ = [1.0, 1.0, 1.0, -1.0]


class DirectPath:
    """Plays tapes on Aer's density matrices through the private interface; one thread."""

    name = "direct"

    def __init__(self) -> None:
        from qiskit_aer import AerSimulator
        from qiskit_aer.backends.backend_utils import CircuitHeader
        from qiskit_aer.backends.controller_wrappers import (
            AerCircuit,
            AerConfig,
            aer_controller_execute,
        )

        self._circuit = AerCircuit
        self._controller = aer_controller_execute()
        self._configs: dict[int, Any] = {}
        self._headers: dict[int, Any] = {}
        for width in (2, 4):
            config = AerConfig()
            defaults = AerSimulator(method="density_matrix").options.__dict__
            for option, value in defaults.items():
                if value is not None and hasattr(config, option):
                    setattr(config, option, value)
            config.n_qubits, config.memory_slots, config.shots = width, 0, 1
            config.fusion_enable = False
            config.max_parallel_threads = config.max_parallel_experiments = 1
            # Nothing is sampled in Aer, so no result depends on the seed.
            config.seed_simulator = 1
            self._configs[width] = config
            self._headers[width] = CircuitHeader(
                n_qubits=width,
                qreg_sizes=[["q", width]],
                memory_slots=0,
                creg_sizes=[],
                name="dpem",
                global_phase=0.0,
                metadata={},
            )

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""
        rows = zip(*(_row(operation, tape.size) for operation in tape.operations), strict=False)
        circuits: list[Any] = []
        sizes: list[int] = []
        for start in range(0, tape.size, _PER_CIRCUIT):
            size = min(_PER_CIRCUIT, tape.size - start)
            circuit = self._empty(tape.width, len(circuits))
            emit = [_emitter(circuit, operation) for operation in tape.operations]
            emitted, register = [channels.EMITTED[tape.width]], list(range(tape.width))
            start_with, save, qubits = (
                circuit.set_density_matrix,
                circuit.save_state,
                list(tape.save),
            )
            for number in range(size):
                start_with(register, emitted)
                for put, value in zip(emit, next(rows), strict=True):
                    put(value)
                save(qubits, "save_density_matrix", "average", str(number))
            circuits.append(circuit)
            sizes.append(size)
        result = self._controller.execute(circuits, {}, self._configs[tape.width])
        if not result["success"]:
            raise RuntimeError(f"Aer refused a circuit: {result['status']}")
        dimension = 2 ** len(tape.save)
        out = np.empty((tape.size, dimension, dimension), dtype=complex)
        place = 0
        for size, answer in zip(sizes, result["results"], strict=True):
            data = answer["data"]
            for number in range(size):
                out[place] = data[str(number)]
                place += 1
        return out

    def _empty(self, width: int, number: int) -> Any:
        circuit = self._circuit()
        circuit.set_header(self._headers[width])
        circuit.num_qubits, circuit.num_memory = width, 0
        circuit.global_phase_angle = 0.0
        circuit.circ_id = number
        return circuit


def _row(operation: Operation, size: int) -> Iterator[Any]:
    """Return the value of an operation for each program in turn."""
    if operation.varies:
        assert operation.channel is not None
        return iter(list(np.ascontiguousarray(operation.channel)))
    return repeat(operation.channel, size)


def _emitter(circuit: Any, operation: Operation) -> Callable[[Any], None]:
    """Return what appends this operation to the circuit, given its matrix."""
    qubits = list(operation.qubits)
    match operation.gate:
        case "":
            superop = circuit.superop
            return lambda matrix: superop(qubits, matrix, -1, None)
        case "cx":
            put = partial(circuit.gate, "cx", qubits, [], [], -1, None, "cx")
        case _:
            # Aer's own cz costs more than the same gate given as a diagonal.
            put = partial(circuit.diagonal, qubits, _CZ, -1, "cz")
    return lambda _: put()
