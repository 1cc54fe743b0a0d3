"""The driver against its stub process, found as DPEM finds them: by entry point."""

import msgspec
import pytest
import zmq

from backends.drivers.capabilities import Shutter
from backends.rack import StubProcess, driver_of
from quantum.errors import DeviceError


@pytest.fixture(scope="module")
def stub():
    with StubProcess("flip", ["--seed", "5"]) as process:
        yield process


@pytest.fixture
def shutter(stub):
    driver = driver_of("flip")(stub.address, timeout_s=0.3)
    yield driver
    driver.close()
    control(stub, do="clear")


def control(stub, **message):
    """Do to the stub what no instrument allows."""
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.connect(stub.control)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(5000)
        assert msgspec.json.decode(wire.recv())["ok"]


def test_it_opens_and_closes(shutter):
    assert isinstance(shutter, Shutter)
    assert shutter.identify().is_stub
    shutter.set_open(True)
    assert shutter.is_open()
    shutter.safe_state()
    assert not shutter.is_open()


def test_an_open_interlock_keeps_it_closed(shutter, stub):
    shutter.set_open(True)
    control(stub, do="fault", kind="interlock")
    assert not shutter.is_open()
    with pytest.raises(DeviceError, match="interlock is open"):
        shutter.set_open(True)


def test_a_shutter_that_is_stuck_is_noticed(shutter, stub):
    shutter.safe_state()
    control(stub, do="fault", kind="stuck")
    with pytest.raises(DeviceError, match="did not open"):
        shutter.set_open(True)


@pytest.mark.parametrize("kind", ["silence", "half", "garbage", "reset", "hang_up", "endless"])
def test_a_damaged_answer_is_an_error_and_the_next_one_is_right(shutter, stub, kind):
    shutter.safe_state()
    control(stub, do="fault", kind=kind, left=1, size=500)
    with pytest.raises(DeviceError):
        shutter.is_open()
    assert not shutter.is_open()
