"""What the kit knows of each capability: to read it, change it, exceed it, and see it safe."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backends.drivers.capabilities import (
    DetectorBias,
    Light,
    OpticalSwitch,
    PairTester,
    PolarisationController,
    Rotator,
    Shutter,
)
from backends.drivers.conformance.findings import Skip
from backends.drivers.conformance.subject import Subject
from quantum.errors import DeviceError, DeviceTimeout

__all__ = ["CAPABILITIES", "Capability", "capabilities_of"]

_BIASES_UA = 2.0
_NUMBERS = (math.nan, math.inf, -math.inf)


@dataclass(frozen=True)
class Capability:
    """One of :mod:`backends.drivers.capabilities`, as the kit uses it.

    ``read`` returns what the instrument's state is, ``change`` brings it into a state other than
    that of power-on and returns it, ``beyond`` are acts that no instrument may be asked for, and
    ``unsafe`` says what is not safe, or nothing.
    """

    name: str
    protocol: Any
    read: Callable[[Any], Any]
    change: Callable[[Any, Subject], Any]
    beyond: Callable[[Any, Subject], list[tuple[str, Callable[[], object]]]]
    unsafe: Callable[[Any], str]
    close_to: Callable[[Any, Any], bool] = lambda a, b: bool(a == b)


def _switch_change(driver: Any, subject: Subject) -> Any:
    driver.connect(dict(subject.ports))
    return dict(subject.ports)


def _switch_beyond(driver: Any, subject: Subject) -> list[tuple[str, Callable[[], object]]]:
    (a, x), (b, _) = subject.ports
    wrong = ({0: x}, {-1: x}, {a: 0}, {a: a}, {a: x, b: x}, {1_000_000: x}, {a: 1_000_000})
    return [(f"connect({w})", lambda w=w: driver.connect(w)) for w in wrong]  # type: ignore[misc]


def _bias_change(driver: Any, subject: Subject) -> Any:
    wanted = tuple(_BIASES_UA for _ in driver.bias_ua())
    driver.set_bias_ua(wanted)
    return wanted


def _bias_beyond(driver: Any, subject: Subject) -> list[tuple[str, Callable[[], object]]]:
    size = len(driver.bias_ua())
    rows = [(value,) * size for value in (*_NUMBERS, -1e3, 1e6)]
    rows += [(_BIASES_UA,) * (size + 1), ()]
    acts: list[tuple[str, Callable[[], object]]] = [
        (f"set_bias_ua({row})", lambda row=row: driver.set_bias_ua(row))  # type: ignore[misc]
        for row in rows
    ]
    return [*acts, ("recover(0)", lambda: driver.recover(0))]


def _rotator_read(driver: Any) -> Any:
    try:
        return driver.position_deg()
    except DeviceTimeout:
        raise
    except DeviceError:
        # Allowed: an axis that was never homed does not know where it is.
        return "not known"


def _rotator_change(driver: Any, subject: Subject) -> Any:
    driver.home()
    driver.move_deg(12.0)
    return 12.0


def _angles_close(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return math.isclose(a, b, abs_tol=0.1)


def _squeezer_change(driver: Any, subject: Subject) -> Any:
    driver.set_voltages_mv((100.0, -200.0, 300.0, -400.0))
    return (100.0, -200.0, 300.0, -400.0)


def _squeezer_beyond(driver: Any, subject: Subject) -> list[tuple[str, Callable[[], object]]]:
    rows: list[tuple[float, ...]] = [(value, 0.0, 0.0, 0.0) for value in (*_NUMBERS, -1e5, 1e5)]
    rows += [(0.0,) * 3, (0.0,) * 5]
    return [
        (f"set_voltages_mv({row})", lambda row=row: driver.set_voltages_mv(row))  # type: ignore[misc]
        for row in rows
    ]


def _light_change(driver: Any, subject: Subject) -> Any:
    driver.set_power_dbm(-10.0)
    driver.set_output(True)
    return True


def _shutter_change(driver: Any, subject: Subject) -> Any:
    if not driver.interlock_closed():
        raise Skip("the interlock is open")
    driver.set_open(True)
    return True


def _numbers(act: Callable[[float], object], name: str, *more: float) -> list[Any]:
    values = (*_NUMBERS, *more)
    return [(f"{name}({value})", lambda value=value: act(value)) for value in values]


def _counts_safe(driver: Any) -> str:
    try:
        driver.coincidences(0.02)
    except DeviceError:
        return ""
    return "it still counts"


def _tester_change(driver: Any, subject: Subject) -> Any:
    driver.configure(0.02)
    driver.set_basis("zz")
    driver.coincidences(0.02)
    return None


CAPABILITIES = (
    Capability(
        "pair tester",
        PairTester,
        lambda d: None,
        _tester_change,
        lambda d, s: [
            *_numbers(d.configure, "configure", 0.0, -1.0, 1e9),
            ("set_basis('xy')", lambda: d.set_basis("xy")),
        ],
        _counts_safe,
    ),
    Capability(
        "optical switch",
        OpticalSwitch,
        lambda d: d.connections(),
        _switch_change,
        _switch_beyond,
        lambda d: "" if d.connections() == {} else f"connected: {d.connections()}",
    ),
    Capability(
        "detector bias",
        DetectorBias,
        lambda d: d.bias_ua(),
        _bias_change,
        _bias_beyond,
        lambda d: "" if max(map(abs, d.bias_ua())) < 0.1 else f"biased: {d.bias_ua()}",
        lambda a, b: len(a) == len(b) and all(abs(x - y) < 0.2 for x, y in zip(a, b, strict=True)),
    ),
    Capability(
        "rotator",
        Rotator,
        _rotator_read,
        _rotator_change,
        lambda d, s: _numbers(d.move_deg, "move_deg", 1e6, -1e6),
        lambda d: "",
        _angles_close,
    ),
    Capability(
        "polarisation controller",
        PolarisationController,
        lambda d: d.voltages_mv(),
        _squeezer_change,
        _squeezer_beyond,
        lambda d: "" if max(map(abs, d.voltages_mv())) < 20.0 else f"squeezed: {d.voltages_mv()}",
        lambda a, b: all(abs(x - y) < 20.0 for x, y in zip(a, b, strict=True)),
    ),
    Capability(
        "light",
        Light,
        lambda d: d.output(),
        _light_change,
        lambda d, s: _numbers(d.set_power_dbm, "set_power_dbm", 1e3, -1e3),
        lambda d: "the light is on" if d.output() else "",
    ),
    Capability(
        "shutter",
        Shutter,
        lambda d: d.is_open(),
        _shutter_change,
        lambda d, s: [],
        lambda d: "the shutter is open" if d.is_open() else "",
    ),
)


def capabilities_of(driver: Any) -> tuple[Capability, ...]:
    """Return the capabilities that a driver has."""
    return tuple(one for one in CAPABILITIES if isinstance(driver, one.protocol))
