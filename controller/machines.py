"""What a part of a service or of a run on this machine is told, from the file of the site."""

from pathlib import Path

from controller.configuration import read_configuration, setting_of_values
from controller.meeting import BROKER, BrokerConfig, read_run
from controller.security.keys import KeyPair, load_pair
from controller.service.config import INLINE, load_config
from controller.site import RUN, SERVE, own_key
from quantum.errors import InputError
from quantum.joining import Connection, WorkerConfig
from quantum.roles import Role

__all__ = ["agent_of", "worker_of"]


def worker_of(path: str, *, of: str | None, key: Path | None, wait_s: float) -> WorkerConfig:
    """Return what a worker of a service, or of a run (``of``), is told.

    Without ``of`` the file says it: it is that of a service, or of a run.
    """
    values = read_configuration(path)
    if of is None:
        if RUN in values and SERVE in values:
            raise InputError(f"{path} has tables {SERVE} and {RUN}: say which by --of")
        of = RUN if RUN in values or BROKER in values else SERVE
    if of == RUN:
        options, meeting = read_run(path)
        setting = setting_of_values(options, path)
        address, backend, seed = _there(path, meeting).workers, setting.backend, setting.seed
        server, folder = _there(path, meeting).server_public(), _there(path, meeting).folder
    else:
        config = load_config(path).check()
        if config.backend == INLINE:
            raise InputError(f"{path}: backend is {INLINE}, so this service has no workers")
        address, backend, seed = config.workers.address, config.backend, config.network.seed
        server, folder = config.server_public(), config.folder
    name, pair = _key(folder, "worker", key)
    return WorkerConfig(
        address=address,
        server_key=server,
        public_key=pair.public,
        secret_key=pair.secret,
        name=name,
        backend=backend,
        seed=seed,
        alone=True,
        connect_s=wait_s,
        # A service comes back; a run that is over does not.
        lost_s=wait_s if of == RUN else None,
    )


def agent_of(path: str, *, key: Path | None) -> Connection:
    """Return where an agent of a run goes, and as whom."""
    _, meeting = read_run(path)
    there = _there(path, meeting)
    name, pair = _key(there.folder, "agent", key)
    return Connection(
        address=there.agents,
        server_key=there.server_public(),
        public_key=pair.public,
        secret_key=pair.secret,
        name=name,
    )


def _there(path: str, meeting: BrokerConfig | None) -> BrokerConfig:
    if meeting is None:
        raise InputError(
            f"{path}: there is no table {BROKER}, so this run starts its own agents and workers"
        )
    return meeting


def _key(folder: Path, role: Role, key: Path | None) -> tuple[str, KeyPair]:
    if key is None:
        return own_key(folder, role)
    return key.name.removesuffix(".key"), load_pair(key)
