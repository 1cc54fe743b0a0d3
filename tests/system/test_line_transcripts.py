"""Both sides of instruments on lines against their golden transcripts, over ptys and sockets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lines import DeviceStream, Turn, scripted, turns

from backends.drivers.apt import Apt
from backends.drivers.epc import Epc
from backends.drivers.opening import open_stream
from backends.drivers.scpi import ScpiLight
from backends.rack import StubProcess
from quantum.errors import DeviceTimeout

KINDS = ("apt", "epc", "scpi")
#: The state in which each transcript begins.
SWITCHES = {"apt": "power_on_deg = 12.5", "epc": "scrambling_at_power_on = true", "scpi": ""}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", ["driver", "stub"])
def test_every_line_has_a_source_and_a_mark(kind: str, section: str) -> None:
    found = turns(kind, section)
    assert len(found) >= 10
    assert all(any(f"[{mark}]" in turn.source for mark in "VMD?") for turn in found)


def heard(stream: Any, answer: bytes) -> bytes:
    got = b""
    while len(got) < len(answer):
        got += stream.receive(5.0)
    return got


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", ["driver", "stub"])
def test_the_stub_answers_the_transcript(kind: str, section: str, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(f"[bench]\n[switches]\n{SWITCHES[kind]}\n")
    options = ["--seed", "1", "--speed", "1000", "--scenario", str(scenario)]
    with StubProcess(kind, options) as stub:
        stream = open_stream(stub.address, 5.0)
        for turn in turns(kind, section):
            stream.send(turn.said)
            assert heard(stream, turn.answered) == turn.answered, turn.said
        # Nothing that the transcript does not hold comes behind it.
        with pytest.raises(DeviceTimeout):
            stream.receive(0.1)
        stream.close()


def session(kind: str, address: str) -> None:
    """Do what the driver sections were written for."""
    driver: Any
    if kind == "apt":
        driver = Apt(address)
        driver.identify()
        driver.home()
        driver.move_deg(22.5)
        assert driver.position_deg() == pytest.approx(22.5, abs=3e-4)
        driver.move_deg(0.0)
    elif kind == "epc":
        driver = Epc(address)
        driver.identify()
        driver.set_voltages_mv((2200.0, 5000.0, -1000.0, -4000.0))
        assert driver.frequencies_hz() == (7, 17, 37, 71)
        driver.save()
    else:
        driver = ScpiLight(address)
        driver.identify()
        driver.set_power_dbm(3.5)
        driver.set_output(True)
        assert driver.power_dbm() == 3.5
    driver.safe_state()
    driver.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_driver_says_the_transcript(kind: str) -> None:
    lines = turns(kind, "driver")
    with scripted(lines, tcp=kind == "scpi") as (address, said):
        session(kind, address)
        assert bytes(said) == b"".join(turn.said for turn in lines)


def test_a_wrong_byte_would_be_found() -> None:
    """The comparison itself: another answer than the transcript's is not taken for it."""
    lines: list[Turn] = turns("epc", "driver")
    lines[5] = lines[5]._replace(answered=lines[5].answered.replace(b"Done", b"Gone"))
    with scripted(lines, tcp=False) as (address, _), pytest.raises(Exception, match="Gone"):
        session("epc", address)


def test_streams_of_tests_are_streams() -> None:
    """A stream to a pure instrument keeps the same promises as a line."""
    from firmware_stubs.blind_ports import BlindSqueezer
    from firmware_stubs.epc import Epc as Instrument

    stream = DeviceStream(Instrument(BlindSqueezer()))
    stream.send(b"M?\r\n")
    assert stream.receive(1.0) == b"Working Mode: DC\r\nDone\r\n"
    with pytest.raises(DeviceTimeout):
        stream.receive(1.0)
    assert isinstance(stream.clock, Callable) and stream.now == pytest.approx(1.0)
