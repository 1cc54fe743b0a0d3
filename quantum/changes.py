"""A network that changes while it runs: links fail and return, nodes leave and join.

A change takes effect at the beginning of the slot that its time lies in. What it means is in
:mod:`quantum.ledger.change`. Changes come from a CSV file or are drawn, by key.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.network import Network
from quantum.seeding import generator
from quantum.traffic_files import number_of, rows_of_csv
from quantum.words import near

__all__ = ["NO_CHANGES", "Changes", "make_changes", "outages", "read_changes", "to_csv"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Most changes that are drawn for a run.
_MOST = 10_000_000
_SYNTAX = (
    "FILE.csv, or outages:MTBF_S:MTTR_S (links and nodes alike), or links:MTBF_S:MTTR_S and "
    "nodes:MTBF_S:MTTR_S, alone or joined by a comma"
)


@dataclass(frozen=True, eq=False)
class Changes:
    """E changes, sorted by ``time_s`` (E,); everything is up before the first.

    ``node`` (E,) says what changes: a node or a link; ``index`` (E,) which one; ``up`` (E,) whether
    it is there from then on. Of changes of one thing in one slot the last counts.
    """

    time_s: Floats
    node: Bools
    index: Ints
    up: Bools

    def __post_init__(self) -> None:
        if not len(self.time_s) == len(self.node) == len(self.index) == len(self.up):
            raise InputError("changes must have a time, a kind, an index and a state each")
        if not np.all(np.isfinite(self.time_s)) or np.any(self.time_s < 0):
            raise InputError("changes.time_s must be >= 0 seconds")
        if np.any(np.diff(self.time_s) < 0):
            raise InputError("changes.time_s must be sorted")

    def check(self, network: Network) -> None:
        """Raise :class:`InputError` where a change names what the network does not have."""
        size = np.where(self.node, len(network.nodes), len(network.links))
        if np.any(self.index < 0) or np.any(self.index >= size):
            raise InputError(f"changes.index names nodes or links that {network.name} has not")

    def slots(self, slot_s: float) -> Ints:
        """Return the slot in which each change takes effect, (E,)."""
        out: Ints = np.floor(self.time_s / slot_s + 1e-9).astype(np.int64)
        return out


NO_CHANGES = Changes(
    np.zeros(0), np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64), np.zeros(0, np.bool_)
)


def make_changes(wish: str, network: Network, *, seed: int, duration_s: float) -> Changes:
    """Make the changes of a run from a wish: a file, or the mean times of outages.

    ``outages:MTBF_S:MTTR_S`` draws outages of every link and every node, ``links:...`` and
    ``nodes:...`` only of these; both can be given, joined by a comma.

    >>> from quantum.topology import load_topology
    >>> net = load_topology("ring-6", seed=0)
    >>> some = make_changes("links:20:2,nodes:90:5", net, seed=1, duration_s=60.0)
    >>> bool(some.node.any()), bool(some.node.all())
    (True, False)
    """
    if Path(wish).suffix.lower() == ".csv":
        return read_changes(wish, network)
    times: dict[str, tuple[float, float]] = {}
    for part in wish.split(","):
        kind, *numbers = part.strip().split(":")
        kinds = ("links", "nodes") if kind == "outages" else (kind,)
        if kind not in ("outages", "links", "nodes") or len(numbers) != 2 or kinds[0] in times:
            raise InputError(f"changes {wish!r} are unknown; they are {_SYNTAX}")
        pair = [_mean(wish, text) for text in numbers]
        times.update(dict.fromkeys(kinds, (pair[0], pair[1])))
    return outages(
        network,
        seed=seed,
        duration_s=duration_s,
        links=times.get("links"),
        nodes=times.get("nodes"),
    )


def _mean(wish: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e12:
        raise InputError(f"changes {wish!r}: mean times must be > 0 seconds, got {text!r}")
    return value


def outages(
    network: Network,
    *,
    seed: int,
    duration_s: float,
    links: tuple[float, float] | None = None,
    nodes: tuple[float, float] | None = None,
) -> Changes:
    """Draw outages with exponential times, each link's and node's by keys of its own.

    ``links`` and ``nodes`` give the mean time between failures, from repair to the next failure,
    and the mean time to repair. Everything is up at the start: an alternating renewal process (Cox,
    Renewal Theory, 1962, chapter 7), as in the usual models of availability.
    """
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    time, node, index, up = [], [], [], []
    for kind, means, size in (
        ("links", links, len(network.links)),
        ("nodes", nodes, len(network.nodes)),
    ):
        if means is None:
            continue
        if 2.0 * size * duration_s / sum(means) > _MOST:
            raise InputError(f"outages of {kind} must be at most {_MOST} in a run, make them rarer")
        for number in range(size):
            when = _alternate(generator(seed, "changes", kind, number), means, duration_s)
            time.append(when)
            node.append(np.full(len(when), kind == "nodes"))
            index.append(np.full(len(when), number, dtype=np.int64))
            up.append(np.arange(len(when)) % 2 == 1)
    if not time:
        return NO_CHANGES
    whole = np.concatenate(time)
    order = np.argsort(whole, kind="stable")
    return Changes(
        whole[order],
        np.concatenate(node)[order],
        np.concatenate(index)[order],
        np.concatenate(up)[order],
    )


def _alternate(rng: np.random.Generator, means: tuple[float, float], duration_s: float) -> Floats:
    """Return the times of failure, repair, failure ... before ``duration_s``."""
    size = 8 + int(3.0 * duration_s / sum(means))
    when = np.zeros(0)
    while not len(when) or when[-1] < duration_s:
        spans = rng.exponential(means, (size, 2)).ravel()
        when = np.concatenate([when, (when[-1] if len(when) else 0.0) + np.cumsum(spans)])
    return when[when < duration_s]


def read_changes(path: str, network: Network) -> Changes:
    """Read changes from a CSV file with the columns ``time_s, a, b, state``.

    ``a`` and ``b`` are the ends of a link, in any order; with ``b`` empty it is the node ``a``.
    ``state`` is ``up`` or ``down``. Raises :class:`InputError` that names file, line and column.
    """
    nodes = {name: number for number, name in enumerate(network.nodes)}
    links = {(a, b): number for number, (a, b) in enumerate(network.links.tolist())}
    found: list[tuple[float, bool, int, bool]] = []
    for where, row in rows_of_csv(path, ("time_s", "a", "b", "state")):
        time = number_of(where, "time_s", row["time_s"], ">= 0 seconds")
        if found and time < found[-1][0]:
            raise InputError(
                f"{where}, column time_s: times must not go backwards, "
                f"got {time:g} after {found[-1][0]:g}"
            )
        ends = []
        for column in ("a", "b") if row["b"] else ("a",):
            if row[column] not in nodes:
                raise InputError(
                    f"{where}, column {column}: there is no node {row[column]!r}"
                    f"{near(row[column], list(nodes))}"
                )
            ends.append(nodes[row[column]])
        index = ends[0] if len(ends) == 1 else links.get((min(ends), max(ends)), -1)
        if index < 0:
            raise InputError(
                f"{where}, column b: there is no link between {row['a']!r} and {row['b']!r}"
            )
        if row["state"] not in ("up", "down"):
            raise InputError(f"{where}, column state: must be up or down, got {row['state']!r}")
        found.append((time, len(ends) == 1, index, row["state"] == "up"))
    return Changes(
        np.array([row[0] for row in found], dtype=np.float64),
        np.array([row[1] for row in found], dtype=np.bool_),
        np.array([row[2] for row in found], dtype=np.int64),
        np.array([row[3] for row in found], dtype=np.bool_),
    )


def to_csv(changes: Changes, network: Network) -> bytes:
    """Write changes as :func:`read_changes` reads them, exactly."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("time_s", "a", "b", "state"))
    for time, node, index, up in zip(
        changes.time_s.tolist(),
        changes.node.tolist(),
        changes.index.tolist(),
        changes.up.tolist(),
        strict=True,
    ):
        ends = [network.nodes[k] for k in ([index] if node else network.links[index].tolist())]
        lines.writerow((repr(time), ends[0], "" if node else ends[1], "up" if up else "down"))
    return text.getvalue().encode()
