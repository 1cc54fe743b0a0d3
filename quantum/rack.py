"""A rack file: which instruments serve which link, and the network they make.

The file is TOML and holds no code; instruments are named by kind, never by import path. See
``backends/racks/id900.toml`` for a commented example. Opening the instruments is not done here.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from quantum.bell import check_populations, werner
from quantum.errors import InputError
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.rack_optics import CalibrationEntry, OpticsEntry, StubsEntry
from quantum.rack_safety import Limits, SafeEntry, SafetyEntry

__all__ = ["STUB", "InstrumentEntry", "LinkEntry", "NodeEntry", "Rack", "StubEntry", "load_rack"]

#: The address that asks for a stub of our own.
STUB = "stub"

Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e12)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class NodeEntry(_Strict, frozen=True, kw_only=True):
    """A node; ``generation_hz`` defaults to the sum of the rates of its links."""

    name: Name
    position_km: tuple[float, float] = (0.0, 0.0)
    generation_hz: NotNegative | None = None
    swap_hz: NotNegative = 0.0
    qubits: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1


class LinkEntry(_Strict, frozen=True, kw_only=True):
    """A photonic link: what is believed about it, and the instrument that measures it."""

    between: tuple[Name, Name]
    instrument: Name
    rate_hz: Positive
    """Pairs per second that both sides detect."""
    length_km: NotNegative = 0.0
    fidelity: Share | None = None
    """Nominal, for a Werner state; or give ``bell_diagonal``."""
    bell_diagonal: tuple[float, float, float, float] | None = None
    kind: Literal["photonic"] = "photonic"
    optics: OpticsEntry | None = None
    """What the light meets; without it the tagger's outputs drive basis modulators."""

    @property
    def populations(self) -> tuple[float, float, float, float]:
        """Bell populations that are believed."""
        if self.bell_diagonal is not None:
            return self.bell_diagonal
        a, b, c, d = werner(self.fidelity if self.fidelity is not None else 1.0).tolist()
        return (a, b, c, d)


class StubEntry(_Strict, frozen=True, kw_only=True):
    """How to start a stub of our own, where the address asks for one."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 1
    fidelity: Share | None = None
    rate_hz: Positive | None = None
    speed: Positive = 1.0
    scenario: str | None = None
    """Path of a scenario file, relative to the rack file."""
    switches: dict[str, Any] = {}
    """Choices of the stub for what is not known about its instrument."""


class InstrumentEntry(_Strict, frozen=True, kw_only=True):
    """An instrument: kind, address, and how to use it."""

    name: Name
    kind: Name
    address: str
    """``tcp://HOST:PORT``, ``serial://DEVICE``, or ``stub``."""
    integration_s: Annotated[float, msgspec.Meta(ge=1e-3, le=100.0)] = 0.1
    max_age_s: NotNegative = 1.0
    """Age up to which pairs that were counted but not needed may still be used."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 2.0
    settle_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 0.01
    window_ps: Annotated[int, msgspec.Meta(ge=2, le=1_000_000)] = 2000
    threshold_v: Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)] = 0.5
    integration_unit: Literal["ms", "ns"] = "ms"
    shared_clock: bool = False
    settings: dict[str, bool | int | float | str | list[float] | dict[str, str]] = {}
    """What else the driver of this kind takes, by the names of its arguments."""
    stub: StubEntry = StubEntry()
    limits: Limits = Limits()
    safe: SafeEntry = SafeEntry()


class _File(_Strict, frozen=True, kw_only=True):
    name: Name
    node: tuple[NodeEntry, ...]
    link: tuple[LinkEntry, ...]
    instrument: tuple[InstrumentEntry, ...]
    t1_s: Positive | None = None
    t2_s: Positive | None = None
    cutoff_s: Positive = 1.0
    safety: SafetyEntry = SafetyEntry()
    calibration: CalibrationEntry = CalibrationEntry()
    stubs: StubsEntry = StubsEntry()


@dataclass(frozen=True, eq=False)
class Rack:
    """A rack that was read and checked; ``links`` are in the order of ``network.links``."""

    name: str
    network: Network
    links: tuple[LinkEntry, ...]
    instruments: dict[str, InstrumentEntry]
    folder: Path
    safety: SafetyEntry = SafetyEntry()
    calibration: CalibrationEntry = CalibrationEntry()
    stubs: StubsEntry = StubsEntry()


def load_rack(path: Path) -> Rack:
    """Read a rack file, or raise :class:`InputError` that names the field which is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(raw, _File)
    except OSError as wrong:
        raise InputError(f"cannot read rack {path}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise InputError(f"rack {path}: {wrong}") from wrong
    try:
        return _rack(file, path.parent)
    except InputError as wrong:
        raise InputError(f"rack {path}: {wrong}") from wrong


def _rack(file: _File, folder: Path) -> Rack:
    nodes = _unique("node", [node.name for node in file.node])
    instruments = _unique("instrument", [entry.name for entry in file.instrument])
    ends = []
    for number, link in enumerate(file.link):
        where = f"link[{number}]"
        for name in link.between:
            if name not in nodes:
                raise InputError(f"{where}.between names {name!r}, which is no node")
        if link.instrument not in instruments:
            raise InputError(f"{where}.instrument names {link.instrument!r}, which is none")
        if (link.fidelity is None) == (link.bell_diagonal is None):
            raise InputError(f"{where} needs either fidelity or bell_diagonal")
        check_populations(f"{where}.bell_diagonal", link.populations)
        if link.optics is not None:
            link.optics.check(f"{where}.optics", set(instruments))
        a, b = sorted(nodes.index(name) for name in link.between)
        if a == b:
            raise InputError(f"{where}.between must name two different nodes")
        ends.append((a, b))
    if len(set(ends)) < len(ends):
        raise InputError("two links join the same nodes; one is allowed")
    file.safety.check(set(instruments))
    if len({link.optics is None for link in file.link}) > 1:
        raise InputError("link.optics is for all links of a rack or for none")
    file.calibration.check()
    order = sorted(range(len(ends)), key=ends.__getitem__)
    links = tuple(file.link[n] for n in order)
    return Rack(
        name=file.name,
        network=_network(file, nodes, links, [ends[n] for n in order]),
        links=links,
        instruments={entry.name: entry for entry in file.instrument},
        folder=folder,
        safety=file.safety,
        calibration=file.calibration,
        stubs=file.stubs,
    )


def _network(
    file: _File, nodes: list[str], links: tuple[LinkEntry, ...], ends: list[tuple[int, int]]
) -> Network:
    rates = np.zeros(len(nodes))
    for link, (a, b) in zip(links, ends, strict=True):
        rates[[a, b]] += link.rate_hz
    for number, node in enumerate(file.node):
        if node.generation_hz is not None:
            rates[number] = node.generation_hz
    endless = float("inf")
    return Network(
        name=file.name,
        nodes=tuple(nodes),
        position_km=np.array([n.position_km for n in file.node], dtype=np.float64).reshape(-1, 2),
        links=np.array(ends, dtype=np.int64).reshape(-1, 2),
        length_km=np.array([link.length_km for link in links], dtype=np.float64),
        populations=np.array([k.populations for k in links], dtype=np.float64).reshape(-1, 4),
        generation_hz=rates,
        swap_hz=np.array([n.swap_hz for n in file.node], dtype=np.float64),
        qubits=np.array([n.qubits for n in file.node], dtype=np.int64),
        memory=Memory(t1_s=file.t1_s or endless, t2_s=file.t2_s or endless),
        cutoff_s=file.cutoff_s,
        gates=Gates(),
    )


def _unique(what: str, names: list[str]) -> list[str]:
    if not names:
        raise InputError(f"at least one {what} is needed")
    if len(set(names)) < len(names):
        raise InputError(f"{what} names must differ, got {', '.join(names)}")
    return names
