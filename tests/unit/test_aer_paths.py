"""The Aer backend's inside: jobs, tapes, checked channels, and the two ways into Aer."""

import numpy as np
import pytest

from backends.aer import AerBackend, backend, channels, direct, execution
from backends.aer.lowering import Operation, Tape, fold
from backends.aer.public import PublicPath
from backends.aer.schedule import levels, schedule
from backends.contract import RANDOM, Plan
from quantum import bell
from quantum.batch import Batch
from quantum.errors import InputError
from quantum.program import Gates, Memory
from quantum.seeding import generator


def generated(count):
    return tuple(("generate", pair, -1) for pair in range(count))


# -- jobs ----------------------------------------------------------------------------------------


def test_a_chain_of_any_length_is_one_job():
    steps = (*generated(500), *(("swap", 0, pair) for pair in range(1, 500)))
    (job,) = schedule(steps)
    assert len(job.joins) == 499
    assert job.level == 0


def test_rounds_of_distillation_are_levels_and_equal_jobs_run_side_by_side():
    steps = (*generated(8), *(("dejmps", pair, pair + 1) for pair in (0, 2, 4, 6)))
    steps += (("dejmps", 0, 2), ("dejmps", 4, 6), ("dejmps", 0, 4))
    groups = levels(schedule(steps))
    assert [[len(group) for group in level] for level in groups] == [[4], [2], [1]]


def test_composite_pairs_meet_through_a_stored_state():
    steps = (*generated(4), ("swap", 0, 1), ("swap", 2, 3), ("swap", 0, 2))
    jobs = schedule(steps)
    assert [job.level for job in jobs] == [0, 1]
    assert jobs[-1].joins[-1].operand.stored


# -- channels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gates", [Gates(), Gates(1.0, 1.0, 0.5), Gates(0.5, 0.1, 0.02)])
def test_constants_are_channels(gates):
    for turn in (-1, 0, 1):
        channels.check_channel("test", channels.distillation_side(gates, turn))
    channels.check_channel("test", channels.bell_measurement(gates))


def test_families_are_channels():
    rng = generator(1, "test")
    memory = Memory(t1_s=0.5, t2_s=1.0)
    waits = np.array([0.0, 0.3, 50.0])
    halves = channels.fresh_halves(rng.dirichlet([1] * 4, 3), waits, memory)
    decays = channels.decays(waits, memory)
    measured = channels.bell_measurement(Gates(1.0, 0.1, 0.05))
    merged = channels.after(channels.after(measured, halves, 0), decays, 1)
    for family in (halves, decays, merged):
        for channel in family:
            channels.check_channel("test", channel)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.eye(4)[[0, 2, 1, 3]], "completely positive"),  # the transpose
        (0.5 * np.eye(4), "trace"),
        (np.diag([1.0, 1.0, 1.0j, 1.0]), "Hermitian"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "finite"),
    ],
)
def test_what_is_no_channel_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        channels.check_channel("test", wrong.astype(complex))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.eye(4), "trace"),
        (np.diag([1.2, -0.2, 0.0, 0.0]), "negative"),
        (np.eye(4) / 4 + np.eye(4)[[1, 0, 2, 3]] * 0.1j, "."),
        (np.full((4, 4), np.nan), "trace"),
    ],
)
def test_what_is_no_state_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        channels.replacements(wrong[None].astype(complex))


def test_impossible_memories_and_sources_are_refused():
    with pytest.raises(InputError, match="t2_s"):
        channels.decays(np.array([1.0]), Memory(t1_s=1.0, t2_s=5.0))
    with pytest.raises(InputError, match="waits"):
        channels.decays(np.array([-1.0]), Memory(t1_s=1.0, t2_s=1.0))
    with pytest.raises(InputError, match="populations"):
        channels.fresh_halves(np.array([[0.9, 0.2, 0.0, 0.0]]), np.zeros(1), Memory())


# -- tapes ---------------------------------------------------------------------------------------


def test_folding_changes_nothing():
    rng = generator(4, "test")
    size, memory = 3, Memory(t1_s=1.0, t2_s=0.5)

    def halves():
        weights = rng.dirichlet([1] * 4, size)
        return channels.fresh_halves(weights, rng.uniform(0, 1, size), memory)

    measured = channels.bell_measurement(Gates(1.0, 0.1, 0.05))
    operations = [
        Operation((0,), halves()),
        Operation((1,), halves()),
        Operation((1,), halves()),
        Operation((2,), halves()),
        Operation((1, 2), measured),
        Operation((2, 3), gate="cx"),
        Operation((3,), halves()),
        Operation((1, 3), gate="cz"),
        Operation((3, 0), measured),
    ]
    folded = fold(operations)
    assert len(folded) == len(operations) - 3
    for path in (direct.DirectPath(), PublicPath()):
        plain, merged = (
            path.play(Tape(4, size, tuple(ops), (0, 3, 1))) for ops in (operations, folded)
        )
        assert np.abs(plain - merged).max() < 1e-14


# -- the two ways --------------------------------------------------------------------------------


def pairs(size):
    skeleton = (("generate", 0, -1), ("wait", 0, -1))
    waits = np.full((size, 1, 2), 0.2)
    weights = bell.werner(np.full((size, 1), 0.9))
    return Batch(skeleton, weights, waits, Memory(t1_s=1.0, t2_s=0.5))


def test_the_fast_way_is_taken_where_the_version_is_known():
    assert AerBackend().path == "direct"
    assert AerBackend("public").path == "public"


def test_another_version_falls_back_to_the_public_way(monkeypatch):
    monkeypatch.setattr(backend, "PINNED", "0.0.1")
    fallen = AerBackend()
    assert fallen.path == "public"
    assert "0.0.1" in fallen.why_public
    expected = AerBackend("public").exact(pairs(2)).populations
    assert fallen.exact(pairs(2)).populations.tolist() == expected.tolist()
    with pytest.raises(InputError, match=r"0\.0\.1"):
        AerBackend("direct")


@pytest.mark.parametrize("thrown", [AttributeError, TypeError, ImportError, RuntimeError])
def test_a_changed_interface_falls_back_to_the_public_way(monkeypatch, thrown):
    def changed(self, tape):
        raise thrown("superop() takes another argument now")

    monkeypatch.setattr(direct.DirectPath, "play", changed)
    fallen = AerBackend()
    assert fallen.path == "public"
    assert "has changed" in fallen.why_public


@pytest.mark.parametrize(
    "changed",
    [
        lambda states: states[:, ::-1, ::-1],  # |0> and |1> exchanged
        lambda states: (
            states.reshape(len(states), *[2] * 6).transpose(0, 3, 2, 1, 6, 5, 4)
            if states.shape[1] == 8
            else states
        ),  # the first qubit is the most significant one
        lambda states: states * np.nan,
        lambda states: states * (1.0 - 1e-6 * np.eye(states.shape[1])),
    ],
)
def test_an_interface_with_another_meaning_falls_back_to_the_public_way(monkeypatch, changed):
    right = direct.DirectPath.play

    def play(self, tape):
        states = right(self, tape)
        return changed(states).reshape(states.shape)

    monkeypatch.setattr(direct.DirectPath, "play", play)
    assert AerBackend().path == "public"


def test_an_unknown_way_is_refused():
    with pytest.raises(InputError, match="direct or public"):
        AerBackend("fast")


def test_counts_follow_the_generator_and_nothing_else():
    batch = pairs(4)
    plan = Plan(np.full(4, RANDOM), np.full(4, 500), np.full(4, np.nan))
    opened = AerBackend()
    first, again, other = (
        opened.run(batch, plan, generator(seed, "test")).counts.tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert AerBackend("public").run(batch, plan, generator(1, "test")).counts.tolist() == first


def test_large_batches_run_in_parts(monkeypatch):
    batch = pairs(8)
    batch.waits_s[:, 0, 0] = np.linspace(0.0, 1.0, 8)
    whole = AerBackend().exact(batch).populations
    monkeypatch.setattr(execution, "_AT_ONCE", 3)
    assert np.abs(AerBackend().exact(batch).populations - whole).max() < 1e-14
    assert len(np.unique(whole[:, 0])) == 8


def test_heralds_are_relative_to_the_trace():
    states = np.zeros((2, 8, 8), dtype=complex)
    states[0, 0, 0], states[0, 4, 4] = 0.3, 0.2
    states[1, 4, 4] = 1.0
    kept, chance = execution.heralded(states)
    assert chance.tolist() == [0.6, 0.0]
    assert kept[0, 0, 0] == 1.0
    assert np.array_equal(kept[1], np.eye(4) / 4)
