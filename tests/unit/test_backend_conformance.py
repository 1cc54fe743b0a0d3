"""The conformance kit passes right backends and catches each kind of wrong one."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import wrong_backends as wrong
from click.testing import CliRunner

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend
from backends.commands import conformance as commands
from backends.conformance import check_backend, check_isolated
from backends.conformance.kit import names
from backends.conformance.refusals import BAD_INPUT
from backends.conformance.registers import REGISTERS
from backends.conformance.systems import PAIRS
from quantum.batch import check_batch
from quantum.errors import InputError
from quantum.seeding import generator

SYSTEMS = (*PAIRS, *REGISTERS)


def failed(backend):
    return {check.name for check in check_backend(backend) if not check.ok}


@pytest.mark.parametrize(
    "opened", [AnalyticBackend, lambda: AerBackend("direct"), lambda: AerBackend("public")]
)
def test_our_backends_keep_the_contract(opened):
    assert failed(opened()) == set()


def test_our_backends_refuse_nothing():
    assert {check.verdict for check in check_backend(AnalyticBackend())} == {"ok"}


def test_checks_have_distinct_names():
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_systems_have_proper_answers(system):
    assert check_batch(system.batch) is system.batch
    assert system.populations.shape == (len(system.batch), 2**system.batch.qubits)
    assert system.success.shape == (len(system.batch),)
    assert np.all(system.populations >= -1e-12)


def test_every_kind_of_step_has_a_system():
    seen = {kind for system in SYSTEMS for kind, _, _ in system.batch.skeleton}
    pairs = {"generate", "load", "wait", "swap", "dejmps", "bbpssw", "epl"}
    assert seen == {*pairs, "merge_first", "merge_last"}


@pytest.mark.parametrize("opened", [wrong.HidesTruth, wrong.Hardware])
def test_right_backends_without_truth_pass(opened):
    assert failed(opened()) == set()


def test_what_a_backend_cannot_do_it_may_refuse():
    checks = {check.name: check for check in check_backend(wrong.PairsOnly())}
    assert all(check.ok for check in checks.values())
    assert checks["system ghz of 3"].verdict == "refused"
    assert checks["system ghz of 3"].detail == "UNSUPP: only chains: allowed"
    assert checks["random stabilizers are uniform"].verdict == "refused"
    assert checks["system chain of 5"].verdict == "ok"
    parities = {check.name: check for check in check_backend(wrong.ParitiesOnly())}
    assert all(check.ok for check in parities.values())
    assert parities["both results at angles"].verdict == "refused"
    hardware = {check.name: check.verdict for check in check_backend(wrong.Hardware())}
    assert hardware["keep counts nothing"] == "refused"


@pytest.mark.parametrize(
    ("name", "caught"),
    [
        ("TooGood", "system fresh pair"),
        ("QuietlyTooGood", "system fresh pair"),
        ("IgnoresGenerator", "same generator, same counts"),
        ("OwnGenerator", "same generator, same counts"),
        ("IgnoresDraws", "draws decide single shots"),
        ("ReturnsNan", "system fresh pair"),
        ("WrongShape", "system fresh pair"),
        ("FloatCounts", "system fresh pair"),
        ("LosesShots", "system fresh pair"),
        ("WrongBasis", "counts land in their basis"),
        ("PlainYy", "bell states by basis"),
        ("SkewedBases", "random bases are uniform"),
        ("CountsKept", "keep counts nothing"),
        ("WrongOrder", "order of the batch"),
        ("NoSwapNoise", "system chain of 2"),
        ("ForgetsHeralds", "system dejmps, noisy"),
        ("OneT2", "system decay by both"),
        ("Throws", "a batch of none"),
        ("ClosesOnce", "close twice"),
        ("KeepsNothing", "keep counts nothing"),
        ("Nameless", "has a name"),
        ("WrongBellState", "system fresh pair"),
        ("WrongBellState", "bell states by basis"),
        ("IgnoresAttempts", "system decay by attempts"),
        ("LoadsDiagonals", "system loaded pair relaxes"),
        ("LoadsDiagonals", "system loaded pairs, epl of single clicks"),
        ("TakesBothHeralds", "system epl, ideal"),
        ("MergesWithoutCorrection", "system ghz of 3, ideal"),
        ("MergesAtTheWrongEnd", "system ghz of 5, a star"),
        ("TestsInEveryBasis", "one outcome for each shot"),
        ("RoundsSingleShots", "one outcome for each shot"),
        ("CachesNoise", "parts of a batch"),
        ("TrustsEverybody", "refuses T2 > 2 T1"),
        ("RefusesLate", "system ghz of 3, ideal"),
        ("RefusesInItsOwnWay", "system ghz of 3, ideal"),
        ("RefusesAll", "system fresh pair"),
        ("SwapsEnds", "both results at angles"),
        ("IgnoresAngles", "both results at angles"),
        ("ExchangesAngles", "both results at angles"),
    ],
)
def test_each_wrong_backend_is_caught(name, caught):
    assert caught in failed(getattr(wrong, name)())


def test_a_wrong_backend_is_caught_for_its_own_fault_only():
    fresh = {"system fresh pair", "system decay by both"}
    assert failed(wrong.NoSwapNoise()) & fresh == set()
    assert failed(wrong.IgnoresDraws()) == {
        "draws decide single shots",
        "parts of a batch",
        "refuses a draw of 1",
        "refuses a negative draw",
    }
    assert failed(wrong.KeepsNothing()) == {"keep counts nothing"}
    assert failed(wrong.RoundsSingleShots()) == {
        "one outcome for each shot",
        "draws decide single shots",
    }
    assert failed(wrong.CachesNoise()) >= {"parts of a batch"}


def test_who_trusts_everybody_is_told_of_all_that_is_wrong():
    bad = {f"refuses {name}" for name, _, _ in BAD_INPUT}
    assert failed(wrong.TrustsEverybody()) == bad


@pytest.mark.parametrize(("batch", "plan"), [row[1:] for row in BAD_INPUT], ids=lambda _: "")
def test_a_refusal_names_the_field(batch, plan):
    with pytest.raises(InputError, match=r"^(batch\.|memory\.|swap\.|plan\.|steps\[|a program )"):
        AnalyticBackend().run(batch, plan, generator(0, "unused"))


# -- in a process of its own -----------------------------------------------------------------------


def verdicts(checks):
    return {check.name: check.verdict for check in checks}


@pytest.mark.parametrize("name", ["HangsInPython", "HangsAsleep", "HangsInC"])
def test_a_backend_that_hangs_is_caught_by_name(name):
    checks = check_isolated(getattr(wrong, name), deadline_s=1.0)
    seen = verdicts(checks)
    assert [check.name for check in checks] == ["opens", *names()]
    assert list(seen.values())[:3] == ["ok", "ok", "failed"]
    assert set(list(seen.values())[3:]) == {"not checked"}
    assert checks[2].name == "system fresh pair"
    assert checks[2].detail == "no answer within 1 s"
    assert checks[3].detail == "stopped at: system fresh pair"


def test_what_was_seen_before_a_hang_is_told():
    seen = verdicts(check_isolated(wrong.HangsLater, deadline_s=2.0))
    assert seen["system decay by both"] == seen["system chain of 1"] == "ok"
    assert seen["system chain of 2"] == "failed"
    assert seen["close twice"] == "not checked"


def test_opening_has_a_deadline_too(monkeypatch):
    monkeypatch.setattr("backends.conformance.isolated._OPENING_S", 0.0)
    checks = check_isolated(wrong.HangsOpening, deadline_s=0.5)
    assert (checks[0].name, checks[0].verdict) == ("opens", "failed")
    assert {check.verdict for check in checks[1:]} == {"not checked"}


@pytest.mark.parametrize(
    ("name", "said"), [("Crashes", "exit code -6"), ("LeavesQuietly", "exit code 0")]
)
def test_a_backend_that_ends_its_process_is_caught(name, said):
    checks = check_isolated(getattr(wrong, name), deadline_s=30.0)
    assert checks[2].verdict == "failed"
    assert said in checks[2].detail
    assert checks[-1].verdict == "not checked"


def test_a_backend_that_does_not_open_is_told():
    checks = check_isolated(wrong.CannotOpen, deadline_s=30.0)
    assert checks[0].detail == "raised OSError: no such instrument"
    assert {check.verdict for check in checks[1:]} == {"not checked"}


def test_what_a_hung_backend_has_started_ends_with_it(tmp_path):
    path = tmp_path / "helper"
    check_isolated(partial(wrong.HangsWithChild, str(path)), deadline_s=0.5)
    state = Path(f"/proc/{path.read_text()}/stat")
    for _ in range(100):
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the helper is still there")


def test_a_backend_that_talks_does_not_talk_into_the_result(capfd):
    assert all(check.ok for check in check_isolated(wrong.Talks, deadline_s=30.0))
    heard = capfd.readouterr()
    assert heard.out == ""
    assert "noise" in heard.err


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_is_a_time(deadline_s):
    with pytest.raises(InputError, match="deadline_s"):
        check_isolated(wrong.Talks, deadline_s)


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install two wrong backends as a package would: by entry points."""
    info = tmp_path / "wrong_backends-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong_backends\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[dpem.backends]\nhangs = wrong_backends:HangsLater\nnan = wrong_backends:ReturnsNan\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_command_prints_a_table_and_json(tmp_path):
    path = tmp_path / "checks.json"
    done = CliRunner().invoke(commands.command, ["backend", "analytic", "--json", str(path)])
    assert done.exit_code == 0
    assert "chain of 5" in done.output
    report = msgspec.json.decode(path.read_bytes())
    assert report["ok"] is True
    assert [check["name"] for check in report["checks"]] == ["opens", *names()]
    assert {"name", "ok", "verdict", "detail"} == set(report["checks"][0])


def test_the_command_fails_where_a_check_fails(installed):
    done = CliRunner().invoke(commands.command, ["backend", "nan", "--json", "-"])
    assert done.exit_code == 1
    report = msgspec.json.decode(done.output)
    assert report["ok"] is False
    assert "finite" in report["checks"][2]["detail"]


def test_the_command_ends_where_a_backend_hangs(installed):
    paths = [str(installed), str(Path(wrong.__file__).parent)]
    done = subprocess.run(
        [
            *[sys.executable, "-c", "from quantum.cli import main; main()"],
            *["conformance", "backend", "hangs", "--deadline-s", "2"],
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    assert "no answer within 2 s" in done.stdout
    assert done.stdout.count("not checked") > 50
    assert done.stderr == ""


def test_an_unknown_backend_is_named():
    done = CliRunner().invoke(commands.command, ["backend", "nope"])
    assert isinstance(done.exception, InputError)
    assert "known: aer, analytic" in str(done.exception)


def test_kits_of_drivers_appear_only_where_installed(monkeypatch):
    monkeypatch.setattr(commands, "_DRIVERS", "backends.no_such.conformance")
    assert commands.command.list_commands(None) == ["backend"]
    assert CliRunner().invoke(commands.command, ["driver", "x"]).exit_code == 2
