"""From job to answer: a backend that misbehaves is a failure with a code, never a count."""

import numpy as np
import pytest

from backends.analytic import AnalyticBackend
from backends.contract import Outcome, Truth
from backends.service import execute
from quantum.egp import Done, Failed, Job, Task
from quantum.errors import Code, DeviceError, DeviceTimeout, RequestError
from quantum.program import Generate, Program, Swap, Wait
from quantum.seeding import generator

GOOD = (0.94, 0.02, 0.02, 0.02)
PAIR = Program((Generate(0, GOOD),))
CHAIN = Program((Generate(0, GOOD), Wait(0, 0.1, 0.1), Generate(1, GOOD), Swap(0, 1)))
RNG = generator(1, "service")


class Fake:
    """Answers every batch with what it was given, or raises it."""

    name = "fake"

    def __init__(self, answer=None, *, keeps=True, truth=None, source="sim"):
        self.answer, self.keeps, self.truth, self.source = answer, keeps, truth, source
        self.asked = 0

    def run(self, batch, plan, rng):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        counts = np.zeros((len(batch), 3, 2), dtype=np.int64)
        for index, basis in enumerate(plan.basis):
            if basis >= 0:
                counts[index, basis, 0] = 1
        if self.answer is not None:
            counts[:] = self.answer
        return Outcome(counts, self.truth, self.source)

    def close(self):
        pass


def counts(*cells):
    out = np.zeros((3, 2), dtype=np.int64)
    for basis, outcome, number in cells:
        out[basis, outcome] = number
    return out


def test_every_task_is_answered_in_its_place():
    tasks = (
        Task(CHAIN, 2, 0.0),  # passes: the draw is below any chance
        Task(PAIR, -1),
        Task(PAIR, 0, 0.999999),  # fails: above the chance of (1 + c_xx) / 2 = 0.96
        Task(CHAIN, -1),
        Task(PAIR, 1, 0.5),
    )
    done = execute(AnalyticBackend(), Job(7, tasks), RNG)
    assert isinstance(done, Done)
    assert (done.job, done.source_of_truth) == (7, "sim")
    assert done.passed == (1, -1, 0, -1, 1)
    assert done.fidelity[1] == done.fidelity[2] == pytest.approx(0.94, abs=1e-12)
    # Werner states of correlator 0.92 (F = 0.94) swap to correlator 0.92^2; no decay is asked for.
    assert done.fidelity[0] == pytest.approx((1 + 3 * 0.92**2) / 4, abs=1e-12)


def test_an_empty_job_is_done():
    assert execute(AnalyticBackend(), Job(1, ()), RNG) == Done(1, ())


@pytest.mark.parametrize(
    "answer",
    [
        counts((0, 0, 1), (0, 1, 1)),
        counts((0, 0, 2)),
        counts((0, 0, 1), (1, 0, 1)),
        counts(),
        counts((0, 0, 2), (0, 1, -1)),
    ],
    ids=["pass and fail", "two passes", "two bases", "none", "negative"],
)
def test_a_test_without_exactly_one_outcome_fails(answer):
    failed = execute(Fake(answer), Job(3, (Task(PAIR, 0, 0.5),)), RNG)
    assert failed == Failed(3, Code.OTHER, "a test did not give exactly one outcome")


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (DeviceError("no light"), Code.OTHER, "no light"),
        (DeviceTimeout("silence"), Code.OTHER, "silence"),
        (RequestError(Code.NOTIME, "too late"), Code.NOTIME, "too late"),
        (RequestError(Code.UNSUPP, "no swaps"), Code.UNSUPP, "no swaps"),
    ],
)
def test_errors_become_answers(error, code, detail):
    assert execute(Fake(error), Job(3, (Task(PAIR, 0, 0.5),)), RNG) == Failed(3, code, detail)


def test_a_backend_that_cannot_keep_is_not_even_asked():
    fake = Fake(keeps=False)
    failed = execute(fake, Job(3, (Task(PAIR, -1), Task(PAIR, -1))), RNG)
    assert isinstance(failed, Failed)
    assert failed.code is Code.UNSUPP and "cannot keep" in failed.detail
    assert fake.asked == 0
    assert isinstance(execute(fake, Job(4, (Task(PAIR, 0, 0.5),)), RNG), Done)


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        execute(Fake(ZeroDivisionError()), Job(3, (Task(PAIR, 0, 0.5),)), RNG)


@pytest.mark.parametrize(
    "program",
    [
        Program(()),
        Program((Generate(0, (0.5, 0.1, 0.1, 0.1)),)),
        Program((Generate(0, GOOD), Swap(0, 1))),
        Program((Generate(0, GOOD), Wait(0, -1.0, 0.0))),
        Program((Generate(0, GOOD), Wait(0, float("nan"), 0.0))),
    ],
)
def test_a_bad_program_does_not_harm_the_others(program):
    bad, good = Task(program, 0, 0.5), Task(PAIR, 0, 0.5)
    done = execute(AnalyticBackend(), Job(5, (bad, good, bad, Task(CHAIN, -1))), RNG)
    assert isinstance(done, Done)
    assert done.passed == (-1, 1, -1, -1)
    assert [(f.task, f.code) for f in done.faults] == [(0, Code.CREATE), (2, Code.CREATE)]
    assert done.fidelity[0] == done.fidelity[2] == 0.0
    assert done.fidelity[1] == pytest.approx(0.94, abs=1e-12) and done.fidelity[3] > 0.8
    failed = execute(AnalyticBackend(), Job(6, (bad, bad)), RNG)
    assert isinstance(failed, Failed) and failed.code is Code.CREATE


def test_a_photonic_pair_can_only_be_measured():
    flying = Program((Generate(0, GOOD),), photonic=True)
    stored = Program((Generate(0, GOOD), Wait(0, 0.1, 0.1)), photonic=True)
    tasks = (Task(flying, 0, 0.5), Task(flying, -1), Task(stored, 0, 0.5))
    done = execute(AnalyticBackend(), Job(5, tasks), RNG)
    assert done.passed == (1, -1, -1)
    assert [(f.task, f.code) for f in done.faults] == [(1, Code.UNSUPP), (2, Code.UNSUPP)]
    assert "steps[1] wait: a photonic pair can only be measured" in done.faults[1].detail


def test_hardware_claims_no_truth():
    done = execute(Fake(source="real"), Job(3, (Task(PAIR, 0, 0.5),)), RNG)
    assert done == Done(3, (1,), (), "real")
    told = Truth(np.array([[0.9, 0.1, 0.0, 0.0]]), np.ones(1))
    done = execute(Fake(truth=told), Job(3, (Task(PAIR, 0, 0.5),)), RNG)
    assert done == Done(3, (1,), (0.9,), "sim")
