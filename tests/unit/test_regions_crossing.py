"""Pairs between regions through loss, partitions and kills, and the proof that finds mistakes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regions_stage import ADA, REGIONS, Stage, territory

from controller.regions.building import journals_of, open_journal
from controller.regions.checking import check_regions
from controller.regions.records import Crossed, Deciding, Holding, Over, decoder
from controller.service.chain import read
from quantum.alterations import NETWORK, Alter, Part, Survey
from quantum.errors import Code, InputError, RecordError
from quantum.requests import Denied, Granted, Open, decode_answer, encode_request


@pytest.fixture
def stage(tmp_path):
    made = []

    def make(**given):
        made.append(Stage(tmp_path, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Requests across.


def test_pairs_across_regions_join_legs_of_their_owners(stage):
    one = stage()
    far, near = one.ask("n0", "n3", pairs=2, fidelity=0.8), one.ask("n2", "n3")
    one.run(6.0)
    assert isinstance(one.answer(near), Granted)
    answer = one.answer(far)
    assert isinstance(answer, Granted)
    assert [(p.source, p.destination) for p in answer.pairs] == [("n0", "n3")] * 2
    assert all(0.8 <= p.predicted < 0.97 for p in answer.pairs)
    assert not one.repeat_all()
    one.close()
    proof = one.proof()
    assert (proof.granted, proof.pairs, proof.spent, proof.held) == (1, 2, 0, 0)
    assert proof.local == 1


def test_the_network_of_regions_does_not_change(stage):
    one = stage()
    broker = one.regions["north"].broker
    # Nobody is told that it could.
    client = Open(1, features=(NETWORK,))
    opened = decode_answer(broker.open(ADA, client, one.now_s))
    assert NETWORK not in opened.features
    for message in (
        Alter(bytes(16), opened.session, (Part("n0"),)),
        Survey(bytes(16), opened.session),
    ):
        broker.hear_client(b"x", encode_request(message), one.now_s)
        _, [out] = broker.turn(one.now_s)
        denied = decode_answer(out.frame)
        assert isinstance(denied, Denied) and denied.code is Code.UNSUPP
        assert "does not change" in denied.detail


def test_in_a_partition_local_requests_go_on_and_crossing_ones_wait(stage):
    one = stage()
    for other in ("north", "west"):
        one.cut.add(frozenset({"east", other}))
    waits, ends = one.ask("n0", "n3", deadline_s=9.0), one.ask("n1", "n4", deadline_s=3.0)
    local = [one.ask("n0", "n1", deadline_s=3.0), one.ask("n2", "n3", deadline_s=3.0)]
    one.run(5.0)
    assert all(isinstance(one.answer(rid), Granted) for rid in local)
    assert one.answer(waits) is None
    denied = one.answer(ends)
    assert isinstance(denied, Denied) and denied.code is Code.TIMEOUT
    assert "did not answer" in denied.detail and "east" not in denied.detail
    one.cut.clear()
    healed_s = one.now_s
    while one.answer(waits) is None:
        one.tick()
    # The longest wait before something is said again, and what it takes to say it.
    assert one.now_s - healed_s < 2.5
    assert isinstance(one.answer(waits), Granted)


def test_an_owner_that_starts_again_lets_go_and_another_leg_is_asked_for(stage):
    one = stage()
    rid = one.ask("n0", "n3", deadline_s=9.0)
    north = one.regions["north"]
    while not north.broker.holder.holding():
        one.tick()
    # What it says of it is lost.
    one.kill("north")
    one.run(0.5)
    one.start("north")
    one.run(8.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    proof = one.proof()
    assert proof.let_go >= 1 and proof.pairs == 1


@pytest.mark.parametrize("away", ["east", "north"])
def test_what_was_decided_goes_on_after_a_kill(stage, away):
    """Either side is killed just after the decision: the legs are used once, and for this."""
    one = stage()
    rid = one.ask("n0", "n3", deadline_s=9.0)
    journal = journals_of(one.folder, "east")[0]

    def decided():
        return any(isinstance(e, Deciding) for _, row in read(journal, decoder) for e in row)

    while not decided():
        one.tick()
    assert one.answer(rid) is None
    one.cut.add(frozenset({"east", "north"}))
    one.flying.clear()
    one.kill(away)
    one.start(away)
    one.cut.clear()
    one.run(8.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    proof = one.proof()
    assert (proof.pairs, proof.granted) == (1, 1)
    # Where the asker was killed both legs were still held, and nothing was lost; an owner that
    # starts again has lost what it held, and what the other one used for it is spent.
    assert proof.spent == (0 if away == "east" else 1)


FAULTS = st.lists(
    st.tuples(
        st.floats(0.0, 4.0),
        st.sampled_from(["kill", "cut"]),
        st.permutations(sorted(REGIONS)),
        st.floats(0.02, 1.5),
    ),
    max_size=6,
)
ASKS = st.lists(
    st.tuples(
        st.permutations([f"n{k}" for k in range(6)]),
        st.integers(1, 3),
        st.sampled_from([0.5, 0.8, 0.9, 0.99]),
        st.floats(0.5, 4.0),
    ),
    min_size=1,
    max_size=8,
)


@given(ASKS, FAULTS, st.sampled_from([0.0, 0.1, 0.4]), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_whatever_happens_nothing_is_used_twice(tmp_path_factory, asks, faults, loss, seed):
    one = Stage(tmp_path_factory.mktemp("regions"), loss=loss, seed=seed)
    rids = [
        one.ask(nodes[0], nodes[1], pairs=pairs, fidelity=fidelity, deadline_s=deadline_s)
        for nodes, pairs, fidelity, deadline_s in asks
    ]
    due = []
    for at_s, kind, names, for_s in faults:
        begin, end = one.now_s + at_s, one.now_s + at_s + for_s
        due.append((begin, kind, names, True))
        due.append((end, kind, names, False))
    due.sort(key=lambda fault: fault[0])
    until_s = one.now_s + 8.0
    while one.now_s < until_s:
        one.tick()
        while due and due[0][0] <= one.now_s:
            _, kind, names, begins = due.pop(0)
            link = frozenset(names[:2])
            if kind == "cut":
                (one.cut.add if begins else one.cut.discard)(link)
            elif begins and one.regions[names[0]].broker is not None:
                one.kill(names[0])
            elif not begins and one.regions[names[0]].broker is None:
                one.start(names[0])
    # Everybody is there again, and every deadline is over: everybody has an answer, and always
    # the same, and nobody holds anything.
    for rid in rids:
        assert one.answer(rid) is not None, one.wanted[rid]
    for region in one.regions.values():
        assert region.broker.holder.holding() == 0
        assert region.desk.stock.is_sound()
    one.close()
    proof = one.proof()
    granted = [answer for rid in rids if isinstance(answer := one.answer(rid), Granted)]
    crossing = [
        answer
        for answer in granted
        if not territory().inside(
            territory().region_of[answer.pairs[0].source],
            answer.pairs[0].source,
            answer.pairs[0].destination,
        )
    ]
    assert proof.granted == len(crossing)
    assert proof.held == 0


# The proof finds what is wrong.


def crossed(tmp_path, change):
    """Journals of a request that went well, after ``change(name, entry)`` of each entry."""
    one = Stage(tmp_path / "good")
    rid = one.ask("n0", "n3", pairs=2)
    one.run(5.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    found = {}
    for name in REGIONS:
        good, links = journals_of(tmp_path / "good", name)
        bad = journals_of(tmp_path / "bad", name)[0]
        journal = open_journal(bad, durable=False)
        for _, entries in read(good, decoder):
            new = [after for entry in entries for after in change(name, entry)]
            if new:
                journal.append(new)
        journal.close()
        found[name] = (bad, links)
    return found


def _double(name, entry):
    return [entry, entry] if isinstance(entry, Holding) else [entry]


def _never_used(name, entry):
    if name == "north" and isinstance(entry, Over):
        return [msgspec.structs.replace(entry, used=False)]
    return [entry]


def _twice_in_a_pair(name, entry):
    if not isinstance(entry, Crossed):
        return [entry]
    first = entry.pairs[0]
    return [
        msgspec.structs.replace(
            entry,
            pairs=(
                first,
                *[msgspec.structs.replace(pair, index=first.index) for pair in entry.pairs[1:]],
            ),
        )
    ]


def _better(name, entry):
    if not isinstance(entry, Crossed):
        return [entry]
    pairs = tuple(msgspec.structs.replace(pair, predicted=0.99) for pair in entry.pairs)
    return [msgspec.structs.replace(entry, pairs=pairs)]


def _undecided(name, entry):
    return [] if isinstance(entry, Deciding) else [entry]


def _not_granted(name, entry):
    if not isinstance(entry, Holding) or name != "north":
        return [entry]
    pairs = tuple((number + 100, quality) for number, quality in entry.pairs)
    return [msgspec.structs.replace(entry, pairs=pairs)]


def _elsewhere(name, entry):
    if not isinstance(entry, Deciding):
        return [entry]
    legs = (*entry.legs[:-1], msgspec.structs.replace(entry.legs[-1], b="n4"))
    return [msgspec.structs.replace(entry, legs=legs)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_double, "is held twice"),
        (_never_used, "was not used"),
        (_twice_in_a_pair, "is a part of two pairs"),
        (_better, "was not put together for request|better than its legs"),
        (_undecided, "were never decided"),
        (_not_granted, "is not what was decided on|holds what was not granted"),
        (_elsewhere, "do not join its ends"),
    ],
)
def test_the_proof_names_what_is_wrong(change, said, tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    with pytest.raises(RecordError, match=said):
        check_regions(crossed(tmp_path, change))


def test_a_journal_of_another_region_is_refused(stage):
    one = stage()
    one.kill("north")
    mine, other = (journals_of(one.folder, name)[0] for name in ("north", "west"))
    one.kill("west")
    mine.unlink()
    mine.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="belongs to another region or network"):
        one.start("north")
    one.regions["north"].kill()
