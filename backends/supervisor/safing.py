"""The safe state of an instrument: what is commanded, by what it can do, and how it is read back.

The same few lines serve the supervisor, the emergency stop and the guardian.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeGuard

from backends.drivers.capabilities import (
    DetectorBias,
    Interruptible,
    Light,
    OpticalSwitch,
    Rotator,
    Shutter,
    Striking,
)
from quantum.errors import DpemError
from quantum.rack_safety import SafeEntry

__all__ = ["Safed", "all_safe", "command_safe", "in_parallel", "interrupt", "read_back"]


class Safed(NamedTuple):
    """What came of making one instrument safe; times are of ``time.monotonic``.

    ``written_s``: all commands of the safe state had been written once. They are given a second
    time when they are verified.
    """

    written_s: float
    done_s: float
    read_back: str
    trouble: str

    @property
    def safe(self) -> bool:
        """Whether the safe state was commanded and read back."""
        return not self.trouble


def command_safe(driver: Any, safe: SafeEntry) -> None:
    """Command the safe state: light first, then detectors, switch, motion, and all the rest."""
    if safe.do == "hold":
        return
    known = False
    if isinstance(driver, Shutter):
        known = True
        driver.set_open(False)
    if _shines(driver):
        known = True
        driver.set_output(False)
    if isinstance(driver, DetectorBias):
        known = True
        driver.set_bias_ua((0.0,) * len(driver.bias_ua()))
    if isinstance(driver, OpticalSwitch):
        known = True
        if safe.park:
            driver.connect(dict(safe.park))
        else:
            # Its own way to park takes over what somebody else has connected.
            driver.safe_state()
    if isinstance(driver, Rotator):
        known = True
        driver.stop()
    if not known:
        driver.safe_state()


def read_back(driver: Any, safe: SafeEntry) -> tuple[str, bool]:
    """Read the state that matters: in words, and whether it is the safe one."""
    if safe.do == "hold":
        return "held as it was", True
    said: list[str] = []
    fine = True
    if isinstance(driver, Shutter):
        is_open = driver.is_open()
        said.append("shutter open" if is_open else "shutter closed")
        fine = fine and not is_open
    if _shines(driver):
        lit = driver.output()
        said.append("light on" if lit else "light off")
        fine = fine and not lit
    if isinstance(driver, DetectorBias):
        bias = driver.bias_ua()
        said.append(f"bias {max(map(abs, bias), default=0.0):g} uA")
        fine = fine and all(abs(value) < 1e-3 for value in bias)
    if isinstance(driver, OpticalSwitch):
        joined = driver.connections()
        said.append(f"connections {joined}")
        fine = fine and joined == dict(safe.park)
    # Drivers without these verify their own safe state, or raise.
    return ", ".join(said) or "safe state confirmed by the driver", fine


def _shines(driver: Any) -> TypeGuard[Light]:
    """Tell whether there is light to switch off: one driver may serve lasers and meters."""
    return isinstance(driver, Light) and getattr(driver, "shines", True)


def in_parallel(
    pool: ThreadPoolExecutor, works: Mapping[str, Callable[[], Safed]], patience_s: float
) -> dict[str, Safed]:
    """Make instruments safe at once; one that does not come back in time is not safe."""
    futures: dict[str, Future[Safed]] = {name: pool.submit(work) for name, work in works.items()}
    wait(futures.values(), timeout=patience_s)
    now = time.monotonic()
    out = {}
    for name, future in futures.items():
        if future.done():
            out[name] = future.result()
        else:
            out[name] = Safed(now, now, "", f"no answer within {patience_s:g} s")
    return out


def all_safe(driver: Any, safe: SafeEntry) -> Safed:
    """Command the safe state and read it back; trouble is told, never raised."""
    written = time.monotonic()
    try:
        struck = isinstance(driver, Striking) and safe == SafeEntry()
        if struck:
            # All is written before anything is awaited: an instrument may be slow to answer.
            written = driver.strike()
        command_safe(driver, safe)
        written = written if struck else time.monotonic()
        said, fine = read_back(driver, safe)
    except (DpemError, OSError) as wrong:
        return Safed(written, time.monotonic(), "", str(wrong) or type(wrong).__name__)
    return Safed(written, time.monotonic(), said, "" if fine else f"not safe: {said}")


def interrupt(driver: Any, safe: SafeEntry) -> float | None:
    """Command the safe state of an instrument that a thread is using, where its driver knows how.

    Returns when it was written, by ``time.monotonic``; None where it was not.
    """
    if not isinstance(driver, Interruptible) or safe != SafeEntry():
        return None
    try:
        return driver.interrupt()
    except (DpemError, OSError):
        return None
