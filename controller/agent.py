"""An agent process: the socket loop around the mind of one or many nodes.

``python -m controller.agent CONFIG`` with a JSON file of :class:`AgentConfig`.
"""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import zmq

from controller.heart import Heart
from controller.security import KeyPair, dialled
from controller.security.limits import AGENT
from controller.security.session import Session
from quantum.egp import VERSION, Bye, Hello, Look
from quantum.errors import DpemError, WireError
from quantum.joining import STEADY, Connection, Joining
from quantum.logs import note, start_in_child
from quantum.wire import encode

__all__ = ["AgentConfig", "main"]

SEND_MS = 5_000


class AgentConfig(Connection, frozen=True, kw_only=True):
    """An agent: whose mind this is.

    ``setting`` is the run's :class:`controller.setting.Setting` as JSON; ``targets`` are the stock
    targets of the heuristic, one number for every link; ``policy`` the weights of a trained policy,
    empty where learning starts at the heuristic. The last three are of
    :class:`controller.mind.LearnConfig`.
    """

    nodes: tuple[int, ...]
    setting: msgspec.Raw
    targets: tuple[float, ...]
    policy: tuple[float, ...] = ()
    clip_norm: float = 0.2
    local_noise: float = 0.0
    secret: bool = False


def act(config: AgentConfig) -> None:
    """Speak for the nodes until the broker says goodbye."""
    heart = Heart(config) if config.pulse else None
    if heart is not None:
        heart.start()
    # Heavy rooms are entered here: a process that only reads its configuration stays light.
    import torch

    from controller.mind import LearnConfig, Mind
    from controller.policy_file import actor_of
    from controller.rivals.dpem import rule_of
    from controller.setting import Setting, scenario_of
    from quantum.ledger import new_world, no_paths

    torch.set_num_threads(1)
    setting = msgspec.json.decode(config.setting, type=Setting)
    world = new_world(scenario_of(setting), paths=no_paths)
    mind = Mind(
        world,
        rule_of(np.array(config.targets)),
        np.array(config.nodes, dtype=np.int64),
        seed=setting.seed,
        learn=setting.learn,
        config=LearnConfig(
            clip_norm=config.clip_norm, local_noise=config.local_noise, secret=config.secret
        ),
        actor=actor_of(np.array(config.policy), len(config.nodes)) if config.policy else None,
    )
    keys = KeyPair(config.public_key, config.secret_key)
    context = zmq.Context()
    socket = dialled(context, zmq.DEALER, config.server_key, keys, max_bytes=AGENT.max_bytes)
    # Who cannot be reached for so long has lost this answer, and will ask for it again.
    socket.sndtimeo, socket.immediate = SEND_MS, True
    hello = Hello(VERSION, "agent", config.name, config.nodes)
    session = Session(
        socket, Joining(hello, config.address, now_s=time.monotonic(), patience=STEADY)
    )
    note("ready", nodes=len(config.nodes), broker=config.address)
    parent, said_slot, said = os.getppid(), -1, b""
    try:
        for message in session.messages():
            match message:
                case Look() as look:
                    if look.slot != said_slot:
                        said_slot, said = look.slot, encode(mind.speak(look))
                        note("spoke", level="debug", slot=look.slot, bytes=len(said))
                    session.send(said)
                case Bye():
                    note("ended", slot=said_slot)
                    return
                case None if os.getppid() != parent:
                    return  # whoever started us was killed; nobody will say goodbye
                case _:
                    pass
    finally:
        if heart is not None:
            heart.close()
        session.close()
        context.destroy(linger=500)


def main() -> None:
    """Run an agent process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=AgentConfig)
    start_in_child(config.name)
    try:
        act(config)
    except (DpemError, WireError) as wrong:
        note("gave up", level="error", why=str(wrong))
        sys.stderr.write(f"dpem agent: {wrong}\n")
        sys.exit(wrong.exit_code)


if __name__ == "__main__":
    main()
