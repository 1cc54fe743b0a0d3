"""Bytes of applications, regions and racks: those that were agreed on, and nothing like them."""

import gc
import random
import resource
import typing

import pytest
from frames import mutate
from service_stage import ADA, ask, desk_on, said, session_of, settled
from spoken import PROTOCOLS, SPOKEN

from backends.supervisor import messages as rack
from controller.regions import wire as regions
from controller.service.checking import check
from controller.service.journal import Journal
from controller.service.terms import Terms
from quantum import requests as apps
from quantum.errors import WireError
from quantum.requests import Ask, Granted, decode_ask


@pytest.mark.parametrize(("kind", "name"), SPOKEN)
def test_bytes_are_those_that_were_agreed_on(kind, name):
    protocol, frame = PROTOCOLS[kind], SPOKEN[kind, name]
    message = protocol.messages[name]
    assert protocol.encode(message) == frame
    read = []
    for side in protocol.sides:
        try:
            read.append(side(frame))
        except WireError:
            continue
    # One side sends it, so the other one alone reads it.
    assert read == [message]


def test_no_message_is_without_its_bytes():
    assert SPOKEN.keys() == {(kind, name) for kind, p in PROTOCOLS.items() for name in p.messages}
    known = {
        "application": typing.get_args(apps.FromClient | apps.FromService),
        "region": typing.get_args(regions.FromAsker | regions.FromOwner),
        "rack": typing.get_args(rack.Request | rack.Reply),
    }
    for kind, types in known.items():
        assert {type(message) for message in PROTOCOLS[kind].messages.values()} == set(types)


def fuzz(kind, count, seed):
    """Read mutated frames; return how many were messages, all of which have to be sound."""
    protocol, draw = PROTOCOLS[kind], random.Random(f"{kind} {seed}")
    frames = [frame for (of, _), frame in SPOKEN.items() if of == kind]
    taken = 0
    for _ in range(count):
        frame = mutate(draw.choice(frames), draw, frames)
        for side in protocol.sides:
            try:
                message = side(frame)
            except WireError as wrong:
                if "\n" in str(wrong):
                    raise AssertionError(frame.hex()) from wrong
                continue
            taken += 1
            # What is taken is a message in itself: it says the same when it is sent on.
            assert repr(side(protocol.encode(message))) == repr(message)
            assert frame[:4] == protocol.encode(message)[:4]
    return taken


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_mutated_frames_are_errors_or_sound_messages(kind):
    assert 0 < fuzz(kind, 5_000, 1) < 5_000


def most_kib():
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_million_mutated_frames_neither_crash_nor_grow(kind):
    fuzz(kind, 50_000, 2)
    before = most_kib()
    assert 0 < fuzz(kind, 1_000_000, 3) < 1_000_000
    assert most_kib() - before < 8 * 1024, "KiB"


def besiege(folder, count, seed):
    """Send mutated frames of an application in its own session; return what the desk granted.

    A frame is granted pairs only where it is a request; all else is refused. The whole service is
    between: sessions, limits, allocator, journal.
    """
    journal, draw = Journal(folder / f"{seed}.db"), random.Random(seed)
    plenty = Terms(load_hz=20.0, remembered=10_000_000, credits=1024, rate_hz=1e7, burst=1_000_000)
    desk = desk_on(journal, plenty)
    session = session_of(desk, ADA)
    frames, granted, wished = [SPOKEN["application", "leave"]], 0, set()
    now_s = 0.0
    for start in range(0, count, 8):
        now_s += 0.05
        frames[1:] = [ask(session, draw.randrange(1 << 40), deadline_s=now_s + 0.2)]
        sent = []
        for _ in range(8):
            frame = mutate(draw.choice(frames), draw, frames)
            try:
                message = decode_ask(frame)
            except WireError:
                message = None
            if isinstance(message, Ask):
                wished.add(message.rid)
            sent.append((b"x", frame))
        out = desk.hear(sent, now_s) + desk.turn(now_s)
        if start % 1024 == 0:
            out = settled(desk, out, now_s)
        for answer in said(out):
            granted += isinstance(answer, Granted)
            assert not isinstance(answer, Granted) or answer.rid in wished
        # An opening that was mutated into being cannot be: it needs the key of a connection.
        if session not in desk.sessions:
            session = session_of(desk, ADA, now_s=now_s)
    assert desk.stock.is_sound()
    journal.close()
    assert check(journal.path).granted <= len(wished)
    return granted


def test_a_service_under_mutated_requests_grants_requests_alone(tmp_path):
    assert besiege(tmp_path, 4_000, 1) > 0


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_service_under_many_mutated_requests_does_not_grow(tmp_path):
    besiege(tmp_path, 50_000, 2)
    before = most_kib()
    besiege(tmp_path, 200_000, 3)
    assert most_kib() - before < 64 * 1024, "KiB"
