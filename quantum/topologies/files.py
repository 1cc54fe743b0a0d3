"""Reads topology files: our JSON, and GML and GraphML as the graph world writes them.

GML and GraphML nodes and links may carry the fields of our JSON format as attributes (``x_km``,
``generation_hz``, ``fidelity`` ...); other attributes are passed over. There a node is known by its
id, so labels may repeat, and parallel links count as one.
"""

import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import InputError
from quantum.topologies.entry import Description, LinkEntry, NodeEntry, to_layout
from quantum.topologies.layout import Layout, require_connected

__all__ = ["SUFFIXES", "describe_gml", "read_file"]

SUFFIXES = (".json", ".gml", ".graphml")


def read_file(path: Path, seed: int) -> Layout:
    """Read a topology file; one in several pieces is refused.

    Raises :class:`InputError` that names the file, and the line where it is known.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"{path}: a topology file must end in {', '.join(SUFFIXES)}")
    try:
        data = path.read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    if kind == ".json":
        description = _json(str(path), data)
    elif kind == ".gml":
        description = describe_gml(str(path), data)
    else:
        description = _graphml(str(path), data)
    key = (description.name or path.stem).lower()
    return require_connected(to_layout(description, key, seed, str(path)), str(path))


def _json(where: str, data: bytes) -> Description:
    try:
        return msgspec.json.decode(data, type=Description)
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: {wrong}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        found = re.search(r"byte (\d+)", str(wrong))
        line = data[: int(found[1])].count(b"\n") + 1 if found else 1
        if "truncated" in str(wrong):
            line = data.count(b"\n") + 1
        raise InputError(f"{where}: line {line}: {wrong}") from None
    except RecursionError:
        raise InputError(f"{where}: the JSON is nested too deeply") from None


def describe_gml(where: str, data: bytes) -> Description:
    """Turn the bytes of a GML file into a description; self loops are kept."""
    # Half a second to import, and only these files need it.
    import networkx

    text = _text(where, data)
    if not re.search(r"^\s*multigraph\s", text, re.MULTILINE):
        # Without this mark parallel links are refused. It goes on the same line: lines keep their
        # numbers.
        text = re.sub(r"graph\s*\[", "graph [ multigraph 1 ", text, count=1)
    try:
        graph = networkx.parse_gml(text.splitlines(), label="id")
    except (networkx.NetworkXError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise InputError(f"{where}: not a GML graph: {_line(wrong)}") from None
    except RecursionError:
        raise InputError(f"{where}: the GML is nested too deeply") from None
    return _describe(where, graph, "label")


def _graphml(where: str, data: bytes) -> Description:
    from xml.etree.ElementTree import ParseError

    import networkx

    try:
        with warnings.catch_warnings():
            # It warns of attributes without a type; the fields we read are checked by type later.
            warnings.simplefilter("ignore")
            graph = networkx.parse_graphml(_text(where, data))
    except ParseError as wrong:
        raise InputError(f"{where}: line {wrong.position[0]}: {_line(wrong)}") from None
    except (networkx.NetworkXError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise InputError(f"{where}: not a GraphML graph: {_line(wrong)}") from None
    except IndexError:
        raise InputError(f"{where}: not a GraphML graph: there is no graph element") from None
    return _describe(where, graph, "name")


def _describe(where: str, graph: Any, label: str) -> Description:
    """Turn a networkx graph into a description."""
    names: dict[Any, str] = {}
    taken: set[str] = set()
    nodes: list[dict[str, Any]] = []
    for identity, said in graph.nodes(data=True):
        fields = {_FIELD.get(key.lower(), key.lower()): value for key, value in said.items()}
        wish = str(fields.get(label) or fields.get("label") or fields.get("name") or identity)
        names[identity] = _free(wish, identity, taken)
        taken.add(names[identity])
        known = {key: fields[key] for key in _NODE if key in fields}
        nodes.append({**known, "name": names[identity]})
    links: dict[tuple[str, str], dict[str, Any]] = {}
    for one, other, said in graph.edges(data=True):
        a, b = sorted((names[one], names[other]))
        fields = {key.lower(): value for key, value in said.items()}
        known = {key: fields[key] for key in _LINK if key in fields}
        links.setdefault((a, b), {**known, "a": a, "b": b})
    title = graph.graph.get("label") or graph.graph.get("name")
    try:
        return Description(
            name=str(title) if title else None,
            nodes=msgspec.convert(nodes, list[NodeEntry], strict=False),
            links=msgspec.convert(list(links.values()), list[LinkEntry], strict=False),
        )
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: {wrong}") from None


def _free(wish: str, identity: object, taken: set[str]) -> str:
    """Return the label, with the id added where another node has it already."""
    if wish not in taken:
        return wish
    tries = (f"{wish} ({identity}{more})" for more in itertools.chain([""], itertools.count(2)))
    return next(name for name in tries if name not in taken)


def _text(where: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data[: wrong.start].count(b"\n") + 1
        raise InputError(f"{where}: line {line}: the file must be UTF-8 text") from None


def _line(wrong: Exception) -> str:
    return " ".join(str(wrong).split())


_FIELD = {"lat": "latitude", "lon": "longitude", "lng": "longitude"}
_NODE = ("x_km", "y_km", "latitude", "longitude", "generation_hz", "swap_hz", "qubits")
_LINK = ("length_km", "fidelity")
