"""The ports of :mod:`firmware_stubs.ports` on the shared bench: all that a stub gets to hold."""

import math

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.shared import SharedBench
from firmware_stubs.bench.tags import TagStream
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["Counting", "Detectors", "Meter", "Plate", "Pump", "Shutter", "Squeezer", "Switch"]

#: Voltage over a resistive detector, and what a superconducting one shows for each microampere.
_LATCHED_MV = 800.0
_MV_PER_UA = 0.05

_DARK_DBM = -90.0


class Plate:
    """One waveplate: 0 and 1 are Alice's quarter and half, 2 and 3 are Bob's."""

    def __init__(self, bench: SharedBench, plate: int) -> None:
        if not 0 <= plate <= 3:
            raise InputError(f"plate must be 0 to 3, got {plate}")
        self._bench, self._plate = bench, plate

    def set_angle_deg(self, angle_deg: float, now_s: float) -> None:
        """Turn the plate."""
        angles = list(self._bench.history.now.angles_deg)
        angles[self._plate] = angle_deg
        self._bench.history.change(now_s, angles_deg=tuple(angles))


class Squeezer:
    """The polarisation controller in Alice's fibre of a link."""

    def __init__(self, bench: SharedBench, link: int) -> None:
        if not 0 <= link < len(bench.setup.link):
            raise InputError(f"link must be 0 to {len(bench.setup.link) - 1}, got {link}")
        self._bench, self._link = bench, link

    def set_voltages_mv(self, voltages_mv: tuple[float, float, float, float], now_s: float) -> None:
        """Squeeze the fibre."""
        all_mv = list(self._bench.history.now.voltages_mv)
        a, b, c, d = (float(v) for v in voltages_mv)
        all_mv[self._link] = (a, b, c, d)
        self._bench.history.change(now_s, voltages_mv=tuple(all_mv))

    def set_scrambling(self, scrambling: bool, now_s: float) -> None:
        """Randomise the polarisation all the time, or stop doing so."""
        on = list(self._bench.history.now.scrambling)
        on[self._link] = scrambling
        self._bench.history.change(now_s, scrambling=tuple(on))


class Switch:
    """The optical switch; inputs and outputs are both numbered from 0."""

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench

    def set_connections(self, outputs: dict[int, int], now_s: float) -> None:
        """Lead inputs to outputs; a connection that stays is not interrupted."""
        old = {(i, o): since for i, o, since in self._bench.history.now.routes}
        routes = tuple((i, o, old.get((i, o), now_s)) for i, o in sorted(outputs.items()))
        self._bench.history.change(now_s, routes=routes)

    def power_dbm(self, port: int, is_output: bool, now_s: float) -> float:
        """Return the power at a port: that of a lit fibre, less the loss of the switch."""
        setup, knobs = self._bench.setup, self._bench.history.at(now_s)
        if knobs.pump_mw <= 0.0:
            return _DARK_DBM
        lit = {p for link in range(len(setup.link)) for p in setup.inputs(link)}
        level = setup.tracer_dbm + 10.0 * math.log10(knobs.pump_mw / setup.pump_mw)
        if not is_output:
            return level if port in lit else _DARK_DBM
        astray = dict(knobs.misroutes)
        for entry, exit_, since_s in knobs.routes:
            settled = now_s >= since_s + setup.switch_settle_s
            if astray.get(entry, exit_) == port and entry in lit and settled:
                return level - setup.switch_loss_db
        return _DARK_DBM


class Detectors:
    """The four detectors and their driver's side."""

    detectors = 4

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench

    def set_bias_ua(self, detector: int, bias_ua: float, now_s: float) -> None:
        """Set a bias current; 0 makes a latched detector superconducting again."""
        knobs = self._bench.history.now
        bias, latched = list(knobs.bias_ua), list(knobs.latched)
        bias[detector] = bias_ua
        if bias_ua <= 0.0:
            latched[detector] = False
        self._bench.history.change(now_s, bias_ua=tuple(bias), latched=tuple(latched))
        self._bench.strain(now_s)

    def bias_voltage_mv(self, detector: int, now_s: float) -> float:
        """Return the voltage over a detector."""
        knobs = self._bench.history.at(now_s)
        if knobs.latched[detector]:
            return _LATCHED_MV
        return _MV_PER_UA * knobs.bias_ua[detector]

    def set_trigger_mv(self, detector: int, trigger_mv: float, now_s: float) -> None:
        """Set the level above which a pulse is counted."""
        levels = list(self._bench.history.now.trigger_mv)
        levels[detector] = trigger_mv
        self._bench.history.change(now_s, trigger_mv=tuple(levels))

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count what a detector puts out; the same stretch always gives the same number."""
        mean = sum(
            float(glow.counts_hz[detector]) * (b - a)
            for a, b, glow in self._bench.pieces(begin_s, end_s)
        )
        key = (detector, round(begin_s * 1e9), round(end_s * 1e9))
        count = int(generator(self._bench.seed, "clicks", *key).poisson(mean))
        self._bench.strain(end_s)
        return count


class Counting:
    """What a time tagger sees of the detectors."""

    detectors = 4

    def __init__(self, bench: SharedBench) -> None:
        self._detectors = Detectors(bench)
        self._tags = TagStream(bench)

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count the pulses of a detector in a stretch of time."""
        return self._detectors.clicks(detector, begin_s, end_s)

    def tags_ps(self, detector: int, begin_s: float, end_s: float) -> NDArray[np.uint64]:
        """Return sorted time tags of a detector, uint64 picoseconds."""
        return self._tags.tags_ps(detector, begin_s, end_s)


class Pump:
    """The pump laser of all sources."""

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench

    def set_power_mw(self, power_mw: float, now_s: float) -> None:
        """Set the power that reaches the shutter; 0 is dark."""
        self._bench.history.change(now_s, power_mw=max(0.0, power_mw))
        self._bench.strain(now_s)

    def power_mw(self, now_s: float) -> float:
        """Return the power of the laser, in front of the shutter."""
        return self._bench.history.at(now_s).power_mw


class Meter:
    """A power meter behind the shutter: nothing that it is told changes the light."""

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench

    def set_power_mw(self, power_mw: float, now_s: float) -> None:
        """Do nothing."""

    def power_mw(self, now_s: float) -> float:
        """Return the power behind the shutter."""
        return self._bench.history.at(now_s).pump_mw


class Shutter:
    """The shutter in the pump beam; an open interlock closes it."""

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench

    def set_open(self, is_open: bool, now_s: float) -> None:
        """Open or close the shutter; an open interlock keeps it closed."""
        allowed = is_open and self._bench.history.now.interlock_closed
        self._bench.history.change(now_s, shutter_open=allowed)

    def is_open(self, now_s: float) -> bool:
        """Return whether light passes."""
        knobs = self._bench.history.at(now_s)
        return knobs.shutter_open and knobs.interlock_closed

    def interlock_closed(self, now_s: float) -> bool:
        """Return whether the interlock contact allows light."""
        return self._bench.history.at(now_s).interlock_closed
