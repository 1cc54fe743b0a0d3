"""Scores, contention and contention loss on examples that can be worked out by hand."""

import numpy as np
import pytest

from controller.losses import contention_loss, lost_pairs, pairs_alone
from quantum.bell import werner
from quantum.demand import Trace
from quantum.flows import shortest_paths
from quantum.ledger import Rule, new_ledger, new_world
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.twin import advance, score


def line(nodes, *, generation, swaps=5.0, qubits=1, gates=None):
    return Network(
        name="line",
        nodes=tuple(f"n{i}" for i in range(nodes)),
        position_km=np.zeros((nodes, 2)),
        links=np.array([[i, i + 1] for i in range(nodes - 1)], dtype=np.int64).reshape(-1, 2),
        length_km=np.ones(nodes - 1),
        populations=werner(np.full(nodes - 1, 0.98)),
        generation_hz=np.full(nodes, float(generation)),
        swap_hz=np.full(nodes, float(swaps)),
        qubits=np.full(nodes, qubits),
        memory=Memory(),
        cutoff_s=0.5,
        gates=gates or Gates(),
    )


def scenario(net, requests, *, seed=0, warmup_s=0.0, test_share=0.0):
    """Play requests of (time, source, target, pairs, deadline) for one second."""
    time_s, source, target, pairs, deadline = np.array(requests, dtype=float).reshape(-1, 5).T
    ends = np.stack([source, target], axis=1).astype(np.int64)
    return Scenario(
        network=net,
        trace=Trace(
            name="test",
            commodities=ends,
            weights=np.full(len(ends), 1.0 / max(1, len(ends))),
            load_hz=8.0,
            time_s=time_s,
            commodity=np.arange(len(ends)),
            pairs=pairs.astype(np.int64),
            minimum_fidelity=np.full(len(ends), 0.6),
            deadline_s=deadline,
            told_s=time_s,
        ),
        seed=seed,
        seconds=1.0,
        warmup_s=warmup_s,
        test_share=test_share,
    )


def played(of, *, fill=0, delay=None):
    world = new_world(of, paths=shortest_paths)
    rule = Rule(fill=fill, complete=0, targets=np.zeros(world.m), evict=1e18)
    ledger = new_ledger(world, delay_slots=delay)
    advance(world, ledger, rule, world.horizon)
    return world, ledger, rule


def alone(world, rule, delay=None):
    return lambda requests: pairs_alone(world, rule, requests, delay)


def test_contention_by_hand():
    """Live in slots 0 to 10 and 5 to 15 of 50: six slots on one of three resources."""
    world, ledger, _ = played(
        scenario(line(2, generation=1e-9), [(0.0, 0, 1, 1, 0.2), (0.1, 0, 1, 1, 0.2)])
    )
    assert score(world, ledger).contention == pytest.approx(6 / (3 * 50))
    assert score(world, ledger).delivery_rate == 0.0


def test_contention_counts_the_swap_node_and_only_the_window():
    """As above on two links and their node, but slots 0 to 6 are warm-up: 7 to 10 count."""
    world, ledger, _ = played(
        scenario(
            line(3, generation=1e-9), [(0.0, 0, 2, 1, 0.2), (0.1, 2, 0, 1, 0.2)], warmup_s=0.14
        )
    )
    assert score(world, ledger).contention == pytest.approx(4 * 3 / (5 * 50))
    assert score(world, ledger).requests == 0


@pytest.mark.parametrize("fill", [0, 1])
def test_loss_by_hand(fill):
    """One qubit: a pair a slot. Both ask for 4 in the slots 1 to 4, the first gets them all.

    Twenty tokens a slot are expected, so one is always there.
    """
    world, ledger, rule = played(
        scenario(line(2, generation=1000), [(0.0, 0, 1, 4, 0.08), (0.0, 1, 0, 4, 0.08)]), fill=fill
    )
    assert ledger.request.good.tolist() == [4, 0]
    assert lost_pairs(world, ledger, alone(world, rule)).tolist() == [0, 4]
    assert contention_loss(world, ledger, alone(world, rule)) == 0.5
    assert score(world, ledger).delivery_rate == 0.5
    # Waits of 1 to 4 slots, 20 ms each: half of the pairs came within 2.
    assert score(world, ledger).latency_p50_ms == pytest.approx(40.0)
    assert score(world, ledger).latency_p99_ms == pytest.approx(80.0)


def test_what_nobody_could_have_had_is_not_lost():
    """Too late for the word to come in time, and too slow a memory: no rival is to blame."""
    of = scenario(line(2, generation=1000), [(0.0, 0, 1, 9, 0.08), (0.5, 0, 1, 4, 0.08)])
    world, ledger, rule = played(of, delay=np.array([1, 5]))
    assert ledger.request.good.tolist() == [4, 0]
    assert contention_loss(world, ledger, alone(world, rule, np.array([1, 5]))) == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_a_request_that_is_alone_gets_what_it_would_get_alone(seed):
    """Whatever the luck of swaps and tests: the fork starts from the very state of the run."""
    rng = np.random.default_rng(seed)
    net = line(4, generation=20, swaps=10, qubits=6, gates=Gates(success=0.7))
    when = rng.uniform(0.0, 0.9)
    of = scenario(net, [(when, 0, 3, 30, 0.4)], seed=seed, test_share=0.3)
    world, ledger, rule = played(of, fill=seed % 3)
    assert pairs_alone(world, rule, np.array([0])).tolist() == ledger.request.good.tolist()
    assert contention_loss(world, ledger, alone(world, rule)) == 0.0


def test_losses_on_the_mesh_are_shares_and_change_nothing():
    of = build(run_cell(), 0, seconds=4.0, warmup_s=2.0)
    world, ledger, rule = played(of, fill=1)
    before = ledger.request.good.copy()
    loss = contention_loss(world, ledger, alone(world, rule))
    missed = 1.0 - score(world, ledger).delivery_rate
    assert 0.0 < loss <= missed
    assert np.array_equal(before, ledger.request.good)
    assert contention_loss(world, ledger, alone(world, rule)) == loss


def test_same_seed_same_result_other_seed_another():
    runs = [played(build(run_cell(), s, seconds=3.0, warmup_s=1.0), fill=1) for s in (0, 0, 4)]
    same, again, other = (ledger.request.good.tobytes() for _, ledger, _ in runs)
    assert same == again
    assert same != other


def test_nothing_asked_is_no_loss():
    world, ledger, rule = played(scenario(line(3, generation=5), []), fill=1)
    got = score(world, ledger)
    assert (got.requests, got.pairs_requested, got.contention) == (0, 0, 0.0)
    assert (
        got.delivery_rate
        == got.latency_p50_ms
        == contention_loss(world, ledger, alone(world, rule))
        == 0.0
    )
