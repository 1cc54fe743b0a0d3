"""Single-photon detectors: efficiency and dark counts by bias, dead time, afterpulses, latching.

The numbers are those of superconducting nanowires: a plateau of efficiency below the switching
current, dark counts that grow exponentially with the bias (Natarajan, Tanner and Hadfield,
Supercond. Sci. Technol. 25, 063001, 2012). Dead time is non-paralysable, with the mean-rate formula
m = r / (1 + r tau) (Knoll, *Radiation Detection and Measurement*, ch. 4).
"""

import math
from typing import Annotated

import msgspec

__all__ = ["DetectorSetup", "counted_hz", "efficiency", "noise_hz", "shown_share"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]

#: Widths of the two soft edges, as shares of the currents and levels where they stand.
_EDGE = 0.04


class DetectorSetup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One detector. Rates are those at the bias ``bias_ua``."""

    efficiency: Share = 0.8
    dark_hz: Rate = 100.0
    dead_time_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e-3)] = 40e-9
    afterpulse: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.0
    """Chance that a counted pulse is followed by another one that no photon made."""
    bias_ua: Positive = 20.0
    """Where the detector is meant to work, and where it stands when nothing drives it."""
    switching_ua: Positive = 25.0
    """Above this bias it latches at once."""
    plateau_ua: Positive = 14.0
    """Where the efficiency has half of its final value."""
    dark_scale_ua: Positive = 2.0
    """Dark counts grow by e for so much more bias."""
    latch_hz: Positive = 2e7
    """Rate of counts at which it latches at ``bias_ua``."""
    pulse_mv: Positive = 300.0
    """Height of its pulses."""
    noise_mv: Positive = 15.0
    """Deviation of the amplifier's noise: a trigger level inside it counts noise."""
    trigger_mv: float = 100.0


def efficiency(setup: DetectorSetup, bias_ua: float) -> float:
    """Return the chance that a photon makes a pulse; 1/2 of the final value at ``plateau_ua``."""
    if bias_ua <= 0.0:
        return 0.0

    def edge(current: float) -> float:
        return 1.0 / (1.0 + math.exp(-(current / setup.plateau_ua - 1.0) / _EDGE))

    return min(1.0, setup.efficiency * edge(bias_ua) / edge(setup.bias_ua))


def noise_hz(setup: DetectorSetup, bias_ua: float, trigger_mv: float) -> float:
    """Return the rate of pulses that no photon made: dark counts, and noise above the trigger."""
    dark = 0.0
    if bias_ua > 0.0:
        dark = setup.dark_hz * math.exp((bias_ua - setup.bias_ua) / setup.dark_scale_ua)
    # Rice: noise of bandwidth 1 GHz crosses a level so often.
    level = abs(trigger_mv) / setup.noise_mv
    return dark + (1e9 * math.exp(-0.5 * level * level) if level < 9.0 else 0.0)


def shown_share(setup: DetectorSetup, trigger_mv: float) -> float:
    """Return the share of pulses that are above the trigger level."""
    height = (1.0 - abs(trigger_mv) / setup.pulse_mv) / _EDGE
    return 1.0 / (1.0 + math.exp(-min(60.0, max(-60.0, height))))


def counted_hz(setup: DetectorSetup, incident_hz: float) -> float:
    """Return the mean rate of counts of pulses that come at ``incident_hz``.

    Afterpulses follow counted pulses, and afterpulses: 1 / (1 - p) in all.

    >>> round(counted_hz(DetectorSetup(dead_time_s=1e-6), 1e6))
    500000
    """
    rate = incident_hz / (1.0 - setup.afterpulse)
    return rate / (1.0 + rate * setup.dead_time_s)
