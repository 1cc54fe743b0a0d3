"""Where agents and workers of a run come when nobody starts them: the table ``broker``."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from controller.configuration import read_configuration
from controller.security.keys import KeyPair, default_folder, load_pair, new_key
from controller.site import RUN, beside, part_of, public_of
from quantum.errors import InputError
from quantum.reading import told

__all__ = ["BROKER", "BrokerConfig", "read_run"]

#: Name of the table, and of the broker's own key.
BROKER = "broker"


class BrokerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run whose agents and workers are started elsewhere: where they come, and with which keys.

    ``keys`` is the folder with the public keys of those who may come, and with the own key of
    whoever reads this file; ``server_key`` the broker's public key where it is not in the folder.
    The run waits ``wait_s`` for all to come.
    """

    agents: str = "tcp://127.0.0.1:7421"
    workers: str = "tcp://127.0.0.1:7422"
    telemetry: str = "tcp://127.0.0.1:7423"
    keys: str | None = None
    server_key: str | None = None
    wait_s: Annotated[float, msgspec.Meta(ge=1.0, le=86400.0)] = 600.0

    @property
    def folder(self) -> Path:
        """The folder of keys."""
        return Path(self.keys) if self.keys else default_folder()

    def own_pair(self) -> KeyPair:
        """Return the broker's key pair, made when it is not there yet."""
        if not (self.folder / f"{BROKER}.pub").exists():
            new_key(self.folder, BROKER, "broker")
        return load_pair(self.folder / f"{BROKER}.key")

    def server_public(self) -> str:
        """Return the broker's public key."""
        return public_of(self.folder, BROKER, self.server_key)


def read_run(path: str) -> tuple[dict[str, Any], BrokerConfig | None]:
    """Read the file of a run, or its table in the file of a site: options, and the meeting place.

    Without a table ``broker`` a run starts its own processes.
    """
    values = dict(part_of(read_configuration(path), RUN))
    table = values.pop(BROKER, None)
    if table is None:
        return values, None
    try:
        config = msgspec.convert(table, type=BrokerConfig)
    except msgspec.ValidationError as wrong:
        said = told(wrong, BrokerConfig).replace("Object", "table")
        raise InputError(f"{path}: {BROKER}: {said}") from wrong
    return values, beside(config, Path(path))
