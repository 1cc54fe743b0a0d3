"""The supervisor's process: the instruments, the sockets, and the thread that executes requests.

``python -m backends.supervisor.process CONFIG`` with the JSON of a :class:`SupervisorConfig`; only
the guardian starts it. The main thread executes, because only there a signal can cut off a read.
"""

import os
import queue
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import zmq

from backends.supervisor.allow_list import AllowList
from backends.supervisor.audit import open_log
from backends.supervisor.breaker import Breaker
from backends.supervisor.desk import Desk, Start
from backends.supervisor.executing import Executor
from backends.supervisor.guard import Gate
from backends.supervisor.keys import KeyPair, local_key, roles
from backends.supervisor.leases import Leases
from backends.supervisor.messages import (
    Acquire,
    Estop,
    Granted,
    Refused,
    Release,
    Reply,
    Request,
    Status,
    Trip,
)
from backends.supervisor.notes import Notes
from backends.supervisor.places import Endpoint, Kept, read_kept, state_home
from backends.supervisor.pulse_pipe import Pipe
from backends.supervisor.reporting import report
from backends.supervisor.rig import Rig
from backends.supervisor.wire import CommandLoop, StopLoop
from quantum.errors import Code, DeviceError, DpemError
from quantum.logs import note, start_in_child
from quantum.rack import load_rack

__all__ = ["Supervisor", "SupervisorConfig", "main"]


#: Who re-arms a rack that is about to be given up still gets his answer within this time.
_LAST_ANSWER_S = 30.0


class SupervisorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the guardian tells the supervisor. Nothing of it is secret."""

    rack: str
    mode: str
    place: str
    guardian_fd: int
    stubs: dict[str, str] = {}
    """Addresses of stubs that stand in the place of instruments."""
    controls: dict[str, str] = {}


class Supervisor:
    """Puts the parts together; :meth:`run` returns when the supervisor has ended in order."""

    def __init__(self, config: SupervisorConfig) -> None:
        self.config = config
        self.rack = load_rack(Path(config.rack))
        self._safety = self.rack.safety
        self._place = Path(config.place)
        self._kept = read_kept(self._place)
        self._armed_real = config.mode in ("armed", "shadow")
        self._notes = Notes(
            open_log(self._place / "audit.jsonl"),
            strict=self._armed_real or self._safety.log_failure == "stop",
            on_lost=self._log_lost,
        )
        self._gate = Gate(self._notes.note)
        self._gate.listen()
        self._pipe = Pipe(socket.socket(fileno=config.guardian_fd))
        self._work: queue.SimpleQueue[Start | None] = queue.SimpleQueue()
        self.rig = Rig(self.rack, config.mode, config.stubs, self._gate)
        self._executor = Executor(self.rack, Path(config.rack), self.rig, self._gate, self._notes)
        self._executor.rearmed = self.rearmed
        self._breaker = Breaker(self.rig, self._gate, self._notes, self._tripped, self._keep_latch)
        self._leave_s: float | None = None
        self._over = False
        self._bind()
        if self._kept.active or self._kept.latched:
            why = self._kept.latched or "the last supervisor ended without making the rack safe"
            self._desk.latch(why)
            self._breaker.trip(why)

    def _bind(self) -> None:
        public, secret = zmq.curve_keypair()
        self._pair = KeyPair(public.decode(), secret.decode())
        known = roles(self._safety, local_key(state_home()), self.config.mode)
        leases = Leases(self._safety.lease_s, self._kept.token)
        self._desk = Desk(self.config.mode, leases, known, set(self.rack.instruments))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._allow = AllowList(self._context, set(known))
        self._commands = CommandLoop(
            self._context,
            self._pair,
            self._desk,
            start=self._start,
            tick=self._tick,
            answered=self._answered,
        )
        self._stops = StopLoop(self._context, self._pair, known, self._estop)

    def run(self) -> None:
        """Serve until the guardian asks for the end, or is lost."""
        self._publish()
        self._stops.start()
        wire = threading.Thread(target=self._serve, name="wire", daemon=True)
        wire.start()
        threading.Thread(target=self._watch_interlocks, name="interlocks", daemon=True).start()
        self._pipe.say(b"R")
        while (work := self._next()) is not None:
            reply = self._executor.carry_out(work)
            self._notes.note("done", who=self._name(work.who), rid=reply.rid.hex()[:12])
            self._commands.answer(work.who, reply)
        wire.join(2.0)
        self._stops.close()
        self.rig.close()
        self._notes.close()
        self._pipe.say(b"Z")

    def _next(self) -> Start | None:
        """Wait for work; until some comes, look after the rack in short steps."""
        while True:
            try:
                return self._work.get(timeout=0.0 if self._executor.idle() else 0.05)
            except queue.Empty:
                continue

    # ---------------------------------------------------------------- the command loop's thread

    def _serve(self) -> None:
        while not self._over:
            self._commands.step()
        self._work.put(None)

    def _start(self, start: Start) -> None:
        match start.message:
            case Status(rid):
                self._commands.answer(start.who, report(rid, self.rack.name, self._desk, self))
            case Trip(rid, _, why):
                self._commands.answer(start.who, Refused(rid, Code.REJECTED, why))
                self.trip(why)
            case Release(rid):
                self._desk.leases.end()
                self._gate.shut("the lease was given back", latch=False)
                self._commands.refuse(self._desk.abort("the lease was given back", but=rid))
                threading.Thread(target=self._release, args=(start,), daemon=True).start()
            case _:
                self._work.put(start)

    def _release(self, start: Start) -> None:
        trouble = self._breaker.release("nobody holds the lease")
        if trouble:
            self.trip(f"not safe after the lease was given back: {trouble}")
            self._commands.answer(
                start.who, Refused(start.message.rid, Code.OTHER, trouble, device=True)
            )
            return
        self._keep(active=False)
        self._commands.answer(start.who, self._executor.done(start.message.rid))

    def _answered(self, message: Request, reply: Reply) -> Reply:
        """Open the gate for a new holder, once his token is kept for good."""
        if isinstance(reply, Granted) and self._desk.leases.current is not None:
            assert isinstance(message, Acquire)
            lease = self._desk.leases.current
            if not self._gate.reason or lease.token != reply.token:
                return reply
            try:
                self._keep(active=True)
            except OSError as wrong:
                self.trip(f"the token cannot be kept: {wrong.strerror}")
                return Refused(reply.rid, Code.REJECTED, "the token cannot be kept")
            self._notes.note("lease", sync=True, who=lease.name, token=lease.token)
            note("lease given", who=lease.name)
            if not self._notes_stop() and self._gate.open():
                self._desk.leases.renew(lease.holder, lease.token, time.monotonic())
        return reply

    def _notes_stop(self) -> bool:
        strict = self._armed_real or self._safety.log_failure == "stop"
        if self._notes.lost and strict:
            self.trip(self._notes.lost)
            return True
        return False

    def _tick(self, now_s: float) -> None:
        late = self._desk.leases.expired(now_s)
        if late is not None:
            self.trip(f"{late.name} was not heard for {self._safety.lease_s:g} s")
        if not self._stops.is_alive() and self._stops.ident is not None:
            self.trip("the emergency stop does not listen any more")
        self._look_after_list()
        self._pipe.beat(now_s)
        said = self._pipe.hear(now_s)
        if b"E" in said and self._leave_s is None:
            if self._desk.leases.current is not None:
                self.trip("the supervisor was stopped while somebody held the lease")
            self._leave_s = now_s
        lost = self._pipe.dead or self._pipe.silent(self._safety.supervisor_s, now_s)
        if lost and self._leave_s != 0.0:
            self.trip("the guardian is lost")
            self._leave_s = 0.0
        self._leave(now_s)

    def _look_after_list(self) -> None:
        """Who is not connected yet has to be able to stop the rack: see that he is let in."""
        try:
            if line := self._allow.look():
                self._notes.note("allow list", detail=line)
        except DpemError as wrong:
            if not self._desk.latched:
                self.trip(str(wrong))

    def _leave(self, now_s: float) -> None:
        if self._leave_s is None or self._breaker.busy:
            return
        linger_s = self._safety.linger_s if self._desk.latched else 0.0
        late_s = now_s - self._leave_s - linger_s
        if self._leave_s == 0.0 or late_s >= (_LAST_ANSWER_S if self._desk.busy else 0.0):
            self._over = True

    # ------------------------------------------------------------------------- from every thread

    def trip(self, why: str) -> None:
        """Latch the rack and make it safe."""
        self._desk.leases.end()
        self._breaker.trip(why)
        # Said when the stop is on its way: nothing that is safe waits for a log.
        note("tripped", level="error", why=why)

    def rearmed(self) -> None:
        """Undo the latch: the instruments are there again, and a person said so."""
        self._desk.latched = ""
        self._gate.unlatch()
        self._keep(active=False)

    def _tripped(self, why: str) -> None:
        self._desk.latched = self._desk.latched or why
        self._commands.tell_tripped(why)

    def _log_lost(self, why: str) -> None:
        self.trip(why)

    def _estop(self, who: str, message: Estop, heard_s: float) -> Reply:
        self._desk.leases.end()
        why = f"emergency stop by {self._name(who)}: {message.reason}"
        return self._breaker.stop(message.rid, why, heard_s)

    def _name(self, who: str) -> str:
        names = {key.public: key.name for key in self._safety.key}
        return names.get(who, "the local key")

    def _keep_latch(self, why: str) -> None:
        try:
            self._keep(active=False, latched=self._desk.latched or why)
        except OSError as wrong:
            # The file still says that a lease is out: the next start finds the rack latched.
            self._notes.note("state file lost", detail=str(wrong))

    def _keep(self, *, active: bool, latched: str = "") -> None:
        token = self._desk.leases.last_token
        self._kept = Kept(token=token, latched=latched, active=active, mode=self.config.mode)
        self._kept.write(self._place)

    def _watch_interlocks(self) -> None:
        watched = [self.rig.instruments[name] for name in self._safety.interlocks]
        while watched and not self._over:
            time.sleep(self._safety.interlock_s)
            for instrument in watched:
                name = instrument.entry.name
                if self._desk.latched:
                    continue
                try:
                    if not instrument.call("interlock_closed"):
                        self.trip(f"INTERLOCK: the contact of {name} is open")
                except (DeviceError, AttributeError) as wrong:
                    self.trip(f"INTERLOCK: the contact of {name} cannot be read: {wrong}")

    def status(self) -> dict[str, Any]:
        """Return what a report says of the running parts."""
        return {"log": self._notes.lost, "safed": self._breaker.last}

    def _publish(self) -> None:
        endpoint = Endpoint(
            commands=self._commands.address,
            estop=self._stops.address,
            public=self._pair.public,
            mode=self.config.mode,
            guardian=os.getppid(),
            supervisor=os.getpid(),
            controls=self.config.controls,
        )
        draft = self._place / "endpoint.json.new"
        draft.write_bytes(msgspec.json.encode(endpoint))
        draft.chmod(0o600)
        draft.replace(self._place / "endpoint.json")


def main() -> None:
    """Run the supervisor; whoever wants it to end tells the guardian."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    config = msgspec.json.decode(sys.argv[1], type=SupervisorConfig)
    start_in_child("supervisor")
    try:
        supervisor = Supervisor(config)
    except DpemError as wrong:
        sys.stderr.write(f"{type(wrong).__name__}: {wrong}\n")
        note("gave up", level="error", why=str(wrong))
        sys.exit(wrong.exit_code)
    note("serving", rack=config.rack, mode=config.mode)
    supervisor.run()
    note("ended")
    # Threads that hang in a driver must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
