"""Replay: a true record plays again, and a lie with a good seal is found and its slot named."""

import copy
import json
import shutil
from functools import partial

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from controller.commands import replay as replay_command
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.replaying import replay
from controller.setting import Setting, scenario_of
from controller.summary import summarise
from quantum.egp import Failed, Fault
from quantum.errors import Code, InputError, RecordError
from quantum.record import RecordWriter, read
from quantum.seeding import generator
from quantum.topology import to_json

SETTING = Setting(
    topology="line-4",
    demand="poisson",
    load_hz=40.0,
    seconds=2.0,
    warmup_s=0.5,
    seed=3,
    round_s=0.5,
    rivals=(),
)


def answered(dispatch, job, kind):
    """Answer a job as a backend of some kind would."""
    done = dispatch.results.by_closed_form(job.job)
    if kind == "failing" and job.job % 3 == 0:
        return Failed(job.job, Code.OTHER, "no light")
    if kind == "faulty":
        passed = (-1, *done.passed[1:])
        return msgspec.structs.replace(
            done, passed=passed, faults=(Fault(0, Code.OTHER, "no light"),)
        )
    if kind == "stub":
        # Instruments know no fidelity and draw for themselves.
        rng = generator(4, "stub", job.job)
        passed = tuple(int(rng.random() < 0.9) if p >= 0 else -1 for p in done.passed)
        return msgspec.structs.replace(done, passed=passed, fidelity=(), source_of_truth="stub")
    return done


def record_run(folder, setting=SETTING, kind="sim", stop=None):
    """Play a run without sockets and write its record."""
    scenario = scenario_of(setting)
    game = prepare(scenario)
    header = {"setting": msgspec.to_builtins(setting), "horizon": game.world.horizon}
    with RecordWriter(folder, header) as record:
        record.write_file("network.json", to_json(scenario.network))
        rules = live_rules(setting, game)
        dispatch = Dispatch(rules, record.append)
        minds = [
            Mind(game.world, rules.rule, np.array(group), seed=setting.seed, learn=rules.learn)
            for group in rules.groups
        ]
        while not dispatch.finished and dispatch.slot != stop:
            for group, look in enumerate(dispatch.open()):
                dispatch.hear(group, minds[group].speak(look))
            job = dispatch.close()
            if job is not None:
                dispatch.settle(answered(dispatch, job, kind))
        if stop is None:
            dispatch.results.count(dispatch.slot)
            summary = summarise(setting, game, dispatch, wall_s=1.0)
            record.close(summary)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return record_run(tmp_path_factory.mktemp("honest") / "run")


def resealed(folder, target, change):
    """Write a record anew after ``change(events, summary)``: hashes all fit, contents do not."""
    record = read(folder)
    events = [copy.deepcopy(dict(event)) for event in record.events]
    summary = copy.deepcopy(dict(record.summary))
    change(events, summary)
    header = {k: v for k, v in record.header.items() if k not in ("event", "format")}
    with RecordWriter(target, header) as writer:
        writer.write_file("network.json", record.file("network.json"))
        for event in events:
            writer.append(event)
        writer.close(summary)
    return target


def test_a_record_plays_again(honest):
    record = read(honest)
    done = replay(record)
    summary = record.summary
    slots = [event for event in record.events if event["event"] == "slot"]
    assert done.complete
    assert done.slots == len(slots) == record.header["horizon"]
    assert done.decisions == sum(len(event["acts"]) for event in slots) > 50
    assert done.pairs == sum(len(event["served"]) for event in slots) > 20
    assert done.tests == done.recomputed_tests == summary["pairs_tested"] > 0
    assert done.decision_digest == summary["decision_digest"]
    assert summary["pairs_delivered"] > 0


@pytest.mark.parametrize("kind", ["failing", "faulty", "stub"])
def test_failures_and_instruments_play_again(tmp_path, kind):
    record = read(record_run(tmp_path / "run", kind=kind))
    done = replay(record)
    if kind in ("failing", "faulty"):
        assert done.failed == record.summary["pairs_failed"] > 0
    else:
        assert done.tests == record.summary["pairs_tested"] > 0
        assert done.recomputed_tests == 0


def test_a_central_rival_plays_again(tmp_path):
    setting = msgspec.structs.replace(SETTING, allocator="on-demand")
    assert replay(read(record_run(tmp_path / "run", setting))).decisions > 0


def test_a_record_that_was_broken_off_plays_up_to_its_end(tmp_path):
    done = replay(read(record_run(tmp_path / "run", stop=60)))
    assert (done.complete, done.slots) == (False, 60)


def test_the_network_is_the_recorded_one(tmp_path):
    network = {
        "nodes": [{"name": "a", "generation_hz": 20}, {"name": "b", "generation_hz": 20}],
        "links": [{"a": "a", "b": "b", "length_km": 2, "fidelity": 0.96}],
    }
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(network))
    setting = msgspec.structs.replace(SETTING, topology=str(file))
    folder = record_run(tmp_path / "run", setting)
    file.unlink()
    assert replay(read(folder)).pairs > 0


def first(events, kind, found=lambda event: True):
    return next(event for event in events if event["event"] == kind and found(event))


def has_tests(event):
    return any(basis >= 0 for basis in event["basis"])


def drop_an_act(events, _):
    # Without the pair that was made, the pair that was served from it cannot have been.
    for event in events:
        if event["event"] == "slot" and event["acts"] and event["slot"] < 60:
            event["acts"] = []


def one_more_token(events, _):
    event = first(events, "slot", lambda e: e["acts"])
    node, number, position, urgency = event["acts"][-1]
    event["acts"].append([node, number + 1, position, urgency])


def another_link(events, _):
    first(events, "slot", lambda e: e["acts"])["acts"][0][2] = 9


def unknown_request(events, _):
    first(events, "slot")["asked"] = [10_000]


def another_age(events, _):
    first(events, "slot", lambda e: e["served"])["served"][0][5][0] += 1


def one_more_pair(events, _):
    event = first(events, "slot", lambda e: e["served"])
    event["served"].append(event["served"][0])


def a_better_test(events, _):
    event = first(events, "results", has_tests)
    index = next(i for i, basis in enumerate(event["basis"]) if basis >= 0)
    event["passed"][index] = 1 - event["passed"][index]


def another_basis(events, _):
    event = first(events, "results", has_tests)
    index = next(i for i, basis in enumerate(event["basis"]) if basis >= 0)
    event["basis"][index] = (event["basis"][index] + 1) % 3


def a_better_pair(events, _):
    first(events, "results")["fidelity"][0] += 1e-6


def a_slot_less(events, _):
    events.remove(first(events, "slot", lambda e: e["slot"] == 30))


def results_less(events, _):
    events.remove(first(events, "results"))


def results_twice(events, _):
    event = first(events, "results")
    events.insert(events.index(event), event)


def an_early_end(events, _):
    del events[-20:]


def nonsense(events, _):
    first(events, "slot", lambda e: e["acts"])["acts"][0][1] = -1


def words(events, _):
    first(events, "results")["passed"] = "all"


def summary_of(key, value, _, summary):
    summary[key] = value


LIES = {
    "drop an act": (drop_an_act, "slot"),
    "one more token": (one_more_token, "used token"),
    "another link": (another_link, "has no link 9"),
    "unknown request": (unknown_request, "slot 0: .*no request 10000"),
    "another age": (another_age, "pair 0 is"),
    "one more pair": (one_more_pair, "pairs were made"),
    "a better test": (a_better_test, "slot .* came out otherwise"),
    "another basis": (another_basis, "slot .* drawn"),
    "a better pair": (a_better_pair, "slot .* has fidelity"),
    "a slot less": (a_slot_less, "slot 31 .* slot 30 was to come"),
    "results less": (results_less, "slot .* no results"),
    "results twice": (results_twice, "slot .* no pairs wait"),
    "an early end": (an_early_end, "ends before|no results"),
    "nonsense": (nonsense, "line .* malformed"),
    "words": (words, "line .* malformed"),
    "digest": (partial(summary_of, "decision_digest", "0" * 64), "decision_digest"),
    "delivered": (partial(summary_of, "pairs_delivered", 10_000), "pairs_delivered"),
    "contention": (partial(summary_of, "contention", 0.0), "contention"),
    "fidelity": (partial(summary_of, "fidelity", {"best": 1.0}), "fidelity"),
    "executed": (partial(summary_of, "pairs_executed", None), "pairs_executed"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_with_a_good_seal_is_found(honest, tmp_path, name):
    change, words = LIES[name]
    record = read(resealed(honest, tmp_path / "run", change))
    with pytest.raises(RecordError, match=words) as found:
        replay(record)
    assert "\n" not in str(found.value)


def test_swaps_for_what_was_only_expected_play_again(tmp_path):
    """Replay knows no forecasts: the record says for whose two nodes pairs were to wait."""
    setting = msgspec.structs.replace(
        SETTING, topology="mesh-20", demand="scheduled", warmup_s=21.0, learn=False
    )
    folder = record_run(tmp_path / "run", setting)
    record = read(folder)
    sure = [event["ahead"] for event in record.events if event.get("ahead")]
    assert len(sure) > 20 and replay(record).pairs > 0

    def nothing_ahead(events, _):
        for event in events:
            event.pop("ahead", None)

    def another_class(events, _):
        first(events, "slot", lambda e: "ahead" in e)["ahead"][0][0] = 10_000

    def too_many(events, _):
        first(events, "slot", lambda e: "ahead" in e)["ahead"][0][1] = 5

    lies = {
        nothing_ahead: "slot",
        another_class: "a class that there is not",
        too_many: "malformed",
    }
    for number, (lie, words) in enumerate(lies.items()):
        with pytest.raises(RecordError, match=words):
            replay(read(resealed(folder, tmp_path / f"run {number}", lie)))


def test_a_record_resealed_without_a_lie_still_plays(honest, tmp_path):
    replay(read(resealed(honest, tmp_path / "run", lambda *_: None)))


@pytest.fixture
def dpem(monkeypatch, capsys):
    from quantum.cli import main

    def call(*words):
        monkeypatch.setattr("sys.argv", ["dpem", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_the_replay_command(dpem, honest):
    code, out, err = dpem("replay", honest)
    assert (code, err) == (0, "")
    assert "Verified" in out and "Replayed" in out
    code, out, err = dpem("replay", honest, "--json", "-")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["verified"] and result["replayed"] and result["complete"]
    assert result["slots"] == read(honest).header["horizon"]


@pytest.mark.parametrize("command", ["replay", "report"])
def test_what_is_no_record_is_one_line(dpem, tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "empty", "file"):
        code, out, err = dpem(command, tmp_path / name)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and name in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"]


def test_a_changed_byte_is_named(dpem, honest, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(honest, copied)
    events = copied / "events.jsonl"
    lines = events.read_bytes().split(b"\n")
    lines[9] = lines[9].replace(b'"slot":', b'"slot": ', 1)
    events.write_bytes(b"\n".join(lines))
    for command in ("replay", "report"):
        code, out, err = dpem(command, copied)
        assert (code, out) == (1, "")
        assert err.count("\n") == 1 and "events.jsonl line 10" in err


def test_the_report_command(dpem, honest, tmp_path):
    code, out, err = dpem("report", honest)
    page = honest.with_name("run.html")
    assert (code, err) == (0, "")
    assert str(page) in out
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = dpem("report", honest, "--out", tmp_path / "mine.html", "--json", "-")
    assert code == 0
    assert json.loads(out)["page"] == str(tmp_path / "mine.html")
    code, _, err = dpem("report", honest, "--out", honest / "page.html")
    assert code == 2 and "inside" in err
    code, _, err = dpem("report", honest, "--out", tmp_path / "nowhere" / "page.html")
    assert code == 2 and err.count("\n") == 1
    replay(read(honest))  # neither touched the folder


def test_a_header_without_a_setting_is_refused(honest, tmp_path):
    with RecordWriter(tmp_path / "run", {"horizon": 3}) as writer:
        writer.close({})
    with pytest.raises((RecordError, InputError)):
        replay(read(tmp_path / "run"))


@pytest.mark.parametrize(
    ("more", "stop", "said"),
    [
        ({}, None, "the run learned"),
        ({"learn": False}, 40, "the run was broken off"),
    ],
)
def test_what_the_twin_cannot_play_is_refused_before_the_replay(
    tmp_path, monkeypatch, more, stop, said
):
    setting = msgspec.structs.replace(SETTING, seconds=1.0, **more)
    folder = record_run(tmp_path / "run", setting, stop=stop)

    def too_late(*_):
        raise AssertionError("it was replayed first")

    monkeypatch.setattr("controller.replaying.replay", too_late)
    done = CliRunner().invoke(replay_command.command, [str(folder), "--twin"])
    assert isinstance(done.exception, InputError) and said in str(done.exception)
