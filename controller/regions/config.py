"""The file of a network in regions; all brokers and their clients read the same one."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from controller.security.keys import (
    KeyPair,
    default_folder,
    load_pair,
    load_public,
    new_key,
    valid_name,
)
from controller.service.config import LOCAL, NetworkConfig, network_beside
from controller.service.terms import Terms
from controller.setting import Setting
from controller.site import beside
from quantum.errors import InputError
from quantum.home import state_home
from quantum.reading import told

__all__ = ["RegionConfig", "RegionsConfig", "key_name", "load_regions"]


class RegionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A region: where its broker listens, its nodes by name, and its public key.

    The key is read from the folder of keys where it is not given.
    """

    address: str
    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    key: str | None = None


class RegionsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A network, its regions, and what all brokers grant.

    ``keys`` is the folder of keys, ``journals`` that of journals; ``key`` is a client's own key
    file. ``durable``: journals survive a power cut.
    """

    regions: Annotated[dict[str, RegionConfig], msgspec.Meta(min_length=2, max_length=1000)]
    keys: str | None = None
    key: str | None = None
    journals: str | None = None
    durable: bool = False
    drain_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 5.0
    network: NetworkConfig = NetworkConfig()
    terms: Terms = Terms()

    def check(self) -> "RegionsConfig":
        """Refuse names that cannot be those of keys and files, and addresses that are not one's."""
        seen: dict[str, str] = {}
        for name, region in self.regions.items():
            valid_name(name)
            if other := seen.get(region.address):
                raise InputError(f"regions {other} and {name} have the address {region.address}")
            seen[region.address] = name
        if self.terms.on_full != "stop":
            raise InputError("terms.on_full must be stop in a network of regions")
        return self

    @property
    def folder(self) -> Path:
        """The folder of keys."""
        return Path(self.keys) if self.keys else default_folder()

    @property
    def journal_folder(self) -> Path:
        """The folder of journals, which exists."""
        folder = Path(self.journals) if self.journals else state_home() / "regions"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def setting(self) -> Setting:
        """The whole network as a setting of a run."""
        return Setting(**msgspec.structs.asdict(self.network)).check()

    def region(self, name: str) -> RegionConfig:
        """Return a region by its name; InputError names those that are there."""
        found = self.regions.get(name)
        if found is None:
            known = ", ".join(sorted(self.regions))
            raise InputError(f"region {name!r} is none of this network: {known}")
        return found

    def own_pair(self, name: str) -> KeyPair:
        """Return a region's key pair, made when it is not there yet."""
        self._make(key_name(name), "broker")
        # Who may start a broker may ask it.
        self._make(LOCAL, "request")
        return load_pair(self.folder / f"{key_name(name)}.key")

    def _make(self, name: str, role: str) -> None:
        if (self.folder / f"{name}.pub").exists() or any(self.folder.glob(f"{name}.*.revoked")):
            return
        try:
            new_key(self.folder, name, role)  # type: ignore[arg-type]
        except InputError:
            # The broker of another region may have made it in the meantime.
            if not (self.folder / f"{name}.pub").exists():
                raise

    def public_key(self, name: str) -> str | None:
        """Return a region's public key, None where it is not known yet."""
        given = self.regions[name].key
        if given is not None:
            return given
        path = self.folder / f"{key_name(name)}.pub"
        return load_public(path).public if path.exists() else None

    def client_pair(self, name: str) -> tuple[str, KeyPair]:
        """Return a region's public key, and the key pair of whoever asks."""
        public = self.public_key(name)
        if public is None:
            raise InputError(
                f"the key of region {name} is not in {self.folder}: start its broker first, or "
                f"give regions.{name}.key"
            )
        own = Path(self.key) if self.key else self.folder / f"{LOCAL}.key"
        return public, load_pair(own)

    def region_of(self, node: str) -> str:
        """Return the region that a node belongs to."""
        for name, region in self.regions.items():
            if node in region.nodes:
                return name
        raise InputError(f"{node!r} is no node of the regions {', '.join(sorted(self.regions))}")


def key_name(region: str) -> str:
    """Return the name of the key of a region's broker."""
    return f"region-{region}"


def load_regions(path: str) -> RegionsConfig:
    """Read the file; :class:`InputError` in one line where it is wrong."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"{path} is not valid TOML: {wrong}") from wrong
    try:
        config = msgspec.convert(values, type=RegionsConfig).check()
    except msgspec.ValidationError as wrong:
        said = told(wrong, RegionsConfig).replace("Object", "configuration")
        raise InputError(f"{path}: {said}") from wrong
    network = network_beside(config.network, Path(path).resolve().parent)
    return beside(msgspec.structs.replace(config, network=network), Path(path))
