"""Drivers that are broken on purpose, each in one way: the kit must find that one."""

import math
import time
from typing import Any

from backends.drivers.apt import Apt
from backends.drivers.capabilities import Identity, Rates
from backends.drivers.epc import Epc
from backends.drivers.pc_rpc import PcRpc
from backends.drivers.polatis import Polatis
from backends.drivers.scpi import ScpiLight
from backends.drivers.websq import WebSQ
from quantum.errors import DeviceError, DeviceTimeout, InputError


class NoInstrument:
    """Has a name and nothing else."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        self.address = address

    def close(self) -> None:
        return None


class ChangesItsName(ScpiLight):
    count = 0

    def identify(self) -> Identity:
        ChangesItsName.count += 1
        seen = super().identify()
        return Identity(seen.maker, seen.model, f"{seen.serial}-{self.count}", seen.firmware)


class Wavers(Epc):
    turn = 0

    def voltages_mv(self) -> Any:
        self.turn += 1
        return tuple(500.0 * self.turn for _ in range(4))


class AnswersWhenClosed(ScpiLight):
    def ping(self) -> None:
        return None


class SendsFirst(ScpiLight):
    """Asks the instrument whether a value is possible."""

    def set_power_dbm(self, power_dbm: float) -> None:
        self.output()
        super().set_power_dbm(power_dbm)


class TakesAnything(Epc):
    def set_voltages_mv(self, voltages_mv: Any) -> None:
        try:
            super().set_voltages_mv(voltages_mv)
        except (DeviceError, InputError):
            return


class Pretends(Epc):
    """Believes that what was said was done."""

    def set_voltages_mv(self, voltages_mv: Any) -> None:
        super().set_voltages_mv(tuple(0.0 for _ in voltages_mv))


class NeverSafe(ScpiLight):
    def safe_state(self) -> None:
        return None


class Waits(ScpiLight):
    """Goes on asking long after its timeout."""

    def identify(self) -> Identity:
        until = time.monotonic() + 4.0
        while True:
            try:
                return super().identify()
            except DeviceError:
                if time.monotonic() > until:
                    raise


class CannotBeCancelled(ScpiLight):
    """Closes only when nobody reads."""

    reading = False

    def identify(self) -> Identity:
        self.reading = True
        try:
            return super().identify()
        finally:
            self.reading = False

    def close(self) -> None:
        until = time.monotonic() + 3.0
        while self.reading and time.monotonic() < until:
            time.sleep(0.01)
        super().close()


class BelievesGarbage(ScpiLight):
    """Makes an identity of whatever comes."""

    def identify(self) -> Identity:
        try:
            return super().identify()
        except DeviceTimeout:
            raise
        except DeviceError as wrong:
            return Identity("?", str(wrong), "?", "?")


class BelievesLateAnswers(ScpiLight):
    """After a timeout takes the next answer for the one that it asked for."""

    late: Identity | None = None

    def identify(self) -> Identity:
        try:
            seen = super().identify()
        except DeviceTimeout:
            self.late = Identity("late", "late", "late", "late")
            raise
        seen, self.late = self.late or seen, None
        return seen


class StaysDead(ScpiLight):
    """Never tries again after a failure."""

    failed: DeviceError | None = None

    def identify(self) -> Identity:
        if self.failed is not None:
            raise self.failed
        try:
            return super().identify()
        except DeviceError as wrong:
            self.failed = wrong
            raise


class Remembers(ScpiLight):
    """Answers from memory what it has set."""

    known: bool | None = None

    def set_output(self, on: bool) -> None:
        super().set_output(on)
        self.known = on

    def output(self) -> bool:
        return super().output() if self.known is None else self.known


class HearsTheOther(Polatis):
    """All share one place for the answer."""

    last: Identity | None = None
    opened = 0

    def __init__(self, address: str, **settings: Any) -> None:
        super().__init__(address, **settings)
        HearsTheOther.opened += 1
        self.number = HearsTheOther.opened

    def identify(self) -> Identity:
        seen = super().identify()
        if self.number % 2 == 0:
            HearsTheOther.last = Identity(seen.maker, seen.model, "other", seen.firmware)
        return HearsTheOther.last or seen


class KeepsOldConnections(Polatis):
    def connect(self, outputs: dict[int, int]) -> None:
        if len(outputs) > 1:
            super().connect(outputs)


class PowerOfNothing(Polatis):
    def powers_dbm(self, ports: tuple[int, ...]) -> tuple[float, ...]:
        return (math.nan, *super().powers_dbm(ports)[1:])


class OldRates(WebSQ):
    first: Rates | None = None

    def rates(self) -> Rates:
        self.first = self.first or super().rates()
        return self.first


class LatchesNobody(WebSQ):
    def latched(self) -> tuple[int, ...]:
        return (0,)


class TurnsOneWay(Apt):
    def move_deg(self, angle_deg: float) -> None:
        if angle_deg > 10.0:
            super().move_deg(angle_deg)


class MovesBlindly(Apt):
    def move_deg(self, angle_deg: float) -> None:
        try:
            super().move_deg(angle_deg)
        except DeviceError:
            if math.isnan(angle_deg) or abs(angle_deg) > 360.0:
                raise


class ShinesWhenOff(ScpiLight):
    def set_output(self, on: bool) -> None:
        super().set_output(True)


class StaysShut(PcRpc):
    def set_open(self, is_open: bool) -> None:
        super().set_open(False)


class Raises(ScpiLight):
    """Fails in a way of its own."""

    def identify(self) -> Identity:
        raise ZeroDivisionError("oops")


#: Driver, kind of its stub, and the check that is meant for it.
WRONG: list[tuple[type, str, str]] = [
    (NoInstrument, "scpi", "is an instrument with a capability"),
    (ChangesItsName, "scpi", "identity is stable"),
    (Raises, "scpi", "identity is stable"),
    (Wavers, "epc", "readings are stable"),
    (AnswersWhenClosed, "scpi", "closes twice and stays closed"),
    (SendsFirst, "scpi", "limits are refused before a byte is sent"),
    (TakesAnything, "epc", "limits are refused before a byte is sent"),
    (Pretends, "epc", "what is set is read back"),
    (NeverSafe, "scpi", "safe state is read back"),
    (HearsTheOther, "polatis", "two clients do not hear each other"),
    (Waits, "scpi", "timeouts are honoured"),
    (CannotBeCancelled, "scpi", "close() ends a waiting read"),
    (BelievesGarbage, "scpi", "garbage is survived"),
    (BelievesLateAnswers, "scpi", "late answers are never believed"),
    (StaysDead, "scpi", "comes back after a restart"),
    (Remembers, "scpi", "nothing is believed after a power cycle"),
    (KeepsOldConnections, "polatis", "connections are exactly those asked for"),
    (PowerOfNothing, "polatis", "powers are finite, one a port"),
    (OldRates, "websq", "rates are fresh and possible"),
    (LatchesNobody, "websq", "latched detectors are detectors"),
    (TurnsOneWay, "apt", "a plate turns both ways"),
    (MovesBlindly, "apt", "a move waits for the zero"),
    (ShinesWhenOff, "scpi", "light is dark when off"),
    (StaysShut, "pc_rpc", "a shutter opens and closes"),
]
