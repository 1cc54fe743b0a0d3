"""A broker that plays a small run on real sockets, with an intruder."""

import threading
from functools import cache

import numpy as np
from guests import dealer, hear, ring_of

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.broker import Broker
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.security import new_keys
from controller.setting import Setting, scenario_of
from quantum.egp import VERSION, Bye, Hello, Job, Look
from quantum.seeding import generator
from quantum.wire import encode

__all__ = ["expected_digest", "minds", "play", "setup"]

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


def play(intruder, *, invited, during=False, swapped=False):
    """Play a run of two agents and a worker; ``intruder(socket, wrong socket)`` is there too.

    Returns what the intruder returned. The honest ones come when it is done; or (``during``) when
    it calls the third thing that it is given: then it goes on, and the fourth is an event that is
    set when the run is over. With ``swapped`` an agent's key comes to the workers' socket, and a
    worker's to the agents'.
    """
    _, rules = setup()
    expected_digest()  # compiles kernels: nobody at a socket waits for so long
    server, guest, other, *honest = (new_keys() for _ in range(6))
    broker = Broker(server, ring_of(honest, (guest, other) if invited else ()))
    dispatch = Dispatch(rules, lambda _: None)
    said = []

    over, doors = threading.Event(), [broker.endpoints.agents, broker.endpoints.workers]
    if swapped:
        doors.reverse()

    def intrude():
        try:
            with (
                dealer(doors[0], server, guest) as agents,
                dealer(doors[1], server, other) as workers,
            ):
                said.append(intruder(agents, workers, *([come, over] if during else [])))
        finally:
            if not during:
                come()

    def come():
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
        over.set()
        broker.close()
        broker.close()  # safe to call twice
        for thread in (first, *threads):
            thread.join(30.0)
            assert not thread.is_alive()
    assert dispatch.digest.hexdigest() == expected_digest()
    return said[0]
