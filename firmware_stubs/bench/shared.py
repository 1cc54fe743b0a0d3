"""The bench of a rack: what its instruments have set, over time, and what its detectors see.

Counts of a stretch of time are drawn from exact mean rates, piece by piece where a setting changed
or something wandered. Instruments that count (:class:`firmware_stubs.bench.counted.CountedBench`)
and the ports of :mod:`firmware_stubs.bench.ports` look at one and the same bench. Each instrument
draws its own counts: two that watch one detector agree in the mean, not click by click; time tags
(:mod:`firmware_stubs.bench.tags`) do agree among each other. All times are bench time.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.events import Events, drawn, share_between
from firmware_stubs.bench.knobs import History, Knobs
from firmware_stubs.bench.light import Glow, Sources
from firmware_stubs.bench.modulated import EVEN_PASSES, Drift, Optics
from firmware_stubs.bench.polarisation import analyser, joint_chances
from firmware_stubs.bench.setup import BenchSetup
from firmware_stubs.bench.wander import Jump
from quantum.bell import expectations_of

__all__ = ["ANALYSER_DEG", "SharedBench"]

Floats = NDArray[np.float64]

#: Quarter-wave and half-wave angles that measure xx, yy and zz.
ANALYSER_DEG = ((45.0, 22.5), (90.0, 22.5), (0.0, 0.0))

#: Longest stretch over which rates are taken to be constant, and most pieces of one stretch.
_PIECE_S = 0.1
_MOST_PIECES = 32


@dataclass
class SharedBench:
    """The bench of a rack; ``drifts`` (of the visibility) and skews may be added while it runs."""

    setup: BenchSetup
    seed: int
    drifts: list[Drift] = field(default_factory=list)
    added_skew_ps: float = 0.0
    optics: Optics = field(default_factory=lambda: Optics(settle_s=0.0))
    _link_seen: int = -1
    _seen_at_s: float = 0.0

    def __post_init__(self) -> None:
        setup = self.setup.check()
        self.sources = Sources(setup, self.seed)
        self.link_drifts: list[list[Drift]] = [[] for _ in setup.link]
        self.history = History(
            Knobs(
                angles_deg=(0.0,) * 4,
                voltages_mv=((0.0, 0.0, 0.0, 0.0),) * len(setup.link),
                scrambling=(False,) * len(setup.link),
                bias_ua=tuple(d.bias_ua for d in setup.detector),
                trigger_mv=tuple(d.trigger_mv for d in setup.detector),
                latched=(False,) * 4,
                power_mw=setup.pump_mw,
            )
        )

    def glow(self, time_s: float, knobs: Knobs | None = None) -> Glow:
        """Return the mean rates at a moment, exactly."""
        return self.sources.glow(knobs or self.history.at(time_s), time_s, self._lost(time_s))

    def pieces(self, begin_s: float, end_s: float) -> list[tuple[float, float, Glow]]:
        """Cut a stretch of time where a setting changed, and finer where things wander."""
        out = []
        for begin, end, knobs in self.history.stretches(begin_s, end_s):
            cuts = min(_MOST_PIECES, max(1, math.ceil((end - begin) / _PIECE_S)))
            for k in range(cuts):
                a = begin + (end - begin) * k / cuts
                b = begin + (end - begin) * (k + 1) / cuts
                out.append((a, b, self.glow((a + b) / 2.0, knobs)))
        return out

    def events(
        self, begin_s: float, end_s: float, basis: int | None, rng: np.random.Generator
    ) -> Events:
        """Draw what the detectors see; the plates decide what is measured, not ``basis``."""
        seconds = end_s - begin_s
        both, counts, most = np.zeros((2, 2)), np.zeros(4), 0.0
        self._link_seen, self._seen_at_s = -1, (begin_s + end_s) / 2.0
        glow = None
        for a, b, glow in self.pieces(begin_s, end_s):
            both += glow.both_hz * (b - a)
            counts += glow.counts_hz * (b - a)
            if glow.link >= 0 and b - a > most:
                self._link_seen, most = glow.link, b - a
        self.strain(end_s, glow if self.history.at(end_s) is self.history.now else None)
        return drawn(both, counts, seconds, rng)

    def inside(self, low_ps: float, high_ps: float, alice_first: bool) -> float:
        """Return the share of true pairs in a gate, for the link and time that were seen last."""
        if self._link_seen < 0:
            return 0.0
        mean = self.skew_ps(self._link_seen, self._seen_at_s)
        jitter_ps = self.setup.link[self._link_seen].jitter_ps
        return share_between(low_ps, high_ps, mean if alice_first else -mean, jitter_ps)

    def skew_ps(self, link: int, time_s: float) -> float:
        """Return the mean arrival at Alice's detectors minus that at Bob's."""
        drift = self.setup.clock_drift_ps_per_s * time_s
        return self.setup.link[link].skew_ps + self.added_skew_ps + drift

    def strain(self, now_s: float, glow: Glow | None = None) -> None:
        """Latch detectors that count too fast (as in ``glow``), or that are biased too high."""
        knobs = self.history.now
        counts = (glow or self.glow(now_s, knobs)).counts_hz
        latched = tuple(
            was or bias > d.switching_ua or (bias > 0.0 and rate > d.latch_hz)
            for was, bias, rate, d in zip(
                knobs.latched, knobs.bias_ua, counts.tolist(), self.setup.detector, strict=True
            )
        )
        self.history.change(now_s, latched=latched)

    def jump(self, link: int, arm: int, turn_rad: tuple[float, float, float], now_s: float) -> None:
        """Turn the polarisation of a fibre at once."""
        self.sources.fibres[link][arm].jumps.append(Jump(now_s, turn_rad))

    def link_truth(self, link: int, time_s: float, gate_ps: float) -> dict[str, Any]:
        """Return the hidden truth of one link with its controller as it stands.

        ``fidelity`` is that of the pairs in front of the analysers; ``observable_fidelity`` is what
        a perfect experimenter with a gate of ``gate_ps`` on the peak would measure through the
        detectors as they are, accidentals included.
        """
        knobs = self.history.at(time_s)
        state = self.sources.arrived(link, knobs, time_s, self._lost(time_s))
        table = expectations_of(state)
        entries = self.setup.inputs(link)
        routes = tuple((i, o, -math.inf) for i, o in zip(entries, self.setup.outputs, strict=True))
        passes = []
        for basis, (quarter, half) in enumerate(ANALYSER_DEG):
            plates = analyser(quarter, half)
            chances = joint_chances(state, plates, plates)
            glow = self.sources.glow(
                _looking(knobs, (quarter, half) * 2, routes), time_s, self._lost(time_s)
            )
            if glow.link == link and glow.both_hz.sum() > 0.0:
                width = gate_ps / (2.0 * math.sqrt(2.0) * self.setup.link[link].jitter_ps)
                flat = np.outer(glow.counts_hz[:2], glow.counts_hz[2:]) * gate_ps * 1e-12
                chances = glow.both_hz * math.erf(width) + flat
            even = float(np.trace(chances) / chances.sum()) if chances.sum() > 0.0 else 0.5
            passes.append(even if EVEN_PASSES[basis] else 1.0 - even)
        return {
            "link": link,
            "time_s": time_s,
            "fidelity": float((1.0 + table[1, 1] - table[2, 2] + table[3, 3]) / 4.0),
            "source_fidelity": self._source_fidelity(link, time_s),
            "pass_chances": passes,
            "observable_fidelity": (3.0 * float(np.mean(passes)) - 1.0) / 2.0,
            "skew_ps": self.skew_ps(link, time_s),
            "rate_hz": self.sources.rate_hz(link, knobs),
        }

    def truth(self, time_s: float, gate_ps: float) -> dict[str, float | list[float]]:
        """Return the truth of the link that the analysers look at, else of the first."""
        return self.link_truth(max(0, self.glow(time_s).link), time_s, gate_ps)

    def _source_fidelity(self, link: int, time_s: float) -> float:
        """Return what a perfect compensator would reach: the state before the fibres."""
        table = expectations_of(self.sources.state(link, time_s, self._lost(time_s)))
        # The best unitary on one side: singular values of the correlation matrix, det(+) kept.
        left, sizes, right = np.linalg.svd(table[1:, 1:] @ np.diag([1.0, -1.0, 1.0]))
        turned = float(np.linalg.det(left @ right))
        return float((1.0 + sizes[0] + sizes[1] + math.copysign(sizes[2], turned)) / 4.0)

    def _lost(self, time_s: float) -> list[float]:
        shared = sum(drift.at(time_s) for drift in self.drifts)
        own = [sum(drift.at(time_s) for drift in drifts) for drifts in self.link_drifts]
        return [-(shared + drift) for drift in own]


def _looking(
    knobs: Knobs, angles_deg: tuple[float, ...], routes: tuple[tuple[int, int, float], ...]
) -> Knobs:
    return replace(knobs, angles_deg=angles_deg, routes=routes, misroutes=())
