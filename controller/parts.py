"""Who takes part in a run beside its broker: processes that it starts, or such that come by
themselves from other machines. Both have the same few names.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from controller.agent import briefed
from controller.broker import Broker, Endpoints
from controller.meeting import BrokerConfig
from controller.processes import Processes
from controller.security import Client, KeyFolder, KeyPair, Keyring, new_keys
from controller.setting import Setting
from quantum.egp import Brief
from quantum.joining import Connection, WorkerConfig

__all__ = ["Guests", "OwnParts", "Parts"]

#: How long a run waits for its own processes; a laboratory calibrates its links before its worker
#: says hello.
_OWN_S, _LAB_S = 120.0, 600.0


class OwnParts:
    """Agents and workers as child processes, with keys that live as long as the run."""

    listen: Endpoints | None = None

    def __init__(self, setting: Setting, groups: int) -> None:
        self._setting = setting
        self.keys = new_keys()
        self._agents = {f"agent-{n}": new_keys() for n in range(groups)}
        self._workers = {f"worker-{n}": new_keys() for n in range(setting.workers)}
        self.admitted: Keyring | KeyFolder = Keyring(
            [
                *(Client(name, "agent", keys.public) for name, keys in self._agents.items()),
                *(Client(name, "worker", keys.public) for name, keys in self._workers.items()),
            ]
        )
        self.patience_s = _OWN_S if setting.rack is None else _LAB_S
        self._processes = Processes()

    def names(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the names of agents and of workers by their public keys."""
        agents, workers = (
            {keys.public: name for name, keys in parts.items()}
            for parts in (self._agents, self._workers)
        )
        return agents, workers

    def begin(self, broker: Broker, briefs: Sequence[Brief], pulse: str) -> None:
        """Start all processes; ``pulse`` is where their hearts are listened to."""
        setting = self._setting
        for (name, keys), brief in zip(self._agents.items(), briefs, strict=True):
            way = Connection(address=broker.endpoints.agents, **self._connection(name, keys, pulse))
            self._processes.start("controller.agent", name, briefed(way, brief))
        for name, keys in self._workers.items():
            worker = WorkerConfig(
                address=broker.endpoints.workers,
                **self._connection(name, keys, pulse),
                backend=setting.backend,
                seed=setting.seed,
                rack=setting.rack,
            )
            self._processes.start("backends.worker", name, worker)

    def _connection(self, name: str, keys: KeyPair, pulse: str) -> dict[str, Any]:
        return {
            "server_key": self.keys.public,
            "public_key": keys.public,
            "secret_key": keys.secret,
            "name": name,
            "pulse": pulse,
        }

    def ids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return self._processes.ids()

    def check(self) -> None:
        """Raise if a process has died."""
        self._processes.check()

    def __enter__(self) -> Self:
        self._processes.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._processes.__exit__(kind, error, trace)


class Guests:
    """Agents and workers that are started elsewhere (``dpem agent``, ``dpem worker``)."""

    def __init__(self, config: BrokerConfig) -> None:
        self.keys = config.own_pair()
        self.admitted: Keyring | KeyFolder = KeyFolder(config.folder)
        self.listen: Endpoints | None = Endpoints(config.agents, config.workers, config.telemetry)
        self.patience_s = config.wait_s

    def names(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return nobody's name: who comes is seen then."""
        return {}, {}

    def begin(self, broker: Broker, briefs: Sequence[Brief], pulse: str) -> None:
        """Tell the broker what agents that come are to be told."""
        broker.briefs = tuple(briefs)

    def ids(self) -> dict[str, int]:
        """Return no process: none of them is ours."""
        return {}

    def check(self) -> None:
        """Miss nobody: who died may be started again, and takes his seat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


Parts = OwnParts | Guests
