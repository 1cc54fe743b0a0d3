"""Network configurations of SquidASM and of NetSquid's network builder (YAML).

Both name things in their own way (``stacks``/``links`` with ``stack1``, ``processing_nodes``/
``qlinks`` with ``node1``), units are ns and km. Hubs are links between all of their nodes, whose
arms are the distances to the hub. Defaults are those of the two packages. What a network here has
once (memory times, gate noise) is the worst of all nodes. The depolarising p of a two-qubit gate
acts on each of its qubits there: for a Bell measurement that is a joint 1 - (1 - p)^2. Links say
how often they make a pair; half of that is each end's, as a rate of its tokens, at most
:data:`MOST_GENERATION_HZ`, more than which no slot can use. Swaps take their gates' times.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any

import msgspec

from quantum.errors import InputError
from quantum.program import Gates, Memory
from quantum.topologies.entry import Description, LinkEntry, NodeEntry
from quantum.topologies.squidasm_models import (
    DEVICES,
    LINKS,
    Source,
    Standing,
    read_block,
)
from quantum.words import near

__all__ = ["describe"]

#: Eight tokens in each slot of 20 ms.
MOST_GENERATION_HZ = 400.0
MOST_SWAP_HZ = 1e4
#: Links that hubs may stand for.
_MOST_HUB_LINKS = 100_000

_Name = str | int
_Km = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]


class _Node(msgspec.Struct, frozen=True):
    name: _Name
    qdevice_typ: str = "generic"
    qdevice_cfg: dict[Any, Any] | None = None


class _Between(msgspec.Struct, frozen=True):
    typ: str
    cfg: dict[Any, Any] | None = None
    stack1: _Name | None = None
    stack2: _Name | None = None
    node1: _Name | None = None
    node2: _Name | None = None


class _Arm(msgspec.Struct, frozen=True):
    stack: _Name | None = None
    node: _Name | None = None
    distance: _Km | None = None
    length: _Km | None = None


class _Hub(msgspec.Struct, frozen=True):
    name: _Name
    connections: list[_Arm]
    link_typ: str
    link_cfg: dict[Any, Any] | None = None


class _File(msgspec.Struct, frozen=True):
    stacks: list[_Node] | None = None
    processing_nodes: list[_Node] | None = None
    links: list[_Between] | None = None
    qlinks: list[_Between] | None = None
    hubs: list[_Hub] | None = None
    repeater_chains: list[Any] | None = None


def describe(where: str, whole: Any) -> Description:
    """Turn plain data of such a configuration into a description.

    Raises :class:`InputError` that names the file, the key and what is allowed.
    """
    try:
        if isinstance(whole, dict) and "components" in whole:
            raise InputError("components, the older format, are not read: use stacks and links")
        if not isinstance(whole, dict) or not {"stacks", "processing_nodes"} & whole.keys():
            raise InputError(
                "a YAML topology must have stacks and links (SquidASM), processing_nodes and "
                "qlinks (NetSquid's network builder), or nodes and qconnections (SeQUeNCe)"
            )
        return _describe(msgspec.convert(whole, _File, strict=False))
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: {wrong}") from None
    except InputError as wrong:
        raise InputError(f"{where}: {wrong}") from None


def _describe(file: _File) -> Description:
    if file.repeater_chains:
        raise InputError("repeater_chains are not read: name their nodes and links one by one")
    key = "stacks" if file.stacks is not None else "processing_nodes"
    stacks = file.stacks if file.stacks is not None else file.processing_nodes or []
    devices: dict[str, Standing] = {}
    for number, node in enumerate(stacks):
        place = f"{key}[{number}] {node.name!r}"
        if str(node.name) in devices:
            raise InputError(f"{place}: the name is taken by another of {key}")
        kind = _kind(f"{place}: qdevice_typ", node.qdevice_typ, DEVICES)
        device = read_block(f"{place}: qdevice_cfg", node.qdevice_cfg, kind)
        devices[str(node.name)] = device.standing()
    links: list[LinkEntry] = []
    rates = dict.fromkeys(devices, 0.0)
    for a, b, source in [*_direct(file, devices), *_through_hubs(file, devices)]:
        links.append(source.link(a, b))
        rates[a] += 0.5 * source.rate_hz
        rates[b] += 0.5 * source.rate_hz
    return Description(
        nodes=[
            NodeEntry(
                name=name,
                qubits=device.qubits,
                generation_hz=min(rates[name], MOST_GENERATION_HZ),
                swap_hz=min(device.swap_hz, MOST_SWAP_HZ),
            )
            for name, device in devices.items()
        ],
        links=links,
        memory=_memory(list(devices.values())),
        swap=_gates(list(devices.values())),
    )


def _direct(file: _File, devices: dict[str, Standing]) -> list[tuple[str, str, Source]]:
    out = []
    for key, given in (("links", file.links), ("qlinks", file.qlinks)):
        for number, link in enumerate(given or []):
            ends = [
                _end(f"{key}[{number}]", (first, second), devices)
                for first, second in ((link.stack1, link.node1), (link.stack2, link.node2))
            ]
            place = f"{key}[{number}] {ends[0]!r} - {ends[1]!r}"
            kind = _kind(f"{place}: typ", link.typ, LINKS)
            out.append(
                (ends[0], ends[1], read_block(f"{place}: cfg", link.cfg, kind).source(place))
            )
    return out


def _through_hubs(file: _File, devices: dict[str, Standing]) -> list[tuple[str, str, Source]]:
    out: list[tuple[str, str, Source]] = []
    for number, hub in enumerate(file.hubs or []):
        place = f"hubs[{number}] {hub.name!r}"
        size = len(hub.connections)
        if len(out) + size * (size - 1) // 2 > _MOST_HUB_LINKS:
            raise InputError(f"{place}: hubs may stand for at most {_MOST_HUB_LINKS} links")
        kind = _kind(f"{place}: link_typ", hub.link_typ, LINKS)
        read = read_block(f"{place}: link_cfg", hub.link_cfg, kind)
        arms = []
        for row, arm in enumerate(hub.connections):
            here = f"{place}: connections[{row}]"
            length = arm.distance if arm.length is None else arm.length
            if length is None:
                raise InputError(f"{here}: length must be given, in km")
            arms.append((_end(here, (arm.stack, arm.node), devices), length))
        out += [
            (a, b, read.between(to_a, to_b).source(place))
            for (a, to_a), (b, to_b) in combinations(arms, 2)
        ]
    return out


def _end(place: str, given: tuple[_Name | None, _Name | None], devices: dict[str, Standing]) -> str:
    found = next((str(name) for name in given if name is not None), None)
    if found is None:
        raise InputError(f"{place}: both ends must be named: stack1 and stack2, or node1 and node2")
    if found not in devices:
        raise InputError(f"{place}: there is no node {found!r}{near(found, list(devices))}")
    return found


def _kind(place: str, word: str, known: dict[str, Any]) -> Any:
    if word not in known:
        raise InputError(
            f"{place} must be one of {', '.join(known)}, got {word!r}{near(word, list(known))}"
        )
    return known[word]


def _memory(devices: Sequence[Standing]) -> Memory | None:
    if not devices:
        return None
    return Memory(t1_s=min(d.t1_s for d in devices), t2_s=min(d.t2_s for d in devices))


def _gates(devices: Sequence[Standing]) -> Gates | None:
    if not devices:
        return None
    return Gates(
        gate_depolarizing=max(d.gate_depolarizing for d in devices),
        readout_error=max(d.readout_error for d in devices),
    )
