"""Work spread over processes, ended at once by an interrupt."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

__all__ = ["Kept", "kept_workers", "spread"]

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
    finished: Callable[[Task, Out], None],
) -> None:
    """Do ``work(task)`` for every task; ``finished`` is given each result as soon as it is there.

    With one process, all is done in this one. The first error, or an interrupt, ends the processes
    and is passed on. Processes whose parent was killed end by themselves.
    """
    if processes <= 1 or len(tasks) <= 1:
        for task in tasks:
            finished(task, work(task))
        return
    before = set(multiprocessing.active_children())
    # Spawned, not forked: a fork copies locks that other threads hold.
    pool = ProcessPoolExecutor(
        min(processes, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )
    try:
        with _for_children():
            waiting = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(list(waiting)):
            # Let go of what is done: results can be large.
            finished(waiting.pop(future), future.result())
    except BaseException:
        # What is still running would be finished first, but nobody waits for it any more.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    pool.shutdown()


class Kept(Protocol):
    """Does ``work`` for every task and returns the results in the order of the tasks.

    Tasks of one place always go to the same process, which remembers what it prepared for them.
    """

    def __call__(
        self, work: Callable[[Any], Any], tasks: Sequence[Any], places: Sequence[int]
    ) -> list[Any]: ...


@contextmanager
def kept_workers(processes: int) -> Iterator[Kept]:
    """Keep processes from one call to the next; place p belongs to process p modulo ``processes``.

    With one process, all is done in this one. An error or an interrupt ends the processes.
    """
    if processes <= 1:
        yield lambda work, tasks, places: [work(task) for task in tasks]
        return
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pools = [
        ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
        for _ in range(processes)
    ]

    def play(work: Callable[[Any], Any], tasks: Sequence[Any], places: Sequence[int]) -> list[Any]:
        with _for_children():
            waiting = [
                pools[place % processes].submit(work, task)
                for task, place in zip(tasks, places, strict=True)
            ]
        return [future.result() for future in waiting]

    try:
        yield play
    except BaseException:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    for pool in pools:
        pool.shutdown()


def _end_with_parent() -> None:
    """End this process when its parent is gone; nobody else would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


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
