"""A supervisor at work on stubs: limits, interlock, emergency stop, fencing, modes, lost logs."""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from click.testing import CliRunner
from one_link_rack import one_link

from backends.commands.lab import command as lab_command
from backends.contract import plan_of
from backends.rack import StubProcess
from backends.supervisor.audit import verify
from backends.supervisor.backend import SupervisedLab
from backends.supervisor.client import Client, endpoint_of, estop, new_rid, status
from backends.supervisor.keys import new_key
from backends.supervisor.launching import Launched
from backends.supervisor.messages import Act, Did, Refused, Run
from backends.supervisor.places import place_of, read_endpoint, state_home
from backends.supervisor.rearming import rearm
from quantum.batch import stack
from quantum.errors import Code, InputError, RequestError
from quantum.program import Generate, Measure, Program
from quantum.seeding import generator

RACK = one_link(
    "bench",
    """
integration_s = WINDOW
timeout_s = 2.0
settle_s = 0.004
shared_clock = true
[instrument.limits]
integration_s = [0.001, 2.0]
[[instrument]]
name = "shutter"
kind = "pc_rpc"
address = "SHUTTER"
timeout_s = 1.0
[instrument.limits]
power_dbm = [-60.0, 3.0]
acts_hz = 40.0
""",
    head="""
[safety]
linger_s = 30.0
interlocks = ["shutter"]
MORE
""",
    address="TAGGER",
)


def control(address: str, **message: Any) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.linger = 0
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000)
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        assert answer["ok"], answer
        return answer


@dataclass
class Bench:
    tagger: StubProcess
    shutter: StubProcess
    folder: Path

    def rack(self, name: str, *, window_s: float = 0.005, more: str = "") -> Path:
        path = self.folder / f"{name}.toml"
        text = RACK.replace("TAGGER", self.tagger.address).replace("SHUTTER", self.shutter.address)
        path.write_text(text.replace("WINDOW", repr(window_s)).replace("MORE", more))
        return path

    def light(self) -> tuple[bool, bool]:
        """Whether the shutter is open and the laser on, by the bench."""
        settings = control(self.shutter.control, do="state")["settings"]
        return settings["open"], settings["on"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with (
        StubProcess("id900", ["--speed", "20"]) as tagger,
        StubProcess("pc_rpc", []) as shutter,
    ):
        yield Bench(tagger, shutter, tmp_path_factory.mktemp("bench"))


def gone(rack: Path) -> None:
    """End a supervisor that lingers, and wait for it."""
    at = read_endpoint(place_of(rack))
    if at is not None:
        os.kill(at.supervisor, signal.SIGKILL)
    until = time.monotonic() + 60.0
    while read_endpoint(place_of(rack)) is not None:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def lab(bench: Bench, request: pytest.FixtureRequest) -> Iterator[SupervisedLab]:
    options = getattr(request, "param", {})
    rack = bench.rack(request.node.originalname, **options)
    backend = SupervisedLab(rack)
    backend.path = rack  # type: ignore[attr-defined]
    yield backend
    backend.close()
    gone(rack)
    control(bench.shutter.control, do="clear")
    control(bench.tagger.control, do="clear")


def path_of(lab: SupervisedLab) -> Path:
    path: Path = lab.path  # type: ignore[attr-defined]
    return path


def count(lab: SupervisedLab, shots: int) -> int:
    program = Program((Generate(0, (1.0, 0.0, 0.0, 0.0)), Measure(0, "zz", shots)))
    ((_, batch),) = stack([program])
    return int(lab.run(batch, plan_of([program]), generator(1, "test")).counts.sum())


def refused(lab: SupervisedLab, match: str, instrument: str, method: str, *values: Any) -> None:
    with pytest.raises(RequestError, match=match) as caught:
        lab.command(instrument, method, *values)
    assert caught.value.code is Code.REJECTED


def hurry(lab: SupervisedLab) -> None:
    for number in range(100):
        lab.command("shutter", "set_power_dbm", -1.0 - number / 100.0)


def test_limits_hold_whoever_asks(lab: SupervisedLab, bench: Bench) -> None:
    lab.command("shutter", "set_open", True)
    lab.command("shutter", "set_output", True)
    lab.command("shutter", "set_power_dbm", 2.0)
    assert bench.light() == (True, True)
    refused(lab, "limits power_dbm to -60 to 3, asked was 9", "shutter", "set_power_dbm", 9.0)
    refused(lab, "limits integration_s", "tagger", "configure", 50.0)
    assert lab.command("shutter", "power_dbm") == pytest.approx(2.0, abs=0.1)
    # A hundred changes at once are no experiment.
    with pytest.raises(RequestError, match="limits acts_hz to 40"):
        hurry(lab)
    time.sleep(1.0)
    for values in ((), ({1: 2}, 7)):
        with pytest.raises(InputError):
            lab.command("shutter", "set_open", *values)
    with pytest.raises(InputError, match="cannot be called from outside"):
        lab.command("shutter", "call", "laser", "set_power_mw", 1e6)
    assert count(lab, 50) == 50
    # Given back in order: safe, and nothing is latched.
    lab.close()
    assert bench.light() == (False, False)


def test_a_replayed_or_forged_command(lab: SupervisedLab, bench: Bench) -> None:
    token = lab.acquire()
    at = endpoint_of(path_of(lab))
    with Client(at.commands, at.public, lab._key) as client:
        act = Act(new_rid(), token, "shutter", "set_open", (True,))
        assert isinstance(client.ask(act), Did)
        lab.command("shutter", "set_open", False)
        assert isinstance(client.ask(act), Did), "the first answer again"
        assert bench.light()[0] is False, "and nothing was done"
        for forged in (token - 1, token + 1, 0, 2**62):
            reply = client.ask(Act(new_rid(), forged, "shutter", "set_open", (True,)))
            assert isinstance(reply, Refused) and "not valid" in reply.detail
        garbage = client.ask(Run(new_rid(), token, 1, b"\x93garbage"))
        assert isinstance(garbage, Refused) and garbage.code is Code.CREATE
        client.socket.send(b"GET / HTTP/1.1")
        client.socket.send_multipart([b"a", b"b"])
        client.socket.send(b"DPS1\xff")
        client.socket.send(bytes(2 * 1024 * 1024))
    assert bench.light()[0] is False
    assert count(lab, 20) == 20
    stranger = new_key(bench.folder / "stranger.key")
    with Client(at.commands, at.public, stranger) as client, pytest.raises(Exception, match="list"):
        client.ask(Act(new_rid(), token, "shutter", "is_open"), 1.0)


@pytest.mark.parametrize("lab", [{"window_s": 1.0}], indirect=True)
def test_an_interlock_opens_in_the_middle_of_a_request(lab: SupervisedLab, bench: Bench) -> None:
    lab.command("shutter", "set_open", True)
    timer = threading.Timer(
        1.0, control, (bench.shutter.control,), {"do": "fault", "kind": "interlock_open"}
    )
    timer.start()
    began = time.monotonic()
    with pytest.raises(RequestError, match="INTERLOCK: the contact of shutter is open") as caught:
        count(lab, 500_000)
    assert caught.value.code is Code.REJECTED
    assert time.monotonic() - began < 2.5, "a window of 1 s was not waited for"
    timer.join()
    with pytest.raises(RequestError, match="latched: INTERLOCK"):
        count(lab, 1)
    # A person cannot either, while the contact is open.
    with pytest.raises(RequestError, match="INTERLOCK"):
        rearm(path_of(lab), "it annoys me", None)
    control(bench.shutter.control, do="clear")
    assert status(path_of(lab)).latched, "a closed contact alone resumes nothing"
    rearm(path_of(lab), "door closed, nobody inside", None)
    assert bench.light() == (False, False)
    lab._keeper = None
    assert lab.command("shutter", "interlock_closed") is True


@pytest.mark.parametrize("lab", [{"window_s": 1.0}], indirect=True)
def test_an_emergency_stop_cuts_off_a_count(lab: SupervisedLab, bench: Bench) -> None:
    lab.command("shutter", "set_open", True)
    lab.command("shutter", "set_output", True)
    stopped: list[Any] = []

    def stop() -> None:
        time.sleep(0.7)
        began = time.monotonic()
        stopped.extend((estop(path_of(lab), "smoke"), time.monotonic() - began))

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(RequestError, match="emergency stop by the local key: smoke"):
        count(lab, 500_000)
    thread.join()
    done, took_s = stopped
    assert done.safe, done
    assert done.read_back["shutter"] == "shutter closed, light off"
    assert bench.light() == (False, False)
    # The required 50 ms are those of an idle machine; tests run beside others.
    assert done.written_ms < 500.0 and took_s < 1.0
    assert done.written_ms <= done.done_ms
    again = estop(path_of(lab), "still smoke")
    assert again.safe, "stopping twice is no error"
    assert status(path_of(lab)).latched.endswith("smoke")
    log = place_of(path_of(lab)) / "audit.jsonl"
    assert verify(log).lines > 5


def test_a_rack_is_armed_again_after_its_run_has_left(lab: SupervisedLab, bench: Bench) -> None:
    lab.command("shutter", "set_open", True)
    assert estop(path_of(lab), "smoke").safe
    lab.close()
    began = time.monotonic()
    # The supervisor lingers for questions, and ends as soon as it is not latched any more.
    assert rearm(path_of(lab), "no smoke", None).endswith("smoke")
    assert time.monotonic() - began < 5.0
    assert bench.light() == (False, False)


def test_a_second_controller_is_refused(lab: SupervisedLab) -> None:
    lab.acquire()
    other = SupervisedLab(path_of(lab))
    try:
        with pytest.raises(RequestError, match="holds the lease"):
            other.acquire()
        assert count(lab, 10) == 10
    finally:
        other._keeper = None
        other._closed = True
        other._client.close()


def test_another_rack_file_with_the_same_addresses_is_refused(
    lab: SupervisedLab, bench: Bench
) -> None:
    other = bench.rack("other")
    text = other.read_text().replace("tcp://127.0.0.1:", "tcp://localhost:")
    other.write_text(text)
    with pytest.raises(InputError, match=r"tagger at \S+ belongs to the running supervisor of \S+"):
        SupervisedLab(other)
    assert count(lab, 10) == 10
    lab.close()
    gone(path_of(lab))
    again = SupervisedLab(other)
    assert count(again, 10) == 10
    again.close()
    gone(other)


def test_a_link_that_the_rack_does_not_have(bench: Bench) -> None:
    with pytest.raises(InputError, match="link must be 0 to 0, got 1"):
        SupervisedLab(bench.rack("links"), link=1)


@pytest.mark.parametrize("lab", [{"more": "lease_s = 0.3"}], indirect=True)
def test_a_holder_that_freezes_loses_its_lease(lab: SupervisedLab, bench: Bench) -> None:
    """A half-open connection: it is there, and nothing comes any more."""
    token = lab.acquire()
    lab.command("shutter", "set_open", True)
    assert lab._keeper is not None
    lab._keeper.close()
    time.sleep(0.9)
    assert bench.light() == (False, False)
    at = endpoint_of(path_of(lab))
    with Client(at.commands, at.public, lab._key) as client:
        late = client.ask(Act(new_rid(), token, "shutter", "set_open", (True,)))
    assert isinstance(late, Refused) and "latched: bench was not heard for 0.3 s" in late.detail
    assert bench.light() == (False, False)


def test_an_instrument_that_hangs_does_not_keep_the_others(
    lab: SupervisedLab, bench: Bench
) -> None:
    lab.command("shutter", "set_open", True)
    os.kill(bench.tagger.pid, signal.SIGSTOP)
    try:
        done = estop(path_of(lab), "one instrument is silent")
        assert not done.safe
        assert done.read_back["shutter"] == "shutter closed, light off"
        assert "no" in done.read_back["tagger"]
        assert bench.light() == (False, False)
    finally:
        os.kill(bench.tagger.pid, signal.SIGCONT)


def fill_the_disk(lab: SupervisedLab) -> None:
    """Let the supervisor write no more into its log than stands there already, and a little."""
    size = (place_of(path_of(lab)) / "audit.jsonl").stat().st_size + 20
    at = endpoint_of(path_of(lab))
    resource.prlimit(at.supervisor, resource.RLIMIT_FSIZE, (size, size))


def test_a_lost_log_stops_the_rack(lab: SupervisedLab, bench: Bench) -> None:
    lab.command("shutter", "set_open", True)
    fill_the_disk(lab)
    refused(lab, "the audit log is lost", "shutter", "set_output", True)
    until = time.monotonic() + 60.0
    while bench.light() != (False, False):
        assert time.monotonic() < until
    assert "audit log is lost" in status(path_of(lab)).latched


@pytest.mark.parametrize("lab", [{"more": 'log_failure = "continue"'}], indirect=True)
def test_stubs_may_go_on_without_a_log(lab: SupervisedLab, bench: Bench) -> None:
    lab.acquire()
    fill_the_disk(lab)
    lab.command("shutter", "set_open", True)
    assert bench.light()[0] is True
    shown = status(path_of(lab))
    assert "audit log is lost" in shown.log and not shown.latched


def test_status_and_check_and_audit_by_command(lab: SupervisedLab) -> None:
    rack = str(path_of(lab))
    run = CliRunner()
    checked = run.invoke(lab_command, ["check", rack, "--json", "-"])
    assert checked.exit_code == 0, checked.output
    rows = msgspec.json.decode(checked.output)["instruments"]
    assert [row["name"] for row in rows] == ["tagger", "shutter"]
    assert all(row["ok"] and "STUB" in row["detail"] for row in rows)
    lab.acquire()
    shown = msgspec.json.decode(run.invoke(lab_command, ["status", rack, "--json", "-"]).output)
    assert (shown["running"], shown["holder"], shown["latched"]) == (True, "bench", "")
    stopped = run.invoke(lab_command, ["estop", rack, "--reason", "by hand", "--json", "-"])
    assert msgspec.json.decode(stopped.output)["safe"] is True
    assert run.invoke(lab_command, ["status", rack]).exit_code == 1
    assert run.invoke(lab_command, ["rearm", rack]).exit_code == 2, "without a reason"
    undone = run.invoke(lab_command, ["rearm", rack, "--reason", "all is well"])
    assert undone.exit_code == 0, undone.output
    assert run.invoke(lab_command, ["status", rack]).exit_code == 0
    audited = run.invoke(lab_command, ["audit", rack, "--json", "-"])
    assert msgspec.json.decode(audited.output)["lines"] > 5


def test_modes(bench: Bench) -> None:
    """Stubs cannot be armed; what is no stub cannot be used without a person."""
    rack = bench.rack("modes")
    with pytest.raises(InputError, match=r"tagger .* is a stub: mode armed takes instruments only"):
        SupervisedLab(rack, mode="armed")
    run = CliRunner()
    bare = run.invoke(lab_command, ["supervise", str(rack), "--mode", "armed"])
    assert "needs --key FILE" in str(bare.exception)
    other = new_key(bench.folder / "other.key")
    assert len(other.public) == 40
    wrong = run.invoke(
        lab_command,
        ["supervise", str(rack), "--mode", "armed", "--key", str(bench.folder / "other.key")],
    )
    assert "not in the rack file" in str(wrong.exception)
    real = bench.folder / "real.toml"
    real.write_text('[switches]\nidn = "IDQ,ID900,0042,1.0"\n')
    with StubProcess("id900", ["--scenario", str(real)]) as instrument:
        text = rack.read_text().replace(bench.tagger.address, instrument.address)
        rack.write_text(text)
        with pytest.raises(InputError, match="is no stub: a person has to arm it"):
            SupervisedLab(rack)


def test_shadow_reads_the_instrument_and_moves_the_stub(bench: Bench) -> None:
    rack = bench.rack("shadow")
    lab = SupervisedLab(rack, mode="shadow")
    try:
        lab.command("shutter", "set_open", True)
        assert lab.command("shutter", "is_open") is True, "as its stub says"
        assert bench.light()[0] is False, "the instrument was not touched"
        assert status(rack).shadowed["shutter"] >= 1, "and the difference was seen"
        log = (place_of(rack) / "audit.jsonl").read_text()
        assert '"event":"shadow"' in log and '"stub":"True","real":"False"' in log
    finally:
        lab.close()
        gone(rack)


def test_what_the_state_folder_is(bench: Bench) -> None:
    assert place_of(bench.folder / "x.toml").is_relative_to(state_home())
    assert np.isfinite(time.monotonic())


def test_armed_runs_is_stopped_and_is_armed_again_by_a_person(bench: Bench) -> None:
    """Stubs stand in the place of instruments: a switch of theirs gives them a serial number."""
    folder = bench.folder
    anna = new_key(folder / "anna.key")
    public = msgspec.json.encode(anna.public).decode()
    key = f'[[safety.key]]\nname = "anna"\nrole = "arm"\npublic = {public}\n'
    (folder / "tagger.toml").write_text('[switches]\nidn = "IDQ,ID900,0042,1.0"\n')
    (folder / "shutter.toml").write_text('[switches]\ndescription = "shutter 0043"\n')
    with (
        StubProcess("id900", ["--speed", "20", "--scenario", f"{folder}/tagger.toml"]) as tagger,
        StubProcess("pc_rpc", ["--scenario", f"{folder}/shutter.toml"]) as shutter,
    ):
        rack = Bench(tagger, shutter, folder).rack("armed", more=key)
        light = Bench(tagger, shutter, folder).light
        launched = Launched(rack, "armed")
        lab = SupervisedLab(rack)
        try:
            lab.command("shutter", "set_open", True)
            assert light()[0] is True
            program = Program((Generate(0, (1.0, 0.0, 0.0, 0.0)), Measure(0, "zz", 30)))
            ((_, batch),) = stack([program])
            outcome = lab.run(batch, plan_of([program]), generator(1, "armed"))
            assert (int(outcome.counts.sum()), outcome.source) == (30, "real")
            with pytest.raises(RequestError, match="limits power_dbm to -60 to 3"):
                lab.command("shutter", "set_power_dbm", 9.0)
            done = estop(rack, "something smells", folder / "anna.key")
            assert done.safe and set(done.each_ms) == {"tagger", "shutter"}
            assert light() == (False, False)
            with pytest.raises(RequestError, match="latched: emergency stop by anna"):
                lab.command("shutter", "set_open", True)
            with pytest.raises(RequestError, match="rearm needs role arm, this key has operate"):
                rearm(rack, "by nobody in particular", None)
            rearm(rack, "it was the coffee", folder / "anna.key")
            assert light() == (False, False), "armed again, and nothing resumes by itself"
            lab.close()
            lab = SupervisedLab(rack)
            lab.command("shutter", "set_open", True)
            assert light()[0] is True
            assert count(lab, 10) == 10
        finally:
            lab.close()
            launched.close()
            gone(rack)
        log = (place_of(rack) / "audit.jsonl").read_text()
        assert "it was the coffee" in log and '"source":"real"' in log
