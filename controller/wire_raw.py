"""The least that a request could cost: one hop to a ROUTER that decodes, encodes and knows nothing.

``python -m controller.wire_raw``, with its keys in the environment, listens on a free port of
loopback with CURVE, says which, and answers every request by the same pair. For
:mod:`controller.wire_bench` only.
"""

import os
import sys

import zmq

from quantum.requests import (
    Ask,
    Granted,
    Measured,
    Pair,
    decode_ask,
    encode_request,
)

__all__ = ["main"]


def main() -> None:
    """Answer until a frame comes that is no request."""
    public, secret = (os.environ[name].encode() for name in ("WIRE_PUBLIC", "WIRE_SECRET"))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    socket.sndhwm = socket.rcvhwm = 0
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = public, secret
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    kinds, sequence = (Measured(0.8, 0.85, 0.9, 1000, 0.1),), 0
    receive, send = socket.recv_multipart, socket.send_multipart
    while True:
        frames = receive()
        ask = decode_ask(frames[-1])
        if not isinstance(ask, Ask):
            break
        sequence += 1
        pair = Pair(ask.source, ask.destination, sequence, 0.875, 0)
        frames[-1] = encode_request(Granted(ask.rid, (pair,), kinds))
        send(frames)
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
