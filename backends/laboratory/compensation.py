"""Finds the voltages of a polarisation controller that bring a Bell state back, from counts only.

A squeezer that retards by ``phi`` turns the Poincare sphere, so each correlator, and their sum, is
``a + b cos phi + c sin phi`` in the retardance of one squeezer while the others rest, whatever the
fibre does. Three points tell where that is largest; squeezers are taken in turn (coordinate search
on sinusoids: Nakanishi, Fujii and Todo, Phys. Rev. Research 2, 043158, 2020; Ostaszewski, Grant and
Benedetti, Quantum 5, 391, 2021). No derivative and no model of the fibre is needed, and the voltage
of half a wave only roughly. ``<XX> + <ZZ>`` is largest where the fibre is undone altogether, so two
bases are enough.

The search asks and is told; it does no I/O of its own.
"""

import math
from dataclasses import dataclass, field

__all__ = ["BASES_LOOKED_AT", "Compensation", "Probe", "within"]

Voltages = tuple[float, float, float, float]

#: Bases of the search: numbers of ``quantum.bell.BASES``.
BASES_LOOKED_AT = (2, 0)

#: Sweeps over the four squeezers before a fresh start is drawn, and starts before giving up.
_SWEEPS = 5
_STARTS = 4

#: Where fresh starts stand, in half waves of each squeezer: far apart, and none at a rail.
_FRESH = (
    (0.5, 0.0, -0.5, 0.0),
    (0.0, 0.5, 0.5, -0.5),
    (-0.5, -0.5, 0.0, 0.5),
)


@dataclass(frozen=True)
class Probe:
    """Count in a basis at these voltages."""

    basis: int
    voltages_mv: Voltages


def within(voltages_mv: Voltages, half_wave_mv: float, range_mv: float) -> Voltages:
    """Bring voltages near zero by whole waves: a squeezer at its rail unwinds.

    >>> within((4000.0, -3500.0, 0.0, 100.0), 1500.0, 5000.0)
    (1000.0, -500.0, 0.0, 100.0)
    """
    wave = 2.0 * half_wave_mv
    a, b, c, d = (
        min(range_mv, max(-range_mv, v - wave * math.floor(v / wave + 0.5))) for v in voltages_mv
    )
    return (a, b, c, d)


@dataclass
class Compensation:
    """One search: ask :attr:`probe`, count, :meth:`tell` the correlator, until :attr:`done`.

    ``reached`` is the mean correlator at which it may stop. ``best`` is where to leave the
    controller, ``best_mean`` what was seen there.
    """

    start_mv: Voltages
    half_wave_mv: float
    range_mv: float
    reached: float
    probe: Probe | None = None
    best: Voltages = (0.0, 0.0, 0.0, 0.0)
    best_mean: float = -1.0
    probes: int = 0
    _seen: dict[tuple[int, int], float] = field(default_factory=dict)
    _at: Voltages = (0.0, 0.0, 0.0, 0.0)
    _squeezer: int = 0
    _sweep: int = 0
    _starts: int = 1
    _last: float = -1.0
    _first_basis: int = 0
    _tops: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._at = within(self.start_mv, self.half_wave_mv, self.range_mv)
        self.best = self._at
        self.probe = self._next()

    @property
    def done(self) -> bool:
        """Whether the search is over."""
        return self.probe is None

    def tell(self, correlator: float) -> None:
        """Take the correlator that was counted for :attr:`probe`, from -1 to 1."""
        assert self.probe is not None, "the search is over"
        if not -1.0 <= correlator <= 1.0:
            raise ValueError(f"a correlator is from -1 to 1, got {correlator}")
        self.probes += 1
        place = next(k for k in self._order() if k not in self._seen)
        self._seen[place] = correlator
        if len(self._seen) == 6:
            self._conclude()
        else:
            self.probe = self._next()

    def _order(self) -> list[tuple[int, int]]:
        """(basis place, step) of the six points of a squeezer: one change of basis each time."""
        first = self._first_basis
        return [(b, s) for b in (first, 1 - first) for s in (0, -1, 1)]

    def _next(self) -> Probe:
        basis, step = next(k for k in self._order() if k not in self._seen)
        return Probe(BASES_LOOKED_AT[basis], self._moved(step * self.half_wave_mv * 2.0 / 3.0))

    def _moved(self, by_mv: float) -> Voltages:
        moved = list(self._at)
        moved[self._squeezer] += by_mv
        a, b, c, d = moved
        return within((a, b, c, d), self.half_wave_mv, self.range_mv)

    def _conclude(self) -> None:
        """Three points a third of a wave apart: amplitude and phase of the sinusoid, exactly."""
        low, mid, high = ((self._seen[0, step] + self._seen[1, step]) / 2.0 for step in (-1, 0, 1))
        level = (low + mid + high) / 3.0
        cosine = (2.0 * mid - low - high) / 3.0
        sine = (high - low) / math.sqrt(3.0)
        top = level + math.hypot(cosine, sine)
        self._at = self._moved(math.atan2(sine, cosine) / math.pi * self.half_wave_mv)
        if top > self.best_mean:
            self.best, self.best_mean = self._at, top
        self._seen.clear()
        self._first_basis = 1 - self._first_basis
        self._squeezer = (self._squeezer + 1) % 4
        self.probe = self._next() if self._goes_on(top) else None

    def _goes_on(self, top: float) -> bool:
        if top >= self.reached:
            return False
        if self._squeezer != 0:
            return True
        self._sweep += 1
        stalled = self._sweep > 1 and top < self._last + 0.01
        self._last = top
        if self._sweep < _SWEEPS and not stalled:
            return True
        # Two starts that end alike have found the top: what is missing is not polarisation.
        same = abs(self.best_mean - self._tops[-1]) < 0.03 if self._tops else False
        self._tops.append(top)
        if self._starts >= _STARTS or (same and abs(top - self.best_mean) < 0.03):
            return False
        a, b, c, d = (h * self.half_wave_mv for h in _FRESH[self._starts - 1])
        self._at = within((a, b, c, d), self.half_wave_mv, self.range_mv)
        self._starts += 1
        self._sweep, self._last = 0, -1.0
        return True
