"""Pairs for keys: each is made and measured once, by worker processes over encrypted ZeroMQ.

A backend tells of each pair whether the two results agree with the parity of phi_plus. One result
alone is a fair coin for every Bell-diagonal state, which is what links, swaps and dephasing give:
Alice's bit is drawn, and Bob's is the same or the other as the backend says. (Amplitude damping in
a long wait would favour 0; that bias of single bits, not of their agreement, is left out.) Of pairs
that are measured at angles, for E91, a backend tells both results as they are.
"""

import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
import zmq
from numpy.typing import NDArray

from controller.processes import Processes
from controller.security import Client, Gate, Keyring, bound, new_keys
from controller.security.limits import WORKER
from quantum.egp import VERSION, Bye, Done, Failed, Hello, Job, Refuse, Task, Welcome
from quantum.errors import Code, DeviceError, DpemError, InputError, WireError
from quantum.joining import WorkerConfig
from quantum.program import Program
from quantum.wire import decode, encode

__all__ = ["Bench"]

Bits = NDArray[np.uint8]

#: Pairs of a job, and jobs that a worker may have at once.
_AT_ONCE, _AHEAD = 2000, 2
_POLL_MS = 200
_SILENCE_S = 300.0
#: Numbers of the bases on the wire, see :class:`quantum.egp.Task`.
_WIRE = (2, 0)


class Bench:
    """Workers that wait for pairs to make; a context manager that leaves no process behind."""

    def __init__(self, backend: str, *, workers: int, seed: int) -> None:
        if workers < 1:
            raise InputError(f"qkd.workers must be at least 1, got {workers}")
        self._processes = Processes()
        self._context = zmq.Context()
        self._jobs: dict[bytes, int] = {}
        """Jobs that each worker has, by its identity."""
        # Workers do no job twice: each has a number of its own.
        self._first = 0
        keys, mine = [new_keys() for _ in range(workers)], new_keys()
        owners = [Client(f"worker-{n}", "worker", pair.public) for n, pair in enumerate(keys)]
        self._gate = Gate(self._context, Keyring(owners))
        local = "tcp://127.0.0.1:0"
        self._socket, address = bound(self._context, zmq.ROUTER, local, mine, self._gate, WORKER)
        for number, pair in enumerate(keys):
            config = WorkerConfig(
                address=address,
                server_key=mine.public,
                public_key=pair.public,
                secret_key=pair.secret,
                name=f"worker-{number}",
                backend=backend,
                seed=seed,
            )
            self._processes.start("backends.worker", config.name, config)
        # What a worker that died was to hear is dropped; that it died is seen by its process.
        self._socket.router_mandatory = False

    def errors(
        self,
        program: Program,
        basis: NDArray[np.int64],
        draws: NDArray[np.float64],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Bits:
        """Make one pair for each entry of ``basis`` (B,), 0 ZZ or 1 XX, and measure it.

        ``draws`` (B,) are the keyed uniforms that decide. Returns 1 where the results differ
        (B,). Raises :class:`DeviceError` where a pair could not be made.
        """
        out = np.zeros(len(basis), dtype=np.uint8)

        def tasks(part: slice) -> tuple[Task, ...]:
            pairs = zip(basis[part].tolist(), draws[part].tolist(), strict=True)
            return tuple(Task(program, _WIRE[how], draw) for how, draw in pairs)

        for part, done in self._answers(len(basis), tasks):
            passed = np.array(done.passed, dtype=np.int64)
            if passed.min(initial=0) < 0:
                raise _not_made(done)
            out[part] = passed == 0
            progress(len(passed))
        return out

    def results(
        self,
        program: Program,
        angles_rad: NDArray[np.float64],
        draws: NDArray[np.float64],
        progress: Callable[[int], None] = lambda _: None,
    ) -> tuple[Bits, Bits]:
        """Make one pair for each row of ``angles_rad`` (B, 2) and measure both of its qubits.

        Returns the left and the right results, each (B,), 0 or 1. Raises :class:`DeviceError`
        where a pair could not be made, or not be measured so.
        """
        both = np.zeros(len(angles_rad), dtype=np.int64)

        def tasks(part: slice) -> tuple[Task, ...]:
            pairs = zip(angles_rad[part].tolist(), draws[part].tolist(), strict=True)
            return tuple(
                Task(program, draw=draw, angles_rad=(left, right)) for (left, right), draw in pairs
            )

        for part, done in self._answers(len(angles_rad), tasks):
            found = np.array(done.bits, dtype=np.int64)
            if len(found) != len(done.passed) or found.min(initial=0) < 0:
                raise _not_made(done)
            both[part] = found
            progress(len(found))
        return (both >> 1).astype(np.uint8), (both & 1).astype(np.uint8)

    def _answers(
        self, size: int, tasks: Callable[[slice], tuple[Task, ...]]
    ) -> Iterator[tuple[slice, Done]]:
        """Have ``size`` tasks done, a part at a time by whichever worker is free."""
        starts = list(range(0, size, _AT_ONCE))[::-1]
        asked: dict[int, bytes] = {}
        heard_s = time.monotonic()
        left = len(starts)
        while left:
            for identity in self._jobs:
                while starts and self._jobs[identity] < _AHEAD:
                    start = starts.pop()
                    job = Job(self._first + start, tasks(slice(start, start + _AT_ONCE)))
                    self._socket.send_multipart([identity, encode(job)])
                    asked[self._first + start] = identity
                    self._jobs[identity] += 1
            answer = self._hear(asked)
            if answer is None:
                if time.monotonic() - heard_s > _SILENCE_S:
                    raise DpemError(f"no worker has spoken for {_SILENCE_S:g} s")
                continue
            heard_s = time.monotonic()
            self._jobs[asked.pop(answer.job)] -= 1
            start = answer.job - self._first
            stop = min(size, start + _AT_ONCE)
            if len(answer.passed) != stop - start:
                raise DpemError(f"a worker answered {len(answer.passed)} of {stop - start} tasks")
            yield slice(start, stop), answer
            left -= 1
        self._first += max(1, size)

    def _hear(self, asked: dict[int, bytes]) -> Done | None:
        """Return the next answer to a job that is out; None when nothing came for a while."""
        for line in self._gate.news():
            sys.stderr.write(f"dpem qkd: {line}\n")
        if not self._socket.poll(_POLL_MS):
            self._processes.check()
            return None
        identity, *frames = self._socket.recv_multipart()
        try:
            message = decode(frames[0])
        except (WireError, IndexError):
            return None
        match message:
            case Hello(v, "worker", _):
                if v != VERSION:
                    refused = Refuse(Code.CREATE, f"version {v} is not spoken here")
                    self._socket.send_multipart([identity, encode(refused)])
                    return None
                self._jobs.setdefault(identity, 0)
                self._socket.send_multipart([identity, encode(Welcome(VERSION, 0))])
            case Done(job) if asked.get(job) == identity:
                return message
            case Failed(job, code, detail) if asked.get(job) == identity:
                raise DeviceError(f"the backend made no pair: {code.name}, {detail}")
            case _:
                pass
        return None

    def close(self) -> None:
        """Send the workers home and wait for them; safe to call twice."""
        if self._context.closed:
            return
        for identity in self._jobs:
            self._socket.send_multipart([identity, encode(Bye())])
        self._gate.close()
        self._context.destroy(linger=500)
        self._processes.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            # A worker that is still starting would not hear a goodbye.
            self._processes.__exit__(kind, error, trace)
        self.close()


def _not_made(done: Done) -> DeviceError:
    first = done.faults[0].detail if done.faults else "a pair was not measured"
    return DeviceError(f"the backend made no pair: {first}")
