"""The topology format of the user, and what makes a description of a network a sound one.

A description names nodes and links; everything else may be left out::

    {"name": "lab",
     "nodes": [{"name": "a", "x_km": 0, "y_km": 0, "generation_hz": 5, "swap_hz": 2, "qubits": 16},
               {"name": "b"}],
     "links": [{"a": "a", "b": "b", "length_km": 10, "fidelity": 0.97}],
     "memory": {"t1_s": 3600, "t2_s": 60}, "cutoff_s": 1.5, "swap": {"success": 1.0}}

A place is ``x_km`` and ``y_km``, or ``latitude`` and ``longitude`` in degrees, the same for all
nodes. A link has a ``fidelity`` (then it is a Werner state), the four weights of ``bell_diagonal``,
or a ``model`` of :mod:`quantum.links` that computes them from the hardware. A link without a length
is the straight line, or the great circle x 1.25. Rates, qubits, fidelities, ``cutoff_s``,
``memory`` and ``swap`` that are left out are those of the presets (drawn by key where the presets
draw them); a time left out of a given ``memory`` means no decay.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantum.bell import BELL_STATES, check_populations, werner
from quantum.errors import InputError
from quantum.links.model import read_model
from quantum.program import Gates, Memory
from quantum.topologies.geography import DETOUR, fill_gaps, flat_km, great_circle_km
from quantum.topologies.layout import Layout, arrange
from quantum.topologies.shapes import spread
from quantum.words import near

__all__ = ["Description", "LinkEntry", "NodeEntry", "near", "to_layout"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NodeEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node as the file has it."""

    name: str
    x_km: float | None = None
    y_km: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    generation_hz: float | None = None
    swap_hz: float | None = None
    qubits: int | None = None


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weights of the four Bell states."""

    phi_plus: float
    phi_minus: float
    psi_plus: float
    psi_minus: float


class LinkEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link as the file has it; ``model`` is one of :mod:`quantum.links.model`."""

    a: str
    b: str
    length_km: float | None = None
    fidelity: float | None = None
    bell_diagonal: Weights | None = None
    model: dict[str, Any] | None = None


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole topology file."""

    nodes: list[NodeEntry]
    links: list[LinkEntry] = []
    name: str | None = None
    memory: Memory | None = None
    cutoff_s: float | None = None
    swap: Gates | None = None


def to_layout(description: Description, key: str, seed: int, where: str | None = None) -> Layout:
    """Check a description and return its layout.

    Raises :class:`InputError` that names the node or link and what is allowed, after ``where`` it
    was read (its name otherwise). Whether the network is in one piece is not looked at.
    """
    name = description.name or key
    try:
        nodes, index = _nodes(description.nodes)
        links = _links(description.links, index)
        place, given_km = _places(description, links, key, seed)
        layout = arrange(key, nodes, place, links, name=name, length_km=given_km)
        order = np.lexsort(np.sort(links, axis=1).T[::-1])
        state = _states(description.links, given_km)[order]
        if description.memory is not None:
            description.memory.check()
        if description.swap is not None:
            description.swap.check()
        if description.cutoff_s is not None:
            _need("cutoff_s", description.cutoff_s, description.cutoff_s > 0, "> 0 seconds")
    except InputError as wrong:
        raise InputError(f"{where or name}: {wrong}") from None
    return replace(
        layout,
        generation_hz=_numbers([node.generation_hz for node in description.nodes]),
        swap_hz=_numbers([node.swap_hz for node in description.nodes]),
        qubits=np.array(
            [-1 if node.qubits is None else node.qubits for node in description.nodes],
            dtype=np.int64,
        ),
        populations=state,
        memory=description.memory,
        cutoff_s=description.cutoff_s,
        gates=description.swap,
    )


def _nodes(entries: list[NodeEntry]) -> tuple[tuple[str, ...], dict[str, int]]:
    if not entries:
        raise InputError("nodes must have at least one entry")
    index: dict[str, int] = {}
    for number, node in enumerate(entries):
        where = f"nodes[{number}] {node.name!r}"
        if not node.name:
            raise InputError(f"nodes[{number}]: name must not be empty")
        if node.name in index:
            raise InputError(f"{where}: the name is taken by nodes[{index[node.name]}]")
        index[node.name] = number
        for field, most in (("generation_hz", 1e9), ("swap_hz", 1e9), ("qubits", 1e6)):
            value = getattr(node, field)
            allowed = f"between 0 and {most:g}"
            _need(f"{where}: {field}", value, value is None or 0 <= value <= most, allowed)
        for field, most in (("latitude", 90.0), ("longitude", 360.0)):
            value = getattr(node, field)
            _need(
                f"{where}: {field}",
                value,
                value is None or abs(value) <= most,
                f"between -{most:g} and {most:g} degrees",
            )
        for field in ("x_km", "y_km"):
            value = getattr(node, field)
            _need(f"{where}: {field}", value, value is None or abs(value) < 1e6, "within 1e6 km")
        for pair in (("x_km", "y_km"), ("latitude", "longitude")):
            if (getattr(node, pair[0]) is None) != (getattr(node, pair[1]) is None):
                raise InputError(f"{where}: {pair[0]} and {pair[1]} go together")
    return tuple(index), index


def _links(entries: list[LinkEntry], index: dict[str, int]) -> Ints:
    seen: dict[tuple[int, int], int] = {}
    for number, link in enumerate(entries):
        where = f"links[{number}] {link.a!r} - {link.b!r}"
        for end in (link.a, link.b):
            if end not in index:
                raise InputError(f"{where}: there is no node {end!r}{near(end, list(index))}")
        a, b = sorted((index[link.a], index[link.b]))
        if a == b:
            raise InputError(f"{where}: a link must join two different nodes")
        if (a, b) in seen:
            raise InputError(f"{where}: the same two nodes are joined by links[{seen[a, b]}]")
        seen[a, b] = number
        length, fidelity = link.length_km, link.fidelity
        _need(f"{where}: length_km", length, length is None or 0 <= length < 1e6, ">= 0 km")
        _need(
            f"{where}: fidelity",
            fidelity,
            fidelity is None or 0 <= fidelity <= 1,
            "between 0 and 1",
        )
        given = [x for x in (fidelity, link.bell_diagonal, link.model) if x is not None]
        if len(given) > 1:
            raise InputError(f"{where}: give one of fidelity, bell_diagonal and model")
        if link.bell_diagonal is not None:
            check_populations(
                f"{where}: bell_diagonal", msgspec.structs.astuple(link.bell_diagonal)
            )
    return np.array(list(seen), dtype=np.int64).reshape(-1, 2)


def _places(description: Description, links: Ints, key: str, seed: int) -> tuple[Floats, Floats]:
    """Return positions (n, 2) and the length of every link (m,), both in km."""
    flat = [(node.x_km, node.y_km) for node in description.nodes]
    earth = [(node.latitude, node.longitude) for node in description.nodes]
    has_flat = [x is not None for x, _ in flat]
    has_earth = [x is not None for x, _ in earth]
    if any(has_flat) and any(has_earth):
        raise InputError("nodes must all use x_km and y_km, or all latitude and longitude")
    a, b = links[:, 0], links[:, 1]
    if any(has_earth):
        degrees = _numbers(x for pair in earth for x in pair).reshape(-1, 2)
        degrees = fill_gaps(degrees, links)
        lost = np.flatnonzero(~np.isfinite(degrees).all(axis=1))
        if lost.size:
            who = description.nodes[int(lost[0])].name
            raise InputError(f"node {who!r} has no place and no link to a node that has one")
        place = flat_km(degrees)
        length = DETOUR * great_circle_km(degrees[a], degrees[b])
    else:
        place = spread(key, len(flat), seed)
        if any(has_flat):
            if not all(has_flat):
                who = description.nodes[has_flat.index(False)].name
                raise InputError(f"node {who!r}: x_km and y_km must be given for all nodes or none")
            place = _numbers(x for pair in flat for x in pair).reshape(-1, 2)
        length = np.linalg.norm(place[a] - place[b], axis=1)
    said = _numbers(link.length_km for link in description.links)
    return place, np.where(np.isfinite(said), said, length)


def _states(entries: list[LinkEntry], length_km: Floats) -> Floats:
    """Return the populations of the links (m, 4), NaN where the file leaves them open.

    Of a model the populations are kept: the world's pairs are Bell-diagonal.
    """
    out = np.full((len(entries), 4), np.nan)
    for row, link in enumerate(entries):
        if link.bell_diagonal is not None:
            out[row] = [getattr(link.bell_diagonal, name) for name in BELL_STATES]
        elif link.fidelity is not None:
            out[row] = werner(link.fidelity)
        elif link.model is not None:
            out[row] = _modelled(f"links[{row}] {link.a!r} - {link.b!r}", link, length_km[row])
    return out


def _modelled(where: str, link: LinkEntry, length_km: float) -> Floats:
    """Return the populations of a modelled link; its length is that of the link."""
    block = dict(link.model or {})
    if block.get("model") != "plain":
        if "length_km" in block:
            raise InputError(f"{where}: model.length_km is the length_km of the link: leave it out")
        block["length_km"] = float(length_km)
    try:
        made = read_model(block).heralded()
    except InputError as wrong:
        raise InputError(f"{where}: {wrong}") from None
    if not made.keeps:
        raise InputError(f"{where}: a photonic link cannot store pairs, a network needs that")
    return made.populations


def _numbers(values: Iterable[float | None]) -> Floats:
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def _need(where: str, value: float | None, holds: bool, allowed: str) -> None:
    if value is not None and not (holds and math.isfinite(value)):
        raise InputError(f"{where} must be {allowed}, got {value}")
