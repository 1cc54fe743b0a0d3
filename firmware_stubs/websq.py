"""Firmware stub of a Single Quantum WebSQ detector driver: JSON on port 12000, counts on 12345.

Clients send bare JSON objects; the instrument sends objects that end in 0x17 (ETB), several of them
glued now and then, and tells everybody of labels that change. No command is acknowledged; errors
are messages whose label contains ``Error``. Counts are lines ``<unix time>,<ch1>,<ch2>,...``, one a
measurement period (vendor's ``WebSQControl.py``, MIT, versions 2016 and 2020).

Open questions about the real instrument are fields of :class:`Switches`. Further assumptions: a set
command that is out of bounds changes nothing and sends an error; a change of the period begins a
new period.
"""

import json
import math
import time
from typing import Any, Literal

import msgspec

from firmware_stubs.lone_ports import LoneDetectors
from firmware_stubs.ports import DetectorPort
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station, run_station
from firmware_stubs.websq_sessions import ETB, ControlSession, CountsSession
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["FAULTS", "Line", "Switches", "WebSQ", "serve", "station"]

#: Faults of the instrument; ``number`` is a detector, counted from 1.
FAULTS = {
    "latch": "detector `number` latches; left = 1: once, else again after every recovery",
    "dark_counts": "detector `number` has ten times its dark counts",
    "warm": "the temperature rises to 4 K",
    "counts_stop": "no lines of counts leave",
    "bias_ignored": "bias commands are accepted, and nothing happens",
    "foreign_bias": "somebody sets all bias currents to `number` uA",
}

_LATCHED_MV = 1000.0
_COLD_K, _WARM_K = 2.5, 4.0
_MOST_LINES = 100


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not known about the instrument, or differs between versions."""

    detectors: int = 4
    serial: str = "STUB-{seed}"
    serial_label: str = "SerialNumber"
    temperature_label: str = "Temperature"
    etb: Literal["after", "between"] = "after"
    """Whether ETB ends every message or only stands between two."""
    glued: int = 2
    """How many messages are glued before an ETB where several leave together."""
    error_label: str = "Error"
    bias_bounds_ua: tuple[float, float] = (0.0, 50.0)
    bias_step_ua: float = 0.01
    bias_delay_s: float = 0.02
    auto_iv_s: float = 0.5
    auto_bias_ua: float = 18.0
    dark_hz: float = 100.0
    """What the fault ``dark_counts`` multiplies by ten."""
    stamp: Literal["end", "begin"] = "end"
    """Which moment of its period a line is stamped with."""
    clients: int = 4


class Line:
    """One of the two ports, as the loop sees it."""

    def __init__(self, instrument: "WebSQ", kind: type[ControlSession | CountsSession]) -> None:
        self.clients = instrument.switches.clients
        self._instrument = instrument
        self._kind = kind

    def connection(self) -> ControlSession | CountsSession:
        """Make the device of a new connection."""
        return self._kind(self._instrument)

    def power_cycle(self, now_s: float) -> None:
        """Restart the instrument; once is enough for both ports."""
        if self._kind is ControlSession:
            self._instrument.power_on(now_s)

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        return self._instrument.state() if self._kind is ControlSession else {}


class WebSQ:
    """The instrument without its sockets."""

    def __init__(
        self,
        port: DetectorPort,
        *,
        seed: int = 1,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
        unix_s: float | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(FAULTS)
        self.control_sessions: list[ControlSession] = []
        self.counts_sessions: list[CountsSession] = []
        self.detectors = min(self.switches.detectors, port.detectors)
        self._port = port
        self._seed = seed
        self._speed = speed
        self._unix_s = time.time() if unix_s is None else unix_s
        self._latched: set[int] = set()
        self.power_on(0.0)

    def power_on(self, now_s: float) -> None:
        """Begin with the settings of power-on: no bias."""
        n = self.detectors
        self._bias_ua = [0.0] * n
        self._trigger_mv = [100.0] * n
        self._dark_targets: list[float] = [100.0] * n
        self._enabled = True
        self._period_s = 0.1
        self._period_began_s = now_s
        self._auto_until_s: float | None = None
        self._waiting: list[tuple[float, list[float]]] = []
        self._latched.clear()
        self._drive(now_s)

    def state(self) -> dict[str, Any]:
        """Return the settings, by label."""
        return {label: self._value(label, 0.0) for label in self._labels()}

    def tick(self, now_s: float) -> float | None:
        """Do what is due; return when the next thing is."""
        while self._waiting and self._waiting[0][0] <= now_s:
            self._bias_ua = self._waiting.pop(0)[1]
            self._drive(now_s)
            self._broadcast("BiasCurrent", now_s)
        if self._auto_until_s is not None and now_s >= self._auto_until_s:
            self._auto_until_s = None
            self._bias_ua = [self.switches.auto_bias_ua] * self.detectors
            self._drive(now_s)
            self._broadcast("StartAutoIV", now_s)
            self._broadcast("BiasCurrent", now_s)
        foreign = self.faults.find("foreign_bias")
        if foreign is not None:
            self.faults.active.remove(foreign)
            self._bias_ua = [float(foreign.number or 0)] * self.detectors
            self._drive(now_s)
            self._broadcast("BiasCurrent", now_s)
        self._latch()
        for _ in range(_MOST_LINES):
            if self._period_began_s + self._period_s > now_s:
                break
            self._count()
        times = [self._period_began_s + self._period_s, *(at for at, _ in self._waiting)]
        return min(times if self._auto_until_s is None else [*times, self._auto_until_s])

    def carry_out(self, message: Any, now_s: float) -> list[dict[str, Any]]:
        """Carry out one message; return what answers it."""
        if isinstance(message, dict):
            if message.get("request") == "labelProps":
                return [
                    {"label": name, "value": self._props(name, now_s)} for name in self._labels()
                ]
            if message.get("request") in ("BiasVoltage", "StartAutoIV"):
                label = str(message["request"])
                return [{"label": label, "value": self._value(label, now_s)}]
            if isinstance(message.get("command"), str):
                wrong = self._command(message["command"], message.get("value"), now_s)
                return [self._error(wrong)] if wrong else []
        return [self._error("unknown message")]

    def framed(self, messages: list[dict[str, Any]]) -> bytes:
        """Write messages with their separators, glued as the switches say."""
        texts = [json.dumps(message).encode() for message in messages]
        step = max(1, self.switches.glued)
        groups = [b"".join(texts[at : at + step]) for at in range(0, len(texts), step)]
        end = ETB if self.switches.etb == "after" and groups else b""
        return ETB.join(groups) + end

    def _command(self, command: str, value: Any, now_s: float) -> str:
        """Carry out a command; return what is wrong with it, or nothing."""
        low, high = self.switches.bias_bounds_ua
        match command:
            case "SetAllBiasCurrents":
                if not self._is_list(value, low, high):
                    return f"BiasCurrent must be {self.detectors} numbers from {low} to {high}"
                if not self.faults.spend("bias_ignored"):
                    step = self.switches.bias_step_ua
                    wanted = [round(round(v / step) * step, 6) for v in value]
                    self._waiting.append((now_s + self.switches.bias_delay_s, wanted))
            case "SetAllTriggerLevels":
                if not self._is_list(value, -1000.0, 1000.0):
                    return f"TriggerLevel must be {self.detectors} numbers from -1000 to 1000"
                self._trigger_mv = [float(v) for v in value]
                self._drive(now_s)
                self._broadcast("TriggerLevel", now_s)
            case "SetMeasurementPeriod":
                if not _is_number(value) or not 1.0 <= value <= 100_000.0:
                    return "InptMeasurementPeriod must be from 1 to 100000"
                self._period_s, self._period_began_s = value * 1e-3, now_s
                self._broadcast("InptMeasurementPeriod", now_s)
            case "DetectorEnable":
                if not isinstance(value, bool):
                    return "DetectorEnable must be true or false"
                self._enabled = value
                self._drive(now_s)
                self._broadcast("DetectorEnable", now_s)
            case "DarkCountsAutoIV":
                if not self._is_list(value, 0.0, 1e9):
                    return f"DarkCountsAutoIV must be {self.detectors} numbers"
                self._dark_targets = [float(v) for v in value]
                self._broadcast("DarkCountsAutoIV", now_s)
            case "AutoCaliBiasCurrents":
                if value is True:
                    self._auto_until_s = now_s + self.switches.auto_iv_s
                    self._broadcast("StartAutoIV", now_s)
            case _:
                return "unknown command"
        return ""

    def _is_list(self, value: Any, low: float, high: float) -> bool:
        return (
            isinstance(value, list)
            and len(value) == self.detectors
            and all(_is_number(v) and low <= v <= high for v in value)
        )

    def _labels(self) -> list[str]:
        fixed = ["NumberOfDetectors", "InptMeasurementPeriod", "BiasCurrent", "BiasVoltage"]
        fixed += ["TriggerLevel", "DetectorEnable", "DarkCountsAutoIV", "StartAutoIV"]
        optional = [self.switches.serial_label, self.switches.temperature_label]
        return fixed + [label for label in optional if label]

    def _value(self, label: str, now_s: float) -> Any:
        if label == self.switches.serial_label:
            return self.switches.serial.format(seed=self._seed)
        if label == self.switches.temperature_label:
            return _WARM_K if self.faults.find("warm") else _COLD_K
        match label:
            case "NumberOfDetectors":
                return self.detectors
            case "InptMeasurementPeriod":
                return round(self._period_s * 1e3, 6)
            case "BiasCurrent":
                return self._bias_ua
            case "BiasVoltage":
                return [round(self._voltage_mv(d, now_s), 3) for d in range(self.detectors)]
            case "TriggerLevel":
                return self._trigger_mv
            case "DetectorEnable":
                return self._enabled
            case "DarkCountsAutoIV":
                return self._dark_targets
            case _:
                return self._auto_until_s is not None

    def _props(self, label: str, now_s: float) -> dict[str, Any]:
        units = {"InptMeasurementPeriod": "ms", "BiasCurrent": "uA"}
        units |= {"BiasVoltage": "mV", "TriggerLevel": "mV"}
        bounds = list(self.switches.bias_bounds_ua) if label == "BiasCurrent" else []
        return {
            "value": self._value(label, now_s),
            "bounds": bounds,
            "units": units.get(label, ""),
        }

    def _error(self, text: str) -> dict[str, Any]:
        return {"label": self.switches.error_label, "value": text}

    def _broadcast(self, label: str, now_s: float) -> None:
        data = self.framed([{"label": label, "value": self._value(label, now_s)}])
        for session in self.control_sessions:
            session.put(data)

    def _latch(self) -> None:
        for detector in range(self.detectors):
            if self._bias_ua[detector] == 0.0:
                self._latched.discard(detector)
            elif detector not in self._latched and self.faults.spend("latch", detector + 1):
                self._latched.add(detector)

    def _voltage_mv(self, detector: int, now_s: float) -> float:
        if detector in self._latched:
            return _LATCHED_MV
        return self._port.bias_voltage_mv(detector, now_s * self._speed)

    def _drive(self, now_s: float) -> None:
        for detector in range(self.detectors):
            bias_ua = self._bias_ua[detector] if self._enabled else 0.0
            self._port.set_bias_ua(detector, bias_ua, now_s * self._speed)
            self._port.set_trigger_mv(detector, self._trigger_mv[detector], now_s * self._speed)
        self._latch()

    def _count(self) -> None:
        """Close one period: a line for every client that listens."""
        begin, self._period_began_s = self._period_began_s, self._period_began_s + self._period_s
        counts = [self._clicks(d, begin, self._period_began_s) for d in range(self.detectors)]
        stamp_s = self._unix_s + (self._period_began_s if self.switches.stamp == "end" else begin)
        line = f"{stamp_s:.6f}," + ",".join(map(str, counts)) + "\n"
        if self.faults.find("counts_stop") is None:
            for session in self.counts_sessions:
                session.put(line.encode())

    def _clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        if detector in self._latched or self._bias_ua[detector] == 0.0 or not self._enabled:
            return 0
        clicks = self._port.clicks(detector, begin_s * self._speed, end_s * self._speed)
        if self.faults.find("dark_counts", detector + 1):
            mean = 9.0 * self.switches.dark_hz * (end_s - begin_s) * self._speed
            key = round(begin_s * 1e6)
            clicks += int(generator(self._seed, "websq-dark", detector, key).poisson(mean))
        return clicks


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def station(port: DetectorPort, *, seed: int, switches: dict[str, Any], speed: float) -> Station:
    """Put the instrument on a bench: its station for the loop."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(FAULTS)
    device = WebSQ(port, seed=seed, switches=chosen, faults=faults, speed=speed)
    lines = (Line(device, ControlSession), Line(device, CountsSession))
    return Station("websq", lines, (12000, 12345), faults, tick=device.tick)


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    lone = LoneDetectors(options.seed)
    alone = station(lone, seed=options.seed, switches=options.switches, speed=options.speed)
    return run_station(alone, options)
