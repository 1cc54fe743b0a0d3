"""A rack with switch, plates, bias and shutter: measured once, replayed without instruments."""

import time
from pathlib import Path

from small_rack import write_small_rack

from backends.contract import plan_of
from backends.drivers.sessions import Recording, Replay
from backends.laboratory.backend import LaboratoryBackend
from quantum.batch import stack
from quantum.program import Generate, Measure, Program
from quantum.seeding import generator


def test_a_calibrated_rack_replays_to_equal_counts(tmp_path: Path) -> None:
    rack = write_small_rack(tmp_path)
    programs = [Program((Generate(0, (1.0, 0.0, 0.0, 0.0)), Measure(0, "random", 200)))]
    ((_, batch),) = stack(programs)
    seen, took = [], []
    for kind in (Recording, Replay):
        session = kind(tmp_path / "session.jsonl")
        begin = time.monotonic()
        backend = LaboratoryBackend(rack, link=0, session=session)
        try:
            rng = generator(2, "session")
            counts = [backend.run(batch, plan_of(programs), rng).counts.tolist() for _ in range(3)]
            steps = [backend.idle() for _ in range(5)]
            seen.append((counts, steps, backend.calibrations, backend.source))
        finally:
            backend.close()
            session.close()
        took.append(time.monotonic() - begin)
    assert seen[0] == seen[1]
    assert seen[0][3] == "stub"
    assert len(seen[0][2]) >= 1
    session.finish()
    assert took[1] < took[0] / 2
