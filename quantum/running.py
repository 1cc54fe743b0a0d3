"""Whether a process of this machine is running, seen from outside."""

from pathlib import Path

__all__ = ["is_running"]


def is_running(pid: int) -> bool:
    """Tell whether a process of this machine is there, and neither stopped nor a zombie.

    Where there is no ``/proc``, every process counts as running: its heart has to tell.

    >>> import os
    >>> is_running(os.getpid())
    True
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return not Path("/proc/self/stat").exists()
    # The second field is a name in brackets, and may hold anything.
    return text.rpartition(")")[2].split()[0] not in "TtZXx"
