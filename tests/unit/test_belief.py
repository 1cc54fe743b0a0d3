"""Beliefs that follow link tests: the filter, what it may know, and when it helps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.game import world_of
from quantum.bell import correlators, werner
from quantum.drift import drifted_populations
from quantum.ledger import Rule, new_ledger, open_slot
from quantum.ledger.belief import (
    LAG_SLOTS,
    beliefs,
    estimators,
    following,
    learn,
    wander,
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
    known, waiting, block = estimators(of.truth[0]), [], 0
    out = [ledger.link.belief.copy()]
    for slot in range(of.horizon):
        while waiting and waiting[0][0] <= slot - LAG_SLOTS:
            when, link, basis, passed = waiting.pop(0)
            while block < when // BLOCK_SLOTS:
                wander(known, BLOCK_SLOTS * of.slot_s)
                block += 1
            learn(known[link], basis, passed)
        if slot and slot % BLOCK_SLOTS == 0:
            while block < (slot - LAG_SLOTS) // BLOCK_SLOTS:
                wander(known, BLOCK_SLOTS * of.slot_s)
                block += 1
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


def test_without_tests_links_are_expected_where_the_walk_takes_them():
    """The means of many walks, by the drift itself: the best links get worse."""
    of = world(2, share=0.0, seconds=30.0)
    found = (1.0 + beliefs(of)[-1].sum(axis=1)) / 4.0
    last = (len(beliefs(of)) - 1) * BLOCK_SLOTS
    network = build(run_cell("ring-8", "poisson", load_hz=2.0), 2).network
    walks = np.array(
        [drifted_populations(network, seed, last + 1)[-1, :, 0] for seed in range(1500)]
    )
    error = walks.std(axis=0) / np.sqrt(len(walks))
    # The grid is 0.005 wide, and the truth steps once a second.
    assert np.all(np.abs(found - walks.mean(axis=0)) < 4.0 * error + 1e-3)
    first = (1.0 + of.truth[0].sum(axis=1)) / 4.0
    assert np.all(found < first)


def test_who_follows_links_claims_distilled_pairs_where_paths_will_not_last():
    """Links that start at their best only get worse: what just meets a request will not do."""
    cell = run_cell("ring-8", "poisson", load_hz=2.0)
    of = build(cell, 1, seconds=60.0, warmup_s=1.0)
    of = world_of(of, drift=True, max_rounds=1)
    best = (1.0 + of.truth[0].sum(axis=1)) / 4.0
    neighbours = (of.path_links >= 0).sum(axis=1) == 1
    assert neighbours.any()
    assert not of.cls.refined[neighbours].any()
    asked = of.cls.copy()
    asked.fidelity[neighbours] = best[of.path_links[neighbours, 0]] - 0.001
    found = following(of._replace(cls=asked))
    assert found.cls.refined[neighbours].all()
    assert not of.cls.refined[neighbours].any()
    np.testing.assert_array_equal(found.belief, beliefs(of))
    asked.fidelity[:] = 0.3
    assert not following(of._replace(cls=asked)).cls.refined.any()


def test_links_that_do_not_wander_are_as_specified():
    of = world(2, drift=False)
    np.testing.assert_array_equal(beliefs(of), of.truth)


def test_many_tests_find_a_link_that_is_not_as_specified():
    of = world(0, seconds=60.0)
    truth = np.stack([of.truth[0], correlators(werner(np.full(of.m, 0.90)))])
    found = beliefs(of._replace(truth=truth, truth_slots=1))
    error = (found[-1].sum(axis=1) + 1.0) / 4.0 - 0.90
    assert np.sqrt((error**2).mean()) < 0.03
    assert np.abs((found[0].sum(axis=1) + 1.0) / 4.0 - 0.90).min() > 0.06


@given(
    st.floats(0.5, 1.0),
    st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(0, 2), st.booleans()), max_size=40),
)
@settings(max_examples=60)
def test_a_belief_is_always_a_state_and_tests_move_it_their_way(best, tests):
    known, belief = estimators(correlators(werner(np.array([best])))), np.empty((1, 3))
    for pause, basis, passed in tests:
        wander(known, pause)
        before = known.fidelity.copy()
        learn(known[0], basis, passed)
        moved = known.fidelity[0] - before[0]
        assert moved >= -1e-12 if passed else moved <= 1e-12
        assert known.chance.min() >= -1e-15
        assert known.chance.sum() == pytest.approx(1.0)
        assert (
            known.low[0] - 1e-12 <= known.fidelity[0] <= known.low[0] + 24 * known.step[0] + 1e-12
        )
    write_belief(known, belief)
    assert np.all(np.abs(belief) <= 1.0 + 1e-12)


def test_one_test_is_the_rule_of_bayes():
    """Written out on the grid: a link at 0.9 that wandered for ten seconds, then failed a test."""
    known = estimators(correlators(werner(np.array([0.9]))))
    wander(known, 10.0)
    grid = known.low[0] + known.step[0] * np.arange(25)
    prior = known.chance[0].copy()
    assert prior @ grid == pytest.approx(0.9, abs=1e-3)
    assert np.sqrt(prior @ (grid - 0.9) ** 2) == pytest.approx(0.02, abs=2e-3)
    learn(known[0], 2, False)
    fails = 1.0 - (1.0 + (4.0 * grid - 1.0) / 3.0) / 2.0
    posterior = prior * fails / (prior @ fails)
    np.testing.assert_allclose(known.chance[0], posterior, atol=1e-12)
    assert known.fidelity[0] == pytest.approx(posterior @ grid)


def test_expected_fidelities_of_chains_are_right_on_average():
    """Calibration: over many drifts, what is believed of two links is true on average."""
    said, true = [], []
    for seed in range(12):
        of = world(seed, seconds=20.0)
        found = beliefs(of)
        for block in range(4, len(found)):
            at = min(block * BLOCK_SLOTS // of.truth_slots, len(of.truth) - 1)
            said.append((1.0 + (found[block, :-1] * found[block, 1:]).sum(axis=1)) / 4.0)
            true.append((1.0 + (of.truth[at, :-1] * of.truth[at, 1:]).sum(axis=1)) / 4.0)
    gap = np.mean(said, axis=1) - np.mean(true, axis=1)
    assert abs(gap.mean()) < 4.0 * gap.std() / np.sqrt(len(gap) / 30.0)


def test_the_ledger_believes_the_block_of_its_slot():
    of = world(3)
    of = of._replace(belief=beliefs(of))
    ledger, rule = new_ledger(of), Rule(fill=0, complete=0, targets=np.zeros(of.m))
    for slot in (0, 1, 2 * BLOCK_SLOTS, 2 * BLOCK_SLOTS + 1):
        ledger.now.clock = slot
        open_slot(of, ledger, rule)
        np.testing.assert_array_equal(ledger.link.belief, of.belief[slot // BLOCK_SLOTS])
