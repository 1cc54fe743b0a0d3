"""Quantum channels as Aer wants them, each checked before it goes there.

Superoperators act on column-stacked density matrices, the first qubit of a list is the least
significant bit. Aer accepts any matrix as a channel and warns about nothing, so complete
positivity and trace are checked here: constants by their Choi matrix, families by the conditions
on their parameters.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.noise import decay
from quantum.program import Gates, Memory

__all__ = [
    "EMITTED",
    "SOURCE",
    "TWIRL",
    "after",
    "bell_measurement",
    "check_channel",
    "check_states",
    "decays",
    "distillation_side",
    "fresh_halves",
    "populations",
    "replacements",
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
_PHI_PLUS: Complex = np.array(
    [[0.5, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0.5]], dtype=np.complex128
)


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


def check_states(states: Complex) -> Complex:
    """Return density matrices ``(B, 4, 4)``, or refuse what is not a state."""
    trace = np.einsum("baa->b", states)
    if not np.all(np.isfinite(states)) or np.abs(trace - 1.0).max(initial=0.0) > _TOLERANCE:
        raise InputError("a stored pair must have trace 1")
    if np.abs(states - states.conj().transpose(0, 2, 1)).max(initial=0.0) > _TOLERANCE:
        raise InputError("a stored pair must be Hermitian")
    if np.linalg.eigvalsh(states).min(initial=0.0) < -_TOLERANCE:
        raise InputError("a stored pair must not have negative eigenvalues")
    return states


def _unitary(matrix: Complex) -> Complex:
    channel: Complex = np.kron(matrix.conj(), matrix).astype(np.complex128)
    return channel


def _pauli_mixture(weights: list[float], operators: list[Complex]) -> Complex:
    total = sum(w * _unitary(m) for w, m in zip(weights, operators, strict=True))
    return np.asarray(total, dtype=complex)


def _replace(state: Complex) -> Complex:
    """Return the channel that throws its input away: rho -> Tr(rho) state."""
    identity = np.eye(len(state)).reshape(-1)
    return np.outer(state.reshape(-1, order="F"), identity).astype(complex)


def _werner_twirl() -> Complex:
    """Return the twirl to a Werner state: phi_plus is kept, the rest spread evenly."""
    best = _PHI_PLUS
    rest = np.eye(4) - best
    kept = np.outer(best.reshape(-1, order="F"), best.T.reshape(-1, order="F"))
    spread = np.outer(rest.reshape(-1, order="F") / 3.0, rest.T.reshape(-1, order="F"))
    return (kept + spread).astype(np.complex128)


#: A source that emits phi_plus into two qubits, whatever they held.
SOURCE = check_channel("source", _replace(_PHI_PLUS))
#: What the sources have emitted when a program starts, by the width of its register.
EMITTED = {
    2: _PHI_PLUS,
    4: np.kron(_PHI_PLUS, _PHI_PLUS),
}
TWIRL = check_channel("twirl", _werner_twirl())


def _depolarizing(weight: float) -> Complex:
    """Two qubits: rho -> (1-p) rho + p I/4."""
    return (1.0 - weight) * np.eye(16) + weight * _replace((np.eye(4) / 4.0).astype(complex))


def _on_second(operator: Complex) -> Complex:
    return np.kron(operator, _PAULI[0])


def _on_first(operator: Complex) -> Complex:
    return np.kron(_PAULI[0], operator)


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
def distillation_side(gates: Gates, turn: int) -> Complex:
    """Return one node's part of a distillation on (kept, spent), ``(16, 16)``.

    Both qubits turn about x by ``turn`` quarters (DEJMPS: +1 left, -1 right; BBPSSW: 0), then CNOT
    onto the spent qubit, depolarising, and the flip of the bit read from the spent qubit.
    """
    angle = turn * np.pi / 4.0
    rotation = np.cos(angle) * _PAULI[0] - 1j * np.sin(angle) * _PAULI[1]
    error = gates.readout_error
    flip = _pauli_mixture([1 - error, error], [np.eye(4, dtype=complex), _on_second(_PAULI[1])])
    depolarize = _depolarizing(gates.gate_depolarizing)
    channel = flip @ depolarize @ _unitary(_CX @ np.kron(rotation, rotation))
    return check_channel("distillation", channel)


def decays(seconds: Floats, memory: Memory) -> Complex:
    """Return the decay of one qubit for each of ``(B,)`` waits, ``(B, 4, 4)``."""
    damping, coherence = _checked_decay(seconds, memory)
    out = np.zeros((len(seconds), 4, 4), dtype=complex)
    out[:, 0, 0] = 1.0
    out[:, 0, 3] = damping
    out[:, 1, 1] = out[:, 2, 2] = coherence
    out[:, 3, 3] = 1.0 - damping
    return out


def fresh_halves(weights: Floats, seconds: Floats, memory: Memory) -> Complex:
    """Return, for ``(B, 4)`` Bell populations, source error and decay of a right qubit in one.

    A Bell-diagonal pair is phi_plus with a Pauli on one qubit: I, Z, X, Y for phi_plus, phi_minus,
    psi_plus, psi_minus. The wait follows at once, so one ``(B, 4, 4)`` channel does both.
    """
    if np.any(weights < -_TOLERANCE) or np.any(np.abs(weights.sum(axis=1) - 1.0) > _TOLERANCE):
        raise InputError("bell populations must be >= 0 and sum to 1")
    damping, coherence = _checked_decay(seconds, memory)
    flipped = weights[:, 2] + weights[:, 3]
    out = np.zeros((len(weights), 4, 4), dtype=complex)
    out[:, 0, 0] = 1.0 - flipped + damping * flipped
    out[:, 0, 3] = flipped + damping * (1.0 - flipped)
    out[:, 3, 0] = (1.0 - damping) * flipped
    out[:, 3, 3] = (1.0 - damping) * (1.0 - flipped)
    out[:, 1, 1] = out[:, 2, 2] = coherence * (weights[:, 0] - weights[:, 1])
    out[:, 1, 2] = out[:, 2, 1] = coherence * (weights[:, 2] - weights[:, 3])
    return out


def _checked_decay(seconds: Floats, memory: Memory) -> tuple[Floats, Floats]:
    damping, coherence = decay(seconds, memory)
    # Amplitude damping leaves at most sqrt(1-g) of the coherence: T2 <= 2 T1.
    positive = (damping >= 0.0) & (coherence**2 <= 1.0 - damping + _TOLERANCE)
    if not np.all(positive):
        raise InputError("waits must be >= 0 s and memory.t2_s <= 2 t1_s")
    return damping, coherence


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


def replacements(states: Complex) -> Complex:
    """Return the channels ``(B, 16, 16)`` that put stored states ``(B, 4, 4)`` into two qubits."""
    stacked = check_states(states).transpose(0, 2, 1).reshape(-1, 16)
    matrices: Complex = stacked[:, :, None] * np.eye(4, dtype=complex).reshape(-1)
    return matrices


def populations(states: Complex) -> Floats:
    """Return the Bell populations ``(B, 4)`` of states ``(B, 4, 4)``."""
    same = (states[:, 0, 0] + states[:, 3, 3]).real / 2.0
    other = (states[:, 1, 1] + states[:, 2, 2]).real / 2.0
    phi, psi = states[:, 0, 3].real, states[:, 1, 2].real
    return np.stack([same + phi, same - phi, other + psi, other - psi], axis=-1)
