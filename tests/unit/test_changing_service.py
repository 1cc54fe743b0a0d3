"""A service whose network changes while it runs: requests, stock, roles, what is refused."""

import msgspec
import numpy as np
import pytest
from changes_stage import NEW, STATE, TERMS, change, stored, survey
from service_stage import (
    ADA,
    BOB,
    EVE,
    RING,
    SETTING,
    FullDisk,
    alter,
    ask,
    desk_on,
    said,
    session_of,
    settled,
)

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.security.keyring import Client, Keyring
from controller.service.checking import check
from controller.service.journal import Journal
from controller.service.planning import rule_on
from controller.service.terms import WorkTerms
from quantum.alterations import (
    Altered,
    Fail,
    Join,
    NewLink,
    Part,
    Return,
    Survey,
    Surveyed,
)
from quantum.errors import Code
from quantum.requests import (
    Again,
    Closed,
    Denied,
    Granted,
    decode_answer,
    encode_request,
)
from quantum.seeding import generator


@pytest.fixture
def desk(journal):
    return desk_on(journal, TERMS)


def test_a_node_joins_is_asked_for_and_leaves(desk, journal):
    mine, op = session_of(desk), session_of(desk, BOB)
    assert said(desk.hear([(b"x", ask(mine, 1, "n1", "new"))], 0.0))[0].code is Code.CREATE
    done, _ = change(desk, op, 1000, NEW)
    assert done == Altered((1000).to_bytes(16, "big"), 1, 5, 5, 0, 0)
    [granted] = said(settled(desk, desk.hear([(b"x", ask(mine, 2, "n1", "new", pairs=2))], 0.0)))
    assert isinstance(granted, Granted) and granted.pairs[0].destination == "new"
    last = granted.pairs[-1].sequence
    done, _ = change(desk, op, 1001, Part("new"))
    assert (done.nodes, done.links, done.change) == (4, 3, 2)
    # What was granted stays answered; whoever asks anew is told that it has left.
    repeat, fresh = said(
        desk.hear([(b"x", ask(mine, n, "n1", "new", pairs=2)) for n in (2, 3)], 0.0)
    )[::-1]
    assert repeat == granted
    assert fresh.code is Code.CREATE and fresh.detail == "destination 'new' has left network line-4"
    # Another of the same name: numbers of pairs go on.
    change(desk, op, 1002, NEW)
    [granted] = said(settled(desk, desk.hear([(b"x", ask(mine, 4, "n1", "new"))], 0.0)))
    assert granted.pairs[0].sequence > last
    assert desk.stock.is_sound()
    assert (check(journal.path).changes, check(journal.path).granted) == (3, 2)


def test_a_change_that_is_asked_again_is_made_once(desk, journal):
    op = session_of(desk, BOB)
    frame = alter(op, 7, Fail("n0", "n1"))
    out = desk.hear([(b"x", frame), (b"y", frame)], 0.0)
    assert [peer for peer, _ in out] == [b"x", b"y"] and len({frame for _, frame in out}) == 1
    again = desk_on(journal, TERMS, now_s=1.0)
    fresh = session_of(again, BOB, now_s=1.0)
    assert again.hear([(b"z", alter(fresh, 7, Fail("n0", "n1")))], 1.0) == [(b"z", out[0][1])]
    # Somebody else's rid of the same bytes is another change.
    ring = Keyring([*RING.clients.values(), Client("cyd", "arm", "c" * 40)])
    again.sessions.ring = ring
    opened = session_of_client(again, ring.clients["c" * 40])
    [denied] = said(again.hear([(b"z", alter(opened, 7, Fail("n0", "n1")))], 1.0))
    assert denied.detail == "fail n0 - n1: the link has failed already"
    assert check(journal.path, [out[0][1]])[-1] == 1


def session_of_client(desk, client):
    from quantum.alterations import NETWORK
    from quantum.requests import EXPIRES, Open

    return decode_answer(desk.open(client, Open(1, features=(EXPIRES, NETWORK)), 1.0)).session


def test_roles_say_who_may_look_and_who_may_change(desk):
    sessions = {public: session_of(desk, public) for public in (ADA, BOB, EVE)}
    for public, name, role in ((ADA, "ada", "request"), (EVE, "eve", "observe")):
        denied, _ = change(desk, sessions[public], 1, Part("n0"))
        said_of = f"key {name} has role {role}; changing the network needs role operate"
        assert denied == Denied((1).to_bytes(16, "big"), Code.REJECTED, said_of)
    for public in (ADA, BOB, EVE):
        shown = survey(desk, sessions[public])
        assert isinstance(shown, Surveyed) and (shown.total, shown.planned) == (7, True)
    # Who may look may not ask for pairs, and his session is over when he does.
    [closed] = said(desk.hear([(b"x", ask(sessions[EVE], 2))], 0.0))
    assert isinstance(closed, Closed) and "requests need role request" in closed.detail
    assert isinstance(survey(desk, sessions[EVE]), Again) and desk.strangers
    assert isinstance(change(desk, bytes(12), 3, Part("n0"))[0], Again)
    # A key that is gone, and one whose role was lowered.
    lowered = Client("bob", "request", BOB)
    desk.sessions.ring = Keyring([lowered])
    assert "has role request" in change(desk, sessions[BOB], 4, Part("n0"))[0].detail
    gone, _ = change(desk, sessions[ADA], 5, Part("n0"))
    assert isinstance(gone, Closed) and "admitted no longer" in gone.detail
    assert desk.counts().changes == 0


def test_a_client_that_does_not_know_of_it_speaks_as_before(desk):
    from service_stage import enter

    assert enter(desk).features == ("retry", "busy")
    refused = enter(desk, EVE)
    assert isinstance(refused, Closed) and "requests need role request" in refused.detail


def test_all_steps_are_made_or_none(desk, journal):
    op, rows = session_of(desk, BOB), journal.number
    before = survey(desk, op)
    steps = (Part("n3"), NEW)
    denied, _ = change(desk, op, 1, *steps)
    assert denied.detail.startswith("join new: links[0] to 'n3': there is no node 'n3'")
    assert denied.code is Code.CREATE and journal.number == rows
    assert survey(desk, op) == before
    done, _ = change(desk, op, 2, NEW, Part("n1"), Fail("n2", "n3"), Fail("new", "n0"))
    assert (done.nodes, done.links, done.down, done.change) == (4, 3, 2, 1)
    shown = survey(desk, op)
    assert [node.name for node in shown.nodes] == ["n0", "n2", "n3", "new"]
    assert [(link.a, link.b, link.up) for link in shown.links] == [
        ("n0", "new", False),
        ("n2", "n3", False),
        ("n3", "new", True),
    ]


def test_frames_that_are_too_much_are_refused_by_their_field(desk):
    op = session_of(desk, BOB)
    frames = [
        (alter(op, 1, *[Part("n0")] * 65), "$.steps"),
        (alter(op, 1), "$.steps"),
        (alter(op, 1, Part("n" * 65)), "$.steps[0].name"),
        (alter(op, 1, msgspec.structs.replace(NEW, links=NEW.links * 33)), "$.steps[0].links"),
        (alter(op, 1, msgspec.structs.replace(NEW, qubits="16")), "$.steps[0].qubits"),
        (encode_request(Survey(bytes(15), op)), "$.rid"),
        (encode_request(Survey(bytes(16), op, -1)), "$.first"),
    ]
    for frame, field in frames:
        [closed] = said(desk.hear([(b"x", frame)], 0.0))
        assert isinstance(closed, Closed) and closed.code is Code.CREATE
        assert field in closed.detail and "\n" not in closed.detail
    [closed] = said(desk.hear([(b"x", alter(op, 1, *[Part("n" * 64)] * 64))], 0.0))
    assert "at most 4096 are read" in closed.detail
    assert survey(desk, op, first=10**6).nodes == ()


def test_stock_and_time_go_on_but_for_pairs_of_who_has_left(desk):
    op = session_of(desk, BOB)
    change(desk, op, 1, NEW)
    for _ in range(40):
        desk.stock.play(4)
    ledger, before, slot = desk.stock.ledger, stored(desk), desk.stock.clock
    tokens = ledger.node.swap_tokens.copy()
    births = np.sort(ledger.pair.birth[ledger.pair.u >= 0])
    assert min(before.values()) > 0
    change(desk, op, 2, Fail("n1", "n2"))
    # A link that is down keeps its pairs.
    assert stored(desk) == before and desk.stock.clock == slot and desk.stock.is_sound()
    again = desk.stock.ledger
    assert np.array_equal(again.node.swap_tokens, tokens)
    assert np.array_equal(np.sort(again.pair.birth[again.pair.u >= 0]), births)
    change(desk, op, 3, Part("n0"))
    kept = {ends: count for ends, count in before.items() if "n0" not in ends}
    assert stored(desk) == kept and desk.stock.is_sound()
    assert desk.counts().stored == sum(kept.values()) < sum(before.values())
    for _ in range(40):
        desk.stock.play(4)
    # It makes none either: what it had gets old and goes.
    assert stored(desk)["n1", "n2"] == 0 < stored(desk)["n2", "n3"]
    change(desk, op, 4, Return("n1", "n2"))
    for _ in range(40):
        desk.stock.play(4)
    assert stored(desk)["n1", "n2"] > 0 and desk.stock.is_sound()


def test_what_clients_had_of_links_and_nodes_goes_on(desk):
    mine, op = session_of(desk), session_of(desk, BOB)
    for number in range(6):
        sessions = (mine, op) if number % 2 else (mine,)
        wishes = [(b"x", ask(s, number, "n0", "n3", pairs=4)) for s in sessions]
        settled(desk, desk.hear(wishes, 0.0))

    def shares():
        """Return tags and clock of each link and node, by name."""
        net, turns = desk.stock.network, desk.stock.intake.turns
        links = [tuple(net.nodes[k] for k in ends) for ends in net.links.tolist()]
        columns = np.vstack([turns.tag, turns.clock]).T.tolist()
        return dict(zip([*links, *net.nodes], columns, strict=True))

    before = shares()
    assert before["n2", "n3"][0] > before["n2", "n3"][1] > 0.0
    change(desk, op, 100, Part("n0"), msgspec.structs.replace(NEW, links=NEW.links[:1]))
    after = shares()
    fresh = {"new": [0.0] * len(before["n1"]), ("n3", "new"): [0.0] * len(before["n1"])}
    assert after == {ends: row for ends, row in before.items() if "n0" not in ends} | fresh


def test_who_waits_for_a_node_that_leaves_is_told_at_once(desk, journal):
    mine, op = session_of(desk), session_of(desk, BOB)
    wishes = [("n0", "n3"), ("n3", "n1"), ("n0", "n1"), ("n0", "n2")]
    frames = [(b"x", ask(mine, k, a, b, pairs=4)) for k, (a, b) in enumerate(wishes)]
    assert desk.hear(frames, 0.0) == [] and desk.waiting == 4
    done, more = change(desk, op, 99, Part("n3"))
    assert done.denied == 2 == len(more) and desk.waiting == 2
    assert {(d.code, d.detail) for d in more} == {(Code.NORES, "node n3 has left the network")}
    # For good: asked again it is the same answer.
    assert said(desk.hear(frames[:1], 0.0)) == [more[0]]
    out = said(settled(desk, []))
    assert all(isinstance(answer, Granted) for answer in out) and len(out) == 2
    assert desk.stock.room == 32 and desk.stock.is_sound()
    assert check(journal.path).answers == 4


def test_who_waits_for_a_node_that_another_replaces_is_told_at_once(desk, journal):
    mine, op = session_of(desk), session_of(desk, BOB)
    frames = [(b"x", ask(mine, k, "n0", b, pairs=4)) for k, b in enumerate(("n3", "n2"))]
    assert desk.hear(frames, 0.0) == []
    other = msgspec.structs.replace(NEW, name="n3", links=(NewLink("n2", 1.0, STATE),))
    done, more = change(desk, op, 99, Part("n3"), other)
    assert (done.nodes, done.denied, desk.waiting) == (4, 1, 1)
    assert [answer.detail for answer in more] == ["node n3 has left the network"]
    fresh = [(b"x", ask(mine, 3, "n0", "n3", deadline_s=50.0))]
    assert len(said(settled(desk, desk.hear(fresh, 0.0)))) == 2
    # Twice in one change: nobody waits for who came in between.
    done, _ = change(desk, op, 100, NEW, Part("new"), NEW)
    assert (done.nodes, done.denied) == (5, 0)
    assert desk.stock.room == 32 and check(journal.path).answers == 3


def test_requests_go_another_way_or_run_into_their_deadline(journal):
    desk = desk_on(journal, msgspec.structs.replace(TERMS, pace="wall"))
    mine, op = session_of(desk), session_of(desk, BOB)
    change(desk, op, 1, NEW)
    # From n1 to n0 it is a link, or three the other way round.
    assert desk.hear([(b"x", ask(mine, 1, "n1", "n0"))], 0.0) == []
    change(desk, op, 2, Fail("n0", "n1"))
    answers, now_s = [], 0.0
    while not answers:
        now_s += 0.02
        answers = said(desk.turn(now_s))
    assert isinstance(answers[0], Granted) and now_s < 1.0
    # Without another way it waits, also where it waited before.
    began_s = now_s
    change(desk, op, 3, Fail("n0", "new"), now_s=now_s)
    for _ in range(100):
        now_s += 0.02
        assert desk.turn(now_s) == []
    assert desk.hear([(b"x", ask(mine, 2, "n1", "n0", deadline_s=now_s + 0.5))], now_s) == []
    change(desk, op, 4, Fail("n1", "n2"), now_s=now_s)
    answers = []
    while not answers:
        now_s += 0.02
        answers = said(desk.turn(now_s))
    assert answers[0].code is Code.TIMEOUT and now_s - began_s > 2.0
    # Where nothing can lead there any more it is told at once, as a new one is.
    assert desk.hear([(b"x", ask(mine, 3, "n1", "n0", deadline_s=now_s + 9.0))], now_s) == []
    _, more = change(desk, op, 5, Part("new"), Part("n2"), now_s=now_s)
    assert more == []
    _, more = change(desk, op, 6, Join("far", 1.0, 1.0, 4, 0.0, 0.0), now_s=now_s)
    frame = ask(mine, 4, "n1", "far", deadline_s=now_s + 9.0)
    [denied] = said(desk.hear([(b"x", frame)], now_s))
    assert denied.code is Code.NORES
    assert desk.waiting == 1 and desk.stock.is_sound()


def test_a_part_of_a_request_is_kept_over_changes(desk):
    mine, op = session_of(desk), session_of(desk, BOB)
    desk.hear([(b"x", ask(mine, 1, "n0", "n2", pairs=4, deadline_s=50.0))], 0.0)
    number, got, out = 10, set(), []
    while desk.waiting:
        out += said(desk.turn(0.0))
        for waiting in list(desk.rows.values()):
            got |= {pair[0] for pair in waiting.pairs}
        number += 1
        step = Fail("n2", "n3") if number % 2 else Return("n2", "n3")
        _, more = change(desk, op, number, step)
        out += more
    [granted] = out
    assert len(granted.pairs) == 4 and got <= {pair.sequence for pair in granted.pairs}


@pytest.mark.parametrize("on_full", ["stop", "continue"])
def test_a_change_that_the_journal_cannot_take_is_not_made(tmp_path, on_full):
    journal = FullDisk(Journal(tmp_path / "journal.db"))
    desk = desk_on(journal, msgspec.structs.replace(TERMS, on_full=on_full))
    op = session_of(desk, BOB)
    journal.full = True
    for number in (1, 1):
        denied, _ = change(desk, op, number, Part("n0"))
        assert denied.code is Code.BUSY and denied.retry_s > 0.0 and "full" in denied.detail
    assert desk.counts().nodes == 4 and desk.counts().changes == 0
    journal.full = False
    desk.turn(5.0)
    done, _ = change(desk, op, 1, Part("n0"), now_s=5.0)
    assert isinstance(done, Altered)
    journal.close()
    assert check(tmp_path / "journal.db").changes == 1


def test_a_network_shrinks_to_a_node_and_grows_again(desk):
    mine, op = session_of(desk), session_of(desk, BOB)
    done, _ = change(desk, op, 1, *[Part(f"n{k}") for k in range(1, 4)])
    assert (done.nodes, done.links) == (1, 0)
    for _ in range(20):
        desk.stock.play(4)
    assert survey(desk, op).total == 1 and desk.stock.is_sound()
    nobody = rule_on(SETTING, None, desk.stock.network, np.zeros(0, dtype=bool), load_hz=20.0)
    assert nobody.targets.shape == (0,)
    change(desk, op, 2, msgspec.structs.replace(NEW, links=NEW.links[1:]))
    assert desk.stock.rule.targets.tolist() == [0.3]
    [granted] = said(settled(desk, desk.hear([(b"x", ask(mine, 3, "n0", "new"))], 0.0)))
    assert isinstance(granted, Granted) and desk.stock.is_sound()
    # A node that can do nothing, and one that nobody is linked to.
    poor = Join("poor", 0.0, 0.0, 0, 0.0, 0.0, (NewLink("n0", 0.0, STATE),))
    done, _ = change(desk, op, 4, poor, Join("alone", 1e9, 1e9, 1024, -1e6, 1e6))
    assert (done.nodes, done.links) == (4, 2)
    for _ in range(20):
        desk.stock.play(4)
    assert desk.stock.is_sound()
    assert len(desk.stock.rule.targets) == 2


def test_changes_and_lists_cost_as_much_as_they_take(journal):
    desk = desk_on(journal, msgspec.structs.replace(TERMS, rate_hz=10.0, burst=40))
    op, eye = session_of(desk, BOB), session_of(desk, EVE)
    out = [change(desk, op, k, (Fail, Return)[k % 2]("n0", "n1"))[0] for k in range(6)]
    # Opening is a message, a change of four nodes and three links eight.
    assert [isinstance(answer, Altered) for answer in out] == [True] * 4 + [False] * 2
    assert out[-1].code is Code.BUSY and 0.0 < out[-1].retry_s <= 0.9
    done, _ = change(desk, op, 4, Fail("n0", "n1"), now_s=1.0)
    assert isinstance(done, Altered)
    # Others are as free as before.
    shown = [survey(desk, eye) for _ in range(40)]
    assert [isinstance(answer, Surveyed) for answer in shown] == [True] * 39 + [False]


def test_long_lists_come_in_stretches(journal, monkeypatch):
    monkeypatch.setattr("controller.service.altering._MOST_ENTRIES", 3)
    desk = desk_on(journal, TERMS)
    session = session_of(desk, EVE)
    pages = [survey(desk, session, first) for first in range(0, 9, 3)]
    assert [(len(page.nodes), len(page.links)) for page in pages] == [(3, 0), (1, 2), (0, 1)]
    assert {(page.total, page.change) for page in pages} == {(7, 0)}


def test_a_service_that_ends_takes_no_change(desk):
    op = session_of(desk, BOB)
    desk.draining = True
    denied, _ = change(desk, op, 1, Part("n0"))
    assert denied.code is Code.BUSY and "about to end" in denied.detail


def test_workers_execute_pairs_of_the_network_as_it_is(journal):
    desk = desk_on(journal, TERMS, work=WorkTerms(patience_s=9.0, waiting=4096))
    desk.work.workers, desk.work.room = 1, 1000
    mine, op = session_of(desk), session_of(desk, BOB)
    good = (0.999, 0.001, 0.0, 0.0)
    links = (NewLink("n0", 1.0, good), NewLink("n2", 1.0, good))
    change(desk, op, 1, msgspec.structs.replace(NEW, links=links), Part("n3"))
    out = settled(desk, desk.hear([(b"x", ask(mine, 1, "n0", "new", pairs=4))], 0.0))
    [granted] = [answer for answer in said(out) if isinstance(answer, Granted)]
    # A node that leaves takes nothing back that was granted.
    change(desk, op, 2, Part("new"))
    tasks = [task for job in desk.work.ready for task in job.tasks if task.basis < 0]
    made = [step for task in tasks for step in task.program.steps if hasattr(step, "populations")]
    assert len(tasks) == 4 and all(tuple(step.populations) == good for step in made)
    answers = [execute(AnalyticBackend(), job, generator(1, "w")) for job in desk.work.ready]
    desk.work.ready.clear()
    desk.settle(answers, 0.0)
    assert len(granted.pairs) == 4 == desk.work.counts().executed
    journal_proof = check(journal.path)
    assert (journal_proof.executed, journal_proof.changes) == (4, 2)
