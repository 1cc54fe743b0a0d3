"""How many connections without a key a gate bears: a number, not only a time."""

import contextlib
import socket
import time

import pytest
import zmq
from gated import PATIENCE_MS, stage
from hypothesis import given
from hypothesis import strategies as st

from controller.security import Client, Keyring, dialled, new_keys
from controller.security import gate as guarded
from controller.security.crowd import Crowd, most_half_open
from controller.security.limits import REQUEST

ADA = new_keys()
HOSTS = st.sampled_from("abc")
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("comes"), HOSTS),
        st.tuples(st.just("goes"), st.integers(0, 40)),
        st.tuples(st.just("admitted"), HOSTS),
        st.tuples(st.just("time"), st.floats(0.0, 3.0)),
    ),
    max_size=60,
)


@given(acts=ACTS, most=st.integers(1, 5), spoken=st.sets(st.integers(0, 40)))
def test_there_are_never_more_than_may_be_but_for_those_who_have_spoken(acts, most, spoken):
    crowd, now_s, number = Crowd(most, 5.0), 0.0, 0
    open_, cut = {}, set()
    for act, what in acts:
        if act == "comes":
            crowd.accepted(number, what, now_s)
            if number in spoken:
                crowd.admitted(what, now_s)
            open_[number] = what
            number += 1
        elif act == "goes":
            crowd.gone(what)
            open_.pop(what, None)
        elif act == "admitted":
            crowd.admitted(what, now_s)
        else:
            now_s += what
        half = crowd.half_open(now_s)
        surplus = crowd.surplus(now_s, spoken)
        assert not set(surplus) & spoken and not set(surplus) & cut
        assert set(surplus) <= open_.keys()
        # No more are cut than have to be, and none of a host that has nobody half open.
        assert len(surplus) <= max(0, half.total() - most)
        assert all(half[open_[number]] > 0 for number in surplus)
        cut |= set(surplus)
        for number_cut in surplus:
            del open_[number_cut]
        left = crowd.half_open(now_s)
        mute = [n for n, host in open_.items() if n not in spoken and left[host] > 0]
        assert left.total() <= most or not set(mute) & crowd._recent.keys()


def test_the_bound_is_a_share_of_the_open_files():
    assert 64 <= most_half_open() <= 4096


@contextlib.contextmanager
def silent(address, count, host):
    """Open connections that say nothing, one after the other as a machine far away does."""
    port, lines = int(address.rpartition(":")[2]), []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            line = socket.create_connection(("127.0.0.1", port), source_address=(host, 0))
            lines.append(stack.enter_context(line))
        yield lines


def ended(line):
    """Tell whether the other side has ended a connection; its greeting is read over."""
    line.setblocking(False)
    try:
        while line.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def is_heard(there, client, word):
    client.send(word)
    assert there.router.poll(PATIENCE_MS)
    _, frame = there.heard()
    return frame.bytes == word


@pytest.mark.skipif(not hasattr(zmq, "EVENT_ACCEPTED"), reason="libzmq has no monitor")
def test_who_opens_many_connections_loses_them_and_others_are_served(monkeypatch):
    monkeypatch.setattr(guarded, "most_half_open", lambda: 8)
    # They would go by themselves else, after five seconds.
    monkeypatch.setattr("controller.security.sockets._HANDSHAKE_MS", 600_000)
    ring = Keyring([Client("ada", "request", ADA.public)])
    with stage(ring) as there, zmq.Context() as context:
        monkeypatch.setattr(there.gate._crowd, "_handshake_s", 600.0)
        before, after = (
            dialled(context, zmq.DEALER, there.server.public, ADA, max_bytes=REQUEST.max_bytes)
            for _ in range(2)
        )
        for client in (before, after):
            client.linger = 0
        before.connect(there.address)
        assert is_heard(there, before, b"before")
        with silent(there.address, 60, "127.0.0.2") as lines:
            deadline_s = time.monotonic() + 30.0
            while sum(map(ended, lines)) < 52:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            after.connect(there.address)
            assert is_heard(there, after, b"after") and is_heard(there, before, b"still")
            # The youngest of them are there, and no more.
            assert sum(map(ended, lines)) in (52, 53)
            [line] = there.gate.news()
            assert line == "connections without a key were cut: 8 may be half open"
        before.close()
        after.close()
