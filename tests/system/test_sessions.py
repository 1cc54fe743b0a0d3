"""Recorded sessions: the same drivers and values without instruments; differences are found."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from one_link_rack import one_link

from backends.contract import plan_of
from backends.drivers.capabilities import Coincidences
from backends.drivers.conformance.capability import capabilities_of
from backends.drivers.id900 import ID900
from backends.drivers.sessions import Recording, Replay, expand
from backends.lab import LabBackend
from backends.rack import StubProcess, open_instrument
from quantum.batch import stack
from quantum.errors import DeviceTimeout, InputError, RecordError
from quantum.program import Generate, Measure, Program
from quantum.rack import InstrumentEntry
from quantum.seeding import generator

WINDOW_S = 0.005
RACK = one_link(
    "fast",
    """
integration_s = 0.005
settle_s = 0.004
shared_clock = true
[instrument.stub]
seed = 11
speed = 20.0
fidelity = 0.88
""",
)


@pytest.fixture(scope="module")
def stub() -> Iterator[StubProcess]:
    with StubProcess("id900", ["--speed", "20"]) as process:
        yield process


def measured(driver: ID900) -> list[Coincidences]:
    driver.identify()
    driver.configure(WINDOW_S)
    windows = []
    for basis in ("zz", "xx"):
        driver.set_basis(basis)
        windows.append(driver.coincidences(WINDOW_S))
    driver.safe_state()
    return windows


@pytest.fixture(scope="module")
def recorded(
    stub: StubProcess, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Coincidences]]:
    path = tmp_path_factory.mktemp("sessions") / "one.jsonl"
    session = Recording(path)
    time_of = session.instrument("tagger", stub.address)
    driver = ID900(
        stub.address, settle_s=0.004, clock=time_of.clock, sleep=time_of.sleep, shared_clock=True
    )
    try:
        return path, measured(driver)
    finally:
        driver.close()
        session.close()


def replayed(path: Path, **changes: Any) -> ID900:
    session = Replay(path)
    try:
        address = session.address_of("tagger")
        time_of = session.instrument("tagger", address)
        settings = {"settle_s": 0.004, "shared_clock": True} | changes
        return ID900(address, clock=time_of.clock, sleep=time_of.sleep, **settings)
    finally:
        session.close()


def test_a_replay_gives_the_same_values_and_dates(
    recorded: tuple[Path, list[Coincidences]],
) -> None:
    path, seen = recorded
    begin = time.monotonic()
    again = measured(replayed(path))
    # Dates of the windows included: they come from the recorded clock.
    assert again == seen
    assert time.monotonic() - begin < 1.0


def test_everything_that_was_recorded_must_happen(
    recorded: tuple[Path, list[Coincidences]],
) -> None:
    session = Replay(recorded[0])
    try:
        with pytest.raises(RecordError, match="did not happen"):
            session.finish()
    finally:
        session.close()


def test_the_first_byte_that_differs_is_named(recorded: tuple[Path, list[Coincidences]]) -> None:
    driver = replayed(recorded[0], threshold_v=0.7)
    driver.identify()
    with pytest.raises(RecordError, match=r"byte 13 differs, recorded 'INPU1:THRE 0\.5V.*0\.7V"):
        driver.configure(WINDOW_S)


def test_another_act_than_the_recorded_one_is_named(
    recorded: tuple[Path, list[Coincidences]],
) -> None:
    driver = replayed(recorded[0])
    with pytest.raises(RecordError, match=r"recorded is .*\*IDN"):
        driver._sleep(1.0)


def test_a_driver_that_goes_on_longer_is_stopped(
    recorded: tuple[Path, list[Coincidences]],
) -> None:
    driver = replayed(recorded[0])
    measured(driver)
    with pytest.raises(RecordError, match="is over"):
        driver.identify()


@pytest.mark.parametrize("place", [1, 7, 40, -2])
@pytest.mark.parametrize("damage", ["byte", "gone", "twice"])
def test_damage_is_found(
    recorded: tuple[Path, list[Coincidences]], tmp_path: Path, place: int, damage: str
) -> None:
    lines = recorded[0].read_bytes().splitlines(keepends=True)
    if damage == "byte":
        line = bytearray(lines[place])
        line[len(line) // 2] ^= 1
        lines[place] = bytes(line)
    elif damage == "gone":
        del lines[place]
    else:
        lines.insert(place, lines[place])
    (tmp_path / "damaged.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(RecordError, match="line"):
        Replay(tmp_path / "damaged.jsonl")


def test_a_session_that_was_cut_off_is_known(
    recorded: tuple[Path, list[Coincidences]], tmp_path: Path
) -> None:
    whole = recorded[0].read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[: len(whole) // 2])
    session = Replay(tmp_path / "cut.jsonl")
    assert not session.complete
    session.close()


@pytest.mark.parametrize("body", [b"", b"nonsense\n", b'{"format":"other","v":1,"h":"x"}\n'])
def test_other_files_are_no_sessions(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "other").write_bytes(body)
    with pytest.raises(RecordError):
        Replay(tmp_path / "other")


def test_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(InputError, match="exists"):
        Recording(tmp_path / "there")
    assert (tmp_path / "there").read_text() == "precious"


def test_failures_are_replayed_too(tmp_path: Path) -> None:
    """A stub that does not answer once: the driver's error and its recovery come again."""
    scenario = tmp_path / "silent.toml"
    scenario.write_text(
        '[[event]]\nat_s = 0.0\nmessage = { do = "fault", kind = "no_reply", left = 1 }\n'
    )
    with StubProcess("id900", ["--scenario", str(scenario)]) as process:
        said = []
        for session in (Recording(tmp_path / "s"), None):
            session = session or Replay(tmp_path / "s")
            at = process.address if not session.replays else session.address_of("tagger")
            channel = session.instrument("tagger", at)
            driver = ID900(at, timeout_s=0.2, clock=channel.clock, sleep=channel.sleep)
            with pytest.raises(DeviceTimeout) as wrong:
                driver.identify()
            said.append((str(wrong.value), driver.identify()))
            driver.close()
            session.close()
    assert said[0] == said[1]


def test_a_rack_replays_to_equal_counts(tmp_path: Path) -> None:
    rack = tmp_path / "rack.toml"
    rack.write_text(RACK)
    program = Program((Generate(0, (1.0, 0.0, 0.0, 0.0)), Measure(0, "random", 300)))
    ((_, batch),) = stack([program])
    plan = plan_of([program])
    counts, sources, took = [], [], []
    for session in (Recording(tmp_path / "s.jsonl"), None):
        session = session or Replay(tmp_path / "s.jsonl")
        backend = LabBackend(rack, session=session)
        begin = time.monotonic()
        rng = generator(5, "lab")
        try:
            counts.append([backend.run(batch, plan, rng).counts.tolist() for _ in range(8)])
        finally:
            backend.close()
            session.close()
        took.append(time.monotonic() - begin)
        sources.append(backend.source)
        if session.replays:
            session.finish()
            assert backend.stub is None
    assert counts[0] == counts[1]
    assert sources == ["stub", "stub"]
    assert took[1] < took[0] / 2


@pytest.mark.parametrize(
    "kind",
    [
        "polatis",
        "scpi",
        *(pytest.param(k, marks=pytest.mark.long) for k in ("websq", "apt", "epc", "pc_rpc")),
    ],
)
def test_every_kind_replays(tmp_path: Path, kind: str) -> None:
    """What a driver of each kind reads comes again, from the same clock, without its stub."""
    entry = InstrumentEntry(name="one", kind=kind, address="stub")
    seen = []
    for session in (Recording(tmp_path / "s.jsonl"), None):
        session = session or Replay(tmp_path / "s.jsonl")
        driver, stub = open_instrument(entry, tmp_path, session)
        try:
            seen.append([driver.identify()])
            driver.ping()
            if kind == "websq":
                seen[-1].append(driver.rates())
            seen[-1] += [one.read(driver) for one in capabilities_of(driver) if kind != "apt"]
            driver.safe_state()
        finally:
            driver.close()
            session.close()
            if stub is not None:
                stub.close()
        assert (stub is None) == session.replays
    assert seen[0] == seen[1]
    session.finish()


def test_expand() -> None:
    assert expand("serial:///dev/ttyUSB0?baud=9600") == {"serial:///dev/ttyUSB0"}
    assert "tcp://[::1]:5025" in expand("tcp://[::1]:5025")
