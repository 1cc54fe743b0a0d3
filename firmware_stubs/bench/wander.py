"""What does not stand still: Ornstein-Uhlenbeck processes, and fibres that turn polarisation.

Steps are drawn in keyed blocks, so the value at a time does not depend on when it was asked for.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.polarisation import Complex, rotation
from quantum.seeding import generator

__all__ = ["STEP_S", "Fibre", "Jump", "Wander"]

Floats = NDArray[np.float64]

#: Bench time between two steps, and steps that are drawn together.
STEP_S = 0.05
_BLOCK = 256


@dataclass
class Wander:
    """A stationary-free OU process that starts at 0: ``size`` per sqrt(s), relaxing in a time."""

    seed: int
    name: str
    size_per_sqrt_s: float
    relax_s: float
    _path: list[float] = field(default_factory=lambda: [0.0])

    def at(self, time_s: float) -> float:
        """Return the value at a time; 0 before the beginning."""
        if self.size_per_sqrt_s == 0.0 or time_s <= 0.0:
            return 0.0
        step = int(time_s / STEP_S)
        keep = math.exp(-STEP_S / self.relax_s)
        kick = self.size_per_sqrt_s * math.sqrt(self.relax_s / 2.0 * (1.0 - keep * keep))
        while len(self._path) <= step:
            block = (len(self._path) - 1) // _BLOCK
            last = self._path[-1]
            for draw in generator(self.seed, self.name, block).normal(size=_BLOCK).tolist():
                last = keep * last + kick * draw
                self._path.append(last)
        return self._path[step]


@dataclass(frozen=True)
class Jump:
    """A sudden turn of a fibre, about a vector on the Poincare sphere, at a bench time."""

    at_s: float
    turn_rad: tuple[float, float, float]


@dataclass
class Fibre:
    """A random walk on SU(2) that starts at a random unitary (or at none: ``straight``).

    ``walk_rad_per_sqrt_s`` is the deviation of each component of the turn on the Poincare sphere.
    By day the walk is faster: its variance swings by ``day_share`` with ``day_s`` as period.
    """

    seed: int
    name: str
    walk_rad_per_sqrt_s: float = 0.0
    day_share: float = 0.0
    day_s: float = 86_400.0
    straight: bool = False
    jumps: list[Jump] = field(default_factory=list)
    _path: list[Complex] = field(default_factory=list)

    def at(self, time_s: float) -> Complex:
        """Return the Jones matrix (2, 2) at a time."""
        if not self._path:
            first = np.eye(2, dtype=np.complex128)
            if not self.straight:
                first = _uniform(generator(self.seed, self.name, "start"))
            self._path.append(first)
        here = self._path[self._reach(time_s)]
        for jump in self.jumps:
            if jump.at_s <= time_s:
                here = rotation(np.array(jump.turn_rad)) @ here
        return here

    def _reach(self, time_s: float) -> int:
        if self.walk_rad_per_sqrt_s == 0.0 or time_s <= 0.0:
            return 0
        step = int(time_s / STEP_S)
        while len(self._path) <= step:
            begin = len(self._path) - 1
            draws = generator(self.seed, self.name, begin // _BLOCK).normal(size=(_BLOCK, 3))
            times = (begin + np.arange(_BLOCK)) * STEP_S
            pace = 1.0 + self.day_share * np.sin(2.0 * np.pi * times / self.day_s)
            draws *= (self.walk_rad_per_sqrt_s * np.sqrt(STEP_S * pace))[:, None]
            last = self._path[-1]
            for draw in draws:
                last = rotation(draw) @ last
                self._path.append(last)
        return step


def _uniform(rng: np.random.Generator) -> Complex:
    """Draw a unitary from the Haar measure (a unit quaternion)."""
    a, b, c, d = rng.normal(size=4)
    size = math.sqrt(a * a + b * b + c * c + d * d)
    return (
        np.array([[a + 1j * b, c + 1j * d], [-c + 1j * d, a - 1j * b]], dtype=np.complex128) / size
    )
