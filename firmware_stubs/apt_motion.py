"""How an axis moves from here to there: speed up, hold, slow down.

Pure functions of time; degrees, degrees per second, seconds.
"""

import math
from dataclasses import dataclass

__all__ = ["Braking", "Move"]


@dataclass(frozen=True)
class Move:
    """A move that begins and ends at rest: a trapezoid of speed, or a triangle where it is short.

    >>> move = Move(10.0, 40.0, since_s=0.0, velocity=10.0, acceleration=10.0)
    >>> move.ends_s, move.position(1.0), move.position(2.0), move.position(99.0)
    (4.0, 15.0, 25.0, 40.0)
    """

    start_deg: float
    target_deg: float
    since_s: float
    velocity: float
    acceleration: float

    @property
    def _ramp_s(self) -> float:
        distance = abs(self.target_deg - self.start_deg)
        return min(self.velocity / self.acceleration, math.sqrt(distance / self.acceleration))

    @property
    def ends_s(self) -> float:
        """When the target is reached."""
        distance = abs(self.target_deg - self.start_deg)
        top = self._ramp_s * self.acceleration
        return self.since_s + self._ramp_s + (distance / top if top > 0.0 else 0.0)

    def position(self, now_s: float) -> float:
        """Return where the axis is."""
        if now_s >= self.ends_s:
            return self.target_deg
        since, ramp = max(0.0, now_s - self.since_s), self._ramp_s
        left = self.ends_s - max(now_s, self.since_s)
        if since < ramp:
            gone = 0.5 * self.acceleration * since**2
        elif left < ramp:
            gone = abs(self.target_deg - self.start_deg) - 0.5 * self.acceleration * left**2
        else:
            gone = self.acceleration * ramp * (since - 0.5 * ramp)
        return self.start_deg + math.copysign(gone, self.target_deg - self.start_deg)

    def speed(self, now_s: float) -> float:
        """Return the signed speed."""
        since, left = now_s - self.since_s, self.ends_s - now_s
        if since < 0.0 or left < 0.0:
            return 0.0
        size = self.acceleration * min(since, left, self._ramp_s)
        return math.copysign(size, self.target_deg - self.start_deg)


@dataclass(frozen=True)
class Braking:
    """An axis that slows down from a speed and comes to rest.

    >>> Braking(10.0, -20.0, since_s=0.0, acceleration=10.0).position(99.0)
    -10.0
    """

    start_deg: float
    speed_at_start: float
    since_s: float
    acceleration: float

    @property
    def ends_s(self) -> float:
        """When it rests."""
        return self.since_s + abs(self.speed_at_start) / self.acceleration

    def position(self, now_s: float) -> float:
        """Return where the axis is."""
        t = max(0.0, min(now_s, self.ends_s) - self.since_s)
        brake = math.copysign(self.acceleration, self.speed_at_start)
        return self.start_deg + self.speed_at_start * t - 0.5 * brake * t**2

    def speed(self, now_s: float) -> float:
        """Return the signed speed."""
        left = max(0.0, self.ends_s - max(now_s, self.since_s))
        return math.copysign(self.acceleration * left, self.speed_at_start)
