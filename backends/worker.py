"""The worker's socket loop: jobs from the broker, executed on one backend, one at a time.

``python -m backends.worker CONFIG`` with a JSON file of :class:`quantum.joining.WorkerConfig`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import zmq

from backends.contract import Backend, Follower
from backends.service import execute
from quantum.egp import VERSION, Bye, Hello, Job, Refuse, Welcome
from quantum.errors import DeviceError, InputError, RequestError, WireError
from quantum.joining import WorkerConfig
from quantum.seeding import generator
from quantum.wire import MAX_BYTES, decode, encode

__all__ = ["known_backends", "main", "open_backend", "work"]

#: A worker that hears nothing for so long says hello again.
SILENCE_MS = 10_000
#: A backend with nothing to do between jobs is asked again after so long.
IDLE_MS = 20


def known_backends() -> list[str]:
    """Return the names of the installed backends."""
    return sorted(point.name for point in entry_points(group="dpem.backends"))


def open_backend(name: str, rack: str | None = None) -> Backend:
    """Open a backend by its name; only ``lab`` takes a rack file."""
    for point in entry_points(group="dpem.backends"):
        if point.name == name:
            factory = point.load()
            backend = factory(Path(rack)) if rack else factory()
            assert isinstance(backend, Backend)
            return backend
    raise InputError(f"backend {name!r} is unknown; known: {', '.join(known_backends())}")


def work(config: WorkerConfig) -> None:
    """Serve jobs until the broker says goodbye."""
    backend = open_backend(config.backend, config.rack)
    if config.pulse and isinstance(backend, Follower):
        backend.follow(config)
        try:
            backend.prepare()
        except BaseException:
            backend.close()
            raise
    rng = generator(config.seed, "worker", config.name)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger, socket.maxmsgsize, socket.immediate = 500, MAX_BYTES, True
    socket.curve_serverkey = config.server_key.encode()
    socket.curve_publickey = config.public_key.encode()
    socket.curve_secretkey = config.secret_key.encode()
    hello = encode(Hello(VERSION, "worker", config.name, keeps=backend.keeps))
    idle: Callable[[], bool] | None = getattr(backend, "idle", None)
    parent = os.getppid()
    try:
        socket.connect(config.address)
        socket.send(hello)
        while True:
            if not _heard(socket, idle):
                if os.getppid() != parent:
                    return  # whoever started us was killed; nobody will say goodbye
                socket.send(hello)
                continue
            try:
                message = decode(socket.recv())
            except WireError:
                continue
            match message:
                case Job():
                    socket.send(encode(execute(backend, message, rng)))
                case Bye():
                    return
                case Refuse(_, detail):
                    raise InputError(f"the broker refused worker {config.name}: {detail}")
                case Welcome():
                    pass
                case _:
                    pass
    finally:
        backend.close()
        context.destroy(linger=500)


def _heard(socket: "zmq.Socket[bytes]", idle: Callable[[], bool] | None) -> bool:
    """Wait for a message; False after :data:`SILENCE_MS` without one.

    ``idle`` is what a backend does between jobs, a short step at a time; False where it has nothing
    to do.
    """
    if idle is None:
        return bool(socket.poll(SILENCE_MS))
    until = time.monotonic() + SILENCE_MS * 1e-3
    while time.monotonic() < until:
        if socket.poll(0):
            return True
        if not idle() and socket.poll(IDLE_MS):
            return True
    return False


def main() -> None:
    """Run a worker process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerConfig)
    try:
        work(config)
    except (InputError, DeviceError, RequestError) as wrong:
        sys.stderr.write(f"dpem worker: {wrong}\n")
        sys.exit(wrong.exit_code)


if __name__ == "__main__":
    main()
