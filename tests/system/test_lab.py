"""The lab backend on a stub process: counts, estimates against the bench's truth, failures."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from one_link_rack import one_link

from backends.contract import Backend, Plan, plan_of
from backends.lab import LabBackend
from backends.rack import SHIPPED_RACK, StubProcess
from backends.service import execute
from quantum.batch import Batch, stack
from quantum.counts import Counts
from quantum.egp import Done, Failed, Job, Task
from quantum.errors import Code, DeviceError, InputError, RequestError
from quantum.estimate import estimate
from quantum.program import Basis, Distill, Generate, Measure, Program, Step, Swap, Wait
from quantum.rack import load_rack
from quantum.seeding import generator

PURE = (1.0, 0.0, 0.0, 0.0)

#: 20 bench seconds in a second: a window of 5 ms holds 320 pairs.
RACK = one_link(
    "fast",
    """
integration_s = 0.005
max_age_s = 0.5
timeout_s = 0.5
settle_s = 0.004
shared_clock = true
[instrument.stub]
seed = 11
speed = 20.0
fidelity = 0.88
""",
    address="ADDRESS",
)


def control(backend: LabBackend, **message: Any) -> dict[str, Any]:
    assert backend.stub is not None
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(backend.stub.control)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        return answer


def write_rack(folder: Path, text: str = RACK, address: str = "stub") -> Path:
    path = folder / "rack.toml"
    path.write_text(text.replace("ADDRESS", address), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabBackend]:
    backend = LabBackend(write_rack(tmp_path_factory.mktemp("rack")))
    yield backend
    backend.close()
    backend.close()


def one(*steps: Step) -> tuple[Batch, Plan]:
    program = Program((Generate(0, PURE), *steps))
    ((_, batch),) = stack([program])
    return batch, plan_of([program])


def counts_of(backend: LabBackend, shots: int, rng: np.random.Generator) -> Counts:
    batch, plan = one(Measure(0, "random", shots))
    return Counts.from_array(backend.run(batch, plan, rng).counts[0])


def test_it_is_a_backend(lab: LabBackend) -> None:
    assert isinstance(lab, Backend)
    assert not lab.keeps
    assert lab.source == "stub"


def test_intervals_cover_the_hidden_truth(lab: LabBackend) -> None:
    """Of 100 intervals of 95 % at least 87 cover; fewer has probability 5e-4 (binomial).

    Clopper-Pearson covers more than it says, so there is no upper bound to test. That the
    estimator is not merely wide is checked on the pooled counts.
    """
    truth = control(lab, do="truth")["observable_fidelity"]
    rng = generator(1, "coverage")
    total, covered = Counts(), 0
    for _ in range(100):
        counts = counts_of(lab, 300, rng)
        assert counts.shots == 300
        seen = estimate(counts)
        covered += seen.low <= truth <= seen.high
        total += counts
    assert covered >= 87
    pooled = estimate(total)
    # 30000 shots: deviation 1.5 sqrt(p (1-p) / N) = 0.0024; five of them.
    assert abs(pooled.best - truth) < 0.012


def test_a_drift_moves_the_estimate(lab: LabBackend) -> None:
    rng = generator(2, "drift")
    before = estimate(counts_of(lab, 3000, rng))
    control(lab, do="drift", step=-0.2)
    try:
        # Surplus of before the step may be used while it is young: let it grow old.
        time.sleep(0.5)
        after = estimate(counts_of(lab, 3000, rng))
        truth = control(lab, do="truth")["observable_fidelity"]
    finally:
        control(lab, do="drift", step=0.2)
        time.sleep(0.5)
    assert after.high < before.low
    # Deviation at F = 0.68 and 3000 shots is 0.011; five of them.
    assert abs(after.best - truth) < 0.056


def test_each_program_gets_its_shots_in_its_basis(lab: LabBackend) -> None:
    bases: tuple[Basis, ...] = ("xx", "yy", "zz", "random", "zz")
    shots = (1, 700, 3, 50, 0)
    programs = [
        Program((Generate(0, PURE), Wait(0, 0.0, 0.0), Measure(0, b, max(1, n))))
        for b, n in zip(bases, shots, strict=True)
    ]
    ((_, batch),) = stack(programs)
    plan = plan_of(programs)
    plan.shots[4] = 0
    out = lab.run(batch, plan, generator(3, "shots"))
    assert out.truth is None
    assert out.source == "stub"
    per_basis: NDArray[np.int64] = out.counts.sum(axis=2)
    assert per_basis[:3].tolist() == [[1, 0, 0], [0, 700, 0], [0, 0, 3]]
    assert per_basis[3].sum() == 50
    assert np.count_nonzero(per_basis[3]) == 3
    assert per_basis[4].sum() == 0
    # F = 0.88: a test passes with p = 0.92; five deviations at 700 shots are 0.052.
    assert abs(out.counts[1, 1, 0] / 700 - 0.92) < 0.052


def test_surplus_is_used_while_young_and_only_in_its_basis(
    lab: LabBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = generator(4, "surplus")
    calls = 0
    count = lab.driver.coincidences

    def counted(integration_s: float) -> Any:
        nonlocal calls
        calls += 1
        return count(integration_s)

    monkeypatch.setattr(lab.driver, "coincidences", counted)
    lab._forget()
    lab.run(*one(Measure(0, "zz", 5)), rng)
    first = calls
    lab.run(*one(Measure(0, "zz", 5)), rng)
    assert calls == first, "320 pairs were left over"
    lab.run(*one(Measure(0, "xx", 5)), rng)
    assert calls > first, "pairs measured in zz say nothing about xx"
    second = calls
    time.sleep(0.55)
    lab.run(*one(Measure(0, "zz", 5)), rng)
    assert calls > second, "surplus older than max_age_s is not used"


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Wait(0, 0.1, 0.0), Measure(0, "zz")),
        (Generate(1, PURE), Swap(0, 1), Measure(0, "zz")),
        (Generate(1, PURE), Distill(0, 1, "dejmps"), Measure(0, "random")),
    ],
)
def test_what_light_cannot_do_is_unsupported(lab: LabBackend, steps: tuple[Step, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        lab.run(*one(*steps), generator(5, "no"))
    assert caught.value.code is Code.UNSUPP


@pytest.mark.parametrize("kind", ["nan", "negative", "overflow", "garbage", "two_frames"])
def test_bad_values_never_become_counts(lab: LabBackend, kind: str) -> None:
    control(lab, do="fault", kind=kind, match="COUN?")
    rng = generator(6, kind)
    try:
        with pytest.raises(DeviceError):
            lab.run(*one(Measure(0, "random", 3000)), rng)
    finally:
        control(lab, do="clear")
    out = lab.run(*one(Measure(0, "random", 30)), rng)
    assert out.counts.sum() == 30


def test_no_light_is_an_error(lab: LabBackend) -> None:
    """A clock step of 50 ns: singles go on, coincidences end."""
    control(lab, do="skew", step_ps=50_000.0)
    try:
        with pytest.raises(DeviceError, match="check source, clock offset"):
            lab.run(*one(Measure(0, "zz", 10_000)), generator(7, "dark"))
    finally:
        control(lab, do="skew", step_ps=-50_000.0)


def test_a_killed_stub_is_a_device_error_in_time(tmp_path: Path) -> None:
    backend = LabBackend(write_rack(tmp_path))
    try:
        assert backend.stub is not None
        backend.run(*one(Measure(0, "zz", 100)), generator(8, "ok"))
        os.kill(backend.stub.pid, signal.SIGKILL)
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(DeviceError):
                backend.run(*one(Measure(0, "zz", 10_000)), generator(8, "dead"))
        # Two timeouts of 0.5 s and room for a busy machine.
        assert time.monotonic() - began < 6.0
    finally:
        backend.close()
    with pytest.raises(DeviceError, match="closed"):
        backend.run(*one(Measure(0, "zz", 1)), generator(8, "closed"))


def test_a_silent_instrument_is_left_alone_and_found_again(tmp_path: Path) -> None:
    """One failure is tried again at once, a second rests the instrument for 3 s."""
    now_s = time.monotonic()
    rng = generator(10, "silent")
    with StubProcess("id900", ["--speed", "20"]) as stub:
        backend = LabBackend(write_rack(tmp_path, address=stub.address), clock=lambda: now_s)
        try:
            backend.run(*one(Measure(0, "zz", 9)), rng)
            os.kill(stub.pid, signal.SIGSTOP)
            for _ in range(2):
                with pytest.raises(DeviceError, match="no answer"):
                    backend.run(*one(Measure(0, "yy", 9)), rng)
            os.kill(stub.pid, signal.SIGCONT)
            now_s += 2.9
            with pytest.raises(DeviceError, match=r"no answer .*; it is tried again every 3 s"):
                backend.run(*one(Measure(0, "yy", 9)), rng)
            now_s += 0.2
            assert backend.run(*one(Measure(0, "yy", 9)), rng).counts.sum() == 9
        finally:
            os.kill(stub.pid, signal.SIGCONT)
            backend.close()


def test_an_instrument_that_was_restarted_is_configured_anew(tmp_path: Path) -> None:
    skipped_s = 0.0
    rng = generator(11, "restart")
    with StubProcess("id900", ["--speed", "20"]) as stub:
        address = stub.address
        backend = LabBackend(
            write_rack(tmp_path, address=address), clock=lambda: time.monotonic() + skipped_s
        )
        backend.run(*one(Measure(0, "zz", 9)), rng)
    try:
        for _ in range(2):
            with pytest.raises(DeviceError):
                backend.run(*one(Measure(0, "yy", 999)), rng)
        with StubProcess("id900", ["--speed", "20", "--bind", address.removeprefix("tcp://")]):
            skipped_s = 4.0
            out = backend.run(*one(Measure(0, "yy", 999)), rng)
        # F = 0.93 passes with p = 0.953; five deviations at 999 shots are 0.034.
        assert abs(out.counts[0, 1, 0] / 999 - 0.953) < 0.034
    finally:
        backend.close()


def test_a_keep_request_is_unsupported(lab: LabBackend) -> None:
    keep = Task(Program((Generate(0, PURE),)), basis=-1)
    test = Task(Program((Generate(0, PURE),)), basis=2)
    refused = execute(lab, Job(7, (keep, keep)), generator(12, "keep"))
    assert isinstance(refused, Failed)
    assert (refused.job, refused.code) == (7, Code.UNSUPP)
    assert "cannot keep pairs" in refused.detail
    half = execute(lab, Job(9, (test, keep)), generator(12, "keep"))
    assert isinstance(half, Done)
    assert half.passed[0] in (0, 1) and half.passed[1] == -1
    assert [(fault.task, fault.code) for fault in half.faults] == [(1, Code.UNSUPP)]
    done = execute(lab, Job(8, (test, test)), generator(12, "test"))
    assert isinstance(done, Done)
    assert set(done.passed) <= {0, 1}
    assert done.fidelity == ()
    assert done.source_of_truth == "stub"


def test_a_rack_with_an_address(lab: LabBackend, tmp_path: Path) -> None:
    assert lab.stub is not None
    other = LabBackend(write_rack(tmp_path, address=lab.stub.address))
    try:
        assert other.stub is None
        # The address does not say so, but the serial number does.
        assert other.source == "stub"
        assert other.run(*one(Measure(0, "yy", 9)), generator(9, "tcp")).counts.sum() == 9
    finally:
        other.close()
    # Two users of one instrument change its basis under each other: configure anew.
    lab._forget()


def test_racks_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind 'abacus' is unknown"):
        LabBackend(write_rack(tmp_path, RACK.replace('"id900"', '"abacus"')))
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        LabBackend(write_rack(tmp_path, address="somewhere"))
    with pytest.raises(InputError, match="link must be 0 to 0"):
        LabBackend(write_rack(tmp_path), link=1)
    more = '[[node]]\nname = "c"\n[[link]]\nbetween = ["a", "c"]\ninstrument = "tagger"\n'
    two = RACK.replace("[instrument.stub]", more + "rate_hz = 1.0\nfidelity = 0.9\n")
    head, _, _ = two.partition("seed = 11")
    with pytest.raises(InputError, match="2 links: say which, 0 to 1"):
        LabBackend(write_rack(tmp_path, head))
    broken = RACK + 'scenario = "missing.toml"\n'
    with pytest.raises(DeviceError, match="cannot read scenario"):
        LabBackend(write_rack(tmp_path, broken))


def test_the_shipped_rack_makes_a_network() -> None:
    network = load_rack(SHIPPED_RACK).network
    assert network.nodes == ("alice", "bob")
    assert network.links.tolist() == [[0, 1]]
    assert network.generation_hz.tolist() == [3000.0, 3000.0]
    assert network.populations[0, 0] == pytest.approx(0.93)
