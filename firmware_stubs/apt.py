"""Firmware stub of a Thorlabs motor controller with a rotation mount (APT binary protocol).

Source: Thorlabs, *Host-Controller Communications Protocol* (issues 3-37): headers of six bytes,
little endian, messages with data say so by the top bit of the destination. One axis, channel 1.
Layouts of messages not quoted in public drivers (velocity and homing parameters) and their scales
are from memory; they are marked so in the transcript.

The controller counts encoder steps from wherever the plate stood at power-on, until it is homed.
What happens beyond that is not documented everywhere; it is a field of :class:`Switches`. We
assume that a move which is replaced by another ends without a message.
"""

import struct
from typing import Any, Literal

import msgspec

from firmware_stubs.apt_frames import Frames, long_message, short_message
from firmware_stubs.apt_motion import Braking, Move
from firmware_stubs.blind_ports import BlindRotator
from firmware_stubs.ports import RotatorPort
from firmware_stubs.pty_line import run_serial_station
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["FAULTS", "AptRotator", "Switches", "serve", "station"]

#: Status bits of the protocol document.
FORWARD_LIMIT, REVERSE_LIMIT = 1 << 0, 1 << 1
MOVING_FORWARD, MOVING_REVERSE = 1 << 4, 1 << 5
HOMING, HOMED, SETTLED, MOTION_ERROR = 1 << 9, 1 << 10, 1 << 13, 1 << 14
CURRENT_LIMIT, ENABLED = 1 << 26, 1 << 31

_UPDATE_S = 0.1
#: Faults of the axis: it hums and does not turn, ends a move without a word, fails, or says its
#: status before each answer.
FAULTS = ("stuck", "unreported", "motion_error", "unsolicited")


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs between controllers, or is not known of them."""

    model: str = "KDC101"
    counts_per_deg: float = 1919.64
    velocity_deg_s: float = 25.0
    acceleration_deg_s2: float = 25.0
    home_velocity_deg_s: float = 10.0
    """Negative direction; shown in SET/GET_HOMEPARAMS."""
    soft_limits_deg: tuple[float, float] | None = None
    """Limits in the controller, where it stops by itself."""
    limit_answer: Literal["stopped", "completed", "none"] = "stopped"
    """What is said when a limit ends a move."""
    refuse_unhomed: bool = False
    """Whether an absolute move before homing is ignored, or turns by counts from power-on."""
    power_on_deg: float | None = None
    """Where the plate stands at power-on; by seed if absent."""
    velocity_scale: float = 22.3696
    """Units of velocity in a count per second (KDC101: 65536 * 2048 / 6e6, from memory)."""
    acceleration_scale: float = 0.00763582
    """Units of acceleration in a count per square second, from memory."""


class AptRotator:
    """The controller without its line: bytes and time in, bytes out.

    Times are seconds since power-on; bench time, in which the axis moves, runs ``speed`` times as
    fast. The plate stands at ``power_on_deg`` where the switches do not say otherwise.
    """

    clients = 1

    def __init__(
        self,
        port: RotatorPort,
        *,
        switches: Switches | None = None,
        faults: StreamFaults | None = None,
        speed: float = 1.0,
        power_on_deg: float = 0.0,
        serial_number: int = 1,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or StreamFaults(own=FAULTS)
        self._speed = speed
        for name in ("counts_per_deg", "velocity_deg_s", "acceleration_deg_s2"):
            if not 0.0 < getattr(self.switches, name) <= 1e7:
                raise InputError(f"scenario switches: {name} must be > 0 and at most 1e7")
        self._port = port
        self._serial = serial_number
        self._frames = Frames()
        chosen = self.switches.power_on_deg
        self._rest_deg = power_on_deg if chosen is None else chosen
        self.power_cycle(0.0)

    def power_cycle(self, now_s: float) -> None:
        """Forget settings, homing and any move; the plate stays where it is."""
        now_s *= self._speed
        if hasattr(self, "_motion"):
            self._rest_deg = self._plate(now_s)
        self._motion: Move | Braking | None = None
        self._origin_deg = self._rest_deg
        self._homing = self._homed = self._error = False
        self._enabled, self._target_deg = True, self._rest_deg
        self._limit = 0
        self._stopping = self._stuck = False
        self._updates_since: float | None = None
        scale = self.switches.counts_per_deg
        self._velocity = self.switches.velocity_deg_s * scale
        self._acceleration = self.switches.acceleration_deg_s2 * scale
        self._home = (1, 2, 1, self._units(self.switches.home_velocity_deg_s * scale), 0)
        self._frames = Frames()
        self._port.set_angle_deg(self._rest_deg, now_s)

    def opened(self, now_s: float) -> bytes:
        """Say nothing to a new client."""
        return b""

    def closed(self, now_s: float) -> None:
        """Forget half a command."""
        self._frames = Frames()

    def received(self, data: bytes, now_s: float) -> bytes:
        """Carry out the commands that are complete and return the answers."""
        said = self.due(now_s)
        for ident, first, second, body in self._frames.feed(data):
            answer = self._carry_out(ident, first, second, body, now_s * self._speed)
            if answer and self._takes("unsolicited"):
                said += self._status(0x0491, now_s * self._speed)
            # What a command ends at once is said before the next one is looked at.
            said += answer + self.due(now_s)
        return said

    def due(self, now_s: float) -> bytes:
        """Move on, and return what the controller says by itself."""
        said, now_s = b"", now_s * self._speed
        if self._motion is not None:
            if self._takes("motion_error"):
                self._rest(now_s)
                self._error = True
            elif not self._stuck and self._takes("stuck"):
                self._stuck = True
            if self._stuck and self._motion is not None:
                # It hums and does not turn: still moving, for the controller.
                here = self._plate(now_s)
                self._motion = Move(here, self._target_deg, now_s, 1e-9, 1e-9)
            elif self._motion is not None and now_s >= self._motion.ends_s:
                said += self._arrive(now_s)
            self._port.set_angle_deg(self._plate(now_s), now_s)
        if self._updates_since is not None and now_s - self._updates_since >= _UPDATE_S:
            self._updates_since = now_s
            said += self._status(0x0491, now_s)
        return said

    def state(self) -> dict[str, Any]:
        """Return what the controller remembers."""
        return {
            "homed": self._homed,
            "enabled": self._enabled,
            "moving": self._motion is not None,
            "rest_deg": self._rest_deg,
            "origin_deg": self._origin_deg,
        }

    def truth(self, now_s: float) -> dict[str, Any]:
        """Return where the plate really stands."""
        return {"plate_deg": self._plate(now_s * self._speed)}

    def _carry_out(self, ident: int, first: int, second: int, body: bytes, now_s: float) -> bytes:
        match ident:
            case 0x0005:
                return self._info()
            case 0x0011:
                self._updates_since = now_s
            case 0x0012:
                self._updates_since = None
            case 0x0210:
                self._enabled = second == 1
            case 0x0211:
                return short_message(0x0212, 1, 1 if self._enabled else 2)
            case 0x0411:
                return long_message(0x0412, struct.pack("<Hi", 1, self._counts(now_s)))
            case 0x0413:
                _, _, acceleration, velocity = struct.unpack("<Hiii", body)
                if acceleration > 0 and velocity > 0:
                    self._velocity = velocity / self.switches.velocity_scale
                    self._acceleration = acceleration / self.switches.acceleration_scale
            case 0x0414:
                values = (self._units(self._velocity), round(self._acceleration_units()))
                return long_message(0x0415, struct.pack("<Hiii", 1, 0, values[1], values[0]))
            case 0x0429:
                return long_message(0x042A, struct.pack("<HI", 1, self._bits(now_s)))
            case 0x0440:
                self._home = struct.unpack("<HHHii", body)
            case 0x0441:
                return long_message(0x0442, struct.pack("<HHHii", *self._home))
            case 0x0443:
                self._go_home(now_s)
            case 0x0448:
                _, counts = struct.unpack("<Hi", body)
                self._go(self._plate(now_s) + counts / self.switches.counts_per_deg, now_s)
            case 0x0453:
                _, counts = struct.unpack("<Hi", body)
                if self._homed or not self.switches.refuse_unhomed:
                    self._go(self._origin_deg + counts / self.switches.counts_per_deg, now_s)
            case 0x0465:
                return self._stop(second, now_s)
            case 0x0490:
                return self._status(0x0491, now_s)
            case _:
                pass  # An unknown message, or a request to blink: nothing to say.
        return b""

    def _go(self, target_deg: float, now_s: float, velocity: float | None = None) -> None:
        here, limits = self._plate(now_s), self.switches.soft_limits_deg
        self._limit = 0
        if limits is not None and not self._homing:
            low, high = (limit + self._origin_deg for limit in limits)
            if target_deg > high:
                target_deg, self._limit = max(here, high), FORWARD_LIMIT
            elif target_deg < low:
                target_deg, self._limit = min(here, low), REVERSE_LIMIT
        self._stopping = self._error = self._stuck = False
        self._target_deg = target_deg
        if not self._enabled:
            return
        scale = self.switches.counts_per_deg
        speed = (self._velocity if velocity is None else velocity) / scale
        self._motion = Move(here, target_deg, now_s, speed, self._acceleration / scale)

    def _go_home(self, now_s: float) -> None:
        self._homing, self._homed = True, False
        here = self._plate(now_s)
        velocity = max(1.0, self._home[3] / self.switches.velocity_scale)
        self._go(here - here % 360.0, now_s, velocity)

    def _arrive(self, now_s: float) -> bytes:
        homing, stopping = self._homing, self._stopping
        self._rest(now_s)
        quiet = self._takes("unreported")
        if homing and not stopping:
            # The plate stands at its mark, whichever turn it is; from here on counts mean angles.
            self._homed, self._origin_deg, self._rest_deg = True, 0.0, 0.0
            return b"" if quiet else short_message(0x0444, 1, 0)
        ident = 0x0466 if stopping else 0x0464
        if self._limit and not stopping:
            ident = {"stopped": 0x0466, "completed": 0x0464, "none": 0}[self.switches.limit_answer]
        return b"" if quiet or not ident else self._status(ident, now_s)

    def _rest(self, now_s: float) -> None:
        self._rest_deg, self._motion = self._plate(now_s), None
        self._homing = self._stopping = self._stuck = False

    def _stop(self, mode: int, now_s: float) -> bytes:
        if self._motion is None:
            return self._status(0x0466, now_s)
        here, speed = self._plate(now_s), self._motion.speed(now_s)
        self._homing, self._stopping, self._limit = False, True, 0
        if mode == 1 or self._stuck:
            self._motion = Braking(here, 0.0, now_s, 1.0)
            return self._arrive(now_s)
        acceleration = self._acceleration / self.switches.counts_per_deg
        self._motion = Braking(here, speed, now_s, acceleration)
        return b""

    def _plate(self, now_s: float) -> float:
        return self._rest_deg if self._motion is None else self._motion.position(now_s)

    def _counts(self, now_s: float) -> int:
        counts = round((self._plate(now_s) - self._origin_deg) * self.switches.counts_per_deg)
        return (counts + 2**31) % 2**32 - 2**31

    def _bits(self, now_s: float) -> int:
        bits = (ENABLED if self._enabled else 0) | (HOMED if self._homed else 0) | self._limit
        bits |= MOTION_ERROR if self._error else 0
        if self._motion is None:
            return bits | SETTLED
        forward = self._motion.speed(now_s) > 0.0
        bits |= MOVING_FORWARD if forward else MOVING_REVERSE
        return bits | (HOMING if self._homing else 0)

    def _status(self, ident: int, now_s: float) -> bytes:
        speed = 0.0 if self._motion is None else abs(self._motion.speed(now_s))
        velocity = min(0xFFFF, round(speed))
        body = struct.pack("<HiHHI", 1, self._counts(now_s), velocity, 0, self._bits(now_s))
        return long_message(ident, body)

    def _info(self) -> bytes:
        model = self.switches.model.encode("ascii", "replace")[:8]
        notes = f"STUB-{self._serial}".encode()
        body = struct.pack("<I8sHI60sHHH", self._serial, model, 16, 0x00010203, notes, 1, 0, 1)
        return long_message(0x0006, body)

    def _units(self, counts_per_s: float) -> int:
        return round(counts_per_s * self.switches.velocity_scale)

    def _acceleration_units(self) -> float:
        return self._acceleration * self.switches.acceleration_scale

    def _takes(self, fault: str) -> bool:
        """Say whether a fault is in force, and count it down."""
        return self.faults.spend(fault) is not None


def station(port: RotatorPort, *, seed: int, switches: dict[str, Any], speed: float) -> Station:
    """Put the instrument on a bench: its station for the loop."""
    try:
        chosen = msgspec.convert(switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    faults = StreamFaults(own=FAULTS)
    device = AptRotator(
        port,
        switches=chosen,
        faults=faults,
        speed=speed,
        power_on_deg=float(generator(seed, "apt").uniform(0.0, 360.0)),
        serial_number=seed % 2**32,
    )
    return Station("apt", (device,), (), faults, truth=device.truth)


def serve(options: StubOptions) -> int:
    """Run the stub alone until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    alone = station(
        BlindRotator(), seed=options.seed, switches=options.switches, speed=options.speed
    )
    return run_serial_station(alone, options, "?baud=115200&rtscts=1")
