"""The guardian: starts the supervisor, listens to its heart, and makes the rack safe without it.

``python -m backends.supervisor.guardian CONFIG`` with the JSON of a :class:`GuardianConfig`. The
first line on standard output is JSON: ``{"ok": true}``, or what is wrong. When the supervisor dies
or falls silent the guardian kills it, which frees its connections, opens every instrument anew and
commands the safe state. It ends when its standard input is closed, or by SIGTERM.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from backends.rack import StubProcess, stub_options
from backends.rack_check import usable_rack
from backends.rack_stubs import RackStubs
from backends.supervisor.addresses import AddressLocks
from backends.supervisor.audit import AuditLog
from backends.supervisor.places import Kept, lock, place_of, read_kept, state_home
from backends.supervisor.process import SupervisorConfig
from backends.supervisor.pulse_pipe import Pipe
from backends.supervisor.rig import open_at, wanted_stubs
from backends.supervisor.safing import Safed, all_safe, in_parallel
from quantum.errors import DeviceError, DpemError, InputError, RecordError
from quantum.logs import note, start_in_child
from quantum.rack import STUB, InstrumentEntry, Rack
from quantum.running import is_running

__all__ = ["Guardian", "GuardianConfig", "main"]

_START_S = 60.0
#: Patience with each instrument when it is opened in an emergency.
_EMERGENCY_S = 0.6
_SAFE_S = 2.5


class GuardianConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to guard, and in which mode."""

    rack: str
    mode: str = "stub"


class Guardian:
    """Owns the supervisor's process and the stubs that it needs."""

    def __init__(self, config: GuardianConfig) -> None:
        # Imports the drivers as well: an emergency has no time for it.
        self.rack: Rack = usable_rack(Path(config.rack))
        self._config = config
        self.place = place_of(Path(config.rack))
        self._lock = lock(self.place)
        self._processes: list[StubProcess] = []
        self._addresses: dict[str, str] = {}
        self._controls: dict[str, str] = {}
        self._asked_to_end = False
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        opened = {
            name: entry.address
            for name, entry in self.rack.instruments.items()
            if entry.address != STUB and config.mode != "sim"
        }
        # Held until this process ends, as the lock of the place is.
        self._locks = AddressLocks(state_home(), Path(config.rack), opened)
        try:
            self._start_stubs()
            self._start()
        except BaseException:
            self.close()
            raise

    def _start_stubs(self) -> None:
        """Start stubs where the mode wants them: on one bench, where the rack has optics."""
        wanted = wanted_stubs(self.rack, self._config.mode)
        if wanted and self.rack.links[0].optics is not None:
            everything = self._config.mode in ("sim", "shadow")
            bench = RackStubs(Path(self._config.rack), everything=everything)
            self._processes.append(bench)
            self._addresses |= {name: bench.addresses[name] for name in wanted}
            self._controls |= bench.controls | {"bench": bench.bench}
            return
        for name in wanted:
            entry = self.rack.instruments[name]
            stub = StubProcess(entry.kind, stub_options(entry, self.rack.folder))
            self._processes.append(stub)
            self._addresses[name], self._controls[name] = stub.address, stub.control

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        config = SupervisorConfig(
            rack=self._config.rack,
            mode=self._config.mode,
            place=str(self.place),
            guardian_fd=theirs.fileno(),
            stubs=self._addresses,
            controls=self._controls,
        )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "backends.supervisor.process",
                msgspec.json.encode(config).decode(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._complaints,
            stderr=self._complaints,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self._pipe = Pipe(ours)
        deadline = time.monotonic() + _START_S
        while b"R" not in self._pipe.hear(time.monotonic()):
            # Opening instruments may take long; until then nothing was changed by anybody.
            self._pipe.beat(time.monotonic())
            if self._process.poll() is not None or self._pipe.dead:
                self._process.wait(5.0)
                raise self._failure()
            if time.monotonic() > deadline:
                raise DeviceError(f"the supervisor was not ready within {_START_S:g} s")
            select.select([ours], [], [], 0.02)
        self._pipe.heard_s = time.monotonic()

    def _failure(self) -> DpemError:
        kind, _, text = self._last_words().partition(": ")
        known: dict[str, type[DpemError]] = {"InputError": InputError, "RecordError": RecordError}
        if kind in known:
            return known[kind](text)
        return DeviceError(text if kind.startswith("Device") else f"{kind}: {text}")

    def _last_words(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "DeviceError: the supervisor ended without a word"

    def watch(self) -> str:
        """Return when the supervisor has ended; a text says why it was an emergency."""
        stdin: int | None = sys.stdin.fileno()
        while True:
            pipe = self._pipe.end.fileno()
            reading = [pipe] if stdin is None else [pipe, stdin]
            ready, _, _ = select.select(reading, [], [], 0.02)
            now = time.monotonic()
            self._pipe.beat(now)
            if b"Z" in self._pipe.hear(now):
                self._process.wait()
                return ""
            if self._pipe.dead:
                return "the supervisor died"
            if not is_running(self._process.pid):
                if b"Z" in self._pipe.hear(now):
                    # It ended in order between the two looks.
                    self._process.wait()
                    return ""
                return "the supervisor was killed or stopped"
            limit_s = self.rack.safety.supervisor_s
            if self._pipe.silent(limit_s, now):
                return f"the supervisor was silent for {limit_s:g} s"
            if stdin in ready and stdin is not None and not os.read(stdin, 4096):
                stdin = None
                self._asked_to_end = True
            if self._asked_to_end:
                self._asked_to_end = False
                self._pipe.say(b"E")

    def end_soon(self, *_: Any) -> None:
        """Ask the supervisor to end, in order; a signal handler."""
        self._asked_to_end = True

    def emergency(self, why: str) -> dict[str, Safed]:
        """Kill the supervisor and make the rack safe by connections of our own."""
        self._process.kill()
        self._process.wait()
        entries = self.rack.instruments
        with contextlib.closing(_Pool(len(entries))) as pool:
            works = {name: partial(self._safe, entry) for name, entry in entries.items()}
            done = in_parallel(pool.threads, works, _SAFE_S)
        trouble = {name: one.trouble for name, one in done.items() if one.trouble}
        kept = read_kept(self.place)
        latched = kept.latched or why
        # A disk that is full must not hide from anyone that the rack is safe, or is not.
        with contextlib.suppress(OSError):
            Kept(kept.token, latched, active=False, mode=self._config.mode).write(self.place)
        with contextlib.suppress(OSError, DpemError):
            log = AuditLog(self.place / "audit.jsonl")
            read_back = {name: one.read_back for name, one in done.items()}
            words = self._last_words()[:300]
            log.append(
                "guardian", sync=True, why=why, words=words, read_back=read_back, trouble=trouble
            )
            log.close()
        return done

    def _safe(self, entry: InstrumentEntry) -> Safed:
        began = time.monotonic()
        try:
            patience_s = min(entry.timeout_s, _EMERGENCY_S)
            address = self._addresses.get(entry.name, entry.address)
            driver = open_at(entry, address, self.rack.folder, patience_s)
        except (DpemError, OSError) as wrong:
            return Safed(began, time.monotonic(), "", str(wrong))
        try:
            return all_safe(driver, entry.safe)
        finally:
            with contextlib.suppress(DpemError):
                driver.close()

    def close(self) -> None:
        """End what is left: the supervisor, then the stubs; safe to call twice."""
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        for stub in self._processes:
            stub.close()
        self._processes.clear()
        self._complaints.close()
        (self.place / "endpoint.json").unlink(missing_ok=True)


class _Pool:
    def __init__(self, size: int) -> None:
        self.threads = ThreadPoolExecutor(size)

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Run a guardian until its rack is given up."""
    config = msgspec.json.decode(sys.argv[1], type=GuardianConfig)
    start_in_child("guardian")
    try:
        guardian = Guardian(config)
    except DpemError as wrong:
        said = {"ok": False, "error": str(wrong), "kind": type(wrong).__name__}
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        sys.exit(wrong.exit_code)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, guardian.end_soon)
    sys.stdout.write('{"ok": true}\n')
    sys.stdout.flush()
    note("watching", rack=config.rack, mode=config.mode)
    why = guardian.watch()
    if why:
        done = guardian.emergency(why)
        trouble = [f"{name}: {one.trouble}" for name, one in done.items() if one.trouble]
        note("made safe", level="error", why=why, trouble=trouble)
    note("ended")
    guardian.close()
    # A thread that waits for a dead instrument must not keep the process.
    os._exit(1 if why else 0)


if __name__ == "__main__":
    main()
