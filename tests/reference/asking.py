"""An application as a process that may be killed at any moment: it asks until it is ended.

``python asking.py CONFIG KEY ADDRESS FILE SEED`` asks over a session at ``ADDRESS`` and never gives
a request up. Each answer is a line of ``FILE`` before anything else is asked; the request under way
stands beside it, so that an application that is started again asks for the same one.
"""

import os
import random
import signal
import sys
from pathlib import Path

from controller.client import Client
from controller.security.keys import load_pair
from controller.service.config import load_config
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import encode_request

#: On a busy machine a service may take a minute to start: nobody's time is over by then, and
#: whoever asks again still gets the answer of before.
DEADLINE_S = 3000.0
NODES = "abcd"


def under_way(file: Path) -> Path:
    """Return where the request stands that has no answer yet."""
    return file.with_suffix(".asked")


def answer(client: Client, rid: bytes, a: str, b: str, pairs: int) -> bytes:
    """Ask until somebody answers."""
    while True:
        try:
            return encode_request(
                client.request(
                    a, b, rid=rid, pairs=pairs, minimum_fidelity=0.6, deadline_s=DEADLINE_S
                )
            )
        except DeviceTimeout:
            continue  # nobody was there to open a session with
        except RequestError as wrong:
            # The client says TIMEOUT itself where it was told nothing.
            if wrong.code is not Code.TIMEOUT or "no answer from" not in wrong.detail:
                raise


def main(config: str, key: str, address: str, name: str, seed: str) -> None:
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    file, rng = Path(name), random.Random(seed)
    told = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    server, _ = load_config(config).client_pair()
    client = Client(address, server, load_pair(Path(key)), hello_s=60.0)
    before = under_way(file).read_text().split() if under_way(file).exists() else []
    while not over:
        if before:
            rid, a, b, pairs = bytes.fromhex(before[0]), before[1], before[2], int(before[3])
            before = []
        else:
            (a, b), rid, pairs = rng.sample(NODES, 2), rng.randbytes(16), rng.randint(1, 2)
            fresh = under_way(file).with_suffix(".new")
            fresh.write_text(f"{rid.hex()} {a} {b} {pairs}")
            fresh.replace(under_way(file))
        first = answer(client, rid, a, b, pairs)
        os.write(told, first.hex().encode() + b"\n")
        if rng.random() < 0.3:
            assert answer(client, rid, a, b, pairs) == first
        for expired in client.expired():
            os.write(told, encode_request(expired).hex().encode() + b"\n")
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
