"""Both qubits of a pair measured at angles: on Aer, in closed form, and by textbook projectors."""

import math
from functools import partial

import dense
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend
from backends.contract import Bits
from backends.service import execute
from controller.qkd.settings import ALICE_RAD, BOB_RAD
from quantum import bell
from quantum.batch import Batch
from quantum.egp import Job, Task
from quantum.errors import Code, InputError
from quantum.program import Gates, Generate, Memory, Program
from quantum.seeding import generator

BACKENDS = {
    "analytic": AnalyticBackend,
    "aer, direct": partial(AerBackend, "direct"),
    "aer, public": partial(AerBackend, "public"),
}
#: Draws on a grid see chances exactly, to one over their number.
GRID = 500
DRAWS = (np.arange(GRID) + 0.5) / GRID
RNG = generator(1, "angles")
PAIR = Program((Generate(0, (0.94, 0.02, 0.02, 0.02)),))


def shares(backend, one, left_rad, right_rad):
    """The shares (4,) of 00, 01, 10, 11 that a batch of one program gives."""
    many = Batch(
        one.skeleton,
        *(np.repeat(part, GRID, axis=0) for part in (one.populations, one.waits_s)),
        one.memory,
        one.gates,
        states=np.repeat(one.states, GRID, axis=0),
    )
    found = backend.analyse(many, np.full((GRID, 2), (left_rad, right_rad)), DRAWS, RNG)
    return np.bincount(found.both, minlength=4) / GRID


def fresh(weights):
    return Batch((("generate", 0, -1),), np.array([[weights]]), np.zeros((1, 0, 2)))


@pytest.mark.parametrize("opened", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("visibility", [0.9, 1 / math.sqrt(2)])
def test_ekerts_angles_show_the_s_of_a_werner_state(opened, visibility):
    """S = 2 sqrt(2) V: a Bell inequality is violated from V = 1 / sqrt(2) on."""
    backend, pair = opened(), fresh(bell.werner((3 * visibility + 1) / 4))
    s = 0.0
    for a, b, sign in ((0, 0, 1), (0, 2, -1), (2, 0, 1), (2, 2, 1)):
        same, *different, again = shares(backend, pair, ALICE_RAD[a], BOB_RAD[b])
        s += sign * (same + again - sum(different))
    assert s == pytest.approx(2 * math.sqrt(2) * visibility, abs=16 / GRID)


@settings(max_examples=15, deadline=None)
@given(
    steps=st.sampled_from(
        [
            (("generate", 0, -1), ("wait", 0, -1)),
            (("load", 0, -1), ("wait", 0, -1)),
            (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1), ("wait", 0, -1)),
            (("load", 0, -1), ("generate", 1, -1), ("dejmps", 0, 1)),
            (("load", 0, -1), ("generate", 1, -1), ("epl", 0, 1), ("wait", 0, -1)),
            (("generate", 0, -1), ("wait", 0, -1), ("load", 1, -1), ("swap", 1, 0)),
        ]
    ),
    seed=st.integers(0, 2**32),
)
def test_any_program_at_any_angles_is_what_projectors_say(steps, seed):
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, *_ in steps]
    made, loaded, waited = (kinds.count(kind) for kind in ("generate", "load", "wait"))
    mess = rng.normal(size=(loaded, 4, 8)).view(complex)
    states = np.array([dense.expectations(m @ m.conj().T / np.vdot(m, m)) for m in mess])
    batch = Batch(
        steps,
        rng.dirichlet([4.0, 1.0, 1.0, 1.0], (1, made)),
        rng.uniform(0.0, 0.6, (1, waited, 2)),
        Memory(t1_s=1.0, t2_s=0.8),
        Gates(gate_depolarizing=0.03, readout_error=0.01),
        states=states.reshape(1, loaded, 4, 4),
    )
    angles = rng.uniform(-7.0, 7.0, 2)
    rho, _ = dense.end_state(batch, 0)
    wanted = dense.chances_at(rho, *angles)
    for name in ("analytic", "aer, direct"):
        assert shares(BACKENDS[name](), batch, *angles) == pytest.approx(wanted, abs=2 / GRID)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_backends_agree_draw_by_draw_whatever_the_batch_around(seed):
    rng = np.random.default_rng(seed)
    size = 40
    batch = Batch(
        (("generate", 0, -1), ("wait", 0, -1), ("generate", 1, -1), ("swap", 0, 1)),
        rng.dirichlet([8.0, 1.0, 1.0, 1.0], (size, 2)),
        rng.uniform(0.0, 0.5, (size, 1, 2)),
        Memory(t1_s=2.0, t2_s=0.7),
        Gates(gate_depolarizing=0.02),
    )
    angles, draw = rng.uniform(-4.0, 4.0, (size, 2)), rng.random(size)
    whole = [opened().analyse(batch, angles, draw, rng).both for opened in BACKENDS.values()]
    assert np.array_equal(whole[0], whole[1])
    assert np.array_equal(whole[0], whole[2])
    part = AerBackend().analyse(batch.part(7, 19), angles[7:19], draw[7:19], rng)
    assert np.array_equal(part.both, whole[0][7:19])


@pytest.mark.parametrize("opened", BACKENDS.values(), ids=BACKENDS)
def test_free_draws_follow_the_chances_and_what_never_succeeds_is_said(opened):
    size = 2_000
    pair = Batch((("generate", 0, -1),), np.tile(bell.werner(0.85), (size, 1, 1)),
                 np.zeros((size, 0, 2)))  # fmt: skip
    free = np.full(size, np.nan)
    found = opened().analyse(pair, np.zeros((size, 2)), free, generator(2, "free"))
    # <ZZ> = .8: equal with .9. Five standard deviations.
    equal = np.isin(found.both, (0, 3)).mean()
    assert abs(equal - 0.9) < 5 * math.sqrt(0.09 / size)
    never = Batch(
        (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1)),
        np.tile(bell.werner(0.9), (3, 2, 1)),
        np.zeros((3, 0, 2)),
        gates=Gates(success=0.0),
    )
    found = opened().analyse(never, np.zeros((3, 2)), np.full(3, 0.5), RNG)
    assert found.both.tolist() == [-1, -1, -1]
    assert found.source == "sim"


@pytest.mark.parametrize("opened", BACKENDS.values(), ids=BACKENDS)
def test_wrong_angles_are_refused_by_name(opened):
    pair, draw = fresh(bell.werner(0.9)), np.array([0.5])
    for angles, said in (
        (np.zeros((1, 3)), r"angles_rad must have shape \(1, 2\)"),
        (np.array([[0.0, math.nan]]), "angles_rad must be finite"),
    ):
        with pytest.raises(InputError, match=said):
            opened().analyse(pair, angles, draw, RNG)
    with pytest.raises(InputError, match="draw must be in"):
        opened().analyse(pair, np.zeros((1, 2)), np.array([1.0]), RNG)
    three = Batch(
        (("generate", 0, -1), ("generate", 1, -1), ("merge_last", 0, 1)),
        np.tile(bell.werner(0.9), (1, 2, 1)),
        np.zeros((1, 0, 2)),
    )
    with pytest.raises(InputError, match="angles are for pairs, this program ends with 3 qubits"):
        opened().analyse(three, np.zeros((1, 2)), draw, RNG)


# From job to answer.


def test_a_job_may_hold_parities_and_angles_side_by_side():
    tasks = (
        Task(PAIR, 2, 0.0),
        Task(PAIR, draw=0.0, angles_rad=(0.0, 0.0)),  # 00, the first of the four
        Task(PAIR, draw=0.4999, angles_rad=(0.0, 0.0)),  # 01: .48 to .5
        Task(PAIR, -1),
        Task(PAIR, draw=0.9999, angles_rad=(0.0, math.pi)),  # 11 is the rarest, and the last
    )
    done = execute(AnalyticBackend(), Job(1, tasks), RNG)
    assert done.bits == (-1, 0, 1, -1, 3)
    assert done.passed == (1, 1, 0, -1, 1)
    assert done.faults == ()
    assert execute(AnalyticBackend(), Job(2, tasks[:1]), RNG).bits == ()


def test_who_cannot_and_what_is_no_angle_is_said():
    class Parities(AnalyticBackend):
        name, analyse = "parities", None

    asked = Task(PAIR, draw=0.1, angles_rad=(0.0, 1.0))
    failed = execute(Parities(), Job(1, (asked,)), RNG)
    assert failed.code == Code.UNSUPP
    assert "backend parities measures parities in xx, yy and zz" in failed.detail
    done = execute(Parities(), Job(1, (asked, Task(PAIR, 0, 0.1))), RNG)
    assert done.passed == (-1, 1)
    assert [fault.task for fault in done.faults] == [0]
    odd = Task(PAIR, draw=0.1, angles_rad=(math.inf, 0.0))
    failed = execute(AnalyticBackend(), Job(1, (odd,)), RNG)
    assert failed.code == Code.CREATE
    assert "two finite angles" in failed.detail


def test_a_backend_that_loses_a_result_has_failed():
    class Loses(AnalyticBackend):
        def analyse(self, batch, angles_rad, draw, rng):
            return Bits(np.full(len(batch), -1), "sim")

    task = Task(PAIR, draw=0.1, angles_rad=(0.0, 1.0))
    failed = execute(Loses(), Job(1, (task,)), RNG)
    assert (failed.code, failed.detail) == (Code.OTHER, "a pair did not give exactly two results")
