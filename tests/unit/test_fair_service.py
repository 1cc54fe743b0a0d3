"""Several clients of one service: who floods delays himself, and others get what they get alone."""

import numpy as np
import pytest
from changes_stage import STATE
from hypothesis import given, settings
from hypothesis import strategies as st
from service_stage import alter, ask, desk_on, settled

from controller.security.keyring import Client, Keyring
from controller.service.checking import check
from controller.service.journal import Journal
from controller.service.terms import Terms, WorkTerms
from quantum.alterations import NETWORK, Join, NewLink
from quantum.requests import EXPIRES, Denied, Granted, Open, Opened, decode_answer

SLOT_S = 0.02
TERMS = Terms(
    pace="wall", load_hz=20.0, credits=12, most_pairs=64, rate_hz=1e7, burst=1_000_000, grace_s=0.0
)
ADA, BOB, CAT = "a" * 40, "b" * 40, "c" * 40
RING = Keyring([Client(key[:1], "request", key) for key in (ADA, BOB, CAT)])
AB, BC, CD, AD = ("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n0", "n3")


class Asks:
    """A client that asks for pairs between ``ends`` in turn, ``window`` requests at a time.

    ``every`` slots there is one; 0: as soon as there is room. ``seats`` connections and sessions.
    """

    def __init__(self, *ends, pairs=1, every=0, window=12, seats=1, first=0, fidelity=0.7):
        self.ends, self.pairs, self.every, self.window = ends, pairs, every, window
        self.seats, self.first, self.fidelity = seats, first, fidelity
        self.asked = self.granted = self.got = self.waits = 0
        self.open = {}

    def due(self, slot):
        if slot < self.first or len(self.open) >= self.window:
            return False
        return self.every == 0 or self.asked * self.every <= slot - self.first


def session_of(desk, key, now_s=0.0):
    opened = decode_answer(
        desk.open(desk.sessions.ring.clients[key], Open(1, "", (EXPIRES,)), now_s)
    )
    assert isinstance(opened, Opened)
    return opened.session


def play(desk, clients, slots, *, start=0, deadline_s=1.0):
    """Let clients, by key, ask for so many slots; every answer is counted."""
    sessions = {
        key: [session_of(desk, key, start * SLOT_S) for _ in range(asks.seats)]
        for key, asks in clients.items()
    }
    number = 1000 * start

    def hear(frames, slot):
        for peer, frame in frames:
            answer, asks = decode_answer(frame), clients[peer.decode().split()[0]]
            began = asks.open.pop(answer.rid, None)
            if began is None:
                continue  # asked before
            if isinstance(answer, Granted):
                asks.granted += 1
                asks.got += len(answer.pairs)
                asks.waits += slot - began
            elif answer.retry_s:
                asks.asked -= 1

    for slot in range(start, start + slots):
        now_s, frames = slot * SLOT_S + 2e-6, []
        for key, asks in clients.items():
            while asks.due(slot):
                number += 1
                seat = number % asks.seats
                ends = asks.ends[number % len(asks.ends)]
                wish = {"pairs": asks.pairs, "deadline_s": now_s + deadline_s}
                wish["minimum_fidelity"] = asks.fidelity
                frame = ask(sessions[key][seat], number, *ends, **wish)
                frames.append((f"{key} {seat}".encode(), frame))
                asks.open[number.to_bytes(16, "big")] = slot
                asks.asked += 1
        hear(desk.hear(frames, now_s), slot)
        hear(desk.turn((slot + 1) * SLOT_S + 1e-6), slot)
    assert desk.stock.is_sound()
    return clients


@pytest.fixture
def desk(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield desk_on(journal, TERMS, ring=RING)
    journal.close()
    check(journal.path)


@pytest.mark.parametrize(
    ("modest", "flood"),
    [
        (AB, [AB]),
        (AD, [AD]),
        # Chains that wait for several links beside who takes each pair as it is made.
        (AD, [AB, CD]),
        (AD, [AB, BC, CD, AD]),
        # Another link of the same node, and one of others.
        (BC, [AB]),
        (CD, [AB]),
    ],
)
@pytest.mark.parametrize("seats", [1, 5])
def test_who_asks_for_less_than_his_share_loses_nothing(desk, modest, flood, seats):
    """Every tenth slot a pair; the other has all his credits out, on many connections."""
    clients = {ADA: Asks(modest, every=10), BOB: Asks(*flood, pairs=4, seats=seats)}
    play(desk, clients, 1000)
    ada, bob = clients[ADA], clients[BOB]
    # All of them, as alone; not from stock, which nobody has beside a flood.
    assert ada.asked == 100 and ada.granted >= 99
    assert ada.waits <= 6 * ada.granted
    assert bob.got > 3 * ada.got


def test_who_waits_for_what_is_hardly_ever_made_holds_nobody_up(desk):
    """Chains so good that their pairs would have to be made in one slot; he keeps what he can."""
    clients = {ADA: Asks(AB, every=2), BOB: Asks(AD, fidelity=0.95)}
    play(desk, clients, 500)
    assert clients[BOB].asked > 100 and clients[BOB].granted == 0
    assert clients[ADA].asked == 250 and clients[ADA].granted >= 248


def test_the_rest_is_for_who_floods(tmp_path):
    """What one link makes is handed out, whoever asks, but for what is spent in vain."""
    got = []
    for number, every in enumerate((0, 10)):
        journal = Journal(tmp_path / f"{number}.db")
        clients = {BOB: Asks(AB)} | ({ADA: Asks(AB, every=every)} if every else {})
        play(desk_on(journal, TERMS, ring=RING), clients, 1500)
        journal.close()
        got.append(sum(asks.got for asks in clients.values()))
    assert got[1] >= 0.97 * got[0] > 700


@pytest.mark.parametrize("pairs", [(1, 1, 1), (1, 8, 2)])
def test_who_wants_all_gets_as_much_as_others(desk, pairs):
    """Counted in pairs: large requests get no more than small ones. One comes later."""
    clients = {
        key: Asks(AB, pairs=n, window=12 // n + 1, first=200 * k)
        for k, (key, n) in enumerate(zip((ADA, BOB, CAT), pairs, strict=True))
    }
    play(desk, clients, 1400, deadline_s=30.0)
    before = {key: asks.got for key, asks in clients.items()}
    play(desk, clients, 1500, start=1400, deadline_s=30.0)
    got = np.array([asks.got - before[key] for key, asks in clients.items()])
    assert got.sum() > 700 and np.ptp(got) <= 16


def test_a_link_that_only_one_wants_is_all_his(desk):
    """And what he gets there does not count where he meets others."""
    narrow = play(desk, {ADA: Asks(AB, window=6), BOB: Asks(AB, window=6)}, 1000)
    assert abs(narrow[ADA].got - narrow[BOB].got) <= 10
    wide = play(desk, {ADA: Asks(AB, window=6), BOB: Asks(AB, CD)}, 1000, start=1000)
    assert wide[ADA].got > 0.9 * narrow[ADA].got
    assert wide[BOB].got > 2.0 * narrow[BOB].got


def test_shares_begin_anew_with_a_service_and_hold_at_once(tmp_path):
    """After a kill nothing is known of who had what; the one who floods still delays himself."""
    path = tmp_path / "journal.db"
    for _ in range(2):
        journal = Journal(path)
        desk = desk_on(journal, TERMS, ring=RING)
        clients = {BOB: Asks(AB), ADA: Asks(AB, every=10, first=50)}
        play(desk, clients, 300)
        journal.close()
        assert clients[ADA].granted >= 24
    check(path)


def queues(desk, plan):
    """Let clients ask in turn, (key, requests) each, while time stands still; who waits, by key."""
    sessions = {key: session_of(desk, key) for key in (ADA, BOB, CAT)}
    number = 0
    for key, count in plan:
        frames = []
        for _ in range(count):
            number += 1
            frame = ask(sessions[key], number, "n0", "n3", deadline_s=30.0)
            frames.append((key.encode(), frame))
        for peer, frame in desk.hear(frames, 0.0):
            answer = decode_answer(frame)
            assert isinstance(answer, Denied) and answer.retry_s > 0.0
            assert "too many requests wait" in answer.detail and peer.decode() in sessions
    return {key: desk.sessions.parties[key].waiting for key in sessions}


@given(plan=st.lists(st.tuples(st.sampled_from([ADA, BOB, CAT]), st.integers(1, 40)), max_size=12))
@settings(max_examples=15, deadline=None)
def test_the_queue_is_shared_whoever_filled_it_first(tmp_path_factory, plan):
    journal = Journal(tmp_path_factory.mktemp("queue") / "journal.db")
    terms = Terms(load_hz=20.0, credits=64, rate_hz=1e7, burst=1_000_000)
    desk = desk_on(journal, terms, ring=RING)
    waiting = queues(desk, plan)
    # The stage has room for 24; all of it is used while somebody wants it.
    asked = {key: sum(n for who, n in plan if who == key) for key in waiting}
    assert sum(waiting.values()) == desk.waiting == min(24, sum(asked.values()))
    most = max(waiting.values())
    assert all(waiting[key] in (asked[key], most, most - 1) for key in waiting)
    # Nobody is left behind in the ledger.
    assert int(desk.stock.ledger.now["live"][0]) == desk.waiting == 32 - desk.stock.room
    while desk.waiting:
        desk.turn(0.0)
    assert desk.stock.is_sound() and desk.stock.room == 32
    assert all(party.waiting == 0 for party in desk.sessions.parties.values())
    journal.close()


def test_who_is_sent_away_may_come_again(tmp_path):
    """A request that gave up its place is not remembered, with workers or without."""
    journal = Journal(tmp_path / "journal.db")
    terms = Terms(load_hz=20.0, credits=64, rate_hz=1e7, burst=1_000_000)
    desk = desk_on(journal, terms, ring=RING, work=WorkTerms())
    desk.work.workers = 1
    bob, ada = session_of(desk, BOB), session_of(desk, ADA)
    frames = [(b"b", ask(bob, n, "n0", "n3", deadline_s=9.0)) for n in range(24)]
    assert desk.hear(frames, 0.0) == []
    [(peer, frame)] = desk.hear([(b"a", ask(ada, 99, "n0", "n3", deadline_s=9.0))], 0.0)
    busy = decode_answer(frame)
    # The newest of his.
    assert peer == b"b" and isinstance(busy, Denied) and busy.rid == (23).to_bytes(16, "big")
    assert desk.waiting == 24 and desk.counts().busy == 1
    while desk.waiting:
        desk.turn(0.0)
    out = desk.hear([frames[23]], 0.0)
    while not out:
        out = desk.turn(0.0)
    assert isinstance(decode_answer(out[0][1]), Granted)
    journal.close()
    assert check(journal.path).granted == 25


def test_more_clients_than_numbers_share_them(tmp_path):
    """Who has nothing under way gives up his number; where there is none, two have one."""
    names = [f"{n:040d}" for n in range(40)]
    ring = Keyring([Client(name, "request", name) for name in names])
    journal = Journal(tmp_path / "journal.db")
    terms = Terms(load_hz=20.0, grace_s=1e-3, rate_hz=1e7, burst=1_000_000)
    desk = desk_on(journal, terms, ring=ring)
    assert desk.stock.clients == 32
    tags = desk.stock.intake.turns.tag
    now_s = 0.0
    for round_ in range(2):
        for k, name in enumerate(names):
            now_s += 5.0
            session = session_of(desk, name, now_s)
            frame = ask(session, 100 * round_ + k, deadline_s=now_s + 1.0)
            out = desk.hear([(b"x", frame)], now_s)
            while not out:
                out = desk.turn(now_s)
            assert isinstance(decode_answer(out[-1][1]), Granted)
            assert tags[desk.sessions.parties[name].place].any()
            desk.turn(now_s + 3.0)
    places = [party.place for party in desk.sessions.parties.values()]
    assert sorted(p for p in places if p >= 0) == list(range(32))
    journal.close()


def test_a_network_that_grows_has_fewer_numbers_and_everybody_one_of_them(tmp_path, monkeypatch):
    """Tables of clients and links have a bound, also of a service whose network was small."""
    monkeypatch.setattr("quantum.live_world._MOST_TAGS", 7 * 32)
    monkeypatch.setattr("quantum.live_world._FEWEST_CLIENTS", 2)
    names = [f"{n:040d}" for n in range(24)]
    clients = [Client(name, "request", name) for name in names]
    ring = Keyring([*clients, Client("op", "operate", BOB)])
    journal = Journal(tmp_path / "journal.db")
    terms = Terms(load_hz=20.0, rate_hz=1e7, burst=1_000_000)
    desk = desk_on(journal, terms, ring=ring)
    frames = [
        (b"x", ask(session_of(desk, name), n, "n0", "n3", deadline_s=30.0))
        for n, name in enumerate(names)
    ]
    assert desk.hear(frames, 0.0) == [] and desk.stock.clients == 32
    opened = desk.open(ring.clients[BOB], Open(1, features=(EXPIRES, NETWORK)), 0.0)
    session = decode_answer(opened).session
    more = [Join(f"x{k}", 5.0, 5.0, 4, 0.0, 0.0, (NewLink("n0", 1.0, STATE),)) for k in range(4)]
    out = desk.hear([(b"op", alter(session, 99, *more))], 0.0)
    assert desk.stock.clients == 7 * 32 // 15 and desk.waiting == 24
    places = [party.place for party in desk.sessions.parties.values() if party.name != "op"]
    assert set(places) == set(range(14))
    live = desk.stock.ledger.queue["live"][:24]
    assert sorted(desk.stock.intake.turns.client[live]) == sorted(places)
    answers = settled(desk, out)[1:]
    assert all(isinstance(decode_answer(frame), Granted) for _, frame in answers)
    assert len(answers) == 24 and desk.stock.is_sound()
    # Somebody new finds one, too.
    out = settled(desk, desk.hear([(b"x", ask(session, 100, "n0", "x1", deadline_s=30.0))], 0.0))
    assert isinstance(decode_answer(out[0][1]), Granted)
    assert desk.sessions.parties[BOB].place in range(14)
    journal.close()
    check(journal.path)
