"""Whoever commands or guards a rack is killed or stopped: within 1 s it is safe, and stays so.

All processes are the real ones: supervisor, guardian, worker, process of pulses, an agent's heart;
only the broker's slots are played by ``tests/reference/rack_stage.py``. What is safe is read from
the control socket of a stub that runs apart.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from one_link_rack import one_link

from backends.rack import StubProcess
from backends.supervisor.audit import verify
from backends.supervisor.backend import SupervisedLab
from backends.supervisor.client import endpoint_of
from backends.supervisor.places import place_of, read_endpoint, read_kept
from backends.supervisor.rearming import rearm
from quantum.errors import InputError, RequestError
from quantum.seeding import generator

STAGE = Path(__file__).parents[1] / "reference" / "rack_stage.py"
RACK = one_link(
    "chaos",
    """
integration_s = 0.005
timeout_s = 1.0
settle_s = 0.004
shared_clock = true
""",
    head="""
[safety]
linger_s = 0.0
""",
    address="ADDRESS",
)
#: From the moment of the signal; the machine that tests run on may be busy with other tests.
SAFE_WITHIN_S = 1.0


class Control:
    """The out-of-band side of a stub."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._wire = self._context.socket(zmq.REQ)
        self._wire.linger = 0
        self._wire.connect(address)

    def settings(self) -> dict[str, Any]:
        self._wire.send(msgspec.json.encode({"do": "state"}))
        assert self._wire.poll(10_000), "the stub's control socket does not answer"
        settings: dict[str, Any] = msgspec.json.decode(self._wire.recv())["settings"]
        return settings

    def is_safe(self) -> bool:
        """Inputs, outputs and generators that were ever set are off."""
        set_ = self.settings()
        watched = [f"INPU{n}:ENAB" for n in range(1, 5)] + ["GENE1:ENAB", "GENE3:ENAB"]
        return all(set_.get(key) == "OFF" for key in watched)

    def close(self) -> None:
        self._context.destroy(linger=0)


class Stage:
    """A controller at work on a rack."""

    def __init__(self, folder: Path, rack: Path) -> None:
        self.folder = folder
        (folder / "pids.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, str(STAGE), "broker", str(rack), str(folder)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 240.0
        while not (folder / "pids.json").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                self.process.kill()
                raise AssertionError(f"the stage did not begin: {self.process.communicate()[1]!r}")
            time.sleep(0.02)
        self.pids = json.loads((folder / "pids.json").read_text()) | {"broker": self.process.pid}
        at = endpoint_of(rack)
        self.pids |= {"guardian": at.guardian, "supervisor": at.supervisor}

    def close(self) -> None:
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Control]]:
    folder = tmp_path_factory.mktemp("chaos")
    with StubProcess("id900", ["--speed", "20"]) as stub:
        rack = folder / "rack.toml"
        rack.write_text(RACK.replace("ADDRESS", stub.address), encoding="utf-8")
        control = Control(stub.control)
        yield rack, control
        control.close()


def gone(rack: Path) -> None:
    """Wait until the rack has no supervisor any more."""
    until = time.monotonic() + 60.0
    while read_endpoint(place_of(rack)) is not None:
        assert time.monotonic() < until, "the supervisor lingers"
        time.sleep(0.02)


#: Each takes several starts of seven processes: one of each way is enough for every commit.
OFTEN = {("broker", signal.SIGKILL), ("agent", signal.SIGSTOP), ("supervisor", signal.SIGKILL)}
CASES = [
    pytest.param(
        who, number, marks=() if (who, number) in OFTEN else pytest.mark.long, id=f"{who}-{word}"
    )
    for who in ("broker", "agent", "worker", "pulse", "supervisor", "guardian")
    for word, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))
]


@pytest.mark.parametrize(("who", "number"), CASES)
def test_the_rack_is_safe_within_a_second(
    bench: tuple[Path, Control], who: str, number: signal.Signals, tmp_path: Path
) -> None:
    rack, control = bench
    stage = Stage(tmp_path, rack)
    try:
        time.sleep(float(generator(7, "chaos", who, number.name).uniform(0.0, 0.4)))
        assert not control.is_safe()
        os.kill(stage.pids[who], number)
        began = time.monotonic()
        while not control.is_safe():
            assert time.monotonic() - began < SAFE_WITHIN_S, f"{who} lost, the rack goes on"
            time.sleep(0.005)
        # Nothing resumes by itself, also when whoever was stopped goes on.
        with contextlib.suppress(ProcessLookupError):
            os.kill(stage.pids[who], signal.SIGCONT)
        time.sleep(0.3)
        assert control.is_safe()
    finally:
        stage.close()
    gone(rack)
    kept = read_kept(place_of(rack))
    assert kept.latched or kept.active
    lab = SupervisedLab(rack)
    try:
        with pytest.raises(RequestError, match="REJECTED: the rack is latched"):
            lab.acquire()
    finally:
        lab.close()
    assert control.is_safe()
    gone(rack)
    assert rearm(rack, "a test", None)
    with pytest.raises(InputError, match="not latched"):
        rearm(rack, "again", None)
    assert verify(place_of(rack) / "audit.jsonl").lines > 10


def test_a_run_that_ends_in_order_latches_nothing(
    bench: tuple[Path, Control], tmp_path: Path
) -> None:
    rack, control = bench
    stage = Stage(tmp_path, rack)
    try:
        (tmp_path / "end").touch()
        assert stage.process.wait(20.0) == 0
        gone(rack)
        assert control.is_safe()
        kept = read_kept(place_of(rack))
        assert (kept.latched, kept.active) == ("", False)
    finally:
        stage.close()


def test_tokens_grow_over_restarts(bench: tuple[Path, Control]) -> None:
    tokens = []
    for _ in range(2):
        lab = SupervisedLab(bench[0])
        tokens.append(lab.acquire())
        lab.close()
        gone(bench[0])
    assert np.all(np.diff(tokens) > 0)
