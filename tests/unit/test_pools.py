"""Measured fidelity: what the pools count, forget and trust."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.pools import Pools
from quantum.counts import Counts, Tally
from quantum.estimate import estimate, probability_at_least

FIDELITIES = np.array([0.85, 0.75, 0.85])


def pools(window=10):
    return Pools(2, FIDELITIES, window_slots=window)


def add(pool, slot, times=1, *, hops=1, link=0, basis=0, passed=True):
    for _ in range(times):
        pool.add(slot, kind=hops, link=link, basis=basis, passed=passed, predicted=0.9)


def test_without_tests_nothing_is_trusted():
    assert np.all(pools().trust() == 0.0)
    assert pools().recent().shots == 0


def test_trust_is_the_probability_that_a_class_is_met():
    pool = pools()
    add(pool, 0, 40)
    add(pool, 0, 2, basis=2, passed=False)
    counts = Counts(xx=Tally(40, 0), zz=Tally(0, 2))
    high, low = (probability_at_least(counts, f) for f in (0.85, 0.75))
    assert pool.trust()[:, 1].tolist() == [high, low, high]
    assert 0.0 < high < low < 1.0
    # Only paths of one link were tested.
    assert np.all(np.delete(pool.trust(), 1, axis=1) == 0.0)


def test_a_test_counts_as_long_as_the_window():
    pool = pools(window=10)
    add(pool, 5, 3)
    add(pool, 6, 2, hops=2, link=-1)
    before = pool.trust().copy()
    pool.forget(15)
    assert np.array_equal(pool.trust(), before)
    pool.forget(16)
    assert (pool.path(1).shots, pool.path(2).shots) == (0, 2)
    assert np.all(pool.trust()[:, 1] == 0.0) and np.all(pool.trust()[:, 2] > 0.0)
    pool.forget(17)
    assert pool.recent().shots == 0
    assert np.all(pool.trust() == 0.0) and not pool.links().any()
    # The sums over the run forget nothing.
    assert (pool.overall().shots, pool.overall_links().shots) == (2, 3)
    assert abs(pool.predicted - 2 * 0.9) < 1e-12


def test_links_are_told_from_paths():
    pool = pools()
    add(pool, 0, 4, link=0)
    add(pool, 0, 3, link=1, passed=False)
    add(pool, 0, 2, hops=3, link=-1)
    assert (pool.link(0).shots, pool.link(1).shots) == (4, 3)
    assert pool.link(0).best > pool.link(1).best
    assert (pool.path(1).shots, pool.path(3).shots) == (7, 2)
    assert pool.links().sum() == 7
    pool.links()[:] = 0
    assert pool.links().sum() == 7


tests = st.tuples(
    st.integers(0, 60), st.integers(1, 4), st.integers(-1, 1), st.integers(0, 2), st.booleans()
)


@given(st.lists(tests, max_size=60), st.integers(0, 80))
def test_the_window_holds_what_a_fresh_count_gives(rows, now):
    rows = sorted(rows)
    pool, window = pools(window=20), np.zeros((3, 2), dtype=np.int64)
    total = np.zeros((3, 2), dtype=np.int64)
    for slot, hops, link, basis, passed in rows:
        pool.add(slot, kind=hops, link=link, basis=basis, passed=passed, predicted=0.9)
        if link >= 0:
            continue
        total[basis, 0 if passed else 1] += 1
        if slot >= now - 20:
            window[basis, 0 if passed else 1] += 1
    pool.forget(now)
    assert pool.recent() == estimate(Counts.from_array(window))
    assert pool.overall() == estimate(Counts.from_array(total))
    assert np.all((pool.trust() >= 0.0) & (pool.trust() <= 1.0))
