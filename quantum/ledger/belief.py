"""What link tests tell about links: beliefs that follow fidelities as they wander.

A Kalman filter for each link (Kalman, Trans. ASME D 82, 35, 1960). Its state is the fidelity of a
fresh pair, the other Bell weights keeping the ratios that the link is specified with. Nominal
values are right when a run begins. Then the variance v grows by :data:`WANDER` a second and never
beyond :data:`WIDEST`: that is the forgetting. A test of the correlator c passes with the chance
h = (1 + c) / 2; its surprise (0 or 1, less h) moves the fidelity by the gain v h' / (v h'^2 +
h (1 - h)).

Tests of links are drawn by key and use tokens before anybody decides, so that these beliefs are the
same for every allocator.
"""

import numpy as np

from quantum.bell import populations
from quantum.draws import uniform
from quantum.kernels import Table, kernel, table
from quantum.ledger.events import LINK_KEY
from quantum.ledger.state import (
    BASIS,
    BLOCK_SLOTS,
    OUTCOME,
    TEST_LINK,
    TEST_TOKEN,
    Floats,
    World,
    seed_at,
    tokens_of,
)

__all__ = ["LAG_SLOTS", "beliefs", "estimators", "learn", "write_belief"]

#: Variance of the fidelity that a second adds: a wander of 0.02 in 10 s, as links are specified.
WANDER = 0.02**2 / 10.0
#: Variance of what is known of a link long after its last test: that of links of one kind, whose
#: fidelities lie within 0.12.
WIDEST = 0.12**2 / 12.0
#: Slots after which the result of a test counts, as in a run.
LAG_SLOTS = 5
#: Fidelities that are believed at all, and how sure the outcome of a test is at most.
LOWEST, SUREST = 0.25, 1.0 - 1e-3


def estimators(nominal: Floats) -> Table:
    """Return the filters of links with these nominal correlators (m, 3), which they begin with."""
    weights = populations(nominal)
    others = 1.0 - weights[:, :1]
    ratio = np.where(others > 0.0, weights[:, 1:] / np.where(others > 0.0, others, 1.0), 1.0 / 3.0)
    signs = np.array([[-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    out = table(len(nominal), fidelity=float, variance=float, slot=int, others=(float, 3))
    out.fidelity = weights[:, 0]
    out.others = ratio @ signs  # correlators of all that is not phi_plus
    return out


@kernel
def learn(known: Table, slot: int, slot_s: float, basis: int, passed: bool) -> None:
    """Take the outcome of a test of a fresh pair of a link (``known``: its estimator)."""
    variance = min(WIDEST, known.variance + WANDER * slot_s * (slot - known.slot))
    slope = (1.0 - known.others[basis]) / 2.0
    chance = (1.0 + known.others[basis]) / 2.0 + slope * known.fidelity
    chance = min(SUREST, max(1.0 - SUREST, chance))
    gain = variance * slope / (variance * slope * slope + chance * (1.0 - chance))
    moved = known.fidelity + gain * ((1.0 if passed else 0.0) - chance)
    known.fidelity = min(1.0, max(LOWEST, moved))
    known.variance, known.slot = variance * (1.0 - gain * slope), slot


@kernel
def write_belief(known: Table, belief: Floats) -> None:
    """Write what the estimators (m,) believe of fresh pairs, correlators (m, 3)."""
    for link in range(len(known)):
        fidelity, others = known[link].fidelity, known[link].others
        for axis in range(3):
            belief[link, axis] = fidelity + (1.0 - fidelity) * others[axis]


@kernel
def _follow(world: World, known: Table, out: Floats) -> None:
    """Play the link tests of a run by the closed form, and note the beliefs of every block."""
    write_belief(known, out[0])
    for slot in range((len(out) - 1) * BLOCK_SLOTS - LAG_SLOTS + 1):
        block = min(slot // world.truth_slots, world.truth.shape[0] - 1)
        seed = seed_at(world, slot)
        for node in range(world.n):
            degree = world.node[node].degree
            for number in range(tokens_of(seed, node, slot, world.node[node].generation)):
                if degree == 0 or (
                    uniform(seed, TEST_TOKEN, node, slot, number) >= world.test_share
                ):
                    continue
                which = int(uniform(seed, TEST_LINK, node, slot, number) * degree)
                link, key = world.inc_link[node, which], node + LINK_KEY
                basis = int(uniform(seed, BASIS, key, slot, number) * 3.0)
                chance = (1.0 + world.truth[block, link, basis]) / 2.0
                passed = uniform(seed, OUTCOME, key, slot, number) < chance
                learn(known[link], slot, world.slot_s, basis, passed)
        if (slot + LAG_SLOTS) % BLOCK_SLOTS == 0:
            write_belief(known, out[(slot + LAG_SLOTS) // BLOCK_SLOTS])


def beliefs(world: World) -> Floats:
    """Return what is believed of fresh pairs of every link, (blocks, m, 3).

    Block b holds from slot ``b * BLOCK_SLOTS`` on and knows the tests up to ``LAG_SLOTS`` before.
    Block 0 are the nominal values.
    """
    blocks = 1 + max(0, world.horizon - 1) // BLOCK_SLOTS
    out = np.zeros((blocks, world.m, 3))
    _follow(world, estimators(world.truth[0]), out)
    return out
