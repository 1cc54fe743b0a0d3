"""The live system: real processes on real sockets, small networks, seconds of network time."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.commands.replay import command as replay_command
from controller.game import prepare
from controller.live import run_live
from controller.parity import parity
from controller.policy_file import SHIPPED, actor_of, start_weights
from controller.replaying import replay
from controller.rivals.dpem import Twin, player
from controller.rivals.mean_rate import allocator as mean_rate
from controller.security import new_keys
from controller.setting import Setting, scenario_of
from quantum import logs
from quantum.errors import InputError, RecordError
from quantum.ledger import new_ledger
from quantum.logs import LogConfig
from quantum.record import read, verify
from quantum.twin import score

#: DESIGN section 7.
KEYS = {
    *("backend", "wire", "slots", "requests", "pairs_requested", "pairs_delivered"),
    *("delivery_rate", "bound", "fraction_of_bound", "contention", "contention_loss"),
    *("pairs_executed", "pairs_tested", "pairs_per_second", "fidelity", "fidelity_predicted"),
    *("latency_ms", "decision_digest", "federated_rounds", "epsilon", "delta", "run_dir"),
}

SMALL = {"seconds": 3.0, "warmup_s": 1.0, "seed": 7, "agents": 1, "rivals": ()}
#: Rounds every second, so that nodes learn and average within the run; 50 nodes.
LEARNING = {**SMALL, "topology": "surfnet", "round_s": 1.0}
BUSY = {**SMALL, "demand": "poisson", "load_hz": 10.0}
FROZEN = {**SMALL, "topology": "surfnet", "learn": False}

SETTINGS = {
    "learning": LEARNING,
    "aer": FROZEN,
    "many": {**FROZEN, "backend": "analytic", "agents": 3, "workers": 2},
    "abilene": {**SMALL, "topology": "abilene", "demand": "abilene", "backend": "analytic"},
    "hidden": {
        **{**SMALL, "topology": "abilene", "backend": "analytic", "agents": 2, "seconds": 6.0},
        **{"privacy": "local", "aggregator": "trimmed-mean"},
    },
    "central": {**FROZEN, "backend": "analytic", "allocator": "mean-rate"},
    "line": {**BUSY, "topology": "line-3", "agents": 2},
    "pair": {**BUSY, "topology": "pair.json"},
    "point": {**BUSY, "topology": "point.json"},
}
NODES = [{"name": "a", "x_km": 0, "y_km": 0}, {"name": "b", "x_km": 5, "y_km": 0}]
FILES = {
    "pair.json": {"nodes": NODES, "links": [{"a": "a", "b": "b"}]},
    "point.json": {"nodes": NODES[:1], "links": []},
}


def cli(*words, **more):
    # A shell that starts the tests in the background makes them ignore Ctrl-C; this undoes it.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from quantum.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Run a setting once for all tests that look at it: (summary, folder)."""
    home = tmp_path_factory.mktemp("live")
    for name, content in FILES.items():
        (home / name).write_text(json.dumps(content))
    done, keys = {}, []

    def remembered():
        keys.append(new_keys())
        return keys[-1]

    def call(name):
        if name not in done:
            values = dict(SETTINGS[name])
            if values["topology"] in FILES:
                values["topology"] = str(home / values["topology"])
            log = LogConfig(format="json", level="debug", file=str(home / f"{name}.log"))
            logs.start(log, "broker")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("controller.parts.new_keys", remembered)
                run = run_live(Setting(**values), home / name, lambda *_: None)
            logs.start(None, "")
            assert not run.interrupted
            done[name] = (run.summary, home / name)
        return done[name]

    call.keys = keys
    return call


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Play the learning run through the command line: (JSON on stdout, folder)."""
    home = tmp_path_factory.mktemp("command")
    config = home / "run.toml"
    config.write_text('topology = "surfnet"\nround_s = 1.0\nrivals = ["uniform"]\n')
    folder = home / "run"
    words = ["--seconds", 3, "--warmup", 1, "--seed", 7, "--agents", 1, "--json", "-"]
    process = cli("run", "--config", config, *words, "--out", folder)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return json.loads(out), folder


def same(a, b, *names):
    assert {name: a[name] for name in names} == {name: b[name] for name in names}


def test_the_summary_has_its_keys(command):
    summary, folder = command
    assert set(summary) >= KEYS
    assert set(summary["fidelity"]) == {"low", "best", "high", "confidence", "shots"}
    assert summary["wire"] == "curve"
    assert summary["slots"] == 150  # 3 s of 20 ms
    assert 0 < summary["pairs_delivered"] <= summary["bound"]
    assert summary["delivery_rate"] * summary["pairs_requested"] == summary["pairs_delivered"]
    assert summary["run_dir"] == str(folder)
    assert set(summary["rivals"]) == {"uniform"}
    for name in ("run.png", "run.svg", "summary.json", "series.json", "network.json"):
        assert (folder / name).stat().st_size > 0


def test_the_same_seed_is_the_same_run(live, command):
    here, there = live("learning")[0], command[0]
    same(here, there, "slots", "requests", "pairs_requested", "pairs_delivered", "pairs_tested")
    same(here, there, "decision_digest", "contention", "fidelity", "federated_rounds", "reward")
    assert here["federated_rounds"] == 4  # at 1, 2, 3 and 4 s; the last deadline is after 4 s
    assert here["updates"] > 0


def test_backends_and_process_counts_take_the_same_decisions(live):
    aer, analytic = live("aer")[0], live("many")[0]
    same(aer, analytic, "decision_digest", "pairs_delivered", "pairs_executed", "contention")
    assert aer["backend"] == "aer" and analytic["backend"] == "analytic"
    predicted = aer["fidelity_predicted"]
    assert predicted == analytic["fidelity_predicted"]
    assert aer["fidelity"]["low"] <= predicted <= aer["fidelity"]["high"]
    a, b = aer["fidelity"], analytic["fidelity"]
    assert a["shots"] == b["shots"] > 0
    assert a["low"] <= b["best"] <= a["high"] and b["low"] <= a["best"] <= b["high"]


def test_learning_changes_decisions(live):
    assert live("aer")[0]["decision_digest"] != live("learning")[0]["decision_digest"]


def test_the_twin_takes_the_same_decisions(live):
    summary, _ = live("aer")
    game = prepare(scenario_of(Setting(**SETTINGS["aer"])))
    ledger = new_ledger(game.world, events=8192)
    play = player(game, learn=False)
    play(ledger, game.world.horizon)
    twin = score(game.world, ledger)
    assert twin.pairs_delivered == summary["pairs_delivered"] > 0
    assert twin.contention == summary["contention"]
    assert twin.latency_p99_ms == summary["latency_ms"]["p99"]


def test_nodes_hide_their_changes_alike_in_any_process(live):
    """Local noise is each node's own: two processes learn what the one mind of the twin does."""
    summary, _ = live("hidden")
    setting = Setting(**SETTINGS["hidden"])
    game = prepare(scenario_of(setting))
    start = actor_of(start_weights(SHIPPED), game.world.n)
    ledger = new_ledger(game.world, events=8192)
    twin = Twin(game, ledger, actor=start, federation=setting.federation)
    twin(game.world.horizon)
    assert summary["federated_rounds"] == twin.dispatch.rounds.done == 1
    assert summary["decision_digest"] == twin.dispatch.digest.hexdigest()
    assert (summary["privacy"], summary["aggregator"]) == ("local", "trimmed-mean")
    assert 7.9 < summary["epsilon"] <= 8.0 and summary["delta"] == 1e-3


def test_a_central_rival_lives_as_in_the_twin(live):
    from controller.game import play

    summary, _ = live("central")
    game = prepare(scenario_of(Setting(**SETTINGS["central"])))
    twin = play(game, mean_rate)
    assert twin.score.pairs_delivered == summary["pairs_delivered"] > 0
    assert twin.score.contention == summary["contention"]
    assert twin.contention_loss == summary["contention_loss"]


@pytest.mark.parametrize("name", ["many", "central"])
def test_the_twin_decides_anew_what_the_run_decided(live, name):
    summary, folder = live(name)
    record = read(folder)
    same = parity(record)
    assert same.decision_digest == summary["decision_digest"] and same.slots > summary["slots"]
    shown = CliRunner().invoke(replay_command, [str(folder), "--twin", "--json", "-"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["twin"] == dataclasses.asdict(same)
    # Somebody else decides otherwise, and the first slot in which he does is named.
    other = {"many": "mean-rate", "central": "dpem"}[name]
    setting = {**record.header["setting"], "allocator": other}
    changed = dataclasses.replace(record, header={**record.header, "setting": setting})
    with pytest.raises(RecordError, match=r"slot \d+: .*the twin"):
        parity(changed)


def test_a_run_that_learns_is_not_compared_with_the_twin(live, tmp_path):
    _, folder = live("learning")
    with pytest.raises(InputError, match="the run learned"):
        parity(read(folder))


@pytest.mark.parametrize(("name", "nodes"), [("abilene", 11), ("line", 3), ("pair", 2)])
def test_small_and_real_networks(live, name, nodes):
    summary, _ = live(name)
    assert summary["nodes"] == nodes
    assert 0 < summary["pairs_delivered"] <= summary["bound"] <= summary["pairs_requested"]


def test_a_network_of_one_node(live):
    summary, _ = live("point")
    assert (summary["nodes"], summary["links"], summary["requests"]) == (1, 0, 0)
    assert summary["fraction_of_bound"] == summary["delivery_rate"] == 0.0


def test_every_process_logs_and_no_secret_is_told(live):
    summary, folder = live("line")
    text = folder.with_name("line.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    told = {line["part"]: [] for line in lines}
    for line in lines:
        told[line["part"]].append(line["event"])
    assert set(told) == {"broker", "agent-0", "agent-1", "worker-0"}
    assert told["broker"].count("process started") == 3 and told["broker"][-1] == "ended"
    seated = {line["process"] for line in lines if line["event"] == "seated"}
    assert seated == {"agent-0", "agent-1", "worker-0"}
    assert told["agent-0"][0] == told["worker-0"][0] == "ready"
    assert told["agent-1"].count("spoke") >= summary["slots"]
    assert told["worker-0"].count("job done") > 0
    assert len(live.keys) >= 4 and not any(keys.secret in text for keys in live.keys)


@pytest.mark.parametrize("name", SETTINGS)
def test_records_verify_and_play_again(live, name):
    summary, folder = live(name)
    done = replay(read(folder))
    assert done.complete
    assert done.decision_digest == summary["decision_digest"]
    assert done.executed == summary["pairs_executed"]
    assert done.recomputed_tests == done.tests == summary["pairs_tested"]


def test_one_changed_byte_is_found(live, tmp_path):
    _, folder = live("line")
    for number, name in enumerate(sorted(os.listdir(folder))):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(RecordError, match=name):
            verify(copy)


def test_replay_and_report_as_commands(live, tmp_path):
    _, folder = live("line")
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    report = cli("report", copy)
    assert report.communicate(timeout=240)[1] == ""
    assert report.returncode == 0
    assert "<html" in (tmp_path / "run.html").read_text()
    data = bytearray((copy / "events.jsonl").read_bytes())
    data[-20] ^= 1
    (copy / "events.jsonl").write_bytes(data)
    broken = cli("replay", copy)
    _, err = broken.communicate(timeout=240)
    assert broken.returncode == 1
    assert err.count("\n") == 1 and "events.jsonl line" in err


def children(pid):
    """Return the processes that a process has started, by name of module."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and b"-m" in words:
            module = words[words.index(b"-m") + 1].decode()
            found[int(folder.name)] = module
    return found


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def break_off(folder, strike):
    """Start a run that would take a minute, strike at it while it plays, and see what is left."""
    words = ["--topology", "surfnet", "--backend", "analytic", "--seconds", 300, "--warmup", 0]
    words += ["--agents", 1, "--seed", 7, "--no-learn", "--out", folder]
    (folder.parent / f"{folder.name}.toml").write_text("rivals = []\n")
    config = folder.parent / f"{folder.name}.toml"
    # A process group of its own, as a shell gives to what it starts.
    process = cli("run", "--config", config, *words, start_new_session=True)
    try:
        # The header has one line; telemetry comes every few slots and flushes what was played.
        events, until = folder / "events.jsonl", time.monotonic() + 240.0
        while not (events.exists() and events.read_bytes().count(b"\n") > 20):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        below = children(process.pid)
        strike(process.pid, below)
        _, err = process.communicate(timeout=240)
        return process.returncode, err, below
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def kill(kind):
    def strike(_, below):
        os.kill(next(pid for pid, module in below.items() if kind in module), signal.SIGKILL)

    return strike


STRIKES = {
    "ctrl-c": lambda pid, _: os.killpg(pid, signal.SIGINT),
    "sigint": lambda pid, _: os.kill(pid, signal.SIGINT),
    "sigterm": lambda pid, _: os.kill(pid, signal.SIGTERM),
    "worker": kill("worker"),
    "agent": kill("agent"),
}


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """Break off all runs at once: name -> (exit code, stderr, processes below, folder)."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs Linux's /proc")
    home = tmp_path_factory.mktemp("broken")
    with ThreadPoolExecutor(2) as pool:
        parts = {
            name: pool.submit(break_off, home / name, strike) for name, strike in STRIKES.items()
        }
        return {name: (*part.result(), home / name) for name, part in parts.items()}


@pytest.mark.parametrize("name", STRIKES)
def test_a_run_that_is_broken_off(broken_off, name):
    code, err, below, folder = broken_off[name]
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    if name in ("worker", "agent"):
        assert code == 1
        assert f"process {name}-0 ended with code -9" in err
    else:
        assert code == 130
        assert "interrupted" in err and str(folder) in err
    assert len(below) == 2
    assert all(gone(pid) for pid in below)
    record = read(folder)
    assert not record.seal.complete
    assert replay(record).slots == sum(event["event"] == "slot" for event in record.events) > 0


def test_a_real_record_is_exported_as_its_schema_says(command):
    import jsonschema

    from controller.export_tables import tables_of
    from controller.exported import document_of, schema

    summary, folder = command
    record = read(folder)
    plain = json.loads(json.dumps(document_of(record)))
    jsonschema.validate(plain, schema(), jsonschema.Draft202012Validator)
    pairs = tables_of(record)["pairs"]
    assert sum(passed is not None for passed in pairs["passed"]) == summary["pairs_tested"]
    done = [hops for hops, source in zip(pairs["hops"], pairs["source"], strict=True) if source]
    assert sum(done) == summary["pairs_executed"]
