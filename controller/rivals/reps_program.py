"""The two linear programs of REPS, over a fixed set of paths.

Small ones are solved by :mod:`controller.rivals.simplex`, large ones by HiGHS, through SciPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csc_array, csr_array, vstack

from controller.rivals.simplex import maximise
from quantum.bound_program import Problem
from quantum.bound_values import Column
from quantum.errors import DpemError
from quantum.ledger import World
from quantum.ledger.state import Floats, Ints

__all__ = ["Paths", "provision", "select"]

#: What a link costs against a pair, to settle ties.
_LENGTH = 1e-3
#: Solutions of the selection that are rounded, one after the other.
_TURNS = 3
#: Programs of so many coefficients at most are small.
_SMALL = 60_000
#: Pivots for each row and column before a small program is given to HiGHS after all.
_PIVOTS = 20


@dataclass(frozen=True, eq=False)
class Paths:
    """P paths of a network's classes, and the matrix of the provisioning program over all of them.

    ``row`` (P,) class; ``chain`` (P, H) links from the destination on, -1 padded; ``uses`` (m, P)
    and ``swaps`` (n, P) are 1 where a path uses a link or swaps at a node, ``both`` (m + n, P) is
    one above the other. ``matrix`` has a column
    for each path, then one for each end of each link, which makes pairs of it; its rows are
    classes, links, tokens, swap tokens and memories.
    """

    row: Ints
    chain: Ints
    uses: Any
    swaps: Any
    both: Any
    matrix: Any

    @staticmethod
    def of(world: World, problem: Problem, columns: Sequence[Column]) -> "Paths":
        """Turn columns of the bound's program into paths."""
        size, graph, m = len(columns), problem.graph, world.m
        lengths = np.array([len(column.arcs) for column in columns], dtype=np.int64)
        chain = np.full((size, int(lengths.max(initial=1))), -1, dtype=np.int64)
        uses, swaps = np.zeros((m, size)), np.zeros((world.n, size))
        for index, column in enumerate(columns):
            way = np.array(column.arcs)
            chain[index, : len(way)] = graph.link[way][::-1]
            uses[graph.link[way], index] = 1.0
            swaps[graph.to[way[:-1]], index] = 1.0
        row = np.array([column.number for column in columns], dtype=np.int64)
        classes = (np.arange(len(world.cls))[:, None] == row[None, :]).astype(float)
        one, other = np.zeros((world.n, m)), np.zeros((world.n, m))
        one[world.link.a, np.arange(m)] = other[world.link.b, np.arange(m)] = 1.0
        made, both = np.hstack([np.eye(m), np.eye(m)]), np.hstack([one + other, one + other])
        matrix = np.block(
            [
                [classes, np.zeros((len(classes), 2 * m))],
                [uses, -made],
                [np.zeros((world.n, size)), np.hstack([one, other])],
                [swaps, np.zeros((world.n, 2 * m))],
                [np.zeros((world.n, size)), both],
            ]
        )
        both = csc_array(np.vstack([uses, swaps]))
        return Paths(row, chain, csc_array(uses), csc_array(swaps), both, csc_array(matrix))


def provision(
    paths: Paths,
    wants: Floats,
    *,
    stock: Floats,
    tokens: Floats,
    swaps: Floats,
    room: Floats,
) -> Floats:
    """Return how many pairs each link (m,) should have, for ``wants`` (C,) pairs.

    ``stock`` (m,) is there already; ``tokens``, ``swaps`` and free qubits ``room`` (n,) are what
    nodes have for the round. Each end of a link may make its pairs.
    """
    m, size = len(stock), len(paths.row)
    which = np.flatnonzero(wants[paths.row] > 0)
    if len(which) == 0:
        return np.zeros(m)
    # Only links that some path could use.
    links = np.unique(paths.uses[:, which].indices)
    part = paths.matrix[:, np.concatenate([which, size + links, size + m + links])]
    rows = np.unique(part.indices)
    limits = np.concatenate([wants, stock, tokens, swaps, room])
    # Of equal solutions the one with fewer links, and without pairs that no path needs.
    price = np.repeat([-1.0, 1e-6], [len(which), 2 * len(links)])
    price[: len(which)] += _LENGTH * np.asarray(paths.uses[:, which].sum(axis=0)).ravel()
    flow = _solve(price, part[rows], limits[rows])[: len(which)]
    quota: Floats = paths.uses[:, which] @ flow
    return quota


def select(paths: Paths, wants: Ints, stock: Ints, swaps: Floats) -> Ints:
    """Return how often to use each path (P,), in whole pairs, for most of the ``wants`` (C,).

    Progressive rounding: the largest flows are rounded up first, as long as whole links and swap
    tokens last; what is left is solved again.

    >>> one = csc_array(np.ones((1, 1)))
    >>> none = csc_array((1, 1))
    >>> lone = Paths(np.zeros(1, int), np.zeros((1, 1), int), one, none, vstack([one, none]), one)
    >>> select(lone, np.array([5]), np.array([3]), np.zeros(1)).tolist()
    [3]
    """
    counts = np.zeros(len(paths.row), dtype=np.int64)
    wants, stock, swaps = wants.astype(np.float64), stock.astype(np.float64), swaps.copy()
    for _ in range(_TURNS):
        which = np.flatnonzero(wants[paths.row] > 0)
        lacking = paths.uses.T @ (stock < 1.0) + paths.swaps.T @ (swaps < 1.0)
        which = which[lacking[which] < 0.5]
        if len(which) == 0:
            break
        classes, demand = _by_class(paths.row[which])
        part = csc_array(paths.both[:, which])
        rows = np.unique(part.indices)
        matrix = vstack([demand, part[rows]])
        limits = np.concatenate([wants[classes], np.concatenate([stock, swaps])[rows]])
        # Of equal solutions the one with fewer swaps.
        price = -1.0 + 1e-3 * np.asarray(paths.swaps[:, which].sum(axis=0)).ravel()
        flow = _solve(price, matrix, limits)
        for index in np.argsort(-flow, kind="stable").tolist():
            path = int(which[index])
            if flow[index] <= 1e-9:
                break
            links = paths.chain[path][paths.chain[path] >= 0]
            nodes = paths.swaps.indices[paths.swaps.indptr[path] : paths.swaps.indptr[path + 1]]
            whole = min(
                np.ceil(flow[index] - 1e-9),
                wants[paths.row[path]],
                stock[links].min(),
                swaps[nodes].min(initial=np.inf),
            )
            if whole >= 1.0:
                counts[path] += int(whole)
                wants[paths.row[path]] -= whole
                stock[links] -= whole
                swaps[nodes] -= whole
    return counts


def _by_class(row: Ints) -> tuple[Ints, Any]:
    """Return the classes of some paths, and the matrix that sums flows by class."""
    classes, which = np.unique(row, return_inverse=True)
    ones, number = np.ones(len(row)), np.arange(len(row))
    return classes, csr_array((ones, (which.ravel(), number)), shape=(len(classes), len(row)))


def _solve(price: Floats, matrix: Any, limits: Floats) -> Floats:
    if matrix.shape[0] * matrix.shape[1] <= _SMALL:
        dense = np.ascontiguousarray(matrix.toarray())
        found, best = maximise(-price, dense, limits, _PIVOTS * sum(matrix.shape))
        if found:
            flow: Floats = best
            return flow
    result = linprog(price, A_ub=matrix, b_ub=limits, method="highs")
    if result.status != 0:
        raise DpemError(f"a linear program of reps failed: {result.message}")
    return np.asarray(np.maximum(0.0, result.x))
