"""The worker's socket loop: jobs from the broker, executed on one backend, one at a time.

``python -m backends.worker CONFIG`` with a JSON file of :class:`quantum.joining.WorkerConfig`.
"""

import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import msgspec

from backends.contract import Backend, Follower
from backends.seat import Seat
from backends.service import execute_all
from quantum.egp import Bye, Done, Failed, Job
from quantum.errors import DeviceError, InputError, RequestError
from quantum.joining import WorkerConfig
from quantum.logs import note, start_in_child
from quantum.seeding import generator
from quantum.wire import encode
from quantum.words import near

__all__ = ["known_backends", "main", "open_backend", "work"]

#: Jobs that are executed together where several wait: what a batch costs is shared.
AT_ONCE = 4
#: Answers that are kept, in case the broker did not get them.
REMEMBERED = 64


def known_backends() -> list[str]:
    """Return the names of the installed backends."""
    return sorted(point.name for point in entry_points(group="dpem.backends"))


def open_backend(name: str, rack: str | None = None) -> Backend:
    """Open a backend by its name; only ``lab`` takes a rack file."""
    for point in entry_points(group="dpem.backends"):
        if point.name == name:
            factory = point.load()
            backend = factory(Path(rack)) if rack else factory()
            assert isinstance(backend, Backend)
            return backend
    known = known_backends()
    raise InputError(f"backend {name!r} is unknown{near(name, known)}; known: {', '.join(known)}")


def work(config: WorkerConfig, done: Callable[[Job], None] = lambda _: None) -> None:
    """Serve jobs until the broker says goodbye; ``done`` is given each that was executed."""
    backend = open_backend(config.backend, config.rack)
    if config.pulse and isinstance(backend, Follower):
        backend.follow(config)
        try:
            backend.prepare()
        except BaseException:
            backend.close()
            raise
    rng = generator(config.seed, "worker", config.name)
    idle: Callable[[], bool] | None = getattr(backend, "idle", None)
    answers: OrderedDict[int, bytes] = OrderedDict()
    parent = os.getppid()
    try:
        with Seat(config, keeps=backend.keeps) as seat:
            note("ready", backend=config.backend, broker=config.address)
            while True:
                match seat.hear(idle):
                    case Job() as job:
                        jobs = [job, *(seat.more_jobs(AT_ONCE - 1) if job.blocks else ())]
                        # Asked again after a lost connection: said again, and not done again.
                        fresh = {j.job: j for j in jobs if not (j.again and j.job in answers)}
                        for job, answer in zip(
                            fresh.values(),
                            execute_all(backend, list(fresh.values()), rng),
                            strict=True,
                        ):
                            answers[job.job] = encode(answer)
                            _note(job, answer)
                            done(job)
                        for job in jobs:
                            seat.say(answers[job.job])
                        while len(answers) > REMEMBERED:
                            answers.popitem(last=False)
                    case Bye():
                        note("ended")
                        return
                    case None if os.getppid() != parent and not config.alone:
                        return  # whoever started us was killed; nobody will say goodbye
                    case _:
                        pass
    finally:
        backend.close()


def _note(job: Job, answer: Done | Failed) -> None:
    if isinstance(answer, Failed):
        note("job failed", level="warning", job=job.job, code=answer.code.name, why=answer.detail)
    else:
        note("job done", level="debug", job=job.job, programs=job.programs, again=job.again)


def main() -> None:
    """Run a worker process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerConfig)
    start_in_child(config.name)
    try:
        work(config)
    except (InputError, DeviceError, RequestError) as wrong:
        note("gave up", level="error", why=str(wrong))
        sys.stderr.write(f"dpem worker: {wrong}\n")
        sys.exit(wrong.exit_code)


if __name__ == "__main__":
    main()
