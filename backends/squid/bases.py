"""In which basis the network stack measures half of a pair, as a CREATE request says.

Three rotations (multiples of pi/16, about the axes that the request names), or one of a set of
bases by chance. The sets, their probabilities (of 255) and the rule that a random basis takes the
place of rotations are those of the link layer's draft, draft-dahlberg-ll-quantum-03, section 4.1;
numbers of sets and bases are netqasm's (``RandomBasis``, ``Basis``).
"""

import functools
from dataclasses import dataclass

import numpy as np
from netqasm.qlink_compat import Basis, RandomBasis

from backends.squid.engine import Complex
from backends.squid.errors import SquidError
from backends.squid.matrices import PROJECTORS, Axis, rotation

__all__ = ["Measurement", "Wish", "measurement"]

#: Axes by netqasm's number (``QubitMeasureAxes``), the first rotation first.
_AXES: tuple[tuple[Axis, Axis, Axis], ...] = (("x", "y", "x"), ("y", "z", "y"), ("z", "x", "z"))

#: Sets of bases in the order of their probabilities.
_SETS: dict[int, tuple[Basis, ...]] = {
    RandomBasis.XZ.value: (Basis.X, Basis.Z),
    RandomBasis.XYZ.value: (Basis.X, Basis.Y, Basis.Z),
    RandomBasis.CHSH.value: (Basis.ZPLUSX, Basis.ZMINUSX),
}
#: Rotations are multiples of pi / 2^4.
_PER_PI = 4

#: Axis and steps of the rotation that turns a basis into Z.
_TURNS: dict[Basis, tuple[Axis, int]] = {
    Basis.Z: ("y", 0),
    Basis.X: ("y", 24),
    Basis.Y: ("x", 8),
    Basis.ZPLUSX: ("y", 28),
    Basis.ZMINUSX: ("y", 4),
}


@dataclass(frozen=True)
class Wish:
    """What a request says of one end. ``weights`` are None where all bases are as likely."""

    rotations: tuple[int, int, int] = (0, 0, 0)
    axes: int = 0
    random: int = 0
    weights: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.axes < len(_AXES):
            raise SquidError(f"rotation axes {self.axes} are unknown: 0 (XYX), 1 (YZY) or 2 (ZXZ)")
        if self.random and self.random not in _SETS:
            raise SquidError(f"random basis {self.random} is unknown: 0, 1 (XZ), 2 (XYZ), 3 (CHSH)")
        if self.weights is not None and not (
            min(self.weights) >= 0 and sum(self.weights[: self._free]) <= 255
        ):
            raise SquidError(f"probabilities {self.weights} of 255 must be >= 0, in all <= 255")

    @property
    def _free(self) -> int:
        """Probabilities that can be chosen; the last basis has the rest."""
        return len(_SETS[self.random]) - 1 if self.random else 0


@dataclass(frozen=True, eq=False)
class Measurement:
    """Kraus operators of outcomes 0 and 1, and netqasm's number of the basis.

    The number is that of a basis chosen by chance, otherwise 0: rotations have no number.
    """

    kraus: tuple[Complex, Complex]
    basis: int


def measurement(wish: Wish, rng: np.random.Generator) -> Measurement:
    """Return how to measure one pair; draws only where the basis is left to chance."""
    if not wish.random:
        return _rotated(wish.rotations, wish.axes)
    chosen = _SETS[wish.random]
    if wish.weights is None:
        return _in_basis(chosen[int(rng.integers(len(chosen)))])
    # Draws are compared and never computed with, so that they can be enumerated.
    draw, below = rng.random(), 0
    for basis, weight in zip(chosen[:-1], wish.weights, strict=False):
        below += weight
        if draw < below / 255.0:
            return _in_basis(basis)
    return _in_basis(chosen[-1])


@functools.lru_cache(maxsize=4096)
def _rotated(rotations: tuple[int, int, int], axes: int) -> Measurement:
    unitary = np.eye(2, dtype=np.complex128)
    for axis, steps in zip(_AXES[axes], rotations, strict=True):
        unitary = rotation(axis, steps, _PER_PI) @ unitary
    return Measurement((PROJECTORS[0] @ unitary, PROJECTORS[1] @ unitary), 0)


@functools.cache
def _in_basis(basis: Basis) -> Measurement:
    unitary = rotation(*_TURNS[basis], _PER_PI)
    return Measurement((PROJECTORS[0] @ unitary, PROJECTORS[1] @ unitary), int(basis.value))
