"""How soon an emergency stop writes its last command: a part of ``dpem bench lab``.

The shipped rack of four links, on its stubs, with the supervisor that every run has. A client asks
for pairs of one link after another: its links are calibrated first, so that plates turn, the switch
moves and the time controller counts. In the middle of it another client stops the rack, again and
again; every tenth time when calibration is over and pairs are counted.
"""

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from backends.contract import plan_of
from backends.rack import FOUR_LINKS
from backends.supervisor.backend import SupervisedLab
from backends.supervisor.client import estop
from backends.supervisor.launching import Launched
from backends.supervisor.messages import Stopped
from backends.supervisor.rearming import rearm
from quantum.batch import stack
from quantum.errors import DpemError
from quantum.program import Generate, Measure, Program
from quantum.seeding import generator

__all__ = ["stops"]

#: Pairs of one request: some windows in each of three bases.
_SHOTS = 300
#: When a stop comes after a request: shortest and longest, s.
_AFTER_S = (0.2, 1.2)
_CALIBRATED_S = 40.0


def stops(count: int, patience_s: float) -> dict[str, float]:
    """Stop a rack that counts ``count`` times, or fewer where ``patience_s`` is over before.

    Returns milliseconds from the arrival of a stop: until its last command was written, and until
    all 13 instruments were read back; and which instrument was the last to be written to.
    """
    with _rack() as rack:
        launched = Launched(rack, "stub")
        try:
            done = _stopped(rack, count, time.monotonic() + patience_s)
        finally:
            launched.close(2.0)
    written = np.array([one.written_ms for one, _ in done])
    read_back = np.array([one.done_ms for one, _ in done])
    last = Counter(max(one.each_ms, key=one.each_ms.__getitem__) for one, _ in done)
    return {
        "stops": len(done),
        "stops_of_calibrated_links": sum(counted > 0 for _, counted in done),
        "stop_written_p50_ms": float(np.quantile(written, 0.5)),
        "stop_written_p99_ms": float(np.quantile(written, 0.99)),
        "stop_written_max_ms": float(written.max()),
        "stop_read_back_p50_ms": float(np.quantile(read_back, 0.5)),
        "stop_read_back_p99_ms": float(np.quantile(read_back, 0.99)),
        "stops_not_read_back_safe": sum(not one.safe for one, _ in done),
    } | {f"stops_written_last_to_{name}": times for name, times in last.most_common(3)}


@contextmanager
def _rack() -> Iterator[Path]:
    """Give a copy of the rack that counts at once, with a state folder of its own."""
    before = os.environ.get("DPEM_STATE")
    with tempfile.TemporaryDirectory() as folder:
        rack = Path(folder) / FOUR_LINKS.name
        text = FOUR_LINKS.read_text(encoding="utf-8")
        rack.write_text(text.replace('calibrate = "auto"', 'calibrate = "never"'), encoding="utf-8")
        bench = FOUR_LINKS.with_name("four-links-bench.toml")
        rack.with_name(bench.name).write_bytes(bench.read_bytes())
        os.environ["DPEM_STATE"] = folder
        try:
            yield rack
        finally:
            os.environ.pop("DPEM_STATE")
            if before is not None:
                os.environ["DPEM_STATE"] = before


def _stopped(rack: Path, count: int, until_s: float) -> list[tuple[Stopped, int]]:
    """Return what came of each stop, and how many requests were answered before it."""
    out: list[tuple[Stopped, int]] = []
    rng = generator(1, "stops")
    while len(out) < count and (not out or time.monotonic() < until_s):
        lab = SupervisedLab(rack)
        answered: list[int] = []
        first = threading.Event()
        load = threading.Thread(target=_count, args=(lab, answered, first), daemon=True)
        load.start()
        if len(out) % 10 == 0:
            first.wait(_CALIBRATED_S)
        time.sleep(float(rng.uniform(*_AFTER_S)))
        out.append((estop(rack, "bench"), len(answered)))
        load.join()
        lab.close()
        rearm(rack, "bench", None)
    return out


def _count(lab: SupervisedLab, answered: list[int], first: threading.Event) -> None:
    """Count on one link after another until the rack is stopped."""
    program = Program((Generate(0, (1.0, 0.0, 0.0, 0.0)), Measure(0, "random", _SHOTS)))
    ((_, batch),) = stack([program])
    plan, rng, link = plan_of([program]), generator(2, "stops"), 0
    try:
        while True:
            chosen = np.array([link % len(lab.rack.links)])
            lab.run(batch, replace(plan, link=chosen), rng)
            answered.append(link)
            first.set()
            link += 1
    except DpemError:
        first.set()
