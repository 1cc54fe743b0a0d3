"""Runs the checks that fit a driver, one after the other, each on connections of its own."""

from collections.abc import Callable

from backends.drivers.conformance.capability import capabilities_of
from backends.drivers.conformance.findings import Finding, Skip
from backends.drivers.conformance.generic import ACTING, READING, TROUBLING
from backends.drivers.conformance.special import SPECIAL, pair_tester
from backends.drivers.conformance.subject import Subject
from quantum.errors import DpemError

__all__ = ["check_driver"]

_NOT_ALLOWED = "it switches, moves or biases something: allow actions"


def check_driver(subject: Subject) -> list[Finding]:
    """Check a driver; nothing is raised for a bad one.

    Without ``subject.acts`` only questions are asked. An instrument that acts are allowed on is
    left in its safe state.
    """
    findings = [_checked(name, check, subject) for name, check in READING]
    if not findings[0].passed:
        return findings
    for name, check in ACTING:
        findings.append(_checked(name, check, subject, _acts(subject)))
    for name, check in TROUBLING:
        findings.append(_checked(name, check, subject, _acts(subject)))
    with subject.opened() as driver:
        names = [one.name for one in capabilities_of(driver)]
    for name in names:
        for title, check in SPECIAL.get(name, ()):
            findings.append(_checked(title, check, subject, _acts(subject)))
    if "pair tester" in names and subject.acts:
        findings += [_checked(title, check, subject) for title, check in pair_tester(subject)]
    elif "pair tester" in names:
        findings.append(Finding("counts of a pair tester", skipped=_NOT_ALLOWED))
    if subject.acts:
        findings.append(_checked("is left in its safe state", _leave_safe, subject))
    return findings


def _acts(subject: Subject) -> str:
    return "" if subject.acts else _NOT_ALLOWED


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
