"""Matrices that come into an engine: checked once, and made ready for use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from backends.squid.engine import Complex
from backends.squid.engines import kernels
from quantum.errors import InputError

__all__ = [
    "Catalogue",
    "Instrument",
    "Part",
    "checked_state",
    "checked_unitary",
    "effect",
    "instrument",
    "kraus_of",
    "superoperator",
]

_TOLERANCE = 1e-9
#: The smaller singular value of an operator that leaves its qubit in one state.
_SINGULAR = 1e-12
#: More are forgotten: decays by ever new times would fill the memory.
_MOST_KNOWN = 4096

_WRONG = {
    -1: "must be finite",
    -2: "does not keep states Hermitian",
    -3: "is not completely positive",
    -4: "does not keep the trace",
}

T = TypeVar("T")
Given = Complex | tuple[Complex, ...]


class Catalogue(Generic[T]):
    """What was made of matrices, each made once.

    A matrix that cannot be written to is known again by its identity, others by their content:
    constants cost least if their owner calls ``setflags(write=False)``.
    """

    def __init__(self, prepare: Callable[..., T]) -> None:
        self._prepare = prepare
        self._by_content: dict[object, T] = {}
        # Holds what was given, so that an identity in use never means something else.
        self._by_identity: dict[int, tuple[Given, T]] = {}

    def find(self, given: Given) -> T:
        """Return what is made of a matrix, or of a tuple of matrices."""
        known = self._by_identity.get(id(given))
        if known is not None:
            return known[1]
        matrices = given if isinstance(given, tuple) else (given,)
        key = tuple([(matrix.shape, matrix.dtype.char, matrix.tobytes()) for matrix in matrices])
        found = self._by_content.get(key)
        if found is None:
            found = self._prepare(*matrices)
            _remember(self._by_content, key, found)
        if not any(matrix.flags.writeable for matrix in matrices):
            _remember(self._by_identity, id(given), (given, found))
        return found


K = TypeVar("K")


def _remember(table: dict[K, T], key: K, value: T) -> None:
    if len(table) >= _MOST_KNOWN:
        table.clear()
    table[key] = value


def checked_unitary(matrix: Complex, qubits: int) -> Complex:
    """Return a contiguous copy of a unitary ``(2^n, 2^n)``, or refuse it."""
    own = _own("unitary", matrix, 2**qubits)
    if not np.abs(own @ own.conj().T - np.eye(2**qubits)).max() < _TOLERANCE:
        raise InputError("unitary must have U U^dagger = 1")
    return own


def superoperator(operator: Complex) -> Complex:
    """Return what an operator ``(d, d)`` does to row-stacked density matrices, ``(d^2, d^2)``."""
    d = len(operator)
    both = operator[:, None, :, None] * operator.conj()[None, :, None, :]
    stacked: Complex = both.reshape(d * d, d * d)
    return stacked


def kraus_of(channel: Complex, qubits: int) -> Complex:
    """Return Kraus operators ``(m, d, d)`` of a channel ``(d^2, d^2)``, or refuse it."""
    d = 2**qubits
    own = _own("channel", channel, d * d)
    operators = np.empty((d * d, d, d), dtype=np.complex128)
    count: int = kernels.kraus_operators(own, _TOLERANCE, operators)
    if count < 0:
        raise InputError(f"channel {_WRONG[count]}")
    return operators[:count]


def checked_state(matrix: Complex) -> Complex:
    """Return a copy of a two-qubit density matrix ``(4, 4)``, or refuse it."""
    own = _own("state", matrix, 4)
    if not (np.isfinite(own).all() and np.abs(own - own.conj().T).max() < _TOLERANCE):
        raise InputError("state must be finite and Hermitian")
    if abs(np.trace(own).real - 1.0) > _TOLERANCE or np.linalg.eigvalsh(own)[0] < -_TOLERANCE:
        raise InputError("state must have trace 1 and no negative eigenvalue")
    return own


def effect(kraus: Complex) -> Complex:
    """Return K^dagger K of a Kraus operator ``(2, 2)``, or refuse it if a chance may exceed 1."""
    own = _own("Kraus operator", kraus, 2)
    product: Complex = own.conj().T @ own
    if not np.isfinite(product).all() or np.linalg.eigvalsh(product)[-1] > 1.0 + _TOLERANCE:
        raise InputError("Kraus operator must be finite with K^dagger K <= 1")
    return product


@dataclass(frozen=True, slots=True)
class Part:
    """What an outcome does to its qubit.

    An operator |a><b| leaves the qubit in ``left`` = |a><a|, apart from all others, whose state is
    that of the qubit found in ``bra`` = <b|. Other operators (``bra`` None) act by ``channel``.
    """

    channel: Complex
    bra: Complex | None
    left: Complex


@dataclass(frozen=True, slots=True)
class Instrument:
    """A measurement of one qubit: the effect of outcome 0, and both outcomes."""

    effect: Complex
    parts: tuple[Part, Part]


def instrument(zero: Complex, one: Complex) -> Instrument:
    """Return the measurement of two Kraus operators, or refuse them if chances do not add up."""
    effects = effect(zero), effect(one)
    if np.abs(effects[0] + effects[1] - np.eye(2)).max() > _TOLERANCE:
        raise InputError("the Kraus operators of a measurement must have sum K^dagger K = 1")
    return Instrument(effects[0], (_part(zero), _part(one)))


def _part(kraus: Complex) -> Part:
    own = _own("Kraus operator", kraus, 2)
    left, sizes, right = np.linalg.svd(own)
    one_state = sizes[1] < _SINGULAR
    ket = np.ascontiguousarray(left[:, 0])
    return Part(
        channel=superoperator(own),
        bra=np.ascontiguousarray(right[0]) if one_state else None,
        left=np.outer(ket, ket.conj()),
    )


def _own(name: str, matrix: Complex, size: int) -> Complex:
    """Return a contiguous copy that may be written to: what kernels take fastest."""
    if matrix.shape != (size, size):
        raise InputError(f"{name} must be ({size}, {size}), got {matrix.shape}")
    return np.array(matrix, dtype=np.complex128, order="C")
