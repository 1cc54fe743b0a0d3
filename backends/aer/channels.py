"""Quantum channels as Aer wants them.

Superoperators act on column-stacked density matrices, the first qubit of a list is the least
significant bit. Aer accepts any matrix as a channel and warns about nothing, so complete
positivity and trace are checked: of constants here, by their Choi matrix; of families by the
conditions on their parameters in :func:`quantum.batch.check_batch`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from backends.aer.states import PHI_PLUS
from quantum.errors import InputError
from quantum.program import Gates

__all__ = [
    "BOTH_READ_ONE",
    "TWIRL",
    "after",
    "bell_measurement",
    "check_channel",
    "cnot_and_read",
    "decays",
    "turned",
]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

_TOLERANCE = 1e-9
_PAULI: Complex = np.array(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex
)
_H: Complex = np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2.0)
#: Control on the first (least significant) qubit, target on the second.
_CX: Complex = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=complex)


def check_channel(name: str, channel: Complex) -> Complex:
    """Return a superoperator ``(d^2, d^2)``, or refuse it if it is not a quantum channel."""
    dimension = round(channel.shape[0] ** 0.5)
    if channel.shape != (dimension**2, dimension**2) or not np.all(np.isfinite(channel)):
        raise InputError(f"channel {name} must be a finite (d^2, d^2) matrix")
    # Column stacking: index (column, row) -> (column', row'); Choi couples rows with columns.
    tensor = channel.reshape([dimension] * 4)
    choi = tensor.transpose(2, 0, 3, 1).reshape(dimension**2, dimension**2)
    traced = np.einsum("aacr->rc", tensor)
    if np.abs(choi - choi.conj().T).max() > _TOLERANCE:
        raise InputError(f"channel {name} does not keep states Hermitian")
    if np.linalg.eigvalsh(choi).min() < -_TOLERANCE:
        raise InputError(f"channel {name} is not completely positive")
    if np.abs(traced - np.eye(dimension)).max() > _TOLERANCE:
        raise InputError(f"channel {name} does not keep the trace")
    return np.ascontiguousarray(channel)


def _unitary(matrix: Complex) -> Complex:
    channel: Complex = np.kron(matrix.conj(), matrix).astype(np.complex128)
    return channel


def _pauli_mixture(weights: list[float], operators: list[Complex]) -> Complex:
    total = sum(w * _unitary(m) for w, m in zip(weights, operators, strict=True))
    return np.asarray(total, dtype=complex)


def _depolarizing(weight: float) -> Complex:
    """Two qubits: rho -> (1-p) rho + p I/4."""
    identity = np.eye(4).reshape(-1)
    mixed = np.outer(identity, identity) / 4.0
    return ((1.0 - weight) * np.eye(16) + weight * mixed).astype(complex)


def _on_second(operator: Complex) -> Complex:
    return np.kron(operator, _PAULI[0])


def _on_first(operator: Complex) -> Complex:
    return np.kron(_PAULI[0], operator)


def _werner_twirl() -> Complex:
    """Return the twirl to a Werner state: phi_plus is kept, the rest spread evenly."""
    best = PHI_PLUS
    rest = np.eye(4) - best
    kept = np.outer(best.reshape(-1, order="F"), best.T.reshape(-1, order="F"))
    spread = np.outer(rest.reshape(-1, order="F") / 3.0, rest.T.reshape(-1, order="F"))
    return (kept + spread).astype(np.complex128)


def _both_one() -> Complex:
    """Return the channel that reads two bits and writes 0 on the first qubit if both are 1."""
    channel = np.zeros((16, 16), dtype=complex)
    for read in range(4):
        write = 2 if read == 3 else 3
        channel[write * 5, read * 5] = 1.0
    return channel


TWIRL = check_channel("twirl", _werner_twirl())
BOTH_READ_ONE = check_channel("both bits", _both_one())


@cache
def bell_measurement(gates: Gates) -> Complex:
    """Return CNOT, depolarising, H and readout flips of a Bell measurement, ``(16, 16)``.

    Afterwards the first qubit holds the bit of the Z correction, the second that of the X
    correction: what a detector would report, errors included.
    """
    error = gates.readout_error
    flips = _pauli_mixture(
        [(1 - error) ** 2, error * (1 - error), error * (1 - error), error**2],
        [
            np.eye(4, dtype=complex),
            _on_first(_PAULI[1]),
            _on_second(_PAULI[1]),
            np.kron(_PAULI[1], _PAULI[1]),
        ],
    )
    depolarize = _depolarizing(gates.gate_depolarizing)
    channel = flips @ _unitary(_on_first(_H)) @ depolarize @ _unitary(_CX)
    return check_channel("bell measurement", channel)


@cache
def cnot_and_read(gates: Gates, turn: int = 0) -> Complex:
    """Return what a node does to (kept, spent) in a distillation or a merge, ``(16, 16)``.

    CNOT onto the spent qubit, depolarising, and the flip of the bit read from the spent qubit;
    before, both qubits turn about x by ``turn`` quarters (DEJMPS: +1 left, -1 right; others: 0).
    """
    angle = turn * np.pi / 4.0
    rotation = np.cos(angle) * _PAULI[0] - 1j * np.sin(angle) * _PAULI[1]
    error = gates.readout_error
    flip = _pauli_mixture([1 - error, error], [np.eye(4, dtype=complex), _on_second(_PAULI[1])])
    depolarize = _depolarizing(gates.gate_depolarizing)
    channel = flip @ depolarize @ _unitary(_CX @ np.kron(rotation, rotation))
    return check_channel("cnot and read", channel)


def decays(damping: Floats, coherence: Floats) -> Complex:
    """Return channels ``(..., 4, 4)`` for the ``(...)`` of :func:`quantum.noise.decay`."""
    out = np.zeros((*damping.shape, 4, 4), dtype=complex)
    out[..., 0, 0] = 1.0
    out[..., 0, 3] = damping
    out[..., 1, 1] = out[..., 2, 2] = coherence
    out[..., 3, 3] = 1.0 - damping
    return out


def turned(angles_rad: Floats) -> Complex:
    """Return channels ``(B, 4, 4)`` after which Z shows what cos t Z + sin t X showed before.

    That is a rotation about y by -t, for ``angles_rad`` (B,).
    """
    c, s = np.cos(angles_rad / 2.0), np.sin(angles_rad / 2.0)
    gate = np.array([[c, s], [-s, c]]).transpose(2, 0, 1)
    # Real gates: the superoperator is the product of a gate with itself.
    both = gate[:, :, None, :, None] * gate[:, None, :, None, :]
    return np.ascontiguousarray(both.reshape(-1, 4, 4).astype(complex))


def after(channel: Complex, one: Complex, place: int) -> Complex:
    """Return the two-qubit ``channel`` after ``one`` acted on one of its qubits, ``(B, 16, 16)``.

    ``channel`` is ``(16, 16)`` or ``(B, 16, 16)``, ``one`` is ``(B, 4, 4)``; ``place`` 0 is the
    first qubit. Channels composed of channels are channels.
    """
    lead = channel.shape[:-2]
    # Input index: column bits (second, first), row bits (second, first) -> the qubit's two last.
    inner = (0, 1, 3, 2, 4) if place == 0 else (0, 2, 4, 1, 3)
    bits = channel.reshape(*lead, 16, 2, 2, 2, 2)
    bits = bits.transpose(*range(len(lead)), *(len(lead) + axis for axis in inner))
    joined = np.matmul(bits.reshape(*lead, 64, 4), one).reshape(-1, 16, 2, 2, 2, 2)
    outer = (0, 1, 2, 4, 3, 5) if place == 0 else (0, 1, 4, 2, 5, 3)
    merged: Complex = joined.transpose(outer).reshape(-1, 16, 16)
    return merged
