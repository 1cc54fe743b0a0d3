"""``dpem bench ray``: a comparison on two local Ray nodes of one core each, beside one process.

The same command line as a person gives, in processes of their own, with the same result byte for
byte. What counts is the time that passes, so the cores have to be idle. Linux only.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from quantum.errors import EngineError, InputError

__all__ = ["ray"]

#: Four minutes of one core: joining a cluster costs seconds.
_ALLOCATORS = "mean-rate,uniform,on-demand,dpem-frozen"
_LINE: tuple[str, ...] = ("compare", "--topology", "mesh", "--demand", "poisson", "--quiet")
_LINE += ("--seconds", "60", "--allocators", _ALLOCATORS)
_SEEDS = 24
_MARK = "DPEM_BENCH_NODE"


def ray(seeds: int = _SEEDS) -> dict[str, Any]:
    """Measure three units for each of ``seeds``; raises EngineError where results differ."""
    try:
        import ray as _  # noqa: F401
    except ImportError:
        raise InputError("bench ray needs Ray: pip install 'dpem[ray]'") from None
    if sys.platform != "linux":
        raise InputError("bench ray reads /proc: Linux only")
    line = (*_LINE, "--seeds", str(seeds))
    with tempfile.TemporaryDirectory(prefix="dpem-bench-") as folder:
        # Kernels that are not compiled yet would count against whoever comes first.
        _timed((*_LINE, "--seeds", "1", "--processes", "1"), Path(folder) / "warm", {})
        one_s, one_cpu_s, wanted = _timed((*line, "--processes", "1"), Path(folder) / "one", {})
        with _nodes() as (address, environment):
            far = ("--engine", "ray", "--ray-address", address)
            two_s, driver_s, found = _timed((*line, *far), Path(folder) / "two", environment)
    if found != wanted:
        raise EngineError("two nodes and one process found different results")
    return {
        "name": "ray",
        "results": {"seconds": two_s, "driver_cpu_s": driver_s, "seeds": seeds},
        "reference": {"seconds": one_s, "cpu_s": one_cpu_s},
        "ratio": {"faster": one_s / two_s},
    }


def _timed(
    line: tuple[str, ...], folder: Path, environment: Mapping[str, str]
) -> tuple[float, float, bytes]:
    """Return seconds, processor seconds and the result of a command."""
    folder.mkdir()
    words = [*line, "--out", str(folder / "out"), "--json", str(folder / "found.json")]
    began_s, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", "from quantum.cli import main; main()", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s, after = time.monotonic() - began_s, os.times()
    if done.returncode:
        raise EngineError(f"the comparison failed: {done.stderr.strip().splitlines()[-1:]}")
    cpu_s = sum(after[2:4]) - sum(before[2:4])
    return took_s, cpu_s, (folder / "found.json").read_bytes()


@contextmanager
def _nodes() -> Iterator[tuple[str, dict[str, str]]]:
    """Start two nodes of one core; yields their address, and what a driver has to be told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    marks = [secrets.token_hex(8) for _ in range(2)]
    own = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"]
    head = ["--head", "--port", str(port), "--include-dashboard", "false"]
    address = f"127.0.0.1:{port}"
    try:
        for words, mark in zip((head, ["--address", address]), marks, strict=True):
            done = subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *own],
                env=os.environ | environment | {_MARK: mark},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise EngineError(f"Ray does not start: {done.stderr.strip()[-200:]}")
        yield address, environment
    finally:
        for mark in marks:
            for pid in _marked(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _marked(mark: str) -> list[int]:
    """Return the processes that inherited a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{_MARK}={mark}".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found
