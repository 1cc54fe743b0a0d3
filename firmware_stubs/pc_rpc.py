"""Firmware stub of an ARTIQ controller: a PC_RPC server with the targets ``shutter`` and ``laser``.

The conversation (sipyco's documentation and ``pc_rpc.py`` at ``1f1722f``): the client says
``ARTIQ pc_rpc``, the server identifies itself with one line of JSON, the client names a target and
features, the server sends the set of its methods, and then every line is a call. Who says anything
else is cut off without a word. Calls are answered one at a time.

The names of the methods are ours. The interlock works as in a laboratory: while its contact is open
the shutter closes and stays closed, and it stays closed afterwards until somebody opens it.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from firmware_stubs.lone_ports import LoneLight, LoneShutter
from firmware_stubs.ports import LightPort, ShutterPort
from firmware_stubs.pyon_plain import read, write
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station, run_station
from quantum.errors import InputError

__all__ = ["FAULTS", "Controller", "Switches", "serve", "station"]

#: Faults of the instrument.
FAULTS = {
    "interlock_open": "the contact of the interlock is open",
    "stuck": "the shutter does not move",
    "ping_fails": "ping() of both targets answers False",
    "raises": "a method raises RuntimeError",
    "weak": "the laser has half its power",
}

_HELLO = "ARTIQ pc_rpc"
_LINE_BYTES = 64 * 1024


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs between controllers."""

    description: str = "shutter and laser STUB-{seed}"
    features: tuple[str, ...] = ("pyon_v2",)
    """Older servers have none: then version 1 of PYON is spoken."""
    most_power_mw: float = 50.0
    clients: int = 8


class Controller:
    """The instrument without its socket; :meth:`connection` makes the device of one client."""

    def __init__(
        self,
        shutter: ShutterPort,
        laser: LightPort,
        *,
        seed: int = 1,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(FAULTS)
        self.clients = self.switches.clients
        self.description = self.switches.description.format(seed=seed)
        self._shutter = shutter
        self._laser = laser
        self._speed = speed
        self._now_s = 0.0
        self.power_cycle(0.0)

    def connection(self) -> "Session":
        """Make the device of a new connection."""
        return Session(self)

    def power_cycle(self, now_s: float) -> None:
        """Begin closed and dark."""
        self._now_s = now_s * self._speed
        self._on, self._power_mw = False, 1.0
        self._shutter.set_open(False, self._now_s)
        self._light()

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "open": self._shutter.is_open(self._now_s),
            "interlock_closed": self._interlock_closed(),
            "on": self._on,
            "power_mw": self._power_mw,
        }

    def tick(self, now_s: float) -> float | None:
        """Let the interlock act; it is looked at often."""
        self._now_s = now_s * self._speed
        if self._shutter.is_open(self._now_s) and not self._interlock_closed():
            self._shutter.set_open(False, self._now_s)
        return now_s + 0.01

    def methods(self, target: str) -> dict[str, tuple[Callable[..., Any], str]]:
        """Return the methods of a target, each with the name of its argument, if it has one."""
        if target == "shutter":
            return {
                "interlock_closed": (self._interlock_closed, ""),
                "is_open": (lambda: self._shutter.is_open(self._now_s), ""),
                "ping": (self._ping, ""),
                "set_open": (self._set_open, "is_open"),
            }
        return {
            "output": (lambda: self._on, ""),
            "ping": (self._ping, ""),
            "power_mw": (lambda: self._laser.power_mw(self._now_s), ""),
            "set_output": (self._set_output, "on"),
            "set_power_mw": (self._set_power_mw, "power_mw"),
        }

    def _ping(self) -> bool:
        return self.faults.find("ping_fails") is None

    def _interlock_closed(self) -> bool:
        opened = self.faults.find("interlock_open") is not None
        return not opened and self._shutter.interlock_closed(self._now_s)

    def _set_open(self, is_open: Any) -> None:
        if not isinstance(is_open, bool):
            raise TypeError("is_open must be true or false")
        if self.faults.spend("stuck"):
            return
        if is_open and not self._interlock_closed():
            raise PermissionError("the interlock is open")
        self._shutter.set_open(is_open, self._now_s)

    def _set_output(self, on: Any) -> None:
        if not isinstance(on, bool):
            raise TypeError("on must be true or false")
        self._on = on
        self._light()

    def _set_power_mw(self, power_mw: Any) -> None:
        if isinstance(power_mw, bool) or not isinstance(power_mw, int | float):
            raise TypeError("power_mw must be a number")
        if not math.isfinite(power_mw) or not 0.0 <= power_mw <= self.switches.most_power_mw:
            raise ValueError(f"power_mw must be from 0 to {self.switches.most_power_mw:g}")
        self._power_mw = float(power_mw)
        self._light()

    def _light(self) -> None:
        share = 0.5 if self.faults.find("weak") else 1.0
        self._laser.set_power_mw(self._power_mw * share if self._on else 0.0, self._now_s)


class Session:
    """One client: greeting, choice of a target, calls."""

    clients = 1

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._buffer = bytearray()
        self._step: Callable[[str], str] = self._greet
        self._target = ""
        self._version = 1
        self.ended = False

    def opened(self, now_s: float) -> bytes:
        """The client speaks first."""
        return b""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Answer every whole line; whoever breaks the protocol is cut off."""
        self._controller.tick(now_s)
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        out = ""
        for line in lines:
            if self.ended:
                break
            out += self._step(line.decode("utf-8", errors="replace"))
        self.ended = self.ended or len(rest) > _LINE_BYTES
        return out.encode("ascii", errors="backslashreplace")

    def due(self, now_s: float) -> bytes:
        """Nothing comes unasked."""
        return b""

    def due_s(self, now_s: float) -> float | None:
        """Never."""
        return now_s + 1.0

    def closed(self, now_s: float) -> None:
        """Nothing is kept."""

    def power_cycle(self, now_s: float) -> None:
        """The connection is gone anyway."""

    def state(self) -> dict[str, Any]:
        """Return the instrument's settings."""
        return self._controller.state()

    def _greet(self, line: str) -> str:
        if line != _HELLO:
            return self._cut()
        self._step = self._choose
        found = {
            "targets": ["laser", "shutter"],
            "description": self._controller.description,
            "features": list(self._controller.switches.features),
        }
        return write(found, 2) + "\n"

    def _choose(self, line: str) -> str:
        target, *features = line.split(" ")
        known = self._controller.switches.features
        if target not in ("laser", "shutter") or not all(f in known for f in features):
            return self._cut()
        self._target, self._step = target, self._call
        self._version = 2 if "pyon_v2" in features else 1
        return write(set(self._controller.methods(target)), self._version) + "\n"

    def _call(self, line: str) -> str:
        try:
            request = read(line)
            action = request["action"]
        except (ValueError, KeyError, TypeError):
            return self._cut()
        try:
            if action == "get_rpc_method_list":
                value: Any = self._documents()
            elif action == "call":
                value = self._carry_out(request)
            else:
                raise ValueError(f"Unknown action: {action}")
            answer = {"status": "ok", "ret": value}
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError) as wrong:
            failure = {"class": type(wrong).__name__, "message": str(wrong), "traceback": []}
            answer = {"status": "failed", "exception": failure}
        return write(answer, self._version) + "\n"

    def _carry_out(self, request: dict[str, Any]) -> Any:
        name, args, kwargs = request["name"], request["args"], request["kwargs"]
        methods = self._controller.methods(self._target)
        if not isinstance(name, str) or name not in methods:
            raise AttributeError(f"{self._target!r} object has no attribute {name!r:.60}")
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise TypeError("args must be a list and kwargs a dictionary")
        if self._controller.faults.spend("raises"):
            raise RuntimeError("injected")
        method, parameter = methods[name]
        values = [*args, *(kwargs[key] for key in kwargs if key == parameter)]
        if len(values) != len(args) + len(kwargs) or len(values) != bool(parameter):
            raise TypeError(f"{name}() takes {int(bool(parameter))} argument(s)")
        return method(*values)

    def _documents(self) -> dict[str, Any]:
        methods = {
            name: ({"args": ["self", parameter] if parameter else ["self"]}, None)
            for name, (_, parameter) in self._controller.methods(self._target).items()
        }
        return {"docstring": None, "methods": methods}

    def _cut(self) -> str:
        self.ended = True
        return ""


def station(
    shutter: ShutterPort, laser: LightPort, *, seed: int, switches: dict[str, Any], speed: float
) -> Station:
    """Put the instrument on a bench: its station for the loop."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(FAULTS)
    device = Controller(shutter, laser, seed=seed, switches=chosen, faults=faults, speed=speed)
    return Station("pc_rpc", (device,), (3250,), faults, tick=device.tick)


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    alone = station(
        LoneShutter(),
        LoneLight(),
        seed=options.seed,
        switches=options.switches,
        speed=options.speed,
    )
    return run_station(alone, options)
