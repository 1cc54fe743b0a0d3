"""Driver of the Single Quantum WebSQ: bias currents and count rates of nanowire detectors.

Two sockets: JSON messages (port 12000) and lines of counts (port 12345). Nothing that is set is
acknowledged, so the driver sets a label and asks until it reads that value. A nanowire that has
latched counts nothing and shows a high bias voltage; taking its bias down and up again frees it.
"""

import time
from collections.abc import Callable
from typing import Any

from backends.drivers.capabilities import Identity, Rates
from backends.drivers.streams import Stream
from backends.drivers.websq_counts import CountLines, split_address
from backends.drivers.websq_labels import Labels, numbers
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["WebSQ"]

_PERIOD_S = (1e-3, 100.0)
_POLL_S = 0.02
#: Above this a nanowire cannot count: the answer is wrong.
_LARGEST_RATE_HZ = 1e9
#: How long an automatic calibration may take to say that it runs.
_AUTO_START_S = 1.0


class WebSQ:
    """The instrument at ``tcp://HOST:PORT[,COUNTS_PORT]``. Not for use by two threads.

    Bias currents outside ``bias_limits_ua`` and, where ``max_temperature_k`` is given, counts of
    detectors above that temperature are refused. A detector counts as latched where its voltage is
    above ``latched_mv`` while it counts nothing. ``tolerance_ua`` is how near a bias that is read
    must be to what was set, ``latency_s`` the delay that a line of counts has at least (see
    :mod:`backends.drivers.websq_counts`).
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 2.0,
        bias_limits_ua: tuple[float, float] = (0.0, 35.0),
        tolerance_ua: float = 0.05,
        latched_mv: float = 100.0,
        recover_s: float = 0.1,
        latency_s: float = 0.01,
        max_temperature_k: float | None = None,
        temperature_label: str = "Temperature",
        serial_label: str = "SerialNumber",
        stream: Stream | None = None,
        counts_stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        low, high = bias_limits_ua
        if not -1e3 <= low <= 0.0 <= high <= 1e3:
            raise InputError(
                f"bias_limits_ua must enclose 0 within -1000 to 1000, got {low}, {high}"
            )
        _check("tolerance_ua", tolerance_ua, 1e-6, 10.0)
        _check("latched_mv", latched_mv, 1e-3, 1e6)
        _check("recover_s", recover_s, 0.0, 60.0)
        _check("latency_s", latency_s, 0.0, 10.0)
        if (stream is None) != (counts_stream is None):
            raise InputError("stream and counts_stream are given together, or neither")
        control, counts = split_address(address)
        self.address = address
        self._limits_ua = bias_limits_ua
        self._tolerance_ua = tolerance_ua
        self._latched_mv = latched_mv
        self._recover_s = recover_s
        self._max_temperature_k = max_temperature_k
        self._temperature_label = temperature_label
        self._serial_label = serial_label
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._bias_ua: tuple[float, ...] | None = None
        self._proved = 0
        self.detectors = 0
        self._labels = Labels(control, timeout_s=timeout_s, stream=stream, clock=clock)
        self._counts = CountLines(
            counts, timeout_s=timeout_s, latency_s=latency_s, stream=counts_stream, clock=clock
        )
        try:
            self._prove()
        except DeviceError:
            self.close()
            raise

    def identify(self) -> Identity:
        """Return maker and model; the serial number where the instrument has a label for it."""
        self._prove()
        self._labels.refresh(("NumberOfDetectors",))
        serial = self._labels.values.get(self._serial_label, "unknown")
        if not isinstance(serial, str) or not 0 < len(serial) <= 80:
            raise DeviceProtocol(f"{self.address}: {self._serial_label} must be a short text")
        return Identity("Single Quantum", f"WebSQ x{self.detectors}", serial, "unknown")

    def ping(self) -> None:
        """Return when the instrument answers."""
        self.identify()

    def set_bias_ua(self, bias_ua: tuple[float, ...]) -> None:
        """Set all bias currents, and wait until they are read back.

        Raises :class:`DeviceLimit` outside the limits, :class:`DeviceError` where the instrument
        complains and :class:`DeviceTimeout` where it does not get there in time.
        """
        low, high = self._limits_ua
        if len(bias_ua) != self.detectors:
            raise DeviceLimit(f"bias_ua must be {self.detectors} currents, got {len(bias_ua)}")
        for value in bias_ua:
            if not low <= value <= high:
                raise DeviceLimit(f"bias_ua must be from {low:g} to {high:g}, got {value}")
        self._prove(own=False)
        self._bias_ua = None
        wanted = [float(value) for value in bias_ua]
        self._command("SetAllBiasCurrents", "BiasCurrent", wanted, self._tolerance_ua)
        self._bias_ua = tuple(wanted)

    def bias_ua(self) -> tuple[float, ...]:
        """Read all bias currents, whoever set them."""
        self._prove(own=False)
        return self._list("BiasCurrent")

    def bias_voltages_mv(self) -> tuple[float, ...]:
        """Read the voltages over all detectors."""
        self._prove(own=False)
        value = self._labels.request("BiasVoltage")
        return self._numbers("BiasVoltage", value)

    def set_trigger_mv(self, trigger_mv: tuple[float, ...]) -> None:
        """Set all trigger levels, and wait until they are read back."""
        if len(trigger_mv) != self.detectors:
            raise DeviceLimit(f"trigger_mv must be {self.detectors} levels, got {len(trigger_mv)}")
        for value in trigger_mv:
            if not -1000.0 <= value <= 1000.0:
                raise DeviceLimit(f"trigger_mv must be from -1000 to 1000, got {value}")
        self._prove(own=False)
        self._command("SetAllTriggerLevels", "TriggerLevel", [float(v) for v in trigger_mv], 0.5)

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable all detectors, and read it back."""
        self._prove(own=False)
        self._command("DetectorEnable", "DetectorEnable", bool(enabled), 0.0)

    def set_period_s(self, period_s: float) -> None:
        """Set the measurement period, and read it back."""
        if not _PERIOD_S[0] <= period_s <= _PERIOD_S[1]:
            raise DeviceLimit(
                f"period_s must be from {_PERIOD_S[0]:g} to {_PERIOD_S[1]:g}, got {period_s}"
            )
        self._prove(own=False)
        value = round(period_s * 1e3, 6)
        self._command("SetMeasurementPeriod", "InptMeasurementPeriod", value, 1e-6)

    def rates(self) -> Rates:
        """Wait for a full counting period that began after this call; takes two to three periods.

        Raises :class:`DeviceTimeout` where lines stop or only old ones come, and
        :class:`DeviceError` where the bias currents are no longer those that this driver set.
        """
        began_s = self._clock()
        self._prove()
        period_s = self._period_s()
        self._cold()
        row, arrived_s = self._counts.fresh(self.detectors, period_s)
        if max(row.counts) > _LARGEST_RATE_HZ * period_s:
            raise DeviceProtocol(
                f"{self.address}: {max(row.counts)} counts in {period_s:g} s cannot be"
            )
        self._prove()
        if self._period_s() != period_s:
            raise DeviceError(f"{self.address}: the measurement period was changed meanwhile")
        return Rates(
            hz=tuple(count / period_s for count in row.counts),
            period_s=period_s,
            not_before_s=began_s,
            not_after_s=arrived_s,
        )

    def latched(self) -> tuple[int, ...]:
        """Read which detectors (from 1) count nothing while their bias voltage is high."""
        hz = self.rates().hz
        volts = self.bias_voltages_mv()
        both = zip(hz, volts, strict=True)
        return tuple(
            n for n, (rate, mv) in enumerate(both, 1) if rate == 0.0 and abs(mv) > self._latched_mv
        )

    def recover(self, detector: int) -> None:
        """Take the bias of a detector to 0 and back; raise where its voltage stays high."""
        if not 1 <= detector <= self.detectors:
            raise DeviceLimit(f"detector must be from 1 to {self.detectors}, got {detector}")
        before = self.bias_ua()
        self.set_bias_ua(tuple(0.0 if n == detector else v for n, v in enumerate(before, 1)))
        self._sleep(self._recover_s)
        self.set_bias_ua(before)
        mv = self.bias_voltages_mv()[detector - 1]
        if abs(mv) > self._latched_mv:
            raise DeviceError(
                f"{self.address}: detector {detector} latched again: {mv:g} mV at "
                f"{before[detector - 1]:g} uA"
            )

    def calibrate_bias(
        self, dark_hz: tuple[float, ...], *, is_dark: bool, timeout_s: float = 120.0
    ) -> tuple[float, ...]:
        """Let the instrument find the bias currents (AutoIV) that give these dark count rates.

        No light may reach the detectors: the caller says so by ``is_dark``. Returns the currents
        that were found; where one is outside the limits, all are set to 0 and DeviceLimit raised.
        """
        if not is_dark:
            raise DeviceLimit("calibrate_bias needs darkness: close the shutter, give is_dark=True")
        if len(dark_hz) != self.detectors or not all(0.0 <= v <= 1e6 for v in dark_hz):
            raise DeviceLimit(f"dark_hz must be {self.detectors} rates from 0 to 1e6")
        self._prove(own=False)
        self._bias_ua = None
        self._command("DarkCountsAutoIV", "DarkCountsAutoIV", [float(v) for v in dark_hz], 1e-6)
        self._labels.say({"command": "AutoCaliBiasCurrents", "value": True})
        began_s, started = self._clock(), False
        while True:
            running = self._labels.request("StartAutoIV")
            if not isinstance(running, bool):
                raise DeviceProtocol(f"{self.address}: StartAutoIV must be true or false")
            started = started or running
            spent_s = self._clock() - began_s
            if not running and (started or spent_s > _AUTO_START_S):
                break
            if spent_s > timeout_s:
                raise DeviceTimeout(f"{self.address}: AutoIV runs for more than {timeout_s:g} s")
            self._sleep(_POLL_S)
        found = self._list("BiasCurrent")
        low, high = self._limits_ua
        if not all(low <= value <= high for value in found):
            self.safe_state()
            raise DeviceLimit(
                f"{self.address}: AutoIV found {found} uA, allowed is {low:g} to {high:g}: set to 0"
            )
        self._bias_ua = found
        return found

    def safe_state(self) -> None:
        """Take all bias currents to 0 and read them back."""
        self.set_bias_ua((0.0,) * self.detectors)

    def strike(self) -> float:
        """Write that all bias currents are zero; the instrument acknowledges nothing."""
        self._bias_ua = None
        zeros = [0.0] * self.detectors
        self._labels.say({"command": "SetAllBiasCurrents", "label": "BiasCurrent", "value": zeros})
        return time.monotonic()

    def close(self) -> None:
        """Release both connections; safe to call twice."""
        self._labels.close()
        self._counts.close()

    def _prove(self, *, own: bool = True) -> None:
        """Connect where needed; on a new connection, prove that it is the same instrument.

        With ``own`` the bias currents must still be those that this driver set.
        """
        self._labels.renew()
        if self._labels.opened != self._proved:
            seen = self._labels.refresh(("NumberOfDetectors", "BiasCurrent"))
            count = seen["NumberOfDetectors"]
            if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 256:
                raise DeviceProtocol(
                    f"{self.address}: NumberOfDetectors must be from 1 to 256, got {count!r:.40}"
                )
            if self.detectors not in (0, count):
                raise DeviceError(f"{self.address}: {count} detectors, before {self.detectors}")
            self.detectors = count
            self._proved = self._labels.opened
        if own and self._bias_ua is not None:
            seen_ua = self._list("BiasCurrent")
            if not self._near(list(seen_ua), list(self._bias_ua), self._tolerance_ua):
                self._bias_ua = None
                raise DeviceError(
                    f"{self.address}: bias currents are {seen_ua} uA, not what this driver set: "
                    "the instrument restarted, or another controller changed them"
                )

    def _command(self, command: str, label: str, value: Any, tolerance: float) -> None:
        """Set a label and ask until it has the value."""
        deadline_s = self._clock() + self._timeout_s
        self._labels.say({"command": command, "label": label, "value": value})
        while True:
            seen = self._labels.refresh((label,))[label]
            wrong = self._labels.complaints()
            if wrong:
                raise DeviceError(f"{self.address}: {command} was refused: {wrong}")
            if self._near(seen, value, tolerance):
                return
            if self._clock() > deadline_s:
                raise DeviceTimeout(
                    f"{self.address}: {label} was set to {value!r:.80} but reads {seen!r:.80} "
                    f"after {self._timeout_s:g} s"
                )
            self._sleep(_POLL_S)

    def _near(self, seen: Any, wanted: Any, tolerance: float) -> bool:
        if isinstance(wanted, bool):
            return seen is wanted
        if isinstance(wanted, list):
            pairs = zip(self._numbers("the label", seen), wanted, strict=True)
            return all(bool(abs(a - b) <= tolerance) for a, b in pairs)
        (value,) = self._numbers("the label", [seen], 1)
        return bool(abs(value - wanted) <= tolerance)

    def _period_s(self) -> float:
        value = self._labels.refresh(("InptMeasurementPeriod",))["InptMeasurementPeriod"]
        (period_ms,) = self._numbers("InptMeasurementPeriod", [value], 1)
        if not _PERIOD_S[0] <= period_ms * 1e-3 <= _PERIOD_S[1]:
            raise DeviceProtocol(f"{self.address}: InptMeasurementPeriod cannot be {period_ms} ms")
        return period_ms * 1e-3

    def _cold(self) -> None:
        if self._max_temperature_k is None:
            return
        label, limit = self._temperature_label, self._max_temperature_k
        (kelvin,) = self._numbers(label, [self._labels.refresh((label,))[label]], 1)
        if kelvin > limit:
            raise DeviceLimit(f"{self.address}: {kelvin:g} K is above max_temperature_k {limit:g}")

    def _list(self, label: str) -> tuple[float, ...]:
        return self._numbers(label, self._labels.refresh((label,))[label])

    def _numbers(self, label: str, value: Any, count: int | None = None) -> tuple[float, ...]:
        """Return numbers; who sends something else is out of step, and starts anew."""
        try:
            return numbers(self.address, label, value, count or self.detectors)
        except DeviceProtocol:
            self._labels.drop()
            raise


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{name} must be from {low:g} to {high:g}, got {value}")
