"""``dpem stub rack.toml``: every stub of a rack on one bench, in one process and one loop.

One line for each instrument, ``NAME KIND ADDRESS control ADDRESS``, in the order of the rack file,
and a last one for the bench itself, ``bench RACK control ADDRESS``: then all others are there.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from firmware_stubs.bench.messages import apply_to_bench, read_bench_message
from firmware_stubs.bench.ports import Counting
from firmware_stubs.bench.shared import SharedBench
from firmware_stubs.control import Event, Message, Rig, apply
from firmware_stubs.faults import FaultPlan
from firmware_stubs.loop import Endpoint, run_loop, signals
from firmware_stubs.pty_line import PtyPort
from firmware_stubs.rack_bench import (
    RackScenario,
    bench_of,
    link_names,
    load_rack_scenario,
    port_of,
)
from firmware_stubs.server import Control, TextWire
from firmware_stubs.stream_server import Station, TcpPort, act, address_of, check_events
from quantum.errors import InputError
from quantum.output import write_json
from quantum.rack import STUB, InstrumentEntry, Rack, load_rack

__all__ = ["Hosted", "RackOptions", "serve_rack"]

#: Modules of the stubs that talk in streams; each has ``station``.
_STREAMS = {
    "polatis": "firmware_stubs.polatis",
    "websq": "firmware_stubs.websq",
    "pc_rpc": "firmware_stubs.pc_rpc",
    "scpi": "firmware_stubs.scpi_light",
    "apt": "firmware_stubs.apt",
    "epc": "firmware_stubs.epc",
}
#: Those on serial lines, and what a driver has to know of the line.
_SERIAL = {"apt": "?baud=115200&rtscts=1", "epc": "?baud=9600"}

_ANYWHERE = "127.0.0.1:0"


@dataclass(frozen=True)
class RackOptions:
    """How to run the stubs of a rack. What is None is what the rack file says.

    ``everything`` starts a stub for each instrument, also for those that have an address.
    """

    seed: int | None = None
    speed: float | None = None
    scenario: Path | None = None
    everything: bool = False
    json_path: str | None = None
    until_eof: bool = False


@dataclass(frozen=True)
class Hosted:
    """An instrument that is being served: its endpoints, its address, and that of its control."""

    name: str
    kind: str
    address: str
    control: str
    endpoints: tuple[Endpoint, ...]
    beside: str = ""
    """What else the line of the instrument says."""


def serve_rack(path: Path, options: RackOptions) -> int:
    """Serve all stubs of a rack until a signal, the end of standard input or a stop message.

    Returns 130 after SIGINT, else 0. Raises :class:`InputError` for a rack or a scenario that is
    wrong, and for one without a stub.
    """
    rack = load_rack(path)
    chosen = options.scenario
    if chosen is None and rack.stubs.scenario is not None:
        chosen = rack.folder / rack.stubs.scenario
    scenario = load_rack_scenario(rack, chosen)
    seed = rack.stubs.seed if options.seed is None else options.seed
    speed = rack.stubs.speed if options.speed is None else options.speed
    bench = bench_of(scenario, seed)
    wanted = [e for e in rack.instruments.values() if options.everything or e.address == STUB]
    if not wanted:
        raise InputError(f'rack {rack.name} has no instrument whose address is "{STUB}"')
    with ExitStack() as stack:
        hosted = []
        for number, entry in enumerate(wanted):
            one = _host(rack, entry, bench, scenario, seed + 1000 * (number + 1), speed)
            hosted.append(one)
            for endpoint in one.endpoints:
                stack.callback(endpoint.close)
        control = _bench_control(rack, bench, scenario, speed)
        stack.callback(control.close)
        with signals() as ended:
            _announce(rack, hosted, control.address, seed, options.json_path)
            served = [endpoint for one in hosted for endpoint in one.endpoints]
            return run_loop([*served, control], ended, options.until_eof)


def _host(
    rack: Rack,
    entry: InstrumentEntry,
    bench: SharedBench,
    scenario: RackScenario,
    seed: int,
    speed: float,
) -> Hosted:
    events = tuple(
        Event(at_s=fault.at_s, message=fault.message)
        for fault in scenario.faults
        if fault.on == entry.name
    )
    try:
        if entry.kind == "id900":
            return _counter(entry, bench, events, seed, speed)
        if entry.kind not in _STREAMS:
            known = ", ".join(sorted(("id900", *_STREAMS)))
            raise InputError(f"kind {entry.kind!r} has no stub; known: {known}")
        new: Callable[..., Station] = import_module(_STREAMS[entry.kind]).station
        port = port_of(rack, entry.name, bench)
        ports = port if isinstance(port, tuple) else (port,)
        station = new(*ports, seed=seed, switches=entry.stub.switches, speed=speed)
        check_events(station, [event.message for event in events])
    except InputError as wrong:
        raise InputError(f"instrument {entry.name}: {wrong}") from wrong
    lines: list[Endpoint] = []
    if entry.kind in _SERIAL:
        line = PtyPort(station)
        lines, address = [line], line.address + _SERIAL[entry.kind]
    else:
        lines = [TcpPort(station, n, "127.0.0.1", 0) for n in range(len(station.lines))]
        address = address_of(station)
    control = Control(_ANYWHERE, partial(act, station), events)
    return Hosted(entry.name, entry.kind, address, control.address, (*lines, control))


def _counter(
    entry: InstrumentEntry,
    bench: SharedBench,
    events: tuple[Event, ...],
    seed: int,
    speed: float,
) -> Hosted:
    """Host a time controller: it looks at the bench itself."""
    from firmware_stubs.id900 import ID900, Switches
    from firmware_stubs.id900_datalink import DataLink
    from firmware_stubs.id900_datalink_sockets import DataLinkService

    try:
        switches = msgspec.convert(entry.stub.switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"stub.switches: {wrong}") from wrong
    rig = Rig(bench, FaultPlan(), speed)
    device = ID900(bench, switches=switches, faults=rig.faults, speed=speed, tags=Counting(bench))
    rig.power_cycle = device.power_cycle
    link = DataLink(device.recorder, device.setting, rig.faults, switches.datalink)
    service = DataLinkService(link, _ANYWHERE)

    def do(message: Message, now_s: float) -> dict[str, Any]:
        return apply(message, rig, now_s, device.state)

    wire = TextWire(device, rig.faults, _ANYWHERE)
    control = Control(_ANYWHERE, do, events)
    endpoints = (wire, control, service)
    beside = f" datalink {service.address}"
    return Hosted(entry.name, entry.kind, wire.address, control.address, endpoints, beside)


def _bench_control(rack: Rack, bench: SharedBench, scenario: RackScenario, speed: float) -> Control:
    names = link_names(rack)

    def do(message: Any, now_s: float) -> dict[str, Any]:
        return apply_to_bench(message, bench, names, now_s * speed)

    events: tuple[Any, ...] = scenario.events
    return Control(_ANYWHERE, do, events, read_bench_message)


def _announce(
    rack: Rack, hosted: list[Hosted], bench: str, seed: int, json_path: str | None
) -> None:
    if json_path != "-":
        for one in hosted:
            click.echo(f"{one.name} {one.kind} {one.address} control {one.control}{one.beside}")
        click.echo(f"bench {rack.name} control {bench}")
        sys.stdout.flush()
    instruments = {
        one.name: {"kind": one.kind, "address": one.address, "control": one.control}
        for one in hosted
    }
    write_json(
        {"rack": rack.name, "seed": seed, "instruments": instruments, "bench": bench}, json_path
    )
