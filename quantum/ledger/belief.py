"""What is known of links whose fidelities wander: how they wander, and what tests of them tell.

A Bayes filter for each link, on a grid of fidelities of a fresh pair; the other Bell weights keep
the ratios that the link is specified with. Nominal values are right when a run begins. Then chances
spread as the specified walk does, reflected at its ends (:mod:`quantum.drift`), so that the best
links are expected to get worse and the worst ones better. A test of the correlator c passes with
the chance (1 + c) / 2, which is linear in the fidelity: Bayes' rule weighs the grid with it.

What is believed are the expected correlators. Links wander independently, so the expected fidelity
of a chain is that of its links' expected correlators, exactly. Tests of links are drawn by key and
use tokens before anybody decides, so that these beliefs are the same for every allocator.
"""

import numpy as np

from quantum.bell import populations
from quantum.draws import uniform
from quantum.drift import SPAN, WALK, WALK_S
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

__all__ = [
    "LAG_SLOTS",
    "beliefs",
    "estimators",
    "following",
    "learn",
    "wander",
    "write_belief",
]

#: Steps of the grid: 0.005 each for links that wander within 0.12.
STEPS = 24
#: Slots after which the result of a test counts, as in a run.
LAG_SLOTS = 5
#: The outcome of a test is never surer than this.
SUREST = 1.0 - 1e-3
#: An explicit step of diffusion moves at most this share of a point to each of its neighbours.
_MOST_MOVED = 0.4


def estimators(nominal: Floats) -> Table:
    """Return the filters of links with these nominal correlators (m, 3), which they begin with."""
    weights = populations(nominal)
    first, others = weights[:, 0], 1.0 - weights[:, :1]
    ratio = np.where(others > 0.0, weights[:, 1:] / np.where(others > 0.0, others, 1.0), 1.0 / 3.0)
    signs = np.array([[-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    out = table(
        len(nominal),
        fidelity=float,  # expected
        low=float,  # of the grid
        step=float,
        others=(float, 3),  # correlators of all that is not phi_plus
        chance=(float, STEPS + 1),  # of each fidelity of the grid
    )
    out.fidelity, out.others = first, ratio @ signs
    out.low = np.minimum(SPAN[0], first)
    out.step = (np.maximum(SPAN[1], first) - out.low) / STEPS
    place = (first - out.low) / out.step
    left = np.minimum(place.astype(np.int64), STEPS - 1)
    links = np.arange(len(nominal))
    out.chance[links, left] = 1.0 - (place - left)
    out.chance[links, left + 1] = place - left
    return out


@kernel
def learn(known: Table, basis: int, passed: bool) -> None:
    """Take the outcome of a test of a fresh pair of a link (``known``: its estimator)."""
    slope, total = (1.0 - known.others[basis]) / 2.0, 0.0
    for point in range(STEPS + 1):
        fidelity = known.low + point * known.step
        likely = (1.0 + known.others[basis]) / 2.0 + slope * fidelity
        likely = min(SUREST, max(1.0 - SUREST, likely))
        known.chance[point] *= likely if passed else 1.0 - likely
        total += known.chance[point]
    _expect(known, total)


@kernel
def wander(known: Table, seconds: float) -> None:
    """Let ``seconds`` pass for the estimators (m,): chances spread, reflected at the ends."""
    for number in range(len(known)):
        link = known[number]
        moved = 0.5 * WALK**2 * seconds / (WALK_S * link.step**2)
        times = int(np.ceil(moved / _MOST_MOVED))
        for _ in range(times):
            before = 0.0
            for point in range(STEPS + 1):
                here = link.chance[point]
                after = link.chance[point + 1] if point < STEPS else 0.0
                # From an end there is one way only: a walk that is reflected there.
                left = 2.0 if point == 1 else 1.0
                right = 2.0 if point == STEPS - 1 else 1.0
                spread = left * before - 2.0 * here + right * after
                link.chance[point] = here + moved / times * spread
                before = here
        _expect(link, 1.0)


@kernel
def _expect(known: Table, total: float) -> None:
    """Divide the chances by their sum, and work out the fidelity that is expected."""
    known.fidelity = 0.0
    for point in range(STEPS + 1):
        known.chance[point] /= total
        known.fidelity += known.chance[point] * (known.low + point * known.step)


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
    seconds = world.slot_s * BLOCK_SLOTS
    for slot in range((len(out) - 1) * BLOCK_SLOTS - LAG_SLOTS + 1):
        block = min(slot // world.truth_slots, world.truth.shape[0] - 1)
        seed = seed_at(world, slot)
        if slot > 0 and slot % BLOCK_SLOTS == 0:
            wander(known, seconds)
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
                learn(known[link], basis, passed)
        if (slot + LAG_SLOTS) % BLOCK_SLOTS == 0:
            write_belief(known, out[(slot + LAG_SLOTS) // BLOCK_SLOTS])


def beliefs(world: World) -> Floats:
    """Return what is believed of fresh pairs of every link, (blocks, m, 3).

    Block b holds from slot ``b * BLOCK_SLOTS`` on and knows the tests up to ``LAG_SLOTS`` before.
    Block 0 are the nominal values. Links that do not wander are as specified throughout.
    """
    if len(world.truth) == 1:
        return world.truth
    blocks = 1 + max(0, world.horizon - 1) // BLOCK_SLOTS
    out = np.zeros((blocks, world.m, 3))
    _follow(world, estimators(world.truth[0]), out)
    return out


def following(world: World) -> World:
    """Return the world whose controllers follow how its links wander and what tests of them tell.

    Classes of requests whose path is not expected to be good enough to the end, without any test,
    claim distilled pairs from the beginning, where these are allowed.
    """
    classes, through = world.cls.copy(), world.path_links >= 0
    last = beliefs(world._replace(test_share=0.0))[-1]
    each = np.where(through[..., None], last[world.path_links], 1.0).prod(axis=1)
    swaps = np.maximum(through.sum(axis=1) - 1, 0)[:, None]
    reached = (1.0 + (each * world.swap_xyz**swaps).sum(axis=1)) / 4.0
    classes.refined |= through.any(axis=1) & (reached < classes.fidelity - 1e-9)
    return world._replace(belief=beliefs(world), cls=classes)
