"""Polarisation by Jones calculus: plates, squeezed fibres, and two photons at once.

Conventions. The computational basis is (H, V); D = (H + V)/sqrt 2 and R = (H + i V)/sqrt 2 are the
+1 states of X and Y. A plate whose fast axis stands at ``angle`` from H delays the slow axis by its
retardance. Angles are degrees, positive from H towards D. All matrices are unitary, shape (2, 2),
and their overall phase has no meaning. Jones calculus: Hecht, *Optics*, ch. 8.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SQUEEZER_AXES_DEG",
    "analyser",
    "joint_chances",
    "rotation",
    "side_by_side",
    "squeezers",
    "twirled",
    "waveplate",
]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

#: Axes of the four squeezers of a fibre polarisation controller.
SQUEEZER_AXES_DEG = (0.0, 45.0, 0.0, 45.0)


def waveplate(retardance_rad: float, angle_deg: float) -> Complex:
    """Return the Jones matrix of a linear retarder.

    A half-wave plate at 22.5 degrees turns D into H:

    >>> half = waveplate(np.pi, 22.5)
    >>> np.abs(half @ np.array([1.0, 1.0]) / np.sqrt(2.0)).round(9).tolist()
    [1.0, 0.0]
    """
    twice = 2.0 * math.radians(angle_deg)
    c, s = math.cos(twice), math.sin(twice)
    half = retardance_rad / 2.0
    a, b = math.cos(half), -1j * math.sin(half)
    return np.array([[a + b * c, b * s], [b * s, a - b * c]], dtype=np.complex128)


@lru_cache(maxsize=4096)
def analyser(quarter_deg: float, half_deg: float) -> Complex:
    """Return what light meets before the beam splitter: a quarter-wave, then a half-wave plate."""
    both: Complex = waveplate(math.pi, half_deg) @ waveplate(math.pi / 2.0, quarter_deg)
    both.setflags(write=False)
    return both


@lru_cache(maxsize=4096)
def squeezers(
    voltages_mv: tuple[float, float, float, float], half_wave_mv: float, offsets_rad: float = 0.0
) -> Complex:
    """Return what four squeezers do: each retards by pi for ``half_wave_mv``, axes alternating.

    ``offsets_rad`` is the retardance of each squeezer at rest.
    """
    total = np.eye(2, dtype=np.complex128)
    for voltage, axis in zip(voltages_mv, SQUEEZER_AXES_DEG, strict=True):
        total = waveplate(math.pi * voltage / half_wave_mv + offsets_rad, axis) @ total
    total.setflags(write=False)
    return total


def rotation(vector_rad: Floats) -> Complex:
    """Return exp(-i v.sigma / 2), a turn of the Poincare sphere about ``v`` (x, y, z), by |v|.

    >>> rotation(np.array([0.0, 0.0, np.pi])).round(9).tolist()
    [[-1j, 0j], [0j, 1j]]
    """
    x, y, z = (float(c) for c in vector_rad)
    angle = math.sqrt(x * x + y * y + z * z)
    c = math.cos(angle / 2.0)
    s = math.sin(angle / 2.0) / angle if angle > 0.0 else 0.0
    return np.array(
        [[c - 1j * z * s, -1j * (x - 1j * y) * s], [-1j * (x + 1j * y) * s, c + 1j * z * s]],
        dtype=np.complex128,
    )


def side_by_side(alice: Complex, bob: Complex) -> Complex:
    """Return the tensor product (4, 4) of two matrices (2, 2); faster than ``np.kron``."""
    return (alice[:, None, :, None] * bob[None, :, None, :]).reshape(4, 4)


def joint_chances(state: Complex, alice: Complex, bob: Complex) -> Floats:
    """Return the chances (2, 2) of outcomes, Alice (+, -) by Bob, of a state (4, 4), exactly.

    Each side meets its Jones matrix and then a polarising beam splitter: + is H.
    """
    both = side_by_side(alice, bob)
    chances: Floats = ((both @ state) * both.conj()).sum(axis=1).real.reshape(2, 2)
    return np.maximum(chances, 0.0)


def twirled(state: Complex, *, alice: bool, bob: bool) -> Complex:
    """Return a state (4, 4) after a uniformly random unitary on either side: a scrambler."""
    bits = state.reshape(2, 2, 2, 2)
    half = np.eye(2) / 2.0
    if alice:
        bits = np.einsum("ik,jl->ijkl", half, np.einsum("ajal->jl", bits))
    if bob:
        bits = np.einsum("jl,ik->ijkl", half, np.einsum("iaka->ik", bits))
    return np.ascontiguousarray(bits.reshape(4, 4)).astype(np.complex128)
