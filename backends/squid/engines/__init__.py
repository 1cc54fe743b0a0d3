"""Engines: what keeps quantum states. :mod:`backends.squid.engine` is what they have in common."""

from backends.squid.engine import Engine
from quantum.errors import InputError

__all__ = ["open_engine"]


def open_engine(name: str = "aer", most_qubits: int = 10) -> Engine:
    """Return a new engine without qubits: ``aer`` or ``numpy``.

    ``most_qubits`` limits how many qubits may be entangled at once: memory and time grow fourfold
    with each. Raises InputError for another name.

    >>> engine = open_engine("numpy")
    >>> engine.new(), engine.new()
    (0, 1)
    """
    # Qiskit takes half a second to import.
    if name == "aer":
        from backends.squid.engines.aer_engine import AerEngine

        return AerEngine(most_qubits)
    if name == "numpy":
        from backends.squid.engines.numpy_engine import NumpyEngine

        return NumpyEngine(most_qubits)
    raise InputError(f"engine must be aer or numpy, got {name!r}")
