"""Polarisation-entangled photons of parametric down-conversion, from a source in the middle.

Pairs fly by and can only be measured. A nonlinear crystal makes not one pair but two entangled
mode pairs, each with a thermal number of photons: P(n) = (n + 1) lambda^n / (1 + lambda)^(n + 2)
for n pairs, mean 2 lambda (X. Ma, C.-H. F. Fung and H.-K. Lo, Phys. Rev. A 76, 012307, 2007).
Everything below is a closed form: only chances of *no* click are needed, and those of a two-mode
squeezed vacuum are rational functions.
"""

import math

import numpy as np

from quantum.errors import InputError
from quantum.links.fibre import Span
from quantum.links.heralded import Heralded
from quantum.links.limits import Sides, at_least, between, positive, probability, sides

__all__ = ["MOST_PAIRS", "Spdc", "SpdcContinuous", "coincidence"]

#: Pairs in a pulse or a window: more than sources make, and few enough to be squared.
MOST_PAIRS = 1e6
#: Beyond, pairs are Poissonian to all digits.
_MOST_MODES = 1e15


def coincidence(
    silent_left: float, silent_right: float, excess: float, visibility: float = 1.0
) -> tuple[float, float]:
    """Return (chance of a click on both sides, correlator) of a window.

    Each side has two detectors, for the two outcomes of its basis. ``silent_left`` is the *log* of
    the chance l that a given left detector is silent, ``silent_right`` the same of the right (r),
    and ``excess`` the log of s / (l r), where s is the chance that two detectors of correlated
    modes are both silent. Then

        Q = 1 - l^2 - r^2 + s^2 = (1 - l^2)(1 - r^2) + s^2 (1 - e^(-2 excess))
        c = 2 (s - l r) / Q = 2 s (1 - e^(-excess)) / Q

    where a side with both detectors clicking takes one outcome at random (squashing). The second
    forms lose no digits however rare coincidences are.

    >>> q, c = coincidence(math.log(0.5), math.log(0.5), math.log(2.0))  # s = 0.5
    >>> round(q, 12), round(c, 12)
    (0.75, 0.666666666667)
    """
    accidental = math.expm1(2.0 * silent_left) * math.expm1(2.0 * silent_right)
    silent = math.exp(silent_left + silent_right + excess)
    chance = accidental - silent * silent * math.expm1(-2.0 * excess)
    if chance <= 0.0:
        return 0.0, 0.0
    return min(1.0, chance), visibility * min(1.0, -2.0 * silent * math.expm1(-excess) / chance)


class _Source(Span, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pair source between two arms; detectors at the nodes.

    ``visibility`` is that of the source at vanishing pair number, 1 - 2 e_d with the error e_d of
    alignment; other fields as in :class:`quantum.links.station.Station`.
    """

    collection_efficiency: Sides = 1.0
    detector_efficiency: Sides = 1.0
    visibility: float = 1.0

    def __post_init__(self) -> None:
        Span.__post_init__(self)
        for field in ("collection_efficiency", "detector_efficiency", "visibility"):
            probability(field, getattr(self, field))

    @property
    def transmissions(self) -> tuple[float, float]:
        """Chance that a photon of a pair is counted: left, right."""
        left, right = (
            c * f * d
            for c, f, d in zip(
                sides(self.collection_efficiency),
                self.arm_transmissions,
                sides(self.detector_efficiency),
                strict=True,
            )
        )
        return left, right


class Spdc(
    _Source, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="model", tag="spdc"
):
    """A pulsed source.

    ``mean_pairs`` a pulse (2 lambda), ``repetition_hz`` of the pulses, ``dark_count_probability``
    of one detector in the window of one pulse. ``modes`` is the effective number of independent
    spectral and temporal modes that share the pairs: 1 is thermal, many are Poissonian.
    """

    mean_pairs: float
    repetition_hz: float
    dark_count_probability: Sides = 0.0
    modes: float = 1.0

    def __post_init__(self) -> None:
        _Source.__post_init__(self)
        positive("mean_pairs", self.mean_pairs)
        between("mean_pairs", self.mean_pairs, 0.0, MOST_PAIRS)
        positive("repetition_hz", self.repetition_hz)
        probability("dark_count_probability", self.dark_count_probability)
        between("modes", self.modes, 1.0, _MOST_MODES)

    def heralded(self) -> Heralded:
        """Return the chance of a coincidence per pulse and the state that the statistics show.

        A mode pair of mean lambda with transmissions x and y shows nothing with chance
        1 / (1 + lambda (x + y - x y)); a silent detector also has no dark count, which cancels in
        the excess. Yield and error are those of Ma, Fung and Lo, whose error leaves out that a dark
        count beside a photon makes the outcome random: c Q has a factor (1 - d) of each side.
        Every basis shows the same correlator (the source makes singlets, the correction is Y on
        the right qubit): a Werner state.
        """
        mean = self.mean_pairs / (2.0 * self.modes)
        left, right = self.transmissions
        either = left + right - left * right
        dark_left, dark_right = (_log_quiet(d) for d in sides(self.dark_count_probability))
        chance, correlator = coincidence(
            dark_left - self.modes * math.log1p(mean * left),
            dark_right - self.modes * math.log1p(mean * right),
            self.modes * math.log1p(mean * left * right * (1.0 + mean) / (1.0 + mean * either)),
            self.visibility,
        )
        return _photonic(
            chance,
            1.0 / self.repetition_hz,
            correlator,
            "pulsed SPDC: Ma, Fung and Lo, PRA 76, 012307 (2007)",
        )


class SpdcContinuous(
    _Source,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="spdc_continuous",
):
    """A source with a continuous pump: pairs at random times, found by coincidence.

    ``pair_rate_hz`` at the source, ``coincidence_window_s`` in all, ``dark_count_rate_hz`` of one
    of the two detectors of a side, ``jitter_fwhm_s`` of the time difference (both detectors, clocks
    and dispersion together). The window must be much longer than the coherence of the photons, so
    that pair numbers are Poissonian.
    """

    pair_rate_hz: float
    coincidence_window_s: float
    dark_count_rate_hz: Sides = 0.0
    jitter_fwhm_s: float = 0.0

    def __post_init__(self) -> None:
        _Source.__post_init__(self)
        positive("pair_rate_hz", self.pair_rate_hz)
        positive("coincidence_window_s", self.coincidence_window_s)
        at_least("dark_count_rate_hz", self.dark_count_rate_hz, 0.0)
        at_least("jitter_fwhm_s", self.jitter_fwhm_s, 0.0)
        pairs = self.pair_rate_hz * self.coincidence_window_s
        if not pairs <= MOST_PAIRS:
            raise InputError(
                "link.pair_rate_hz * coincidence_window_s must be at most "
                f"{MOST_PAIRS:g} pairs in a window, got {pairs:g}"
            )

    @property
    def singles_hz(self) -> tuple[float, float]:
        """Counts of each side: B eta + dark counts of two detectors."""
        left, right = (
            self.pair_rate_hz * eta + 2.0 * dark
            for eta, dark in zip(self.transmissions, sides(self.dark_count_rate_hz), strict=True)
        )
        return left, right

    @property
    def true_coincidences_hz(self) -> float:
        """Pairs with both photons counted in one window: B eta eta erf(sqrt(ln 2) tau / FWHM)."""
        left, right = self.transmissions
        seen = 1.0
        if self.jitter_fwhm_s > 0.0:
            seen = math.erf(
                math.sqrt(math.log(2.0)) * self.coincidence_window_s / self.jitter_fwhm_s
            )
        return self.pair_rate_hz * left * right * seen

    @property
    def accidentals_hz(self) -> float:
        """Coincidences of unrelated counts: S_left S_right tau."""
        left, right = self.singles_hz
        return left * right * self.coincidence_window_s

    def heralded(self) -> Heralded:
        """Return the chance of a coincidence per window and the state that the statistics show.

        One attempt is one window. Counts are Poissonian, so detectors are silent with exponentials
        of rates; where singles are rare in a window (S tau << 1) the rate is true coincidences +
        accidentals and the correlator true / (true + accidentals), as in S. P. Neumann et al.,
        Phys. Rev. A 104, 022406 (2021).
        """
        window = self.coincidence_window_s
        left, right = self.singles_hz
        chance, correlator = coincidence(
            -left * window / 2.0,
            -right * window / 2.0,
            self.true_coincidences_hz * window / 2.0,
            self.visibility,
        )
        return _photonic(
            chance,
            window,
            correlator,
            "continuous SPDC: Neumann et al., PRA 104, 022406 (2021)",
        )


def _log_quiet(dark: float) -> float:
    return -math.inf if dark == 1.0 else math.log1p(-dark)


def _photonic(chance: float, attempt_s: float, correlator: float, source: str) -> Heralded:
    state = np.diag([1.0, correlator, -correlator, correlator])
    return Heralded(chance, attempt_s, state, "photonic", source)
