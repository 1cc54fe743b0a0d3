"""The ports of a stub that runs alone: just enough of a bench for its readings to make sense.

In a rack the shared bench takes their place. Every input of the switch carries light, detectors see
steady Poisson light, and a laser and a shutter keep what they are told.
"""

import math

import numpy as np

from quantum.seeding import generator

__all__ = ["LoneDetectors", "LoneLight", "LoneShutter", "LoneSwitch"]

DARK_DBM = -90.0
_LAUNCHED_DBM = -12.0
_LOSS_DB = 1.0

_LIGHT_HZ = 50_000.0
_DARK_HZ = 100.0
#: The efficiency of a nanowire rises with its bias and flattens before the switching current.
_HALF_BIAS_UA = 10.0
_SLOPE_UA = 2.0
_SWITCHING_UA = 30.0
#: A working nanowire has no resistance; a latched one is normal conducting.
_SERIES_OHM = 10.0
_LATCHED_OHM = 50_000.0


class LoneSwitch:
    """A :class:`firmware_stubs.ports.SwitchPort` with light at every input."""

    def __init__(self) -> None:
        self.outputs: dict[int, int] = {}

    def set_connections(self, outputs: dict[int, int], now_s: float) -> None:
        """Lead inputs to outputs."""
        self.outputs = dict(outputs)

    def power_dbm(self, port: int, is_output: bool, now_s: float) -> float:
        """Return the power at a port; inputs differ a little so that they can be told apart."""
        if not is_output:
            return _LAUNCHED_DBM - 0.01 * port
        for source, target in self.outputs.items():
            if target == port:
                return _LAUNCHED_DBM - 0.01 * source - _LOSS_DB
        return DARK_DBM


class LoneDetectors:
    """A :class:`firmware_stubs.ports.DetectorPort` in steady light.

    A detector latches above its switching current, and stays so until its bias is set to 0.
    """

    def __init__(self, seed: int, detectors: int = 4) -> None:
        self.detectors = detectors
        self._seed = seed
        self._bias_ua = np.zeros(detectors)
        self._latched = [False] * detectors
        self._asked = 0

    def set_bias_ua(self, detector: int, bias_ua: float, now_s: float) -> None:
        """Set a bias; above the switching current the detector latches."""
        self._bias_ua[detector] = bias_ua
        if bias_ua == 0.0:
            self._latched[detector] = False
        elif bias_ua > _SWITCHING_UA:
            self._latched[detector] = True

    def bias_voltage_mv(self, detector: int, now_s: float) -> float:
        """Return current times resistance."""
        ohm = _LATCHED_OHM if self._latched[detector] else _SERIES_OHM
        return float(self._bias_ua[detector]) * ohm * 1e-3

    def set_trigger_mv(self, detector: int, trigger_mv: float, now_s: float) -> None:
        """Pulses are taken to be far above any level."""

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count a stretch of time: Poisson, of light and dark counts."""
        bias_ua = float(self._bias_ua[detector])
        if bias_ua <= 0.0 or self._latched[detector]:
            return 0
        efficiency = 0.9 / (1.0 + math.exp((_HALF_BIAS_UA - bias_ua) / _SLOPE_UA))
        mean = (_LIGHT_HZ * efficiency + _DARK_HZ) * (end_s - begin_s)
        self._asked += 1
        return int(generator(self._seed, "lone-detector", self._asked).poisson(mean))


class LoneLight:
    """A :class:`firmware_stubs.ports.LightPort` that keeps what it is told."""

    def __init__(self) -> None:
        self._power_mw = 0.0

    def set_power_mw(self, power_mw: float, now_s: float) -> None:
        """Set the power."""
        self._power_mw = power_mw

    def power_mw(self, now_s: float) -> float:
        """Return the power."""
        return self._power_mw


class LoneShutter:
    """A :class:`firmware_stubs.ports.ShutterPort` whose interlock contact a test may open."""

    def __init__(self) -> None:
        self._open = False
        self.contact_closed = True

    def set_open(self, is_open: bool, now_s: float) -> None:
        """Open or close; an open contact keeps it closed."""
        self._open = is_open and self.contact_closed

    def is_open(self, now_s: float) -> bool:
        """Return whether light passes."""
        return self._open and self.contact_closed

    def interlock_closed(self, now_s: float) -> bool:
        """Return whether the contact allows light."""
        return self.contact_closed
