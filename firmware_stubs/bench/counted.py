"""What a counting instrument needs of a bench, whichever bench it is."""

from typing import Protocol

import numpy as np

from firmware_stubs.bench.modulated import Drift, Events, Optics

__all__ = ["CountedBench"]


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

    def gated(
        self,
        events: Events,
        first: int,
        second: int,
        low_ps: float,
        high_ps: float,
        rng: np.random.Generator,
    ) -> int:
        """Count events of detector ``first`` that come so long after ``second``."""

    def inside(self, low_ps: float, high_ps: float, alice_first: bool) -> float:
        """Return the share of true pairs, of those drawn last, whose difference is in the gate."""

    def truth(self, time_s: float, gate_ps: float) -> dict[str, float | list[float]]:
        """Return the hidden truth: for tests and the control socket only."""
