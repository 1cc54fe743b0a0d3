"""A small service for tests: a line of four nodes that makes and swaps many pairs a second."""

from dataclasses import replace
from functools import cache

from controller.game import world_of
from controller.security.keyring import Client, Keyring
from controller.service.building import gone_on, rule_for, scenario_for, seed_of
from controller.service.carrying import world_for
from controller.service.desk import Desk
from controller.service.entries import Kept, Started
from controller.service.journal import Journal, JournalFull
from controller.service.lost import Lost
from controller.service.planning import rule_on
from controller.service.standing import Standing
from controller.service.stock import Stock
from controller.service.terms import Terms, WorkTerms
from controller.service.work import Work
from controller.setting import Setting
from quantum.alterations import NETWORK, Alter, Step
from quantum.ledger import Rule, World
from quantum.requests import EXPIRES, Ask, Open, Opened, decode_answer, encode_request
from quantum.scenario import Scenario

ADA, BOB, EVE = "a" * 40, "b" * 40, "e" * 40
RING = Keyring(
    [Client("ada", "request", ADA), Client("bob", "operate", BOB), Client("eve", "observe", EVE)]
)


class FullDisk:
    """A journal whose disk is full while ``full`` says so."""

    def __init__(self, journal):
        self._journal, self.full = journal, False
        self.number = journal.number

    def append(self, entries):
        if self.full:
            raise JournalFull("journal.db: database or disk is full")
        return self._journal.append(entries)

    def __getattr__(self, name):
        return getattr(self._journal, name)


SETTING = Setting(topology="line-4", demand="poisson", load_hz=20.0, allocator="mean-rate")


@cache
def stage() -> tuple[Scenario, World, Rule]:
    scenario = scenario_for(SETTING)
    network = scenario.network
    network = replace(
        network, generation_hz=network.generation_hz * 0 + 30.0, swap_hz=network.swap_hz * 0 + 50.0
    )
    scenario = replace(scenario, network=network)
    return scenario, world_of(scenario), rule_for("mean-rate", scenario)


def desk_on(
    journal: Journal,
    terms: Terms,
    *,
    now_s: float = 0.0,
    ring: Keyring = RING,
    work: WorkTerms | None = None,
) -> Desk:
    """Return the service as it starts on a journal, like ``building.desk_of`` but quickly."""
    from controller.service.checking import last_sequence

    scenario, world, rule = stage()
    entries, lost = list(journal.all_entries()), Lost()
    for entry in entries:
        lost.follow(entry)
    starts = [e.started if isinstance(e, Kept) else e for e in entries]
    epoch = 1 + max((e.epoch for e in starts if isinstance(e, Started)), default=0)
    standing = Standing(scenario.network)
    for entry in entries:
        standing = gone_on(standing, entry, journal.path)
    network = standing.network()
    if standing.changes:
        world = world_for(network, world)
        rule = rule_on(SETTING, None, network, standing.up(network), load_hz=20.0)
    stock = Stock(network, world, rule, rows=32, batch=8, seed=seed_of(0, epoch))
    stock.set_up(standing.up(network))
    own = None if work is None else Work(stock, work, job=lost.job)
    desk = Desk(stock, journal, terms, ring, epoch=epoch, now_s=now_s, work=own, standing=standing)
    expiries = lost.expire()
    desk.recall([*journal.entries(), *expiries], now_s)
    desk.count_from(max(map(last_sequence, entries), default=0))
    workers, changes = work is not None, standing.changes
    journal.begin(Started(epoch, "line-4", 0, 0.0, now_s, workers, changes), expiries)
    return desk


def enter(
    desk: Desk,
    public: str = ADA,
    *,
    v: int = 1,
    now_s: float = 0.0,
    features: tuple[str, ...] = (EXPIRES,),
) -> object:
    client = RING.clients[public]
    return decode_answer(desk.open(client, Open(v, features=features), now_s))


def session_of(desk: Desk, public: str = ADA, *, now_s: float = 0.0) -> bytes:
    opened = enter(desk, public, now_s=now_s, features=(EXPIRES, NETWORK))
    assert isinstance(opened, Opened)
    return opened.session


def alter(session: bytes, number: int, *steps: Step) -> bytes:
    return encode_request(Alter(number.to_bytes(16, "big"), session, steps))


def ask(session: bytes, number: int, a: str = "n0", b: str = "n1", **given: object) -> bytes:
    rid = number.to_bytes(16, "big")
    wish = {"deadline_s": 1.0, "pairs": 1, "minimum_fidelity": 0.7, **given}
    return encode_request(Ask(rid, session, a, b, **wish))  # type: ignore[arg-type]


def said(frames: list[tuple[bytes, bytes]]) -> list[object]:
    return [decode_answer(frame) for _, frame in frames]


def settled(
    desk: Desk, frames: list[tuple[bytes, bytes]], now_s: float = 0.0
) -> list[tuple[bytes, bytes]]:
    """Let time go on until nobody waits; return everything that was said."""
    out = list(frames)
    while desk.waiting:
        out += desk.turn(now_s)
    return out
