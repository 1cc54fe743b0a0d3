"""Tables that kernels are handed again and again, unpacked once."""

import gc
import subprocess
import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest

from quantum.direct import direct
from quantum.held import Held, keep, tables_of
from quantum.kernels import Table, kernel, table


class Room(NamedTuple):
    """Tables of all kinds that a world has: records, grids, a row, numbers, a tuple within."""

    node: Table
    grid: np.ndarray
    row: np.ndarray
    rate: float
    count: int


def rooms(size=3):
    node = table(size, used=int, truth=(float, 3))
    node.used = np.arange(size)
    fixed = np.arange(2.0 * size)
    fixed.flags.writeable = False
    room = Room(node, fixed.reshape(size, 2), np.arange(size, dtype=np.int32)[::2], 0.25, size)
    return room, (np.zeros(4), np.zeros((2, 2)))


@kernel
def weigh(room, out, times):
    """Read and write every kind of table."""
    total = 0.0
    for place in range(room.count):
        total += room.node[place].used * room.rate + room.grid[place, 1]
        room.node[place].truth[2] += 1.0
    for number in room.row:
        total += number
    out[0][0] += total * times
    out[1][1, 0] = len(room.row)


@kernel
def unpack(tables, address):
    return keep(tables, address)


@kernel
def weigh_held(held, times):
    room, out = tables_of(held)
    weigh(room, out, times)


def test_a_kernel_does_the_same_with_tables_that_were_unpacked_before():
    (one, out), (other, kept) = rooms(), rooms()
    held = Held((other, kept), unpack)
    for times in (1, 2, 5):
        weigh(one, out, times)
        weigh_held(held, times)
    assert out[0][0] > 0.0 and out[1][1, 0] == 2.0
    for left, right in zip((*one, *out), (*other, *kept), strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_changes_in_place_is_seen():
    room, out = rooms()
    held = Held((room, out), unpack)
    room.node.used = 0
    room.row[:] = 0
    weigh_held(held, 1)
    assert out[0][0] == room.grid[:, 1].sum()


def test_two_of_one_type_are_two_and_share_what_is_compiled():
    (one, out), (other, kept) = rooms(), rooms()
    first, second = Held((one, out), unpack), Held((other, kept), unpack)
    weigh_held(first, 1)
    compiled = len(weigh_held.signatures)
    weigh_held(second, 3)
    assert len(weigh_held.signatures) == compiled
    assert kept[0][0] == 3.0 * out[0][0]
    weigh_held(Held(rooms(size=5), unpack), 1)
    assert len(weigh_held.signatures) == compiled


def test_no_reference_is_lost_or_kept():
    room, out = rooms()
    before = [sys.getrefcount(part) for part in (room.node, room.grid, out[0], out[1])]
    held = Held((room, out), unpack)
    call = direct(weigh_held, held, 1)
    for _ in range(1000):
        call(held, 1)
    assert out[0][0] > 0.0
    del held, call
    gc.collect()
    after = [sys.getrefcount(part) for part in (room.node, room.grid, out[0], out[1])]
    assert after == before


def test_what_is_not_held_is_refused():
    with pytest.raises(numba.TypingError):
        weigh_held(rooms(), 1)
    with pytest.raises(ValueError, match="Cannot determine Numba type"):
        Held((object(),), unpack)


def test_without_a_compiler_the_tables_are_given_as_they_are():
    code = (
        "import numpy as np; from quantum.held import Held, tables_of\n"
        "a = np.zeros(2); held = Held((a, 3.0), None); b, rate = tables_of(held)\n"
        "assert b is a and rate == 3.0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"NUMBA_DISABLE_JIT": "1"})
