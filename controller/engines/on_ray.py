"""Work spread over a Ray cluster: the same functions, the same results, lost workers retried."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from controller.engines.carried import Carried, pack, unpack
from controller.engines.chunks import Chunks
from controller.engines.ray_cluster import connected
from quantum.errors import EngineError

__all__ = ["kept_on_ray", "spread_on_ray"]

#: A chunk whose worker or node dies is played again so often. More than that is no accident.
_RETRIES = 8
#: Chunks at hand for each worker, so that it need not wait for the next.
_AHEAD = 2


def spread_on_ray(
    work: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    finished: Callable[[Any, Any], None],
    processes: int | None = None,
    address: str | None = None,
    files: Collection[str] = (),
    allocators: Collection[str] = (),
) -> None:
    """Do ``work(task)`` for every task; ``finished`` is given each result as soon as it is there.

    ``files`` (which tasks name) are put into the cluster once. ``processes`` limits the workers.
    Tasks of a worker that dies are done again by another. The first error of ``work``, or an
    interrupt, ends all that was handed out. Raises EngineError where workers die again and again,
    or other machines have other code, and InputError where no cluster can be reached.
    """
    if not tasks:
        return
    with connected(address, processes) as ray:
        shared = ray.put(pack(files, allocators))
        _hand_out(
            ray, shared, work, tasks, processes, lambda place, out: finished(tasks[place], out)
        )


@contextmanager
def kept_on_ray(
    *, processes: int | None = None, address: str | None = None, files: Collection[str] = ()
) -> Iterator[Callable[[Callable[[Any], Any], Sequence[Any], Sequence[int]], list[Any]]]:
    """Keep the cluster from one call to the next, for work that comes in rounds.

    What is yielded does ``work`` for every task and returns the results in the order of the tasks.
    It has the signature of kept processes; where a task is played is Ray's business, so the third
    argument decides nothing. ``files`` and errors are those of :func:`spread_on_ray`.
    """
    with connected(address, processes) as ray:
        shared = ray.put(pack(files, ()))

        def play(
            work: Callable[[Any], Any], tasks: Sequence[Any], places: Sequence[int]
        ) -> list[Any]:
            found: dict[int, Any] = {}
            _hand_out(ray, shared, work, tasks, processes, found.__setitem__)
            return [found[place] for place in range(len(tasks))]

        yield play


def _hand_out(
    ray: ModuleType,
    shared: Any,
    work: Callable[[Any], Any],
    tasks: Sequence[Any],
    processes: int | None,
    finished: Callable[[int, Any], None],
) -> None:
    """Have all tasks done; ``finished`` is given the place of each, and its result."""
    play = ray.remote(max_retries=_RETRIES, num_cpus=1)(_play)
    chunks = Chunks(range(len(tasks)))
    running: dict[Any, list[int]] = {}
    while chunks.left or running:
        workers = _workers(ray, processes)
        while chunks.left and len(running) < _AHEAD * workers:
            places = chunks.take(workers=_AHEAD * workers)
            running[play.remote(work, [tasks[place] for place in places], shared)] = places
        done, _ = ray.wait(list(running), num_returns=1)
        places = running.pop(done[0])
        try:
            seconds, results = ray.get(done[0])
        except ray.exceptions.RayError as wrong:
            _tell(ray, wrong)
        chunks.took(len(places), seconds)
        for place, result in zip(places, results, strict=True):
            finished(place, result)


def _workers(ray: ModuleType, processes: int | None) -> int:
    """Count the workers now: nodes come and go."""
    there = max(1, int(ray.cluster_resources().get("CPU", 1.0)))
    return there if processes is None else min(there, processes)


def _play(
    work: Callable[[Any], Any], chunk: Sequence[Any], shared: Carried
) -> tuple[float, list[Any]]:
    unpack(shared)
    begun = time.monotonic()
    results = [work(task) for task in chunk]
    return time.monotonic() - begun, results


def _tell(ray: ModuleType, wrong: Any) -> NoReturn:
    """Raise what the work raised, or say in a line what happened to the cluster."""
    if isinstance(wrong, ray.exceptions.RayTaskError):
        raise wrong.cause from None
    said = " ".join(str(wrong).split()).partition(". ")[0]
    raise EngineError(f"Ray lost the work ({type(wrong).__name__}): {said}") from wrong
