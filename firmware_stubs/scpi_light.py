"""Firmware stub of a light source that speaks SCPI: laser, attenuator and power meter in one box.

Source: SCPI 1999, volume 2: OUTPut[:STATe], OUTPut:PROTection:TRIPped?, SOURce:POWer, INPut:
ATTenuation, READ:POWer?, SYSTem:ERRor?; IEEE 488.2 for ``*IDN? *CLS *RST *OPC?``. No single
instrument answers all of it: makers choose. What they choose differently is in :class:`Switches`.
Commands end in a line feed over TCP (port 5025); only queries are answered.

The interlock is that of OUTPut:PROTection: while it is tripped the light is off and stays off when
the interlock closes again, until somebody switches it on.
"""

import math
from collections import deque
from typing import Any

import msgspec

from firmware_stubs.lone_ports import LoneLight
from firmware_stubs.ports import LightPort
from firmware_stubs.scpi import Command, ScpiError, Tree, quantity, split
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station, run_station
from quantum.errors import InputError

__all__ = ["FAULTS", "Conversation", "ScpiLightSource", "Switches", "serve", "station"]

#: Faults of the instrument: an open interlock, and settings that are accepted and not made.
FAULTS = ("interlock", "ignores")

_LINE_BYTES = 4096
_QUEUE = 16
#: What SCPI shows for a number that is none (SCPI 1999, 7.2.1.5).
_NOT_A_NUMBER = "9.91E+37"
_HEADERS = [
    ("OUTPut", "output"),
    ("OUTPut:STATe", "output"),
    ("OUTPut:PROTection:TRIPped", "tripped"),
    ("SOURce:POWer", "power"),
    ("POWer", "power"),
    ("INPut:ATTenuation", "attenuation"),
    ("READ:POWer", "reading"),
    ("SYSTem:ERRor", "error"),
    ("SYSTem:ERRor:NEXT", "error"),
]


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makers choose differently."""

    idn: str = "DPEM,SCPI-LIGHT,STUB-{seed},1.0"
    power_dbm: tuple[float, float] = (-30.0, 13.0)
    """Range of the laser."""
    attenuation_db: tuple[float, float] = (0.0, 60.0)
    power_step_db: float = 0.001
    on_text: str = "1"
    off_text: str = "0"
    dark_dbm: float = -90.0
    """What the meter reads in the dark."""


class ScpiLightSource:
    """The instrument: its settings, its light and its one queue of errors, for all clients."""

    clients = 4

    def __init__(
        self,
        port: LightPort,
        *,
        seed: int = 1,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(own=FAULTS)
        self._idn = self.switches.idn.replace("{seed}", str(seed))
        self._port, self._speed = port, speed
        self._tree = Tree(_HEADERS)
        self._on, self._attenuation_db = False, 0.0
        self._power_dbm = self.switches.power_dbm[0]
        self.power_cycle(0.0)

    def power_cycle(self, now_s: float) -> None:
        """Start dark."""
        self._reset(now_s)
        self._errors: deque[str] = deque(maxlen=_QUEUE)

    def connection(self) -> "Conversation":
        """Talk to a client."""
        return Conversation(self)

    def watch(self, now_s: float) -> None:
        """Switch off where the interlock opens."""
        if self._on and self.faults.find("interlock") is not None:
            self._on = False
            self._shine(now_s)

    def line(self, text: str, now_s: float) -> str:
        """Carry out a line of commands and return its answer, empty where nothing was asked."""
        self.watch(now_s)
        answers = []
        for command in split(text):
            try:
                if isinstance(command, ScpiError):
                    raise command
                answer = self._one(command, now_s)
            except ScpiError as wrong:
                self.complain(wrong)
                break
            if answer is not None:
                answers.append(answer)
        return ";".join(answers)

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "output": self._on,
            "power_dbm": self._power_dbm,
            "attenuation_db": self._attenuation_db,
            "errors": list(self._errors),
        }

    def truth(self, now_s: float) -> dict[str, Any]:
        """Return the power that really leaves."""
        return {"power_mw": self._port.power_mw(now_s * self._speed)}

    def _one(self, command: Command, now_s: float) -> str | None:
        if command.path[0].startswith("*"):
            return self._common(command, now_s)
        what = self._tree.find(command.path).entry
        if command.query:
            return self._query(what, now_s)
        if what in ("tripped", "reading", "error"):
            raise ScpiError(-113, "Undefined header")
        self._set(what, command.argument, now_s)
        return None

    def _common(self, command: Command, now_s: float) -> str | None:
        match command.path[0], command.query:
            case "*IDN", True:
                return self._idn
            case "*OPC", True:
                return "1"
            case "*CLS", False:
                self._errors.clear()
            case "*RST", False:
                self._reset(now_s)
            case _:
                raise ScpiError(-113, "Undefined header")
        return None

    def _query(self, what: str, now_s: float) -> str:
        match what:
            case "output":
                return self.switches.on_text if self._on else self.switches.off_text
            case "tripped":
                return "1" if self.faults.find("interlock") is not None else "0"
            case "power":
                return f"{self._power_dbm:.3f}"
            case "attenuation":
                return f"{self._attenuation_db:.3f}"
            case "reading":
                power_mw = self._port.power_mw(now_s * self._speed)
                if power_mw <= 0.0:
                    return f"{self.switches.dark_dbm:.3f}"
                return f"{10.0 * math.log10(power_mw):.3f}" if power_mw < 1e6 else _NOT_A_NUMBER
            case _:
                return self._errors.popleft() if self._errors else '0,"No error"'

    def _set(self, what: str, argument: str, now_s: float) -> None:
        ignored = self.faults.spend("ignores") is not None
        if what == "output":
            states = {"ON": True, "1": True, "OFF": False, "0": False}
            if argument.upper() not in states:
                raise ScpiError(-224, "Illegal parameter value")
            on = states[argument.upper()]
            if on and self.faults.find("interlock") is not None:
                raise ScpiError(-221, "Settings conflict; interlock open")
            self._on = self._on if ignored else on
        elif what == "power":
            value = self._within(quantity(argument, "DBM"), self.switches.power_dbm)
            self._power_dbm = self._power_dbm if ignored else value
        else:
            value = self._within(quantity(argument, "DB"), self.switches.attenuation_db)
            self._attenuation_db = self._attenuation_db if ignored else value
        self._shine(now_s)

    def _within(self, value: float, limits: tuple[float, float]) -> float:
        if not limits[0] <= value <= limits[1]:
            raise ScpiError(-222, "Data out of range")
        step = self.switches.power_step_db
        return round(value / step) * step

    def _reset(self, now_s: float) -> None:
        self._on = False
        self._power_dbm = self.switches.power_dbm[0]
        self._attenuation_db = self.switches.attenuation_db[0]
        self._shine(now_s)

    def _shine(self, now_s: float) -> None:
        level = 10.0 ** ((self._power_dbm - self._attenuation_db) / 10.0) if self._on else 0.0
        self._port.set_power_mw(level, now_s * self._speed)

    def complain(self, wrong: ScpiError) -> None:
        """Put an error into the queue."""
        if len(self._errors) == _QUEUE:
            # SCPI 1999, 21.8.1: the newest entry gives way, so that the loss is known.
            self._errors.pop()
            wrong = ScpiError(-350, "Queue overflow")
        self._errors.append(str(wrong))


class Conversation:
    """One connection: bytes and time in, bytes out."""

    clients = 1

    def __init__(self, instrument: ScpiLightSource) -> None:
        self._instrument = instrument
        self._buffer = b""

    def opened(self, now_s: float) -> bytes:
        """Say nothing to a new client."""
        return b""

    def closed(self, now_s: float) -> None:
        """Forget half a command; the light stays as it is."""
        self._buffer = b""

    def due(self, now_s: float) -> bytes:
        """Say nothing by itself."""
        self._instrument.watch(now_s)
        return b""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Carry out the lines that are complete and return the answers."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        said = ""
        for line in lines:
            answer = self._instrument.line(line.decode("ascii", "replace").strip(), now_s)
            said += answer + "\n" if answer else ""
        if len(self._buffer) > _LINE_BYTES:
            self._buffer = b""
            self._instrument.complain(ScpiError(-363, "Input buffer overrun"))
        return said.encode("ascii", "replace")

    def power_cycle(self, now_s: float) -> None:
        """Nothing of a connection outlives it."""

    def state(self) -> dict[str, Any]:
        """Return the instrument's settings."""
        return self._instrument.state()


def station(port: LightPort, *, seed: int, switches: dict[str, Any], speed: float) -> Station:
    """Put the instrument on a bench: its station for the loop."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(own=FAULTS)
    device = ScpiLightSource(port, seed=seed, switches=chosen, faults=faults, speed=speed)
    return Station("scpi", (device,), (5025,), faults, truth=device.truth)


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    alone = station(LoneLight(), seed=options.seed, switches=options.switches, speed=options.speed)
    return run_station(alone, options)
