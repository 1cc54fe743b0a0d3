"""The file of a service: what it is, where it listens, and for whom. Its clients read it too."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Self

import msgspec

from controller.configuration import read_configuration
from controller.security.keys import KeyPair, default_folder, load_pair, new_key
from controller.service.terms import Terms, WorkTerms
from controller.setting import Setting
from controller.site import SERVE, beside, part_of, public_of
from quantum.errors import InputError
from quantum.home import state_home
from quantum.reading import told
from quantum.roles import Role

__all__ = [
    "INLINE",
    "LOCAL",
    "SERVICE",
    "NetworkConfig",
    "ServiceConfig",
    "WorkersConfig",
    "load_config",
    "network_beside",
]

#: Names of the keys that a service makes for itself and for its own user.
SERVICE, LOCAL = "service", "local"
#: The backend of a service that executes pairs itself.
INLINE = "inline"
#: Backends that measure pairs as they come, and cannot keep one for an application.
_MEASURING = ("lab",)


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network, named as ``dpem run`` names it, and the demand that it is planned for."""

    preset: str = "paper"
    topology: str = "mesh"
    demand: str = "poisson"
    load_hz: float | None = None
    allocator: str = "mean-rate"
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0


class WorkersConfig(WorkTerms, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where workers of a service come, and what waits for them; ``start`` are started by it."""

    address: str = "tcp://127.0.0.1:7412"
    start: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service: address, keys, journal, network and terms.

    ``keys`` is the folder with the public keys of those who may come, and with the service's own
    key. A client on another machine needs ``server_key``, the service's public key, and its own key
    file ``key``. ``durable``: the journal survives a power cut, not only a killed process.
    ``metrics``: HOST:PORT where Prometheus may ask, port 0 for any free one. ``backend``: where
    pairs are executed, ``inline`` in closed form by the service itself, else by ``workers`` with
    the backend of that name. Paths begin at the folder of the file.
    """

    address: str = "tcp://127.0.0.1:7411"
    keys: str | None = None
    key: str | None = None
    server_key: str | None = None
    journal: str | None = None
    durable: bool = False
    metrics: str | None = None
    backend: str = INLINE
    workers: WorkersConfig = WorkersConfig()
    drain_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 5.0
    network: NetworkConfig = NetworkConfig()
    terms: Terms = Terms()

    @property
    def folder(self) -> Path:
        """The folder of keys."""
        return Path(self.keys) if self.keys else default_folder()

    @property
    def journal_path(self) -> Path:
        """The journal's file, in a folder that exists."""
        if self.journal is not None:
            return Path(self.journal)
        folder = state_home() / "service"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / "journal.db"

    @property
    def setting(self) -> Setting:
        """The network as a setting of a run."""
        given = msgspec.structs.asdict(self.network)
        return Setting(**given).check()

    def check(self) -> Self:
        """Refuse a backend that no worker has, and what does not go together."""
        if self.durable and self.terms.on_full == "continue":
            raise InputError("terms.on_full must be stop where the journal is durable")
        if self.backend == INLINE:
            if self.workers.start:
                raise InputError(f"workers.start needs a backend other than {INLINE}")
            return self
        points = {point.name for point in entry_points(group="dpem.backends")}
        known = [INLINE, *sorted(points.difference(_MEASURING))]
        if self.backend not in known:
            raise InputError(f"backend must be one of {', '.join(known)}, got {self.backend!r}")
        remembered_s = self.terms.most_s + self.terms.grace_s
        if self.workers.patience_s > remembered_s:
            raise InputError(
                f"workers.patience_s may be {remembered_s:g} s at most (terms.most_s and grace_s: "
                f"so long an answer is remembered), got {self.workers.patience_s:g}"
            )
        return self

    def own_pair(self) -> KeyPair:
        """Return the service's key pair, made when it is not there yet."""
        self.make(SERVICE, "broker")
        # Who may start the service may ask it.
        self.make(LOCAL, "request")
        return load_pair(self.folder / f"{SERVICE}.key")

    def make(self, name: str, role: Role) -> None:
        """Make a key, unless it is there or was revoked."""
        if not (self.folder / f"{name}.pub").exists():
            if any(self.folder.glob(f"{name}.*.revoked")):
                return
            new_key(self.folder, name, role)

    def server_public(self) -> str:
        """Return the service's public key: ``server_key``, else the one in the folder of keys."""
        return public_of(self.folder, SERVICE, self.server_key)

    def client_pair(self) -> tuple[str, KeyPair]:
        """Return the service's public key, and the key pair of whoever asks."""
        key = Path(self.key) if self.key else self.folder / f"{LOCAL}.key"
        return self.server_public(), load_pair(key)


def load_config(path: str | None) -> ServiceConfig:
    """Read the file of a service; without one everything is as it is by default.

    In a file for a whole site it is the table ``serve``.
    """
    values = {} if path is None else part_of(read_configuration(path), SERVE)
    try:
        config = msgspec.convert(values, type=ServiceConfig)
    except msgspec.ValidationError as wrong:
        said = told(wrong, ServiceConfig).replace("Object", "configuration")
        raise InputError(f"{path}: {said}") from wrong
    if path is None:
        return config
    network = network_beside(config.network, Path(path).resolve().parent)
    return beside(msgspec.structs.replace(config, network=network), Path(path))


def network_beside(network: NetworkConfig, there: Path) -> NetworkConfig:
    """Return a network whose files are those that lie beside the service's, where they do."""
    moved = {
        field: str(there / value)
        for field in ("topology", "demand")
        if Path(value := getattr(network, field)).suffix and (there / value).is_file()
    }
    return msgspec.structs.replace(network, **moved)
