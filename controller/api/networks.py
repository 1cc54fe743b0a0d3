"""Networks in, graphs out."""

from pathlib import Path
from typing import Any

from controller.api.given import number, numbers, whole
from quantum.errors import InputError
from quantum.network import Network
from quantum.presets import PRESETS, cells
from quantum.program import Gates, Memory
from quantum.topology import graph_of, load_topology, network_of_graph

__all__ = ["graph", "network", "preset_of"]


def network(source: Any, *, seed: int = 0, preset: str = "paper", **fields: Any) -> Network:
    """Return a network from a name, a file, a networkx graph or a network.

    ``source`` is a name that ``dpem run --topology`` takes (``mesh``, ``surfnet``, ``ring-8`` ...),
    a path (JSON, GML, GraphML, SeQUeNCe, SquidASM), a ``networkx`` graph whose attributes are
    those of a file, or a :class:`quantum.network.Network`, which is returned as it is. What the
    source leaves open is drawn by ``seed`` (>= 0) from the ``preset``'s ranges; ``fields`` are
    arguments of :func:`quantum.topology.load_topology` (``qubits``, ``cutoff_s``, ``memory`` ...)
    and win over the preset. Raises :class:`InputError`.

    >>> network("ring-5").nodes
    ('n0', 'n1', 'n2', 'n3', 'n4')
    """
    if isinstance(source, Network):
        return source
    seed = whole("seed", seed)
    cell = cells(preset_of(preset))[0]
    usual = {"fidelity": cell.link_fidelity, "qubits": cell.qubits, "cutoff_s": cell.cutoff_s}
    unknown = set(fields) - {*usual, "memory", "gates"}
    if unknown:
        raise InputError(
            f"network has no argument {min(unknown)!r}; "
            f"there are seed, preset, {', '.join(usual)}, memory, gates"
        )
    asked = _checked({**usual, **fields})
    if isinstance(source, str | Path):
        return load_topology(str(source), seed=seed, **asked)
    if hasattr(source, "nodes") and hasattr(source, "edges") and hasattr(source, "graph"):
        return network_of_graph(source, seed=seed, **asked)
    raise InputError(
        "network must be a name, a path, a networkx graph or a Network, "
        f"got {type(source).__name__}"
    )


def preset_of(name: Any) -> str:
    """Return the name of a preset; :class:`InputError` for what is no text."""
    if not isinstance(name, str):
        raise InputError(f"preset must be {', '.join(PRESETS)}, got {type(name).__name__}")
    return name


def _checked(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``load_topology`` in their types."""
    asked["fidelity"] = numbers("fidelity", asked["fidelity"], size=2)
    asked["qubits"] = whole("qubits", asked["qubits"])
    asked["cutoff_s"] = number("cutoff_s", asked["cutoff_s"])
    for name, kind in (("memory", Memory), ("gates", Gates)):
        if name in asked and not isinstance(asked[name], kind):
            raise InputError(
                f"{name} must be a quantum.program.{kind.__name__}, "
                f"got {type(asked[name]).__name__}"
            )
        for field in kind.__struct_fields__ if name in asked else ():
            number(f"{name}.{field}", getattr(asked[name], field))
    return asked


def graph(of: Network) -> Any:
    """Return a network as a ``networkx.Graph``, complete: :func:`network` gives the same back.

    Nodes go by name and have ``x_km``, ``y_km``, ``generation_hz``, ``swap_hz``, ``qubits``; links
    have ``length_km``, ``fidelity`` and the four Bell weights; the graph has the rest.
    """
    if not isinstance(of, Network):
        raise InputError(f"network must come from api.network, got {type(of).__name__}")
    return graph_of(of)
