"""A kernel that is called directly does what it does when numba looks at its arguments first."""

import os
from typing import NamedTuple

import numpy as np
import pytest

from controller.usage import grouped, need_proc, point, points
from quantum.direct import direct
from quantum.kernels import Table, kernel, table


class Tables(NamedTuple):
    """Two tables and a scratch."""

    one: Table
    other: Table
    sums: np.ndarray


@kernel
def add(tables: Tables, times: int) -> int:
    """Add the columns of the first table to the second one's, so many times."""
    for _ in range(times):
        for row in range(len(tables.one)):
            tables.other[row].y += tables.one[row].x
    tables.sums[0] += times
    return times


def tables():
    one, other = table(3, x=float), table(3, y=float)
    one.x = (1.0, 2.0, 3.0)
    return Tables(one, other, np.zeros(1, dtype=np.int64))


def test_it_works_on_the_tables_that_it_is_given():
    first, second = tables(), tables()
    call = direct(add, first, 0)
    assert call(first, 2) == 2
    assert call(second, 3) == 3
    assert first.other.y.tolist() == [2.0, 4.0, 6.0]
    assert second.other.y.tolist() == [3.0, 6.0, 9.0]
    assert (first.sums[0], second.sums[0]) == (2, 3)


def test_the_kernel_is_called_once_to_compile_it():
    mine = tables()
    direct(add, mine, 5)
    assert mine.sums[0] == 5


def test_where_nothing_is_compiled_the_function_itself_is_called():
    def plain(a, b):
        return a + b

    assert direct(plain, 1, 2) is plain


def test_what_processes_use_is_read_from_proc():
    need_proc("a test")
    before = point(os.getpid())
    sum(range(3_000_000))
    after = points()["broker"]
    assert after.cpu_s >= before.cpu_s > 0.0
    assert 10.0 < after.memory_mib < 100_000.0
    assert grouped({"broker": after.cpu_s})["agents"] == 0
    with pytest.raises(OSError):
        point(2**22 + 1)
