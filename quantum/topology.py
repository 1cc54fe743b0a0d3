"""Networks by name: shapes, real topologies, the user's own files; and their export.

``python -m quantum.topology`` lists all names.

What a source leaves open is filled in as the presets say (DESIGN section 3): generation
g ~ U(0, 10)/s and swaps s ~ U(0, 5)/s a node, link fidelity U(0.97, 0.99) as Werner states. Each
kind of draw has a key of its own (network seed, topology, kind), so one never shifts another, and a
value that a file gives takes no draw away from its neighbours.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantum.bell import BELL_STATES, werner
from quantum.errors import InputError
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.seeding import generator
from quantum.topologies.entry import to_layout
from quantum.topologies.files import SUFFIXES, read_file
from quantum.topologies.graphs import describe_graph
from quantum.topologies.layout import Layout, require_connected
from quantum.topologies.shapes import FAMILIES, shape
from quantum.topologies.shipped import chicago, zoo, zoo_names
from quantum.words import near

__all__ = [
    "FAMILIES",
    "TRAPPED_ION",
    "graph_of",
    "known_topologies",
    "load_topology",
    "network_of_graph",
    "to_json",
]

Floats = NDArray[np.float64]

#: Memory of the presets; trapped ions reach that.
TRAPPED_ION = Memory(t1_s=3600.0, t2_s=60.0)
#: Swaps of the presets: they always succeed and add no error.
PERFECT = Gates()
#: Upper ends of the uniform draws of generation and swap tokens per second and node.
GENERATION_HZ = 10.0
SWAP_HZ = 5.0


def known_topologies() -> list[str]:
    """Return every name that can be loaded as it is; sizes come on top, see :data:`FAMILIES`.

    >>> "surfnet" in known_topologies()
    True
    """
    return sorted(["mesh", "geometric", "chicago", *zoo_names()])


def load_topology(
    name_or_path: str,
    *,
    seed: int,
    fidelity: tuple[float, float] = (0.97, 0.99),
    qubits: int = 16,
    cutoff_s: float = 1.5,
    memory: Memory = TRAPPED_ION,
    gates: Gates = PERFECT,
) -> Network:
    """Load a network by name (in any case) or from a file.

    Files are ``.json``, ``.gml``, ``.graphml`` or ``.yaml``, see :mod:`quantum.topologies.files`.

    ``seed`` is the *network* seed (the presets use 0 to 3). ``fidelity`` is the range that link
    fidelities are drawn from. What a file says itself wins over the arguments. Raises
    :class:`InputError` for an unknown name (with close ones) or a file that is not sound.

    >>> load_topology("line-3", seed=0).links.tolist()
    [[0, 1], [1, 2]]
    """
    _check(seed, fidelity, qubits)
    return _complete(_find(name_or_path, seed), seed, fidelity, qubits, cutoff_s, memory, gates)


def network_of_graph(
    graph: Any,
    *,
    seed: int,
    fidelity: tuple[float, float] = (0.97, 0.99),
    qubits: int = 16,
    cutoff_s: float = 1.5,
    memory: Memory = TRAPPED_ION,
    gates: Gates = PERFECT,
) -> Network:
    """Return the network of a networkx graph, whose attributes are those of a GML file.

    Arguments are as in :func:`load_topology`. Raises :class:`InputError` where the graph is not
    sound.
    """
    _check(seed, fidelity, qubits)
    try:
        description = describe_graph("graph", graph, "name")
    except (TypeError, ValueError) as wrong:
        raise InputError(f"graph: not a networkx graph: {wrong}") from None
    key = (description.name or "graph").lower()
    layout = require_connected(to_layout(description, key, seed, "graph"), "graph")
    return _complete(layout, seed, fidelity, qubits, cutoff_s, memory, gates)


def graph_of(network: Network) -> Any:
    """Return a network as a ``networkx.Graph``, complete: :func:`network_of_graph` undoes it.

    Its attributes can be written as GML and GraphML, and read from there.
    """
    import networkx

    graph = networkx.Graph(name=network.name, cutoff_s=float(network.cutoff_s))
    times = {"t1_s": network.memory.t1_s, "t2_s": network.memory.t2_s}
    graph.graph |= {name: value for name, value in times.items() if np.isfinite(value)}
    graph.graph |= msgspec.structs.asdict(network.gates)
    for number, name in enumerate(network.nodes):
        x_km, y_km = network.position_km[number].tolist()
        graph.add_node(
            name,
            name=name,
            x_km=x_km,
            y_km=y_km,
            generation_hz=float(network.generation_hz[number]),
            swap_hz=float(network.swap_hz[number]),
            qubits=int(network.qubits[number]),
        )
    for (a, b), length, state in zip(
        network.links.tolist(),
        network.length_km.tolist(),
        network.populations.tolist(),
        strict=True,
    ):
        graph.add_edge(
            network.nodes[a],
            network.nodes[b],
            length_km=length,
            fidelity=state[0],
            **dict(zip(BELL_STATES, state, strict=True)),
        )
    return graph


def _check(seed: int, fidelity: tuple[float, float], qubits: int) -> None:
    low, high = fidelity
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(f"link fidelity range must be 0 <= low <= high <= 1, got {low}, {high}")
    if qubits < 0:
        raise InputError(f"qubits must be >= 0, got {qubits}")
    if seed < 0:
        raise InputError(f"network seed must be >= 0, got {seed}")


def _complete(
    layout: Layout,
    seed: int,
    fidelity: tuple[float, float],
    qubits: int,
    cutoff_s: float,
    memory: Memory,
    gates: Gates,
) -> Network:
    """Fill what a layout leaves open."""
    low, high = fidelity
    n, m = len(layout.nodes), len(layout.links)

    def draw(kind: str, size: int) -> Floats:
        return generator(seed, "topology", layout.key, kind).random(size)

    fresh = werner(low + (high - low) * draw("fidelity", m))
    return Network(
        name=layout.name,
        nodes=layout.nodes,
        position_km=layout.position_km,
        links=layout.links,
        length_km=layout.length_km,
        populations=np.where(np.isnan(layout.populations), fresh, layout.populations),
        generation_hz=_or(layout.generation_hz, GENERATION_HZ * draw("generation", n)),
        swap_hz=_or(layout.swap_hz, SWAP_HZ * draw("swap", n)),
        qubits=np.where(layout.qubits < 0, qubits, layout.qubits),
        memory=layout.memory if layout.memory is not None else memory,
        cutoff_s=layout.cutoff_s if layout.cutoff_s is not None else cutoff_s,
        gates=layout.gates if layout.gates is not None else gates,
    )


def to_json(network: Network) -> bytes:
    """Write a network in the topology format, complete: loading it gives the same network.

    The format is described in :mod:`quantum.topologies.entry`.
    """
    nodes = [
        {
            "name": name,
            "x_km": float(place[0]),
            "y_km": float(place[1]),
            "generation_hz": float(generation),
            "swap_hz": float(swap),
            "qubits": int(held),
        }
        for name, place, generation, swap, held in zip(
            network.nodes,
            network.position_km,
            network.generation_hz,
            network.swap_hz,
            network.qubits,
            strict=True,
        )
    ]
    links = [
        {
            "a": network.nodes[a],
            "b": network.nodes[b],
            "length_km": float(length),
            "bell_diagonal": dict(zip(BELL_STATES, state, strict=True)),
        }
        for (a, b), length, state in zip(
            network.links.tolist(), network.length_km, network.populations.tolist(), strict=True
        )
    ]
    times = {"t1_s": network.memory.t1_s, "t2_s": network.memory.t2_s}
    whole = {
        "name": network.name,
        "nodes": nodes,
        "links": links,
        # JSON has no infinity; a time left out means no decay.
        "memory": {key: value for key, value in times.items() if np.isfinite(value)},
        "cutoff_s": network.cutoff_s,
        "swap": msgspec.structs.asdict(network.gates),
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _find(name_or_path: str, seed: int) -> Layout:
    if Path(name_or_path).suffix.lower() in SUFFIXES or "/" in name_or_path:
        return read_file(Path(name_or_path), seed)
    name = name_or_path.strip().lower()
    layout = chicago(seed) if name == "chicago" else shape(name, seed) or zoo(name, seed)
    if layout is None:
        raise InputError(
            f"topology {name_or_path!r} is unknown{near(name, known_topologies())}; "
            f"known: {', '.join((*FAMILIES, *known_topologies()))}, or a file that ends in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return layout


def _or(said: Floats, drawn: Floats) -> Floats:
    return np.where(np.isnan(said), drawn, said)


if __name__ == "__main__":
    import sys

    sys.stdout.write("\n".join([*FAMILIES, *known_topologies()]) + "\n")
