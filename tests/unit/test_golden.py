"""The bytes of every message are those that were agreed on, and nothing like them is taken."""

import random
import resource
import struct
import typing

import pytest
from frames import FRAMES, mutate

from quantum import egp
from quantum.egp import (
    FEATURES,
    Beat,
    Block,
    Brief,
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
    Pulse,
    Refuse,
    Speak,
    Task,
    Telemetry,
    Welcome,
    Yield,
)
from quantum.errors import Code, WireError
from quantum.estimate import Estimate
from quantum.program import Generate, Memory, Program, Swap, Wait
from quantum.wire import decode, encode

ESTIMATE = Estimate(low=0.93, best=0.95, high=0.97, confidence=0.95, shots=900)
PROGRAM = Program(
    (
        Generate(0, (0.97, 0.01, 0.01, 0.01)),
        Generate(1, (0.98, 0.01, 0.01, 0.0)),
        Wait(0, 0.25, 0.25),
        Swap(0, 1),
    ),
    Memory(t1_s=3600.0, t2_s=60.0),
)
#: What version 1 had before there were blocks.
BEFORE = ("busy", "clock", "resume")
BLOCK = Block(
    skeleton=(("generate", 0, -1), ("wait", 0, -1)),
    populations=struct.pack("<8d", 0.97, 0.01, 0.01, 0.01, 1.0, 0.0, 0.0, 0.0),
    waits_s=struct.pack("<4d", 0.25, 0.5, 0.0, 0.0),
    basis=b"\xff\x02",
    draw=struct.pack("<2d", 0.0, 0.5),
    memory=Memory(t1_s=3600.0, t2_s=60.0),
)
MESSAGES = {
    "hello, first": Hello(1, "agent", "agent-0", (0, 1, 2)),
    "welcome, first": Welcome(1, 3),
    "refuse, first": Refuse(Code.CREATE, "no"),
    "hello": Hello(1, "worker", "w", keeps=False, features=BEFORE, sent_s=1764475200.5),
    "welcome": Welcome(1, 0, BEFORE, 4, 65536, 20.0, 1764475201.0, 1764475200.5),
    "hello, blocks": Hello(1, "worker", "w", features=FEATURES, sent_s=1764475200.5),
    "brief": Brief((2, 3), b'{"seed":3}', bytes(8), b"\4" * 8, 0.5, 0.25, secret=True),
    "refuse": Refuse(Code.REJECTED, "BUSY", 0.25),
    "bye": Bye(interrupted=True),
    "look": Look(
        slot=250,
        nodes=(2,),
        tokens=(1,),
        fill=(5,),
        views=bytes(16),
        answers=(Ok(17, 2, 8, 0, ESTIMATE, "stub"), Err(11, 2, Code.TIMEOUT, 3)),
        credit=b"\0" * 8,
        learn=True,
        parameters=b"\1" * 8,
    ),
    "speak": Speak(
        slot=250,
        creates=(Create(31, 2, 8, 4, 0.85, 1.0), Create(-1, 2, 5, hold=True, urgency=0.75)),
        yields=(Yield(2, 0, 0.25),),
        forecast=b"\2" * 8,
        update=b"\3" * 8,
        updates_done=7,
    ),
    "job": Job(250, (Task(PROGRAM, 2, 0.5, 1),)),
    "job, at angles": Job(250, (Task(PROGRAM, draw=0.5, angles_rad=(0.25, 0.75)),)),
    "job, again": Job(250, (), again=True),
    "job, blocks": Job(250, (), blocks=(BLOCK,)),
    "done": Done(
        250,
        (1, -1),
        (0.946, 0.0),
        "stub",
        (Fault(1, Code.UNSUPP, "a photonic link cannot keep pairs"),),
        ("c1", "c2"),
    ),
    "done, at angles": Done(250, (1, 0), bits=(3, 1)),
    "failed": Failed(251, Code.OTHER, "tagger: no answer within 2 s"),
    "telemetry": Telemetry(
        255, 3543, 412, 231, 702, 66, 214, 1, 139.25, ESTIMATE, slot_s=0.01, contention=0.5
    ),
    "beat": Beat(),
    "pulse": Pulse(lost="agent-0 was killed", over=True),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_bytes_are_those_that_were_agreed_on(name):
    frame = bytes.fromhex(FRAMES[name])
    assert encode(MESSAGES[name]) == frame
    assert decode(frame) == MESSAGES[name]


def test_no_message_is_without_its_bytes():
    assert FRAMES.keys() == MESSAGES.keys()
    assert {type(message) for message in MESSAGES.values()} == set(typing.get_args(egp.Message))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        # A hello of a version to come, with fields that nobody here knows.
        (
            b"DPM1\x84\xa4type\xa5hello\xa1v\x02\xa5proof\xa3xyz\xa4name\xc0",
            "version 2 is not spoken here; this is version 1: update dpem at the broker",
        ),
        (
            b"DPM1\x82\xa4type\xa5hello\xa1v\x00",
            "version 0 is not spoken here; this is version 1: update dpem at the client",
        ),
        (b"DPM2\x80", "frame does not begin with DPM1: the peer speaks another protocol version"),
        (b"DPM1\x82\xa4type\xa5hello\xa1v\x01", "malformed message"),
    ],
)
def test_another_version_is_told_so_whatever_it_sends(frame, said):
    with pytest.raises(WireError, match=said):
        decode(frame)


# Fuzzing: mutations of the golden frames, as fast as they can be read.


def fuzz(count, seed):
    """Read mutated frames; return how many were messages, all of which have to be sound."""
    draw, frames = random.Random(seed), [bytes.fromhex(text) for text in FRAMES.values()]
    taken = 0
    for _ in range(count):
        frame = mutate(draw.choice(frames), draw, frames)
        try:
            message = decode(frame)
        except WireError:
            continue
        taken += 1
        # What is taken is a message in itself: it says the same when it is sent on.
        assert repr(decode(encode(message))) == repr(message)
        assert frame[:4] == b"DPM1"
    return taken


def test_mutated_frames_are_errors_or_sound_messages():
    assert 0 < fuzz(20_000, 1) < 20_000


@pytest.mark.long
def test_a_million_mutated_frames_neither_crash_nor_grow():
    fuzz(50_000, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 0 < fuzz(1_000_000, 3) < 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024, "KiB"


def test_only_frames_that_say_something_else_are_taken_for_a_short_message():
    """Every single byte of some frames, changed to every other value."""
    for name in ("welcome, first", "bye", "beat", "refuse, first"):
        frame = bytes.fromhex(FRAMES[name])
        for at in range(len(frame)):
            for value in range(256):
                bad = frame[:at] + bytes([value]) + frame[at + 1 :]
                try:
                    message = decode(bad)
                except WireError:
                    continue
                assert (message == MESSAGES[name]) == (bad == frame) or encode(message) == frame


def test_lengths_that_are_lies_take_no_memory():
    for field, kind in (("nodes", b"\xdd"), ("credit", b"\xc6"), ("views", b"\xc6")):
        name = bytes([0xA0 + len(field)]) + field.encode()
        body = b"\x83\xa4type\xa4look\xa4slot\x01" + name + kind + b"\xff\xff\xff\xff"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(WireError, match="truncated"):
            decode(b"DPM1" + body)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
