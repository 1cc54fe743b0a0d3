"""Driver of a Thorlabs rotation mount: KDC101 with PRM1-Z8, K10CR1, or any APT axis by its scale.

The controller counts from wherever the plate stood at power-on, until it is homed. So an axis that
is not homed is never moved to an angle, and its angle is not reported: both would be of a plate
that stands elsewhere. The unit's protocol has no check sum; an angle is read three times, through
two different messages, and the readings must agree.
"""

import math
import struct
import time
from collections.abc import Callable

from backends.drivers.apt_line import AptLine
from backends.drivers.apt_messages import (
    Message,
    Status,
    command,
    command_with_data,
    parse_status,
)
from backends.drivers.capabilities import Identity
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["MOUNTS", "Apt"]

#: Counts per degree. PRM1-Z8: Thorlabs, APT protocol document; K10CR1: from memory.
MOUNTS = {"prm1-z8": 1919.64, "k10cr1": 136533.0}

#: Status bits of the protocol document.
_LIMITS = 0b11
_MOVING = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9
_HOMED, _MOTION_ERROR, _ENABLED = 1 << 10, 1 << 14, 1 << 31
_OVERLOAD = 1 << 24 | 1 << 26

_HOMED_MESSAGE, _COMPLETED, _STOPPED = 0x0444, 0x0464, 0x0466
#: Time between two looks at an axis that moves, and how many looks show that it rests elsewhere.
_LOOK_S = 0.05
_LOOKS = 4


class Apt:
    """The axis at ``serial:///dev/...?baud=115200&rtscts=1``. Not for use by two threads.

    ``low_deg`` and ``high_deg`` are what :meth:`move_deg` allows; ``tolerance_deg`` is how near the
    axis must come. ``counts_per_deg`` overrides the scale of ``mount``.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 1.0,
        stream: Stream | None = None,
        mount: str = "prm1-z8",
        counts_per_deg: float | None = None,
        low_deg: float = 0.0,
        high_deg: float = 360.0,
        tolerance_deg: float = 0.02,
        move_timeout_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if mount not in MOUNTS:
            raise InputError(f"mount must be one of {', '.join(MOUNTS)}, got {mount!r}")
        scale = MOUNTS[mount] if counts_per_deg is None else counts_per_deg
        for name, value, low, high in (
            ("counts_per_deg", scale, 1.0, 1e6),
            ("low_deg", low_deg, -360.0, 720.0),
            ("high_deg", high_deg, low_deg, 720.0),
            ("tolerance_deg", tolerance_deg, 1e-4, 5.0),
            ("move_timeout_s", move_timeout_s, 0.01, 3600.0),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} must be from {low:g} to {high:g}, got {value}")
        self.address = address
        self._scale = scale
        self._low_deg, self._high_deg = low_deg, high_deg
        self._tolerance = math.ceil(tolerance_deg * scale)
        self._patience_s = move_timeout_s
        self._clock = clock
        self._line = AptLine(address, timeout_s=timeout_s, stream=stream, clock=clock)
        try:
            # A client before us may have asked for status messages all the time.
            self._line.say(command(0x0012))
        except DeviceError:
            self._line.close()
            raise

    def identify(self) -> Identity:
        """Ask for model, serial number and firmware."""
        data = self._line.ask(command(0x0005), 0x0006, lambda m: len(m.data) == 84).data
        number, model, _, firmware, notes = struct.unpack_from("<I8sHI60s", data)
        text = notes.split(b"\0")[0].decode("ascii", "replace")
        version = firmware.to_bytes(4, "big")[1:]
        return Identity(
            maker="Thorlabs",
            model=model.split(b"\0")[0].decode("ascii", "replace").strip() or "unknown",
            # A serial number is a number here; stubs say in the notes that they are stubs.
            serial=text if text.startswith("STUB-") else str(number),
            firmware=".".join(map(str, version)),
        )

    def ping(self) -> None:
        """Return when the unit answers for its axis."""
        self._status()

    def home(self) -> None:
        """Find the zero; the only move of an axis that has none."""
        self._enable()
        self._line.say(command(0x0443, 1))
        self._rest("homing", _HOMED_MESSAGE, 0)
        counts, bits = self._where()
        if not bits & _HOMED or abs(counts) > self._tolerance:
            raise DeviceError(
                f"{self.address}: homing ended at {counts / self._scale:.3f} deg, "
                f"{'' if bits & _HOMED else 'not '}homed"
            )

    def move_deg(self, angle_deg: float) -> None:
        """Turn to an angle; return when it is reached and read back.

        Raises :class:`DeviceLimit` outside the limits or where the unit stops at one of its own,
        :class:`DeviceTimeout` for a move that does not end (the axis is stopped first), and
        :class:`DeviceError` for an axis that is not homed or reports an error.
        """
        if not self._low_deg <= angle_deg <= self._high_deg:
            raise DeviceLimit(
                f"angle_deg must be from {self._low_deg:g} to {self._high_deg:g}, got {angle_deg}"
            )
        self._enable()
        self._homed(self._status().bits)
        target = round(angle_deg * self._scale)
        self._line.say(command_with_data(0x0453, struct.pack("<Hi", 1, target)))
        self._rest(f"the move to {angle_deg:g} deg", _COMPLETED, target)
        counts, bits = self._where()
        self._homed(bits)
        if abs(counts - target) > self._tolerance:
            kind = DeviceLimit if bits & _LIMITS else DeviceError
            raise kind(
                f"{self.address}: the move to {angle_deg:g} deg ended at "
                f"{counts / self._scale:.3f} deg" + (", at a limit" if bits & _LIMITS else "")
            )

    def position_deg(self) -> float:
        """Read the angle; raises :class:`DeviceError` where the axis is not homed."""
        counts, bits = self._where()
        self._homed(bits)
        angle = counts / self._scale
        if not self._low_deg - 360.0 <= angle <= self._high_deg + 360.0:
            raise DeviceProtocol(f"{self.address}: an angle of {angle:g} deg cannot be")
        return angle

    def stop(self) -> None:
        """Stop at once, and verify it."""
        self._line.say(command(0x0465, 1, 1))
        deadline = self._clock() + self._line.timeout_s
        while self._status().bits & _MOVING:
            if self._clock() > deadline:
                raise DeviceTimeout(
                    f"{self.address}: still moving {self._line.timeout_s:g} s after a stop"
                )
            self._line.hear(_LOOK_S)

    def strike(self) -> float:
        """Write a stop; the unit answers nothing to that before it stands."""
        self._line.resume()
        self._line.say(command(0x0465, 1, 1))
        return time.monotonic()

    def interrupt(self) -> float:
        """Write a stop while another thread may be moving the axis, which sends nothing more."""
        self._line.interrupt(command(0x0465, 1, 1))
        return time.monotonic()

    def safe_state(self) -> None:
        """Stop the axis; it keeps its place and its zero."""
        self.stop()

    def close(self) -> None:
        """Release the line; safe to call twice. The axis is left as it is."""
        self._line.close()

    def _enable(self) -> None:
        if self._status().bits & _ENABLED:
            return
        self._line.say(command(0x0210, 1, 1))
        if not self._status().bits & _ENABLED:
            raise DeviceError(f"{self.address}: the axis cannot be enabled")

    def _homed(self, bits: int) -> None:
        if not bits & _HOMED:
            raise DeviceError(
                f"{self.address}: the axis is not homed (it may have lost power): home() first"
            )

    def _rest(self, what: str, ending: int, target: int) -> None:
        """Wait until a move has ended, by its message or by what the axis says of itself.

        Raises for a motion that does not end or reports an error, after stopping it.
        """
        deadline = self._clock() + self._patience_s
        elsewhere = 0
        while True:
            heard = {message.ident for message in self._line.hear(_LOOK_S)}
            status = self._status()
            bits = status.bits
            if bits & (_MOTION_ERROR | _OVERLOAD):
                self._halt()
                raise DeviceError(f"{self.address}: {what} failed: status {bits:#010x}")
            if not bits & _MOVING:
                if heard & {ending, _STOPPED}:
                    return
                if ending != _HOMED_MESSAGE:
                    self._homed(bits)
                if abs(status.counts - target) <= self._tolerance and elsewhere:
                    return
                elsewhere += 1
                if elsewhere >= _LOOKS:
                    return
            else:
                elsewhere = 0
            if self._clock() > deadline:
                self._halt()
                raise DeviceTimeout(
                    f"{self.address}: {what} did not end within {self._patience_s:g} s; stopped"
                )

    def _halt(self) -> None:
        """Stop on the way to raising what is worse than a failed stop."""
        try:
            self.stop()
        except DeviceTimeout as wrong:
            raise DeviceError(f"{self.address}: the axis failed and cannot be stopped") from wrong

    def _status(self) -> Status:
        return parse_status(self._line.ask(command(0x0490, 1), 0x0491, _of_our_axis).data)

    def _counts(self) -> int:
        data = self._line.ask(command(0x0411, 1), 0x0412, _of_our_axis).data
        return int(struct.unpack("<Hi", data)[1])

    def _where(self) -> tuple[int, int]:
        """Return counts and status bits; two messages and three readings must agree."""
        for _ in range(3):
            before, counts, after = self._status(), self._counts(), self._status()
            low, high = sorted((before.counts, after.counts))
            if (
                low - self._tolerance <= counts <= high + self._tolerance
                and before.bits & _HOMED == after.bits & _HOMED
            ):
                return counts, after.bits
        raise DeviceProtocol(f"{self.address}: three readings of the position do not agree")


def _of_our_axis(message: Message) -> bool:
    return message.data[:2] == b"\x01\x00"
