"""Opens the instruments that a rack's links name; own stubs run in one process, on one bench."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from backends.rack import StubProcess, open_instrument
from backends.rack_stubs import RackStubs
from quantum.errors import DeviceError, InputError
from quantum.rack import STUB, InstrumentEntry, Rack

__all__ = ["Opener", "named_instruments", "open_drivers", "start_stubs"]

#: Opens an instrument of a rack; a supervisor puts its own in the place of ``open_instrument``.
Opener = Callable[[InstrumentEntry, Path], tuple[Any, StubProcess | None]]


def named_instruments(rack: Rack) -> list[str]:
    """Return the instruments that links name, each once, in the order of the rack file."""
    named = {link.instrument for link in rack.links}
    for link in rack.links:
        if link.optics is not None:
            named.update(name for _, name in link.optics.names)
    return [name for name in rack.instruments if name in named]


def start_stubs(rack: Rack, path: Path) -> RackStubs | None:
    """Start the stubs of a rack where it asks for any."""
    if any(entry.address == STUB for entry in rack.instruments.values()):
        return RackStubs(path)
    return None


def open_drivers(
    rack: Rack, addresses: dict[str, str], opener: Opener = open_instrument
) -> dict[str, Any]:
    """Open what links need; ``addresses`` stand in for those of the rack file.

    Either all are open, or none: then :class:`InputError` or :class:`DeviceError` names the one.
    """
    drivers: dict[str, Any] = {}
    try:
        for name in named_instruments(rack):
            entry = rack.instruments[name]
            if name in addresses:
                entry = msgspec.structs.replace(entry, address=addresses[name])
            drivers[name], _ = opener(entry, rack.folder)
    except (DeviceError, InputError) as wrong:
        for driver in drivers.values():
            driver.close()
        raise type(wrong)(f"instrument {name}: {wrong}") from wrong
    return drivers
