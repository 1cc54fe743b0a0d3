"""Golden bytes of the messages of applications: version 1 reads and writes exactly these."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.errors import Code, WireError
from quantum.requests import (
    MAX_ASK_BYTES,
    Again,
    Ask,
    Closed,
    Denied,
    Expired,
    Granted,
    Leave,
    Measured,
    Open,
    Opened,
    Pair,
    decode_answer,
    decode_ask,
    encode_request,
)

RID = bytes(range(16))
PAIRS = (Pair("a", "b", 7, 0.875, 0),)
KINDS = (Measured(0.75, 0.8125, 0.875, 100, 0.5),)
GOLDEN = {
    "open": (
        Open(1, "ada", ("retry",)),
        "44504d3184a474797065a46f70656ea17601a46e616d65a3616461a8666561747572657391a57265747279",
    ),
    "ask": (
        Ask(RID, b"s", "a", "b", 2.5, 3, 0.75),
        "44504d3188a474797065a361736ba3726964c410000102030405060708090a0b0c0d0e0fa773657373696f6e"
        "c40173a6736f75726365a161ab64657374696e6174696f6ea162aa646561646c696e655f73cb400400000000"
        "0000a57061697273" + "03" + "b06d696e696d756d5f666964656c697479cb3fe8000000000000",
    ),
    "leave": (Leave(b"s"), "44504d3182a474797065a56c65617665a773657373696f6ec40173"),
    "again": (Again(), "44504d3181a474797065a5616761696e"),
    "closed": (
        Closed(Code.UNSUPP, "no"),
        "44504d3183a474797065a6636c6f736564a4636f6465a6554e53555050a664657461696ca26e6f",
    ),
    "granted": (
        Granted(RID, PAIRS, KINDS),
        "44504d3184a474797065a76772616e746564a3726964c410000102030405060708090a0b0c0d0e0fa57061697273"
        "9195a161a16207cb3fec00000000000000a56b696e64739195cb3fe8000000000000cb3fea000000000000"
        "cb3fec00000000000064cb3fe0000000000000",
    ),
    "denied": (
        Denied(RID, Code.BUSY, "later", retry_s=0.5),
        "44504d3185a474797065a664656e696564a3726964c410000102030405060708090a0b0c0d0e0fa4636f6465"
        "a442555359a664657461696ca56c61746572a772657472795f73cb3fe0000000000000",
    ),
    "expired": (
        Expired(RID, (7, 300), Code.EXPIRE, "gone"),
        "44504d3185a474797065a765787069726564a3726964c410000102030405060708090a0b0c0d0e0fa5706169"
        "72739207cd012ca4636f6465a6455850495245a664657461696ca4676f6e65",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes(name):
    message, golden = GOLDEN[name]
    frame = bytes.fromhex(golden)
    assert encode_request(message).hex() == golden
    read = decode_ask if name in ("open", "ask", "leave") else decode_answer
    assert read(frame) == message


def test_opened_comes_back_as_it_was():
    opened = Opened(1, b"s" * 12, 3.25, 2, "mesh", 256, 64, 60.0, 5.0)
    assert decode_answer(encode_request(opened)) == opened


def test_the_two_directions_do_not_mix():
    with pytest.raises(WireError):
        decode_ask(encode_request(Again()))
    with pytest.raises(WireError):
        decode_answer(encode_request(Leave(b"s")))


def complaint(read, frame):
    """Return why a frame is refused, nothing if it is a message; any other error is a failure."""
    try:
        read(frame)
    except WireError as wrong:
        return str(wrong)
    return ""


@given(st.binary(max_size=120), st.sampled_from(list(GOLDEN)), st.integers(0, 60))
@settings(max_examples=500, deadline=None)
def test_changed_frames_are_messages_or_one_line(noise, name, at):
    frame = bytes.fromhex(GOLDEN[name][1])
    for bad in (noise, b"DPM1" + noise, frame[:at] + noise + frame[at + len(noise) :]):
        for read in (decode_ask, decode_answer):
            assert "\n" not in complaint(read, bad)


def test_sizes_are_limited():
    for field in ({"source": "x" * 65}, {"session": b"x" * 17}, {"rid": b"short"}):
        values = {"rid": RID, "session": b"s", "source": "a", "destination": "b", **field}
        with pytest.raises(WireError):
            decode_ask(encode_request(Ask(deadline_s=1.0, **values)))
    with pytest.raises(WireError, match="at most"):
        decode_ask(b"DPM1" + bytes(MAX_ASK_BYTES))


def test_an_open_of_another_version_is_told_so_whatever_it_holds():
    fields = {"type": "open", "v": 2, "colour": "blue"}
    with pytest.raises(WireError, match="version 2 is not spoken here; this is version 1"):
        decode_ask(b"DPM1" + msgspec.msgpack.encode(fields))
    with pytest.raises(WireError, match="malformed message: Object contains unknown field"):
        decode_ask(b"DPM1" + msgspec.msgpack.encode({**fields, "v": 1}))
