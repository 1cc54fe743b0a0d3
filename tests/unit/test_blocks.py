"""Blocks say what tasks say: the same programs, the same outcomes, in the same places."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend
from backends.service import execute, execute_all
from controller.security import Client, RateLimit
from controller.sessions import Peer
from quantum.batch import stack
from quantum.blocks import block_of, open_block, spelled_out, tasks_of
from quantum.egp import Done, Failed, Job, Task
from quantum.errors import Code, InputError
from quantum.kernels import table
from quantum.ledger.events import Making, programs_of
from quantum.ledger.histories import Histories
from quantum.program import Gates, Memory
from quantum.seeding import generator
from quantum.wire import decode, encode

MEMORY, GATES = Memory(3600.0, 60.0), Gates(0.98, 0.01, 0.005)
MOST, LINKS, SLOT_S = 6, 5, 0.02


def making(rng, blocks):
    weights = rng.dirichlet((40.0, 1.0, 1.0, 1.0), (blocks, LINKS))
    rows = [[tuple(one) for one in block] for block in weights.tolist()]
    return Making(rows, 10)


def events_of(rng, size, distilled):
    """Return events with everything that decides their programs drawn at random."""
    columns = ("links", "births", "ages", "ages_right", "kept", "spent")
    events = table(size, hops=int, **dict.fromkeys(columns, (int, MOST)))
    events.hops = rng.integers(1, MOST + 1, size)
    events.links = rng.integers(0, LINKS, (size, MOST))
    events.births = rng.integers(9, 60, (size, MOST))
    events.ages = rng.integers(0, 50, (size, MOST))
    same = rng.random(size) < 0.7
    events.ages_right = np.where(same[:, None], events.ages, rng.integers(0, 50, (size, MOST)))
    events.kept = rng.integers(0, 9, (size, MOST))
    events.spent = np.where(rng.random((size, MOST)) < distilled, events.kept // 2, -1)
    return events


def drawn(seed, size, distilled):
    rng = generator(seed, "blocks")
    events = events_of(rng, size, distilled)
    basis, draw = rng.integers(-1, 3, size), rng.random(size)
    of = making(rng, 1 + seed % 3)
    histories = Histories(of, SLOT_S, MEMORY, GATES)
    programs = programs_of(events, of, SLOT_S, MEMORY, GATES)
    tasks = list(map(Task, programs, basis.tolist(), draw.tolist()))
    blocks, order = histories.blocks(events, basis, draw)
    return tasks, blocks, order.tolist()


@given(st.integers(0, 10_000), st.integers(1, 30), st.sampled_from((0.0, 0.2)))
@settings(max_examples=30, deadline=None)
def test_blocks_are_the_programs_of_their_events(seed, size, distilled):
    tasks, blocks, order = drawn(seed, size, distilled)
    assert sorted(order) == list(range(size))
    job = decode(encode(Job(3, (), blocks=tuple(blocks))))
    assert job.programs == size
    told = [task for block in job.blocks for task in tasks_of(block)]
    assert told == [tasks[k] for k in order]
    assert spelled_out(job) == Job(3, tuple(told))
    assert spelled_out(Job(4, tuple(told), again=True)) == Job(4, tuple(told), again=True)


@pytest.mark.parametrize("make", [AnalyticBackend, AerBackend])
def test_blocks_and_tasks_end_alike(make):
    backend = make()
    tasks, blocks, order = drawn(7, 60, 0.1)
    by_task = execute(backend, Job(1, tuple(tasks)), generator(1, "a"))
    by_block = execute(backend, Job(1, (), blocks=tuple(blocks)), generator(2, "b"))
    mixed = execute(backend, Job(1, tuple(tasks[:3]), blocks=tuple(blocks)), generator(3, "c"))
    backend.close()
    assert isinstance(by_task, Done) and isinstance(by_block, Done)
    assert by_block.passed == tuple(by_task.passed[k] for k in order)
    assert by_block.fidelity == tuple(by_task.fidelity[k] for k in order)
    assert len(set(by_task.passed)) == 3
    assert mixed.passed == by_task.passed[:3] + by_block.passed


def test_jobs_that_are_executed_together_are_answered_one_by_one():
    backend, jobs = AerBackend(), []
    for number, (size, distilled) in enumerate(((40, 0.1), (1, 0.0), (25, 0.0))):
        tasks, blocks, _ = drawn(number, size, distilled)
        jobs.append(Job(number, tuple(tasks[:3]), blocks=tuple(blocks)))
    wrong = msgspec.structs.replace(good(), gates=Gates(2.0))
    jobs.insert(1, Job(8, (), blocks=(wrong,)))
    jobs.insert(2, Job(9, ()))
    jobs[-1] = msgspec.structs.replace(jobs[-1], blocks=(wrong, *jobs[-1].blocks))
    alone = [execute(backend, job, generator(1, "a")) for job in jobs]
    together = execute_all(backend, jobs, generator(2, "b"))
    backend.close()
    assert together == alone
    assert [type(answer) for answer in alone] == [Done, Failed, Done, Done, Done]
    assert [fault.task for fault in alone[-1].faults] == [3]


def test_only_who_reads_blocks_gets_them():
    _, blocks, _ = drawn(1, 5, 0.0)
    job = Job(2, (), blocks=tuple(blocks))
    peer = Peer(Client("w", "worker", "k" * 40), RateLimit(1.0, 1.0, now_s=0.0))
    assert peer.give(job) == spelled_out(job) != job
    peer.features = ("blocks", "resume")
    assert peer.give(job) is job
    assert peer.under_way() == [msgspec.structs.replace(job, again=True)]
    # He comes again as an older version of himself.
    peer.features = ("resume",)
    assert peer.under_way() == [msgspec.structs.replace(spelled_out(job), again=True)]


def good():
    return drawn(5, 1, 0.0)[1][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"populations": b"\0" * 8}, r"block\.populations must have shape"),
        ({"waits_s": b""}, r"block\.waits_s must have shape"),
        ({"draw": b"\0" * 16}, r"block\.draw must have shape"),
        ({"draw": np.array([1.0]).tobytes()}, r"block\.draw must be in"),
        ({"draw": np.array([np.nan]).tobytes()}, r"block\.draw must be in"),
        ({"basis": b"\x03"}, r"block\.basis must be"),
        ({"basis": b"\xfe"}, r"block\.basis must be"),
        ({"basis": b"\0\0"}, r"block\.populations must have shape"),
        ({"memory": Memory(-1.0, 1.0)}, r"memory\.t1_s"),
        ({"gates": Gates(2.0)}, r"swap\.success"),
        ({"skeleton": (("swap", 0, 1),), "populations": b"", "waits_s": b""}, "does not exist"),
        ({"skeleton": (), "populations": b"", "waits_s": b""}, "exactly one pair"),
    ],
)
def test_a_wrong_block_is_a_fault_that_names_its_field(change, said):
    block = good()
    wrong = msgspec.structs.replace(block, **change)
    with pytest.raises(InputError, match=said):
        open_block(wrong)
    done = execute(AnalyticBackend(), Job(1, (), blocks=(wrong, block)), generator(1, "x"))
    assert isinstance(done, Done)
    size = len(wrong.basis)
    assert [fault.task for fault in done.faults] == list(range(size))
    assert all(fault.code is Code.CREATE for fault in done.faults)
    right = execute(AnalyticBackend(), Job(1, (), blocks=(block,)), generator(1, "x"))
    assert done.passed == (-1,) * size + right.passed


def test_numbers_that_make_no_state_are_refused():
    block = good()
    for at, value in ((0, np.nan), (0, -0.5), (1, 2.0)):
        weights = np.frombuffer(block.populations).copy()
        weights[at] = value
        with pytest.raises(InputError, match=r"batch\.populations"):
            open_block(msgspec.structs.replace(block, populations=weights.tobytes()))
    waits = np.frombuffer(block.waits_s).copy()
    waits[0] = np.inf
    with pytest.raises(InputError, match=r"batch\.waits_s"):
        open_block(msgspec.structs.replace(block, waits_s=waits.tobytes()))


def test_a_backend_that_cannot_keep_refuses_kept_pairs():
    backend = AnalyticBackend()
    backend.keeps = False
    block = good()
    kept = msgspec.structs.replace(block, basis=b"\xff")
    failed = execute(backend, Job(1, (), blocks=(kept,)), generator(1, "x"))
    assert isinstance(failed, Failed) and failed.code is Code.UNSUPP
    assert execute(backend, Job(1, (), blocks=()), generator(1, "x")) == Done(1, ())


def test_an_empty_block_is_nothing():
    ((_, batch),) = stack([tasks_of(good())[0].program])
    none = block_of(batch.part(0, 0), np.empty(0, dtype=np.int64), np.empty(0))
    assert tasks_of(none) == []
    assert execute(AnalyticBackend(), Job(1, (), blocks=(none,)), generator(1, "x")) == Done(1, ())
