"""Open the instruments of a rack: at their address, or as a firmware stub that ends with us."""

import contextlib
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from backends.drivers.capabilities import PairTester
from backends.drivers.session_lines import Channel
from backends.drivers.sessions import Session
from quantum.errors import DeviceError, DeviceTimeout, InputError, RecordError
from quantum.rack import STUB, InstrumentEntry
from quantum.words import near

__all__ = [
    "FOUR_LINKS",
    "SHIPPED_RACK",
    "StubProcess",
    "driver_of",
    "open_instrument",
    "settings_of",
    "stub_options",
]

#: The rack that is used when none is given: one stub.
SHIPPED_RACK = Path(__file__).parent / "racks" / "id900.toml"
#: Four links that share their detectors through a switch, on stubs.
FOUR_LINKS = Path(__file__).parent / "racks" / "four-links.toml"

_FIRST_LINE = re.compile(
    r"(?P<kind>\S+) (?P<address>(?:tcp|serial)://\S+) control (?P<control>tcp://\S+)"
    r"( datalink (?P<datalink>tcp://\S+))?\n\Z"
)
_START_S = 60.0
_STOP_S = 5.0


class StubProcess:
    """A firmware stub in a process of its own; ``address`` and ``control`` say where it listens.

    ``datalink`` is where the time tags of an ID900 are asked for, None for other kinds.
    The stub watches its standard input, so it also ends when this process dies.
    """

    def __init__(self, kind: str, options: list[str], *, patience_s: float = _START_S) -> None:
        command = [sys.executable, "-m", "firmware_stubs", kind, "--until-eof", *options]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A Ctrl-C at the terminal is for us: we leave the stub in its safe state first.
            start_new_session=True,
        )
        try:
            line = self._first_line(patience_s)
            parts = _FIRST_LINE.match(line)
            if parts is None:
                raise DeviceError(f"stub {kind} did not start: {self._complaint() or line!r}")
        except DeviceError:
            self.close()
            raise
        self.address = parts["address"]
        self.control = parts["control"]
        self.datalink: str | None = parts["datalink"]

    @property
    def pid(self) -> int:
        """Process id of the stub."""
        return self._process.pid

    def close(self) -> None:
        """End the stub and wait for it; safe to call twice."""
        process = self._process
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                # A stub that died leaves a broken pipe: nothing to flush to.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _first_line(self, patience_s: float) -> str:
        out = self._process.stdout
        assert out is not None
        deadline = time.monotonic() + patience_s
        ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise DeviceTimeout(f"the stub did not start within {patience_s:g} s")
        return out.readline().decode("utf-8", errors="replace")

    def _complaint(self) -> str:
        """Return the last line that a stub which ended wrote to standard error."""
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        if self._process.poll() is None or self._process.stderr is None:
            return ""
        lines = self._process.stderr.read().decode("utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""


def driver_of(kind: str) -> Callable[..., PairTester]:
    """Return what opens an instrument of a kind (entry points of the group ``dpem.drivers``)."""
    known = {point.name: point for point in entry_points(group="dpem.drivers")}
    if kind not in known:
        names = sorted(known)
        meant = near(kind, names)
        raise InputError(f"instrument kind {kind!r} is unknown{meant}; known: {', '.join(names)}")
    return cast(Callable[..., PairTester], known[kind].load())


def open_instrument(
    entry: InstrumentEntry, folder: Path, session: Session | None = None
) -> tuple[Any, StubProcess | None]:
    """Open an instrument, starting its stub first where the rack asks for one.

    The driver takes the address and the settings of the entry as keywords. A ``session`` writes
    down what it says and hears, or stands in for the instrument. Raises :class:`InputError` for an
    unknown kind or setting, and :class:`DeviceError` for an instrument that does not answer.
    """
    new_driver = driver_of(entry.kind)
    settings = settings_of(entry, new_driver)
    address, stub = entry.address, None
    if session is not None and session.replays:
        address = session.address_of(entry.name)
    elif address == STUB:
        stub = StubProcess(entry.kind, stub_options(entry, folder))
        address = stub.address
    try:
        if session is not None:
            settings |= _time_of(session.instrument(entry.name, address), new_driver)
        driver = new_driver(address, **settings)
    except (DeviceError, InputError, RecordError):
        if stub is not None:
            stub.close()
        raise
    return driver, stub


def _time_of(channel: Channel, new_driver: Callable[..., Any]) -> dict[str, Any]:
    """Return the recorded or replayed time, as the keywords that a driver takes it by."""
    known = signature(new_driver).parameters
    if "clock" not in known:
        raise InputError(f"the driver of {channel.name} takes no clock: it cannot be recorded")
    return {"clock": channel.clock} | ({"sleep": channel.sleep} if "sleep" in known else {})


def settings_of(entry: InstrumentEntry, new_driver: Callable[..., Any]) -> dict[str, Any]:
    """Return a driver's keywords, or raise :class:`InputError` for one that it does not take."""
    known = signature(new_driver).parameters
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in entry.settings.items()
    }
    for name in own:
        if name not in known or name in ("address", "stream", "clock", "sleep", "wire"):
            raise InputError(
                f"instrument {entry.name}: settings.{name} is no setting of kind {entry.kind}"
            )
    if entry.kind == "id900":
        names = ("window_ps", "threshold_v", "settle_s", "integration_unit", "shared_clock")
        own = {name: getattr(entry, name) for name in names} | own
    return {"timeout_s": entry.timeout_s} | own


def stub_options(entry: InstrumentEntry, folder: Path) -> list[str]:
    """Return the options of `dpem stub` for an entry of a rack."""
    options = ["--seed", str(entry.stub.seed), "--speed", repr(entry.stub.speed)]
    if entry.stub.fidelity is not None:
        options += ["--fidelity", repr(entry.stub.fidelity)]
    if entry.stub.rate_hz is not None:
        options += ["--rate-hz", repr(entry.stub.rate_hz)]
    if entry.stub.scenario is not None:
        options += ["--scenario", str(folder / entry.stub.scenario)]
    return options
