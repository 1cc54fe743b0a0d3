"""An agent process: the socket loop around the mind of one or many nodes.

``python -m controller.agent CONFIG`` with a JSON file of :class:`AgentConfig`.
"""

import os
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np
import zmq

from controller.heart import Heart
from quantum.egp import VERSION, Bye, Hello, Look, Refuse, Welcome
from quantum.errors import DpemError, InputError, WireError
from quantum.joining import Connection
from quantum.wire import MAX_BYTES, decode, encode

__all__ = ["AgentConfig", "main"]

#: An agent that hears nothing for so long after its hello says hello again.
SILENCE_MS = 10_000


class AgentConfig(Connection, frozen=True, kw_only=True):
    """An agent: whose mind this is.

    ``setting`` is the run's :class:`controller.setting.Setting` as JSON; ``targets`` are the stock
    targets of the heuristic, one number for every link; ``policy`` the weights of a trained policy,
    empty where learning starts at the heuristic.
    """

    nodes: tuple[int, ...]
    setting: msgspec.Raw
    targets: tuple[float, ...]
    policy: tuple[float, ...] = ()


def act(config: AgentConfig) -> None:
    """Speak for the nodes until the broker says goodbye."""
    heart = Heart(config) if config.pulse else None
    if heart is not None:
        heart.start()
    # Heavy rooms are entered here: a process that only reads its configuration stays light.
    import torch

    from controller.mind import Mind
    from controller.rivals.allocator import find
    from controller.rivals.dpem import rule_of
    from controller.setting import Setting, scenario_of
    from controller.training import actor_of
    from quantum.ledger import new_world, no_paths

    torch.set_num_threads(1)
    setting = msgspec.json.decode(config.setting, type=Setting)
    world = new_world(scenario_of(setting), paths=no_paths)
    mind = Mind(
        world,
        rule_of(np.array(config.targets)),
        np.array(config.nodes, dtype=np.int64),
        seed=setting.seed,
        # Nodes whose broker decides by a rule are paid nothing to learn from.
        learn=setting.learn and not find(setting.allocator).central,
        actor=actor_of(np.array(config.policy), len(config.nodes)) if config.policy else None,
    )
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger, socket.maxmsgsize, socket.immediate = 500, MAX_BYTES, True
    socket.curve_serverkey = config.server_key.encode()
    socket.curve_publickey = config.public_key.encode()
    socket.curve_secretkey = config.secret_key.encode()
    hello = encode(Hello(VERSION, "agent", config.name, config.nodes))
    greeted, parent = False, os.getppid()
    try:
        socket.connect(config.address)
        socket.send(hello)
        while True:
            if not socket.poll(SILENCE_MS):
                if os.getppid() != parent:
                    return  # whoever started us was killed; nobody will say goodbye
                if not greeted:
                    socket.send(hello)
                continue
            match decode(socket.recv()):
                case Look() as look:
                    socket.send(encode(mind.speak(look)))
                case Welcome():
                    greeted = True
                case Bye():
                    return
                case Refuse(_, detail):
                    raise InputError(f"the broker refused agent {config.name}: {detail}")
                case _:
                    pass
    finally:
        if heart is not None:
            heart.close()
        context.destroy(linger=500)


def main() -> None:
    """Run an agent process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=AgentConfig)
    try:
        act(config)
    except (DpemError, WireError) as wrong:
        sys.stderr.write(f"dpem agent: {wrong}\n")
        sys.exit(wrong.exit_code)


if __name__ == "__main__":
    main()
