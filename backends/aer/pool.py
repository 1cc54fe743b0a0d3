"""Worker processes that share a batch: Aer holds Python's lock, so threads would not help.

Each worker is started afresh (``spawn``), opens the same way into Aer with one thread, and answers
parts of batches with exact states. Nothing is drawn there: results are those of one process, to the
last bit. A worker ends when its pipe does, so none outlives this process.
"""

import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal

from backends.aer.direct import DirectPath
from backends.aer.execution import Path, at_once, execute, joined
from backends.aer.public import PublicPath
from backends.contract import Truth
from quantum.batch import Batch
from quantum.errors import DeviceError, DpemError

__all__ = ["Pool"]

PathName = Literal["direct", "public"]

#: A worker that has not ended so long after its pipe was closed is killed.
_PATIENCE_S = 2.0

Worker = tuple[BaseProcess, Connection]


class Pool:
    """``count`` processes, started with the first batch; one thread may use it."""

    def __init__(self, path: str, count: int) -> None:
        self._path, self._count = path, count
        self._workers: list[Worker] = []
        # Also runs when this process ends.
        self._stop = weakref.finalize(self, _stop, self._workers)

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers; none before the first batch and after close."""
        return [process.pid or 0 for process, _ in self._workers]

    def execute(self, batch: Batch) -> Truth:
        """Return the end states that Aer computes for a batch.

        A worker that died is a :class:`DeviceError`; the next batch starts all anew.
        """
        with self._whole_or_closed():
            if not self._workers:
                self._workers += [_start(self._path) for _ in range(self._count)]
            # Twice as many parts as workers: who is slowed down by others takes fewer.
            step = min(at_once(batch), -(-len(batch) // (2 * self._count)))
            starts = range(0, len(batch), step)
            answers = dict(self._answers([batch.part(i, i + step) for i in starts]))
            return joined([answers[number] for number in range(len(starts))])

    def close(self) -> None:
        """End all workers; safe to call twice."""
        _stop(self._workers)

    def _answers(self, parts: list[Batch]) -> Iterator[tuple[int, Truth]]:
        todo = iter(enumerate(parts))
        busy: dict[Connection, int] = {}

        def give(connection: Connection) -> None:
            for number, part in todo:
                connection.send(part)
                busy[connection] = number
                return

        for _, connection in self._workers:
            give(connection)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                answer = ready.recv()
                number = busy.pop(ready)
                give(ready)
                if isinstance(answer, Exception):
                    raise answer
                yield number, answer

    @contextmanager
    def _whole_or_closed(self) -> Iterator[None]:
        """Close on any failure: answers that nobody waits for must not meet the next batch."""
        try:
            yield
        except (EOFError, ConnectionError) as gone:
            for process, _ in self._workers:
                process.join(timeout=_PATIENCE_S / 10)
            codes = [p.exitcode for p, _ in self._workers if p.exitcode is not None]
            self.close()
            raise DeviceError(
                f"an aer worker process ended while it was needed (exit codes {codes}); a script "
                "that asks for processes must begin under if __name__ == '__main__'"
            ) from gone
        except BaseException:
            self.close()
            raise


def _start(path: str) -> Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, path), daemon=True, name="dpem-aer")
    process.start()
    theirs.close()
    return process, ours


def _stop(workers: list[Worker]) -> None:
    for _, connection in workers:
        connection.close()
    for process, _ in workers:
        process.join(timeout=_PATIENCE_S)
        if process.is_alive():
            process.kill()
            process.join()
    workers.clear()


def _serve(connection: Connection, name: str) -> None:
    """Answer parts of batches until the pipe is closed; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path: Path = DirectPath() if name == "direct" else PublicPath()
    with suppress(EOFError, ConnectionError):
        while True:
            part = connection.recv()
            try:
                answer: Truth | Exception = execute(path, part)
            except (DpemError, RuntimeError) as wrong:
                answer = wrong
            connection.send(answer)
