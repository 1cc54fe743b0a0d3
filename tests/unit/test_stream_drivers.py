"""Drivers over every cutting of the stream, and over answers that cannot be."""

from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Clock, DeviceStream

from backends.drivers.pc_rpc import PcRpc
from backends.drivers.polatis import Polatis
from backends.drivers.websq import WebSQ
from firmware_stubs import pc_rpc as pc_rpc_stub
from firmware_stubs import polatis as polatis_stub
from firmware_stubs import websq as websq_stub
from firmware_stubs.lone_ports import LoneDetectors, LoneLight, LoneShutter, LoneSwitch
from firmware_stubs.websq_sessions import ControlSession, CountsSession
from quantum.errors import DeviceError

#: Sizes of pieces, used in turn for what is sent and received.
PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def whole() -> Iterator[int]:
    return repeat(1 << 20)


def polatis(sizes: Iterator[int], spoil: Callable[[bytes], bytes | None] = bytes) -> Polatis:
    clock = Clock()
    device = polatis_stub.Polatis(LoneSwitch()).connection()
    stream = DeviceStream(device, clock, sizes=sizes, spoil=spoil)
    return Polatis(stream.address, stream=stream, clock=clock, sleep=clock.sleep)


def websq(sizes: Iterator[int], spoil: Callable[[bytes], bytes | None] = bytes) -> WebSQ:
    clock = Clock()
    device = websq_stub.WebSQ(LoneDetectors(1), unix_s=1.7e9)
    device.power_on(clock.now_s)
    control = DeviceStream(ControlSession(device), clock, sizes=sizes, spoil=spoil)
    counts = DeviceStream(CountsSession(device), clock, sizes=sizes)
    return WebSQ(
        control.address, stream=control, counts_stream=counts, clock=clock, sleep=clock.sleep
    )


def pc_rpc(
    sizes: Iterator[int], spoil: Callable[[bytes], bytes | None] = bytes, version: int = 2
) -> PcRpc:
    clock = Clock()
    features = ("pyon_v2",) if version == 2 else ()
    switches = pc_rpc_stub.Switches(features=features)
    device = pc_rpc_stub.Controller(LoneShutter(), LoneLight(), switches=switches)
    streams = {
        name: DeviceStream(device.connection(), clock, sizes=sizes, spoil=spoil)
        for name in ("shutter", "laser")
    }
    return PcRpc("tcp://in.process:1", streams=dict(streams), clock=clock)


def use_polatis(driver: Polatis) -> list[Any]:
    said: list[Any] = [driver.identify()]
    driver.connect({1: 18, 2: 17})
    said += [driver.connections(), driver.powers_dbm((17, 18, 19)), driver.port_states((1, 20))]
    driver.safe_state()
    return [*said, driver.connections()]


def use_websq(driver: WebSQ) -> list[Any]:
    said: list[Any] = [driver.identify()]
    driver.set_bias_ua((18.0, 18.5, 0.0, 20.0))
    driver.set_period_s(0.05)
    rates = driver.rates()
    said += [driver.bias_ua(), rates.period_s, [hz > 0.0 for hz in rates.hz], driver.latched()]
    driver.safe_state()
    return [*said, driver.bias_ua(), driver.bias_voltages_mv()]


def use_pc_rpc(driver: PcRpc) -> list[Any]:
    said: list[Any] = [driver.identify()]
    driver.set_open(True)
    driver.set_output(True)
    driver.set_power_dbm(-3.0)
    said += [driver.is_open(), driver.interlock_closed(), round(driver.power_dbm(), 9)]
    driver.safe_state()
    return [*said, driver.is_open(), driver.output(), driver.power_dbm()]


@given(PIECES)
@settings(max_examples=60)
def test_polatis_over_every_cutting(pieces: list[int]) -> None:
    assert use_polatis(polatis(cycle(pieces))) == use_polatis(polatis(whole()))


@given(PIECES)
@settings(max_examples=40)
def test_websq_over_every_cutting(pieces: list[int]) -> None:
    assert use_websq(websq(cycle(pieces))) == use_websq(websq(whole()))


@given(PIECES, st.sampled_from([1, 2]))
@settings(max_examples=60)
def test_pc_rpc_over_every_cutting(pieces: list[int], version: int) -> None:
    cut = use_pc_rpc(pc_rpc(cycle(pieces), version=version))
    assert cut == use_pc_rpc(pc_rpc(whole()))


@pytest.mark.parametrize("separator", ["after", "between"])
@pytest.mark.parametrize("glued", [1, 2, 5])
def test_websq_however_messages_are_separated(separator: Any, glued: int) -> None:
    clock = Clock()
    switches = websq_stub.Switches(etb=separator, glued=glued)
    device = websq_stub.WebSQ(LoneDetectors(1), switches=switches)
    device.power_on(clock.now_s)
    control = DeviceStream(ControlSession(device), clock, sizes=cycle([3, 7]))
    counts = DeviceStream(CountsSession(device), clock)
    driver = WebSQ(
        control.address, stream=control, counts_stream=counts, clock=clock, sleep=clock.sleep
    )
    driver.set_bias_ua((18.0, 18.0, 18.0, 18.0))
    assert min(driver.rates().hz) > 0.0


#: What comes instead of an answer, and can never be one.
RUBBISH = [
    b"#?!~ 7e;;\x00x:\xff\xfe{[(\n",
    b"\n",
    b"nan\n",
    b"(NaN,NaN)\n",
    b"-17\n",
    b"(@-17),(@18)\n",
    b"(@1),(@2147483648)\n",
    b"(2147483648,2147483648)\n",
    b"(-29.55\n",
    b"(D,X)\n",
    b'{"label":\x17\n',
    b"[1, 2]\x17\n",
    b'{"label": "BiasCurrent", "value": [NaN, 1, 1, 1]}\x17\n',
    b'{"label": 3, "value": 1}\x17\n',
    b'{"status": "ok"}\n',
    b'{"status": "failed", "exception": {"class": "os.system", "message": "x"}}\n',
    b'{"status": "ok", "ret": {"__jsonclass__": ["eval", ["1"]]}}\n',
    b'{"status": "ok", "ret": NaN}\n',
    b'{"status": "ok", "ret": "open"}\n',
]

READS: list[tuple[str, Callable[..., Any], Callable[[Any], Any]]] = [
    ("polatis connections", polatis, lambda d: d.connections()),
    ("polatis powers", polatis, lambda d: d.powers_dbm((17, 18))),
    ("polatis states", polatis, lambda d: d.port_states((1, 2))),
    ("polatis identity", polatis, lambda d: d.identify()),
    ("polatis connect", polatis, lambda d: d.connect({1: 17})),
    ("websq bias", websq, lambda d: d.bias_ua()),
    ("websq voltages", websq, lambda d: d.bias_voltages_mv()),
    ("websq set", websq, lambda d: d.set_bias_ua((1.0, 1.0, 1.0, 1.0))),
    ("pc_rpc shutter", pc_rpc, lambda d: d.is_open()),
    ("pc_rpc power", pc_rpc, lambda d: d.power_dbm()),
    ("pc_rpc output", pc_rpc, lambda d: d.output()),
]


class Spoiler:
    """Spoils answers from the moment it is armed."""

    def __init__(self, instead: Callable[[bytes], bytes | None]) -> None:
        self.armed = False
        self._instead = instead

    def __call__(self, answer: bytes) -> bytes | None:
        return self._instead(answer) if self.armed else answer


@pytest.mark.parametrize(("name", "build", "read"), READS, ids=[row[0] for row in READS])
@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_an_error_and_never_a_value(
    name: str, build: Callable[..., Any], read: Callable[[Any], Any], rubbish: bytes
) -> None:
    spoil = Spoiler(lambda answer: rubbish)
    driver = build(whole(), spoil)
    spoil.armed = True
    with pytest.raises(DeviceError) as caught:
        read(driver)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "build", "read"), READS, ids=[row[0] for row in READS])
@given(data=st.data())
@settings(max_examples=25)
def test_half_answers_resets_and_random_bytes_are_errors(
    name: str, build: Callable[..., Any], read: Callable[[Any], Any], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["half", "reset", "random", "nothing"]))
    noise = data.draw(st.binary(max_size=60))
    # Of a half answer at least the last byte is missing, and nothing is whole.
    half = data.draw(st.floats(0.0, 0.9))

    def instead(answer: bytes) -> bytes | None:
        first = answer.split(b"\x17")[0].split(b"}{")[0]
        ways: dict[str, bytes | None] = {
            "half": first[: int(half * len(first.strip()))],
            "reset": None,
            "random": noise,
            "nothing": b"",
        }
        return ways[kind]

    spoil = Spoiler(instead)
    driver = build(whole(), spoil)
    spoil.armed = True
    with pytest.raises(DeviceError):
        read(driver)


@pytest.mark.parametrize(
    "line",
    [b"x", b"", b"1700000000.0,1,2,3", b"1700000000.0,1,2,3,4,5", b"-1.0,1,2,3,4", b"NaN,1,2,3,4"]
    + [
        b"1700000000.0,1,2,3," + bad
        for bad in (b"-17", b"NaN", b"2147483648", b"1e3", b"", b"0x10", b"4.5", b"\xb2")
    ],
)
def test_counts_that_cannot_be(line: bytes) -> None:
    clock = Clock()
    device = websq_stub.WebSQ(LoneDetectors(1))
    device.power_on(clock.now_s)

    class Spoilt(CountsSession):
        def due(self, now_s: float) -> bytes:
            return line + b"\n" if super().due(now_s) else b""

    counts = DeviceStream(Spoilt(device), clock)
    driver = WebSQ(
        counts.address,
        stream=DeviceStream(ControlSession(device), clock),
        counts_stream=counts,
        clock=clock,
        sleep=clock.sleep,
    )
    with pytest.raises(DeviceError, match="a line of counts"):
        driver.rates()


@pytest.mark.parametrize(
    "extra", [b"1\n", b'{"status": "ok", "ret": true}\n', b"(@1),(@17)\n", b"("]
)
@pytest.mark.parametrize(
    ("build", "read"),
    [(polatis, lambda d: d.connections()), (pc_rpc, lambda d: d.is_open())],
    ids=["polatis", "pc_rpc"],
)
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(
    build: Callable[..., Any], read: Callable[[Any], Any], extra: bytes
) -> None:
    spoil = Spoiler(lambda answer: answer + extra)
    driver = build(whole(), spoil)
    spoil.armed = True
    read(driver)
    spoil.armed = False
    with pytest.raises(DeviceError, match="nobody asked for"):
        read(driver)


class Flood:
    """A peer that never ends a line."""

    address = "tcp://in.process:1"

    def __init__(self) -> None:
        self.bytes = 0

    def send(self, data: bytes) -> None:
        pass

    def receive(self, timeout_s: float) -> bytes:
        self.bytes += 65536
        return b"7" * 65536

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "build",
    [
        lambda s: Polatis(s.address, stream=s),
        lambda s: WebSQ(s.address, stream=s, counts_stream=s),
        lambda s: PcRpc(s.address, streams={"shutter": s}, laser=None),
    ],
)
def test_a_peer_that_never_ends_a_line_cannot_eat_memory(build: Callable[[Flood], Any]) -> None:
    flood = Flood()
    with pytest.raises(DeviceError):
        build(flood)
    assert flood.bytes < 8 * 1024 * 1024


@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
@settings(max_examples=100)
def test_stubs_survive_garbage(noise: list[bytes], data: st.DataObject) -> None:
    clock = Clock()
    switch = polatis_stub.Polatis(LoneSwitch())
    detectors = websq_stub.WebSQ(LoneDetectors(1))
    controller = pc_rpc_stub.Controller(LoneShutter(), LoneLight())
    words = st.sampled_from(
        [
            b":oxc:swit:conn:add (@",
            b"1,17",
            b"),(@",
            b")\n",
            b"*opc?;",
            b'{"command": "',
            b'"}',
            b"}{",
            b"ARTIQ pc_rpc\n",
            b"shutter pyon_v2\n",
            b'{"action": "call", "name": "ping"',
            b"\x17",
        ]
    )
    likely = data.draw(st.lists(words, max_size=12))
    for device in (switch.connection(), ControlSession(detectors), controller.connection()):
        for piece in chain(noise, likely):
            device.received(piece, clock.now_s)
            device.due(clock.now_s)
    # They still work for the next client.
    assert switch.connection().received(b"\n*idn?\n", 0.0).startswith(b"Polatis,")
    assert controller.connection().received(b"ARTIQ pc_rpc\n", 0.0).startswith(b'{"targets"')
    ask = b'{"request": "StartAutoIV"}'
    assert b"StartAutoIV" in ControlSession(detectors).received(ask, 0.0)
