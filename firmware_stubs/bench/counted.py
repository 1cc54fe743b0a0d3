"""What a counting instrument needs of a bench, whichever bench it is."""

from typing import Protocol

import numpy as np

from firmware_stubs.bench.events import Events
from firmware_stubs.bench.modulated import Drift, Optics

__all__ = ["CountedBench", "gated"]


class CountedBench(Protocol):
    """A bench with four detectors: Alice +, Alice -, Bob +, Bob -. Times are bench time."""

    seed: int
    optics: Optics
    """Of the small bench; in a rack only ``settle_s`` means something, and it is 0."""
    drifts: list[Drift]
    added_skew_ps: float

    def events(
        self, begin_s: float, end_s: float, basis: int | None, rng: np.random.Generator
    ) -> Events:
        """Draw what the detectors see; a bench with waveplates does not look at ``basis``."""

    def inside(self, low_ps: float, high_ps: float, alice_first: bool) -> float:
        """Return the share of true pairs, of those drawn last, whose difference is in the gate."""

    def truth(self, time_s: float, gate_ps: float) -> dict[str, float | list[float]]:
        """Return the hidden truth: for tests and the control socket only."""


def gated(
    bench: CountedBench,
    events: Events,
    first: int,
    second: int,
    low_ps: float,
    high_ps: float,
    rng: np.random.Generator,
) -> int:
    """Count events of detector ``first`` that come ``low_ps`` to ``high_ps`` after ``second``.

    The events are those that the bench has drawn last; accidentals follow S1 S2 tau.
    """
    if high_ps <= low_ps or first == second:
        return 0
    true = 0
    if (first < 2) != (second < 2):
        alice, bob = (first, second - 2) if first < 2 else (second, first - 2)
        inside = bench.inside(low_ps, high_ps, first < 2)
        true = int(rng.binomial(int(events.pairs[alice, bob]), inside))
    flat_hz = events.rates_hz[first] * events.rates_hz[second] * (high_ps - low_ps) * 1e-12
    accidental = int(rng.poisson(flat_hz * events.seconds))
    return min(true + accidental, int(events.singles[first]), int(events.singles[second]))
