"""Whether what a rack file asks of its instruments is what their drivers can do. Opens nothing."""

from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from backends.drivers.capabilities import (
    CoincidenceCounter,
    DetectorBias,
    Light,
    OpticalSwitch,
    PairTester,
    PolarisationController,
    Rotator,
    Shutter,
)
from backends.rack import driver_of, settings_of
from quantum.errors import InputError
from quantum.rack import STUB, InstrumentEntry, LinkEntry, Rack, load_rack

__all__ = ["usable_rack"]

#: What stands in a field of ``link.optics``, and what its driver has to be.
_USES: dict[str, type] = {
    "plates": Rotator,
    "switch": OpticalSwitch,
    "polarisation": PolarisationController,
    "shutter": Shutter,
    "laser": Light,
    "bias": DetectorBias,
}
#: Limit -> the methods that it bounds.
_BOUNDS = {
    "bias_ua": ("set_bias_ua",),
    "power_dbm": ("set_power_dbm",),
    "voltage_mv": ("set_voltages_mv",),
    "angle_deg": ("move_deg",),
    "integration_s": ("configure", "coincidences"),
    "ports": ("connect",),
}

Drivers = dict[str, Callable[..., Any]]


def usable_rack(path: Path) -> Rack:
    """Read a rack file, or raise :class:`InputError` that names file and field.

    The drivers of its instruments are imported, and none is opened.
    """
    rack = load_rack(path)
    try:
        _check(rack)
    except InputError as wrong:
        raise InputError(f"rack {path}: {wrong}") from wrong
    return rack


def _check(rack: Rack) -> None:
    drivers: Drivers = {}
    for name, entry in rack.instruments.items():
        try:
            drivers[name] = driver_of(entry.kind)
        except InputError as wrong:
            raise InputError(f"instrument {name}: {wrong}") from wrong
        _check_entry(entry, drivers[name])
        if entry.address == STUB and entry.stub.scenario is not None:
            _check_file(rack, f"instrument {name}: stub.scenario", entry.stub.scenario)
    if rack.stubs.scenario is not None:
        _check_file(rack, "stubs.scenario", rack.stubs.scenario)
    for link in rack.links:
        where = "link " + "-".join(link.between)
        _check_kinds(rack, link, where, drivers)
        for field, value, limit, name in _wishes(rack, link):
            _check_limit(rack.instruments[name], f"{where}: {field}", limit, value)
    for one, other in combinations(rack.links, 2):
        _check_together(one, other)
    _check_ends(rack)


def _check_entry(entry: InstrumentEntry, driver: Callable[..., Any]) -> None:
    settings_of(entry, driver)
    if not isinstance(driver, type):
        return
    for limit, methods in _BOUNDS.items():
        given = getattr(entry.limits, limit) is not None
        if given and not any(hasattr(driver, method) for method in methods):
            raise InputError(
                f"instrument {entry.name}: limits.{limit} limits nothing of kind {entry.kind}"
            )


def _check_file(rack: Rack, field: str, name: str) -> None:
    if not (rack.folder / name).is_file():
        raise InputError(f"{field} names {name!r}, which is no file beside the rack")


def _check_kinds(rack: Rack, link: LinkEntry, where: str, drivers: Drivers) -> None:
    counter: type = PairTester if link.optics is None else CoincidenceCounter
    named: list[tuple[str, str, type]] = [("instrument", link.instrument, counter)]
    if link.optics is not None:
        named += [
            (f"optics.{field}", name, _USES[field.partition("[")[0]])
            for field, name in link.optics.names
        ]
    for field, name, needed in named:
        driver = drivers[name]
        if isinstance(driver, type) and not issubclass(driver, needed):
            kind = rack.instruments[name].kind
            raise InputError(
                f"{where}: {field} names {name!r} of kind {kind}, which is no {needed.__name__}"
            )


def _wishes(rack: Rack, link: LinkEntry) -> Iterator[tuple[str, float, str, str]]:
    """What a link will ask of an instrument: field, value, limit, and the instrument's name."""
    window_s = rack.instruments[link.instrument].integration_s
    yield f"integration_s of {link.instrument}", window_s, "integration_s", link.instrument
    optics = link.optics
    if optics is None:
        return
    if optics.bias is not None and optics.bias_ua is not None:
        yield "optics.bias_ua", optics.bias_ua, "bias_ua", optics.bias
    if optics.laser is not None and optics.laser_dbm is not None:
        yield "optics.laser_dbm", optics.laser_dbm, "power_dbm", optics.laser
    if optics.switch is not None:
        for field, ports in (("inputs", optics.inputs), ("outputs", optics.outputs)):
            for port in ports or ():
                yield f"optics.{field}", port, "ports", optics.switch


def _check_limit(entry: InstrumentEntry, field: str, limit: str, value: float) -> None:
    allowed = getattr(entry.limits, limit)
    if allowed is None:
        return
    good = value in allowed if limit == "ports" else allowed[0] <= value <= allowed[1]
    if not good:
        raise InputError(
            f"{field} = {value:g} is outside limits.{limit} = {list(allowed)} of {entry.name}"
        )


def _check_together(one: LinkEntry, other: LinkEntry) -> None:
    """Refuse what two links cannot share: light of both would meet in one place."""
    if one.optics is None or other.optics is None:
        return
    a, b = one.optics, other.optics
    names = " and ".join("-".join(link.between) for link in (one, other))
    if a.polarisation is not None and a.polarisation == b.polarisation:
        raise InputError(
            f"links {names}: optics.polarisation both name {a.polarisation}, "
            "which sits in one fibre only"
        )
    if a.switch is not None and a.switch == b.switch:
        # Two fibres cannot end at one input; analysers are shared in turn.
        fibres = set(a.inputs or ()) & set(b.inputs or ())
        if fibres:
            raise InputError(
                f"links {names}: optics.inputs both name port {min(fibres)} of {a.switch}"
            )
        return
    shared = sorted(set(a.plates) & set(b.plates))
    if shared:
        raise InputError(
            f"links {names}: optics.plates both name {shared[0]}; links share an analyser "
            "through one optics.switch"
        )


def _check_ends(rack: Rack) -> None:
    """Refuse a switch port that is an input of one link and an output of another."""
    inputs: dict[tuple[str, int], str] = {}
    for link in rack.links:
        if link.optics is not None and link.optics.switch is not None:
            for port in link.optics.inputs or ():
                inputs[link.optics.switch, port] = "-".join(link.between)
    for link in rack.links:
        if link.optics is None or link.optics.switch is None:
            continue
        for port in link.optics.outputs or ():
            taken = inputs.get((link.optics.switch, port))
            if taken is not None:
                raise InputError(
                    f"link {'-'.join(link.between)}: optics.outputs names port {port} of "
                    f"{link.optics.switch}, which is an input of link {taken}"
                )
