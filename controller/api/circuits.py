"""Circuits of programs, from whoever draws them: the controller itself knows no Qiskit."""

from importlib.metadata import entry_points
from typing import Any

from quantum.errors import InputError
from quantum.program import Program

__all__ = ["circuit_of"]


def circuit_of(program: Program, basis: str | None = None) -> Any:
    """Return a program as a circuit by the installed entry point of the group ``dpem.circuits``.

    Raises :class:`InputError` where Qiskit is not installed.
    """
    for point in entry_points(group="dpem.circuits"):
        try:
            return point.load()(program, basis)
        except ModuleNotFoundError as missing:
            raise InputError(
                f"circuits need {missing.name}: pip install 'dpem[aer]' adds it"
            ) from None
    raise InputError("circuits need an entry point of the group dpem.circuits; none is installed")
