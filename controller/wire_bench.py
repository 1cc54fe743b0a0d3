"""``dpem bench wire``: requests per second of ``dpem serve`` beside one raw hop, in the same run.

The service is a process of its own, as a user starts it, on the paper's network with hardware that
is fast enough to be asked so often; requests are authenticated, allocated from stock by searches
and swaps, executed in closed form and journalled before their answers leave. The reference is a
ROUTER that decodes and encodes the same messages under CURVE and does nothing else. Both are
measured in turns, each by the best of its runs, and each meets the same thousand clients. What a
service does that is asked for ten times what it can give is measured on a slower network.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import zmq

from controller.client import Client
from controller.security.keys import KeyPair, new_keys
from controller.service.config import NetworkConfig, load_config
from controller.service.terms import Terms
from controller.setting import Setting, scenario_of
from controller.usage import need_proc, point
from controller.wire_crowds import SHORT_S, Asking, crowds, dealer, overload
from quantum.requests import Ask, Granted, Leave, decode_answer, encode_request
from quantum.topology import to_json

__all__ = ["wire"]

#: Rates of generation and swaps over the paper's, and qubits.
MORE_PAIRS, MORE_SWAPS, QUBITS = 100.0, 1000.0, 256
#: Half of the paper's load on so much hardware: the service is measured, not a shortage of pairs.
LOAD_HZ = 3000.0
#: The same for a network that can be asked for ten times more than it has.
SLOWER, SLOW_LOAD_HZ = 4.0, 240.0
RUNS = 5
COUNT, LOCK_STEP = 20_000, 5_000
WARM = 2_000
_DEADLINE_S = 5.0
_SERVE = "from quantum.cli import main; main()"


def wire() -> dict[str, Any]:
    """Measure the service, its durable journal, a crowd of clients, and the raw hop."""
    need_proc("dpem bench wire")
    with tempfile.TemporaryDirectory(prefix="dpem-bench-") as name:
        folder = Path(name)
        commodities = _prepare(folder)
        best: dict[str, dict[str, float]] = {"raw": {}, "service": {}}
        with _service(folder, "plain") as (client, pid), _raw() as (raw, raw_pid, at):
            before = point(pid).memory_mib
            ends = {"raw": (raw, raw_pid), "service": (client.socket, pid)}
            makers = {
                "raw": _asks(commodities, os.urandom(12), time.monotonic),
                "service": _asks(commodities, client.session, client.now),
            }
            granted = 0
            for _ in range(RUNS):
                for which, (socket, server) in ends.items():
                    for window in (16, 128):
                        used = point(server).cpu_s
                        rate, good = _pipelined(socket, makers[which], window, COUNT)
                        used = 1e6 * (point(server).cpu_s - used) / (COUNT + WARM)
                        _keep(best[which], f"window_{window}", rate, max)
                        _keep(best[which], f"cpu_us_{window}", used, min)
                        granted += good if which == "service" else 0
                    p50, p99, good = _lock_step(socket, makers[which])
                    granted += good if which == "service" else 0
                    _keep(best[which], "p50", p50, min)
                    _keep(best[which], "p99", p99, min)
            asked = RUNS * (2 * (COUNT + WARM) + LOCK_STEP + WARM)
            doors = {
                "raw_": (*at, makers["raw"]),
                "": (client.address, client.server_key, client.keys, makers["service"]),
            }
            crowd = crowds(doors)
            raw.send(encode_request(Leave(b"")))
            after = point(pid).memory_mib
        with _service(folder, "slow", network="slow", load_hz=SLOW_LOAD_HZ, pace="wall") as (
            client,
            pid,
        ):
            flood = overload(client, pid, _asks(commodities, client.session, client.now, SHORT_S))
        with _service(folder, "durable", durable=True) as (client, _):
            maker = _asks(commodities, client.session, client.now)
            durable = {
                f"durable_requests_per_s_{window}": _pipelined(
                    client.socket, maker, window, 2_000, 200
                )[0]
                for window in (16, 128)
            }
    mine, base = best["service"], best["raw"]
    return {
        "name": "wire",
        "results": {
            "requests_per_s_16": mine["window_16"],
            "requests_per_s_128": mine["window_128"],
            **{f"cpu_us_per_request_{window}": mine[f"cpu_us_{window}"] for window in (16, 128)},
            "p50_us": mine["p50"],
            "p99_us": mine["p99"],
            "granted_share": granted / asked,
            **durable,
            **crowd,
            **flood,
            "memory_mb_before": before,
            "memory_mb_after": after,
        },
        "reference": {
            "raw_requests_per_s_16": base["window_16"],
            "raw_requests_per_s_128": base["window_128"],
            **{f"raw_cpu_us_per_request_{w}": base[f"cpu_us_{w}"] for w in (16, 128)},
            "raw_p50_us": base["p50"],
            "raw_p99_us": base["p99"],
            "raw": f"one DEALER/ROUTER hop, msgspec and CURVE; best of {RUNS}, in turns",
        },
        "ratio": {
            "window_16": mine["window_16"] / base["window_16"],
            "window_128": mine["window_128"] / base["window_128"],
            **{f"cpu_{w}": base[f"cpu_us_{w}"] / mine[f"cpu_us_{w}"] for w in (16, 128)},
            "p50": mine["p50"] / base["p50"],
            "p99": mine["p99"] / base["p99"],
            "crowd": crowd["crowd_requests_per_s"] / crowd["raw_crowd_requests_per_s"],
            "overload_goodput": flood["overload_granted_per_s"] / flood["peak_granted_per_s"],
        },
    }


def _keep(best: dict[str, float], name: str, value: float, better: Callable[..., float]) -> None:
    best[name] = better(best.get(name, value), value)


def _prepare(folder: Path) -> list[tuple[str, str]]:
    """Write the networks, and return who asks for pairs with whom."""
    scenario = scenario_of(Setting(demand="poisson"))
    network = scenario.network
    for name, pairs, swaps in (("network", MORE_PAIRS, MORE_SWAPS), ("slow", SLOWER, SLOWER)):
        faster = replace(
            network,
            name=f"mesh-{name}",
            generation_hz=network.generation_hz * pairs,
            swap_hz=network.swap_hz * swaps,
            qubits=np.full(len(network.nodes), QUBITS),
        )
        (folder / f"{name}.json").write_bytes(to_json(faster))
    names = network.nodes
    return [(names[a], names[b]) for a, b in scenario.trace.commodities.tolist()]


@contextlib.contextmanager
def _service(
    folder: Path,
    name: str,
    *,
    durable: bool = False,
    network: str = "network",
    load_hz: float = LOAD_HZ,
    pace: Literal["wall", "virtual"] = "virtual",
) -> Iterator[tuple[Client, int]]:
    """Start ``dpem serve`` and open a session with it."""
    terms = Terms(pace=pace, rate_hz=1e7, burst=1_000_000, remembered=2_000_000, grace_s=1.0)
    of = NetworkConfig(topology=str(folder / f"{network}.json"), load_hz=load_hz)
    path = folder / f"{name}.toml"
    lines = [
        'address = "tcp://127.0.0.1:0"',
        f'keys = "{folder / "keys"}"',
        f'journal = "{folder / name}.db"',
        f"durable = {str(durable).lower()}",
    ]
    for table, values in (("network", of), ("terms", terms)):
        lines.append(f"[{table}]")
        for key, value in msgspec.structs.asdict(values).items():
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    path.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, "serve", "--config", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().replace(",", "").split()
        server, own = load_config(str(path)).client_pair()
        with Client(words[words.index("at") + 1], server, own, name="bench", queue=0) as client:
            yield client, process.pid
    finally:
        process.terminate()
        process.communicate(timeout=30.0)


@contextlib.contextmanager
def _raw() -> Iterator[tuple["zmq.Socket[bytes]", int, tuple[str, str, KeyPair]]]:
    """Start the raw hop; yields a socket, the process, and where others find it."""
    server, own = new_keys(), new_keys()
    process = subprocess.Popen(
        [sys.executable, "-m", "controller.wire_raw"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"WIRE_PUBLIC": server.public, "WIRE_SECRET": server.secret},
    )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        socket = dealer(context, server.public, own)
        address = f"tcp://127.0.0.1:{port}"
        socket.connect(address)
        yield socket, process.pid, (address, server.public, own)
    finally:
        context.destroy(linger=200)
        process.terminate()
        process.communicate(timeout=10.0)


def _asks(
    commodities: list[tuple[str, str]],
    session: bytes,
    clock: Callable[[], float],
    ahead_s: float = _DEADLINE_S,
) -> Asking:
    """Return what writes the next request: one pair, of either fidelity of the paper's."""
    rng = np.random.default_rng(0)
    order = rng.integers(len(commodities), size=1 << 16).tolist()
    number, run = 0, os.urandom(8)

    def ask() -> bytes:
        nonlocal number
        number += 1
        source, destination = commodities[order[number & 0xFFFF]]
        fidelity = 0.75 if number & 1 else 0.85
        rid = run + number.to_bytes(8, "little")
        deadline_s = clock() + ahead_s
        return encode_request(Ask(rid, session, source, destination, deadline_s, 1, fidelity))

    return ask


def _pipelined(
    socket: "zmq.Socket[bytes]", ask: Asking, window: int, count: int, warm: int = WARM
) -> tuple[float, int]:
    """Keep ``window`` requests in flight; returns answers per second and how many were granted."""
    total, sent, got, good, began = count + warm, 0, 0, 0, time.perf_counter()
    while got < total:
        while sent < total and sent - got < window:
            socket.send(ask())
            sent += 1
        frame = socket.recv()
        with contextlib.suppress(zmq.Again):
            while True:
                good += isinstance(decode_answer(frame), Granted)
                got += 1
                if got == warm:
                    began = time.perf_counter()
                frame = socket.recv(zmq.NOBLOCK)
    return count / (time.perf_counter() - began), good


def _lock_step(socket: "zmq.Socket[bytes]", ask: Asking) -> tuple[float, float, int]:
    """Send one request after the other; returns p50 and p99 in us, and how many were granted."""
    took, good = [], 0
    for number in range(LOCK_STEP + WARM):
        began = time.perf_counter_ns()
        socket.send(ask())
        good += isinstance(decode_answer(socket.recv()), Granted)
        if number >= WARM:
            took.append(time.perf_counter_ns() - began)
    p50, p99 = np.percentile(took, [50, 99]) / 1e3
    return float(p50), float(p99), good
