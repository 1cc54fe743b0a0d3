"""Checks that every driver must pass, whatever its instrument does."""

import threading
import time
from collections.abc import Callable
from typing import Any

from backends.drivers.capabilities import Instrument
from backends.drivers.conformance.capability import capabilities_of
from backends.drivers.conformance.findings import Skip
from backends.drivers.conformance.subject import Subject, Trouble
from quantum.errors import DeviceError, InputError

__all__ = ["ACTING", "READING", "TROUBLING", "Check"]

_SHORT_S = 0.3
#: A driver may ask more than once, or open anew, before it gives up.
_GIVES_UP_S = 10.0 * _SHORT_S
_PROMPT_S = 1.0
_BACK_S = 3.0


def is_instrument(subject: Subject) -> str:
    """A driver has identify, ping, safe_state and close, and at least one capability."""
    with subject.opened() as driver:
        if not isinstance(driver, Instrument):
            return "identify, ping, safe_state or close is missing"
        if not capabilities_of(driver):
            return "it has none of the capabilities"
    return ""


def identity_stable(subject: Subject) -> str:
    """Two questions on one connection and one on another give the same identity."""
    with subject.opened() as driver:
        seen = [driver.identify(), driver.identify()]
        driver.ping()
    with subject.opened() as driver:
        seen.append(driver.identify())
    return "" if seen.count(seen[0]) == len(seen) else f"different answers: {seen}"


def reads_twice(subject: Subject) -> str:
    """Two readings with nothing between them are equal."""
    with subject.opened() as driver:
        for one in capabilities_of(driver):
            first, second = one.read(driver), one.read(driver)
            if not one.close_to(first, second):
                return f"{one.name}: {first}, then {second}"
    return ""


def closes_twice(subject: Subject) -> str:
    """A driver may be closed twice, and does nothing any more."""
    driver = subject.open()
    driver.close()
    driver.close()
    try:
        driver.ping()
    except DeviceError:
        return ""
    return "ping() answers after close()"


def refuses_limits(subject: Subject) -> str:
    """What no instrument may do is refused before a byte is sent."""
    with subject.heard() as listener, subject.opened() as driver:
        for one in capabilities_of(driver):
            for name, act in one.beyond(driver, subject):
                before = listener.sent
                try:
                    act()
                except (DeviceError, InputError):
                    if listener.sent > before:
                        return f"{name} was refused after {listener.sent - before} messages"
                    continue
                return f"{name} was accepted"
    return ""


def acts_and_reads_back(subject: Subject) -> str:
    """What is set is read, also by a connection of its own."""
    with subject.opened() as driver:
        for one in capabilities_of(driver):
            wanted = one.change(driver, subject)
            seen = one.read(driver)
            if wanted is not None and not one.close_to(wanted, seen):
                return f"{one.name}: {wanted} was set, {seen} is read"
            driver.safe_state()
    return ""


def safe_state(subject: Subject) -> str:
    """The safe state is reached from an unsafe one, can be asked for twice, and is read back."""
    with subject.opened() as driver:
        for one in capabilities_of(driver):
            one.change(driver, subject)
        driver.safe_state()
        driver.safe_state()
        for one in capabilities_of(driver):
            unsafe = one.unsafe(driver)
            if unsafe:
                return f"after safe_state() {unsafe}"
    return ""


def two_clients(subject: Subject) -> str:
    """A second client is kept out, or works beside the first; neither hears the other's answers."""
    with subject.opened(_PROMPT_S) as first:
        known = first.identify()
        try:
            with subject.opened(_PROMPT_S) as second:
                wrong: list[str] = []
                threads = [
                    threading.Thread(target=_ask_often, args=(driver, known, wrong))
                    for driver in (first, second)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                if wrong:
                    return wrong[0]
        except DeviceError:
            pass
        if first.identify() != known:
            return "the first client gets another answer than before"
    return ""


def _ask_often(driver: Any, known: object, wrong: list[str]) -> None:
    try:
        for _ in range(5):
            seen = driver.identify()
            if seen != known:
                wrong.append(f"a client got {seen} instead of {known}")
    except DeviceError:
        # Kept out: that is allowed.
        return


def timeouts(subject: Subject) -> str:
    """An instrument that says nothing is given up in time."""
    with subject.opened(_SHORT_S) as driver:
        driver.identify()
        trouble = _trouble(subject)
        trouble.silence()
        try:
            began = time.monotonic()
            try:
                driver.identify()
            except DeviceError:
                took = time.monotonic() - began
                return "" if took <= _GIVES_UP_S else f"it waited {took:.1f} s for {_SHORT_S} s"
            return "it answers while the instrument is silent"
        finally:
            trouble.heal()


def cancelled(subject: Subject) -> str:
    """close() from another thread ends a read that waits, which raises DeviceError."""
    trouble = _trouble(subject)
    driver = subject.open(60.0)
    ended: list[BaseException | None] = []

    def wait() -> None:
        try:
            driver.identify()
        except BaseException as wrong:  # noqa: BLE001
            ended.append(wrong)
        else:
            ended.append(None)

    thread = threading.Thread(target=wait, daemon=True)
    try:
        driver.identify()
        trouble.silence()
        thread.start()
        time.sleep(0.2)
        closer = threading.Thread(target=driver.close, daemon=True)
        closer.start()
        closer.join(_PROMPT_S)
        if closer.is_alive():
            return f"close() does not return within {_PROMPT_S:g} s while a read waits"
        thread.join(_PROMPT_S)
        if thread.is_alive():
            return f"the read still waits {_PROMPT_S:g} s after close()"
        if not isinstance(ended[0], DeviceError):
            return f"the read ended with {ended[0]!r} instead of a DeviceError"
        return ""
    finally:
        trouble.heal()
        thread.join(_PROMPT_S)


def garbage(subject: Subject) -> str:
    """Bytes that are no answer are an error or are passed over; then all is as before."""
    with subject.opened(_SHORT_S) as driver:
        known = driver.identify()
        trouble = _trouble(subject)
        trouble.garbage()
        try:
            seen = driver.identify()
            if seen != known:
                return f"garbage was taken for {seen}"
        except DeviceError:
            pass
        finally:
            trouble.heal()
        return _well_again(driver, known)


def late_answers(subject: Subject) -> str:
    """An answer that comes too late is never taken for the answer to a later question."""
    with subject.opened(_SHORT_S) as driver:
        known = driver.identify()
        before = [(one, one.read(driver)) for one in capabilities_of(driver)]
        trouble = _trouble(subject)
        trouble.late(2.0 * _SHORT_S)
        seen = _or_error(lambda d: d.identify(), driver)
        if not isinstance(seen, DeviceError) and seen != known:
            return f"{seen} came instead of {known}"
        until = time.monotonic() + 3.0 * _SHORT_S
        try:
            while time.monotonic() < until:
                for one, was in before:
                    try:
                        seen = one.read(driver)
                    except DeviceError:
                        continue
                    if not one.close_to(was, seen):
                        return f"{one.name}: {was} before the late answer, {seen} after it"
                time.sleep(0.05)
        finally:
            trouble.heal()
        return _well_again(driver, known)


def comes_back(subject: Subject) -> str:
    """After a restart of the instrument the same driver works again, by itself."""
    with subject.opened(_SHORT_S) as driver:
        known = driver.identify()
        _trouble(subject).power_cycle()
        return _well_again(driver, known)


def power_cycle(subject: Subject) -> str:
    """After a restart nothing of before is believed: it is read anew, or an error."""
    trouble = _trouble(subject)
    with subject.opened() as driver:
        known = driver.identify()
        held = capabilities_of(driver)
        for one in held:
            one.change(driver, subject)
        trouble.power_cycle()
        wrong = _well_again(driver, known)
        if wrong:
            return wrong
        if any(one.name == "pair tester" for one in held):
            seen = _or_error(lambda d: d.coincidences(0.02), driver)
            if not isinstance(seen, DeviceError):
                return f"counts {seen} after a restart that nothing was configured after"
        stale = [(one, _or_error(one.read, driver)) for one in held]
    with subject.opened() as fresh:
        for one, seen in stale:
            if isinstance(seen, DeviceError):
                continue
            now = _or_error(one.read, fresh)
            if isinstance(now, DeviceError) or not one.close_to(seen, now):
                return f"{one.name}: reads {seen} after a restart, a new driver reads {now}"
    return ""


def _or_error(read: Callable[[Any], Any], driver: Any) -> Any:
    try:
        return read(driver)
    except DeviceError as wrong:
        return wrong


def _well_again(driver: Any, known: object) -> str:
    until = time.monotonic() + _BACK_S
    last: DeviceError | None = None
    while time.monotonic() < until:
        try:
            seen = driver.identify()
        except DeviceError as wrong:
            last = wrong
            time.sleep(0.05)
            continue
        return "" if seen == known else f"answers {seen} instead of {known}"
    return f"does not work again within {_BACK_S:g} s: {last}"


def _trouble(subject: Subject) -> Trouble:
    if subject.trouble is None:
        raise Skip("only a stub can be told to misbehave")
    return subject.trouble


Check = tuple[str, Callable[[Subject], str]]

#: Checks that only ask.
READING: tuple[Check, ...] = (
    ("is an instrument with a capability", is_instrument),
    ("identity is stable", identity_stable),
    ("readings are stable", reads_twice),
    ("closes twice and stays closed", closes_twice),
)

#: Checks that switch, move or bias something, or that a bad driver might.
ACTING: tuple[Check, ...] = (
    ("limits are refused before a byte is sent", refuses_limits),
    ("what is set is read back", acts_and_reads_back),
    ("safe state is read back", safe_state),
    ("two clients do not hear each other", two_clients),
)

#: Checks that need an instrument which can be told to misbehave.
TROUBLING: tuple[Check, ...] = (
    ("timeouts are honoured", timeouts),
    ("close() ends a waiting read", cancelled),
    ("garbage is survived", garbage),
    ("late answers are never believed", late_answers),
    ("comes back after a restart", comes_back),
    ("nothing is believed after a power cycle", power_cycle),
)
