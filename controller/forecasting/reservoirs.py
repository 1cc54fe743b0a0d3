"""Readers of requests that other packages bring, such as a quantum reservoir.

A reservoir is found under the entry point group ``dpem.reservoirs``: a function of angles
(W, STEPS, QUBITS) that gives features (W, FEATURES), without anything that is trained. Here the
newest blocks of a node become its angles, by a fixed random projection; the features take the place
of the GRU's hidden state, and the same head is trained on them.
"""

import math
from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.foresight import Reader
from controller.forecasting.streams import INPUTS
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["STEPS", "WIDTH", "quantum_reader"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Blocks that the reservoir reads, qubits that each turns, and features that come out.
STEPS, _QUBITS, WIDTH = 6, 5, 15


def quantum_reader(name: str = "aer") -> Reader:
    """Return a reader that runs the reservoir ``name``; InputError where it is not installed."""
    run = _reservoir(name)
    project = generator(0, "reservoir inputs").normal(0.0, 1.0 / math.sqrt(2.0), (INPUTS, _QUBITS))

    def read(events: Floats, length: Ints) -> Floats:
        newest = np.asarray(events[:, -STEPS:], dtype=np.float64)
        angles = math.pi * np.tanh(newest @ project)
        real = np.arange(STEPS)[None, :] >= STEPS - length[:, None]
        found = run(np.where(real[..., None], angles, 0.0))
        if found.shape != (len(events), WIDTH):
            raise InputError(f"reservoir {name} must give {WIDTH} features, got {found.shape}")
        return found

    return read


def _reservoir(name: str) -> Callable[[Floats], Floats]:
    for point in entry_points(group="dpem.reservoirs"):
        if point.name == name:
            try:
                run: Callable[[Floats], Floats] = point.load()
            except ModuleNotFoundError as missing:
                raise InputError(
                    f"--forecaster quantum needs {missing.name}: pip install 'dpem[aer]' adds it"
                ) from missing
            return run
    raise InputError(f"there is no reservoir {name!r} installed: pip install 'dpem[aer]' adds one")
