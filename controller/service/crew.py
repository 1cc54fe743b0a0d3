"""Workers that a service starts on its own machine, and starts again when they have died."""

from types import TracebackType
from typing import Self

from controller.processes import Processes
from controller.security.keys import load_pair
from controller.service.config import ServiceConfig
from quantum.errors import InputError
from quantum.joining import WorkerConfig

__all__ = ["Crew"]

#: A worker that has died is started again after so long, and later after twice as long.
_AGAIN_S, _LONGEST_S = 1.0, 30.0


class Crew:
    """As many workers as the configuration says, which may be none; a context manager.

    Their keys are made in the folder of keys when this is made, before the gate reads it.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._names = [f"own-worker-{n}" for n in range(config.workers.start)]
        for name in self._names:
            config.make(name, "worker")
        self._processes = Processes()
        self._told: dict[str, WorkerConfig] = {}
        self._due: dict[str, float] = {}
        self._wait_s: dict[str, float] = {}

    def start(self, address: str, server_key: str) -> None:
        """Start all workers; they come to ``address``."""
        for name in self._names:
            pair = load_pair(self._config.folder / f"{name}.key")
            self._told[name] = WorkerConfig(
                address=address,
                server_key=server_key,
                public_key=pair.public,
                secret_key=pair.secret,
                name=name,
                backend=self._config.backend,
                seed=self._config.network.seed,
            )
            self._processes.start("backends.worker", name, self._told[name])

    def look(self, now_s: float) -> list[str]:
        """Start again who has died; returns lines that people should read.

        Raises :class:`InputError` where a worker cannot work here at all.
        """
        lines = []
        for name, code, words in self._processes.ended():
            if code == InputError.exit_code:
                raise InputError(f"worker {name} cannot start: {words}")
            wait_s = self._wait_s.get(name, _AGAIN_S)
            self._wait_s[name] = min(_LONGEST_S, 2.0 * wait_s)
            self._due[name] = now_s + wait_s
            lines.append(
                f"worker {name} ended with code {code}, is started again in {wait_s:g} s: {words}"
            )
        for name in [name for name, due_s in self._due.items() if now_s >= due_s]:
            del self._due[name]
            self._processes.start("backends.worker", name, self._told[name])
        return lines

    def __enter__(self) -> Self:
        self._processes.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Workers wait for a service that comes back: nobody says goodbye to them.
        self._processes.__exit__(kind or KeyboardInterrupt, error, trace)
