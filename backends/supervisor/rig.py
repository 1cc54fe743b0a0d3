"""The instruments of a rack, opened by a mode, and made safe all at once."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from backends.rack import StubProcess, open_instrument
from backends.supervisor.guard import Gate, Guarded, Instrument
from backends.supervisor.safing import Safed, all_safe, in_parallel, interrupt
from quantum.errors import DeviceError, InputError
from quantum.rack import STUB, InstrumentEntry, Rack

__all__ = ["MODES", "Rig", "open_at", "stubbed", "wanted_stubs"]

#: ``sim``: every instrument is an own stub, addresses are not opened. ``stub``: addresses lead to
#: stubs. ``shadow``: instruments are read, their own stubs are commanded. ``armed``: instruments.
MODES = ("sim", "stub", "shadow", "armed")

#: How long the lock of an instrument is waited for before whoever has it is interrupted.
_GRACE_S = 0.002
#: How long it is waited for after that, before the instrument is opened anew without it.
_LOCK_S = 0.03
#: How often an instrument that could not be made safe is tried again at once.
_AGAIN = 3
#: A dead instrument must not keep the report about the others.
_SAFE_S = 2.5


def wanted_stubs(rack: Rack, mode: str) -> list[str]:
    """Return the instruments for which a stub of our own is started in a mode."""
    return [
        name
        for name, entry in rack.instruments.items()
        if mode in ("sim", "shadow") or entry.address == STUB
    ]


def open_at(entry: InstrumentEntry, address: str, folder: Path, timeout_s: float | None) -> Any:
    """Open a driver at an address, by default with the rack's own patience."""
    changed = msgspec.structs.replace(
        entry, address=address, timeout_s=timeout_s or entry.timeout_s
    )
    driver, _ = open_instrument(changed, folder)
    return driver


def stubbed(driver: Any, address: str) -> bool:
    """Tell whether a driver talks to a stub of ours; its serial number says so.

    Some instruments have no word for their serial number. Of these only one behind a
    pseudo-terminal is taken for a stub: no instrument has such a line.
    """
    seen = driver.identify()
    return bool(
        seen.is_stub or (seen.serial == "unknown" and address.startswith("serial:///dev/pts/"))
    )


class Rig:
    """Opens what a mode allows; raises where the rack has what the mode does not."""

    def __init__(self, rack: Rack, mode: str, stubs: dict[str, str], gate: Gate) -> None:
        self.rack, self.mode = rack, mode
        self._folder = rack.folder
        self.stuck = False
        """Whether a connection is lost to a thread that hangs: then the guardian has to act."""
        self.instruments: dict[str, Instrument] = {}
        self._pool = ThreadPoolExecutor(max(2, 2 * len(rack.instruments)), "safe")
        try:
            for name, entry in rack.instruments.items():
                if mode == "armed" and entry.address == STUB:
                    raise InputError(f"{name} is a stub: mode armed takes instruments only")
                instrument = Instrument(entry, gate, stubs.get(name, entry.address))
                instrument.own_stub = name in stubs
                self.instruments[name] = instrument
                self._open(instrument)
                if mode == "shadow" and entry.address != STUB:
                    instrument.real = open_at(entry, entry.address, self._folder, None)
        except (DeviceError, InputError):
            self.close()
            raise
        # Threads that exist already start faster than those that have to be made.
        warm = [self._pool.submit(time.sleep, 0.005) for _ in range(2 * len(self.instruments))]
        for future in warm:
            future.result()

    def _open(self, instrument: Instrument) -> None:
        entry = instrument.entry
        instrument.driver = open_at(entry, instrument.address, self._folder, None)
        instrument.dirty = False
        is_stub = instrument.own_stub or stubbed(instrument.driver, instrument.address)
        if self.mode == "armed" and is_stub:
            raise InputError(
                f"{entry.name} at {entry.address} is a stub: mode armed takes instruments only"
            )
        if self.mode != "armed" and not is_stub:
            raise InputError(
                f"{entry.name} at {entry.address} is no stub: a person has to arm it with "
                "dpem lab supervise RACK --mode armed --key FILE"
            )

    def guarded(self, entry: InstrumentEntry, _: Path) -> tuple[Any, StubProcess | None]:
        """Return the guarded driver of an entry, in the manner of ``open_instrument``."""
        return Guarded(self.instruments[entry.name]), None

    def make_safe(self) -> dict[str, Safed]:
        """Bring every instrument into its safe state, all at once, and read it back."""
        works = {name: partial(self._safe, one) for name, one in self.instruments.items()}
        return in_parallel(self._pool, works, _SAFE_S)

    def _safe(self, instrument: Instrument) -> Safed:
        had = instrument.lock.acquire(timeout=_GRACE_S)
        struck_s = None
        if not had:
            struck_s = interrupt(instrument.driver, instrument.entry.safe)
            had = instrument.lock.acquire(timeout=_LOCK_S)
        done = self._safe_locked(instrument, had)
        # What was written into the midst of another thread's conversation has been verified now.
        return done._replace(written_s=struck_s) if struck_s and done.safe else done

    def _safe_locked(self, instrument: Instrument, had: bool) -> Safed:
        try:
            if had and not instrument.dirty and instrument.driver is not None:
                done = all_safe(instrument.driver, instrument.entry.safe)
                if done.safe:
                    return self._note(instrument, done)
            if not had:
                self._cut_off(instrument)
            done = self._safe_anew(instrument)
            for _ in range(_AGAIN):
                if done.safe:
                    break
                # A line that another thread is just letting go of can be opened a moment later.
                time.sleep(_LOCK_S)
                done = self._safe_anew(instrument)
            return self._note(instrument, done)
        finally:
            if had:
                instrument.lock.release()

    def _cut_off(self, instrument: Instrument) -> None:
        """Take the driver away from a thread that is in the middle of a method.

        Closing the connection ends that method. The executing thread has had its signal; if it
        still hangs, in a library that hears none, only the end of this process frees the line.
        """
        if instrument.gate.executes(instrument.user):
            self.stuck = True
            instrument.driver = None
        instrument.lock = threading.RLock()

    def _safe_anew(self, instrument: Instrument) -> Safed:
        """Open the instrument anew, as its conversation was cut or fails, and make it safe."""
        if instrument.driver is not None:
            # A thread may be using it: whatever its closing raises, the new one counts.
            with contextlib.suppress(DeviceError, OSError, TypeError, ValueError):
                instrument.driver.close()
        try:
            instrument.driver = open_at(instrument.entry, instrument.address, self._folder, None)
        except (DeviceError, InputError) as wrong:
            now = time.monotonic()
            return Safed(now, now, "", str(wrong))
        instrument.dirty = False
        return all_safe(instrument.driver, instrument.entry.safe)

    @staticmethod
    def _note(instrument: Instrument, done: Safed) -> Safed:
        instrument.trouble = done.trouble
        return done

    def reopen(self) -> None:
        """Open every instrument anew, for a rack that is armed again."""
        for instrument in self.instruments.values():
            with instrument.lock:
                if instrument.driver is not None:
                    with contextlib.suppress(DeviceError):
                        instrument.driver.close()
                self._open(instrument)

    def close(self) -> None:
        """Close all drivers; safe to call twice. Changes no instrument."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for instrument in self.instruments.values():
            for driver in (instrument.driver, instrument.real):
                if driver is not None:
                    with contextlib.suppress(DeviceError):
                        driver.close()
