"""How a rack stands, as the answer to a status request."""

from typing import Any, Protocol

from backends.supervisor.desk import Desk
from backends.supervisor.messages import Report
from backends.supervisor.rig import Rig

__all__ = ["report"]


class _Running(Protocol):
    rig: Rig

    def status(self) -> dict[str, Any]: ...


def report(rid: bytes, rack: str, desk: Desk, running: _Running) -> Report:
    """Sum up latch, lease and instruments; asks no instrument, so it is always quick."""
    state = running.status()
    held = desk.leases.current
    instruments: dict[str, dict[str, Any]] = {}
    for name, one in running.rig.instruments.items():
        safed = state["safed"].get(name)
        instruments[name] = {
            "kind": one.entry.kind,
            "address": one.address,
            "trouble": one.trouble,
            "read_back": "" if safed is None else safed.trouble or safed.read_back,
        }
    return Report(
        rid,
        rack=rack,
        mode=desk.mode,
        latched=desk.latched,
        holder="" if held is None else held.name,
        token=desk.leases.last_token,
        log=state["log"],
        instruments=instruments,
        shadowed={
            name: one.odd for name, one in running.rig.instruments.items() if one.real is not None
        },
    )
