"""A service whose disk is full: what it says then, and what it knows afterwards."""

from service_stage import ADA, FullDisk, ask, desk_on, said, session_of, settled

from controller.security.limits import RateLimit
from controller.service.answers import Answers, Party
from controller.service.checking import check
from controller.service.entries import Answered, Kept
from controller.service.terms import Terms
from quantum.errors import Code
from quantum.requests import Granted

TERMS = Terms(load_hz=20.0, credits=4, remembered=64, most_pairs=4, grace_s=1.0)


def test_a_full_disk_stops_handing_out_until_there_is_room(journal):
    disk = FullDisk(journal)
    desk = desk_on(disk, TERMS)
    session = session_of(desk)
    [(_, kept)] = settled(desk, desk.hear([(b"x", ask(session, 1))], 0.0))
    disk.full = True
    lost = said(settled(desk, desk.hear([(b"x", ask(session, 2))], 0.0)))
    assert [(a.code, a.pairs) for a in lost] == [(Code.BUSY, ())] and lost[0].retry_s > 0.0
    # From now on it is refused before a pair is touched; what was said is still said.
    [answer] = said(desk.hear([(b"x", ask(session, 3))], 0.0))
    assert answer.code is Code.BUSY and "disk is full" in answer.detail
    assert desk.hear([(b"x", ask(session, 1))], 0.0) == [(b"x", kept)]
    disk.full = False
    desk.turn(5.0)
    assert desk.keeping.broken == ""
    again = said(settled(desk, desk.hear([(b"x", ask(session, 2, deadline_s=6.0))], 5.0), 5.0))
    assert isinstance(again[0], Granted)
    assert check(journal.path).answers == 2


def test_who_was_noted_before_a_disk_was_full_is_known_again(journal):
    disk = FullDisk(journal)
    desk = desk_on(disk, Terms(load_hz=20.0, most_s=1.0, grace_s=0.0))
    session, frames = session_of(desk), {}

    def asks(number, now_s):
        frames[number] = ask(session, number, deadline_s=now_s + 0.9)
        return settled(desk, desk.hear([(b"x", frames[number])], now_s), now_s)

    asks(1, 0.0)
    disk.full = True
    assert said(asks(2, 0.5))[0].code is Code.BUSY
    disk.full = False
    desk.turn(2.0)
    [(_, kept)] = asks(3, 5.0)
    desk.turn(5.5)
    # The row in which the number was given is not read any more.
    assert [type(entry) for entry in journal.entries()] == [Kept, Answered]
    again = desk_on(journal, TERMS, now_s=5.5)
    wish = ask(session_of(again, now_s=5.5), 3, deadline_s=5.9)
    assert again.hear([(b"x", wish)], 5.5) == [(b"x", kept)]


def test_an_answer_is_forgotten_at_its_own_time():
    answers, party = Answers(), Party(1, ADA, "ada", RateLimit(1.0, 1.0, now_s=0.0))
    answers.keep(party, b"rid", b"the first, which was not kept", 6.0)
    answers.keep(party, b"rid", b"the second", 65.0)
    answers.forget(8.0)
    assert party.known == {b"rid": b"the second"}
    answers.forget(66.0)
    assert party.known == {}


def test_a_simulation_may_go_on_without_its_journal(journal):
    disk = FullDisk(journal)
    desk = desk_on(disk, Terms(load_hz=20.0, on_full="continue"))
    session = session_of(desk)
    disk.full = True
    [answer] = said(settled(desk, desk.hear([(b"x", ask(session, 1))], 0.0)))
    assert isinstance(answer, Granted) and desk.keeping.trouble and desk.counts().unjournalled > 0
    disk.full = False
    settled(desk, desk.hear([(b"x", ask(session, 2))], 0.0))
    assert desk.keeping.trouble == "" and check(journal.path).answers == 1
