"""Beliefs that follow link tests: the filter, what it may know, and when it helps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.game import world_of
from quantum.bell import correlators, werner
from quantum.ledger import Rule, new_ledger, open_slot
from quantum.ledger.belief import (
    LAG_SLOTS,
    WANDER,
    WIDEST,
    beliefs,
    estimators,
    learn,
    write_belief,
)
from quantum.ledger.events import closed_form_passes, draw_tests, take_events
from quantum.ledger.state import BLOCK_SLOTS, LINK_TESTED
from quantum.presets import build, run_cell
from quantum.twin import advance

SLOT_S = 0.02


def world(seed=0, *, seconds=6.0, share=0.9, drift=True):
    of = build(run_cell("ring-8", "poisson", load_hz=2.0), seed, seconds=seconds, warmup_s=1.0)
    return world_of(of, drift=drift)._replace(test_share=share)


def played(of):
    """The same filter by the ledger's own events, in plain Python."""
    ledger = new_ledger(of)
    rule = Rule(fill=0, complete=0, targets=np.zeros(of.m))
    known, waiting = estimators(of.truth[0]), []
    out = [ledger.link.belief.copy()]
    for slot in range(of.horizon):
        while waiting and waiting[0][0] <= slot - LAG_SLOTS:
            when, link, basis, passed = waiting.pop(0)
            learn(known[link], when, of.slot_s, basis, passed)
        if slot and slot % BLOCK_SLOTS == 0:
            out.append(np.empty((of.m, 3)))
            write_belief(known, out[-1])
        advance(of, ledger, rule, slot + 1)
        events = take_events(ledger)
        basis, draw = draw_tests(of.seed, events, False)
        passed = closed_form_passes(events, basis, draw)
        for event, b, p in zip(events, basis.tolist(), passed.tolist(), strict=True):
            if event.kind == LINK_TESTED:
                waiting.append((slot, int(event.links[0]), b, p == 1))
    return np.array(out)


@pytest.mark.parametrize("seed", range(3))
def test_beliefs_are_what_the_results_of_the_played_tests_teach(seed):
    of = world(seed)
    np.testing.assert_allclose(beliefs(of), played(of), atol=1e-12)


def test_the_future_is_not_known():
    of = world(1)
    later = of.truth.copy()
    later[3:] = correlators(werner(np.full(of.m, 0.6)))
    changed = beliefs(of._replace(truth=later))
    blocks = (3 * of.truth_slots + LAG_SLOTS - 1) // BLOCK_SLOTS + 1
    np.testing.assert_array_equal(changed[:blocks], beliefs(of)[:blocks])
    assert np.abs(changed - beliefs(of)).max() > 0.01


def test_without_tests_the_nominal_values_are_believed():
    of = world(2, share=0.0)
    found = beliefs(of)
    assert np.allclose(found, of.truth[0][None], atol=1e-12)


def test_many_tests_find_a_link_that_is_not_as_specified():
    of = world(0, seconds=60.0)
    truth = np.stack([of.truth[0], correlators(werner(np.full(of.m, 0.90)))])
    found = beliefs(of._replace(truth=truth, truth_slots=1))
    error = (found[-1].sum(axis=1) + 1.0) / 4.0 - 0.90
    assert np.sqrt((error**2).mean()) < 0.03
    assert np.abs((found[0].sum(axis=1) + 1.0) / 4.0 - 0.90).min() > 0.06


@given(
    st.floats(0.5, 1.0),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 2), st.booleans()), max_size=40),
)
@settings(max_examples=60)
def test_a_belief_is_always_a_state_and_its_variance_is_bounded(best, tests):
    known, belief = estimators(correlators(werner(np.array([best])))), np.empty((1, 3))
    slot = 0
    for pause, basis, passed in tests:
        slot += pause
        before = known.fidelity.copy()
        learn(known[0], slot, SLOT_S, basis, passed)
        assert 0.0 <= known.variance[0] <= WIDEST
        assert (known.fidelity[0] >= before[0]) == passed or known.fidelity[0] == before[0]
    write_belief(known, belief)
    assert np.all(np.abs(belief) <= 1.0 + 1e-12)
    assert WANDER > 0.0


def test_the_filter_is_the_linear_estimator_of_the_moments():
    """One test, written out: posterior mean and variance of the best linear estimate."""
    known = estimators(correlators(werner(np.array([0.9]))))
    learn(known[0], 500, SLOT_S, 2, False)
    prior = WANDER * 10.0
    chance, slope = (1.0 + (4.0 * 0.9 - 1.0) / 3.0) / 2.0, 2.0 / 3.0
    spread = slope**2 * prior + chance * (1.0 - chance)
    assert known.fidelity[0] == pytest.approx(0.9 - slope * prior * chance / spread)
    assert known.variance[0] == pytest.approx(prior - (slope * prior) ** 2 / spread)


def test_the_ledger_believes_the_block_of_its_slot():
    of = world(3)
    of = of._replace(belief=beliefs(of))
    ledger, rule = new_ledger(of), Rule(fill=0, complete=0, targets=np.zeros(of.m))
    for slot in (0, 1, 2 * BLOCK_SLOTS, 2 * BLOCK_SLOTS + 1):
        ledger.now.clock = slot
        open_slot(of, ledger, rule)
        np.testing.assert_array_equal(ledger.link.belief, of.belief[slot // BLOCK_SLOTS])
