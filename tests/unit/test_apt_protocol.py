"""APT without a line: the same result however bytes arrive, and never an angle that cannot be."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import DeviceStream, turns

from backends.drivers.apt import Apt
from backends.drivers.apt_messages import Message, Messages
from firmware_stubs.apt import AptRotator, Switches
from firmware_stubs.apt_motion import Braking, Move
from firmware_stubs.blind_ports import BlindRotator
from quantum.errors import DeviceError, DeviceLimit
from quantum.seeding import generator

CONVERSATION = b"".join(turn.answered for turn in turns("apt", "driver"))
WHOLE = Messages().feed(CONVERSATION)


def test_a_conversation_is_cut_without_a_byte_left() -> None:
    messages = Messages()
    assert len(messages.feed(CONVERSATION)) == sum(
        1 for turn in turns("apt", "driver") if turn.answered
    )
    assert messages.waiting == messages.skipped == 0


@given(st.lists(st.integers(1, 30), max_size=60))
def test_messages_do_not_depend_on_the_pieces(sizes: list[int]) -> None:
    messages, found, rest = Messages(), [], CONVERSATION
    for size in sizes:
        found += messages.feed(rest[:size])
        rest = rest[size:]
    found += messages.feed(rest)
    assert found == WHOLE


@given(st.integers(0, len(CONVERSATION) - 1))
def test_after_a_lost_byte_the_stream_is_found_again(lost: int) -> None:
    messages = Messages()
    found = messages.feed(CONVERSATION[:lost] + CONVERSATION[lost + 1 :])
    # At most the damaged message and the one whose header it swallowed are gone or changed.
    known: list[Message] = [m for m in found if m in WHOLE]
    assert len(known) >= len(WHOLE) - 2
    tail = len(WHOLE) - 1
    if lost < len(CONVERSATION) - 60:
        assert found[-1] == WHOLE[tail]


@given(st.binary(max_size=300))
def test_garbage_is_stepped_over_and_memory_stays_small(noise: bytes) -> None:
    messages = Messages()
    messages.feed(noise)
    assert messages.waiting < 100
    messages.forget()
    assert WHOLE[0] in messages.feed(CONVERSATION)


def rig(
    pieces: list[int] | None = None,
    mangle: object = None,
    mount: str = "prm1-z8",
    **switches: object,
) -> tuple[Apt, DeviceStream, BlindRotator]:
    port = BlindRotator()
    device = AptRotator(port, switches=Switches(**switches), power_on_deg=100.0)  # type: ignore[arg-type]
    sizes = iter(pieces or [])
    keywords = {} if mangle is None else {"mangle": mangle}
    stream = DeviceStream(device, lambda: next(sizes, 1 << 20), **keywords)  # type: ignore[arg-type]
    driver = Apt("stream", stream=stream, timeout_s=1.0, mount=mount, clock=stream.clock)
    return driver, stream, port


@settings(max_examples=40)
@given(st.lists(st.integers(1, 25), max_size=400))
def test_the_driver_does_not_depend_on_the_pieces(pieces: list[int]) -> None:
    driver, _, port = rig(pieces)
    driver.home()
    driver.move_deg(45.0)
    assert port.angle_deg == pytest.approx(45.0, abs=3e-4)
    assert driver.position_deg() == pytest.approx(45.0, abs=3e-4)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.2))
def test_on_a_bad_line_an_angle_is_right_or_an_error(seed: int, share: float) -> None:
    """Bytes are lost, changed and added; what is returned is where the plate is."""
    rng = generator(seed, "bad line")
    bad = [False]

    def mangle(data: bytes) -> bytes:
        if not data or not bad[0] or rng.random() > share * 3:
            return data
        place = int(rng.integers(len(data)))
        match int(rng.integers(3)):
            case 0:
                return data[:place] + data[place + 1 :]
            case 1:
                return data[:place] + rng.bytes(3) + data[place:]
            case _:
                return data + rng.bytes(5)

    driver, _, port = rig(mangle=mangle)
    driver.home()
    bad[0] = True
    for angle in (10.0, 300.0):
        try:
            driver.move_deg(angle)
            assert port.angle_deg == pytest.approx(angle, abs=0.03)
            assert driver.position_deg() == pytest.approx(angle, abs=0.03)
        except DeviceError:
            continue


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))
def test_impossible_positions_are_never_returned(counts: int, bits: int) -> None:
    class Claims:
        """A unit that claims any position and any status."""

        def opened(self, now_s: float) -> bytes:
            return b""

        def due(self, now_s: float) -> bytes:
            return b""

        def received(self, data: bytes, now_s: float) -> bytes:
            ident = int.from_bytes(data[:2], "little")
            if ident == 0x0411:
                return bytes.fromhex("120406008150") + struct.pack("<Hi", 1, counts)
            if ident == 0x0490:
                body = struct.pack("<HiHHI", 1, counts, 0, 0, bits)
                return bytes.fromhex("91040e008150") + body
            return b""

    stream = DeviceStream(Claims())
    driver = Apt("stream", stream=stream, clock=stream.clock)
    try:
        angle = driver.position_deg()
    except DeviceError:
        return
    assert bits & 1 << 10 and -360.0 <= angle <= 720.0


def test_the_unit_reports_an_error_in_its_own_words() -> None:
    class Complains(AptRotator):
        def received(self, data: bytes, now_s: float) -> bytes:
            notes = b"over temperature\x07".ljust(64, b"\0")
            return bytes.fromhex("810044008150") + struct.pack("<HH", 0x0490, 7) + notes

    stream = DeviceStream(Complains(BlindRotator()))
    driver = Apt("stream", stream=stream, clock=stream.clock)
    with pytest.raises(DeviceError, match=r"reports error 7: over temperature\?"):
        driver.ping()


@pytest.mark.parametrize("answer", ["stopped", "completed", "none"])
def test_a_limit_is_seen_whatever_the_controller_says_of_it(answer: str) -> None:
    driver, _, port = rig(soft_limits_deg=(-1.0, 90.0), limit_answer=answer)
    driver.home()
    with pytest.raises(DeviceLimit, match=r"ended at 90\.000 deg, at a limit"):
        driver.move_deg(120.0)
    assert port.angle_deg == pytest.approx(90.0)


def test_k10cr1_by_its_scale() -> None:
    driver, _, port = rig(mount="k10cr1", model="K10CR1", counts_per_deg=136533.0)
    driver.home()
    driver.move_deg(67.5)
    assert port.angle_deg == pytest.approx(67.5, abs=1e-5)
    assert driver.identify().model == "K10CR1"


def test_a_wrong_scale_is_not_hidden_by_the_counts() -> None:
    """The unit agrees with itself; that the plate stands elsewhere only light can tell."""
    driver, _, port = rig(counts_per_deg=136533.0)
    driver.home()
    driver.move_deg(90.0)
    assert port.angle_deg == pytest.approx(90.0 * 1919.64 / 136533.0, abs=1e-3)


def test_power_that_is_lost_in_the_middle_of_a_move_is_noticed() -> None:
    port = BlindRotator()
    device = AptRotator(port, power_on_deg=0.0)
    stream = DeviceStream(device)
    driver = Apt("stream", stream=stream, clock=stream.clock)
    driver.home()
    plain = device.due

    def cut(now_s: float) -> bytes:
        if now_s > stream_cut[0]:
            stream_cut[0] = float("inf")
            device.power_cycle(now_s)
        return plain(now_s)

    stream_cut = [stream.now + 1.0]
    device.due = cut  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="not homed"):
        driver.move_deg(180.0)
    assert port.angle_deg < 170.0


# ------------------------------------------------------------------------------- the stub's axis


@given(st.floats(-360, 360), st.floats(-360, 360), st.floats(0.5, 100.0), st.floats(0.5, 100.0))
def test_moves_begin_and_end_at_rest_and_keep_their_limits(
    start: float, target: float, velocity: float, acceleration: float
) -> None:
    move = Move(start, target, 5.0, velocity, acceleration)
    times = np.linspace(5.0, move.ends_s, 400)
    place = np.array([move.position(t) for t in times])
    assert place[0] == pytest.approx(start, abs=1e-9) and place[-1] == target
    step = times[1] - times[0]
    if step > 1e-9:
        speed = np.diff(place) / step
        assert np.abs(speed).max() <= velocity * (1 + 1e-6) + 1e-6
        assert np.all(np.diff(place) * np.sign(target - start) >= -1e-9)
    # Closed form: a trapezoid takes d/v + v/a, a triangle 2 sqrt(d/a).
    distance = abs(target - start)
    long = distance >= velocity**2 / acceleration
    wanted = (
        distance / velocity + velocity / acceleration
        if long
        else 2 * np.sqrt(distance / acceleration)
    )
    assert move.ends_s - 5.0 == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(st.floats(-100, 100), st.floats(0.5, 100.0))
def test_braking_takes_half_the_square_of_speed_over_acceleration(
    speed: float, acceleration: float
) -> None:
    stop = Braking(0.0, speed, 0.0, acceleration)
    assert abs(stop.position(stop.ends_s)) == pytest.approx(speed**2 / (2 * acceleration))
    assert stop.speed(stop.ends_s + 1.0) == 0.0


@settings(max_examples=40)
@given(st.lists(st.integers(1, 40), max_size=60), st.binary(max_size=20))
def test_the_stub_does_not_depend_on_the_pieces(sizes: list[int], noise: bytes) -> None:
    said = noise + b"\0" * 12 + b"".join(turn.said for turn in turns("apt", "stub"))
    whole = AptRotator(BlindRotator(), power_on_deg=12.5)
    cut = AptRotator(BlindRotator(), power_on_deg=12.5)
    expected, answers, rest = whole.received(said, 1.0), b"", said
    for size in sizes:
        answers += cut.received(rest[:size], 1.0)
        rest = rest[size:]
    assert answers + cut.received(rest, 1.0) == expected
