"""Small linear programs with a feasible start: the simplex method on a dense dictionary.

Dantzig's method (V. Chvatal, Linear Programming, 1983, chapters 2 and 3) for programs whose limits
are all >= 0, so that zero is feasible. For a few hundred rows and columns it takes less time than
a general solver needs to read the program. Ties and cycles are settled by the smallest number, and
after many pivots without gain every choice is (Bland's rule), so it ends.
"""

import numpy as np

from quantum.kernels import kernel
from quantum.ledger.state import Floats

__all__ = ["maximise"]

#: Coefficients below this are rounding.
_NOISE = 1e-9
#: Pivots without gain before Bland's rule takes over.
_PATIENCE = 30


@kernel
def maximise(worth: Floats, matrix: Floats, limits: Floats, pivots: int) -> tuple[bool, Floats]:
    """Maximise ``worth`` (C,) x over x >= 0 with ``matrix`` (R, C) x <= ``limits`` (R,) >= 0.

    Returns whether an optimum was found within so many ``pivots``, and x (C,). False also where
    nothing limits the value.

    >>> maximise(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([3.0, 2.0]), 9)
    (True, array([1., 2.]))
    """
    rows, columns = matrix.shape
    table = np.zeros((rows + 1, columns + 1))
    table[:rows, :columns], table[:rows, columns] = matrix, limits
    table[rows, :columns] = worth
    # Variables by number: those of the program, then the slack of each row.
    outside, inside = np.arange(columns), np.arange(columns, columns + rows)
    idle, found = 0, False
    for _ in range(pivots):
        enter = _entering(table, outside, idle > _PATIENCE)
        if enter < 0:
            found = True
            break
        leave = _leaving(table, inside, enter)
        if leave < 0:
            break
        idle = idle + 1 if table[leave, columns] <= _NOISE else 0
        _pivot(table, leave, enter)
        outside[enter], inside[leave] = inside[leave], outside[enter]
    x = np.zeros(columns)
    for row in range(rows):
        if inside[row] < columns:
            x[inside[row]] = max(0.0, table[row, columns])
    return found, x


@kernel
def _entering(table: Floats, outside: Floats, bland: bool) -> int:
    """Return the column that gains most, or with ``bland`` the gaining one of smallest number."""
    last, found, best = table.shape[0] - 1, -1, _NOISE
    for column in range(table.shape[1] - 1):
        gain = table[last, column]
        if gain <= _NOISE:
            continue
        if bland:
            if found < 0 or outside[column] < outside[found]:
                found = column
        elif gain > best + 1e-12:
            best, found = gain, column
    return found


@kernel
def _leaving(table: Floats, inside: Floats, enter: int) -> int:
    """Return the row that limits a column most, the one of smallest number of equal ones."""
    rows, last, found, best = table.shape[0] - 1, table.shape[1] - 1, -1, np.inf
    for row in range(rows):
        by = table[row, enter]
        if by <= _NOISE:
            continue
        ratio = table[row, last] / by
        closer = ratio < best - 1e-12
        if closer or (ratio <= best + 1e-12 and found >= 0 and inside[row] < inside[found]):
            found, best = row, min(ratio, best)
    return found


@kernel
def _pivot(table: Floats, leave: int, enter: int) -> None:
    """Exchange the variable of a row with that of a column."""
    rows, columns = table.shape
    by = 1.0 / table[leave, enter]
    for column in range(columns):
        table[leave, column] *= by
    table[leave, enter] = by
    for row in range(rows):
        factor = table[row, enter]
        if row == leave or factor == 0.0:
            continue
        for column in range(columns):
            if column != enter:
                table[row, column] -= factor * table[leave, column]
        table[row, enter] = -factor * by
