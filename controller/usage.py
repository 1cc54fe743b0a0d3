"""What the processes of a benchmark use: processor time and memory, read from /proc."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from quantum.errors import InputError

__all__ = ["Point", "grouped", "need_proc", "point", "points"]

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_KIB = 1024.0


class Point(msgspec.Struct, frozen=True):
    """What a process has used so far: processor seconds, resident MiB."""

    cpu_s: float
    memory_mib: float


def need_proc(what: str) -> None:
    """Raise :class:`InputError` where the system has no /proc."""
    if not Path("/proc/self/stat").exists():
        raise InputError(f"{what} reads /proc, which only Linux has")


def grouped(values: Mapping[str, float]) -> dict[str, float]:
    """Sum what belongs to the broker, to all agents and to all workers.

    >>> grouped({"broker": 3.0, "agent-0": 1.0, "agent-1": 1.5, "worker-0": 2.0})
    {'broker': 3.0, 'agents': 2.5, 'workers': 2.0}
    """
    kinds = {"broker": "broker", "agent": "agents", "worker": "workers"}
    return {
        plural: sum(value for name, value in values.items() if name.startswith(kind))
        for kind, plural in kinds.items()
    }


def points() -> dict[str, Point]:
    """Look at this process, the broker, and at the agents and workers that it has started."""
    found = {"broker": point(os.getpid())}
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"-m" in words:
            found[Path(words[-2].decode()).stem] = point(int(pid))
    return found


def point(pid: int) -> Point:
    """Look at one process; OSError where it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Point((int(fields[11]) + int(fields[12])) * _TICK_S, int(resident.split()[1]) / _KIB)
