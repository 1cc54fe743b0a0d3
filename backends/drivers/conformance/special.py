"""Checks of single capabilities, beyond what all have in common."""

import math
import time
from collections.abc import Callable
from functools import partial

from backends.drivers.capabilities import PairTester
from backends.drivers.conformance.findings import Skip
from backends.drivers.conformance.pair_tester import check_pair_tester
from backends.drivers.conformance.subject import Subject
from quantum.errors import DeviceError

__all__ = ["SPECIAL", "pair_tester"]

_DARK_DBM = 20.0


def exact_connections(subject: Subject) -> str:
    """connect() makes exactly what it is told, and undoes the rest."""
    with subject.opened() as driver:
        driver.connect(dict(subject.ports))
        one = dict(subject.ports[:1])
        driver.connect(one)
        try:
            if driver.connections() != one:
                return f"{one} was asked for, {driver.connections()} is there"
        finally:
            driver.safe_state()
    return ""


def powers_of_ports(subject: Subject) -> str:
    """Powers are finite numbers, one for each port that was asked for."""
    ports = tuple(output for _, output in subject.ports)
    with subject.opened() as driver:
        powers = driver.powers_dbm(ports)
    if len(powers) != len(ports) or not all(math.isfinite(power) for power in powers):
        return f"{ports} read as {powers}"
    return ""


def rates_are_dated(subject: Subject) -> str:
    """Rates lie in a period that began after the call and ended before its return."""
    with subject.opened() as driver:
        size = len(driver.bias_ua())
        for _ in range(2):
            asked = time.monotonic()
            rates = driver.rates()
            answered = time.monotonic()
            if not asked <= rates.not_before_s <= rates.not_after_s <= answered:
                return "the period is dated outside the call that counted it"
            if rates.not_after_s - rates.not_before_s < 0.5 * rates.period_s:
                return f"a period of {rates.period_s:g} s took less time than that"
            if len(rates.hz) != size:
                return f"{len(rates.hz)} rates of {size} detectors"
            if not all(math.isfinite(hz) and hz >= 0.0 for hz in rates.hz):
                return f"impossible rates: {rates.hz}"
    return ""


def latched_are_detectors(subject: Subject) -> str:
    """latched() names detectors that there are."""
    with subject.opened() as driver:
        size, latched = len(driver.bias_ua()), driver.latched()
    return "" if all(1 <= n <= size for n in latched) else f"{latched} of {size} detectors"


def turns_both_ways(subject: Subject) -> str:
    """A plate reaches each angle and says so; stop() does not move it."""
    with subject.opened() as driver:
        driver.home()
        for angle in (30.0, 5.0):
            driver.move_deg(angle)
            if not math.isclose(driver.position_deg(), angle, abs_tol=0.1):
                return f"{angle} degrees was asked for, {driver.position_deg()} is read"
        driver.stop()
        if not math.isclose(driver.position_deg(), 5.0, abs_tol=0.1):
            return f"stop() moved it to {driver.position_deg()} degrees"
    return ""


def homes_first(subject: Subject) -> str:
    """After a power cycle an absolute move is refused until the zero was found."""
    if subject.trouble is None:
        raise Skip("only a stub can be told to misbehave")
    with subject.opened() as driver:
        driver.home()
        subject.trouble.power_cycle()
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            try:
                driver.identify()
                break
            except DeviceError:
                time.sleep(0.05)
        try:
            driver.move_deg(10.0)
        except DeviceError:
            driver.home()
            driver.move_deg(10.0)
            return ""
    return "it moves to an angle without knowing where it is"


def dark_when_off(subject: Subject) -> str:
    """Light that was switched off is off, and much weaker where it is measured."""
    with subject.opened() as driver:
        driver.set_power_dbm(-10.0)
        driver.set_output(True)
        bright = driver.power_dbm()
        driver.set_output(False)
        if driver.output():
            return "output() is true after set_output(False)"
        dark = driver.power_dbm()
    if not math.isclose(bright, -10.0, abs_tol=1.0):
        return f"-10 dBm was set, {bright} is read"
    # A driver that reads back what is set, and not what comes out, sees no difference.
    return "" if dark == bright or dark < bright - _DARK_DBM else f"{dark} dBm while it is off"


def opens_and_closes(subject: Subject) -> str:
    """A shutter opens and closes as it is told."""
    with subject.opened() as driver:
        if not driver.interlock_closed():
            raise Skip("the interlock is open")
        for wanted in (True, False, True, False):
            driver.set_open(wanted)
            if driver.is_open() is not wanted:
                return f"is_open() is {driver.is_open()} after set_open({wanted})"
    return ""


def pair_tester(subject: Subject) -> list[tuple[str, Callable[[Subject], str]]]:
    """Return the checks of a pair tester: they run on one connection, in their order."""

    def open_tester() -> PairTester:
        driver: PairTester = subject.open()
        return driver

    findings = check_pair_tester(open_tester)
    return [(f"pair tester: {f.check}", partial(_found, f.detail)) for f in findings]


def _found(detail: str, _: Subject) -> str:
    return detail


#: By capability: checks that act, except where the name of the check says that it reads.
SPECIAL: dict[str, tuple[tuple[str, Callable[[Subject], str]], ...]] = {
    "optical switch": (
        ("connections are exactly those asked for", exact_connections),
        ("powers are finite, one a port", powers_of_ports),
    ),
    "detector bias": (
        ("rates are fresh and possible", rates_are_dated),
        ("latched detectors are detectors", latched_are_detectors),
    ),
    "rotator": (
        ("a plate turns both ways", turns_both_ways),
        ("a move waits for the zero", homes_first),
    ),
    "light": (("light is dark when off", dark_when_off),),
    "shutter": (("a shutter opens and closes", opens_and_closes),),
}
