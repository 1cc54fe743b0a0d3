"""The Aer backend's inside: jobs, tapes, checked channels, and the two ways into Aer."""

import warnings

import numpy as np
import pytest

from backends.aer import AerBackend, channels, direct, execution, opening, states
from backends.aer.folding import fold
from backends.aer.public import PublicPath
from backends.aer.schedule import Fuse, levels, schedule
from backends.aer.tape import Operation, Tape
from backends.contract import RANDOM, Plan
from quantum import bell
from quantum.batch import Batch
from quantum.errors import InputError
from quantum.noise import decay
from quantum.program import Gates, Memory
from quantum.seeding import generator


def generated(count):
    return tuple(("generate", pair, -1) for pair in range(count))


# -- jobs ----------------------------------------------------------------------------------------


def test_a_chain_of_any_length_is_one_job():
    steps = (*generated(500), *(("swap", 0, pair) for pair in range(1, 500)))
    (job,) = schedule(steps)
    assert len(job.joins) == 499
    assert (job.level, job.width, job.qubits) == (0, 4, 2)


def test_rounds_of_distillation_are_levels_and_equal_jobs_run_side_by_side():
    steps = (*generated(8), *(("dejmps", pair, pair + 1) for pair in (0, 2, 4, 6)))
    steps += (("dejmps", 0, 2), ("dejmps", 4, 6), ("dejmps", 0, 4))
    groups = levels(schedule(steps))
    assert [[len(group) for group in level] for level in groups] == [[4], [2], [1]]


def test_composite_pairs_meet_through_a_stored_state():
    steps = (*generated(4), ("swap", 0, 1), ("swap", 2, 3), ("swap", 0, 2))
    jobs = schedule(steps)
    assert [job.level for job in jobs] == [0, 1]
    assert jobs[-1].joins[-1].operand.origin == "stored"


def test_every_merge_ends_a_job_as_wide_as_what_meets():
    steps = (*generated(7), *(("merge_last", 0, pair) for pair in range(1, 7)))
    jobs = schedule(steps)
    assert [job.width for job in jobs] == [4, 5, 6, 7, 8, 9]
    assert [job.qubits for job in jobs] == [3, 4, 5, 6, 7, 8]


def test_a_register_never_enters_beside_a_swapped_pair():
    # Only two qubits are free there, whichever of the two is kept.
    made = (*generated(4), ("swap", 0, 1), ("merge_first", 2, 3))
    for last in (("merge_last", 0, 2), ("merge_first", 2, 0)):
        fused, swapped, result = schedule((*made, last))
        assert swapped.joins
        assert isinstance(fused.end, Fuse)
        assert {operand.origin for operand in result.operands} == {"stored"}
        assert (result.width, result.qubits) == (5, 4)


# -- channels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gates", [Gates(), Gates(1.0, 1.0, 0.5), Gates(0.5, 0.1, 0.02)])
def test_constants_are_channels(gates):
    for turn in (-1, 0, 1):
        channels.check_channel("test", channels.cnot_and_read(gates, turn))
    channels.check_channel("test", channels.bell_measurement(gates))


def test_families_are_channels():
    waits = np.array([0.0, 0.3, 50.0])
    decays = channels.decays(*decay(waits, Memory(0.5, 1.0, 3.0), 2.0))
    bits = channels.decays(*decay(waits, Memory(0.7, 0.1)))
    measured = channels.bell_measurement(Gates(1.0, 0.1, 0.05))
    merged = channels.after(channels.after(measured, bits, 0), decays, 1)
    put = states.replacements(states.act(states.PHI_PLUS, decays, 0))
    for family in (decays, merged, put):
        for channel in family:
            channels.check_channel("test", channel)


def test_sources_emit_the_bell_states():
    made = states.emitted(np.eye(4))
    assert np.array_equal(made[0], states.PHI_PLUS)
    assert np.array_equal(states.populations(made), np.eye(4))


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
        (np.eye(4) / 4 + np.diag([0.1, 0, 0], 1), "Hermitian"),
        (np.full((4, 4), np.nan), "trace"),
    ],
)
def test_what_is_no_state_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        states.check_states(wrong[None].astype(complex))


def test_loaded_states_have_the_left_qubit_first():
    # |0> on the left and |1> on the right: index 2, the first qubit being the least significant.
    up, down = np.array([1.0, 0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, -1.0])
    (state,) = states.loaded(np.outer(up, down)[None])
    assert np.array_equal(state, np.diag([0.0, 0.0, 1.0, 0.0]))


# -- tapes ---------------------------------------------------------------------------------------


def test_folding_changes_nothing():
    rng = generator(4, "test")
    size, memory = 3, Memory(t1_s=1.0, t2_s=0.5)

    def one(*qubit):
        return Operation(qubit, channels.decays(*decay(rng.uniform(0, 1, size), memory)))

    measured = channels.bell_measurement(Gates(1.0, 0.1, 0.05))
    operations = [
        one(0),
        one(1),
        one(1),  # with the one before
        one(2),
        Operation((1, 2), measured),  # with those of 1 and 2
        Operation((2, 3), gate="cx"),
        one(3),
        Operation((1, 3), gate="cz"),
        Operation((1, 2), state=states.PHI_PLUS),
        one(2),  # with the state, and the one after it as well
        one(1),
        Operation((3, 0), measured),  # with that of 0
        one(0),
    ]
    folded = fold(operations)
    assert len(folded) == len(operations) - 6
    start = np.kron(states.PHI_PLUS, states.PHI_PLUS)
    for path in (direct.DirectPath(), PublicPath()):
        plain, merged = (
            path.play(Tape(4, size, start, tuple(ops), (0, 3, 1))) for ops in (operations, folded)
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


def fallen():
    """Open the backend where the direct way cannot be taken: it says so, once."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        opened = AerBackend()
        opened.exact(pairs(2))
    assert [warning.category for warning in said] == [opening.SlowPathWarning]
    assert opened.why_public in str(said[0].message)
    assert opened.path == "public"
    return opened


def test_another_version_falls_back_to_the_public_way(monkeypatch):
    monkeypatch.setattr(opening, "PINNED", "0.0.1")
    opened = fallen()
    assert "0.0.1" in opened.why_public
    expected = AerBackend("public").exact(pairs(2)).populations
    assert opened.exact(pairs(2)).populations.tolist() == expected.tolist()
    with pytest.raises(InputError, match=r"0\.0\.1"):
        AerBackend("direct")


@pytest.mark.parametrize("thrown", [AttributeError, TypeError, ImportError, RuntimeError])
def test_a_changed_interface_falls_back_to_the_public_way(monkeypatch, thrown):
    def changed(self, tape):
        raise thrown("superop() takes another argument now")

    monkeypatch.setattr(direct.DirectPath, "play", changed)
    assert "has changed" in fallen().why_public


def exchanged(saved):
    """Exchange the first and the last qubit."""
    n = saved.shape[1].bit_length() - 1
    order = [n - 1, *range(1, n - 1), 0]
    bits = saved.reshape(len(saved), *[2] * (2 * n))
    return bits.transpose(0, *(1 + q for q in order), *(1 + n + q for q in order))


@pytest.mark.parametrize(
    "changed",
    [
        lambda saved: saved[:, ::-1, ::-1],  # |0> and |1> exchanged
        exchanged,
        lambda saved: exchanged(saved) if saved.shape[1] == 8 else saved,
        lambda saved: saved * np.nan,
        lambda saved: saved * (1.0 - 1e-6 * np.eye(saved.shape[1])),
    ],
)
def test_an_interface_with_another_meaning_falls_back_to_the_public_way(monkeypatch, changed):
    right = direct.DirectPath.play

    def play(self, tape):
        saved = right(self, tape)
        return changed(saved).reshape(saved.shape)

    monkeypatch.setattr(direct.DirectPath, "play", play)
    fallen()


@pytest.mark.parametrize("method", ["wait", "bell_measurement"])
def test_the_check_at_start_sees_what_is_left_out(monkeypatch, method):
    from backends.aer import lowering

    monkeypatch.setattr(lowering._Writer, method, lambda *args: None)
    fallen_path, why = opening.open_direct()
    assert fallen_path is None
    assert "is off by" in why


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


def varied(size):
    """Chains with distillation of which no two are alike."""
    rng = generator(8, "test")
    steps = [*generated(3), *(("wait", pair, -1) for pair in range(3))]
    steps += [("dejmps", 0, 1), ("swap", 0, 2), ("wait", 0, -1)]
    weights, waits = rng.dirichlet([8, 1, 1, 1], (size, 3)), rng.uniform(0, 0.5, (size, 4, 2))
    return Batch(tuple(steps), weights, waits, Memory(1.0, 0.5), Gates(0.9, 0.1, 0.02))


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_a_program_ends_the_same_in_any_batch(monkeypatch, at_once):
    batch = varied(60)
    whole = AerBackend().exact(batch)
    monkeypatch.setattr(execution, "_AT_ONCE", at_once)
    execution._recipe.cache_clear()
    parts = AerBackend().exact(batch)
    execution._recipe.cache_clear()
    assert np.array_equal(parts.populations, whole.populations)
    assert np.array_equal(parts.success, whole.success)
    assert len(np.unique(whole.populations[:, 0])) == 60


def test_heralds_say_how_likely_success_was():
    saved = np.zeros((2, 8, 8), dtype=complex)
    saved[0, 0, 0], saved[0, 4, 4] = 0.6, 0.4
    saved[1, 4, 4] = 1.0
    kept, chance = execution.heralded(saved)
    assert chance.tolist() == [0.6, 0.0]
    assert kept[0, 0, 0] == 1.0
    assert np.array_equal(kept[1], np.eye(4) / 4)


def test_large_registers_go_a_few_at_a_time():
    eight = (*generated(7), *(("merge_last", 0, pair) for pair in range(1, 7)))
    batch = Batch(eight, np.full((100, 7, 4), 0.25), np.empty((100, 0, 2)))
    assert execution.at_once(batch) <= 16
    assert execution.at_once(pairs(10_000)) > 1000
