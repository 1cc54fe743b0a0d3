"""Forecasters of requests, on demand of which the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.arrivals import Periodic, Recent
from quantum.errors import InputError
from quantum.kernels import table

SLOT_S = 0.02
BOTH = (Recent, Periodic)


def classes(ends):
    cls = table(len(ends), a=int, b=int, fidelity=float)
    cls.a, cls.b = np.array(ends).reshape(-1, 2).T
    return cls


#: Two grades of one node pair, one of another with the same source, and one elsewhere.
FOUR = [(0, 1), (0, 1), (0, 2), (3, 1)]


def refresh(slots, *, period=1000, first=100, jitter=0.0, seed=0):
    """Slots of blocks that repeat; all commodities have the same period."""
    rng = np.random.default_rng(seed)
    times = np.arange(first, slots, period)
    return [int(t) for t in np.round(times + rng.normal(0.0, jitter, len(times)))]


@pytest.mark.parametrize("kind", BOTH)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 700), st.integers(1, 8)), max_size=40
    ),
    horizon=st.integers(1, 100),
)
@settings(max_examples=40, deadline=None)
def test_forecasts_are_finite_and_know_only_what_was_recorded(kind, events, horizon):
    """Whatever comes: finite, not negative, and nothing for classes of which nothing came."""
    forecaster, slot, seen = kind(classes(FOUR), SLOT_S), 0, set()
    for cls, wait, pairs in events:
        slot += wait
        forecaster.record(slot, cls, pairs)
        seen.add(FOUR[cls])
        said = forecaster.expected(slot, horizon)
        assert said.shape == (4,)
        assert np.all(np.isfinite(said))
        assert np.all(said >= 0.0)
        assert all(said[k] == 0.0 for k in range(4) if FOUR[k] not in seen)


@pytest.mark.parametrize("kind", BOTH)
def test_a_node_is_foretold_the_same_alone_and_among_others(kind):
    """What is said of a source does not depend on the requests of another."""
    rng = np.random.default_rng(1)
    events = sorted((int(rng.integers(4000)), int(rng.integers(4))) for _ in range(60))
    both, alone = kind(classes(FOUR), SLOT_S), kind(classes(FOUR), SLOT_S)
    for slot, cls in events:
        both.record(slot, cls, 4)
        if FOUR[cls][0] == 0:
            alone.record(slot, cls, 4)
        elif slot % 2:
            alone.expected(slot, 15)  # nor on how often it was asked
    assert np.array_equal(both.expected(4001, 25)[:3], alone.expected(4001, 25)[:3])


def test_a_rate_is_that_of_the_requests():
    """A request of four pairs every 50 slots is 2 pairs in 25 slots, soon and for ever."""
    forecaster = Recent(classes(FOUR), SLOT_S)
    for slot in range(0, 20_000, 50):
        forecaster.record(slot, 2, 4)
        if slot >= 1000:
            assert forecaster.expected(slot + 25, 25)[2] == pytest.approx(2.0, rel=0.06)


def test_a_block_is_expected_when_it_is_due():
    """After two blocks of eight pairs the third is all but certain, and told when it is due."""
    forecaster = Periodic(classes(FOUR), SLOT_S)
    for slot in refresh(2200, jitter=3.0):
        for cls in (0, 1):
            forecaster.record(slot, cls, 4)
    assert forecaster.belief()[0] > 0.9
    assert forecaster.expected(2500, 15)[:2].sum() < 0.3
    due = forecaster.expected(3090, 25)
    # Of any grade, for which it will be is not known.
    assert due[0] == due[1]
    assert 4.0 < due[:2].sum() <= 8.0
    assert forecaster.expected(3200, 25)[:2].sum() < 0.3


@pytest.mark.parametrize("period", [60, 350, 3000])
def test_a_node_finds_its_period(period):
    """Blocks of two node pairs repeat as they like; the third of each is foretold."""
    forecaster = Periodic(classes(FOUR), SLOT_S)
    both = [(t, 0) for t in refresh(2 * period + 40, period=period, first=20, jitter=2.0)]
    both += [(t + period // 2, 2) for t, _ in both[:2]]
    for slot, cls in sorted(both[:2] + both[3:]):
        forecaster.record(slot, cls, 4)
    due = 20 + 2 * period
    assert forecaster.belief()[0] > (0.8 if period > 200 else 0.6)
    assert forecaster.expected(due - 13, 25)[:2].sum() > 1.5


def test_a_period_that_is_told_counts_from_the_first_block():
    """Who is told the period expects the second block; who is not waits for one gap."""
    told = Periodic(classes(FOUR), SLOT_S, period_s=20.0)
    alone = Periodic(classes(FOUR), SLOT_S)
    for forecaster in (told, alone):
        forecaster.record(100, 2, 4)
    assert told.expected(1090, 25)[2] > 1.0
    assert alone.expected(1090, 25)[2] < 0.1


def test_arrivals_at_any_time_are_not_taken_for_blocks():
    """Of Poisson demand a node learns that it is none that repeats; the mean is right then."""
    forecaster, rng = Periodic(classes([(0, 1)]), SLOT_S), np.random.default_rng(5)
    said, came, start = 0.0, 0, 5000
    for slot in range(30_000):
        for _ in range(rng.poisson(0.004)):
            forecaster.record(slot, 0, 4)
            came += 4 if slot >= start else 0
        if slot >= start:
            said += forecaster.expected(slot, 1)[0]
    assert forecaster.belief()[0] < 0.1
    assert said == pytest.approx(came, rel=0.25)


def test_blocks_that_stop_are_believed_in_no_more():
    """What is due and does not come, again and again, is forgotten."""
    forecaster = Periodic(classes(FOUR), SLOT_S)
    for slot in refresh(5200):
        forecaster.record(slot, 0, 4)
    assert forecaster.belief()[0] > 0.9
    for slot in range(5200, 20_000, 100):
        forecaster.expected(slot, 15)
    assert forecaster.belief()[0] < 0.1
    assert forecaster.expected(20_090, 15)[0] < 0.1


def test_impossible_settings_are_refused():
    """Times are positive."""
    with pytest.raises(InputError, match="period_s"):
        Periodic(classes(FOUR), SLOT_S, period_s=0.0)
    with pytest.raises(InputError, match="memory_s"):
        Recent(classes(FOUR), SLOT_S, memory_s=-1.0)
