"""Both sides of streaming instruments against their golden transcripts, byte for byte."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.resources import files
from typing import Any, NamedTuple

import pytest
from streams import Clock, control

from backends.drivers.pc_rpc import PcRpc
from backends.drivers.polatis import Polatis
from backends.drivers.websq import WebSQ
from backends.rack import StubProcess
from quantum.errors import DeviceTimeout

SECTIONS = [
    (kind, section)
    for kind in ("polatis", "websq", "pc_rpc")
    for section in ("driver", "stub", *(["counts"] if kind == "websq" else []))
]


class Turn(NamedTuple):
    source: str
    said: bytes
    answered: bytes
    digits_free: bool


def unescaped(text: str) -> bytes:
    assert not re.search(r"\\(?!n|r|x17)", text), text
    return text.replace("\\n", "\n").replace("\\r", "\r").replace("\\x17", "\x17").encode("ascii")


def turns(kind: str, section: str) -> list[Turn]:
    text = files("firmware_stubs").joinpath(f"transcripts/{kind}.txt").read_text("utf-8")
    found: list[Turn] = []
    inside, source = "", ""
    for row in text.splitlines():
        if row.startswith("== "):
            inside, source = row[3:], ""
        elif row.startswith("# source: "):
            source = row.removeprefix("# source: ")
        elif inside != section:
            continue
        elif row.startswith(">"):
            found.append(Turn(source, unescaped(row[2:]), b"", False))
        elif row.startswith("<"):
            free = row.startswith("<#")
            last = found[-1]
            answered = last.answered + unescaped(row[3:] if free else row[2:])
            found[-1] = last._replace(answered=answered, digits_free=free)
    return found


@pytest.mark.parametrize(("kind", "section"), SECTIONS)
def test_every_line_has_a_source_and_a_mark(kind: str, section: str) -> None:
    found = turns(kind, section)
    assert len(found) >= (1 if section == "counts" else 8)
    assert all(re.search(r"\[[VMD?]\]", turn.source) for turn in found)


def digits_out(data: bytes) -> bytes:
    return re.sub(rb"[0-9]+", b"0", data)


@pytest.fixture(scope="module")
def stubs() -> Iterator[dict[str, StubProcess]]:
    with ExitStack() as stack:
        kinds = ("polatis", "websq", "pc_rpc")
        yield {kind: stack.enter_context(StubProcess(kind, ["--seed", "1"])) for kind in kinds}


@pytest.mark.parametrize(("kind", "section"), SECTIONS)
def test_the_stub_answers_the_transcript(
    stubs: dict[str, StubProcess], kind: str, section: str
) -> None:
    stub = stubs[kind]
    assert control(stub.control, do="power_cycle")["ok"]
    host, ports = stub.address.removeprefix("tcp://").split(":")
    port = ports.split(",")[1 if section == "counts" else 0]
    with socket.create_connection((host, int(port)), timeout=5.0) as wire:
        for turn in turns(kind, section):
            wire.sendall(turn.said)
            heard, ends = b"", turn.answered[-1:]
            while heard.count(ends) < turn.answered.count(ends) if ends else False:
                heard += wire.recv(65536)
            if turn.digits_free:
                assert digits_out(heard).startswith(digits_out(turn.answered))
            else:
                assert heard == turn.answered, turn.said
        if section != "counts":
            # Nothing that the transcript does not hold comes behind it.
            wire.settimeout(0.1)
            with pytest.raises(TimeoutError):
                wire.recv(1)


class Script:
    """A stream that answers from a transcript, and refuses whatever it does not hold."""

    address = "tcp://of.a.transcript:1"

    def __init__(self, lines: list[Turn], clock: Clock) -> None:
        self._lines = list(lines)
        self._clock = clock
        self._arrived = b""
        self.left = len(lines)

    def send(self, data: bytes) -> None:
        turn = self._lines.pop(0)
        assert data == turn.said
        self.left = len(self._lines)
        self._arrived += turn.answered

    def receive(self, timeout_s: float) -> bytes:
        if not self._arrived:
            self._clock.sleep(timeout_s)
            raise DeviceTimeout("nothing")
        piece, self._arrived = self._arrived[:50], self._arrived[50:]
        return piece

    def close(self) -> None:
        pass


def use_polatis(script: Script, clock: Clock) -> None:
    driver = Polatis(script.address, stream=script, clock=clock, sleep=clock.sleep)
    driver.connect({1: 18, 2: 17})
    assert driver.powers_dbm((17, 18, 19)) == (-13.01, -13.0, -90.0)
    driver.safe_state()


def use_websq(script: Script, clock: Clock) -> None:
    driver = WebSQ(
        script.address,
        stream=script,
        counts_stream=Script([], clock),
        clock=clock,
        sleep=clock.sleep,
    )
    driver.set_period_s(0.1)
    driver.set_bias_ua((18.0,) * 4)
    assert driver.bias_voltages_mv() == (0.18,) * 4
    driver.safe_state()


def use_pc_rpc(script: Script, clock: Clock) -> None:
    driver = PcRpc(script.address, streams={"shutter": script}, laser=None, clock=clock)
    driver.ping()
    driver.set_open(True)
    driver.safe_state()


@pytest.mark.parametrize(
    ("kind", "use"), [("polatis", use_polatis), ("websq", use_websq), ("pc_rpc", use_pc_rpc)]
)
def test_the_driver_says_the_transcript(kind: str, use: Callable[[Any, Any], None]) -> None:
    clock = Clock()
    script = Script(turns(kind, "driver"), clock)
    use(script, clock)
    assert script.left == 0
