"""What stands before a driver: a mistake in it is an answer, and never ends the supervisor."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from backends.laboratory.station import Station
from backends.supervisor.client import Client
from backends.supervisor.guard import Gate, Guarded, Instrument
from backends.supervisor.keys import KeyPair
from backends.supervisor.messages import Status
from quantum.errors import DeviceError, DeviceTimeout, RequestError
from quantum.rack import InstrumentEntry, load_rack


class Careless:
    """A driver of another package, with a mistake in every method."""

    def latched(self) -> tuple[int, ...]:
        return (1, 2)[5:6] or ((1, 2)[7],)

    def rates(self) -> float:
        return 1 / 0

    def recover(self, number: int) -> int:
        return int(f"detector {number}")

    def position_deg(self) -> float:
        return 0.0

    def close(self) -> None:
        pass

    def bias_ua(self) -> tuple[float, ...]:
        return (20.0, 20.0, 20.0, 20.0)


def guarded(driver: Any) -> Any:
    gate = Gate(lambda *_, **__: None)
    gate.reason = ""
    instrument = Instrument(InstrumentEntry(name="d", kind="websq", address="stub"), gate, "stub")
    instrument.driver = driver
    return Guarded(instrument)


@pytest.mark.parametrize(
    ("method", "given", "kind"),
    [
        ("latched", (), "IndexError"),
        ("rates", (), "ZeroDivisionError"),
        ("recover", (1,), "ValueError"),
        ("recover", (), "TypeError"),
    ],
)
def test_a_mistake_in_a_driver_is_an_error_of_the_instrument(
    method: str, given: tuple[int, ...], kind: str
) -> None:
    with pytest.raises(DeviceError, match=rf"^d: its driver failed in {method}: {kind}: "):
        getattr(guarded(Careless()), method)(*given)


RACK = """
name = "r"
[[node]]
name = "a"
[[node]]
name = "b"
[[link]]
between = ["a", "b"]
instrument = "tagger"
rate_hz = 3000.0
fidelity = 0.9
[link.optics]
bias = "d"
plates = ["p1", "p2", "p3", "p4"]
bias_ua = 20.0
channels = [1, 2, 3, 9]
"""


def test_a_channel_that_the_detectors_do_not_have_is_named(tmp_path: Path) -> None:
    text = RACK
    for name, kind in (("tagger", "id900"), ("d", "websq"), *((f"p{n}", "apt") for n in "1234")):
        text += f'[[instrument]]\nname = "{name}"\nkind = "{kind}"\naddress = "stub"\n'
    (path := tmp_path / "r.toml").write_text(text)
    station = Station(load_rack(path), {"d": Careless()})
    for ask in (station.prepare, station.mended):
        with pytest.raises(DeviceError, match=r"d has 4 channels, link.optics.channels names 9"):
            ask(0)
    station.close()


def test_a_caller_who_waits_hears_that_the_supervisor_is_gone() -> None:
    pair = KeyPair(*(half.decode() for half in zmq.curve_keypair()))
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
        Client("tcp://127.0.0.1:9", pair.public, pair, process.pid) as client,
    ):
        with pytest.raises(DeviceTimeout, match="did not answer"):
            client.ask(Status(bytes(range(16))), 0.5)
        threading.Timer(0.3, process.kill).start()
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(RequestError, match="REJECTED: the supervisor of the rack is gone"):
                client.ask(Status(bytes(range(16))), 30.0)
        assert time.monotonic() - began < 5.0


def test_a_caller_whom_something_else_answers_is_told_so() -> None:
    pair = KeyPair(*(half.decode() for half in zmq.curve_keypair()))
    with zmq.Context() as context, context.socket(zmq.ROUTER) as plain:
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        with Client(f"tcp://127.0.0.1:{port}", pair.public, pair) as client:
            until, said = time.monotonic() + 60.0, ""
            # Once the handshake has failed the socket has nobody left to send to.
            while "within 2 s" not in said:
                assert time.monotonic() < until, said
                with pytest.raises(DeviceTimeout, match="did not answer") as told:
                    client.ask(Status(bytes(range(16))), 0.1)
                said = str(told.value)
            client.say(Status(bytes(range(16))))
