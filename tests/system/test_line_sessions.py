"""Sessions on serial lines and by VISA are recorded, and replayed without the instruments."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.drivers.apt import Apt
from backends.drivers.epc import Epc
from backends.drivers.scpi import ScpiLight
from backends.drivers.sessions import Recording, Replay
from backends.rack import StubProcess, open_instrument
from quantum.errors import RecordError
from quantum.rack import InstrumentEntry


def play(kind: str, address: str, time_of: Any) -> list[object]:
    """Use an instrument and return all that it said."""
    if kind == "apt":
        plate = Apt(address, clock=time_of.clock)
        plate.home()
        plate.move_deg(30.0)
        seen: list[object] = [plate.position_deg(), plate.identify()]
        plate.close()
    elif kind == "epc":
        squeezer = Epc(address, clock=time_of.clock, sleep=time_of.sleep)
        squeezer.set_voltages_mv((1.0, 2.0, 3.0, 4.0))
        seen = [squeezer.voltages_mv(), squeezer.frequencies_hz()]
        squeezer.close()
    else:
        laser = ScpiLight(address, clock=time_of.clock)
        laser.set_power_dbm(-2.0)
        seen = [laser.power_dbm(), laser.identify()]
        laser.close()
    return seen


@pytest.mark.parametrize("kind", ["apt", "epc", "scpi"])
def test_a_session_is_replayed_without_its_instrument(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with StubProcess(kind, ["--speed", "300"]) as stub:
        recording = Recording(path)
        said = play(kind, stub.address, recording.instrument(kind, stub.address))
        recording.close()
    # The instrument is gone: whatever is answered now comes from the file.
    replay = Replay(path)
    address = replay.address_of(kind)
    assert play(kind, address, replay.instrument(kind, address)) == said
    replay.close()


def test_another_question_than_the_recorded_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with StubProcess("scpi", []) as stub:
        recording = Recording(path)
        play("scpi", stub.address, recording.instrument("scpi", stub.address))
        recording.close()
    replay = Replay(path)
    address = replay.address_of("scpi")
    time_of = replay.instrument("scpi", address)
    with pytest.raises(RecordError):
        ScpiLight(address, clock=time_of.clock).set_power_dbm(1.0)
    replay.close()


ENTRY = """
name = "laser"
kind = "scpi"
address = "stub"
settings = { high_dbm = 5.0, words = { reading_query = "READ:POW?" } }
"""


def test_a_rack_gives_an_instrument_its_own_words(tmp_path: Path) -> None:
    entry = msgspec.convert(tomllib.loads(ENTRY), InstrumentEntry)
    driver, stub = open_instrument(entry, tmp_path)
    assert stub is not None
    with stub:
        driver.set_power_dbm(4.0)
        # In the dark the meter reads nothing, whatever is set.
        assert driver.power_dbm() == -90.0
        driver.close()
