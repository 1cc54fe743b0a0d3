"""Driver of whatever a PC_RPC server offers (ARTIQ controllers), such as a laser and a shutter.

:meth:`PcRpc.call` calls any method of any target. For the capabilities Light and Shutter two
targets are named; what methods they must have is a convention of ours, because PC_RPC has none but
``ping()``: ``set_open(bool)``, ``is_open()``, ``interlock_closed()`` and ``set_output(bool)``,
``output()``, ``set_power_mw(float)``, ``power_mw()``.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from backends.drivers.capabilities import Identity
from backends.drivers.pc_rpc_wire import RemoteError, Target
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, InputError

__all__ = ["PcRpc", "RemoteError"]

_LEAST_DBM, _MOST_DBM = -120.0, 60.0
#: What stands for darkness in dBm.
_DARK_DBM = -120.0


class PcRpc:
    """The server at ``tcp://HOST:PORT``. Not for use by two threads.

    ``shutter`` and ``laser`` are the names of targets; None where the server has none.
    ``power_limits_dbm`` bound what :meth:`set_power_dbm` may ask for. Where ``streams`` are given,
    each target takes the one of its name.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 2.0,
        shutter: str | None = "shutter",
        laser: str | None = "laser",
        power_limits_dbm: tuple[float, float] = (-60.0, 10.0),
        tolerance_db: float = 0.1,
        streams: dict[str, Stream] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        low, high = power_limits_dbm
        if not _LEAST_DBM <= low <= high <= _MOST_DBM:
            raise InputError(
                f"power_limits_dbm must be rising within {_LEAST_DBM:g} to {_MOST_DBM:g}, "
                f"got {low}, {high}"
            )
        if not 0.0 < tolerance_db <= 10.0:
            raise InputError(f"tolerance_db must be > 0 and at most 10, got {tolerance_db}")
        if shutter is None and laser is None:
            raise InputError("shutter or laser must name a target")
        self.address = address
        self._timeout_s = timeout_s
        self._shutter = shutter
        self._laser = laser
        self._limits_dbm = power_limits_dbm
        self._tolerance_db = tolerance_db
        self._streams = streams
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._closed = False
        try:
            for name in self._named():
                self._target(name).open()
        except (DeviceError, InputError):
            self.close()
            raise

    def call(self, target: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a target and return what it returns.

        Raises :class:`RemoteError` for what it raised, :class:`InputError` for a target or method
        that the server does not have.
        """
        return self._target(target).call(method, *args, **kwargs)

    def identify(self) -> Identity:
        """Return what the server says of itself; the serial number is a word of its description."""
        self.ping()
        first = self._target(self._named()[0])
        words = first.description.split()
        stub = next((word for word in words if word.startswith("STUB")), "unknown")
        return Identity("PC_RPC", first.description or "unknown", stub, "unknown")

    def ping(self) -> None:
        """Call ``ping()`` of every named target; it must not return False."""
        for name in self._named():
            if self.call(name, "ping") is False:
                raise DeviceError(f"{self.address}: target {name!r} does not work: ping() is False")

    def set_open(self, is_open: bool) -> None:
        """Open or close the shutter, and verify it; an open interlock is a :class:`DeviceLimit`."""
        name = self._need(self._shutter, "shutter")
        if is_open and not self.interlock_closed():
            raise DeviceLimit(f"{self.address}: the interlock is open: the shutter stays closed")
        self.call(name, "set_open", bool(is_open))
        if self.is_open() is bool(is_open):
            return
        if is_open and not self.interlock_closed():
            raise DeviceLimit(f"{self.address}: the interlock opened: the shutter is closed")
        raise DeviceProtocol(f"{self.address}: the shutter does not do what it is told")

    def is_open(self) -> bool:
        """Read whether the shutter is open."""
        return self._bool(self._need(self._shutter, "shutter"), "is_open")

    def interlock_closed(self) -> bool:
        """Read whether the interlock allows the shutter to open."""
        return self._bool(self._need(self._shutter, "shutter"), "interlock_closed")

    def set_output(self, on: bool) -> None:
        """Switch the laser on or off, and verify it."""
        name = self._need(self._laser, "laser")
        self.call(name, "set_output", bool(on))
        if self.output() is not bool(on):
            raise DeviceProtocol(f"{self.address}: the laser does not do what it is told")

    def output(self) -> bool:
        """Read whether the laser is on."""
        return self._bool(self._need(self._laser, "laser"), "output")

    def set_power_dbm(self, power_dbm: float) -> None:
        """Set the power within ``power_limits_dbm``, and verify it where the laser is on."""
        low, high = self._limits_dbm
        if not low <= power_dbm <= high:
            raise DeviceLimit(f"power_dbm must be from {low:g} to {high:g}, got {power_dbm}")
        name = self._need(self._laser, "laser")
        self.call(name, "set_power_mw", 10.0 ** (power_dbm / 10.0))
        if not self.output():
            return
        seen = self.power_dbm()
        if abs(seen - power_dbm) > self._tolerance_db:
            raise DeviceProtocol(f"{self.address}: {power_dbm:g} dBm was set, {seen:g} dBm is read")

    def power_dbm(self) -> float:
        """Read the power that leaves the laser; -120 stands for darkness."""
        value = self.call(self._need(self._laser, "laser"), "power_mw")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DeviceProtocol(f"{self.address}: power_mw() must be a number, got {value!r:.40}")
        if not math.isfinite(value) or not 0.0 <= value <= 1e6:
            raise DeviceProtocol(f"{self.address}: power_mw() must be 0 to 1e6, got {value}")
        return max(_DARK_DBM, 10.0 * math.log10(value)) if value > 0.0 else _DARK_DBM

    def safe_state(self) -> None:
        """Close the shutter and switch the laser off, each read back; try both whatever fails."""
        wrong: list[DeviceError] = []
        for named, switch in ((self._shutter, self.set_open), (self._laser, self.set_output)):
            if named is not None:
                try:
                    switch(False)
                except DeviceError as failed:
                    wrong.append(failed)
        if wrong:
            raise wrong[0]

    def strike(self) -> float:
        """Write that the shutter is closed and the laser off, then read what both answer."""
        wishes = ((self._shutter, "set_open"), (self._laser, "set_output"))
        said = [self._target(name).say(method, False) for name, method in wishes if name]
        written_s = time.monotonic()
        for answer in said:
            answer()
        return written_s

    def close(self) -> None:
        """Release all connections; safe to call twice."""
        self._closed = True
        for target in self._targets.values():
            target.close()

    def _named(self) -> list[str]:
        return [name for name in (self._shutter, self._laser) if name is not None]

    def _target(self, name: str) -> Target:
        if self._closed:
            raise DeviceError(f"{self.address}: the connection is closed")
        if name not in self._targets:
            stream = None if self._streams is None else self._streams.get(name)
            if self._streams is not None and stream is None:
                raise InputError(f"streams has no target {name!r:.60}")
            self._targets[name] = Target(
                self.address, name, timeout_s=self._timeout_s, stream=stream, clock=self._clock
            )
        return self._targets[name]

    def _need(self, name: str | None, what: str) -> str:
        if name is None:
            raise InputError(f"{self.address}: no target was named as {what}")
        return name

    def _bool(self, target: str, method: str) -> bool:
        value = self.call(target, method)
        if not isinstance(value, bool):
            raise DeviceProtocol(
                f"{self.address}: {target}.{method}() must be true or false, got {value!r:.40}"
            )
        return value
