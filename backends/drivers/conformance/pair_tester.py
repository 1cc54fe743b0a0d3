"""Checks of a pair tester: what it counts is fresh, possible, and of the basis that was asked.

Give :func:`check_pair_tester` a function that opens the driver, on a stub or on the instrument
itself. The light should be on: some checks need counts. Each check answers with a finding, so that
one failure does not hide the next.
"""

import math
import time
from collections.abc import Callable

from backends.drivers.capabilities import Coincidences, PairTester
from backends.drivers.conformance.findings import Finding
from quantum.errors import DeviceError, DpemError, InputError

__all__ = ["check_pair_tester"]

_WINDOWS = 3


def check_pair_tester(
    open_driver: Callable[[], PairTester], *, integration_s: float = 0.02
) -> list[Finding]:
    """Run all checks on one connection and close it; nothing is raised for a bad driver.

    The instrument is left in its safe state.
    """
    driver = open_driver()
    checks: list[tuple[str, Callable[[], str]]] = [
        ("is a pair tester", lambda: "" if isinstance(driver, PairTester) else "methods missing"),
        ("identity is stable", lambda: _stable(driver)),
        ("counting needs a basis first", lambda: _needs_basis(driver, integration_s)),
        ("configures twice", lambda: _configures(driver, integration_s)),
        ("refuses impossible windows", lambda: _refuses_windows(driver)),
        ("refuses unknown bases", lambda: _refuses_basis(driver)),
        ("windows are fresh and possible", lambda: _fresh(driver, integration_s)),
        ("bases are told apart", lambda: _bases(driver, integration_s)),
        ("safe state ends counting", lambda: _safe(driver, integration_s)),
        ("closes twice and stays closed", lambda: _closes(driver)),
    ]
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, check()))
        except DpemError as wrong:
            findings.append(Finding(name, f"{type(wrong).__name__}: {wrong}"))
    return findings


def _stable(driver: PairTester) -> str:
    first, second = driver.identify(), driver.identify()
    driver.ping()
    return "" if first == second else f"two answers: {first} and {second}"


def _needs_basis(driver: PairTester, integration_s: float) -> str:
    try:
        driver.coincidences(integration_s)
    except DeviceError:
        return ""
    return "counted before a basis was set"


def _configures(driver: PairTester, integration_s: float) -> str:
    driver.configure(integration_s)
    driver.configure(integration_s)
    return ""


def _refuses_windows(driver: PairTester) -> str:
    driver.set_basis("zz")
    for value in (0.0, -1.0, math.nan, math.inf):
        try:
            driver.coincidences(value)
        except (DeviceError, InputError):
            continue
        return f"accepted an integration of {value} s"
    return ""


def _refuses_basis(driver: PairTester) -> str:
    for basis in ("", "xy", "ZZZ"):
        try:
            driver.set_basis(basis)
        except (DeviceError, InputError):
            continue
        return f"accepted basis {basis!r}"
    return ""


def _fresh(driver: PairTester, integration_s: float) -> str:
    driver.set_basis("zz")
    seen: list[Coincidences] = []
    for _ in range(_WINDOWS):
        asked = time.monotonic()
        window = driver.coincidences(integration_s)
        answered = time.monotonic()
        if not asked <= window.not_before_s <= window.not_after_s <= answered:
            return "the window is dated outside the call that counted it"
        if window.not_after_s - window.not_before_s < integration_s:
            return f"a window of {integration_s:g} s took less time than that"
        if min(min(row) for row in window.pairs) < 0 or min(window.singles) < 0:
            return "negative counts"
        seen.append(window)
    if all((w.pairs, w.singles) == (seen[0].pairs, seen[0].singles) for w in seen):
        return f"{_WINDOWS} windows are equal in every count: frozen, or no light"
    return ""


def _bases(driver: PairTester, integration_s: float) -> str:
    """Compare ZZ with YY: for phi_plus one is mostly even, the other mostly odd."""
    shares = {}
    for basis in ("zz", "yy", "xx"):
        driver.set_basis(basis)
        windows = [driver.coincidences(integration_s) for _ in range(_WINDOWS)]
        even, odd = sum(w.even for w in windows), sum(w.odd for w in windows)
        if even + odd == 0:
            return f"no coincidence in basis {basis}"
        shares[basis] = even / (even + odd)
    if shares["yy"] > 0.5 or shares["zz"] < 0.5 or shares["xx"] < 0.5:
        return "even shares are not those of phi_plus: " + ", ".join(
            f"{basis} {share:.2f}" for basis, share in shares.items()
        )
    return ""


def _safe(driver: PairTester, integration_s: float) -> str:
    driver.safe_state()
    try:
        driver.coincidences(integration_s)
    except DeviceError:
        return ""
    return "still counts after safe_state()"


def _closes(driver: PairTester) -> str:
    driver.close()
    driver.close()
    try:
        driver.ping()
    except DeviceError:
        return ""
    return "answers after close()"
