"""The file of a service: what it is, where it listens, and for whom. Its clients read it too."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from controller.security.keys import KeyPair, default_folder, load_pair, load_public, new_key
from controller.service.terms import Terms
from controller.setting import Setting
from quantum.errors import InputError
from quantum.home import state_home
from quantum.reading import told
from quantum.roles import Role

__all__ = ["LOCAL", "SERVICE", "NetworkConfig", "ServiceConfig", "load_config"]

#: Names of the keys that a service makes for itself and for its own user.
SERVICE, LOCAL = "service", "local"


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network, named as ``dpem run`` names it, and the demand that it is planned for."""

    preset: str = "paper"
    topology: str = "mesh"
    demand: str = "poisson"
    load_hz: float | None = None
    allocator: str = "mean-rate"
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service: address, keys, journal, network and terms.

    ``keys`` is the folder with the public keys of those who may come, and with the service's own
    key. A client on another machine needs ``server_key``, the service's public key, and its own key
    file ``key``. ``durable``: the journal survives a power cut, not only a killed process.
    ``metrics``: HOST:PORT where Prometheus may ask, port 0 for any free one.
    """

    address: str = "tcp://127.0.0.1:7411"
    keys: str | None = None
    key: str | None = None
    server_key: str | None = None
    journal: str | None = None
    durable: bool = False
    metrics: str | None = None
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

    def own_pair(self) -> KeyPair:
        """Return the service's key pair, made when it is not there yet."""
        self._make(SERVICE, "broker")
        # Who may start the service may ask it.
        self._make(LOCAL, "request")
        return load_pair(self.folder / f"{SERVICE}.key")

    def _make(self, name: str, role: Role) -> None:
        if not (self.folder / f"{name}.pub").exists():
            if any(self.folder.glob(f"{name}.*.revoked")):
                return
            new_key(self.folder, name, role)

    def client_pair(self) -> tuple[str, KeyPair]:
        """Return the service's public key, and the key pair of whoever asks."""
        key = Path(self.key) if self.key else self.folder / f"{LOCAL}.key"
        server = self.server_key
        if server is None:
            server = load_public(self.folder / f"{SERVICE}.pub").public
        return server, load_pair(key)


def load_config(path: str | None) -> ServiceConfig:
    """Read the file of a service; without one everything is as it is by default."""
    values: dict[str, object] = {}
    if path is not None:
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as wrong:
            raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
            raise InputError(f"{path} is not valid TOML: {wrong}") from wrong
    try:
        return msgspec.convert(values, type=ServiceConfig)
    except msgspec.ValidationError as wrong:
        said = told(wrong, ServiceConfig).replace("Object", "configuration")
        raise InputError(f"{path}: {said}") from wrong
