"""Driver of lasers, attenuators and power meters that speak SCPI, through PyVISA.

Makers agree on the grammar and differ in the words: the words are a table, :class:`Words`, and each
may be replaced. After every setting the error queue is read until it is empty, and the setting is
read back: what an instrument accepts is not always what it does.
"""

import math
import re
import time
from collections.abc import Callable, Mapping

import msgspec

from backends.drivers.capabilities import Identity
from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from backends.drivers.visa import resource_of
from backends.drivers.zmq_scpi import parse_address
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, InputError

__all__ = ["ROLES", "ScpiLight", "Words"]

_NUMBER = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*(?:dBm?)?\Z", re.IGNORECASE)
_ERROR = re.compile(r"([+-]?[0-9]{1,6})\s*,\s*\"?([^\"]*)\"?\Z")
_STATES = {"1": True, "ON": True, "0": False, "OFF": False}
#: No queue is longer; an instrument that goes on answering errors is broken.
_LONGEST_QUEUE = 64
#: What light in a laboratory can be. SCPI shows 9.91E37 for a number that is none.
_POSSIBLE_DBM = (-150.0, 60.0)


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said to an instrument; empty where it has nothing to say it to.

    ``{value}`` is the number, or ON and OFF.
    """

    output_set: str = ""
    output_query: str = ""
    power_set: str = ""
    power_query: str = ""
    attenuation_set: str = ""
    attenuation_query: str = ""
    reading_query: str = ""
    """Power that is measured, dBm."""
    tripped_query: str = ""
    """1 while an interlock forbids light."""

    def check(self) -> "Words":
        """Refuse a table that cannot be spoken."""
        for name, text in msgspec.structs.asdict(self).items():
            if not text:
                continue
            if not (text.isascii() and text.isprintable()) or len(text) > 200:
                raise InputError(f"words.{name} must be printable ASCII, 200 characters at most")
            if (text.count("{value}") == 1) != name.endswith("_set"):
                raise InputError(
                    f"words.{name} must hold {{value}} once"
                    if name.endswith("_set")
                    else f"words.{name} is a query and must not hold {{value}}"
                )
            if name.endswith("_set") and not getattr(self, name.replace("_set", "_query")):
                raise InputError(f"words.{name} needs a query to read it back")
        return self


#: Words of SCPI 1999, volume 2, by what the instrument is.
ROLES = {
    "laser": Words(
        output_set="OUTP {value}",
        output_query="OUTP?",
        power_set="SOUR:POW {value}DBM",
        power_query="SOUR:POW?",
        tripped_query="OUTP:PROT:TRIP?",
    ),
    "attenuator": Words(
        output_set="OUTP {value}",
        output_query="OUTP?",
        attenuation_set="INP:ATT {value}DB",
        attenuation_query="INP:ATT?",
    ),
    "meter": Words(reading_query="READ:POW?"),
}


class ScpiLight:
    """The instrument at a VISA resource or at ``tcp://HOST:PORT``. Not for use by two threads.

    ``role`` chooses the words, ``words`` replaces some. An attenuator needs ``input_dbm``, the
    power that enters it. ``low_dbm`` to ``high_dbm`` is what may be set, ``tolerance_db`` how well
    it must read back.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 2.0,
        stream: Stream | None = None,
        role: str = "laser",
        words: Mapping[str, str] | None = None,
        low_dbm: float = -60.0,
        high_dbm: float = 10.0,
        tolerance_db: float = 0.05,
        input_dbm: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if role not in ROLES:
            raise InputError(f"role must be one of {', '.join(ROLES)}, got {role!r}")
        if not _POSSIBLE_DBM[0] <= low_dbm <= high_dbm <= _POSSIBLE_DBM[1]:
            raise InputError(
                f"low_dbm and high_dbm must be in order, from {_POSSIBLE_DBM[0]:g} to "
                f"{_POSSIBLE_DBM[1]:g}, got {low_dbm} and {high_dbm}"
            )
        if not 1e-4 <= tolerance_db <= 3.0:
            raise InputError(f"tolerance_db must be from 0.0001 to 3, got {tolerance_db}")
        self._words = _replaced(ROLES[role], words or {})
        if self._words.attenuation_set and (input_dbm is None or not math.isfinite(input_dbm)):
            raise InputError("input_dbm must be the power in dBm that enters the attenuator")
        words_of_light = ("output_set", "output_query", "power_set", "attenuation_set")
        self.shines = any(getattr(self._words, name) for name in words_of_light)
        """Whether it has light of its own: a meter has none to switch off."""
        self.address = address
        self._input_dbm = 0.0 if input_dbm is None else input_dbm
        self._low_dbm, self._high_dbm = low_dbm, high_dbm
        self._tolerance_db = tolerance_db
        self._cleared = 0
        self._wire = Connection(
            _visa(address), timeout_s=timeout_s, limit_bytes=4096, stream=stream, clock=clock
        )
        try:
            self._fresh()
        except DeviceError:
            self._wire.close()
            raise

    def identify(self) -> Identity:
        """Ask ``*IDN?``; the answer must have four fields (IEEE 488.2, 10.14)."""
        fields = [field.strip() for field in self._ask("*IDN?").split(",")]
        if len(fields) != 4 or not all(fields):
            raise DeviceProtocol(f"{self.address}: *IDN? must answer four fields, got {fields}")
        return Identity(*fields)

    def ping(self) -> None:
        """Return when the instrument answers."""
        self.identify()

    def set_output(self, on: bool) -> None:
        """Switch the light on or off, and verify it; an open interlock keeps it off."""
        if not self._words.output_set:
            raise DeviceError(f"{self.address}: this instrument cannot switch light")
        if on and self.tripped():
            raise DeviceError(f"{self.address}: the interlock is open, the light stays off")
        self._set(self._words.output_set.replace("{value}", "ON" if on else "OFF"))
        if self.output() != on:
            raise DeviceProtocol(
                f"{self.address}: light was switched {'on' if on else 'off'} and reads otherwise"
            )

    def output(self) -> bool:
        """Read whether light is on."""
        if not self._words.output_query:
            raise DeviceError(f"{self.address}: this instrument does not know whether light is on")
        return self._state(self._words.output_query)

    def tripped(self) -> bool:
        """Read whether an interlock forbids light; False where the instrument has none."""
        query = self._words.tripped_query
        return bool(query) and self._state(query)

    def set_power_dbm(self, power_dbm: float) -> None:
        """Set the power, or the attenuation that gives it, and verify it."""
        if not self._low_dbm <= power_dbm <= self._high_dbm:
            raise DeviceLimit(
                f"power_dbm must be from {self._low_dbm:g} to {self._high_dbm:g}, got {power_dbm}"
            )
        if self._words.power_set:
            self._set_number(self._words.power_set, self._words.power_query, power_dbm)
        elif self._words.attenuation_set:
            loss_db = self._input_dbm - power_dbm
            if loss_db < 0.0:
                raise DeviceLimit(
                    f"power_dbm must be at most input_dbm = {self._input_dbm:g}, got {power_dbm}"
                )
            self._set_number(self._words.attenuation_set, self._words.attenuation_query, loss_db)
        else:
            raise DeviceError(f"{self.address}: this instrument sets no power")

    def power_dbm(self) -> float:
        """Read the power that is measured, or set where nothing measures it."""
        if self._words.reading_query:
            return self._number(self._words.reading_query, *_POSSIBLE_DBM)
        if self._words.power_query:
            return self._number(self._words.power_query, *_POSSIBLE_DBM)
        return self._input_dbm - self._number(self._words.attenuation_query, 0.0, 150.0)

    def safe_state(self) -> None:
        """Switch the light off and read that it is; a meter has nothing to switch off."""
        if self._words.output_set:
            self.set_output(False)
        else:
            self.ping()

    def strike(self) -> float:
        """Write that the light is off; the instrument answers nothing to that."""
        if self._words.output_set:
            command = self._words.output_set.replace("{value}", "OFF")
            self._wire.say(f"{command}\n".encode("ascii"))
        return time.monotonic()

    def close(self) -> None:
        """Release the connection; safe to call twice. The light is left as it is."""
        self._wire.close()

    def _fresh(self) -> None:
        """Forget errors from before our connection: they are answers to somebody else."""
        self._wire.ensure()
        if self._cleared != self._wire.opened:
            self._wire.say(b"*CLS\n")
            self._cleared = self._wire.opened

    def _ask(self, query: str) -> str:
        self._fresh()
        if self._wire.waiting() or self._wire.unfinished():
            # An answer to a question that nobody asked: later ones would be off by one.
            self._wire.drop()
            self._fresh()
        self._wire.say(f"{query}\n".encode("ascii"))
        answer = self._wire.frame()
        if not answer.isascii():
            self._wire.drop()
            raise DeviceProtocol(f"{self.address}: the answer to {query} is not ASCII text")
        return answer.decode("ascii").strip()

    def _set(self, command: str) -> None:
        self._fresh()
        self._wire.say(f"{command}\n".encode("ascii"))
        errors = self._errors()
        if errors:
            raise DeviceError(f"{self.address}: {command} was refused: {'; '.join(errors)}")

    def _errors(self) -> list[str]:
        """Empty the error queue."""
        found: list[str] = []
        for _ in range(_LONGEST_QUEUE):
            answer = self._ask("SYST:ERR?")
            parts = _ERROR.match(answer)
            if parts is None:
                raise DeviceProtocol(
                    f'{self.address}: SYST:ERR? must answer NUMBER,"TEXT", got {answer[:60]!r}'
                )
            if int(parts[1]) == 0:
                return found
            found.append(f"{int(parts[1])} {parts[2]}")
        raise DeviceProtocol(f"{self.address}: the error queue does not end")

    def _set_number(self, command: str, query: str, value: float) -> None:
        self._set(command.replace("{value}", f"{value:.4f}"))
        seen = self._number(query, *_POSSIBLE_DBM)
        if abs(seen - value) > self._tolerance_db:
            raise DeviceProtocol(f"{self.address}: {query} was set to {value:g} but reads {seen:g}")

    def _number(self, query: str, low: float, high: float) -> float:
        answer = self._ask(query)
        found = _NUMBER.match(answer)
        if found is None or not low <= float(found[1]) <= high:
            raise DeviceProtocol(
                f"{self.address}: {query} must answer a number from {low:g} to {high:g}, "
                f"got {answer[:40]!r}"
            )
        return float(found[1])

    def _state(self, query: str) -> bool:
        answer = self._ask(query).upper()
        if answer not in _STATES:
            raise DeviceProtocol(f"{self.address}: {query} must answer 0 or 1, got {answer[:40]!r}")
        return _STATES[answer]


def _replaced(words: Words, changes: Mapping[str, str]) -> Words:
    try:
        return msgspec.convert(msgspec.structs.asdict(words) | dict(changes), Words).check()
    except msgspec.ValidationError as wrong:
        raise InputError(f"words: {wrong}") from wrong


def _visa(address: str) -> str:
    """Return an address that opens a stream: VISA for resource names and for TCP."""
    if address.startswith("tcp://"):
        host, port = parse_address(address)
        return f"visa://TCPIP::{host}::{port}::SOCKET"
    if "://" in address and not address.startswith("visa://"):
        return address
    return f"visa://{resource_of(address)}"
