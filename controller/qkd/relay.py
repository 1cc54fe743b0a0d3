"""Keys over trusted nodes: each node on the way tells the sum of its two links' keys.

Hop by hop no pair is swapped: every link makes a key of its own, and the first link's key travels
to the end, encrypted with one key after the other. Every node in between knows it (trusted relays:
Peev et al., SECOQC, New J. Phys. 11, 075001, 2009).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["relay"]

Bits = NDArray[np.uint8]


def relay(before: Sequence[Bits], behind: Sequence[Bits]) -> tuple[Bits, Bits]:
    """Return the keys that the first and the last node end up with.

    ``before[i]`` is link i's key at its first node, ``behind[i]`` at its second. Node i + 1 tells
    ``behind[i] ^ before[i + 1]``; the last node undoes all of them. All are cut to the shortest.
    """
    size = min(len(part) for part in (*before, *behind))
    told = [behind[i][:size] ^ before[i + 1][:size] for i in range(len(before) - 1)]
    last = behind[-1][:size].copy()
    for word in reversed(told):
        last ^= word
    return before[0][:size].copy(), last
