"""Whose allow list has died admits nobody.

libzmq asks nobody for a key once no one answers ZAP, unless a socket enforces its domain.
"""

from pathlib import Path
from typing import Any

import zmq

import backends.supervisor.keys as rack
from backends.supervisor.wire import bound
from controller.auth import Keys, new_keys
from controller.broker import Broker

ROOT = Path(__file__).parents[2]
#: How long a stranger is listened for; one that is let in is heard within milliseconds.
STRANGER_MS = 1000


def heard(socket: Any, address: str, server: str, guest: Keys, wait_ms: int) -> bool:
    """Tell whether the socket hears a guest."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as wire:
        wire.linger = 0
        wire.curve_serverkey = server.encode()
        wire.curve_publickey, wire.curve_secretkey = guest.public.encode(), guest.secret.encode()
        wire.connect(address)
        wire.send(b"let me in")
        if not socket.poll(wait_ms):
            return False
        socket.recv_multipart()
        return True


def test_a_broker_whose_allow_list_died_hears_nobody() -> None:
    server, guest = new_keys(), new_keys()
    broker = Broker(server, {guest.public})
    try:
        for socket, address in (
            (broker._agents, broker.endpoints.agents),
            (broker._workers, broker.endpoints.workers),
        ):
            assert heard(socket, address, server.public, guest, 60_000)
        broker._allow.close()
        for socket, address in (
            (broker._agents, broker.endpoints.agents),
            (broker._workers, broker.endpoints.workers),
        ):
            assert not heard(socket, address, server.public, new_keys(), STRANGER_MS)
    finally:
        broker.close()


def test_a_supervisor_whose_allow_list_died_hears_nobody(tmp_path: Path) -> None:
    pair, guest = rack.new_key(tmp_path / "server.key"), new_keys()
    with zmq.Context() as context:
        allow = rack.AllowList(context, {guest.public})
        socket, address = bound(context, pair)
        try:
            assert heard(socket, address, pair.public, guest, 60_000)
            allow.close()
            assert not heard(socket, address, pair.public, new_keys(), STRANGER_MS)
        finally:
            socket.close(linger=0)


def test_every_socket_with_a_domain_enforces_it() -> None:
    found = 0
    for room in ("controller", "backends", "firmware_stubs", "quantum"):
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            domains = text.count(".zap_domain")
            assert domains == text.count("zmq.ZAP_ENFORCE_DOMAIN"), path
            found += domains
    assert found >= 2
