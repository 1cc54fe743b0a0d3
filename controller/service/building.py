"""From a setting to a service: the network with its plan, the journal with what it remembers."""

import hashlib
import time
from functools import partial
from pathlib import Path

import msgspec

from controller.game import world_of
from controller.security.keyring import Keyring
from controller.service.carrying import world_for
from controller.service.checking import last_sequence
from controller.service.desk import Desk
from controller.service.entries import Changed, Entry, Kept, Started
from controller.service.journal import Journal, JournalFull
from controller.service.loop import BATCH
from controller.service.lost import Lost
from controller.service.planning import rule_for, rule_on
from controller.service.standing import Standing
from controller.service.stock import Stock
from controller.service.terms import Terms, WorkTerms
from controller.service.work import Work
from controller.setting import Setting, scenario_of
from quantum.alterations import Alter, Altered
from quantum.errors import InputError, RecordError, WireError
from quantum.flows import knee
from quantum.ledger import Rule
from quantum.requests import decode_answer, decode_ask
from quantum.scenario import Scenario
from quantum.topology import to_json
from quantum.traffic_files import is_file

__all__ = ["desk_of", "gone_on", "rule_for", "scenario_for", "seed_of", "stock_of"]


def scenario_for(setting: Setting) -> Scenario:
    """Return the scenario whose network a service keeps; its trace is what it plans for."""
    return scenario_of(setting, partial(knee, max_rounds=0))


def seed_of(seed: int, epoch: int) -> int:
    """Return the seed of the ``epoch``-th start: no two starts share their luck.

    >>> seed_of(0, 1) == seed_of(0, 1) != seed_of(0, 2)
    True
    """
    digest = hashlib.sha256(f"service {seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def stock_of(
    scenario: Scenario, rule: Rule, terms: Terms, *, seed: int, standing: Standing | None = None
) -> Stock:
    """Return the stock of a scenario's network, its memories empty, changed as ``standing`` says.

    ``rule`` is for the network as it stands.
    """
    world, network = world_of(scenario), scenario.network
    if standing is not None and standing.changes:
        network = standing.network()
        world = world_for(network, world)
    stock = Stock(network, world, rule, rows=terms.waiting + BATCH, batch=BATCH, seed=seed)
    if standing is not None and standing.now.down:
        stock.set_up(standing.up(network))
    return stock


def desk_of(
    setting: Setting,
    terms: Terms,
    journal: Journal,
    ring: Keyring,
    *,
    now_s: float,
    work: WorkTerms | None = None,
) -> Desk:
    """Return the state machine of a service that goes on from its journal.

    With ``work`` pairs are executed by workers. Pairs that an earlier service had granted and that
    were not executed when it ended expire. Without ``terms.load_hz`` it is that of the setting.
    A journal of another network is refused: its pairs are not those of this one. The network
    stands as the changes in the journal made it.
    """
    scenario = scenario_for(setting)
    digest = hashlib.sha256(to_json(scenario.network)).hexdigest()[:16]
    epoch, sequence, lost = 0, 0, Lost()
    standing = Standing(scenario.network)
    for entry in journal.all_entries():
        lost.follow(entry)
        started = entry.started if isinstance(entry, Kept) else entry
        if isinstance(started, Started):
            epoch = max(epoch, started.epoch)
            if started.network != digest:
                raise InputError(
                    f"journal {journal.path} belongs to another network; give a new journal"
                )
        sequence = max(sequence, last_sequence(entry))
        standing = gone_on(standing, entry, journal.path)
    epoch += 1
    if terms.load_hz == 0.0:
        terms = msgspec.structs.replace(terms, load_hz=scenario.trace.load_hz)
    if standing.changes:
        network = standing.network()
        base = scenario if is_file(setting.demand) else None
        up = standing.up(network)
        rule = rule_on(setting, base, network, up, load_hz=scenario.trace.load_hz)
    else:
        rule = rule_for(setting.allocator, scenario)
    seed = seed_of(setting.seed, epoch)
    stock = stock_of(scenario, rule, terms, seed=seed, standing=standing)
    desk = Desk(
        stock,
        journal,
        terms,
        ring,
        epoch=epoch,
        now_s=now_s,
        work=None if work is None else Work(stock, work, job=lost.job),
        standing=standing,
    )
    desk.altering.load_hz = scenario.trace.load_hz
    utc_s, changes = round(time.time(), 3), standing.changes
    started = Started(epoch, digest, setting.seed, utc_s, now_s, work is not None, changes)
    expiries = lost.expire()
    desk.recall([*journal.entries(), *expiries], now_s)
    desk.count_from(sequence)
    try:
        journal.begin(started, expiries)
    except JournalFull as wrong:
        raise InputError(f"cannot write the journal {wrong}") from wrong
    return desk


def gone_on(standing: Standing, entry: Entry, path: Path) -> Standing:
    """Return what stands after an entry of the journal."""
    if isinstance(entry, Kept):
        return standing.restored(entry.changes, entry.network)
    if not isinstance(entry, Changed):
        return standing
    try:
        ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
        if not isinstance(ask, Alter) or not isinstance(answer, Altered):
            raise RecordError(f"{path}: a change of the network is none")
        # What was kept of rows that are gone may know of it already.
        return standing.after(ask.steps) if answer.change > standing.changes else standing
    except (WireError, InputError) as wrong:
        raise RecordError(f"{path}: a change of the network cannot be made: {wrong}") from wrong
