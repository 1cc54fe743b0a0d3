"""How many pairs a path of some width can be expected to give: EXT of Shi and Qian.

In the paper a link of a path of width W has W channels, each of which gives a pair with
probability p: a binomial number of pairs. Here tokens of both ends make the pairs of a link, any
number of them: a Poisson number beside those in stock, of which W at most are swapped. Either way
``EXT = q^(h-1) sum_{i=1}^{W} prod_k P(X_k >= i)``, with X_k the pairs of link k, q the chance of a
swap and h the number of links. This is the recursion of the paper (arXiv:1909.09329) with its sums
carried out: i pairs or more come through where every link has i or more.
"""

import numpy as np

from quantum.kernels import small
from quantum.ledger.state import Floats

__all__ = ["WIDTH", "at_least", "expected_throughput"]

#: Widest path that is committed; requests of more pairs get several.
WIDTH = 4


@small
def at_least(stock: int, mean: float, count: int) -> float:
    """Return P(stock + N >= count) for a Poisson N of ``mean``."""
    if count <= stock:
        return 1.0
    term = np.exp(-mean)
    below = term
    for number in range(1, count - stock):
        term *= mean / number
        below += term
    return float(max(0.0, 1.0 - below))


def expected_throughput(chances: Floats, swap_success: float) -> float:
    """Return EXT of a path; ``chances[k, i]`` = P(link k has more than i pairs), shape (h, W).

    The paths of a search carry the product of ``chances`` as their tail, so that it can grow link
    by link; this is the same for a path as a whole.

    >>> import numpy as np
    >>> round(expected_throughput(np.array([[0.6], [0.6]]), 0.9), 4)  # 0.9 * 0.6^2
    0.324
    """
    return float(chances.prod(axis=0).sum()) * swap_success ** (len(chances) - 1)
