"""Messages survive the wire, and nothing else does."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.egp import (
    Block,
    Bye,
    Create,
    Done,
    Err,
    Failed,
    Fault,
    Hello,
    Job,
    Look,
    Ok,
    Refuse,
    Speak,
    Task,
    Telemetry,
    Welcome,
    Yield,
)
from quantum.errors import Code, WireError
from quantum.estimate import Estimate
from quantum.program import Distill, Gates, Generate, Measure, Memory, Program, Swap, Wait
from quantum.roles import ROLES
from quantum.wire import MAX_BYTES, decode, encode

whole = st.integers(-(2**63), 2**63 - 1)
share = st.floats(0.0, 1.0)
finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(max_size=20)
codes = st.sampled_from(Code)
estimates = st.builds(Estimate, low=share, best=share, high=share, confidence=share, shots=whole)
programs = st.builds(
    Program,
    st.lists(
        st.one_of(
            st.builds(Generate, st.integers(0, 9), st.just((0.9, 0.1, 0.0, 0.0))),
            st.builds(Wait, st.integers(0, 9), st.floats(0.0, 1e3), st.floats(0.0, 1e3)),
            st.builds(Swap, st.integers(0, 4), st.integers(5, 9)),
            st.builds(Distill, st.integers(0, 4), st.integers(5, 9)),
            st.builds(Measure, st.integers(0, 9), st.just("xx"), st.integers(1, 9)),
        ),
        max_size=4,
    ).map(tuple),
    st.sampled_from([Memory(), Memory(t1_s=10.0, t2_s=1.5)]),
    st.sampled_from([Gates(), Gates(success=0.5)]),
)
creates = st.builds(
    Create,
    create_id=whole,
    source=whole,
    destination=whole,
    pairs=st.integers(1, 2**40),
    minimum_fidelity=share,
    max_time_s=st.floats(0.0, 999999.0),
    hold=st.booleans(),
    urgency=finite,
)


def many(of):
    return st.lists(of, max_size=3).map(tuple)


oks = st.builds(Ok, whole, whole, whole, whole, st.none() | estimates, text)
errs = st.builds(Err, whole, whole, codes, whole)
MESSAGES = {
    "hello": st.builds(
        Hello,
        whole,
        st.sampled_from(ROLES),
        text,
        many(whole),
        st.booleans(),
        many(text),
        finite,
    ),
    "welcome": st.builds(Welcome, whole, whole, many(text), whole, whole, finite, finite, finite),
    "refuse": st.builds(Refuse, codes, text, finite),
    "bye": st.builds(Bye, st.booleans()),
    "look": st.builds(
        Look,
        slot=whole,
        nodes=many(whole),
        tokens=many(whole),
        fill=many(whole),
        views=st.binary(max_size=40),
        answers=many(oks | errs),
        credit=st.binary(max_size=40),
        learn=st.booleans(),
        parameters=st.binary(max_size=40),
    ),
    "speak": st.builds(
        Speak,
        slot=whole,
        creates=many(creates),
        yields=many(st.builds(Yield, whole, whole, finite)),
        forecast=st.binary(max_size=40),
        update=st.binary(max_size=40),
        updates_done=whole,
    ),
    "job": st.builds(Job, whole, many(st.builds(Task, programs, whole, share))),
    "job, blocks": st.builds(
        Job,
        whole,
        st.just(()),
        st.booleans(),
        many(
            st.builds(
                Block,
                many(
                    st.tuples(st.sampled_from(("generate", "wait", "swap", "dejmps")), whole, whole)
                ),
                *[st.binary(max_size=40)] * 4,
            )
        ),
    ),
    "done": st.builds(
        Done, whole, many(whole), many(share), text, many(st.builds(Fault, whole, codes, text))
    ),
    "failed": st.builds(Failed, whole, codes, text),
    "telemetry": st.builds(Telemetry, *[whole] * 8, finite, estimates),
}
EVERY = st.one_of(*MESSAGES.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_comes_back_as_it_was(name):
    @given(MESSAGES[name])
    @settings(max_examples=40, deadline=None)
    def check(message):
        assert decode(encode(message)) == message

    check()


def complaint(frame):
    """Return why a frame is refused, nothing if it is a message; any other error is a failure."""
    try:
        decode(frame)
    except WireError as wrong:
        return str(wrong)
    return ""


@given(st.binary(max_size=200))
def test_garbage_is_refused(data):
    for frame in (data, b"DPM1" + data):
        assert "\n" not in complaint(frame)


@given(EVERY, st.data())
@settings(deadline=None)
def test_a_changed_frame_is_another_message_or_an_error(message, data):
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(frame) - 1))
        frame[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(frame)))
    for bad in (bytes(frame), bytes(frame[:cut]), bytes(frame) + b"\x00"):
        assert "\n" not in complaint(bad)


def raw(value):
    return b"DPM1" + msgspec.msgpack.encode(value)


GOOD = {"type": "speak", "slot": 3}
CREATE = {"type": "create", "create_id": 1, "source": 0, "destination": 1}
TASK = {"program": msgspec.to_builtins(Program((Generate(0, (1.0, 0.0, 0.0, 0.0)),)))}


def test_the_raw_messages_below_are_good_before_they_are_spoilt():
    assert decode(raw(GOOD)) == Speak(3)
    assert decode(raw({**GOOD, "creates": [CREATE]})) == Speak(3, (Create(1, 0, 1),))
    decode(raw({"type": "job", "job": 1, "tasks": [TASK]}))


@pytest.mark.parametrize(
    "value",
    [
        {**GOOD, "extra": 1},
        {**GOOD, "slot": "3"},
        {**GOOD, "slot": 3.5},
        {"type": "speak"},
        {"slot": 3},
        {"type": "exec", "slot": 3},
        {"type": "create", "create_id": 1, "source": 0, "destination": 1},
        {**GOOD, "creates": [{**CREATE, "minimum_fidelity": math.nan}]},
        {**GOOD, "creates": [{**CREATE, "minimum_fidelity": 1.01}]},
        {**GOOD, "creates": [{**CREATE, "max_time_s": math.nan}]},
        {**GOOD, "creates": [{**CREATE, "max_time_s": math.inf}]},
        {**GOOD, "creates": [{**CREATE, "max_time_s": -1.0}]},
        {**GOOD, "creates": [{**CREATE, "pairs": 0}]},
        {**GOOD, "creates": [{**CREATE, "extra": 0}]},
        {"type": "hello", "v": 1, "role": "admin", "name": "x"},
        {"type": "refuse", "code": "NOPE", "detail": ""},
        {"type": "job", "job": 1, "tasks": [{**TASK, "extra": 1}]},
        [1, 2],
        None,
        "speak",
    ],
)
def test_what_is_not_a_message_is_refused(value):
    with pytest.raises(WireError):
        decode(raw(value))


def test_frames_of_other_protocols_and_sizes_are_refused():
    frame = encode(Bye())
    with pytest.raises(WireError, match="another protocol"):
        decode(b"DPM2" + frame[4:])
    with pytest.raises(WireError, match="another protocol"):
        decode(b"")
    with pytest.raises(WireError, match="at most"):
        decode(frame + bytes(MAX_BYTES))
    with pytest.raises(WireError):
        decode(frame + frame)


def test_text_that_is_no_text_is_refused():
    # msgspec raises UnicodeDecodeError here, which is no DecodeError of its own.
    with pytest.raises(WireError):
        decode(b"DPM1\x81\xa4type\xa3\x80ye")


def test_deep_nesting_does_not_overflow():
    with pytest.raises(WireError):
        decode(b"DPM1" + b"\x91" * 100_000)
