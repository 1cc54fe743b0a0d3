"""The fast way into Aer: circuits assembled below Qiskit's circuit layer.

``AerCircuit`` and the controller are Aer's own, private, interface: about a hundred times faster
than ``QuantumCircuit`` and ``AerSimulator.run``, and free to change. Therefore the version is
pinned, and :mod:`backends.aer.opening` proves the interface on known programs before it is used;
where that fails, :mod:`backends.aer.public` plays the same tapes.

Programs of a batch follow one another in one circuit, each with its own save, because Aer's fixed
cost is paid once per circuit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.aer.tape import Operation, Tape

__all__ = ["PINNED", "DirectPath"]

Complex = NDArray[np.complex128]

#: The version whose private interface this module was written against.
PINNED = "0.18.2"

#: Programs per circuit: below, Aer's cost per circuit shows; far above, its result tables do.
_PER_CIRCUIT = 150
#: Matrix elements per circuit: more than this do not stay in the processor's cache.
_ELEMENTS = 2**16

_KEYS = [str(number) for number in range(_PER_CIRCUIT)]
_CZ = [1.0, 1.0, 1.0, -1.0]
#: Adding these clears the upper halves of the vector registers, see :func:`_clear_registers`.
_ONES, _TWOS = np.ones(64), np.empty(64)


class DirectPath:
    """Plays tapes on Aer's density matrices through the private interface; one thread."""

    name = "direct"

    def __init__(self) -> None:
        from qiskit_aer.backends.controller_wrappers import (
            AerCircuit,
            AerConfig,
            aer_controller_execute,
        )

        # One circuit serves for all: making one asks the operating system for randomness, which
        # costs as much as two pairs.
        self._circuit = AerCircuit()
        self._controller = aer_controller_execute()
        self._config = AerConfig()
        self._config.method = "density_matrix"
        self._config.shots, self._config.memory_slots = 1, 0
        self._config.fusion_enable = False
        self._config.max_parallel_threads = self._config.max_parallel_experiments = 1
        # Nothing is sampled in Aer, so no result depends on the seed.
        self._config.seed_simulator = 1

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""
        circuit = self._circuit
        dimension = 2 ** len(tape.save)
        out = np.empty((tape.size, dimension, dimension), dtype=complex)
        step = _programs_per_circuit(tape)
        emit, values = zip(*_columns(circuit, tape, _KEYS[:step]), strict=True)
        rows = zip(*values, strict=False)
        for first in range(0, tape.size, step):
            part = out[first : first + step]
            circuit.ops = []
            for row in islice(rows, len(part)):
                for put, value in zip(emit, row, strict=True):
                    put(value)
            _clear_registers()
            result = self._controller.execute([circuit], {}, self._config)
            if not result["success"]:
                raise RuntimeError(f"Aer refused a circuit: {result['status']}")
            data = result["results"][0]["data"]
            for place, key in enumerate(_KEYS[: len(part)]):
                part[place] = data[key]
        circuit.ops = []
        return out


def _clear_registers() -> None:
    """Let Aer run at its speed after a product of complex matrices.

    The AVX-512 kernels of OpenBLAS (0.3.31) return without ``vzeroupper``. Aer's wheel is compiled
    for SSE2, whose instructions then have to keep the upper halves: a channel on two of four qubits
    takes 19 us instead of 6 (Zen 4). NumPy's own sum of doubles ends with that instruction.
    """
    np.add(_ONES, _ONES, out=_TWOS)


def _programs_per_circuit(tape: Tape) -> int:
    elements: int = 4**tape.width + sum(16 ** len(op.qubits) for op in tape.operations)
    return max(1, min(_PER_CIRCUIT, _ELEMENTS // elements))


#: What appends something to a circuit, and the value that it takes for each program in turn.
_Column = tuple[Callable[[Any], None], Iterator[Any]]


def _columns(circuit: Any, tape: Tape, keys: list[str]) -> Iterator[_Column]:
    """Return all that a program consists of: its start, its operations and its save."""
    start = repeat([tape.start]) if tape.start.ndim == 2 else ([one] for one in tape.start)
    yield partial(circuit.set_density_matrix, list(range(tape.width))), start
    for operation in tape.operations:
        yield _operation(circuit, operation)
    save = partial(circuit.save_state, list(tape.save), "save_density_matrix", "average")
    yield save, cycle(keys)


def _operation(circuit: Any, operation: Operation) -> _Column:
    qubits = list(operation.qubits)
    match operation.gate:
        case "":
            superop = circuit.superop
            matrices = operation.matrices
            assert matrices is not None
            constant = matrices.ndim == 2
            return (
                lambda matrix: superop(qubits, matrix, -1, None),
                repeat(matrices) if constant else iter(np.ascontiguousarray(matrices)),
            )
        case "cx":
            put = partial(circuit.gate, "cx", qubits, [], [], -1, None, "cx")
        case _:
            # Aer's own cz costs more than the same gate given as a diagonal.
            put = partial(circuit.diagonal, qubits, _CZ, -1, "cz")
    return (lambda _: put()), repeat(None)
