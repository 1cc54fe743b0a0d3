"""The DataLink service and the recorder without sockets: records, tags, references, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_stubs.bench import Bench, Optics
from firmware_stubs.faults import Fault, FaultPlan
from firmware_stubs.id900 import ID900
from firmware_stubs.id900_datalink import DataLink

ON = ";:".join(f"INPU{n}:ENAB ON" for n in range(1, 5))
STREAM = "start-stream --address 10.0.0.1 --channel {} --stream-port 4242"


def instrument(optics: Optics | None = None) -> tuple[ID900, FaultPlan]:
    faults = FaultPlan()
    device = ID900(Bench(optics or Optics(), seed=1), faults=faults)
    device.answer(ON, 0.0)
    return device, faults


def service(device: ID900, faults: FaultPlan, folder: Path | None = None) -> DataLink:
    return DataLink(device.recorder, device.setting, faults, folder=folder)


def prepare(device: ID900, *channels: int, record: str = "REC:NUMB 1;DUR 200 GTB") -> None:
    for n in channels:
        device.answer(f"RAW{n}:STOP:LINK INPU{n};:RAW{n}:REF:LINK NONE;:RAW{n}:SEND ON", 0.0)
    device.answer(record, 0.0)


def words(body: bytes) -> np.ndarray:
    return np.frombuffer(body, dtype="<u8")


def test_a_record_from_begin_to_end() -> None:
    device, faults = instrument()
    link = service(device, faults)
    prepare(device, 2)
    assert link.answer("list", 0.0) == "[]"
    name = json.loads(link.answer(STREAM.format(2), 0.0))["id"]
    assert json.loads(link.answer("list", 0.0)) == [name]
    assert device.answer("REC:PLAY;STAG?", 1.0) == "PLAYING"
    assert link.due(1.1) == []
    ((acquisition, body),) = link.due(1.25)
    assert device.answer("REC:STAG?", 1.25) == "IDLE"
    times = words(body)
    # 4100 clicks a second for 0.2 s.
    assert 600 < len(times) < 1100
    assert (np.diff(times.astype(np.int64)) > 0).all()
    assert times.max() < 0.2e12
    assert acquisition.port == 4242
    status = json.loads(link.answer(f"status --id {name}", 2.25))
    assert status["acquisitions_count"] == 1
    assert status["timestamps_count"] == len(times)
    assert status["inactivity"] == pytest.approx(1.0)
    assert status["errors"] == []
    assert json.loads(link.answer(f"stop --id {name}", 2.25))["status"]["acquisitions_count"] == 1
    assert link.answer("list", 2.25) == "[]"


def test_sub_acquisitions_count_from_their_own_begin() -> None:
    device, faults = instrument()
    link = service(device, faults)
    prepare(device, 1, record="REC:NUMB 3;PWID 200 GTB;PPER 200100 MTB")
    link.answer(STREAM.format(1), 0.0)
    device.answer("REC:PLAY", 0.0)
    bodies = [words(body) for _, body in link.due(0.65)]
    assert len(bodies) == 3
    assert all(body.max() < 0.2e12 for body in bodies)
    # Against the tags as the bench has them, in one row.
    whole = device.recorder.port.tags_ps(0, 0.0, 0.65).tolist()
    period = 200_100_000_000
    shifted = [int(t) + n * period for n, body in enumerate(bodies) for t in body]
    assert set(shifted) <= set(whole)


def test_stop_cuts_the_last_one() -> None:
    device, faults = instrument()
    link = service(device, faults)
    prepare(device, 1, record="REC:NUMB INF;PWID 200 GTB;PPER 200100 MTB")
    link.answer(STREAM.format(1), 0.0)
    device.answer("REC:PLAY", 0.0)
    assert device.answer("REC:STAG?", 1000.0) == "PLAYING"
    device.answer("REC:STOP", 0.3)
    lengths = [words(body).max() for _, body in link.due(0.3)]
    assert len(lengths) == 2
    assert lengths[0] > 0.19e12
    assert 0.09e12 < lengths[1] < 0.1e12
    assert link.due(9.0) == []


def test_too_little_dead_time_is_refused() -> None:
    device, _ = instrument()
    assert "-221" in device.answer("REC:NUMB 2;PWID 200 GTB;PPER 200 GTB;PLAY", 0.0)


def test_references_and_their_indices() -> None:
    device, faults = instrument()
    link = service(device, faults)
    device.answer("RAW1:STOP:LINK INPU1;:RAW1:REF:LINK INPU3;:RAW1:SEND ON", 0.0)
    device.answer("REC:NUMB 1;DUR 200 GTB", 0.0)
    link.answer(STREAM.format(1) + " --with-ref-index", 0.0)
    device.answer("REC:PLAY", 0.0)
    ((_, body),) = link.due(0.21)
    rows = words(body).reshape(-1, 2)
    port = device.recorder.port
    pulses, stops = port.tags_ps(2, 0.0, 0.2), port.tags_ps(0, 0.0, 0.2)
    index = np.searchsorted(pulses, stops, side="right")
    seen = index > 0
    assert (rows[:, 1] == index[seen]).all()
    assert (rows[:, 0] == stops[seen] - pulses[index[seen] - 1]).all()


def test_delays_generators_and_combiners_have_tags_too() -> None:
    device, faults = instrument(Optics(fidelity=1.0))
    link = service(device, faults)
    device.answer("DELA1:LINK INPU1;VALU 1000;:RAW1:STOP:LINK DELA1;:RAW1:SEND ON", 0.0)
    device.answer("GENE1:ENAB ON;PPER 1 MTB;:RAW2:STOP:LINK GENE1;:RAW2:SEND ON", 0.0)
    gate = "LINK INPU3;DELA 0;:TSCO1:WIND:END:LINK INPU3;DELA 2000"
    device.answer(f"TSCO1:FIR:LINK DELA1;:TSCO1:OPOU MUTE;WIND:ENAB ON;BEGI:{gate}", 0.0)
    device.answer("RAW3:STOP:LINK TSCO1;:RAW3:SEND ON;:RAW4:SEND ON", 0.0)
    device.answer("REC:NUMB 1;DUR 200 GTB", 0.0)
    for n in range(1, 5):
        link.answer(STREAM.format(n), 0.0)
    device.answer("REC:PLAY", 0.0)
    delayed, periodic, gated, nothing = (words(body) for _, body in link.due(0.21))
    port = device.recorder.port
    plain = port.tags_ps(0, 0.0, 0.2)
    assert set((plain[:-1] + np.uint64(1000)).tolist()) <= set(delayed.tolist())
    assert (np.diff(periodic) == 1_000_000).all()
    assert len(periodic) == 200_000
    assert len(nothing) == 0
    # Every event of the combiner is one of Alice with one of Bob less than 1 ns before or after.
    bob = port.tags_ps(2, 0.0, 0.21).astype(np.int64)
    near = np.abs(bob[None, :] - (gated.astype(np.int64) - 1000)[:, None]).min(axis=1)
    assert 100 < len(gated) < len(delayed)
    assert near.max() <= 1000


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("form", ["bin", "ascii"])
def test_files_hold_the_same_tags(tmp_path: Path, form: str, index: bool) -> None:
    device, faults = instrument()
    link = service(device, faults, tmp_path)
    prepare(device, 1)
    command = f'start-save --address 10.0.0.1 --channel 1 --filename "a b.dat" --format {form}'
    link.answer(command + " --with-ref-index" * index, 0.0)
    device.answer("REC:PLAY", 0.0)
    assert link.due(0.21) == []
    expected = device.recorder.port.tags_ps(0, 0.0, 0.2).tolist()
    body = (tmp_path / "a b.dat").read_bytes()
    if form == "bin":
        rows = words(body).reshape(-1, 1 + index)
        assert rows[:, 0].tolist() == expected
    else:
        assert [int(line.split(b";")[0]) for line in body.splitlines()] == expected


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "missing"),
        ("dance", "unknown command"),
        ("start-stream --channel 1 --stream-port 4242", "--address"),
        ("start-stream --address x --channel 5 --stream-port 4242", "--channel"),
        ("start-stream --address x --channel 1 --stream-port 99999", "--stream-port"),
        ("start-stream --address x --channel 1 --stream-port 1 --colour red", "--colour"),
        ("start-save --address x --channel 1 --filename ../a --format bin", "below"),
        ("start-save --address x --channel 1 --filename /etc/a --format bin", "below"),
        ("start-save --address x --channel 1 --filename a --format xml", "format"),
        ("status --id nobody", "no acquisition"),
        ("stop", "no acquisition"),
        ('list "', "quotation"),
        ("list 7", "unexpected"),
    ],
)
def test_refusals_name_what_is_wrong(tmp_path: Path, command: str, said: str) -> None:
    device, faults = instrument()
    answer = service(device, faults, tmp_path).answer(command, 0.0)
    assert said in json.loads(answer)["error"]["description"]
    assert list(tmp_path.iterdir()) == []


def test_no_folder_no_files(tmp_path: Path) -> None:
    device, faults = instrument()
    answer = service(device, faults).answer(
        f"start-save --address x --channel 1 --filename {tmp_path}/a --format bin", 0.0
    )
    assert "saves no files" in answer


SERVICE = service(*instrument())


@given(st.text(max_size=80))
def test_any_command_gets_an_answer(text: str) -> None:
    answer = SERVICE.answer(text, 0.0)
    assert answer == "[]" or "error" in json.loads(answer)


def test_overflow_latches_until_the_power_is_cycled() -> None:
    device, faults = instrument(Optics(rate_hz=30e6))
    link = service(device, faults)
    prepare(device, 1)
    name = json.loads(link.answer(STREAM.format(1), 0.0))["id"]
    device.answer("REC:PLAY", 0.0)
    assert link.due(0.21) == []
    assert "lost" in json.loads(link.answer(f"status --id {name}", 0.21))["error"]["description"]
    assert device.answer("RAW1:ERRORS?", 0.21) == "1"
    device.answer("RAW1:ERRORS:CLEAR", 0.21)
    assert device.answer("RAW1:ERRORS?", 0.21) == "0"
    first = device.answer("INPU1:COUN?", 2.0)
    assert device.answer("INPU1:COUN?", 9.0) == first
    device.power_cycle(10.0)
    assert device.answer("INPU1:ENAB?", 10.0) == "OFF"
    assert device.recorder.overflowed_s is None


def test_faults_of_the_stream() -> None:
    device, faults = instrument()
    link = service(device, faults)
    prepare(device, 1, record="REC:NUMB 5;PWID 200 GTB;PPER 200100 MTB")
    link.answer(STREAM.format(1), 0.0)
    for kind in ("tags_lost", "tags_twice", "tags_cut", "tags_unsorted"):
        faults.inject(Fault(kind, left=1))
    device.answer("REC:PLAY", 0.0)
    # Four sub-acquisitions in one go, then the rest.
    bodies = [body for _ in range(2) for _, body in link.due(1.1)]
    assert len(bodies) == 5
    assert bodies[0] == bodies[1]
    assert len(bodies[2]) % 8
    assert (np.diff(words(bodies[3]).astype(np.int64)) < 0).all()
    assert (np.diff(words(bodies[4]).astype(np.int64)) > 0).all()
