"""Who loses his connection in a run comes back to his seat, and the run is the same."""

import threading

import msgspec
import pytest
from broker_stage import SETTING, expected_digest, minds, setup
from guests import dealer, hear, ring_of

from backends.analytic import AnalyticBackend
from backends.service import execute
from backends.worker import work
from controller.agent import AgentConfig, act
from controller.broker import Broker
from controller.dispatch import Dispatch
from controller.security import new_keys
from controller.security.cutting import cut
from controller.security.limits import AGENT
from quantum.egp import FEATURES, VERSION, Bye, Hello, Job, Look, Refuse, Speak, Welcome
from quantum.errors import DpemError
from quantum.joining import WorkerConfig
from quantum.seeding import generator
from quantum.wire import encode


class Cutter:
    """Cuts all connections of a broker at some of its steps.

    Not in the last slots: who is cut when the run is over misses the goodbye.
    """

    def __init__(self, every):
        self.every, self.steps, self.cut, self.ports = every, 0, 0, set()
        self.dispatch = None

    def __call__(self):
        self.steps += 1
        early = self.dispatch is None or self.dispatch.slot < self.dispatch.rules.world.slots - 10
        if self.steps % self.every == 0 and early:
            self.cut += cut(self.ports, {}, ())


@pytest.mark.parametrize("every", [7, 40])
def test_a_run_whose_connections_are_cut_again_and_again_is_the_same(every, monkeypatch):
    expected = expected_digest()  # compiles kernels
    # Reconnecting is waiting: not for as long as over a real network.
    monkeypatch.setattr("zmq.Socket.connect", quickly)
    _, rules = setup()
    server, *honest = (new_keys() for _ in range(4))
    cutter = Cutter(every)
    broker = Broker(server, ring_of(honest), check=cutter)
    at = broker.endpoints
    dispatch, hellos, failed = Dispatch(rules, lambda _: None), [], []
    check_hello = broker._seat
    monkeypatch.setattr(
        broker, "_seat", lambda *given: (hellos.append(given[3]), check_hello(*given))
    )

    def run(task, config):
        try:
            task(config)
        except BaseException as wrong:
            failed.append(wrong)
            raise

    common = {"server_key": server.public}
    threads = [
        threading.Thread(
            daemon=True,
            target=run,
            args=(
                act,
                AgentConfig(
                    **common,
                    address=at.agents,
                    public_key=keys.public,
                    secret_key=keys.secret,
                    name=name,
                    nodes=nodes,
                    setting=msgspec.Raw(msgspec.json.encode(SETTING)),
                    targets=tuple(rules.rule.targets.tolist()),
                ),
            ),
        )
        for name, nodes, keys in zip("ab", rules.groups, honest, strict=False)
    ]
    worker = WorkerConfig(
        **common,
        address=at.workers,
        public_key=honest[2].public,
        secret_key=honest[2].secret,
        name="w",
        backend="analytic",
        seed=SETTING.seed,
    )
    threads.append(threading.Thread(target=run, args=(work, worker), daemon=True))
    for thread in threads:
        thread.start()
    try:
        broker.gather(dispatch, 1, timeout_s=120.0)
        cutter.dispatch = dispatch
        cutter.ports = {int(a.rpartition(":")[2]) for a in (at.agents, at.workers)}
        broker.play(dispatch)
    finally:
        broker.close()
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive()
    assert failed == []
    assert dispatch.digest.hexdigest() == expected
    assert cutter.cut > 3
    assert len(hellos) > 3 and all(isinstance(h, Hello) for h in hellos)


def test_coming_again_and_again_earns_nothing(monkeypatch):
    few = AGENT._replace(rate_hz=1e-6, burst=10.0)
    monkeypatch.setattr("controller.broker.AGENT", few)
    rules = setup()[1]
    server, *keys = (new_keys() for _ in range(4))
    broker = Broker(server, ring_of(keys))
    dispatch, heard = Dispatch(rules, lambda _: None), []
    hello = encode(Hello(VERSION, "agent", "a", rules.groups[0], features=FEATURES))
    try:
        with dealer(broker.endpoints.agents, server, keys[0]) as socket:
            while not any(isinstance(message, Refuse) for message in heard) and len(heard) < 50:
                socket.send(hello)
                assert broker._agents.socket.poll(20_000)
                broker._step(dispatch)
                if len(heard) == 0:
                    broker._groups[0].show(Look(0))
                heard.append(hear(socket, 20_000))
                while socket.poll(0):
                    heard.append(hear(socket, 0))
    finally:
        broker.close()
    assert isinstance(heard[-1], Refuse) and heard[-1].detail.startswith("BUSY")
    assert sum(isinstance(message, Welcome) for message in heard) == 10


def test_who_greets_again_and_again_while_a_busy_broker_is_silent_plays_on():
    """Each hello brings a copy of what is under way; an answer to each is no reason to go."""
    expected = expected_digest()  # compiles kernels
    rules = setup()[1]
    server, *keys = (new_keys() for _ in range(4))
    broker = Broker(server, ring_of(keys))
    dispatch, refused, copies = Dispatch(rules, lambda _: None), [], []

    def guest(number, hello, address, answer):
        said, greeted = {}, 0
        with dealer(address, server, keys[number]) as socket:
            socket.send(encode(hello))
            while not isinstance(message := hear(socket, 60_000), Bye | None):
                if isinstance(message, Refuse):
                    refused.append(message.detail)
                if not isinstance(message, Look | Job):
                    continue
                about = message.slot if isinstance(message, Look) else message.job
                copies.append(about in said)
                if about not in said:
                    said[about] = encode(answer(message))
                    if len(said) in (3, 6) and greeted < 6:
                        greeted += 3
                        for _ in range(3):
                            socket.send(encode(hello))
                socket.send(said[about])

    backend, rng = AnalyticBackend(), generator(1, "worker")
    at, again = broker.endpoints, {"features": FEATURES}
    told = [
        (Hello(VERSION, "agent", name, nodes, **again), at.agents, mind.speak)
        for name, nodes, mind in zip("ab", rules.groups, minds(), strict=True)
    ]
    hello = Hello(VERSION, "worker", "w", **again)
    told.append((hello, at.workers, lambda job: execute(backend, job, rng)))
    threads = [threading.Thread(target=guest, args=(k, *each)) for k, each in enumerate(told)]
    for thread in threads:
        thread.start()
    try:
        broker.gather(dispatch, 1, timeout_s=60.0)
        broker.play(dispatch)
    finally:
        broker.close()
        for thread in threads:
            thread.join(60.0)
    assert refused == []
    assert sum(copies) >= 12
    assert dispatch.digest.hexdigest() == expected


def test_what_is_of_no_use_does_not_keep_a_run_waiting(monkeypatch):
    """Who holds a key says something all the time; nobody else comes."""
    monkeypatch.setattr("controller.broker.SILENCE_S", 0.5)
    rules = setup()[1]
    server, *keys = (new_keys() for _ in range(4))
    broker = Broker(server, ring_of(keys))
    dispatch, useless = Dispatch(rules, lambda _: None), encode(Speak(0))

    def insist(socket):
        for _ in range(20_000):
            socket.send(useless)
            assert broker._agents.socket.poll(20_000)
            broker._step(dispatch)
            while socket.poll(0):
                hear(socket, 0)

    try:
        with (
            dealer(broker.endpoints.agents, server, keys[0]) as socket,
            pytest.raises(DpemError, match="has spoken for"),
        ):
            insist(socket)
    finally:
        broker.close()


def quickly(socket, address):
    import zmq

    socket.reconnect_ivl = 5
    return zmq.backend.Socket.connect(socket, address)
