"""Bell states by name, and the two ways to write a Bell-diagonal state.

*Populations* are the weights of the four Bell states in the order of :data:`BELL_STATES`.
*Correlators* are ``(c_xx, c_yy, c_zz)`` with the sign of phi_plus taken out of ``yy``, i.e.
``(<XX>, -<YY>, <ZZ>)``: all three are 1 for phi_plus and ``(4F-1)/3`` for a Werner state, and
they multiply when pairs are swapped. The fidelity to phi_plus of *any* two-qubit state is
``F = (1 + c_xx + c_yy + c_zz) / 4``.

Fidelity is always the squared one. Bell states have no common numbering (netqasm and
qlink-interface disagree), so only names leave this module.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.errors import InputError

__all__ = [
    "BASES",
    "BELL_STATES",
    "check_populations",
    "check_state",
    "correlators",
    "density_matrix",
    "expectations_of",
    "fidelity",
    "from_name",
    "pass_probability",
    "populations",
    "werner",
]

Floats = NDArray[np.float64]

BELL_STATES = ("phi_plus", "phi_minus", "psi_plus", "psi_minus")
BASES = ("xx", "yy", "zz")

_PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

#: correlators = populations @ _TO_CORRELATORS; the matrix extended by a row of ones is its own
#: inverse up to a factor 4.
_TO_CORRELATORS = np.array(
    [[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]]
)


def from_name(name: str) -> Floats:
    """Return the populations of a pure Bell state.

    >>> from_name("psi_minus").tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    if name not in BELL_STATES:
        raise InputError(f"bell state {name!r} is unknown; known: {', '.join(BELL_STATES)}")
    state: Floats = np.eye(4)[BELL_STATES.index(name)]
    return state


def correlators(weights: ArrayLike) -> Floats:
    """Turn populations ``(..., 4)`` into correlators ``(..., 3)``.

    >>> correlators([1.0, 0.0, 0.0, 0.0]).tolist()
    [1.0, 1.0, 1.0]
    """
    signed: Floats = np.asarray(weights, dtype=np.float64) @ _TO_CORRELATORS
    return signed


def populations(signed: ArrayLike) -> Floats:
    """Turn correlators ``(..., 3)`` into populations ``(..., 4)``.

    >>> populations([1.0, -1.0, -1.0]).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    weights: Floats = (1.0 + np.asarray(signed, dtype=np.float64) @ _TO_CORRELATORS.T) / 4.0
    return weights


def werner(fidelity_phi_plus: ArrayLike) -> Floats:
    """Return the populations of a Werner state of the given fidelity, shape ``(..., 4)``.

    >>> werner(0.97).round(6).tolist()
    [0.97, 0.01, 0.01, 0.01]
    """
    best = np.asarray(fidelity_phi_plus, dtype=np.float64)
    rest = (1.0 - best) / 3.0
    return np.stack([best, rest, rest, rest], axis=-1)


def fidelity(weights: ArrayLike) -> Floats:
    """Return the fidelity to phi_plus of populations ``(..., 4)``."""
    return np.asarray(weights, dtype=np.float64)[..., 0]


def pass_probability(weights: ArrayLike) -> Floats:
    """Return the chance that a test in XX, YY, ZZ shows the parity of phi_plus, ``(..., 3)``.

    Averaged over the three bases it is ``(1 + 2F) / 3`` for any state.

    >>> pass_probability(werner(0.7)).mean().round(6).item()
    0.8
    """
    chance: Floats = np.clip((1.0 + correlators(weights)) / 2.0, 0.0, 1.0)
    return chance


def check_populations(name: str, weights: Sequence[float]) -> None:
    """Refuse weights that are not four probabilities which sum to one."""
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (4,) or not np.all(np.isfinite(w)) or w.min() < -1e-12:
        raise InputError(
            f"{name} needs four weights >= 0 ({', '.join(BELL_STATES)}), got {weights}"
        )
    if abs(w.sum() - 1.0) > 1e-9:
        raise InputError(f"{name} must sum to 1, the weights given sum to {w.sum():.9g}")


def density_matrix(expectations: ArrayLike) -> NDArray[np.complex128]:
    """Return states ``(..., 4, 4)`` from Pauli expectations ``(..., 4, 4)`` or ``(..., 16)``.

    The left qubit is the more significant one.

    >>> density_matrix(np.diag([1.0, 1.0, -1.0, 1.0])).real.tolist()[0]
    [0.5, 0.0, 0.0, 0.5]
    """
    values = np.asarray(expectations, dtype=np.float64)
    table = values.reshape(*values.shape[: -1 if values.shape[-1] == 16 else -2], 4, 4)
    states: NDArray[np.complex128] = np.einsum("...ab,aij,bkl->...ikjl", table, _PAULI, _PAULI)
    return states.reshape(*table.shape[:-2], 4, 4) / 4.0


def expectations_of(states: ArrayLike) -> Floats:
    """Return Pauli expectations ``(..., 4, 4)`` of states ``(..., 4, 4)``; left more significant.

    >>> expectations_of(np.eye(4) / 4.0).tolist()[0]
    [1.0, 0.0, 0.0, 0.0]
    """
    rho = np.asarray(states, dtype=np.complex128)
    bits = rho.reshape(*rho.shape[:-2], 2, 2, 2, 2)
    table: Floats = np.einsum("...ikjl,aji,blk->...ab", bits, _PAULI, _PAULI).real
    return table


def check_state(name: str, expectations: Sequence[float]) -> None:
    """Refuse Pauli expectations that no two-qubit state has."""
    values = np.asarray(expectations, dtype=np.float64)
    if values.shape != (16,) or not np.all(np.isfinite(values)):
        raise InputError(f"{name} must be 16 finite numbers, got {len(expectations)}")
    if abs(values[0] - 1.0) > 1e-9:
        raise InputError(f"{name} must begin with the trace 1, got {values[0]:.9g}")
    lowest = np.linalg.eigvalsh(density_matrix(values)).min()
    if lowest < -1e-9:
        raise InputError(f"{name} must be a state, its lowest eigenvalue is {lowest:.3g}")
