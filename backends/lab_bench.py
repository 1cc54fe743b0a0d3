"""What drivers cost beside the wire they use: ``dpem bench lab``.

Every figure stands beside a loop that only moves messages of the same kind and size between two
processes, measured in the same run. Times are CPU seconds of this process, so that other work on
the machine disturbs them little; rates of tags are by the wall clock, and say so.
"""

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import zmq

from backends.drivers.id900 import ID900
from backends.drivers.id900_datalink import DataLink
from backends.rack import StubProcess, driver_of
from backends.stop_bench import stops

__all__ = ["lab"]

_TURNS = 5
_CALLS = 40
_WINDOWS = 20
_WINDOW_S = 0.005

#: What is asked of each driver, and how many bytes go and come for it.
_ASKS: dict[str, tuple[Callable[[Any], object], int, int]] = {
    "id900": (lambda d: d.identify(), 5, 22),
    "polatis": (lambda d: d.connections(), 25, 8),
    "websq": (lambda d: d.bias_ua(), 45, 1100),
    "apt": (lambda d: d.ping(), 6, 20),
    "epc": (lambda d: d.voltages_mv(), 4, 60),
    "pc_rpc": (lambda d: d.is_open(), 60, 30),
    "scpi": (lambda d: d.output(), 6, 2),
}
_SERIAL = ("apt", "epc")

#: A million and a half clicks a second on four inputs.
_BRIGHT = "[bench]\nrate_hz = 1.0e6\ntransmission = [0.9, 0.9]\nefficiency = [0.9, 0.9, 0.9, 0.9]\n"
_SUBS = 10

#: Emergency stops, and how long more of them are begun, s.
_STOPS = 30
_STOPS_S = 60.0


def lab() -> dict[str, Any]:
    """Measure the cost of a command for each kind, of a window, of a million tags; then stops."""
    results: dict[str, Any] = {}
    reference: dict[str, Any] = {
        "command": "CPU us of a bare exchange of as many bytes over the same kind of wire",
        "tags": "the same messages over a bare PAIR socket, read into arrays and thrown away",
    }
    ratio: dict[str, Any] = {}
    for kind, (ask, sent, got) in _ASKS.items():
        with StubProcess(kind, []) as stub:
            driver = driver_of(kind)(stub.address)
            try:
                results[f"{kind}_command_cpu_us"] = _cpu_us(partial(ask, driver))
            finally:
                driver.close()
        with _echo(kind, got) as exchange:
            bare = _cpu_us(partial(exchange, b"x" * sent))
        reference[f"{kind}_command_cpu_us"] = bare
        ratio[f"{kind}_command"] = results[f"{kind}_command_cpu_us"] / bare
    results["id900_window_cpu_us"] = _window_cpu_us()
    results |= (tags := _tags())
    bare_tags = _bare_tags()
    reference |= bare_tags
    ratio["tags_cpu"] = tags["driver_cpu_s_per_million_tags"] / bare_tags["cpu_s_per_million_tags"]
    results |= stops(_STOPS, _STOPS_S)
    return {"name": "lab", "results": results, "reference": reference, "ratio": ratio}


def _cpu_us(act: Callable[[], object], calls: int = _CALLS) -> float:
    act()
    costs = []
    for _ in range(_TURNS):
        begin = time.process_time()
        for _ in range(calls):
            act()
        costs.append((time.process_time() - begin) / calls * 1e6)
    return median(costs)


def _window_cpu_us() -> float:
    with StubProcess("id900", ["--speed", "20"]) as stub:
        driver = ID900(stub.address, settle_s=0.0, shared_clock=True)
        try:
            driver.configure(_WINDOW_S)
            driver.set_basis("zz")
            return _cpu_us(lambda: driver.coincidences(_WINDOW_S), _WINDOWS)
        finally:
            driver.close()


def _tags() -> dict[str, float]:
    """Stream tags through the driver: rate by the wall clock, CPU of both processes."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "bright.toml"
        scenario.write_text(_BRIGHT, encoding="utf-8")
        with StubProcess("id900", ["--scenario", str(scenario)]) as stub:
            assert stub.datalink is not None
            driver, link = ID900(stub.address), DataLink(stub.datalink)
            try:
                driver.configure(0.02)
                theirs, ours = _cpu_of(stub.pid), time.process_time()
                begin, count = time.monotonic(), 0
                for tags in driver.tags(link, subs=_SUBS):
                    count += len(tags.times_ps)
                took = time.monotonic() - begin
                ours, theirs = time.process_time() - ours, _cpu_of(stub.pid) - theirs
            finally:
                driver.close()
                link.close()
    return {
        "tags_per_s": count / took,
        "driver_cpu_s_per_million_tags": ours / count * 1e6,
        "stub_cpu_s_per_million_tags": theirs / count * 1e6,
    }


def _bare_tags() -> dict[str, float]:
    """Read messages of as many tags from a bare socket of another process."""
    import numpy as np

    size, messages = 400_000, 40
    program = (
        "import zmq,sys\n"
        "c=zmq.Context();s=c.socket(zmq.PAIR);s.setsockopt(zmq.SNDHWM,2)\n"
        "print(s.bind_to_random_port('tcp://127.0.0.1'),flush=True)\n"
        "b=bytes(8*int(sys.argv[1]))\n"
        "[s.send(b,copy=False) for _ in range(int(sys.argv[2]))]\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(size), str(messages)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with zmq.Context() as context, context.socket(zmq.PAIR) as wire:
            wire.setsockopt(zmq.LINGER, 0)
            wire.setsockopt(zmq.RCVHWM, 2)
            wire.connect(f"tcp://127.0.0.1:{port}")
            begin, cpu = time.monotonic(), time.process_time()
            for _ in range(messages):
                np.frombuffer(wire.recv(copy=False).buffer, dtype="<u8")
            took, cpu = time.monotonic() - begin, time.process_time() - cpu
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
    million = size * messages / 1e6
    return {"tags_per_s": million / took * 1e6, "cpu_s_per_million_tags": cpu / million}


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _echo(kind: str, got: int) -> Iterator[Callable[[bytes], object]]:
    """Give a bare exchange with a process that answers ``got`` bytes to whatever it is told."""
    if kind == "id900":
        with _echo_frames(got) as frames:
            yield frames
        return
    open_ones: list[socket.socket] = []
    if kind in _SERIAL:
        far, near = os.openpty()
        tty.setraw(near)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            open_ones.append(socket.create_connection(listener.getsockname()))
            open_ones.append(listener.accept()[0])
        for one in open_ones:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, far = (one.fileno() for one in open_ones)
    program = (
        "import os,select,sys\n"
        "n=int(sys.argv[1])\n"
        "while True:\n"
        "    r,_,_=select.select([n,0],[],[])\n"
        "    if 0 in r: break\n"
        "    os.read(n,65536); os.write(n,b'x'*int(sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(far), str(got)], stdin=subprocess.PIPE, pass_fds=[far]
    )

    def exchange(data: bytes) -> None:
        os.write(near, data)
        had = 0
        while had < got:
            select.select([near], [], [])
            had += len(os.read(near, 65536))

    try:
        yield exchange
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        for one in open_ones:
            one.close()
        if not open_ones:
            os.close(near)
            os.close(far)


@contextmanager
def _echo_frames(got: int) -> Iterator[Callable[[bytes], object]]:
    program = (
        "import zmq,sys\n"
        "c=zmq.Context();s=c.socket(zmq.REP)\n"
        "print(s.bind_to_random_port('tcp://127.0.0.1'),flush=True)\n"
        "p=zmq.Poller();p.register(s,1);p.register(0,1)\n"
        "while True:\n"
        "    r=dict(p.poll())\n"
        "    if 0 in r: break\n"
        "    s.recv();s.send(b'x'*int(sys.argv[1]))\n"
        "s.close(0);c.term()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(got)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with zmq.Context() as context, context.socket(zmq.REQ) as wire:
            wire.setsockopt(zmq.LINGER, 0)
            wire.connect(f"tcp://127.0.0.1:{port}")

            def exchange(data: bytes) -> bytes:
                wire.send(data)
                return wire.recv()

            yield exchange
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
