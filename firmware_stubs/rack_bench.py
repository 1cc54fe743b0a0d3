"""From a rack file to its bench and to the ports of each instrument: who may touch what."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from firmware_stubs.bench.messages import BenchMessage
from firmware_stubs.bench.ports import Detectors, Meter, Plate, Pump, Shutter, Squeezer, Switch
from firmware_stubs.bench.setup import BenchSetup, LinkSetup
from firmware_stubs.bench.shared import SharedBench
from firmware_stubs.control import Message, Time
from quantum.errors import InputError
from quantum.rack import Rack

__all__ = ["RackScenario", "bench_of", "link_names", "load_rack_scenario", "port_of"]

#: What a link's pairs meet on a bench of its own making: two arms, two detectors.
_TRANSMISSION, _EFFICIENCY, _SWITCH = 0.5, 0.8, 10.0**-0.1


class BenchEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to the bench at a wall time."""

    at_s: Time
    message: BenchMessage


class InstrumentEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to an instrument at a wall time."""

    at_s: Time
    on: str
    message: Message


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bench: BenchSetup | None = None
    event: tuple[BenchEvent, ...] = ()
    fault: tuple[InstrumentEvent, ...] = ()


@dataclass(frozen=True)
class RackScenario:
    """The hidden bench, and what happens to it (``events``) and to instruments (``faults``)."""

    bench: BenchSetup
    events: tuple[BenchEvent, ...] = ()
    faults: tuple[InstrumentEvent, ...] = ()


def link_names(rack: Rack) -> list[str]:
    """Return the names by which messages know the links, in the order of the rack file's nodes."""
    nodes = rack.network.nodes
    return [f"{nodes[a]}-{nodes[b]}" for a, b in rack.network.links.tolist()]


def load_rack_scenario(rack: Rack, path: Path | None) -> RackScenario:
    """Read a rack's scenario; what it does not say of the bench follows from the rack.

    Raises :class:`InputError` that names what is wrong.
    """
    if path is None:
        return RackScenario(_bench_from(rack, None))
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(raw, _File)
    except OSError as wrong:
        raise InputError(f"cannot read scenario {path}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise InputError(f"scenario {path}: {wrong}") from wrong
    given = raw.get("bench", {}) if file.bench is not None else {}
    setup = _bench_from(rack, file.bench, own_links="link" in given)
    for event in file.fault:
        if event.on not in rack.instruments:
            raise InputError(
                f"scenario {path}: fault.on names {event.on!r}, which is no instrument"
            )
    return RackScenario(setup.check(), file.event, file.fault)


def _bench_from(rack: Rack, given: BenchSetup | None, *, own_links: bool = False) -> BenchSetup:
    """Complete a bench from what the rack believes: rates, fidelities and ports."""
    setup = given or BenchSetup()
    links = setup.link if own_links else ()
    if own_links and len(links) != len(rack.links):
        raise InputError(
            f"bench.link has {len(links)} entries, the rack has {len(rack.links)} links"
        )
    switched = any(link.optics is not None and link.optics.switch for link in rack.links)
    passage = (_TRANSMISSION * _EFFICIENCY * (_SWITCH if switched else 1.0)) ** 2
    made = []
    for number, believed in enumerate(rack.links):
        link = links[number] if own_links else None
        if link is None:
            a, b, c, d = believed.populations
            link = LinkSetup(
                rate_hz=min(1e9, believed.rate_hz / passage), bell_diagonal=(a, b, c, d)
            )
        optics = believed.optics
        if optics is not None and optics.inputs is not None:
            a_port, b_port = (port - 1 for port in optics.inputs)
            link = msgspec.structs.replace(link, inputs=(a_port, b_port))
        made.append(link)
    optics = rack.links[0].optics
    outputs = setup.outputs
    if optics is not None and optics.outputs is not None:
        size = _switch_inputs(rack, optics.switch)
        outputs = (optics.outputs[0] - 1 - size, optics.outputs[1] - 1 - size)
        if min(outputs) < 0:
            raise InputError(f"link.optics.outputs must be above the {size} inputs of the switch")
    return msgspec.structs.replace(
        setup, link=tuple(made), outputs=outputs, switched=switched
    ).check()


def _switch_inputs(rack: Rack, name: str | None) -> int:
    """Return how many inputs the switch's stub has: outputs are numbered behind them."""
    from firmware_stubs.polatis import Switches

    given = rack.instruments[name].stub.switches if name is not None else {}
    try:
        return msgspec.convert(given, Switches).size[0]
    except msgspec.ValidationError as wrong:
        raise InputError(f"instrument {name}: stub.switches: {wrong}") from wrong


def bench_of(scenario: RackScenario, seed: int) -> SharedBench:
    """Return the bench itself."""
    return SharedBench(scenario.bench, seed)


def port_of(rack: Rack, name: str, bench: SharedBench) -> Any:
    """Return what an instrument may touch, by what links say of it; by its kind otherwise.

    Raises :class:`InputError` where no link says what the instrument is for.
    """
    kind = rack.instruments[name].kind
    for number, link in enumerate(rack.links):
        optics = link.optics
        if optics is None:
            continue
        if name in optics.plates:
            _must_be("apt", "turn a plate", kind)
            return Plate(bench, optics.plates.index(name))
        if name == optics.polarisation:
            _must_be("epc", "squeeze a fibre", kind)
            return Squeezer(bench, number)
        if name == optics.laser and kind == "scpi":
            return Pump(bench)
    by_kind: dict[str, Callable[[], Any]] = {
        "polatis": lambda: Switch(bench),
        "websq": lambda: Detectors(bench),
        "pc_rpc": lambda: (Shutter(bench), Pump(bench)),
        "scpi": lambda: Meter(bench),
    }
    if kind not in by_kind:
        raise InputError(f"instrument {name}: no link says what this {kind} is for")
    return by_kind[kind]()


def _must_be(known: str, what: str, kind: str) -> None:
    if kind != known:
        raise InputError(f"only the stub {known} can {what} here, its kind is {kind}")
