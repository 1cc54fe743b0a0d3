"""The doctor finds what is wrong, and says so in its exit code and in JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from quantum.commands import doctor
from quantum.commands.doctor import Check, command, probe, satisfies


def one(findings: Any) -> Check:
    (finding,) = findings
    assert isinstance(finding, Check)
    return finding


def test_this_environment_is_sound() -> None:
    done = CliRunner().invoke(command, ["--json", "-"])
    answer = json.loads(done.stdout)
    broken = [check for check in answer["checks"] if check["status"] == "fail"]
    assert (broken, answer["ok"], done.exit_code) == ([], True, 0)
    names = [check["name"] for check in answer["checks"]]
    assert len(set(names)) == len(names)
    assert {"python", "packages", "extra learn", "extra aer", "import names", "curve"} <= set(names)


def test_a_failed_check_is_exit_code_1_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Check("rope", "fail", "the rope [is] cut", "tie it")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([bad]), lambda: iter([])))
    done = CliRunner().invoke(command)
    assert done.exit_code == 1
    assert "the rope [is] cut" in done.stdout
    assert "-> tie it" in done.stdout
    assert "1 checks, 1 failed, 0 warned" in done.stdout


def test_a_warning_is_exit_code_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Check("rope", "warn", "thin")]),))
    done = CliRunner().invoke(command, ["--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["ok"] is True


def test_another_controller_on_the_path_is_named(tmp_path: Path) -> None:
    # As Webots does it: a package or module 'controller' on PYTHONPATH.
    (tmp_path / "controller.py").write_text("")
    code = "from quantum.commands.doctor import check_names\nprint(*check_names())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "status='fail'" in done.stdout
    assert f"'controller' leads to {tmp_path}/controller.py" in done.stdout


def test_a_name_that_two_distributions_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"quantum": ["dpem", "neutron"]})
    finding = one(doctor.check_names())
    assert finding.status == "fail"
    assert "'quantum' also belongs to neutron" in finding.detail


@pytest.mark.parametrize(
    ("needs", "name", "status", "text"),
    [
        (["no-such-thing>=1"], "packages", "fail", "no-such-thing is missing"),
        (["numpy>=999"], "packages", "fail", "wanted >=999"),
        (["numpy>=2,<999"], "packages", "ok", "numpy "),
        (["numpy==1.0; extra == 'fast'"], "extra fast", "warn", "wanted ==1.0"),
    ],
)
def test_packages_are_judged_by_their_metadata(
    monkeypatch: pytest.MonkeyPatch, needs: list[str], name: str, status: str, text: str
) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: needs)
    found = {check.name: check for check in doctor.check_packages()}
    assert found[name].status == status
    assert text in found[name].detail
    assert bool(found[name].advice) == (status != "ok")


@pytest.mark.parametrize(
    ("has", "wish", "good"),
    [
        ("2.10.0", ">=2.9", True),
        ("2.9", ">=2.10", False),
        ("3.0.0", "<3", False),
        ("2.9.9", "<3", True),
        ("1.0+cpu", "==1.0.0", True),
        ("1.0.1", "==1.0", False),
        ("0.18.2", "!=0.18.2", False),
        ("1.2", ">1.1,<=1.2", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_as_numbers(has: str, wish: str, good: bool) -> None:
    assert satisfies(has, wish) is good


def test_a_cache_that_cannot_be_written_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert one(doctor.check_cache()).status == "fail"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "cache"))
    assert one(doctor.check_cache()).status == "ok"


def test_more_threads_than_cores_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    finding = one(doctor.check_cpu())
    assert finding.status == "warn"
    assert "OMP_NUM_THREADS" in finding.advice


@pytest.mark.parametrize("folder", ["empty", "poisoned"])
def test_a_probe_reports_the_last_line_of_its_error(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder == "poisoned":
        # A file in the current folder must not pose as a module.
        (tmp_path / "json.py").write_text("raise RuntimeError('taken over')")
    monkeypatch.chdir(tmp_path)
    bad = one(probe("x", "warn", "import json\nassert False, 'no luck'", "buy luck"))
    assert bad == Check("x", "warn", "AssertionError: no luck", "buy luck")
    assert one(probe("x", "fail", "print('fine')", "")) == Check("x", "ok", "fine")


def test_netqasm_is_tried_and_its_patent_is_told() -> None:
    finding = one(doctor.check_netqasm())
    assert (finding.status, finding.advice) == ("ok", "")
    assert "teleports" in finding.detail
    assert "NL 2029673" in finding.detail


def test_a_netqasm_that_is_not_known_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "2.4.1")
    monkeypatch.setattr(doctor, "probe", None)
    finding = one(doctor.check_netqasm())
    assert (finding.status, finding.detail) == ("warn", "netqasm is 2.4.1, wanted >=2.3,<2.4")


def test_a_missing_netqasm_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    finding = one(doctor.check_netqasm())
    assert (finding.status, finding.detail) == ("warn", "netqasm is missing")
    assert "squidasm" in finding.advice


def test_a_netqasm_that_does_not_work_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PROBE_NETQASM", "raise RuntimeError('no qubit arrived')")
    finding = one(doctor.check_netqasm())
    assert finding.status == "warn"
    assert "no qubit arrived" in finding.detail
