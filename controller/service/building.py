"""From a setting to a service: the network with its plan, the journal with what it remembers."""

import hashlib
import time
from functools import partial

import msgspec

from controller.game import world_of
from controller.plan import plan_of
from controller.rivals.allocator import find
from controller.security.keyring import Keyring
from controller.service.checking import last_sequence
from controller.service.desk import Desk
from controller.service.entries import Kept, Started
from controller.service.journal import Journal, JournalFull
from controller.service.loop import BATCH
from controller.service.lost import Lost
from controller.service.stock import Stock
from controller.service.terms import Terms, WorkTerms
from controller.service.work import Work
from controller.setting import Setting, scenario_of
from quantum.errors import InputError
from quantum.flows import knee
from quantum.ledger import Rule
from quantum.scenario import Scenario
from quantum.topology import to_json

__all__ = ["desk_of", "rule_for", "scenario_for", "seed_of", "stock_of"]


def scenario_for(setting: Setting) -> Scenario:
    """Return the scenario whose network a service keeps; its trace is what it plans for."""
    return scenario_of(setting, partial(knee, max_rounds=0))


def rule_for(name: str, scenario: Scenario) -> Rule:
    """Return the rule of an allocator for a service that knows the mean demand of a scenario.

    A service asks an allocator's rule; one that plays slots in a way of its own is refused.
    """
    allocator = find(name)
    if allocator.play is not None and name != "dpem":
        raise InputError(
            f"allocator {name} plays slots in a way of its own; a service needs a rule: mean-rate, "
            "uniform, on-demand and others, or dpem for the rule that its policy starts from"
        )
    rule = allocator.rule(scenario, plan_of(scenario))
    # Requests that nobody announced have no planned path: the cheapest is claimed instead.
    return rule._replace(complete=max(1, rule.complete), rounds=0)


def seed_of(seed: int, epoch: int) -> int:
    """Return the seed of the ``epoch``-th start: no two starts share their luck.

    >>> seed_of(0, 1) == seed_of(0, 1) != seed_of(0, 2)
    True
    """
    digest = hashlib.sha256(f"service {seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def stock_of(scenario: Scenario, rule: Rule, terms: Terms, *, seed: int) -> Stock:
    """Return the stock of a scenario's network, its memories empty."""
    return Stock(
        scenario.network,
        world_of(scenario),
        rule,
        rows=terms.waiting + BATCH,
        batch=BATCH,
        seed=seed,
    )


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
    A journal of another network is refused: its pairs are not those of this one.
    """
    scenario = scenario_for(setting)
    digest = hashlib.sha256(to_json(scenario.network)).hexdigest()[:16]
    epoch, sequence, lost = 0, 0, Lost()
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
    epoch += 1
    if terms.load_hz == 0.0:
        terms = msgspec.structs.replace(terms, load_hz=scenario.trace.load_hz)
    rule = rule_for(setting.allocator, scenario)
    stock = stock_of(scenario, rule, terms, seed=seed_of(setting.seed, epoch))
    desk = Desk(
        stock,
        journal,
        terms,
        ring,
        epoch=epoch,
        now_s=now_s,
        work=None if work is None else Work(stock, work, job=lost.job),
    )
    started = Started(
        epoch, digest, setting.seed, round(time.time(), 3), now_s, workers=work is not None
    )
    expiries = lost.expire()
    desk.recall([*journal.entries(), *expiries], now_s)
    desk.count_from(sequence)
    try:
        journal.begin(started, expiries)
    except JournalFull as wrong:
        raise InputError(f"cannot write the journal {wrong}") from wrong
    return desk
