"""An agent process: the socket loop around the mind of one or many nodes.

``python -m controller.agent CONFIG`` with a JSON file of :class:`AgentConfig`.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import zmq
from msgspec import structs

from controller.heart import Heart
from controller.security import KeyPair, dialled
from controller.security.limits import AGENT
from controller.security.session import Session
from quantum.egp import BRIEF, PROBE, VERSION, Brief, Bye, Hello, Look
from quantum.errors import DpemError, WireError
from quantum.joining import STEADY, Connection, Joining, Patience, waiting
from quantum.logs import note, start_in_child
from quantum.wire import encode

if TYPE_CHECKING:
    from controller.mind import Mind

__all__ = ["AgentConfig", "act_by_brief", "briefed", "main"]

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


def act(config: AgentConfig, *, alone: bool = False, patience: Patience = STEADY) -> None:
    """Speak for the nodes until the broker says goodbye.

    Unless ``alone``, an agent ends when whoever started it is gone.
    """
    heart = Heart(config) if config.pulse else None
    if heart is not None:
        heart.start()
    parent = os.getppid()
    try:
        # Who has its seat is expected to speak: it is taken when there is a mind.
        mind = _mind(config)
        hello = Hello(VERSION, "agent", config.name, config.nodes)
        with _seat(config, hello, patience) as session:
            note("ready", nodes=len(config.nodes), broker=config.address)
            _speak(mind, session, lambda: not alone and os.getppid() != parent)
    finally:
        if heart is not None:
            heart.close()


def act_by_brief(
    connection: Connection,
    node: int,
    *,
    connect_s: float,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[int, ...]:
    """Speak for the nodes among which ``node`` is, as a broker elsewhere says, until its goodbye.

    Returns these nodes, none where the run was over; ``tell`` is given a line when they are known.
    """
    hello = Hello(VERSION, "agent", connection.name, (node,), features=(PROBE, BRIEF))
    with _seat(connection, hello, waiting(connect_s)) as session:
        brief = next(m for m in session.messages() if isinstance(m, Brief | Bye))
    if isinstance(brief, Brief):
        tell(f"agent {connection.name} speaks for nodes {', '.join(map(str, brief.nodes))}")
        # A run that is over does not come back.
        patience = waiting(connect_s, lost_s=connect_s)
        act(briefed(connection, brief), alone=True, patience=patience)
        return brief.nodes
    return ()


def briefed(connection: Connection, brief: Brief) -> AgentConfig:
    """Return what an agent is that comes by a connection and is told this."""
    try:
        targets, policy = (
            tuple(np.frombuffer(data, dtype="<f8").tolist())
            for data in (brief.targets, brief.policy)
        )
    except ValueError as wrong:
        raise WireError(f"the broker's brief cannot be read: {wrong}") from wrong
    return AgentConfig(
        **structs.asdict(connection),
        nodes=brief.nodes,
        setting=msgspec.Raw(brief.setting),
        targets=targets,
        policy=policy,
        clip_norm=brief.clip_norm,
        local_noise=brief.local_noise,
        secret=brief.secret,
    )


def _mind(config: AgentConfig) -> "Mind":
    # Heavy rooms are entered here: a process that only reads its configuration stays light.
    import torch

    from controller.mind import LearnConfig, Mind
    from controller.policy_file import actor_of
    from controller.rivals.allocator import find
    from controller.rivals.dpem import rule_of
    from controller.setting import Setting, scenario_of
    from quantum.ledger import new_world, no_paths

    torch.set_num_threads(1)
    setting = msgspec.json.decode(config.setting, type=Setting)
    world = new_world(scenario_of(setting), paths=no_paths)
    return Mind(
        world,
        rule_of(np.array(config.targets)),
        np.array(config.nodes, dtype=np.int64),
        seed=setting.seed,
        # Nodes whose broker decides by a rule are paid nothing to learn from.
        learn=setting.learn and not find(setting.allocator).central,
        config=LearnConfig(
            clip_norm=config.clip_norm, local_noise=config.local_noise, secret=config.secret
        ),
        actor=actor_of(np.array(config.policy), len(config.nodes)) if config.policy else None,
    )


@contextlib.contextmanager
def _seat(connection: Connection, hello: Hello, patience: Patience = STEADY) -> Iterator[Session]:
    """Open a session that is closed afterwards."""
    keys = KeyPair(connection.public_key, connection.secret_key)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = dialled(
            context, zmq.DEALER, connection.server_key, keys, max_bytes=AGENT.max_bytes
        )
        # Who cannot be reached for so long has lost this answer, and will ask for it again.
        socket.sndtimeo, socket.immediate = SEND_MS, True
        joining = Joining(hello, connection.address, now_s=time.monotonic(), patience=patience)
        session = Session(socket, joining)
        try:
            yield session
        finally:
            session.close()
    finally:
        context.destroy(linger=500)


def _speak(mind: "Mind", session: Session, deserted: Callable[[], bool]) -> None:
    """Answer what the nodes are shown until the broker says goodbye."""
    said_slot, said = -1, b""
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
            case None if deserted():
                return  # whoever started us was killed; nobody will say goodbye
            case _:
                pass


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
