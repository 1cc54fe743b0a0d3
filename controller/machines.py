"""What a part of a service or of a run on this machine is told, from the file of the site."""

from pathlib import Path

from controller.configuration import read_configuration
from controller.security.keys import KeyPair, load_pair
from controller.service.config import INLINE, load_config
from controller.site import RUN, SERVE, own_key
from quantum.errors import InputError
from quantum.joining import WorkerConfig
from quantum.roles import Role

__all__ = ["worker_of"]


def worker_of(path: str, *, of: str | None, key: Path | None, wait_s: float) -> WorkerConfig:
    """Return what a worker of a service, or of a run, is told."""
    values = read_configuration(path)
    if of is None:
        both = all(isinstance(values.get(part), dict) for part in (SERVE, RUN))
        if both:
            raise InputError(f"{path} has tables {SERVE} and {RUN}: say which by --of")
        of = RUN if RUN in values or "broker" in values else SERVE
    if of == RUN:
        raise InputError("not yet")
    config = load_config(path).check()
    if config.backend == INLINE:
        raise InputError(f"{path}: backend is {INLINE}, so this service has no workers")
    name, pair = _key(config.folder, "worker", key)
    return WorkerConfig(
        address=config.workers.address,
        server_key=config.server_public(),
        public_key=pair.public,
        secret_key=pair.secret,
        name=name,
        backend=config.backend,
        seed=config.network.seed,
        alone=True,
        connect_s=wait_s,
    )


def _key(folder: Path, role: Role, key: Path | None) -> tuple[str, KeyPair]:
    if key is None:
        return own_key(folder, role)
    return key.name.removesuffix(".key"), load_pair(key)
