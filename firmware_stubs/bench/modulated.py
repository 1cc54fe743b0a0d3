"""The virtual optical bench that all stubs share: source, fibre, basis modulators, detectors.

A pair source emits a Bell-diagonal state; one photon of each pair goes to Alice, one to Bob. Behind
a fibre and a basis modulator each side has two detectors, so that a pair gives one of four
coincidences ++, +-, -+, --. In basis xx and zz phi_plus shows even parity, in yy odd parity
(:mod:`quantum.bell`). Instruments look at the bench through :meth:`Bench.events` and
:func:`firmware_stubs.bench.counted.gated`; nothing but tests and the control socket may read
:meth:`Bench.truth`.

Left out on purpose: afterpulses, crosstalk, multi-pair emission. Dead time is the non-paralysable
formula applied to mean rates.

Times are seconds of bench time. Inputs are numbered 0-3: Alice +, Alice -, Bob +, Bob -.
"""

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.events import Events, drawn, share_between
from quantum.bell import check_populations, fidelity, pass_probability, werner
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["EVEN_PASSES", "Bench", "Drift", "Events", "Optics"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Whether equal outcomes are what phi_plus shows, for bases xx, yy, zz.
EVEN_PASSES = (True, False, True)

#: Grid of the random walk, and points at which drift is sampled inside one stretch of time.
_WALK_STEP_S = 0.05
_POINTS = 8


class Optics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands on the bench. Defaults: a kilometre-scale photonic link in the laboratory."""

    rate_hz: float = 20_000.0
    """Pairs emitted per second."""
    fidelity: float = 0.93
    """To phi_plus at time zero."""
    bell_diagonal: tuple[float, float, float, float] | None = None
    """Populations (phi_plus, phi_minus, psi_plus, psi_minus); Werner of ``fidelity`` if absent."""
    transmission: tuple[float, float] = (0.5, 0.5)
    """From the source to Alice's and to Bob's detectors."""
    efficiency: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.8)
    dark_hz: tuple[float, float, float, float] = (100.0, 100.0, 100.0, 100.0)
    dead_time_s: float = 40e-9
    jitter_ps: float = 150.0
    """Standard deviation of the arrival-time difference of a pair."""
    skew_ps: float = 0.0
    """Mean arrival time at Alice minus that at Bob."""
    settle_s: float = 0.002
    """Wall time a basis modulator needs; until then outcomes are uncorrelated."""
    walk_per_sqrt_s: float = 0.0
    """Size of the Ornstein-Uhlenbeck walk of the fidelity; 0 is a steady source."""
    walk_relax_s: float = 60.0

    def check(self) -> "Optics":
        """Refuse values that no bench can have."""
        ranges: list[tuple[str, tuple[float, ...], float, float]] = [
            ("rate_hz", (self.rate_hz,), 0.0, 1e9),
            ("fidelity", (self.fidelity,), 0.0, 1.0),
            ("transmission", self.transmission, 0.0, 1.0),
            ("efficiency", self.efficiency, 0.0, 1.0),
            ("dark_hz", self.dark_hz, 0.0, 1e7),
            ("dead_time_s", (self.dead_time_s,), 0.0, 1e-3),
            ("jitter_ps", (self.jitter_ps,), 1e-3, 1e6),
            ("skew_ps", (self.skew_ps,), -1e9, 1e9),
            ("settle_s", (self.settle_s,), 0.0, 10.0),
            ("walk_per_sqrt_s", (self.walk_per_sqrt_s,), 0.0, 1.0),
            ("walk_relax_s", (self.walk_relax_s,), 1e-3, 1e9),
        ]
        for name, values, low, high in ranges:
            for value in values:
                if not low <= value <= high:
                    raise InputError(f"bench.{name} must be from {low:g} to {high:g}, got {value}")
        if self.bell_diagonal is not None:
            check_populations("bench.bell_diagonal", self.bell_diagonal)
        return self

    @property
    def populations(self) -> Floats:
        """Bell populations at time zero, shape (4,)."""
        if self.bell_diagonal is not None:
            return np.array(self.bell_diagonal, dtype=np.float64)
        return werner(self.fidelity)


@dataclass(frozen=True)
class Drift:
    """From ``at_s`` on the fidelity moves by ``step`` at once and by ``per_s`` for ``lasts_s``."""

    at_s: float
    step: float = 0.0
    per_s: float = 0.0
    lasts_s: float = math.inf

    def at(self, time_s: float) -> float:
        """Return what this drift adds to the fidelity at a time."""
        since = time_s - self.at_s
        return 0.0 if since < 0.0 else self.step + self.per_s * min(since, self.lasts_s)


@dataclass
class Bench:
    """The bench itself; ``skew_ps`` and ``drifts`` may be changed while it runs."""

    optics: Optics
    seed: int
    drifts: list[Drift] = field(default_factory=list)
    added_skew_ps: float = 0.0
    _walk: list[float] = field(default_factory=lambda: [0.0])

    def populations_at(self, time_s: float) -> Floats:
        """Return the populations (4,) at a time: phi_plus drifts, the others keep their ratios."""
        start = self.optics.populations
        best = float(start[0]) + sum(d.at(time_s) for d in self.drifts) + self._walk_at(time_s)
        best = min(1.0, max(0.25, best))
        rest = 1.0 - float(start[0])
        others = start[1:] / rest if rest > 0.0 else np.full(3, 1.0 / 3.0)
        return np.concatenate([[best], (1.0 - best) * others])

    def _walk_at(self, time_s: float) -> float:
        size = self.optics.walk_per_sqrt_s
        if size == 0.0:
            return 0.0
        keep = math.exp(-_WALK_STEP_S / self.optics.walk_relax_s)
        while len(self._walk) <= time_s / _WALK_STEP_S:
            kick = float(generator(self.seed, "walk", len(self._walk)).normal())
            self._walk.append(keep * self._walk[-1] + size * math.sqrt(_WALK_STEP_S) * kick)
        return self._walk[max(0, int(time_s / _WALK_STEP_S))]

    def rates(self) -> tuple[Floats, Floats]:
        """Return the chance (4,) that a photon aimed at a detector clicks, and singles in Hz (4,).

        Bell-diagonal states have uniform marginals: half of the photons of a side go each way.
        """
        o = self.optics
        reach = np.repeat(np.array(o.transmission), 2) * np.array(o.efficiency)
        clicks = 0.5 * o.rate_hz * reach + np.array(o.dark_hz)
        live = 1.0 / (1.0 + clicks * o.dead_time_s)
        return reach * live, clicks * live

    def outcome_chances(self, begin_s: float, end_s: float, basis: int | None) -> Floats:
        """Return the mean chances (2, 2) of a pair's outcomes, Alice by Bob; uniform off basis."""
        if basis is None:
            return np.full((2, 2), 0.25)
        times = begin_s + (np.arange(_POINTS) + 0.5) / _POINTS * (end_s - begin_s)
        passed = np.mean([pass_probability(self.populations_at(t))[basis] for t in times])
        even = passed if EVEN_PASSES[basis] else 1.0 - passed
        return np.array([[even, 1.0 - even], [1.0 - even, even]]) / 2.0

    def events(
        self, begin_s: float, end_s: float, basis: int | None, rng: np.random.Generator
    ) -> Events:
        """Draw what the detectors see in a stretch of time; ``basis`` None is an unsettled one."""
        seconds = end_s - begin_s
        reach, rates = self.rates()
        both = np.outer(reach[:2], reach[2:]) * self.outcome_chances(begin_s, end_s, basis)
        both_hz = self.optics.rate_hz * both
        return drawn(both_hz * seconds, rates * seconds, seconds, rng)

    def inside(self, low_ps: float, high_ps: float, alice_first: bool) -> float:
        """Return the share of true pairs whose time difference lies in the gate."""
        mean = self.optics.skew_ps + self.added_skew_ps
        return share_between(low_ps, high_ps, mean if alice_first else -mean, self.optics.jitter_ps)

    def truth(self, time_s: float, gate_ps: float) -> dict[str, float | list[float]]:
        """Return the hidden truth at a time: for tests and the control socket only.

        ``fidelity`` is that of the source; ``observable_fidelity`` is what a perfect experimenter
        with a gate of ``gate_ps`` around zero would measure, accidentals included.
        """
        state = self.populations_at(time_s)
        reach, rates = self.rates()
        inside = self.inside(-gate_ps / 2.0, gate_ps / 2.0, True)
        flat = np.outer(rates[:2], rates[2:]) * gate_ps * 1e-12
        passes = []
        for basis in range(3):
            chances = self.outcome_chances(time_s, time_s, basis)
            hz = self.optics.rate_hz * np.outer(reach[:2], reach[2:]) * chances * inside + flat
            even = float(np.trace(hz) / hz.sum()) if hz.sum() > 0.0 else 0.5
            passes.append(even if EVEN_PASSES[basis] else 1.0 - even)
        return {
            "time_s": time_s,
            "fidelity": float(fidelity(state)),
            "populations": state.tolist(),
            "pass_chances": passes,
            "observable_fidelity": (3.0 * float(np.mean(passes)) - 1.0) / 2.0,
            "skew_ps": self.optics.skew_ps + self.added_skew_ps,
        }
