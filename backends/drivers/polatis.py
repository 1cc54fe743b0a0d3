"""Driver of a Polatis optical circuit switch: SCPI over TCP, port 5025.

A set command answers nothing. So the driver never believes one: it waits for ``*opc?``, reads the
connections back, reads the error queue, and asks whether a port in use has failed. Where another
controller changed the switch in the meantime the driver says so instead of building on it.
"""

import re
import time
from collections.abc import Callable
from typing import NoReturn

from backends.drivers.capabilities import Identity
from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, InputError

__all__ = ["Polatis"]

_SIZE = re.compile(r"([0-9]{1,4}),([0-9]{1,4})\Z")
_PAIRS = re.compile(r"\(@([0-9,]*)\),\(@([0-9,]*)\)\Z")
_STATES = re.compile(r"\(([DEF](?:,[DEF])*)\)\Z")
_POWERS = re.compile(r"\(([-+0-9.,]+)\)\Z")
_POWER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,6})?\Z")
_NO_ERROR = re.compile(r"\+?0\s*,")
_POWER_RANGE_DBM = (-120.0, 40.0)
_MOST_POWERS = 256
_LINE_BYTES = 64 * 1024
_SHOWN = 80


class Polatis:
    """The switch at ``tcp://HOST:PORT``. Not for use by two threads.

    ``ports`` are those that this driver may use (all, if absent). ``settle_s`` is waited after the
    switch says it is ready. Where ``least_power_dbm`` is given, every output must show at least
    this power before a connection counts as made: a read-back proves what the switch believes, only
    light proves what it did.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 2.0,
        settle_s: float = 0.025,
        ports: tuple[int, ...] | None = None,
        least_power_dbm: float | None = None,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 0.0 <= settle_s <= 60.0:
            raise InputError(f"settle_s must be from 0 to 60 seconds, got {settle_s}")
        if least_power_dbm is not None and not -120.0 <= least_power_dbm <= 40.0:
            raise InputError(f"least_power_dbm must be from -120 to 40, got {least_power_dbm}")
        self.address = address
        self._settle_s = settle_s
        self._ports = None if ports is None else frozenset(ports)
        self._least_power_dbm = least_power_dbm
        self._sleep = sleep
        self._made: dict[int, int] | None = None
        self._proved = 0
        self._identity: Identity | None = None
        self._line = Connection(
            address, timeout_s=timeout_s, limit_bytes=_LINE_BYTES, stream=stream, clock=clock
        )
        try:
            self.inputs, self.outputs = self._prove()
        except DeviceError:
            self.close()
            raise

    def identify(self) -> Identity:
        """Ask ``*idn?``; the answer must have four fields."""
        self._prove()
        return self._identify()

    def ping(self) -> None:
        """Return when the switch answers."""
        self.identify()

    def connect(self, outputs: dict[int, int]) -> None:
        """Make exactly these connections (input -> output), undo all others, and verify it.

        Raises :class:`DeviceLimit` for ports that may not be used; :class:`DeviceError` where the
        switch refuses, a port has failed, no light arrives, or another controller changed the
        switch since the last call (once: the next call takes it over); and
        :class:`DeviceProtocol` where it reads back something else than what was asked.
        """
        self._allow(outputs)
        known = self._proved
        self._prove()
        if self._proved == known:
            self.verify()
        self._made = None
        self._errors()
        if outputs:
            left = ",".join(str(source) for source in outputs)
            right = ",".join(str(target) for target in outputs.values())
            command = f":oxc:swit:conn:only (@{left}),(@{right})"
        else:
            command = ":oxc:swit:disc:all"
        done = self._ask(f"{command};*opc?")
        if done != "1":
            self._wrong("*opc?", done, "1")
        self._sleep(self._settle_s)
        errors, seen = self._errors(), self._connections()
        if errors:
            raise DeviceError(f"{self.address}: the switch refused {command}: {errors[:200]}")
        if seen != outputs:
            raise DeviceProtocol(
                f"{self.address}: asked for {_show(outputs)}, but the switch is at {_show(seen)}"
            )
        self._healthy(outputs)
        self._made = dict(outputs)

    def connections(self) -> dict[int, int]:
        """Read which input leads to which output, whoever made it so."""
        self._prove()
        return self._connections()

    def verify(self) -> None:
        """Raise :class:`DeviceError` where connections are not those that this driver made."""
        self._prove()
        if self._made is None:
            return
        seen = self._connections()
        if seen != self._made:
            made, self._made = self._made, None
            raise DeviceError(
                f"{self.address}: changed by another controller or restarted: "
                f"this driver made {_show(made)}, the switch is at {_show(seen)}"
            )

    def powers_dbm(self, ports: tuple[int, ...]) -> tuple[float, ...]:
        """Read the optical power at up to 256 ports, in dBm."""
        self._prove()
        return self._powers(ports)

    def port_states(self, ports: tuple[int, ...]) -> tuple[str, ...]:
        """Read whether ports are ``E`` enabled, ``D`` disabled or ``F`` failed."""
        self._prove()
        return self._states(ports)

    def safe_state(self) -> None:
        """Park: undo every connection and verify it, whoever made it."""
        self._prove()
        self._made = None
        self.connect({})

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        self._line.close()

    def _prove(self) -> tuple[int, int]:
        """Open the connection where needed; on a new one, prove that it is the same switch."""
        self._line.renew()
        if self._line.opened == self._proved:
            return self.inputs, self.outputs
        identity = self._identify()
        if self._identity is not None and identity != self._identity:
            self._line.drop()
            raise DeviceError(f"{self.address}: another instrument answers now: {identity}")
        answer = self._ask(":oxc:swit:size?")
        found = _SIZE.match(answer)
        if found is None or not all(1 <= int(n) <= 1024 for n in found.groups()):
            self._wrong(":oxc:swit:size?", answer, "two sizes from 1 to 1024")
        self._identity = identity
        self._proved = self._line.opened
        return int(found[1]), int(found[2])

    def _identify(self) -> Identity:
        answer = self._ask("*idn?")
        fields = [field.strip() for field in answer.split(",")]
        if len(fields) != 4 or not all(fields):
            self._wrong("*idn?", answer, "four fields")
        return Identity(*fields)

    def _allow(self, outputs: dict[int, int]) -> None:
        last = self.inputs + self.outputs
        for source, target in outputs.items():
            if not 1 <= source <= self.inputs:
                raise DeviceLimit(f"input must be from 1 to {self.inputs}, got {source}")
            if not self.inputs < target <= last:
                raise DeviceLimit(f"output must be from {self.inputs + 1} to {last}, got {target}")
            for port in (source, target):
                if self._ports is not None and port not in self._ports:
                    raise DeviceLimit(f"port {port} is not among the ports of this driver")
        if len(set(outputs.values())) != len(outputs):
            raise DeviceLimit(f"outputs must differ, got {_show(outputs)}")

    def _healthy(self, outputs: dict[int, int]) -> None:
        used = (*outputs, *outputs.values())
        if not used:
            return
        bad = [f"{p}{s}" for p, s in zip(used, self._states(used), strict=True) if s != "E"]
        if bad:
            raise DeviceError(f"{self.address}: ports failed (F) or disabled (D): {', '.join(bad)}")
        if self._least_power_dbm is None:
            return
        targets = tuple(outputs.values())
        for port, power in zip(targets, self._powers(targets), strict=True):
            if power < self._least_power_dbm:
                raise DeviceError(
                    f"{self.address}: output {port} shows {power:g} dBm, "
                    f"at least {self._least_power_dbm:g} is needed: is it connected?"
                )

    def _connections(self) -> dict[int, int]:
        question = ":oxc:swit:conn:stat?"
        answer = self._ask(question)
        found = _PAIRS.match(answer)
        sides = [_numbers(side) for side in found.groups()] if found else [None, None]
        left, right = sides
        last = self.inputs + self.outputs
        if (
            left is None
            or right is None
            or len(left) != len(right)
            or len({*left, *right}) != 2 * len(left)
            or not all(1 <= port <= self.inputs for port in left)
            or not all(self.inputs < port <= last for port in right)
        ):
            self._wrong(question, answer, "pairs of an input and an output")
        return dict(zip(left, right, strict=True))

    def _states(self, ports: tuple[int, ...]) -> tuple[str, ...]:
        question = f":oxc:swit:port:stat? {self._list(ports)}"
        answer = self._ask(question)
        found = _STATES.match(answer)
        letters = tuple(found[1].split(",")) if found else ()
        if len(letters) != len(ports):
            self._wrong(question, answer, f"{len(ports)} of D, E, F")
        return letters

    def _powers(self, ports: tuple[int, ...]) -> tuple[float, ...]:
        question = f":pmon:pow? {self._list(ports)}"
        answer = self._ask(question)
        found = _POWERS.match(answer)
        texts = found[1].split(",") if found else []
        low, high = _POWER_RANGE_DBM
        if len(texts) != len(ports) or not all(
            _POWER.match(text) and low <= float(text) <= high for text in texts
        ):
            self._wrong(question, answer, f"{len(ports)} powers from {low:g} to {high:g} dBm")
        return tuple(float(text) for text in texts)

    def _list(self, ports: tuple[int, ...]) -> str:
        last = self.inputs + self.outputs
        if not 1 <= len(ports) <= _MOST_POWERS or not all(1 <= port <= last for port in ports):
            raise DeviceLimit(
                f"ports must be 1 to {_MOST_POWERS} numbers from 1 to {last}, got {ports!r:.80}"
            )
        return "(@" + ",".join(map(str, ports)) + ")"

    def _errors(self) -> str:
        """Empty the error queue; the text is empty where there was none."""
        answer = self._ask(":syst:err:all?")
        if not re.match(r"[+-]?[0-9]{1,6}\s*,", answer):
            self._wrong(":syst:err:all?", answer, 'code,"text"')
        return "" if _NO_ERROR.match(answer) else answer

    def _ask(self, question: str) -> str:
        """Send a line, return the line that answers it."""
        if self._line.waiting() or self._line.unfinished():
            self._line.drop()
            raise DeviceProtocol(f"{self.address}: an answer came that nobody asked for")
        self._line.say(question.encode("ascii") + b"\n")
        answer = self._line.frame()
        try:
            return answer.decode("ascii").strip()
        except UnicodeDecodeError:
            self._wrong(question, repr(answer), "ASCII text")

    def _wrong(self, question: str, answer: str, allowed: str) -> NoReturn:
        """Raise for an answer that cannot be; who is out of step must start anew."""
        self._line.drop()
        raise DeviceProtocol(
            f"{self.address}: {question[:_SHOWN]} must answer {allowed}, got {answer[:_SHOWN]!r}"
        )


def _numbers(text: str) -> list[int] | None:
    parts = text.split(",") if text else []
    return [int(part) for part in parts] if all(1 <= len(p) <= 5 for p in parts) else None


def _show(pairs: dict[int, int]) -> str:
    return ", ".join(f"{a}-{b}" for a, b in sorted(pairs.items())) or "no connection"
