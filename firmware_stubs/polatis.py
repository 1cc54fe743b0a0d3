"""Firmware stub of a Polatis optical circuit switch: SCPI over TCP port 5025.

Lines of text end in a line feed both ways; a set command answers nothing, and what was refused
shows only in the error queue and in the read-back (public drivers:
``hpn-bristol/devicecontrol-polatis`` and three others). The model in ``*idn?`` says
the size: in NxM inputs are ports 1 to N and outputs N+1 to N+M.

Open questions about the real instrument are fields of :class:`Switches`. Further assumptions: a
list of pairs is refused whole; answers to several queries of one line are joined by ``;`` (SCPI
1999); ``*opc?`` answers when the mirrors have settled; the error queue is shared by all clients.
"""

import re
from collections import deque
from typing import Any

import msgspec

from firmware_stubs.lone_ports import LoneSwitch
from firmware_stubs.polatis_lists import read_pairs, read_ports, show_pairs
from firmware_stubs.polatis_mirrors import FAULTS, Mirrors
from firmware_stubs.polatis_session import Session
from firmware_stubs.ports import SwitchPort
from firmware_stubs.scpi import Command, ScpiError, Tree
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station, run_station
from quantum.errors import InputError

__all__ = ["Polatis", "Switches", "serve", "station"]

_SIZE = re.compile(r"-(\d{1,3})x(\d{1,3})-")
_QUEUE = 32
_MOST_POWERS = 256

_TREE: Tree[str] = Tree(
    [
        ("OXC:SWITch:SIZE", "size"),
        ("OXC:SWITch:CONNect:ADD", "add"),
        ("OXC:SWITch:CONNect:SUB", "sub"),
        ("OXC:SWITch:CONNect:ONLY", "only"),
        ("OXC:SWITch:CONNect:STATe", "connections"),
        ("OXC:SWITch:CONNect:PORT", "partner"),
        ("OXC:SWITch:DISConnect:ALL", "disconnect all"),
        ("OXC:SWITch:PORT:DISable", "disable"),
        ("OXC:SWITch:PORT:ENABle", "enable"),
        ("OXC:SWITch:PORT:STATe", "port states"),
        ("PMON:POWer", "powers"),
        ("SYSTem:COMMunicate:NETWork:ADDRess", "address"),
        ("SYSTem:ERRor:ALL", "errors"),
    ]
)
_QUERIES = {"size", "connections", "partner", "port states", "powers", "address", "errors"}


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not known about the instrument, or differs between models."""

    idn: str = "Polatis,N-VST-16x16-LU1-DMHNV-801,STUB-{seed},6.5.1.7"
    settle_s: float = 0.02
    """Time in which moved mirrors carry no light."""
    out_of_range: tuple[int, str] = (-222, "Data out of range")
    conflict: tuple[int, str] = (-221, "Settings conflict")
    """For a port that is occupied, disabled or failed."""
    wrong_sides: tuple[int, str] = (-200, "Execution error")
    """For a pair that does not lead from an input to an output, or sides of unequal length."""
    keeps_connections: bool = False
    """Whether connections survive a power cycle."""
    clients: int = 8

    @property
    def size(self) -> tuple[int, int]:
        """Inputs and outputs, from the model."""
        found = _SIZE.search(self.idn)
        if found is None or not all(int(n) for n in found.groups()):
            raise InputError(f"switches.idn must name a size such as -16x16-, got {self.idn!r}")
        return int(found[1]), int(found[2])

    @property
    def measures_power(self) -> bool:
        """I-OST models have no power monitor."""
        return "I-OST" not in self.idn


class Polatis:
    """The instrument without its socket; :meth:`connection` makes the device of one client."""

    def __init__(
        self,
        port: SwitchPort,
        *,
        seed: int = 1,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(FAULTS)
        self.clients = self.switches.clients
        self._seed = seed
        self.mirrors = Mirrors(
            port,
            self.switches.size,
            settle_s=self.switches.settle_s,
            faults=self.faults,
            speed=speed,
        )
        self._errors: deque[tuple[int, str]] = deque()

    def connection(self) -> Session:
        """Make the device of a new connection."""
        return Session(self)

    def power_cycle(self, now_s: float) -> None:
        """Return to power-on: errors are gone, and connections if the model forgets them."""
        self._errors.clear()
        self.mirrors.disabled.clear()
        if not self.switches.keeps_connections:
            self.mirrors.change({}, now_s)

    def state(self) -> dict[str, Any]:
        """Return connections, disabled ports and the error queue."""
        return {
            "connections": {str(k): v for k, v in sorted(self.mirrors.made.items())},
            "disabled": sorted(self.mirrors.disabled),
            "errors": [f'{code},"{text}"' for code, text in self._errors],
        }

    def truth(self, now_s: float) -> dict[str, Any]:
        """Return where light really passes now."""
        self.mirrors.settle(now_s)
        return {"carrying": {str(k): v for k, v in sorted(self.mirrors.carrying.items())}}

    def complain(self, wrong: ScpiError) -> None:
        """Put an error into the queue; its last place tells of an overflow (SCPI 1999, 21.8)."""
        if len(self._errors) < _QUEUE:
            self._errors.append((wrong.number, wrong.text))
        else:
            self._errors[-1] = (-350, "Queue overflow")

    def carry_out(self, command: Command, now_s: float) -> str | None:
        """Carry out one command; return the answer of a query."""
        self.mirrors.settle(now_s)
        if command.path[0].startswith("*"):
            return self._common(command, now_s)
        what = _TREE.find(command.path).entry
        if command.query != (what in _QUERIES):
            raise ScpiError(-113, "Undefined header")
        if command.query:
            return self._query(what, command.argument, now_s)
        self._set(what, command.argument, now_s)
        return None

    def _common(self, command: Command, now_s: float) -> str | None:
        match (command.path[0], command.query):
            case ("*IDN", True):
                return self.switches.idn.format(seed=self._seed)
            case ("*OPC", True):
                return "1"
            case ("*CLS", False):
                self._errors.clear()
            case ("*RST", False):
                self.mirrors.disabled.clear()
                self.mirrors.change({}, now_s)
            case _:
                raise ScpiError(-113, "Undefined header")
        return None

    def _query(self, what: str, argument: str, now_s: float) -> str:
        match what:
            case "size":
                return f"{self.mirrors.inputs},{self.mirrors.outputs}"
            case "connections":
                return show_pairs(self.mirrors.made)
            case "partner":
                return f'"{self._partner(argument)}"'
            case "port states":
                return (
                    "("
                    + ",".join(map(self.mirrors.letter, self._known(read_ports(argument))))
                    + ")"
                )
            case "powers":
                return self._powers(argument, now_s)
            case "address":
                return '"127.0.0.1"'
            case _:
                shown = ",".join(f'{code},"{text}"' for code, text in self._errors)
                self._errors.clear()
                return shown or '0,"No error"'

    def _powers(self, argument: str, now_s: float) -> str:
        if not self.switches.measures_power:
            raise ScpiError(-113, "Undefined header")
        ports = self._known(read_ports(argument))
        if len(ports) > _MOST_POWERS:
            raise ScpiError(-223, "Too much data")
        shown = (f"{self.mirrors.power_dbm(port, now_s):.2f}" for port in ports)
        return "(" + ",".join(shown) + ")"

    def _partner(self, argument: str) -> int | str:
        ports = self._known(read_ports(f"(@{argument})"))
        if len(ports) != 1:
            raise ScpiError(-109, "Missing parameter")
        both = self.mirrors.made | {v: k for k, v in self.mirrors.made.items()}
        return both.get(ports[0], "")

    def _set(self, what: str, argument: str, now_s: float) -> None:
        if what == "enable":
            self.mirrors.disabled.difference_update(self._known(read_ports(argument)))
        elif what == "disable":
            self.mirrors.disable(self._known(read_ports(argument)), now_s)
        else:
            self.mirrors.change(self._wanted(what, argument), now_s)

    def _wanted(self, what: str, argument: str) -> dict[int, int]:
        """Return the connections after a set command, or refuse it whole."""
        if what == "disconnect all":
            return {}
        left, right = read_pairs(argument)
        if what == "sub" and not right:
            return {k: v for k, v in self.mirrors.made.items() if k not in self._known(left)}
        self._known([*left, *right])
        if len(left) != len(right) or any(
            a > self.mirrors.inputs or b <= self.mirrors.inputs
            for a, b in zip(left, right, strict=True)
        ):
            raise ScpiError(*self.switches.wrong_sides)
        pairs = list(zip(left, right, strict=True))
        if what == "sub":
            return {k: v for k, v in self.mirrors.made.items() if (k, v) not in pairs}
        before = {} if what == "only" else dict(self.mirrors.made)
        for source, target in pairs:
            if source in before or target in before.values():
                raise ScpiError(*self.switches.conflict)
            if self.mirrors.letter(source) != "E" or self.mirrors.letter(target) != "E":
                raise ScpiError(*self.switches.conflict)
            before[source] = target
        return before

    def _known(self, ports: list[int]) -> list[int]:
        if not all(1 <= port <= self.mirrors.inputs + self.mirrors.outputs for port in ports):
            raise ScpiError(*self.switches.out_of_range)
        return ports


def station(port: SwitchPort, *, seed: int, switches: dict[str, Any], speed: float) -> Station:
    """Put the instrument on a bench: its station for the loop."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(FAULTS)
    device = Polatis(port, seed=seed, switches=chosen, faults=faults, speed=speed)
    return Station(
        "polatis", (device,), (5025,), faults, truth=device.truth, tick=device.mirrors.settle
    )


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    alone = station(LoneSwitch(), seed=options.seed, switches=options.switches, speed=options.speed)
    return run_station(alone, options)
