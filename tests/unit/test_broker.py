"""The broker on real sockets: strangers hear nothing, and nobody stops it by what he sends."""

import contextlib
import threading

import pytest
import zmq
from broker_stage import play, setup
from guests import PATIENCE_MS, dealer, hear, ring_of

from controller.broker import Broker
from controller.dispatch import Dispatch
from controller.reception import Reception
from controller.security import Keyring, new_keys
from quantum.egp import VERSION, Bye, Done, Hello, Refuse, Speak, Welcome
from quantum.errors import DpemError
from quantum.wire import MAX_BYTES, encode


def test_a_stranger_gets_nothing():
    def intruder(agents, workers):
        agents.send(encode(Hello(VERSION, "agent", "eve", setup()[1].groups[0])))
        workers.send(encode(Hello(VERSION, "worker", "eve")))
        return hear(agents), hear(workers, 200)

    assert play(intruder, invited=False) == (None, None)


def test_a_plain_socket_gets_nothing():
    def intruder(agents, _):
        address = agents.last_endpoint.decode()
        with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
            plain.linger, plain.sndtimeo = 0, PATIENCE_MS
            plain.connect(address)
            # Where the handshake has failed by then, the socket has nobody left to send to.
            with contextlib.suppress(zmq.Again):
                plain.send(encode(Hello(VERSION, "agent", "eve", setup()[1].groups[0])))
            return plain.poll(PATIENCE_MS)

    assert play(intruder, invited=True) == 0


def test_another_version_is_told_so():
    def intruder(agents, workers):
        agents.send(encode(Hello(VERSION + 1, "agent", "old", setup()[1].groups[0])))
        workers.send(encode(Hello(VERSION + 1, "worker", "old")))
        return hear(agents, 20_000), hear(workers, 20_000)

    for answer in play(intruder, invited=True):
        assert isinstance(answer, Refuse)
        assert f"version {VERSION + 1}" in answer.detail and str(VERSION) in answer.detail


def test_garbage_is_refused_and_the_run_goes_on():
    groups = setup()[1].groups
    frames = [
        [b""],
        [b"GET / HTTP/1.1"],
        [b"DPM1"],
        [b"DPM1\xff\xff"],
        [b"DPM1\x81\xa4type\xa3\x80ye"],
        [encode(Bye()), encode(Bye())],
        [encode(Bye())],
        [encode(Speak(0))],
        [encode(Welcome(VERSION, 0))],
        [encode(Hello(VERSION, "agent", "eve", (0,)))],
        [encode(Hello(VERSION, "agent", "eve", (*groups[0], 99)))],
        [encode(Hello(VERSION, "worker", "eve"))],
        [encode(Done(0, (1,)))],
    ]

    def intruder(agents, workers):
        out = []
        for frame in frames:
            agents.send_multipart(frame)
            out.append(hear(agents, 20_000))
        for frame in frames[:9] + frames[12:]:
            workers.send_multipart(frame)
            out.append(hear(workers, 20_000))
        return out

    answers = play(intruder, invited=True)
    assert len(answers) == 23
    assert all(isinstance(answer, Refuse) and "\n" not in answer.detail for answer in answers)


def test_an_oversized_frame_only_costs_its_sender():
    def intruder(agents, _):
        agents.send(bytes(MAX_BYTES + 1))
        # The connection is cut; the socket comes back by itself and may speak again.
        agents.send(b"again")
        return hear(agents, 20_000)

    assert isinstance(play(intruder, invited=True), Refuse)


def test_a_seat_that_is_taken_stays_taken():
    """A second agent for the same nodes is refused while the first one plays."""
    _, rules = setup()
    server, *keys = (new_keys() for _ in range(3))
    broker = Broker(server, ring_of(keys))
    dispatch = Dispatch(rules, lambda _: None)
    hello = encode(Hello(VERSION, "agent", "a", rules.groups[0]))
    out = []

    def both():
        with (
            dealer(broker.endpoints.agents, server, keys[0]) as one,
            dealer(broker.endpoints.agents, server, keys[1]) as two,
        ):
            one.send(hello)
            out.append(hear(one, 20_000))
            two.send(encode(Hello(VERSION, "agent", "b", rules.groups[0])))
            out.append(hear(two, 20_000))
            one.send(hello)  # a lost welcome is asked for again
            out.append(hear(one, 20_000))
            # Nothing is to be said before the first look.
            one.send(encode(Speak(0)))
            out.append(hear(one, 20_000))

    thread = threading.Thread(target=both)
    thread.start()
    try:
        while thread.is_alive():
            broker._step(dispatch)
        with pytest.raises(DpemError, match="only 1 of 2 agent processes and 0 of 1 workers"):
            broker.gather(dispatch, 1, timeout_s=0.05)
    finally:
        thread.join(30.0)
        broker.close()
    assert out[0] == out[2] == Welcome(VERSION, 0)
    assert isinstance(out[1], Refuse) and "already" in out[1].detail
    assert isinstance(out[3], Refuse) and "not open" in out[3].detail


def test_a_goodbye_that_is_lost_is_said_again(monkeypatch):
    """Nobody waits for a run that is over; here the first goodbye is dropped on its way."""
    _, rules = setup()
    server, keys = new_keys(), new_keys()
    broker = Broker(server, ring_of([keys]))
    said, lost = [], []

    def send(at, identity, message, real=Reception.send):
        if isinstance(message, Bye) and not lost:
            lost.append(message)
            return True
        return real(at, identity, message)

    monkeypatch.setattr(Reception, "send", send)

    def guest():
        with dealer(broker.endpoints.agents, server, keys) as socket:
            socket.send(encode(Hello(VERSION, "agent", "a", rules.groups[0])))
            said.extend(hear(socket, 60_000) for _ in range(2))

    thread = threading.Thread(target=guest)
    thread.start()
    try:
        while not broker._agents.room.seated():
            broker._step(Dispatch(rules, lambda _: None))
    finally:
        broker.close()
        thread.join(60.0)
    assert said == [Welcome(VERSION, 0), Bye(False)] and len(lost) == 1


def test_a_dead_process_ends_the_waiting():
    def alive():
        raise DpemError("process agent-0 ended with code -9: without a word")

    broker = Broker(new_keys(), Keyring(), alive=alive)
    with pytest.raises(DpemError, match="agent-0"):
        broker.gather(Dispatch(setup()[1], lambda _: None), 1)
    broker.close()
