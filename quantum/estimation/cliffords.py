"""The 24 single-qubit Cliffords, as matrices, as turns of the Bloch sphere, and as a group."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCH", "INVERSE", "PRODUCT", "UNITARY", "after_all"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PAULI: Complex = np.array(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex
)


def _bloch(unitary: Complex) -> Floats:
    """Return the Pauli transfer matrix R_ij = tr(sigma_i U sigma_j U^dagger) / 2, ``(4, 4)``."""
    turned = unitary @ _PAULI @ unitary.conj().T
    matrix: Floats = np.einsum("iab,jba->ij", _PAULI, turned).real / 2.0
    return np.rint(matrix) + 0.0


def _generate() -> tuple[Complex, Floats]:
    """Multiply H and S until nothing new comes; number 0 is the identity."""
    steps = (_PAULI[1] + _PAULI[3]) / np.sqrt(2.0), np.diag([1.0, 1.0j])
    unitaries = [_PAULI[0]]
    known = {_bloch(unitaries[0]).tobytes()}
    for unitary in unitaries:
        for step in steps:
            new = step @ unitary
            key = _bloch(new).tobytes()
            if key not in known:
                known.add(key)
                unitaries.append(new)
    return np.array(unitaries), np.array([_bloch(unitary) for unitary in unitaries])


#: Matrices ``(24, 2, 2)`` and Pauli transfer matrices ``(24, 4, 4)``, in one order.
UNITARY, BLOCH = _generate()


def _products() -> Ints:
    number = {matrix.tobytes(): index for index, matrix in enumerate(BLOCH)}
    # Adding 0 turns -0 into 0, which is another key.
    pairs = np.rint(np.einsum("aij,bjk->abik", BLOCH, BLOCH)) + 0.0
    return np.array([[number[matrix.tobytes()] for matrix in row] for row in pairs])


#: ``PRODUCT[a, b]`` is the number of "b, then a".
PRODUCT: Ints = _products()
#: ``INVERSE[a]`` undoes a.
INVERSE: Ints = np.argmax(PRODUCT == 0, axis=1)


def after_all(numbers: Ints) -> Ints:
    """Return the Clifford that rows of Cliffords ``(N, H)``, first to last, come to: ``(N,)``.

    >>> after_all(np.array([[5, int(INVERSE[5])]])).tolist()
    [0]
    """
    total = np.zeros(len(numbers), dtype=np.int64)
    for column in numbers.T:
        total = PRODUCT[column, total]
    return total
