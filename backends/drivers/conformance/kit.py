"""Runs the checks that fit a driver, one after the other, each on connections of its own."""

from collections.abc import Callable, Collection, Iterable

from backends.drivers.conformance.capability import capabilities_of
from backends.drivers.conformance.findings import Finding, Skip
from backends.drivers.conformance.generic import ACTING, READING, TROUBLING, Check
from backends.drivers.conformance.special import SPECIAL, pair_tester
from backends.drivers.conformance.subject import Subject
from quantum.errors import DpemError

__all__ = ["check_driver"]

_NOT_ALLOWED = "it switches, moves or biases something: allow actions"


def check_driver(subject: Subject, only: Collection[str] | None = None) -> list[Finding]:
    """Check a driver; nothing is raised for a bad one.

    Without ``subject.acts`` only questions are asked. An instrument that acts are allowed on is
    left in its safe state. ``only`` names the checks to make; all of them where it is None.
    """

    def run(checks: Iterable[Check], reason: str = "") -> list[Finding]:
        asked = [(name, check) for name, check in checks if only is None or name in only]
        return [_checked(name, check, subject, reason) for name, check in asked]

    reason = "" if subject.acts else _NOT_ALLOWED
    findings = run(READING)
    if findings and not findings[0].passed:
        return findings
    findings += run(ACTING, reason) + run(TROUBLING, reason)
    try:
        with subject.opened() as driver:
            names = [one.name for one in capabilities_of(driver)]
    except DpemError as wrong:
        return [*findings, Finding("opens again", f"{type(wrong).__name__}: {wrong}")]
    for name in names:
        findings += run(SPECIAL.get(name, ()), reason)
    if "pair tester" in names and only is None:
        findings += run(pair_tester(subject)) if subject.acts else run(_COUNTS, reason)
    if subject.acts:
        findings += run((("is left in its safe state", _leave_safe),))
    return findings


def _checked(
    name: str, check: Callable[[Subject], str], subject: Subject, reason: str = ""
) -> Finding:
    if reason:
        return Finding(name, skipped=reason)
    try:
        return Finding(name, check(subject))
    except Skip as why:
        return Finding(name, skipped=str(why))
    except DpemError as wrong:
        return Finding(name, f"{type(wrong).__name__}: {wrong}")
    except Exception as wrong:  # noqa: BLE001
        # A third party's driver may raise anything: that is a finding too.
        return Finding(name, f"raised {type(wrong).__name__}: {wrong}")


def _leave_safe(subject: Subject) -> str:
    with subject.opened() as driver:
        driver.safe_state()
    return ""


_COUNTS: tuple[Check, ...] = (("pair tester: counts are fresh and possible", _leave_safe),)
