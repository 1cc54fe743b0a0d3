"""From the file to a region: its broker, its own service, and what their journals remember."""

import hashlib
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec

from controller.regions.broker import Broker
from controller.regions.config import RegionsConfig, key_name
from controller.regions.crossing import Losses
from controller.regions.loop import Loop
from controller.regions.records import Entry, Started, decoder
from controller.regions.territory import Territory
from controller.security.keyring import Client, KeyFolder, Keyring
from controller.security.keys import KeyPair
from controller.service.building import desk_of, scenario_for
from controller.service.journal import Journal, JournalFull
from controller.service.loop import Loop as ServiceLoop
from quantum import werner
from quantum.errors import DpemError, InputError
from quantum.network import Network
from quantum.output import write_whole
from quantum.topology import to_json

__all__ = [
    "OwnService",
    "broker_of",
    "journals_of",
    "losses_of",
    "open_journal",
    "region_loop",
    "territory_of",
]

#: Waits between questions for fidelities differ by less than this and are taken as one, longer.
_GRAIN_S = 1e-3


def losses_of(network: Network) -> Losses:
    """Return the chance that a pair waits so long, both ends, or is swapped, without an error.

    A Bell-diagonal pair is phi+ with its fidelity's chance and has an error else; errors may undo
    each other, so the product of these chances bounds the fidelity of what is joined from below.
    """

    @lru_cache(maxsize=4096)
    def after(grains: int) -> float:
        wait_s = grains * _GRAIN_S
        return float(werner.fidelity(werner.wait([1.0, 1.0, 1.0], wait_s, wait_s, network.memory)))

    swap = float(werner.fidelity(werner.swap_factors(network.gates)))
    return (lambda wait_s: after(int(wait_s / _GRAIN_S) + 1)), swap


def journals_of(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the journals of a region: its broker's, and its own service's."""
    return folder / f"{name}.db", folder / f"{name}-links.db"


def open_journal(path: Path, *, durable: bool) -> Journal:
    """Open the journal of a broker."""
    return Journal(path, durable=durable, decoder=decoder)


def broker_of(
    name: str,
    territory: Territory,
    config: RegionsConfig,
    journal: Journal,
    ring: Keyring,
    *,
    now_s: float,
) -> Broker:
    """Return the state machine of a broker that goes on from its journal.

    A journal of another network or another region is refused.
    """
    part = territory.parts[name]
    said = to_json(part.network) + repr(sorted(territory.region_of.items())).encode()
    digest = hashlib.sha256(said).hexdigest()[:16]
    entries: list[Entry] = list(journal.all_entries())  # type: ignore[arg-type]
    starts = [entry for entry in entries if isinstance(entry, Started)]
    if any(start.network != digest for start in starts):
        raise InputError(
            f"journal {journal.path} belongs to another region or network; give a new folder"
        )
    epoch = 1 + max((start.epoch for start in starts), default=0)
    losses = losses_of(territory.network)
    broker = Broker(name, territory, losses, config.terms, ring, epoch=epoch, now_s=now_s)
    try:
        seed = config.network.seed
        journal.append([Started(epoch, digest, seed, round(time.time(), 3), now_s)])
        broker.recall(entries, now_s)
        # Pairs that went with the process before are noted as gone.
        first, _ = broker.turn(now_s)
        if first:
            journal.append(first)
    except JournalFull as wrong:
        raise InputError(f"cannot write the journal {wrong}") from wrong
    return broker


class OwnService:
    """The service of a region's links, in a thread: the pairs of its stock, local requests.

    Its only application is the region's broker, with the broker's own key.
    """

    def __init__(
        self, name: str, territory: Territory, config: RegionsConfig, keys: KeyPair
    ) -> None:
        folder = config.journal_folder
        part = territory.parts[name].network
        path = folder / f"{name}.json"
        write_whole(path, to_json(part))
        whole = config.setting
        load_hz = whole.load_hz
        if load_hz is not None:
            load_hz *= len(part.nodes) / len(territory.network.nodes)
        setting = msgspec.structs.replace(whole, topology=str(path), load_hz=load_hz).check()
        terms = msgspec.structs.replace(
            config.terms, credits=config.terms.waiting, remembered=10_000_000
        )
        ring = Keyring([Client(key_name(name), "request", keys.public)])
        self._journal = Journal(journals_of(folder, name)[1], durable=config.durable)
        try:
            desk = desk_of(setting, terms, self._journal, ring, now_s=time.monotonic())
            self._loop = ServiceLoop(desk, "tcp://127.0.0.1:0", keys, ring)
        except BaseException:
            self._journal.close()
            raise
        self.address = self._loop.address
        self._over = threading.Event()
        self._why = ""
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run(self._over.is_set, drain_s=0.0)
        except Exception as wrong:  # noqa: BLE001 - whatever it was, the broker ends with it
            self._why = f"{type(wrong).__name__}: {wrong}"

    def check(self) -> None:
        """Raise where the service has died."""
        if not self._thread.is_alive():
            raise DpemError(f"the region's own service ended: {self._why or 'without a word'}")

    def close(self) -> None:
        """End the service; safe to call twice."""
        self._over.set()
        self._thread.join(10.0)
        self._loop.close()
        self._journal.close()


def region_loop(
    name: str,
    territory: Territory,
    config: RegionsConfig,
    journal: Journal,
    service: OwnService,
    keys: KeyPair,
    admitted: KeyFolder,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Loop:
    """Return the sockets of a region's broker, bound and on their way to the others."""
    broker = broker_of(name, territory, config, journal, admitted.ring, now_s=clock())
    others = {region: one.address for region, one in config.regions.items() if region != name}
    return Loop(
        broker,
        journal,
        config.region(name).address,
        keys,
        admitted,
        service=(service.address, keys.public),
        addresses=others,
        public_of=config.public_key,
        clock=clock,
    )


def territory_of(config: RegionsConfig) -> Territory:
    """Return the network of the file, divided into its regions."""
    network = scenario_for(config.setting).network
    return Territory(network, {name: region.nodes for name, region in config.regions.items()})
