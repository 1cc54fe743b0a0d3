"""Topologies of SeQUeNCe (sequence-toolbox/SeQUeNCe, ``RouterNetTopo``), in JSON or YAML.

The keys are those of ``sequence/topology`` in versions 0.6 to 1.0. Routers are nodes; a link is a
``qconnection``, or two ``qchannels`` that meet in a ``BSMNode``. Distances are metres. What a
network here knows is taken over: ``memo_size``, the raw ``fidelity`` of memories (a link has that
of its worse end), ``coherence_time`` (s) times ``cutoff_ratio`` as the age at which pairs are
dropped, ``swapping_success_prob``, ``gate_fidelity`` f (a gate works or leaves I/4,
p = 1 - f) and ``measurement_fidelity``. Where nodes differ in what a network has once, the worst
counts. Rates are of nodes here and follow from optics there: they stay those of the presets, as
does the decay of memories, unless ``decoherence_errors`` give the Pauli channel that acts at the
rate 1/``coherence_time``: see :func:`_decay`. ``swapping_degradation`` is not taken.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from quantum.errors import InputError
from quantum.program import Gates, Memory
from quantum.topologies.entry import Description, LinkEntry, NodeEntry
from quantum.words import near

__all__ = ["describe", "is_one"]

_MARKS = (
    "qconnections", "qchannels", "cconnections", "cchannels", "cconnections_table", "templates",
    "stop_time",
)  # fmt: skip
_ROUTERS = ("QuantumRouter", "DQCNode", "QKDNode", "QuantumNode")
_MIDPOINT = "BSMNode"

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Metres = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


class _Memories(msgspec.Struct, frozen=True):
    fidelity: _Share | None = None
    coherence_time: float | None = None
    cutoff_ratio: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    decoherence_errors: tuple[_Share, _Share, _Share] | None = None


class _Swapping(msgspec.Struct, frozen=True):
    swapping_success_prob: _Share | None = None


class _Template(msgspec.Struct, frozen=True):
    memories: _Memories = msgspec.field(default=_Memories(), name="MemoryArray")
    swapping: _Swapping = msgspec.field(default=_Swapping(), name="EntanglementSwapping")


class _Node(msgspec.Struct, frozen=True):
    name: str
    type: str = "QuantumRouter"
    memo_size: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    template: str | None = None
    gate_fidelity: _Share | None = None
    measurement_fidelity: _Share | None = None


class _Connection(msgspec.Struct, frozen=True):
    node1: str
    node2: str
    distance: _Metres


class _Channel(msgspec.Struct, frozen=True):
    source: str
    destination: str
    distance: _Metres


class _File(msgspec.Struct, frozen=True):
    nodes: list[_Node]
    qconnections: list[_Connection] = []
    qchannels: list[_Channel] = []
    templates: dict[str, _Template] = {}


def is_one(whole: Any) -> bool:
    """Tell whether plain data has the keys of a SeQUeNCe topology.

    >>> is_one({"nodes": [], "qconnections": []}), is_one({"nodes": [], "links": []})
    (True, False)
    """
    return isinstance(whole, dict) and "links" not in whole and any(k in whole for k in _MARKS)


def describe(where: str, whole: Any) -> Description:
    """Turn plain data of a SeQUeNCe topology into a description.

    Raises :class:`InputError` that names the file, the key and what is allowed.
    """
    try:
        file = msgspec.convert(whole, _File, strict=False)
        return _describe(file)
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: SeQUeNCe topology: {wrong}") from None
    except InputError as wrong:
        raise InputError(f"{where}: SeQUeNCe topology: {wrong}") from None


def _describe(file: _File) -> Description:
    routers: dict[str, _Template] = {}
    midpoints: dict[str, list[tuple[str, float]]] = {}
    nodes: list[NodeEntry] = []
    for number, node in enumerate(file.nodes):
        place = f"nodes[{number}] {node.name!r}"
        if node.type == _MIDPOINT:
            midpoints[node.name] = []
        elif node.type in _ROUTERS or node.type.endswith(("Router", "RouterNode")):
            routers[node.name] = _template(place, node.template, file.templates)
            nodes.append(NodeEntry(name=node.name, qubits=node.memo_size))
        else:
            allowed = (*_ROUTERS, _MIDPOINT)
            raise InputError(
                f"{place}: type must be one of {', '.join(allowed)}, "
                f"got {node.type!r}{near(node.type, allowed)}"
            )
    lengths: dict[tuple[str, str], float] = {}
    for number, fibre in enumerate(file.qconnections):
        _known(f"qconnections[{number}]", (fibre.node1, fibre.node2), routers)
        _join(lengths, fibre.node1, fibre.node2, fibre.distance)
    everybody = dict.fromkeys([*routers, *midpoints])
    for number, channel in enumerate(file.qchannels):
        ends = (channel.source, channel.destination)
        place = f"qchannels[{number}]"
        _known(place, ends, everybody)
        arms = [end for end in ends if end in midpoints]
        if len(arms) == 2:
            raise InputError(f"{place}: must have a router at one end, got two BSMNodes")
        if arms:
            router = ends[0] if ends[1] == arms[0] else ends[1]
            midpoints[arms[0]].append((router, channel.distance))
        else:
            _join(lengths, *ends, channel.distance)
    for name, met in midpoints.items():
        # A qconnection makes its midpoint itself, so one without channels is no error.
        each = dict(met)
        if each and len(each) != 2:
            raise InputError(f"nodes: BSMNode {name!r} must have qchannels from two routers")
        if each:
            a, b = each
            _join(lengths, a, b, sum(each.values()))
    links = [
        LinkEntry(a=a, b=b, length_km=metres / 1000.0, fidelity=_worst_fidelity(routers, a, b))
        for (a, b), metres in lengths.items()
    ]
    return Description(
        nodes=nodes,
        links=links,
        memory=_memory(routers.values()),
        cutoff_s=_cutoff_s(routers.values()),
        swap=_gates(file.nodes, routers),
    )


def _template(place: str, name: str | None, templates: dict[str, _Template]) -> _Template:
    if name is None:
        return _Template()
    if name not in templates:
        known = ", ".join(templates) or "none"
        raise InputError(
            f"{place}: template {name!r} is not in templates{near(name, list(templates))}; "
            f"there are {known}"
        )
    return templates[name]


def _known(place: str, ends: tuple[str, str], known: Mapping[str, Any]) -> None:
    for end in ends:
        if end not in known:
            raise InputError(f"{place}: there is no node {end!r}{near(end, list(known))}")


def _join(lengths: dict[tuple[str, str], float], a: str, b: str, metres: float) -> None:
    """Keep the first of parallel fibres; the two directions of a channel are one."""
    lengths.setdefault((min(a, b), max(a, b)), metres)


def _worst_fidelity(routers: dict[str, _Template], a: str, b: str) -> float | None:
    said = [routers[end].memories.fidelity for end in (a, b)]
    return min((value for value in said if value is not None), default=None)


def _cutoff_s(templates: Iterable[_Template]) -> float | None:
    """Return the age at which the first pairs are dropped; -1 means that they are kept for ever."""
    said = [one.memories for one in templates if one.memories.coherence_time is not None]
    ages = []
    for memory in said:
        seconds = memory.coherence_time
        if seconds is None or not (seconds > 0.0 or seconds == -1.0):
            raise InputError(
                f"MemoryArray.coherence_time must be > 0 s, or -1 for no limit, got {seconds}"
            )
        if seconds > 0.0:
            ages.append(seconds * memory.cutoff_ratio)
    return min(ages, default=None)


def _memory(templates: Iterable[_Template]) -> Memory | None:
    """Return the shortest times of decay of all nodes; None where no file says how they decay."""
    said = [
        _decay(one.memories.coherence_time, one.memories.decoherence_errors)
        for one in templates
        if one.memories.decoherence_errors is not None
        and one.memories.coherence_time is not None
        and one.memories.coherence_time > 0.0
    ]
    if not said:
        return None
    return Memory(t1_s=min(t1 for t1, _ in said), t2_s=min(t2 for _, t2 in said))


def _decay(coherence_s: float, errors: tuple[float, float, float]) -> tuple[float, float]:
    """Return the T1 and T2 (s) at which populations and coherences decay as the Pauli channel does.

    Errors X, Y and Z with the shares ``errors`` at the rate 1/tau let the Bloch vector's z decay at
    2 (p_x + p_y) / tau and its x at 2 (p_y + p_z) / tau. Relaxation goes to the ground state here
    and to I/2 there, and T2 is at most 2 T1.

    >>> _decay(2.0, (0.0, 0.0, 1.0))
    (inf, 1.0)
    """
    x, y, z = errors
    t1 = coherence_s / (2.0 * (x + y)) if x + y > 0.0 else math.inf
    t2 = coherence_s / (2.0 * (y + z)) if y + z > 0.0 else math.inf
    return t1, min(t2, 2.0 * t1)


def _gates(nodes: list[_Node], routers: dict[str, _Template]) -> Gates | None:
    inside = [node for node in nodes if node.name in routers]
    gate = [node.gate_fidelity for node in inside if node.gate_fidelity is not None]
    reading = [n.measurement_fidelity for n in inside if n.measurement_fidelity is not None]
    chance = [
        one.swapping.swapping_success_prob
        for one in routers.values()
        if one.swapping.swapping_success_prob is not None
    ]
    if not (gate or reading or chance):
        return None
    return Gates(
        success=min(chance, default=1.0),
        gate_depolarizing=1.0 - min(gate, default=1.0),
        readout_error=1.0 - min(reading, default=1.0),
    )
