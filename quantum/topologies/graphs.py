"""Graphs of the graph world as descriptions of networks: GML, GraphML and networkx.

Nodes and links may carry the fields of our JSON format as attributes (``x_km``, ``generation_hz``,
``fidelity`` ...), a link also the weights ``phi_plus`` to ``psi_minus`` of its Bell states, and the
graph ``t1_s``, ``t2_s``, ``cutoff_s``, ``success``, ``gate_depolarizing`` and ``readout_error``;
other attributes are passed over. A node is known by its id, so labels may repeat, and parallel
links count as one.
"""

import itertools
import re
import warnings
from typing import Any

import msgspec
import numpy as np

from quantum.bell import BELL_STATES
from quantum.errors import InputError
from quantum.program import Gates, Memory
from quantum.topologies.entry import Description, LinkEntry, NodeEntry

__all__ = ["LINK_FIELDS", "NODE_FIELDS", "describe_gml", "describe_graph", "describe_graphml"]

NODE_FIELDS = ("x_km", "y_km", "latitude", "longitude", "generation_hz", "swap_hz", "qubits")
LINK_FIELDS = ("length_km", "fidelity")
_OTHER_NAMES = {"lat": "latitude", "lon": "longitude", "lng": "longitude"}
#: What networkx and the parsers below it raise for files that are no graphs.
_WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)


def describe_gml(where: str, data: bytes) -> Description:
    """Turn the bytes of a GML file into a description; self loops are kept."""
    # Half a second to import, and only these files need it.
    import networkx

    text = text_of(where, data)
    if not re.search(r"^\s*multigraph\s", text, re.MULTILINE):
        # Without this mark parallel links are refused. It goes on the same line: lines keep their
        # numbers.
        text = re.sub(r"graph\s*\[", "graph [ multigraph 1 ", text, count=1)
    try:
        graph = networkx.parse_gml(text.splitlines(), label="id")
    except (networkx.NetworkXError, *_WRONG) as wrong:
        raise InputError(f"{where}: not a GML graph: {_line(wrong)}") from None
    except RecursionError:
        raise InputError(f"{where}: the GML is nested too deeply") from None
    return describe_graph(where, graph, "label")


def describe_graphml(where: str, data: bytes) -> Description:
    """Turn the bytes of a GraphML file into a description.

    A document type is refused: GraphML needs none, and entities declared in one can grow without
    end or read other files.
    """
    from xml.etree.ElementTree import ParseError

    import networkx

    text = text_of(where, data)
    found = re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(
            f"{where}: line {line}: a document type with entities is not read; leave it out"
        )
    try:
        with warnings.catch_warnings():
            # It warns of attributes without a type; the fields we read are checked by type later.
            warnings.simplefilter("ignore")
            graph = networkx.parse_graphml(text)
    except ParseError as wrong:
        raise InputError(f"{where}: line {wrong.position[0]}: {_line(wrong)}") from None
    except IndexError:
        raise InputError(f"{where}: not a GraphML graph: there is no graph element") from None
    except (networkx.NetworkXError, *_WRONG) as wrong:
        raise InputError(f"{where}: not a GraphML graph: {_line(wrong)}") from None
    except RecursionError:
        raise InputError(f"{where}: the GraphML is nested too deeply") from None
    return describe_graph(where, graph, "name")


def describe_graph(where: str, graph: Any, label: str = "label") -> Description:
    """Turn a networkx graph into a description; ``label`` is the attribute that names a node."""
    names: dict[Any, str] = {}
    taken: set[str] = set()
    nodes: list[dict[str, Any]] = []
    for identity, said in graph.nodes(data=True):
        fields = {
            _OTHER_NAMES.get(low := str(key).lower(), low): _plain(v) for key, v in said.items()
        }
        wish = str(fields.get(label) or fields.get("label") or fields.get("name") or identity)
        names[identity] = _free(wish, identity, taken)
        taken.add(names[identity])
        known = {key: fields[key] for key in NODE_FIELDS if key in fields}
        nodes.append({**known, "name": names[identity]})
    links: dict[tuple[str, str], dict[str, Any]] = {}
    for one, other, said in graph.edges(data=True):
        a, b = sorted((names[one], names[other]))
        fields = {str(key).lower(): _plain(value) for key, value in said.items()}
        known = {key: fields[key] for key in LINK_FIELDS if key in fields}
        weights = {key: fields[key] for key in BELL_STATES if key in fields}
        if weights:
            # They say more than the fidelity beside them, which is for eyes.
            known.pop("fidelity", None)
            known["bell_diagonal"] = weights
        links.setdefault((a, b), {**known, "a": a, "b": b})
    title = graph.graph.get("label") or graph.graph.get("name")
    whole = {str(key).lower(): _plain(value) for key, value in graph.graph.items()}
    try:
        return Description(
            name=str(title) if title else None,
            nodes=msgspec.convert(nodes, list[NodeEntry], strict=False),
            links=msgspec.convert(list(links.values()), list[LinkEntry], strict=False),
            memory=_block(whole, ("t1_s", "t2_s"), Memory),
            cutoff_s=msgspec.convert(whole.get("cutoff_s"), float | None, strict=False),
            swap=_block(whole, Gates.__struct_fields__, Gates),
        )
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: {wrong}") from None


def _plain(value: Any) -> Any:
    """Return a scalar of numpy, which people compute attributes with, as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _block(whole: dict[str, Any], names: tuple[str, ...], kind: Any) -> Any:
    """Read a block of the format from attributes of the graph; None where there are none."""
    given = {name: whole[name] for name in names if name in whole}
    return msgspec.convert(given, kind, strict=False) if given else None


def _free(wish: str, identity: object, taken: set[str]) -> str:
    """Return the label, with the id added where another node has it already."""
    if wish not in taken:
        return wish
    tries = (f"{wish} ({identity}{more})" for more in itertools.chain([""], itertools.count(2)))
    return next(name for name in tries if name not in taken)


def text_of(where: str, data: bytes) -> str:
    """Return the text of a file, which must be UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data[: wrong.start].count(b"\n") + 1
        raise InputError(f"{where}: line {line}: the file must be UTF-8 text") from None


def _line(wrong: Exception) -> str:
    return " ".join(str(wrong).split())
