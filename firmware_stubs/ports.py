"""What the instruments of a rack may do to the optical bench, and see of it.

A stub is told its ports and nothing else of the bench: it turns a plate, it drives a fibre
squeezer, it counts clicks. What the light is really like stays inside the bench, so that no stub
can hand a driver what an instrument could not know.

All times are seconds of bench time. Detectors, switch ports and fibres are numbered from 0 here;
instruments that count from 1 translate.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CountingPort",
    "DetectorPort",
    "LightPort",
    "RotatorPort",
    "ShutterPort",
    "SqueezerPort",
    "SwitchPort",
]


class RotatorPort(Protocol):
    """One mount with a waveplate."""

    def set_angle_deg(self, angle_deg: float, now_s: float) -> None:
        """Turn the plate: called at every change of the axis, also while it moves."""


class SqueezerPort(Protocol):
    """One four-channel polarisation controller on a fibre."""

    def set_voltages_mv(self, voltages_mv: tuple[float, float, float, float], now_s: float) -> None:
        """Squeeze the fibre."""

    def set_scrambling(self, scrambling: bool, now_s: float) -> None:
        """Randomise the polarisation all the time, or stop doing so."""


class SwitchPort(Protocol):
    """The optical circuit switch: every input leads to one output at most."""

    def set_connections(self, outputs: dict[int, int], now_s: float) -> None:
        """Lead inputs to outputs (input -> output); all other ports are dark."""

    def power_dbm(self, port: int, is_output: bool, now_s: float) -> float:
        """Return the optical power at a port; -90 stands for darkness."""


class DetectorPort(Protocol):
    """The single-photon detectors of a rack."""

    detectors: int

    def set_bias_ua(self, detector: int, bias_ua: float, now_s: float) -> None:
        """Set a bias current; 0 switches the detector off, and a latched one recovers."""

    def bias_voltage_mv(self, detector: int, now_s: float) -> float:
        """Return the voltage over a detector: high where it has latched."""

    def set_trigger_mv(self, detector: int, trigger_mv: float, now_s: float) -> None:
        """Set the level above which a pulse is counted."""

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count what a detector puts out in a stretch of time."""


class CountingPort(Protocol):
    """What a time tagger sees of the detectors' pulses."""

    detectors: int

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count the pulses of a detector in a stretch of time."""

    def tags_ps(self, detector: int, begin_s: float, end_s: float) -> NDArray[np.uint64]:
        """Return sorted time tags of a detector as the tagger's own clock shows them, uint64."""


class LightPort(Protocol):
    """A pump laser or an attenuator in front of a source."""

    def set_power_mw(self, power_mw: float, now_s: float) -> None:
        """Set the power that reaches the source; 0 is dark."""

    def power_mw(self, now_s: float) -> float:
        """Return the power that a meter behind it would show."""


class ShutterPort(Protocol):
    """A shutter in the pump beam, with an interlock contact that the bench may open."""

    def set_open(self, is_open: bool, now_s: float) -> None:
        """Open or close the shutter."""

    def is_open(self, now_s: float) -> bool:
        """Return whether light passes."""

    def interlock_closed(self, now_s: float) -> bool:
        """Return whether the interlock contact allows light."""
