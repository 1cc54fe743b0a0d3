"""Links through switch, plates and detectors: real drivers, stubs on one bench, every fault once.

One rack of two links serves the tests of this file in turn; each leaves it as it found it. What is
true is read from the bench, over a socket that no instrument has.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_rack import control, write_small_rack

from backends.contract import Backend, Plan, plan_of
from backends.lab import open_lab
from backends.laboratory.backend import LaboratoryBackend
from backends.laboratory.diagnosis import Health
from backends.service import execute
from quantum.batch import Batch, stack
from quantum.counts import Counts
from quantum.egp import Done, Failed, Job, Task
from quantum.errors import Code, DeviceError, InputError, RequestError
from quantum.estimate import estimate
from quantum.program import Generate, Measure, Program
from quantum.seeding import generator

PURE = (1.0, 0.0, 0.0, 0.0)
NORTH, EAST = 0, 1


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaboratoryBackend]:
    """Two links behind fibres that turn the polarisation at random; calibrated at the start."""
    backend = LaboratoryBackend(write_small_rack(tmp_path_factory.mktemp("rack")))
    yield backend
    backend.close()
    backend.close()


def bench(lab: LaboratoryBackend, **message: Any) -> dict[str, Any]:
    assert lab.stubs is not None
    return control(lab.stubs.bench, **message)


def tell(lab: LaboratoryBackend, instrument: str, **message: Any) -> dict[str, Any]:
    assert lab.stubs is not None
    return control(lab.stubs.controls[instrument], **message)


def truth(lab: LaboratoryBackend, link: int) -> float:
    return float(bench(lab, do="truth", link=lab.names[link])["observable_fidelity"])


def asked(link: int, shots: int, basis: str = "random") -> tuple[Batch, Plan]:
    program = Program((Generate(0, PURE), Measure(0, basis, shots)))  # type: ignore[arg-type]
    ((_, batch),) = stack([program])
    plan = plan_of([program])
    return batch, Plan(plan.basis, plan.shots, plan.draw, plan.basis * 0 + link)


def counts_of(lab: LaboratoryBackend, link: int, shots: int, key: str) -> Counts:
    out = lab.run(*asked(link, shots), generator(1, key))
    assert out.truth is None
    return Counts.from_array(out.counts[0])


def work(lab: LaboratoryBackend, ready: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Let the backend do what it does between requests until something is so."""
    until = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < until, [(s.health, s.reason) for s in lab.states]
        if not lab.idle():
            time.sleep(0.01)


def all_up(lab: LaboratoryBackend) -> bool:
    return all(state.health is Health.UP for state in lab.states)


def falls(lab: LaboratoryBackend, link: int) -> str:
    """Wait until a link is not UP any more, and return why."""
    work(lab, lambda: lab.states[link].health is not Health.UP)
    return lab.states[link].reason


def test_it_calibrates_from_counts_alone(lab: LaboratoryBackend) -> None:
    assert isinstance(lab, Backend)
    assert (lab.name, lab.keeps, lab.source) == ("lab", False, "stub")
    assert all_up(lab)
    for link in (NORTH, EAST):
        assert truth(lab, link) > 0.92
    north, east = lab.calibrations[-2:]
    assert (north.name, east.name) == ("hub-north-1", "hub-east-1")
    # The peak is known to a bin of 100 ps, and the true skews are these.
    assert abs(north.skew_ps - 200) < 100
    assert abs(east.skew_ps + 300) < 100
    # Klyshko: half of the light, 0.8 of the detectors, 1 dB of the switch.
    expected = 0.5 * 0.8 * 10.0**-0.1
    assert north.heralding == pytest.approx((expected, expected), rel=0.1)


@pytest.mark.parametrize("trials", [40, pytest.param(200, marks=pytest.mark.long)])
def test_intervals_cover_the_hidden_truth(lab: LaboratoryBackend, trials: int) -> None:
    """Estimates through real drivers against the bench; binomial bounds at 1e-3 or less."""
    total, covered = {NORTH: Counts(), EAST: Counts()}, 0
    true = {link: truth(lab, link) for link in total}
    for trial in range(trials):
        link = trial % 2
        counts = counts_of(lab, link, 300, f"coverage {trial}")
        assert counts.shots == 300
        seen = estimate(counts)
        covered += seen.low <= true[link] <= seen.high
        total[link] += counts
    # At 95 %: 33 or fewer of 40 has probability 3e-3, 180 or fewer of 200 has 3e-3.
    assert covered > (33 if trials == 40 else 180)
    for link, counts in total.items():
        # p = (1 + 2F)/3 has deviation sqrt(p (1-p) / N); F three halves of it; five of them.
        p = (1.0 + 2.0 * true[link]) / 3.0
        wide = 5.0 * 1.5 * (p * (1.0 - p) / counts.shots) ** 0.5
        assert abs(estimate(counts).best - true[link]) < wide


def test_each_task_gets_pairs_of_its_link(lab: LaboratoryBackend) -> None:
    program = Program((Generate(0, PURE),))
    tasks = tuple(Task(program, basis, 0.5, link) for link in (NORTH, EAST) for basis in range(3))
    done = execute(lab, Job(5, tasks), generator(2, "links"))
    assert isinstance(done, Done)
    assert set(done.passed) <= {0, 1}
    assert done.faults == ()
    assert done.calibration == ("hub-north-1",) * 3 + ("hub-east-1",) * 3
    assert done.source_of_truth == "stub"
    nameless = execute(lab, Job(6, (Task(program, 2),)), generator(2, "links"))
    assert isinstance(nameless, Failed)
    assert "2 links: say which, 0 to 1" in nameless.detail
    kept = execute(lab, Job(7, (Task(program, -1, 0.0, NORTH),)), generator(2, "links"))
    assert isinstance(kept, Failed)
    assert kept.code is Code.UNSUPP


def test_a_jump_of_the_polarisation_is_compensated(lab: LaboratoryBackend) -> None:
    """DEGRADED, then UP; no pair in between; the other link goes on."""
    bench(lab, do="jump", link="hub-north", turn_deg=[90.0, 0.0, 0.0])
    assert truth(lab, NORTH) < 0.6
    assert "state" in falls(lab, NORTH)
    given = refused = 0
    until = time.monotonic() + 60.0
    while lab.states[NORTH].health is not Health.UP:
        assert time.monotonic() < until
        lab.idle()
        if lab.states[NORTH].health is Health.UP:
            break
        with pytest.raises(DeviceError, match="link hub-north is DEGRADED"):
            lab.run(*asked(NORTH, 1), generator(3, "between"))
        refused += 1
        if refused % 10 == 1:
            given += int(lab.run(*asked(EAST, 3), generator(3, "east")).counts.sum())
    assert refused > 3
    assert given >= 3
    assert truth(lab, NORTH) > 0.92
    assert lab.calibrations[-1].link == "hub-north"
    assert lab.calibrations[-1].probes > 0


def test_a_clock_that_slips_is_a_matter_of_timing(lab: LaboratoryBackend) -> None:
    """A step of 5 ns: singles as ever, coincidences gone. The optics are left alone."""
    before = [lab.station.voltages_mv(link) for link in (NORTH, EAST)]
    known = len(lab.calibrations)
    bench(lab, do="skew", step_ps=5000.0)
    try:
        work(lab, lambda: len(lab.calibrations) == known + 2 and all_up(lab))
        found = lab.calibrations[known:]
        assert {c.cause for c in found} == {"timing"}
        assert [c.probes for c in found] == [0, 0]
        assert sorted(c.skew_ps for c in found) == pytest.approx([4700, 5200], abs=100)
        assert [lab.station.voltages_mv(link) for link in (NORTH, EAST)] == before
    finally:
        bench(lab, do="skew", step_ps=-5000.0)
        work(lab, lambda: len(lab.calibrations) == known + 4 and all_up(lab))


@pytest.mark.long
def test_a_source_that_fades_is_not_hidden(lab: LaboratoryBackend) -> None:
    """No compensation can help: the link gives nothing until the source is well again."""
    bench(lab, do="drift", link="hub-east", step=-0.3)
    try:
        falls(lab, EAST)
        work(lab, lambda: lab.states[EAST].health is Health.DOWN)
        assert re.search(r"a fidelity of 0\.7\d+ is what was reached", lab.states[EAST].reason)
        with pytest.raises(DeviceError, match="hub-east is DOWN"):
            lab.run(*asked(EAST, 1), generator(4, "down"))
        assert lab.run(*asked(NORTH, 9), generator(4, "north")).counts.sum() == 9
    finally:
        bench(lab, do="drift", link="hub-east", step=0.3)
    work(lab, lambda: all_up(lab))
    assert truth(lab, EAST) > 0.92


def test_a_latched_detector_is_brought_back(lab: LaboratoryBackend) -> None:
    bench(lab, do="latch", detector=1)
    work(lab, lambda: not all_up(lab))
    work(lab, lambda: all_up(lab))
    assert bench(lab, do="state")["settings"]["latched"] == [False] * 4
    assert any("[2] had latched" in note for c in lab.calibrations for note in c.mended)


@pytest.mark.parametrize("where", ["bench", "switch"])
def test_a_connection_that_was_not_made_is_seen_by_its_light(
    lab: LaboratoryBackend, where: str
) -> None:
    """The read-back is right, and no light arrives; or the light comes out elsewhere."""
    if where == "bench":
        bench(lab, do="misroute", input=2, output=-1)
        link = EAST
    else:
        tell(lab, "switch", do="fault", kind="wrong_port", left=1)
        link = -1
    work(lab, lambda: not all_up(lab))
    reasons = [state.reason for state in lab.states]
    assert any("switch" in reason or "dark arm" in reason for reason in reasons), reasons
    if link >= 0:
        assert lab.states[link].health is not Health.UP
        bench(lab, do="misroute", input=2)
    work(lab, lambda: all_up(lab))


def test_a_controller_that_restarted_is_set_again_without_a_search(lab: LaboratoryBackend) -> None:
    # A search that is under way has other voltages at every step.
    work(lab, lambda: all_up(lab))
    meant = lab.station.voltages_mv(NORTH)
    known = len(lab.calibrations)
    tell(lab, "epc-north", do="power_cycle")
    work(lab, lambda: lab.states[NORTH].health is not Health.UP)
    work(lab, lambda: all_up(lab))
    assert lab.station.drivers["epc-north"].voltages_mv() == meant
    (found,) = lab.calibrations[known:]
    assert found.probes == 0
    assert "epc-north was at [0, 0, 0, 0] mV" in found.mended[0]


def test_a_scrambling_controller_is_stopped(lab: LaboratoryBackend) -> None:
    lab.station.drivers["epc-east"]._ask("MAC")
    falls(lab, EAST)
    work(lab, lambda: all_up(lab))
    assert "epc-east was scrambling" in lab.calibrations[-1].mended
    assert truth(lab, EAST) > 0.92


@pytest.mark.parametrize("instrument", ["alice-half", "nanowires", "tagger", "switch"])
def test_an_instrument_that_restarted_is_set_up_and_proved(
    lab: LaboratoryBackend, instrument: str
) -> None:
    tell(lab, instrument, do="power_cycle")
    if instrument != "switch":  # its connections are made anew at every change of the link
        work(lab, lambda: not all_up(lab))
    work(lab, lambda: all_up(lab))
    assert lab.run(*asked(NORTH, 30), generator(5, instrument)).counts.sum() == 30
    for link in (NORTH, EAST):
        seen = estimate(counts_of(lab, link, 600, f"after {instrument}"), confidence=1.0 - 1e-6)
        assert seen.low <= truth(lab, link) <= seen.high


@pytest.mark.parametrize("kind", ["nan", "negative", "overflow", "garbage"])
def test_bad_values_never_become_counts(lab: LaboratoryBackend, kind: str) -> None:
    tell(lab, "tagger", do="fault", kind=kind, match="COUN?")
    try:
        with pytest.raises(DeviceError):
            lab.run(*asked(NORTH, 100_000), generator(6, kind))
        with pytest.raises(DeviceError, match=r"is DEGRADED|is DOWN"):
            lab.run(*asked(NORTH, 1), generator(6, kind))
    finally:
        tell(lab, "tagger", do="clear")
    work(lab, lambda: all_up(lab))


def test_counters_that_repeat_themselves_make_estimates_old(lab: LaboratoryBackend) -> None:
    clock, skipped = lab._clock, 0.0
    lab._clock = lambda: clock() + skipped
    tell(lab, "tagger", do="fault", kind="frozen")
    try:
        with pytest.raises(DeviceError, match="no fresh window"):
            lab.run(*asked(EAST, 100_000), generator(7, "frozen"))
        north = lab.status()[NORTH]
        assert north.health is Health.UP
        assert north.estimate.age_s < 30.0
        skipped = lab.policy.max_age_s + 1.0
        told = lab.status()[NORTH]
        assert told.health is Health.DEGRADED
        assert "not measured for" in told.reason
    finally:
        lab._clock = clock
        tell(lab, "tagger", do="clear")
    work(lab, lambda: all_up(lab))


def test_a_process_that_hangs_times_out_and_is_found_again(lab: LaboratoryBackend) -> None:
    assert lab.stubs is not None
    threads = threading.active_count()
    os.kill(lab.stubs.pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(DeviceError):
            lab.run(*asked(NORTH, 100_000), generator(8, "stopped"))
        # Whichever instrument was being asked waits for its answer, and tries to stop its axis.
        assert time.monotonic() - began < 15.0
    finally:
        os.kill(lab.stubs.pid, signal.SIGCONT)
    work(lab, lambda: all_up(lab))
    assert threading.active_count() <= threads + 4


def test_an_open_interlock_ends_requests_for_good(lab: LaboratoryBackend) -> None:
    """The last test on this rack: nothing shines again before a new start."""
    bench(lab, do="interlock", closed=False)
    with pytest.raises((DeviceError, RequestError)):
        lab.run(*asked(NORTH, 100_000), generator(9, "open"))
    work(lab, lambda: bool(lab.station.tripped))
    bench(lab, do="interlock", closed=True)
    for _ in range(20):
        lab.idle()
    with pytest.raises(RequestError, match="the interlock of shutter was open") as caught:
        lab.run(*asked(NORTH, 1), generator(9, "closed again"))
    assert caught.value.code is Code.REJECTED
    assert bench(lab, do="state")["settings"]["shutter_open"] is False


def test_racks_that_cannot_be_opened(tmp_path: Path) -> None:
    path = write_small_rack(tmp_path)
    text = path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="link must be 0 to 1, got 2"):
        open_lab(path, link=2)
    path.write_text(text.replace('kind = "epc"', 'kind = "apt"', 1), encoding="utf-8")
    with pytest.raises(DeviceError, match="only the stub epc can squeeze a fibre here"):
        open_lab(path)
    settings = '[[instrument]]\nname = "switch"\n'
    more = text.replace(settings, settings + "settings = { colour = 3 }\n")
    path.write_text(more, encoding="utf-8")
    with pytest.raises(InputError, match=r"settings\.colour is no setting of kind polatis"):
        open_lab(path)
