"""Histograms and time tags of the ID900 driver against the stub process."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from backends.drivers.id900 import ID900
from backends.drivers.id900_datalink import DataLink
from backends.drivers.id900_tags import Tags
from backends.drivers.peaks import differences, find_peak
from backends.rack import StubProcess
from quantum.errors import (
    DeviceError,
    DeviceLimit,
    DeviceProtocol,
    DeviceTimeout,
    InputError,
)

#: 20 bench seconds in a second: sub-acquisitions of 0.2 s are over in 10 ms.
SCENARIO = "[bench]\nrate_hz = 20000.0\nfidelity = 1.0\nskew_ps = -3700.0\n"
SKEW_PS = -3700.0
WINDOW_S = 0.005


def control(address: str, **message: Any) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        return answer


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubProcess]:
    scenario = tmp_path_factory.mktemp("tags") / "skewed.toml"
    scenario.write_text(SCENARIO)
    with StubProcess("id900", ["--speed", "20", "--scenario", str(scenario)]) as process:
        yield process


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    before = set(os.listdir("/proc/self/fd"))
    yield shared
    assert control(shared.control, do="clear")["ok"]
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a test left descriptors open"


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[ID900]:
    device = ID900(stub.address, timeout_s=1.0, settle_s=0.004, shared_clock=True)
    device.configure(WINDOW_S)
    device.set_basis("zz")
    yield device
    device.close()


@pytest.fixture
def link(stub: StubProcess) -> Iterator[DataLink]:
    assert stub.datalink is not None
    service = DataLink(stub.datalink, timeout_s=1.0)
    yield service
    assert service.list() == [], "a test left an acquisition running"
    service.close()
    service.close()


def test_the_found_peak_brings_the_pairs_back(driver: ID900) -> None:
    """At a skew of 3.7 ns the window of 2 ns is empty, until it is moved to where the peak is."""
    before = driver.coincidences(WINDOW_S)
    seen = driver.histogram(1, 3, begin_ps=-20_000, bin_ps=100, bins=400, seconds=0.2)
    peak = find_peak(seen.counts, seen.begin_ps, seen.bin_ps)
    assert peak is not None
    assert peak.centre_ps == pytest.approx(SKEW_PS, abs=5.0 * peak.centre_error_ps)
    driver.set_skew_ps(round(peak.centre_ps))
    after = driver.coincidences(WINDOW_S)
    # 320 pairs are expected after it, accidentals before it.
    assert before.even + before.odd < 20
    assert after.even + after.odd > 230
    assert after.odd < 20
    # Configured anew, as after a restart, it is still there.
    driver.configure(WINDOW_S)
    driver.set_basis("zz")
    assert driver.coincidences(WINDOW_S).even > 230


def test_a_positive_skew_opens_the_window_later(stub: StubProcess, driver: ID900) -> None:
    control(stub.control, do="skew", step_ps=9000.0)
    try:
        driver.set_skew_ps(5300)
        seen = driver.coincidences(WINDOW_S)
        assert seen.even > 230
        with pytest.raises(DeviceLimit, match="skew_ps"):
            driver.set_skew_ps(2_000_000_000)
    finally:
        control(stub.control, do="skew", step_ps=-9000.0)


def test_histograms_are_fresh(stub: StubProcess, driver: ID900) -> None:
    asked = {"begin_ps": -20_000, "bin_ps": 100, "bins": 400, "seconds": 0.05}
    first = driver.histogram(1, 3, **asked)
    assert first.not_after_s - first.not_before_s >= 0.05
    assert first.counts.sum() > 100
    control(stub.control, do="fault", kind="frozen")
    with pytest.raises(DeviceTimeout, match="not empty after a flush"):
        driver.histogram(1, 3, **asked)


@pytest.mark.parametrize("fault", ["garbage", "not_text", "negative", "nan", "short_chain"])
def test_histograms_are_lists_of_counts(stub: StubProcess, driver: ID900, fault: str) -> None:
    control(stub.control, do="fault", kind=fault, match="DATA?")
    with pytest.raises(DeviceProtocol):
        driver.histogram(1, 3, begin_ps=0, bin_ps=100, bins=400, seconds=0.01)


@pytest.mark.parametrize(
    "wrong", [{"late": 0}, {"early": 5}, {"bins": 16_384}, {"bin_ps": 0}, {"seconds": 0.0}]
)
def test_histograms_that_cannot_be_are_refused(driver: ID900, wrong: dict[str, Any]) -> None:
    asked = {"late": 1, "early": 3, "begin_ps": 0, "bin_ps": 1, "bins": 8, "seconds": 0.01}
    with pytest.raises(DeviceLimit, match=next(iter(wrong))):
        driver.histogram(**{**asked, **wrong})


def test_tags_of_all_inputs(driver: ID900, link: DataLink) -> None:
    seen: dict[int, list[Tags]] = {}
    for tags in driver.tags(link, sub_s=0.2, subs=5):
        seen.setdefault(tags.channel, []).append(tags)
    assert {n: [t.number for t in row] for n, row in seen.items()} == {
        n: list(range(5)) for n in (1, 2, 3, 4)
    }
    times = {n: np.concatenate([t.record_ps for t in row]) for n, row in seen.items()}
    for row in times.values():
        # 4100 clicks a second for a second: five deviations are 320.
        assert len(row) == pytest.approx(4100, abs=320)
        assert (np.diff(row.astype(np.int64)) > 0).all()
    peak = find_peak(differences(times[1], times[3], -20_000, 100, 400), -20_000.0, 100.0)
    assert peak is not None
    assert peak.centre_ps == pytest.approx(SKEW_PS, abs=5.0 * peak.centre_error_ps)
    # A perfect phi_plus in ZZ: + never meets -.
    assert differences(times[1], times[4], round(SKEW_PS) - 500, 1000, 1)[0] < 10


def test_tags_with_a_reference(driver: ID900, link: DataLink) -> None:
    (tags,) = driver.tags(link, (1,), reference=3)
    assert tags.indices is not None
    assert len(tags.indices) == len(tags.times_ps) > 600
    assert (np.diff(tags.indices.astype(np.int64)) >= 0).all()
    # 4100 pulses a second: most tags lie less than a millisecond behind their reference.
    assert np.median(tags.times_ps) < 1e9


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("tags_twice", DeviceProtocol, "the same tags came before"),
        ("tags_cut", DeviceProtocol, "no row of 8-byte tags"),
        ("tags_unsorted", DeviceProtocol, "not in order"),
        ("tags_lost", DeviceTimeout, "channel 1 has 2 of 3"),
        ("overflow_latch", DeviceTimeout, "timestamps were lost"),
    ],
)
def test_tags_that_are_wrong_are_never_passed_on(
    shared: StubProcess, stub: StubProcess, fault: str, error: type[DeviceError], said: str
) -> None:
    assert shared.datalink is not None
    driver, link = ID900(stub.address), DataLink(shared.datalink)
    try:
        driver.configure(WINDOW_S)
        driver.set_basis("zz")
        control(stub.control, do="fault", kind=fault, left=1)
        if fault == "overflow_latch":
            # The unit overflows while it counts; what is read then is frozen, or still of before.
            with contextlib.suppress(DeviceError):
                driver.coincidences(WINDOW_S)
        with pytest.raises(error, match=said):
            list(driver.tags(link, (1,), subs=3, patience_s=0.2))
        assert link.list() == []
    finally:
        control(stub.control, do="power_cycle")
        driver.close()
        link.close()


def test_a_reader_that_leaves_stops_the_record(driver: ID900, link: DataLink) -> None:
    for tags in driver.tags(link, (1, 2), subs=1000):
        if tags.number == 2:
            break
    assert link.list() == []
    # The next record is a new one.
    assert [t.number for t in driver.tags(link, (1,), subs=2)] == [0, 1]


def test_two_readers_do_not_share(stub: StubProcess, driver: ID900, link: DataLink) -> None:
    reader = driver.tags(link, (1,), subs=1000)
    next(reader)
    second = ID900(stub.address)
    try:
        second.configure(WINDOW_S)
        with pytest.raises(DeviceError, match="in use"):
            next(second.tags(link, (2,)))
    finally:
        second.close()
        reader.close()


def test_records_that_cannot_be_are_refused(driver: ID900, link: DataLink) -> None:
    with pytest.raises(DeviceLimit, match="sub_s"):
        next(driver.tags(link, sub_s=0.1))
    with pytest.raises(DeviceLimit, match="channel"):
        next(driver.tags(link, (5,)))
    with pytest.raises(InputError, match="channels"):
        next(driver.tags(link, (1, 1)))


def dawdle(reader: Iterator[Tags], link: DataLink) -> None:
    """Take one message, then none until the service says that it lost some, then the rest."""
    for tags in reader:
        if tags.number > 0:
            continue
        (acquisition,) = link.list()
        until = time.monotonic() + 60.0
        while not link.status(acquisition).errors:
            assert time.monotonic() < until, "the service lost nothing"
            time.sleep(0.02)


def test_a_slow_reader_is_told_what_was_lost(tmp_path: Path) -> None:
    """Behind what the service and the sockets hold tags are lost, and it says.

    The record is 60 MB: more than the kernel gives the buffers of a connection.
    """
    scenario = tmp_path / "bright.toml"
    scenario.write_text("[bench]\nrate_hz = 500000.0\n")
    with StubProcess("id900", ["--speed", "20", "--scenario", str(scenario)]) as process:
        assert process.datalink is not None
        driver, link = ID900(process.address), DataLink(process.datalink)
        try:
            driver.configure(WINDOW_S)
            with pytest.raises(DeviceError, match=r"lost|\d+ of \d+"):
                dawdle(driver.tags(link, (1,), subs=100, patience_s=2.0), link)
        finally:
            driver.close()
            link.close()
