"""Forecasters of requests, on demand of which the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.arrivals import Recent, Recurrent, Told
from controller.game import prepare
from quantum.errors import InputError
from quantum.kernels import table
from quantum.presets import Cell, build

SLOT_S = 0.02
CELL = Cell(
    preset="fast",
    topology="geometric-14",
    demand="poisson",
    deadline_s=0.3,
    cutoff_s=0.5,
    qubits=6,
    load_hz=40.0,
)
BOTH = (Recent, Recurrent)


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
@settings(max_examples=20, deadline=None)
def test_forecasts_are_finite_and_know_only_what_was_recorded(kind, events, horizon):
    """Whatever comes: finite, not negative, and as a rate nothing where nothing came."""
    forecaster, slot, seen = kind(classes(FOUR), SLOT_S), 0, set()
    for cls, wait, pairs in events:
        slot += wait
        forecaster.record(slot, cls, pairs)
        seen.add(FOUR[cls])
        said = forecaster.expected(slot, horizon)
        assert said.shape == (4,)
        assert np.all(np.isfinite(said))
        assert np.all(said >= 0.0)
        if kind is Recent:
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
    """After five blocks of eight pairs the next is expected when it is due, and not before."""
    forecaster = Recurrent(classes(FOUR), SLOT_S)
    for slot in refresh(5100, jitter=3.0):
        for cls in (0, 1):
            forecaster.record(slot, cls, 4)
    early = forecaster.expected(5500, 15)[:2].sum()
    due = forecaster.expected(6090, 25)
    # Of any grade: for which it will be is not known.
    assert due[0] == pytest.approx(due[1], rel=0.1)
    assert due[:2].sum() > 2.0
    assert early < 0.1 * due[:2].sum()
    assert due[3] < 0.1  # nobody ever asked there


def test_of_poisson_demand_the_mean_is_right():
    """Nothing repeats; on average as much is expected as comes."""
    forecaster, rng = Recurrent(classes([(0, 1)]), SLOT_S), np.random.default_rng(5)
    said, came, start = 0.0, 0, 3000
    for slot in range(18_000):
        for _ in range(rng.poisson(0.004)):
            forecaster.record(slot, 0, 4)
            came += 4 if slot >= start else 0
        if slot >= start and slot % 5 == 0:
            said += forecaster.expected(slot, 5)[0]
    assert said == pytest.approx(came, rel=0.25)


def test_nodes_are_spoken_for_in_parts():
    """Processes that have some of the nodes say of these what one with all of them says."""
    rng = np.random.default_rng(2)
    cls = classes(FOUR)
    whole = Recurrent(cls, SLOT_S)
    parts = [Recurrent(cls, SLOT_S, sources=np.array(nodes)) for nodes in ([0, 1], [3], [2])]
    said = np.zeros((2, 4))
    for slot in range(0, 4000, 3):
        if rng.random() < 0.05:
            row = int(rng.integers(4))
            whole.record(slot, row, 4)
            parts[0 if row < 3 else 1].record(slot, row, 4)
        said = np.array([whole.expected(slot, 15), sum(one.expected(slot, 15) for one in parts)])
        assert np.array_equal(*said)
    assert said.any()
    with pytest.raises(InputError, match="not spoken for"):
        parts[1].record(4000, 0, 4)


def test_the_oracle_says_what_will_come():
    """Everything within the horizon, after the slot, and nothing that is announced."""
    game = prepare(build(CELL, 0, seconds=6.0, warmup_s=0.0))
    request = game.world.request
    oracle = Told(game.world)
    for slot in range(0, 300, 7):
        told = oracle.expected(slot, 25)
        soon = (request.arrival > slot) & (request.arrival <= slot + 25)
        for row in range(len(game.world.cls)):
            assert told[row] == request.pairs[soon & (request.cls == row)].sum()
    request.told[:] = np.maximum(0, request.arrival - 10)
    assert not Told(game.world).expected(20, 200).any()


def test_impossible_settings_are_refused():
    """Times are positive."""
    with pytest.raises(InputError, match="memory_s"):
        Recent(classes(FOUR), SLOT_S, memory_s=-1.0)
