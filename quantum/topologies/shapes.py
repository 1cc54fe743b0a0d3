"""Networks made by rule: the random mesh, the random geometric graph, and small regular ones."""

import math
import re

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

from quantum.errors import InputError
from quantum.seeding import generator
from quantum.topologies.layout import Layout, arrange, pieces

__all__ = ["FAMILIES", "LARGEST", "SQUARE_KM", "shape", "spread"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: How the names of regular and sized networks are built.
FAMILIES = ("mesh-N", "geometric-N", "line-N", "star-N", "ring-N", "grid-AxB")
#: Most nodes of a network made by rule.
LARGEST = 10_000
#: Side of the square on which nodes are placed when nobody says where they are.
SQUARE_KM = 100.0
#: Mean degree of the random networks.
MEAN_DEGREE = 6
#: Distance of neighbours in the regular networks.
STEP_KM = 10.0

_NAME = re.compile(r"(mesh|geometric|line|star|ring)-(\d+)|(grid)-(\d+)x(\d+)|(mesh|geometric)")


def shape(name: str, seed: int) -> Layout | None:
    """Make the network of a name in lower case, or return None where it is no such name.

    ``mesh`` and ``geometric`` are those of 100 nodes; the random ones depend on ``seed``. Raises
    :class:`InputError` for sizes that are not 1 to 10000.

    >>> shape("grid-2x3", 0).links.tolist()
    [[0, 1], [0, 3], [1, 2], [1, 4], [2, 5], [3, 4], [4, 5]]
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind = found[1] or found[3] or found[6]
    sides = [int(text) for text in (found[2], found[4], found[5]) if text] or [100]
    if not (all(sides) and math.prod(sides) <= LARGEST):
        raise InputError(f"topology {name!r}: its nodes must be 1 to {LARGEST}")
    if kind == "grid":
        return _grid(name, *sides)
    n = sides[0]
    match kind:
        case "mesh":
            return _mesh(n, seed)
        case "geometric":
            return _geometric(n, seed)
        case "line":
            x = np.arange(n) * STEP_KM
            return arrange(name, _names(n), np.stack([x, 0 * x], axis=1), _chain(n))
        case "star":
            spokes = _circle(n - 1, STEP_KM)
            links = np.stack([np.zeros(n - 1, dtype=np.int64), np.arange(1, n)], axis=1)
            return arrange(name, _names(n), np.concatenate([np.zeros((1, 2)), spokes]), links)
        case _:
            radius = STEP_KM / (2 * math.sin(math.pi / n)) if n > 1 else 0.0
            closing = np.array([[0, n - 1]] if n > 2 else [], dtype=np.int64).reshape(-1, 2)
            links = np.concatenate([_chain(n), closing])
            return arrange(name, _names(n), _circle(n, radius), links)


def spread(key: str, n: int, seed: int) -> Floats:
    """Place ``n`` nodes uniformly on the square of 100 km, ``(n, 2)``, by the key's own draws."""
    return generator(seed, "topology", key, "position").uniform(0.0, SQUARE_KM, (n, 2))


def _mesh(n: int, seed: int) -> Layout:
    """Erdos-Renyi graph: pairs join in random order, see :func:`_first_pairs`."""
    key = "mesh" if n == 100 else f"mesh-{n}"
    pairs = n * (n - 1) // 2
    rng = generator(seed, "topology", key, "links")
    # A random graph becomes connected at about n ln(n) / 2 links; with twelve more per node it
    # falls short once in about 10^10 times, and a complete order always holds.
    wanted = min(pairs, math.ceil(n * (math.log(max(n, 2)) + 24) / 2))
    number = rng.choice(pairs, wanted, replace=False) if pairs else np.zeros(0, dtype=np.int64)
    high = np.floor((1 + np.sqrt(1 + 8 * number.astype(np.float64))) / 2).astype(np.int64)
    order = np.stack([number - high * (high - 1) // 2, high], axis=1)
    return arrange(key, _names(n), spread(key, n, seed), _first_pairs(n, order))


def _geometric(n: int, seed: int) -> Layout:
    """Random geometric graph: pairs join in the order of distance, see :func:`_first_pairs`."""
    key = "geometric" if n == 100 else f"geometric-{n}"
    place = spread(key, n, seed)
    tree = cKDTree(place)
    radius = SQUARE_KM * math.sqrt(2 * MEAN_DEGREE / (math.pi * n))
    while True:
        pairs = tree.query_pairs(radius, output_type="ndarray").astype(np.int64)
        if n == 1 or (
            len(pairs) >= min(MEAN_DEGREE * n // 2, n * (n - 1) // 2)
            and pieces(n, pairs).max() == 0
        ):
            break
        radius *= 1.3
    pairs = np.sort(pairs.reshape(-1, 2), axis=1)
    gap = np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=1)
    order = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], gap))]
    return arrange(key, _names(n), place, _first_pairs(n, order))


def _first_pairs(n: int, order: Ints) -> Ints:
    """Take pairs in their order until the mean degree is six, and keep the network in one piece.

    Of the later pairs those are taken that join pieces which are still apart (Kruskal's rule), and
    the prefix is shorter by their number, so that there are exactly 3 n links (all, where there
    are fewer pairs).
    """
    total = min(MEAN_DEGREE * n // 2, n * (n - 1) // 2)
    if not total:
        return np.zeros((0, 2), dtype=np.int64)
    rank = coo_array((np.arange(1.0, len(order) + 1), (order[:, 0], order[:, 1])), shape=(n, n))
    joining = np.sort(minimum_spanning_tree(rank.tocsr()).data.astype(np.int64) - 1)
    # links(p) = p + (joining pairs that come after the first p); it never falls as p grows.
    prefix = np.arange(len(order) + 1)
    links = prefix + len(joining) - np.searchsorted(joining, prefix)
    p = int(np.searchsorted(links, total, side="right")) - 1
    taken: Ints = order[np.concatenate([np.arange(p), joining[joining >= p]])]
    return taken


def _grid(name: str, rows: int, columns: int) -> Layout:
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1)
    down = np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1)
    y, x = np.divmod(np.arange(rows * columns), columns)
    place = np.stack([x, y], axis=1) * STEP_KM
    return arrange(name, _names(rows * columns), place, np.concatenate([across, down]))


def _chain(n: int) -> Ints:
    return np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)


def _circle(n: int, radius_km: float) -> Floats:
    angle = 2 * np.pi * np.arange(n) / max(n, 1)
    return radius_km * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _names(n: int) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(n))
