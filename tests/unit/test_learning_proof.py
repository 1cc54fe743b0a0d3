"""Reward moves the policy: through the mind, the dispatcher and the ledger, in the twin.

Ten nodes in a ring. Every second link is asked for pairs and the others never are, but the
heuristic's targets say the opposite. A node can find out only by being paid for the pairs that
were used. With the same rewards dealt out to other nodes at other times, nothing can be found out.
"""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
import torch

from controller.dispatch import Dispatch, Rules
from controller.mind import LearnConfig, Mind
from quantum.demand import Trace
from quantum.ledger import Rule, new_world, no_paths
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.seeding import generator

NODES = 10  # the fewest for which changes are averaged: the lesson goes through the rounds
SECONDS = 80.0
ROUND_SLOTS = 250  # 5 s
ASKED_HZ = 3.0  # of a useful link; its two nodes could make 5 pairs a second on it
#: A dozen decisions of a node lie between two rounds: large steps, and nothing that holds back.
LEARNS = LearnConfig(
    temperature=1.0,
    learning_rate=0.03,
    entropy_coefficient=0.0,
    leash_coefficient=0.0,
    clip_norm=3.0,
)
#: Explores alike and learns nothing.
STAYS = replace(LEARNS, learning_rate=1e-12)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Outcome:
    """Share of the last third's requests that was served, and what the policy adds to a score."""

    served: float
    reward: float
    moved: float


class Shuffle:
    """Deals the rewards of a block of slots out in the next block: other nodes, other times."""

    def __init__(self, seed):
        self._seed, self._block, self._later = seed, [], []

    def __call__(self, look):
        self._block.append(np.frombuffer(look.credit, dtype="<f8"))
        credit = self._later.pop() if self._later else np.zeros(NODES)
        if len(self._block) == ROUND_SLOTS:
            all_of_it = np.array(self._block)
            order = generator(self._seed, "shuffle", look.slot).permutation(all_of_it.size)
            self._later = list(all_of_it.ravel()[order].reshape(all_of_it.shape))
            self._block = []
        return msgspec.structs.replace(look, credit=credit.tobytes())


def ring(seed):
    """Return the scenario and which links are asked for."""
    links = np.array(sorted(sorted((i, (i + 1) % NODES)) for i in range(NODES)))
    useful = (links[:, 0] % 2 == 0) & (links[:, 1] == links[:, 0] + 1)
    network = Network(
        name="ring",
        nodes=tuple(f"n{i}" for i in range(NODES)),
        position_km=np.zeros((NODES, 2)),
        links=links,
        length_km=np.ones(NODES),
        populations=np.tile([0.97, 0.01, 0.01, 0.01], (NODES, 1)),
        generation_hz=np.full(NODES, 2.5),
        swap_hz=np.zeros(NODES),
        qubits=np.full(NODES, 4),
        memory=Memory(),
        cutoff_s=0.6,
        gates=Gates(),
    )
    asked = links[useful]
    rng = generator(seed, "asked")
    count = int(SECONDS * ASKED_HZ * len(asked))
    time_s = np.sort(rng.uniform(0.0, SECONDS, count))
    trace = Trace(
        name="asked",
        commodities=asked,
        weights=np.full(len(asked), 1.0 / len(asked)),
        load_hz=ASKED_HZ * len(asked),
        time_s=time_s,
        commodity=rng.integers(0, len(asked), count),
        pairs=np.ones(count, dtype=np.int64),
        minimum_fidelity=np.full(count, 0.8),
        # One slot after a request is heard of it is over: claims come too late to help.
        deadline_s=np.full(count, 0.03),
        told_s=time_s,
    )
    return Scenario(network=network, trace=trace, seed=seed, seconds=SECONDS, warmup_s=0.0), useful


def outcome(seed, config, *, shuffle=False):
    scenario, useful = ring(seed)
    world = new_world(scenario, paths=no_paths)
    everybody = tuple(range(NODES))
    # The heuristic keeps one pair where nobody asks, and hardly one where they do.
    rule = Rule(fill=2, complete=1, targets=np.where(useful, 0.3, 1.2))
    rules = Rules(
        world=world,
        rule=rule,
        network=scenario.network,
        delay_slots=np.ones(len(world.request), dtype=np.int64),
        groups=(everybody,),
        learn=True,
        round_slots=ROUND_SLOTS,
        clip_norm=config.clip_norm,
    )
    dispatch = Dispatch(rules, lambda _: None)
    mind = Mind(world, rule, np.arange(NODES), seed=seed, learn=True, config=config)
    deal = Shuffle(seed) if shuffle else lambda look: look
    while not dispatch.finished:
        for look in dispatch.open():
            dispatch.hear(0, mind.speak(deal(look)))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    late = world.request.arrival >= world.slots * 2 // 3
    assert dispatch.rounds.done >= 15 and mind.updates == dispatch.rounds.done
    return Outcome(
        served=float(dispatch.ledger.request.good[late].mean()),
        reward=dispatch.results.reward,
        moved=float(np.abs(mind.actor.w2).max()),
    )


@pytest.fixture(scope="module")
def outcomes():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {
        "learns": [outcome(seed, LEARNS) for seed in SEEDS],
        "stays": [outcome(seed, STAYS) for seed in SEEDS],
        "shuffled": [outcome(seed, LEARNS, shuffle=True) for seed in SEEDS],
    }
    torch.set_num_threads(threads)
    return found


def served(outcomes, name):
    return np.array([one.served for one in outcomes[name]])


def test_learning_serves_more(outcomes):
    """Measured: 0.74 instead of 0.53; 0.75 with targets the right way round."""
    gain = served(outcomes, "learns") - served(outcomes, "stays")
    assert gain.min() > 0.1


def test_with_shuffled_rewards_the_learning_is_gone(outcomes):
    """The policy then wanders: measured, -0.05 to 0.04 against one that stays."""
    gain = served(outcomes, "shuffled") - served(outcomes, "stays")
    assert abs(gain.mean()) < 0.05
    assert (served(outcomes, "learns") - served(outcomes, "shuffled")).min() > 0.1


def test_shuffled_rewards_move_the_weights_as_well(outcomes):
    """What is gone is the meaning of the rewards, not the learning steps."""
    moved = {name: np.mean([one.moved for one in rows]) for name, rows in outcomes.items()}
    assert moved["stays"] < 1e-6
    assert moved["shuffled"] > 0.2 * moved["learns"] > 0.02
    assert all(one.reward > 0.0 for rows in outcomes.values() for one in rows)
