"""Where a state can be: a box of correlators, cut by the tetrahedron of Bell-diagonal states.

Each correlator is known to lie between two bounds, and all four populations are >= 0 (Horodecki and
Horodecki, Phys. Rev. A 54, 1838, 1996). What remains is a convex body with few corners: linear and
convex functions of the state are largest at one of them, which are enumerated exactly. The Bell
populations of *any* two-qubit state obey the same conditions, so nothing here assumes that the
state is Bell-diagonal.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from quantum import bell

__all__ = ["corners", "entropy", "entropy_bounds", "population_bounds"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Rounding that a condition may be broken by.
_SLACK = 1e-10


def entropy(populations: ArrayLike) -> Floats:
    """Return the Shannon entropy in bits of populations ``(..., 4)``.

    >>> entropy([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]).tolist()
    [2.0, 0.0]
    """
    bits: Floats = entr(np.clip(populations, 0.0, 1.0)).sum(axis=-1) / np.log(2.0)
    return bits


def corners(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Bools]:
    """Return the meeting points ``(..., V, 3)`` of three faces each, and which are corners.

    ``low`` and ``high`` bound the correlators and are ``(..., 3)``. No corner: no state fits.
    """
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    faces, inverses = _meetings()
    offsets = np.concatenate([lo, hi, np.full((*lo.shape[:-1], 4), -1.0)], axis=-1)
    points = np.einsum("vij,...vj->...vi", inverses, offsets[..., faces])
    inside = (points >= lo[..., None, :] - _SLACK) & (points <= hi[..., None, :] + _SLACK)
    physical = bell.populations(points) >= -_SLACK
    return points, inside.all(axis=-1) & physical.all(axis=-1)


@cache
def _meetings() -> tuple[NDArray[np.int64], Floats]:
    """Return triples of the ten faces that meet in a point, and the inverses of their normals.

    Faces 0-2 are the lower and 3-5 the upper sides of the box, 6-9 those of the tetrahedron.
    """
    normals = np.concatenate([np.eye(3), np.eye(3), bell.correlators(np.eye(4))])
    triples = [t for t in combinations(range(10), 3) if abs(np.linalg.det(normals[list(t)])) > 0.5]
    chosen = np.array(triples, dtype=np.int64)
    return chosen, np.linalg.inv(normals[chosen])


def population_bounds(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats, Bools]:
    """Return (least ``(..., 4)``, most ``(..., 4)``, whether any state fits ``(...)``).

    Where no state fits nothing is promised: the bounds are 0 and 1.

    >>> least, most, fits = population_bounds([0.9, 0.9, 0.9], [1.0, 1.0, 1.0])
    >>> least.round(4).tolist(), most.round(4).tolist(), fits.item()
    ([0.925, 0.0, 0.0, 0.0], [1.0, 0.05, 0.05, 0.05], True)
    """
    points, corner = corners(low, high)
    weights = np.clip(bell.populations(points), 0.0, 1.0)
    least = np.where(corner[..., None], weights, 1.0).min(axis=-2)
    most = np.where(corner[..., None], weights, 0.0).max(axis=-2)
    fits: Bools = np.asarray(corner.any(axis=-1))
    return np.where(fits[..., None], least, 0.0), np.where(fits[..., None], most, 1.0), fits


def entropy_bounds(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """Return the (least, most) entropy in bits of the populations in a box, each ``(...)``.

    The entropy is concave, so it is least at a corner. It is largest where each correlator sits at
    one of its bounds or does not constrain: then the largest entropy makes it the product of the
    two others (bit flips and phase flips are independent), or 0 where two or three are free. These
    27 points hold the maximum. Where no state fits the bounds are 0 and 2.

    >>> least, most = entropy_bounds([-1.0, -1.0, 0.5], [1.0, 1.0, 0.5])
    >>> least.round(4).item(), most.round(4).item()  # h(0.25), and one bit more
    (0.8113, 1.8113)
    """
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    points, corner = corners(lo, hi)
    least = np.where(corner, entropy(bell.populations(points)), np.inf).min(axis=-1)
    most = np.full(lo.shape[:-1], -np.inf)
    for choice in product((0, 1, 2), repeat=3):
        c = np.stack([_at(lo, hi, choice, axis) for axis in range(3)], axis=-1)
        weights = bell.populations(c)
        fits = ((c >= lo - _SLACK) & (c <= hi + _SLACK)).all(axis=-1)
        fits &= (weights >= -_SLACK).all(axis=-1)
        most = np.maximum(most, np.where(fits, entropy(weights), -np.inf))
    return np.where(np.isinf(least), 0.0, least), np.where(np.isinf(most), 2.0, most)


def _at(low: Floats, high: Floats, choice: tuple[int, ...], axis: int) -> Floats:
    """Return a correlator at its lower (0) or upper (1) bound, or where it is free (2)."""
    if choice[axis] < 2:
        return (low, high)[choice[axis]][..., axis]
    others = [a for a in range(3) if a != axis]
    if 2 in (choice[others[0]], choice[others[1]]):
        return np.zeros(low.shape[:-1])
    value: Floats = _at(low, high, choice, others[0]) * _at(low, high, choice, others[1])
    return value
