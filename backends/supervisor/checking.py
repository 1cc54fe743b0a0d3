"""What of a rack is connected and healthy; asks, and changes nothing."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backends.rack_check import usable_rack
from backends.supervisor.client import Client, key_of, new_rid
from backends.supervisor.messages import Act, Refused
from backends.supervisor.places import Endpoint, place_of, read_endpoint
from backends.supervisor.rig import open_at
from quantum.errors import DpemError
from quantum.rack import STUB, InstrumentEntry

__all__ = ["check_rack"]

#: The kind that measures light, or says what it is set to: its power is evidence too.
_METERS = "scpi"


def check_rack(path: Path) -> list[dict[str, Any]]:
    """Return a row for each instrument: name, kind, address, ok, detail.

    Through the supervisor where one runs, because many instruments take one connection only.
    """
    rack = usable_rack(path)
    at = read_endpoint(place_of(path))
    entries = list(rack.instruments.values())
    if at is not None:
        return [_row(entry, *_through(at, entry)) for entry in entries]
    with ThreadPoolExecutor(len(entries)) as pool:
        found = list(pool.map(lambda entry: _directly(entry, rack.folder), entries))
    return [_row(entry, *one) for entry, one in zip(entries, found, strict=True)]


def _row(entry: InstrumentEntry, ok: bool, detail: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "address": entry.address,
        "ok": ok,
        "detail": detail,
    }


def _through(at: Endpoint, entry: InstrumentEntry) -> tuple[bool, str]:
    said: list[str] = []
    with Client(at.commands, at.public, key_of(None), at.supervisor) as client:
        for method in ("identify", "power_dbm")[: 1 + (entry.kind == _METERS)]:
            try:
                reply = client.ask(Act(new_rid(), 0, entry.name, method), 10.0)
            except DpemError as wrong:
                return False, str(wrong)
            if isinstance(reply, Refused):
                return False, reply.detail
            value = getattr(reply, "value", None)
            words = value.values() if isinstance(value, dict) else [f"{value:.2f} dBm"]
            said += [str(word) for word in words]
    return True, " ".join(said)


def _directly(entry: InstrumentEntry, folder: Path) -> tuple[bool, str]:
    if entry.address == STUB:
        return True, "a stub that is started with the rack"
    driver = None
    try:
        driver = open_at(entry, entry.address, folder, min(entry.timeout_s, 5.0))
        seen = driver.identify()
        said = f"{seen.maker} {seen.model} {seen.serial} {seen.firmware}"
        return True, f"{said} {driver.power_dbm():.2f} dBm" if entry.kind == _METERS else said
    except (DpemError, OSError) as wrong:
        return False, str(wrong)
    finally:
        if driver is not None:
            with contextlib.suppress(DpemError):
                driver.close()
