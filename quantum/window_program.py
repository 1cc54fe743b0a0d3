"""The rows and columns of the windowed bound; :mod:`quantum.bound_windows` says why they hold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix

__all__ = [
    "Amounts",
    "Shape",
    "active_columns",
    "fixed_columns",
    "lifted",
    "limits",
    "shape_of",
    "worth_of_resources",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Price of a pair that no token can bring: a delivery is worth 1.
_NEVER = 2.0


@dataclass(frozen=True, eq=False)
class Amounts:
    """What there is in W windows of a network with n nodes and m links.

    ``ends`` (m, 2); ``tokens`` (W, n) generation tokens; ``refill`` (W, n) swap tokens that flow
    into a bucket of ``bucket`` (n,), which is full before window ``begin``; a pair lives ``keep``
    windows after the one in which it is made; ``qubits`` (n,), None where they do not bind.
    """

    ends: Ints
    tokens: Floats
    refill: Floats
    bucket: Floats
    begin: int
    keep: int
    qubits: Floats | None


@dataclass(frozen=True, eq=False)
class Shape:
    """First row of every kind, and the number of rows.

    ``question`` what a class gets in a window, ``demand`` what a group of requests gets, then (W,
    m) ``link`` pairs taken and ``stock`` pairs not too old, (W, n) ``tokens``, ``swap``,
    ``bucket`` and ``memory``.
    """

    demand: int
    link: int
    stock: int
    tokens: int
    swap: int
    bucket: int
    memory: int
    rows: int


def shape_of(questions: int, groups: int, amounts: Amounts) -> Shape:
    """Lay out the rows."""
    (windows, n), m = amounts.tokens.shape, len(amounts.ends)
    sizes = [questions, groups, *[windows * m] * 2, *[windows * n] * 3]
    demand, link, stock, tokens, swap, bucket, memory = np.cumsum(sizes).tolist()
    rows = memory if amounts.qubits is None else memory + windows * n
    return Shape(demand, link, stock, tokens, swap, bucket, memory, rows)


def limits(shape: Shape, pairs: Floats, amounts: Amounts) -> Floats:
    """Return the right-hand sides; ``pairs`` (G,) wanted by each group."""
    out = np.zeros(shape.rows)
    windows = len(amounts.tokens)
    out[shape.demand : shape.link] = pairs
    out[shape.tokens : shape.swap] = amounts.tokens.ravel()
    refill = amounts.refill.copy()
    refill[amounts.begin] += amounts.bucket
    out[shape.swap : shape.bucket] = refill.ravel()
    out[shape.bucket : shape.memory] = np.tile(amounts.bucket, windows)
    if amounts.qubits is not None:
        out[shape.memory :] = np.tile(amounts.qubits, windows)
    return out


def fixed_columns(shape: Shape, chances: Ints, amounts: Amounts) -> csc_matrix:
    """Return the columns that are no paths.

    Pairs of group g delivered in question q, ``chances`` (X, 2) of (g, q); pairs made by either end
    of a link (2 W m); pairs in stock after a window (W m); tokens in a bucket after it (W n).
    """
    (windows, n), m = amounts.tokens.shape, len(amounts.ends)
    row: list[Ints] = []
    col: list[Ints] = []
    value: list[float] = []

    def put(rows: Ints, cols: Ints, entry: float) -> None:
        row.append(rows)
        col.append(cols)
        value.append(entry)

    at = np.arange(len(chances))
    put(chances[:, 1], at, -1.0)
    put(shape.demand + chances[:, 0], at, 1.0)
    w, e = (x.ravel() for x in np.mgrid[:windows, :m])
    cell, left = w * m + e, w + 1 < windows
    stocked = len(at) + 2 * windows * m + cell
    for side in (0, 1):
        made = len(at) + side * windows * m + cell
        put(shape.link + cell, made, -1.0)
        put(shape.tokens + w * n + amounts.ends[e, side], made, 1.0)
        for age in range(amounts.keep):
            some = w + age < windows
            put((shape.stock + cell + age * m)[some], made[some], -1.0)
        if amounts.qubits is not None:
            put(shape.memory + w * n + amounts.ends[e, side], stocked, 1.0)
    put(shape.link + cell, stocked, 1.0)
    put((shape.link + cell + m)[left], stocked[left], -1.0)
    put(shape.stock + cell, stocked, 1.0)
    w, v = (x.ravel() for x in np.mgrid[:windows, :n])
    cell, left = w * n + v, w + 1 < windows
    level = len(at) + 3 * windows * m + cell
    put(shape.swap + cell, level, 1.0)
    put((shape.swap + cell + n)[left], level[left], -1.0)
    put(shape.bucket + cell, level, 1.0)
    entries = np.repeat(value, [len(rows) for rows in row])
    return coo_matrix(
        (entries, (np.concatenate(row), np.concatenate(col))),
        shape=(shape.rows, len(at) + windows * (3 * m + n)),
    ).tocsc()


def active_columns(shape: Shape, chances: int, taken: Bools, amounts: Amounts) -> Bools:
    """Tell which fixed columns can matter where paths take from the rows ``taken``.

    A pair need not be made or kept that no path can take while it lives.
    """
    (windows, n), m = amounts.tokens.shape, len(amounts.ends)
    now = taken[shape.link : shape.stock].reshape(windows, m)
    later = np.zeros_like(now)
    for age in range(1, min(amounts.keep, windows - 1) + 1):
        later[:-age] |= now[age:]
    made = [((now | later) & (amounts.tokens[:, end] > 0.0)).ravel() for end in amounts.ends.T]
    always = np.ones(windows * n, dtype=np.bool_)
    return np.concatenate([np.ones(chances, dtype=np.bool_), *made, later.ravel(), always])


def lifted(shape: Shape, price: Floats, amounts: Amounts) -> Floats:
    """Set the price of every pair to that of the cheapest token and storage that can bring it.

    It is the highest that costs nothing, so never less than a solver's price where paths ask for
    the link, and it keeps paths off links that only look cheap because no path has asked. Where no
    token can bring a pair, no path can pay for it.
    """
    (windows, n), m = amounts.tokens.shape, len(amounts.ends)
    token = price[shape.tokens : shape.swap].reshape(windows, n)
    token = np.where(amounts.tokens > 0.0, token, _NEVER)
    storage = _storage(shape, price, amounts)
    fresh = token[:, amounts.ends].min(axis=2)
    pair, paid = fresh.copy(), np.zeros((windows, m))
    for age in range(1, min(amounts.keep, windows - 1) + 1):
        # Row i of ``paid``: storage from window i to window i + age.
        paid = paid[:-1] + storage[age - 1 : windows - 1]
        pair[age:] = np.minimum(pair[age:], fresh[:-age] + paid)
    out = price.copy()
    out[shape.link : shape.stock] = pair.ravel()
    return out


def _storage(shape: Shape, price: Floats, amounts: Amounts) -> Floats:
    """Price of keeping a pair of each link after each window, at both ends (W, m)."""
    windows, n = amounts.tokens.shape
    if amounts.qubits is None:
        return np.zeros((windows, len(amounts.ends)))
    rent: Floats = price[shape.memory :].reshape(windows, n)[:, amounts.ends].sum(axis=2)
    return rent


def worth_of_resources(shape: Shape, price: Floats, amounts: Amounts) -> float:
    """Bound what all resources together are worth at the prices of links, swaps and memory.

    A pair made in window b is worth the most that it can fetch until window b + keep, less what its
    storage costs at both ends; a token is worth the best link of its node. A bucket is worth its
    first content, its refills, and once its size for every rise of the price.
    """
    (windows, n), m = amounts.tokens.shape, len(amounts.ends)
    link = price[shape.link : shape.stock].reshape(windows, m)
    swap = price[shape.swap : shape.bucket].reshape(windows, n)
    storage = _storage(shape, price, amounts)
    pair, paid = link.copy(), np.zeros((windows, m))
    for age in range(1, min(amounts.keep, windows - 1) + 1):
        paid = paid[:-1] + storage[age - 1 : windows - 1]
        pair[:-age] = np.maximum(pair[:-age], link[age:] - paid)
    token = np.zeros((windows, n))
    for side in (0, 1):
        np.maximum.at(token.T, amounts.ends[:, side], pair.T)
    rises = np.maximum(0.0, np.diff(swap[amounts.begin :], axis=0)).sum(axis=0)
    swaps = amounts.bucket @ (swap[amounts.begin] + rises) + (amounts.refill * swap).sum()
    qubits = 0.0
    if amounts.qubits is not None:
        qubits = (price[shape.memory :].reshape(windows, n) @ amounts.qubits).sum()
    return float((amounts.tokens * token).sum() + swaps + qubits)
