"""The driver kit passes our drivers of all seven ids, and catches each that is broken."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from wrong_drivers import WRONG

from backends.commands.driver import command
from backends.drivers.conformance import Subject, check_driver
from backends.drivers.conformance.generic import ACTING, READING, TROUBLING
from backends.drivers.conformance.special import SPECIAL
from backends.rack import StubProcess, driver_of
from backends.rack_trouble import StubTrouble

KINDS = ("id900", "polatis", "websq", "apt", "epc", "pc_rpc", "scpi")
SubjectOf = Callable[[type | str, str], Subject]


@pytest.fixture(scope="module")
def subject_of() -> Iterator[SubjectOf]:
    """Open subjects on stubs, one process a kind."""
    stubs: dict[str, StubProcess] = {}

    def make(driver: Any, kind: str) -> Subject:
        if kind not in stubs:
            stubs[kind] = StubProcess(kind, ["--speed", "50"] if kind == "apt" else [])
        stub = stubs[kind]
        opened = driver_of(driver) if isinstance(driver, str) else driver
        trouble = StubTrouble(kind, stub.control)
        trouble.power_cycle()
        return Subject(opened, stub.address, acts=True, trouble=trouble)

    yield make
    for stub in stubs.values():
        stub.close()


#: Those that take the longest are checked by `make test-long`.
_LONG = ("polatis", "websq", "apt", "pc_rpc")


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.long if k in _LONG else ()) for k in KINDS]
)
def test_our_drivers_pass(subject_of: SubjectOf, kind: str) -> None:
    findings = check_driver(subject_of(kind, kind))
    assert [f"{f.check}: {f.detail}" for f in findings if not f.passed] == []
    # Nothing was left out on a stub.
    assert [f.check for f in findings if f.skipped] == []
    assert len(findings) >= len(READING) + len(ACTING) + len(TROUBLING) + 1


@pytest.mark.parametrize(
    ("driver", "kind", "check"), WRONG, ids=lambda x: getattr(x, "__name__", x)
)
def test_broken_drivers_are_caught(
    subject_of: SubjectOf, driver: type, kind: str, check: str
) -> None:
    (finding,) = check_driver(subject_of(driver, kind), only={check})
    assert finding.verdict == "failed", finding


def test_every_check_has_a_driver_that_it_catches() -> None:
    special = [check for checks in SPECIAL.values() for check in checks]
    names = {name for name, _ in (*READING, *ACTING, *TROUBLING, *special)}
    assert names == {check for _, _, check in WRONG}


def test_an_instrument_is_only_asked(subject_of: SubjectOf) -> None:
    """Without permission to act nothing is switched: the sent messages are questions."""
    subject = subject_of("scpi", "scpi")
    subject.acts = False
    with subject.heard() as listener:
        findings = check_driver(subject)
    assert all(finding.passed for finding in findings)
    assert {f.check for f in findings if f.skipped} >= {name for name, _ in (*ACTING, *TROUBLING)}
    assert listener.sent > 0


def test_the_command_reports(subject_of: SubjectOf, tmp_path: Path) -> None:
    address = subject_of("polatis", "polatis").address
    path = tmp_path / "report.json"
    done = CliRunner().invoke(command, ["polatis", "--address", address, "--json", str(path)])
    assert done.exit_code == 0, done.output
    report = json.loads(path.read_text())
    assert report["ok"]
    verdicts = {row["name"]: row["verdict"] for row in report["checks"]}
    # It says that it is a stub, so it may be acted on; without its control address it cannot be
    # told to misbehave.
    assert verdicts["what is set is read back"] == "ok"
    assert verdicts["garbage is survived"] == "skipped"
    assert "only a stub" in done.output
