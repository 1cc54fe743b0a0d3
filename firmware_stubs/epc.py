"""Firmware stub of the OZ Optics electric polarisation controller (EPC).

Source: QMI's driver ``ozoptics/epc_driver.py``: ASCII commands that end in CR LF, each answered by
two lines, a content and ``Done``. The contents of answers to queries are those quoted there; what
a set command has as its content is open (:class:`Switches`), and so is what it says to a command
that it does not take.

In mode AC the four squeezers are driven at their frequencies, which scrambles the polarisation; in
mode DC they hold their voltages. ``SAVE`` writes the present state to a flash memory that wears out
and from which it starts at power-on. Where ``ENVF1`` is set, channels toggled by ``VF`` hold their
voltage although the mode is AC; the fibre is still scrambled by the others.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from firmware_stubs.blind_ports import BlindSqueezer
from firmware_stubs.ports import SqueezerPort
from firmware_stubs.pty_line import run_serial_station
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station
from quantum.errors import InputError

__all__ = ["FAULTS", "Epc", "Settings", "Switches", "serve", "station"]

#: Faults of the instrument: no second line, commands to end scrambling without effect, a channel
#: that stays at its rail whatever is set.
FAULTS = ("no_done", "stays_scrambling", "at_rail")

_RAIL_MV = 5000
_LONGEST_LINE = 256
_SET = re.compile(r"(?P<what>[VF])(?P<channel>[1-4]),(?P<value>[+-]?[0-9]{1,6})\Z")
_EXTREME = re.compile(r"V(?P<what>[HLZ])(?P<channel>[1-4])\Z")
_TOGGLE = re.compile(r"VF(?P<channel>[1-4])\Z")
Four = tuple[int, int, int, int]


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not known about the instrument and must be tried on one."""

    set_content: str = "{command}"
    """First line of the answer to a set command; ``{command}`` is what was sent."""
    error_content: str = "Error"
    error_done: str = "Error"
    """Second line where a command is refused."""
    scrambling_at_power_on: bool = False
    """An instrument that somebody saved in mode AC."""


@dataclass(frozen=True)
class Settings:
    """What SAVE keeps."""

    voltages_mv: Four = (0, 0, 0, 0)
    frequencies_hz: Four = (7, 17, 37, 71)
    scrambling: bool = False
    fixed_in_ac: bool = False
    fixed: tuple[bool, bool, bool, bool] = (True, True, True, True)
    waveform: str = "Sine"


class Epc:
    """The instrument without its line: bytes and time in, bytes out."""

    clients = 1

    def __init__(
        self,
        port: SqueezerPort,
        *,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(own=FAULTS)
        self.saves = 0
        self._speed = speed
        self._port = port
        self._saved = Settings(scrambling=self.switches.scrambling_at_power_on)
        self._buffer = b""
        self.power_cycle(0.0)

    def power_cycle(self, now_s: float) -> None:
        """Start from what was saved."""
        self.settings = self._saved
        self._buffer = b""
        self._squeeze(now_s)

    def opened(self, now_s: float) -> bytes:
        """Say nothing to a new client."""
        return b""

    def closed(self, now_s: float) -> None:
        """Forget half a command."""
        self._buffer = b""

    def due(self, now_s: float) -> bytes:
        """Say nothing by itself."""
        return b""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Carry out the lines that are complete and return the answers."""
        said = b""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._buffer = self._buffer[-_LONGEST_LINE:]
        for line in lines:
            text = line.strip().decode("ascii", "replace").upper()
            if text:
                said += self._answer(text, now_s)
        return said

    def state(self) -> dict[str, Any]:
        """Return the settings and how often they were saved."""
        return {
            "voltages_mv": list(self.settings.voltages_mv),
            "scrambling": self.settings.scrambling,
            "saves": self.saves,
        }

    def truth(self, now_s: float) -> dict[str, Any]:
        """Return how the fibre is really squeezed."""
        return {"voltages_mv": self._voltages(), "scrambling": self.settings.scrambling}

    def _answer(self, text: str, now_s: float) -> bytes:
        content = self._query(text) if text.endswith("?") else self._set(text)
        if content is None:
            lines = [self.switches.error_content, self.switches.error_done]
        else:
            lines = [content, "Done"]
            self._squeeze(now_s)
        if self.faults.spend("no_done"):
            del lines[1]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")

    def _query(self, text: str) -> str | None:
        now = self.settings
        match text:
            case "V?":
                shown = (f"CH{n} {v:+05d}" for n, v in enumerate(self._voltages(), 1))
                return "Voltage(mV): " + " ".join(shown)
            case "F?":
                shown = (f"CH{n} {f:03d}" for n, f in enumerate(now.frequencies_hz, 1))
                return "Frequency(Hz): " + "  ".join(shown)
            case "M?":
                return f"Working Mode: {'AC' if now.scrambling else 'DC'}"
            case "VF?":
                shown = (f"CH{n}-{'V' if fixed else 'F'}" for n, fixed in enumerate(now.fixed, 1))
                return " ".join(shown) + (" enabled" if now.fixed_in_ac else " disabled")
            case "WF?":
                return f"AC Waveform: {now.waveform}"
        return None

    def _set(self, text: str) -> str | None:
        now = self.settings
        if part := _SET.match(text):
            channel, value = int(part["channel"]) - 1, int(part["value"])
            if part["what"] == "V" and abs(value) <= _RAIL_MV:
                self.settings = replace(now, voltages_mv=_with(now.voltages_mv, channel, value))
            elif part["what"] == "F" and 0 <= value <= 100:
                frequencies = _with(now.frequencies_hz, channel, value)
                self.settings = replace(now, frequencies_hz=frequencies)
            else:
                return None
        elif part := _EXTREME.match(text):
            value = {"H": _RAIL_MV, "L": -_RAIL_MV, "Z": 0}[part["what"]]
            voltages = _with(now.voltages_mv, int(part["channel"]) - 1, value)
            self.settings = replace(now, voltages_mv=voltages)
        elif part := _TOGGLE.match(text):
            fixed = list(now.fixed)
            fixed[int(part["channel"]) - 1] ^= True
            self.settings = replace(now, fixed=cast(tuple[bool, bool, bool, bool], tuple(fixed)))
        elif text in ("ENVF0", "ENVF1"):
            self.settings = replace(now, fixed_in_ac=text.endswith("1"))
        elif text in ("WF1", "WF2"):
            self.settings = replace(now, waveform="Sine" if text == "WF1" else "Triangle")
        elif text == "MAC":
            self.settings = replace(now, scrambling=True)
        elif text == "MDC":
            if not self.faults.spend("stays_scrambling"):
                self.settings = replace(now, scrambling=False)
        elif text == "SAVE":
            self._saved, self.saves = now, self.saves + 1
        else:
            return None
        return self.switches.set_content.replace("{command}", text)

    def _voltages(self) -> Four:
        fault = self.faults.find("at_rail")
        voltages = self.settings.voltages_mv
        return voltages if fault is None else _with(voltages, (fault.number or 1) - 1, _RAIL_MV)

    def _squeeze(self, now_s: float) -> None:
        first, second, third, fourth = self._voltages()
        bench_s = now_s * self._speed
        self._port.set_voltages_mv((first, second, third, fourth), bench_s)
        self._port.set_scrambling(self.settings.scrambling, bench_s)


def _with(values: Four, place: int, value: int) -> Four:
    out = list(values)
    out[place] = value
    return cast(Four, tuple(out))


def station(port: SqueezerPort, *, seed: int, switches: dict[str, Any], speed: float) -> Station:
    """Put the instrument on a bench: its station for the loop. Nothing in it goes by the seed."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(own=FAULTS)
    device = Epc(port, switches=chosen, faults=faults, speed=speed)
    return Station("epc", (device,), (), faults, truth=device.truth)


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    alone = station(
        BlindSqueezer(), seed=options.seed, switches=options.switches, speed=options.speed
    )
    return run_serial_station(alone, options, "?baud=9600")
