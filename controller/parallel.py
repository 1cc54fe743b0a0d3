"""Work spread over processes, ended at once by an interrupt."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["spread"]

Task = TypeVar("Task")
Out = TypeVar("Out")

#: Numerical libraries read these when they are loaded; one thread each, since every core has a
#: process of its own.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def spread(
    work: Callable[[Task], Out],
    tasks: Sequence[Task],
    *,
    processes: int,
    finished: Callable[[Task], None],
) -> list[Out]:
    """Return ``work(task)`` for every task, in the order of the tasks.

    ``finished`` is told as soon as a task is done. With one process, all is done in this one. The
    first error, or an interrupt, ends the processes and is passed on.
    """
    if processes <= 1 or len(tasks) <= 1:
        return [_told(work(task), task, finished) for task in tasks]
    before = set(multiprocessing.active_children())
    # Spawned, not forked: a fork copies locks that other threads hold.
    pool = ProcessPoolExecutor(
        min(processes, len(tasks)), mp_context=multiprocessing.get_context("spawn")
    )
    try:
        with _for_children():
            places = {pool.submit(work, task): place for place, task in enumerate(tasks)}
        done: dict[int, Out] = {}
        for future in as_completed(places):
            place = places[future]
            done[place] = _told(future.result(), tasks[place], finished)
    except BaseException:
        # What is still running would be finished first, but nobody waits for it any more.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    pool.shutdown()
    return [done[place] for place in range(len(tasks))]


def _told(out: Out, task: Task, finished: Callable[[Task], None]) -> Out:
    finished(task)
    return out


@contextmanager
def _for_children() -> Iterator[None]:
    """Set what children inherit: one thread, and deaf to the interrupt key, which we answer."""
    saved = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    hears = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if hears else None
    try:
        yield
    finally:
        if hears:
            signal.signal(signal.SIGINT, handler)
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
