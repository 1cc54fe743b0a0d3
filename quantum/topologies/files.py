"""Reads topology files: our JSON, and those of the graph world and of other simulators.

The ending says the language, the keys say whose format it is: GML and GraphML are graphs
(:mod:`quantum.topologies.graphs`), JSON is ours or SeQUeNCe's (:mod:`quantum.topologies.sequence`),
YAML is SquidASM's, NetSquid's or SeQUeNCe's (:mod:`quantum.topologies.squidasm`).
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import InputError
from quantum.reading import told
from quantum.topologies import sequence, squidasm
from quantum.topologies.entry import Description, to_layout
from quantum.topologies.graphs import describe_gml, describe_graphml
from quantum.topologies.layout import Layout, require_connected
from quantum.topologies.plain_yaml import load_yaml

__all__ = ["MOST_BYTES", "MOST_LINKS", "MOST_NODES", "SUFFIXES", "read_file"]

SUFFIXES = (".json", ".gml", ".graphml", ".yaml", ".yml")
#: Larger files, or networks, are refused before anything is made of them.
MOST_BYTES = 32 * 1024 * 1024
MOST_NODES, MOST_LINKS = 20_000, 200_000


def read_file(path: Path, seed: int) -> Layout:
    """Read a topology file; one in several pieces is refused.

    Raises :class:`InputError` that names the file, and the line where it is known.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"{path}: a topology file must end in {', '.join(SUFFIXES)}")
    description = _describe(str(path), kind, _bytes(path))
    for what, size, most in (
        ("nodes", len(description.nodes), MOST_NODES),
        ("links", len(description.links), MOST_LINKS),
    ):
        if size > most:
            raise InputError(f"{path}: {what} must be at most {most}, there are {size}")
    key = (description.name or path.stem).lower()
    return require_connected(to_layout(description, key, seed, str(path)), str(path))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: a topology file must be at most {MOST_BYTES} bytes")
    return data


def _describe(where: str, kind: str, data: bytes) -> Description:
    match kind:
        case ".gml":
            return describe_gml(where, data)
        case ".graphml":
            return describe_graphml(where, data)
        case ".json":
            return _json(where, data)
        case _:
            whole = load_yaml(where, data)
            if sequence.is_one(whole):
                return sequence.describe(where, whole)
            return squidasm.describe(where, whole)


def _json(where: str, data: bytes) -> Description:
    try:
        whole: Any = msgspec.json.decode(data)
        if sequence.is_one(whole):
            return sequence.describe(where, whole)
        return msgspec.convert(whole, type=Description)
    except msgspec.ValidationError as wrong:
        raise InputError(f"{where}: {told(wrong, Description)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        found = re.search(r"byte (\d+)", str(wrong))
        line = data[: int(found[1])].count(b"\n") + 1 if found else 1
        if "truncated" in str(wrong):
            line = data.count(b"\n") + 1
        raise InputError(f"{where}: line {line}: {wrong}") from None
    except RecursionError:
        raise InputError(f"{where}: the JSON is nested too deeply") from None
