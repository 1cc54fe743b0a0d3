"""The broker on real sockets: strangers hear nothing, and nobody stops it by what he sends."""

import threading
from functools import cache

import numpy as np
import pytest
import zmq
from guests import PATIENCE_MS, dealer, hear, ring_of

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.broker import Broker
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.security import Keyring, new_keys
from controller.setting import Setting, scenario_of
from quantum.egp import VERSION, Bye, Done, Hello, Job, Look, Refuse, Speak, Welcome
from quantum.errors import DpemError
from quantum.seeding import generator
from quantum.wire import MAX_BYTES, encode

SETTING = Setting(
    topology="line-4",
    demand="poisson",
    load_hz=30.0,
    seconds=1.0,
    warmup_s=0.0,
    seed=3,
    learn=False,
)


@cache
def setup():
    game = prepare(scenario_of(SETTING))
    return game, live_rules(SETTING, game)


def minds():
    game, rules = setup()
    return [
        Mind(game.world, rules.rule, np.array(group), seed=3, learn=False) for group in rules.groups
    ]


@cache
def expected_digest():
    dispatch, own = Dispatch(setup()[1], lambda _: None), minds()
    while not dispatch.finished:
        for group, look in enumerate(dispatch.open()):
            dispatch.hear(group, own[group].speak(look))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    return dispatch.digest.hexdigest()


def agent(name, mind, nodes, address, server, keys):
    with dealer(address, server, keys) as socket:
        socket.send(encode(Hello(VERSION, "agent", name, nodes)))
        while not isinstance(message := hear(socket, 20_000), Bye | None):
            if isinstance(message, Look):
                socket.send(encode(mind.speak(message)))


def worker(address, server, keys):
    backend, rng = AnalyticBackend(), generator(1, "worker")
    with dealer(address, server, keys) as socket:
        socket.send(encode(Hello(VERSION, "worker", "w")))
        while not isinstance(message := hear(socket, 20_000), Bye | None):
            if isinstance(message, Job):
                socket.send(encode(execute(backend, message, rng)))


def play(intruder, *, invited):
    """Play a run of two agents and a worker; ``intruder(socket, wrong socket)`` is there too.

    Returns the dispatcher and what the intruder returned. The honest ones come when it is done.
    """
    _, rules = setup()
    expected_digest()  # compiles kernels: nobody at a socket waits for so long
    server, guest, other, *honest = (new_keys() for _ in range(6))
    broker = Broker(server, ring_of(honest, (guest, other) if invited else ()))
    dispatch = Dispatch(rules, lambda _: None)
    said = []

    def intrude():
        try:
            with (
                dealer(broker.endpoints.agents, server, guest) as agents,
                dealer(broker.endpoints.workers, server, other) as workers,
            ):
                said.append(intruder(agents, workers))
        finally:
            for thread in threads:
                thread.start()

    threads = [
        threading.Thread(
            target=agent, args=(name, mind, group, broker.endpoints.agents, server, keys)
        )
        for name, mind, group, keys in zip("ab", minds(), rules.groups, honest[:2], strict=True)
    ]
    threads.append(
        threading.Thread(target=worker, args=(broker.endpoints.workers, server, honest[2]))
    )
    first = threading.Thread(target=intrude)
    first.start()
    try:
        broker.gather(dispatch, 1, timeout_s=60.0)
        broker.play(dispatch)
    finally:
        broker.close()
        broker.close()  # safe to call twice
        for thread in (first, *threads):
            thread.join(30.0)
            assert not thread.is_alive()
    assert dispatch.digest.hexdigest() == expected_digest()
    return said[0]


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
            plain.linger = 0
            plain.connect(address)
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
        with pytest.raises(DpemError, match="only 1 of 2 agent processes and 0 of 1 workers"):
            broker.gather(dispatch, 1, timeout_s=3.0)
    finally:
        thread.join(30.0)
        broker.close()
    assert out[0] == out[2] == Welcome(VERSION, 0)
    assert isinstance(out[1], Refuse) and "already" in out[1].detail
    assert isinstance(out[3], Refuse) and "not open" in out[3].detail


def test_a_dead_process_ends_the_waiting():
    def alive():
        raise DpemError("process agent-0 ended with code -9: without a word")

    broker = Broker(new_keys(), Keyring(), alive=alive)
    with pytest.raises(DpemError, match="agent-0"):
        broker.gather(Dispatch(setup()[1], lambda _: None), 1)
    broker.close()
