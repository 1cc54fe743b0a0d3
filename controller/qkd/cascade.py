"""Cascade: two keys are made equal by comparing parities of blocks.

Brassard, Salvail, EUROCRYPT '93 (LNCS 765, 410). In each of four passes the key is shuffled and cut
into blocks, of .73 / Q bits in the first pass and twice as many in each later one. Where a block's
parities differ, halves are compared until one bit is found; flipping it makes blocks of earlier
passes odd again, which are searched in turn.

Every parity that Alice tells counts as a bit that leaked. Bob's answers tell where parities differ,
which depends on the errors alone, not on the key (Lo, New J. Phys. 5, 36, 2003).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.kernels import kernel

__all__ = ["PASSES", "Reconciled", "reconcile"]

Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]

PASSES = 4
#: Block of the first pass, in bits over the error rate.
FIRST_BLOCK = 0.73


class Reconciled(NamedTuple):
    """Bob's corrected key (n,), the parities that Alice told, and the errors that were found."""

    key: Bits
    leak_bits: int
    corrected: int


def reconcile(alice: Bits, bob: Bits, error_rate: float, rng: np.random.Generator) -> Reconciled:
    """Correct Bob's key (n,) by Alice's parities; both sides share the public shuffles of ``rng``.

    ``error_rate`` is what is expected (0-0.5); it sets the size of blocks, and a wrong one costs
    leaked bits or leaves errors, which verification has to find.
    """
    if len(alice) != len(bob):
        raise InputError(f"keys must be equally long, got {len(alice)} and {len(bob)} bits")
    if not 0.0 <= error_rate <= 0.5:
        raise InputError(f"qkd.error_rate must be from 0 to 0.5, got {error_rate}")
    size = len(bob)
    if size == 0:
        return Reconciled(bob.copy(), 0, 0)
    first = max(2, round(FIRST_BLOCK / max(error_rate, 1.0 / size)))
    blocks = np.array([min(size, first << p) for p in range(PASSES)], dtype=np.int64)
    orders = np.empty((PASSES, size), dtype=np.int64)
    orders[0] = np.arange(size)
    for number in range(1, PASSES):
        orders[number] = rng.permutation(size)
    places = np.argsort(orders, axis=1).astype(np.int64)
    key = bob.copy()
    leak, corrected = _cascade(alice, key, orders, places, blocks)
    return Reconciled(key, int(leak), int(corrected))


@kernel
def _odd(alice: Bits, key: Bits, order: Ints, start: int, stop: int) -> int:
    """Return whether the parities of a stretch of a shuffled key differ, 1 or 0."""
    odd = 0
    for place in range(start, stop):
        odd ^= alice[order[place]] ^ key[order[place]]
    return odd


@kernel
def _search(alice: Bits, key: Bits, order: Ints, start: int, stop: int) -> tuple[int, int]:
    """Find one error in an odd stretch by halves; returns its bit and the parities told."""
    told = 0
    while stop - start > 1:
        middle = (start + stop) // 2
        told += 1
        if _odd(alice, key, order, start, middle):
            stop = middle
        else:
            start = middle
    return order[start], told


@kernel
def _cascade(alice: Bits, key: Bits, orders: Ints, places: Ints, blocks: Ints) -> tuple[int, int]:
    """Correct ``key`` in place; returns parities told and errors corrected."""
    passes, size = orders.shape
    leak = corrected = 0
    widest = (size + blocks[0] - 1) // blocks[0]
    odd = np.zeros((passes, widest), dtype=np.uint8)
    queued = np.zeros((passes, widest), dtype=np.uint8)
    stack = np.empty((passes * widest, 2), dtype=np.int64)
    for now in range(passes):
        width = blocks[now]
        count = (size + width - 1) // width
        waiting = 0
        for block in range(count):
            start, stop = block * width, min(size, (block + 1) * width)
            leak += 1
            odd[now, block] = _odd(alice, key, orders[now], start, stop)
            if odd[now, block]:
                stack[waiting, 0], stack[waiting, 1] = now, block
                queued[now, block] = 1
                waiting += 1
        while waiting > 0:
            waiting -= 1
            which, block = stack[waiting, 0], stack[waiting, 1]
            queued[which, block] = 0
            if not odd[which, block]:
                continue
            start = block * blocks[which]
            stop = min(size, start + blocks[which])
            bit, told = _search(alice, key, orders[which], start, stop)
            leak += told
            key[bit] ^= 1
            corrected += 1
            for other in range(now + 1):
                home = places[other, bit] // blocks[other]
                odd[other, home] ^= 1
                if odd[other, home] and not queued[other, home]:
                    stack[waiting, 0], stack[waiting, 1] = other, home
                    queued[other, home] = 1
                    waiting += 1
    return leak, corrected
