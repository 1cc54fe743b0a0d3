"""What two detectors behind a beam splitter, or one behind a fibre, make of photons.

A detector of efficiency ``eta`` is a lossless one behind a beam splitter of transmission ``eta``.
Where both detectors have the same efficiency this loss can be moved in front of the beam splitter
where photons meet, and so is counted in the transmission of each arm.
"""

import math
from typing import NamedTuple

from quantum.links.limits import at_least

__all__ = ["Alone", "Window", "alone", "dark_count_probability", "window"]


def dark_count_probability(rate_hz: float, window_s: float) -> float:
    """Return the chance of at least one dark count in a window: ``1 - exp(-rate window)``.

    >>> round(dark_count_probability(20.0, 30e-9) * 1e7, 4)
    6.0
    """
    at_least("dark_count_rate_hz", rate_hz, 0.0)
    at_least("window_s", window_s, 0.0)
    return -math.expm1(-rate_hz * window_s)


class Alone(NamedTuple):
    """Chance that one given detector of two counts alone, by the photons that reach it.

    No photon reaches the other detector; if one does, the chance is 0.
    """

    none: float
    one: float
    two: float


def alone(dark_count_probability: float, number_resolving: bool) -> Alone:
    """Return what a pair of detectors says when a window is heralded by exactly one of them.

    Each detector has at most one dark count in a window, independently. A threshold detector clicks
    when it has a photon or a dark count. A number-resolving one heralds if photons and dark counts
    together are exactly one.

    >>> alone(0.0, number_resolving=False)
    Alone(none=0.0, one=1.0, two=1.0)
    >>> alone(0.0, number_resolving=True)
    Alone(none=0.0, one=1.0, two=0.0)
    """
    dark, quiet = dark_count_probability, 1.0 - dark_count_probability
    if number_resolving:
        return Alone(dark * quiet, quiet * quiet, 0.0)
    return Alone(dark * quiet, quiet, quiet)


class Window(NamedTuple):
    """Chance that one given detector counts alone in a window, by who emitted a photon into it.

    ``coherence`` is the weight of |left emitted><right emitted|, positive for one detector and
    negative for the other.
    """

    nobody: float
    left: float
    right: float
    both: float
    coherence: float


def window(transmissions: tuple[float, float], visibility: float, heralds: Alone) -> Window:
    """Return the exact chances behind a balanced beam splitter, lost photons included.

    A photon of the left emitter goes to either detector with 1/2. Two photons go to the same given
    detector with (1 + V)/4 (Hong, Ou and Mandel, PRL 59, 2044, 1987), where ``visibility`` V is the
    squared overlap of their pure wave packets. One photon that may be of either emitter keeps the
    overlap itself, sqrt(V), as its coherence. A photon that is lost tells its environment who sent
    it: no coherence is left.
    """
    left, right = transmissions
    none, one, two = heralds
    arrived = left * right
    single = left * (1.0 - right) + right * (1.0 - left)
    return Window(
        nobody=none,
        left=left * one / 2.0 + (1.0 - left) * none,
        right=right * one / 2.0 + (1.0 - right) * none,
        both=arrived * two * (1.0 + visibility) / 4.0
        + single * one / 2.0
        + (1.0 - left) * (1.0 - right) * none,
        coherence=math.sqrt(arrived * visibility) * one / 2.0,
    )
