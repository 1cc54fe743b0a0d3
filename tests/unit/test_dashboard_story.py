"""From a record to what a page shows: true to the run, bounded, the same whenever it is read."""

import itertools
import json
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onlooker import play, write

from controller.attended import Attended, Wish, ask_to_stop, stage_of
from controller.dashboard import events as e
from controller.dashboard.bins import Bins
from controller.dashboard.frame import difference, frame_of
from controller.dashboard.moments import Moments
from controller.dashboard.tail import Chain
from controller.dashboard.tested import Outcomes
from controller.dashboard.watch import Watch
from controller.replaying import replay
from controller.setting import Setting
from quantum.errors import InputError, RecordError
from quantum.record import RecordWriter, read
from quantum.record.canonical import event_bytes, line_bytes, link

SETTING = Setting(
    topology="line-4",
    demand="poisson",
    load_hz=40.0,
    seconds=3.0,
    warmup_s=0.5,
    seed=3,
    round_s=0.5,
    rivals=(),
)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("story") / "run"
    return folder, write(folder, SETTING)


def watched(folder):
    watch = Watch(folder)
    while watch.step():
        pass
    return watch


def test_the_page_says_what_the_summary_says(played):
    folder, last = played
    summary = json.loads((folder / "summary.json").read_text())
    watch = watched(folder)
    assert watch.status.state == "finished"
    frame = frame_of(watch.story)
    sums, world, ledger = frame["sums"], last.rules.world, last.ledger
    assert sums["requested"] == summary["pairs_requested"] == sums["to_come"]
    assert sums["delivered"] == summary["pairs_delivered"]
    assert sums["bound"] == summary["bound"]
    assert sums["contention"] == summary["contention"]
    assert sums["reward"] == pytest.approx(summary["reward"], abs=1e-6)
    assert sums["failed"] == 0
    series = frame["series"]
    assert series["counted"][-1] == summary["pairs_requested"]
    assert series["good"][-1] == summary["pairs_delivered"]
    assert sum(series["asked"]) * series["bin_s"] == pytest.approx(world.request.pairs.sum())
    # Every request is asked for by one pair of nodes, and delivered or blocked there.
    pairs = np.array([row[:5] for row in frame["pairs"]])
    assert pairs[:, 2].sum() == world.request.pairs.sum()
    assert pairs[:, 3].sum() == ledger.request.good.sum()
    assert (pairs[:, 2] == pairs[:, 3] + pairs[:, 4]).all()
    nodes = np.array([row[:2] for row in frame["nodes"]])
    assert nodes[:, 0].sum() == pairs[:, 2].sum()
    assert nodes[:, 1].sum() == pairs[:, 4].sum()


def test_links_have_the_intervals_of_their_own_tests(played):
    folder, last = played
    record = read(folder)
    seen, served = {}, {}
    for event in record.events:
        if event["event"] == "slot":
            served[event["slot"]] = event["served"]
        elif event["event"] == "results":
            for row, passed in zip(served[event["slot"]], event["passed"], strict=True):
                if row[0] == 3:
                    seen.setdefault(row[4][0], []).append(passed)
    assert sum(map(len, seen.values())) == last.results.pools.links_total.sum() > 4
    frame = frame_of(watched(folder).story)
    for number, (_, best, _, shots) in enumerate(frame["links"]):
        tests = seen.get(number, [])
        assert shots == len(tests)
        if tests:
            share = sum(tests) / len(tests)
            assert best == pytest.approx(np.clip((3 * share - 1) / 2, 0, 1), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(slot=st.integers(0, 200))
def test_a_moment_is_what_was_shown_then(played, slot):
    """Going back from the end gives the state of a page that never saw what came later."""
    watch = watched(played[0])
    back = watch.at(slot)
    fresh = watched(played[0])
    assert frame_of(fresh.story) == frame_of(watch.story)
    chain, story = Chain(), None
    with (played[0] / "events.jsonl").open("rb") as file:
        for line in chain.feed(file.read()):
            event = e.read(line.after.line, line.event)
            if story is None:
                story = type(back)(back.layout, event)
                continue
            if isinstance(event, e.Slot) and event.slot >= slot:
                break
            story.take(event)
    assert frame_of(back) == frame_of(story)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.sampled_from([1, 7, 300, 5000, 40_000]), min_size=1, max_size=4))
def test_a_file_that_grows_by_any_pieces_gives_the_same_state(played, sizes):
    raw = (played[0] / "events.jsonl").read_bytes()[:20_000]
    whole = [line.event for line in Chain().feed(raw)]
    chain, found, at = Chain(), [], 0
    for size in itertools.cycle(sizes):
        if at >= len(raw):
            break
        found += [line.event for line in chain.feed(raw[at : at + size])]
        at += size
        assert chain.read_from == min(at, len(raw))
    assert found == whole


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_a_flipped_byte_is_named_by_its_line(played, tmp_path_factory, place, flip):
    raw = bytearray((played[0] / "events.jsonl").read_bytes())
    place %= len(raw)
    raw[place] ^= flip
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "events.jsonl").write_bytes(raw)
    (folder / "network.json").write_bytes((played[0] / "network.json").read_bytes())
    watch = watched(folder)
    word = watch.status.word
    assert "\n" not in word
    number = raw[:place].count(b"\n") + 1
    if watch.status.state == "killed":
        # The end of the last line is gone: it looks as if the writer had been killed in it.
        assert place == len(raw) - 1
    else:
        assert word.startswith(f"The record is damaged: events.jsonl line {number}")


@pytest.mark.parametrize("name", ["network.json", "summary.json", "manifest.json"])
def test_any_other_file_of_a_sealed_record_is_verified_too(played, tmp_path, name):
    for path in played[0].iterdir():
        data = bytearray(path.read_bytes())
        if path.name == name:
            data[len(data) // 2] ^= 4
        (tmp_path / path.name).write_bytes(data)
    watch = watched(tmp_path)
    assert watch.status.state == "damaged"
    assert name in watch.status.word
    assert "\n" not in watch.status.word


def test_differences_put_together_are_the_whole(played, tmp_path):
    """What a page is sent piece by piece is what it would be sent at once."""
    shown, sizes = None, []
    watch = Watch(tmp_path / "run")
    for _ in play(tmp_path / "run", SETTING):
        while watch.step():
            pass
        frame = msgspec.json.decode(msgspec.json.encode(frame_of(watch.story)))
        sent = difference(shown, frame)
        sizes.append(len(msgspec.json.encode(sent)) / len(msgspec.json.encode(frame)))
        assert merged(shown or {}, msgspec.json.decode(msgspec.json.encode(sent))) == frame
        shown = frame
    assert np.mean(sizes[20:]) < 0.8
    assert difference(shown, shown) == {}


def merged(frame, change):
    """The page's own merge.js, in Python."""
    new = dict(frame)
    for name, value in change.items():
        if name == "series" and "from" in value:
            tails = {
                k: frame["series"][k][: value["from"]] + v for k, v in value["columns"].items()
            }
            new["series"] = frame["series"] | tails
        elif name in ("links", "nodes", "pairs") and isinstance(value, dict):
            rows = frame[name][: value["size"]] + [None] * (value["size"] - len(frame[name]))
            for k, row in value["rows"].items():
                rows[int(k)] = row
            new[name] = rows
        else:
            new[name] = value
    return new


def test_a_record_that_tells_no_requests_is_shown_as_far_as_it_goes(played, tmp_path):
    """Records of earlier versions have neither begun nor seen."""
    record = read(played[0])
    folder = tmp_path / "old"
    with RecordWriter(folder, {k: v for k, v in record.header.items() if k != "hash"}) as writer:
        writer.write_file("network.json", record.file("network.json"))
        for event in record.events:
            if event["event"] not in ("begun", "seen"):
                writer.append({k: v for k, v in event.items() if k != "hash"})
    watch = watched(folder)
    frame = frame_of(watch.story)
    assert watch.status.state == "broken off"
    assert frame["now"]["told"] is False
    assert frame["sums"]["bound"] is None
    assert sum(frame["series"]["delivered"]) > 0
    assert any(row[3] for row in frame["links"])


def test_a_lie_to_onlookers_is_found_by_a_replay(played, tmp_path):
    record = read(played[0])
    assert replay(record).complete
    for kind, change in (("asked", (3, 99)), ("ended", (1, 99))):
        folder = tmp_path / kind
        changed = False
        header = {k: v for k, v in record.header.items() if k != "hash"}
        with RecordWriter(folder, header) as writer:
            writer.write_file("network.json", record.file("network.json"))
            for event in record.events:
                plain = json.loads(json.dumps({k: v for k, v in event.items() if k != "hash"}))
                if event["event"] == "seen" and event[kind] and not changed:
                    plain[kind][0][change[0]] = change[1]
                    changed = True
                writer.append(plain)
        with pytest.raises(RecordError, match="request"):
            replay(read(folder))


WRONG = {
    "a slot of text": ({"event": "slot", "slot": "x", "served": []}, "malformed"),
    "a pair of no links": ({"event": "slot", "slot": 0, "served": [[0, 1]]}, "is no pair"),
    "a link test of no link": (
        {"event": "slot", "slot": 0, "served": [[3, -1, 0, 1, [], []]]},
        "is no pair",
    ),
    "a pair of no kind": (
        {"event": "slot", "slot": 0, "served": [[9, -1, 0, 1, [0], [0]]]},
        "is no pair",
    ),
    "a kind without end": (
        {"event": "slot", "slot": 0, "served": [["WITHOUT END", -1, 0, 1, [0], [0]]]},
        "is no pair",
    ),
    "slots of no length": (
        {
            **{"event": "begun", "bound": 1.0, "pairs_requested": 1, "slot_s": 1e-310},
            **{"forecast_s": 0.3, "lag_slots": 1, "learn": False},
        },
        "malformed",
    ),
    "a pair elsewhere": (
        {"event": "slot", "slot": 0, "served": [[0, 1, 0, 1, [999], [0]]]},
        "links that do not exist",
    ),
    "results of nothing": (
        {"event": "results", "slot": 0, "basis": [], "passed": [1], "source": "sim"},
        "do not fit",
    ),
    "a request elsewhere": (
        {
            **{"event": "seen", "slot": 5, "asked": [[0, 77, 1, 4, 0.8, 0, 50]], "ended": []},
            **{"requested": 0, "delivered": 0, "stored": 0, "contention": 0.0, "reward": 0.0},
        },
        "nodes that do not exist",
    ),
    "not a number": ({"event": "round", "slot": 1, "round": -1}, "malformed"),
}


@pytest.mark.parametrize(("event", "said"), WRONG.values(), ids=WRONG)
def test_well_chained_nonsense_is_one_line_and_no_crash(played, tmp_path, event, said):
    header = {k: v for k, v in read(played[0]).header.items() if k != "hash"}
    lines, last = [], "0" * 64
    for each in (header, event):
        # No writer of ours would write such a number; a reader takes it as infinite.
        rest = event_bytes(each).replace(b'"WITHOUT END"', b"1e400")
        last = link(last, rest)
        lines.append(line_bytes(last, rest))
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "network.json").write_bytes((played[0] / "network.json").read_bytes())
    watch = watched(tmp_path)
    assert watch.status.state == "damaged"
    assert said in watch.status.word
    assert "\n" not in watch.status.word


def test_what_is_remembered_does_not_grow_with_the_run():
    bins = Bins(("asked",), width=50)
    moments = Moments()
    for slot in range(0, 1_000_000, 997):
        bins.add(slot, "asked", 1.0)
    assert bins.size <= 512
    assert sum(bins.columns["asked"]) == len(range(0, 1_000_000, 997))

    class Story:
        def __init__(self, slot):
            self.slot = slot

        def copy(self):
            return self

    for slot in range(0, 1_000_000, 50):
        moments.offer(slot, Story(slot))
        assert len(moments) <= 128
    for slot in (0, 49, 12_345, 999_999):
        at, story = moments.before(slot)
        assert at == story.slot <= slot
        assert slot - story.slot < 1_000_000 / 60


def test_tests_of_a_laboratory_count_for_a_window_only():
    tests = Outcomes(150)
    for slot in range(1000):
        tests.add(slot, "link", slot % 2)
        tests.forget(slot)
        assert tests.of("link").shots == min(slot + 1, 151)


def test_a_run_that_is_attended_is_seen_and_hears_a_wish(tmp_path):
    folder = tmp_path / "run"
    assert stage_of(folder) is None
    with pytest.raises(InputError, match="no run is going on"):
        ask_to_stop(folder, Wish("me", "why"))
    with Attended(folder) as running:
        assert stage_of(folder) == "starting"
        running.say("playing")
        assert stage_of(folder) == "playing"
        running.check()
        ask_to_stop(folder, Wish("me", "why"))
        with pytest.raises(KeyboardInterrupt):
            until_it_hears(running)
        assert running.wish == Wish("me", "why")
    assert stage_of(folder) is None
    # A wish that came too late is not heard by the next run of the same folder.
    with Attended(folder) as running:
        running.check()


def until_it_hears(running):
    while True:
        running.check()
        time.sleep(0.01)
