"""The line for workers: clients in turn, each in his order, and nobody kept out by who has more."""

from hypothesis import given, settings
from hypothesis import strategies as st
from service_stage import ADA, BOB, ask, desk_on, said, session_of

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.security.limits import RateLimit
from controller.service.answers import Party
from controller.service.journal import Journal
from controller.service.line import Line, Orders, Piece
from controller.service.terms import Terms, WorkTerms
from quantum.egp import Task
from quantum.program import Generate, Program
from quantum.requests import Denied, Granted
from quantum.seeding import generator

TASK = Task(Program((Generate(0, (0.94, 0.02, 0.02, 0.02)),)), -1)
PARTIES = [Party(n, str(n), str(n), RateLimit(1.0, 1.0, now_s=0.0)) for n in range(4)]
ORDERS = [Orders(party, bytes(16), bytes(12)) for party in PARTIES]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(1, 12)),
        st.tuples(st.just("take"), st.integers(1, 20), st.booleans()),
        st.tuples(st.just("expire"), st.integers(0, 30), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=100, deadline=None)
def test_a_line_keeps_each_order_and_takes_clients_in_turn(steps):
    """Beside a list for each client; the fifth adds tests."""
    line, of = Line(20), {n: [] for n in range(5)}
    for number, (what, first, second) in enumerate(steps):
        if what == "add":
            orders = ORDERS[first] if first < 4 else None
            for _ in range(second):
                mine = line.of(orders.party if orders else None)
                assert mine == len(of[first])
                if not line.has_room(mine):
                    # As many as others, or nearly, counted over all who are in line.
                    assert len(line) >= 20 and mine >= 20 // (sum(map(bool, of.values())) + 1)
                    break
                piece = Piece(TASK, 1, number, orders, float(number))
                line.add(piece)
                of[first].append(piece)
        elif what == "take":
            before = {n: len(pieces) for n, pieces in of.items()}
            out = line.take(first)
            assert len(out) == min(first, sum(before.values()))
            if second:
                line.put_back(out)
            else:
                taken = dict.fromkeys(of, 0)
                for piece in out:
                    n = next((k for k in range(4) if ORDERS[k] is piece.orders), 4)
                    assert of[n].pop(0) is piece
                    taken[n] += 1
                for n, count in taken.items():
                    assert count >= min(before[n], max(taken.values()) - 1)
        else:
            old = {n: [p for p in ps if p.since_s < first] for n, ps in of.items()}
            gone = list(line.expire(float(first)))
            assert sorted(map(id, gone)) == sorted(id(p) for ps in old.values() for p in ps)
            for n in of:
                of[n] = of[n][len(old[n]) :]
        assert len(line) == sum(map(len, of.values())) == len(list(line)) <= 5 * 20


def test_what_never_was_granted_is_not_taken():
    line, void = Line(20), Orders(PARTIES[0], bytes(16), bytes(12))
    for orders in (void, ORDERS[1], void):
        line.add(Piece(TASK, 1, 1, orders, 0.0))
    void.void = True
    assert [piece.orders for piece in line.take(2)] == [ORDERS[1]] and len(line) == 0


def test_pairs_of_a_flood_keep_no_others_from_workers(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    desk = desk_on(journal, Terms(load_hz=20.0, credits=8), work=WorkTerms(waiting=24))
    desk.work.workers = 1
    bob, ada = session_of(desk, BOB), session_of(desk)

    def ask_for(session, number):
        out = desk.hear([(b"x", ask(session, number, deadline_s=20.0))], 0.0)
        while not out:
            out = desk.turn(0.0)
        return said(out)[0]

    number = 0
    while isinstance(answer := ask_for(bob, number), Granted):
        number += 1
    assert isinstance(answer, Denied) and "wait for a worker" in answer.detail
    granted = ask_for(ada, 99)
    assert isinstance(granted, Granted) and desk.work.why_not() == ""
    # The first job takes her pair, though twenty came before.
    desk.work.room = 1
    desk.turn(0.0)
    sizes = desk.work.counts()
    assert sizes.jobs == 1 and len(desk.work.ready[0].tasks) >= 16
    tell = desk.settle(
        [execute(AnalyticBackend(), desk.work.ready.popleft(), generator(1, "w"))], 0.0
    )
    assert tell == [] and desk.work._line.of(desk.sessions.parties[ADA]) == 0
    journal.close()
