"""The rules of a rack without its instruments: leases, latch, roles, limits, replays, liveness."""

import contextlib
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.supervisor.desk import Desk, Start
from backends.supervisor.leases import Leases
from backends.supervisor.limits import check_limits
from backends.supervisor.messages import (
    MAX_BYTES,
    VERSION,
    Acquire,
    Act,
    Did,
    Estop,
    Granted,
    Rearm,
    Refused,
    Release,
    Renew,
    Run,
    Status,
    decode_reply,
    decode_request,
    encode,
)
from controller.liveness import Liveness
from quantum.egp import Pulse
from quantum.errors import Code, RequestError, WireError
from quantum.rack_safety import Limits, Role, SafetyEntry

ROLES: dict[str, Role] = {"eve": "observe", "olga": "operate", "otto": "operate", "anna": "arm"}


def rid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def desk(last_token: int = 0) -> Desk:
    return Desk("stub", Leases(0.5, last_token), ROLES, {"tagger", "shutter"})


def grant(at: Desk, who: str = "olga", now_s: float = 0.0, number: int = 1) -> Granted:
    out = at.decide(who, Acquire(rid(number), VERSION, who), now_s)
    assert isinstance(out, Granted)
    return out


def refusal(out: object) -> str:
    assert isinstance(out, Refused)
    assert out.code is Code.REJECTED
    return out.detail


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0.0, 1.0), st.booleans()),
        max_size=40,
    ),
    st.integers(0, 2**40),
)
def test_one_holder_and_growing_tokens(
    events: list[tuple[str, float, bool]], last_token: int
) -> None:
    """Whatever is asked when: never two holders, tokens grow, and no old token is valid."""
    leases, now, tokens = Leases(0.5, last_token), 0.0, [last_token]
    old: list[tuple[str, int]] = []
    for who, wait_s, renews in events:
        now += wait_s
        if leases.expired(now):
            leases.end()
        if renews and leases.current is not None and leases.current.holder == who:
            leases.renew(who, leases.current.token, now)
        elif leases.current is None:
            tokens.append(leases.acquire(who, who, now).token)
            old.append((who, tokens[-1]))
        else:
            with pytest.raises(RequestError, match="holds the lease"):
                leases.acquire(who, who, now)
        for holder, token in old[:-1]:
            with pytest.raises(RequestError, match="not valid"):
                leases.check(holder, token, now)
    assert tokens == sorted(set(tokens))


def test_a_lease_that_ran_out_cannot_be_renewed() -> None:
    leases = Leases(0.5)
    token = leases.acquire("a", "a", 0.0).token
    leases.renew("a", token, 0.4)
    assert leases.expired(0.89) is None
    assert leases.expired(0.91) is not None
    with pytest.raises(RequestError, match="has run out"):
        leases.renew("a", token, 0.91)


def test_two_controllers() -> None:
    at = desk()
    first = grant(at)
    assert "olga holds the lease" in refusal(at.decide("otto", Acquire(rid(2), VERSION, "o"), 0.1))
    # The first one is lost, the second takes over, the first one comes back.
    at.leases.end()
    second = grant(at, "otto", 1.0, 3)
    assert second.token > first.token
    assert "not valid" in refusal(at.decide("olga", Run(rid(4), first.token, 1, b""), 1.1))
    assert "not valid" in refusal(at.decide("olga", Renew(first.token), 1.1))
    # Knowing the number of the new token is not enough.
    assert "not valid" in refusal(at.decide("olga", Run(rid(5), second.token, 1, b""), 1.1))
    assert isinstance(at.decide("otto", Run(rid(6), second.token, 1, b""), 1.1), Start)


def test_roles() -> None:
    at = desk()
    token = grant(at).token
    assert isinstance(at.decide("eve", Status(rid(2)), 0.0), Start)
    assert isinstance(at.decide("eve", Act(rid(3), 0, "tagger", "identify"), 0.0), Start)
    for message in (
        Acquire(rid(4), VERSION, "eve"),
        Release(rid(5), token),
        Run(rid(6), token, 1, b""),
        Act(rid(7), token, "shutter", "set_open", (True,)),
        Act(rid(8), token, "shutter", "safe_state"),
        Rearm(rid(9), "please"),
    ):
        assert "needs role" in refusal(at.decide("eve", message, 0.0))
    assert "needs role arm" in refusal(at.decide("olga", Rearm(rid(10), "please"), 0.0))
    assert "this key has None" in refusal(at.decide("nobody", Status(rid(11)), 0.0))


def test_a_latched_rack_hears_nobody_but_a_person() -> None:
    at = desk()
    token = grant(at).token
    assert isinstance(at.decide("olga", Run(rid(2), token, 1, b""), 0.1), Start)
    assert at.latch("agent-0 is lost") == [
        ("olga", Refused(rid(2), Code.REJECTED, "agent-0 is lost"))
    ]
    # The answer that comes after all is nobody's any more.
    assert not at.finish("olga", Did(rid(2), 7))
    assert at.decide("olga", Run(rid(2), token, 1, b""), 0.2) == Refused(
        rid(2), Code.REJECTED, "agent-0 is lost"
    )
    for number, message in enumerate(
        (
            Run(rid(20), token, 1, b""),
            Acquire(rid(21), VERSION, "olga"),
            Act(rid(22), token, "shutter", "set_open", (True,)),
        )
    ):
        assert "latched: agent-0 is lost" in refusal(at.decide("olga", message, 0.3 + number))
    assert isinstance(at.decide("olga", Act(rid(30), 0, "shutter", "safe_state"), 0.5), Start)
    at.latch("something else")
    assert at.latched == "agent-0 is lost"
    assert isinstance(at.decide("anna", Rearm(rid(31), "mended"), 0.6), Start)
    at.latched = ""
    assert "not latched" in refusal(at.decide("anna", Rearm(rid(32), "again"), 0.7))


def test_a_replayed_request_is_never_done_twice() -> None:
    at = desk()
    token = grant(at).token
    run = Run(rid(2), token, 1, b"")
    assert isinstance(at.decide("olga", run, 0.1), Start)
    assert at.decide("olga", run, 0.1) is None, "it is being done"
    assert at.finish("olga", Did(rid(2), 1))
    assert at.decide("olga", run, 0.2) == Did(rid(2), 1)
    # An id of somebody else is another request: his key decides.
    assert "not valid" in refusal(at.decide("otto", run, 0.2))
    assert grant(at) == grant(at)


def test_what_cannot_be_called() -> None:
    at = desk()
    token = grant(at).token
    cases = (("tagger", "close"), ("tagger", "__init__"), ("tagger", "driver"), ("laser", "ping"))
    for number, (instrument, method) in enumerate(cases, 10):
        out = at.decide("olga", Act(rid(number), token, instrument, method), 0.1)
        assert isinstance(out, Refused) and out.code is Code.CREATE
    assert isinstance(at.decide("olga", Estop(rid(9), "no"), 0.1), Refused)


@pytest.mark.parametrize(
    ("method", "given", "match"),
    [
        ("set_bias_ua", ((5.0, 20.1),), "bias_ua to 0 to 20, asked was 20.1"),
        ("set_bias_ua", ((math.nan,),), "bias_ua"),
        ("set_power_dbm", (3.5,), "power_dbm to -30 to 3"),
        ("set_power_dbm", (math.inf,), "power_dbm"),
        ("set_voltages_mv", ((0.0, 0.0, 0.0, -4001.0),), "voltage_mv"),
        ("move_deg", (400.0,), "angle_deg"),
        ("coincidences", (5.0,), "integration_s"),
        ("connect", ({1: 17, 2: 19},), "ports to 1, 2, 17, 18, asked was 19"),
    ],
)
def test_limits(method: str, given: tuple[object, ...], match: str) -> None:
    limits = Limits(
        bias_ua=(0.0, 20.0),
        power_dbm=(-30.0, 3.0),
        voltage_mv=(-4000.0, 4000.0),
        angle_deg=(0.0, 360.0),
        integration_s=(0.001, 1.0),
        ports=(1, 2, 17, 18),
    )
    with pytest.raises(RequestError, match=match) as caught:
        check_limits("it", method, given, limits)
    assert caught.value.code is Code.REJECTED
    check_limits("it", method, given, Limits())
    check_limits("it", "connect", ({1: 17, 2: 18},), limits)
    check_limits("it", "set_power_dbm", (3.0,), limits)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    for frame in (data, b"DPS1" + data):
        for decode in (decode_request, decode_reply):
            # Anything else that is raised fails.
            with contextlib.suppress(WireError):
                decode(frame)


def test_frames_that_are_too_much() -> None:
    with pytest.raises(WireError, match="at most"):
        decode_request(b"DPS1" + bytes(MAX_BYTES))
    for wrong in (
        {"type": "act", "rid": rid(1), "token": 1, "instrument": "../x", "method": "ping"},
        {"type": "act", "rid": b"short", "token": 1, "instrument": "x", "method": "ping"},
        {"type": "renew", "token": -1},
        {"type": "renew", "token": 1, "more": 2},
        {"type": "estop", "rid": rid(1), "reason": "x" * 401},
        {"type": "rearm", "rid": rid(1), "reason": ""},
        {"type": "run", "rid": rid(1), "token": 1, "seed": 2**63, "work": b""},
    ):
        with pytest.raises(WireError, match="malformed"):
            decode_request(b"DPS1" + msgspec.msgpack.encode(wrong))
    act = Act(rid(1), 1, "x", "set_open", (True, 2, 3.5, "zz", (1.0, 2.0), {1: 17}))
    assert decode_request(encode(act)) == act


def test_nobody_is_missed_before_the_run_begins() -> None:
    live = Liveness({"key": "agent-0"}, 1.0, 60.0)
    assert live.pulse(1000.0) == Pulse()
    live.begin(2000.0)
    assert live.pulse(2000.9) == Pulse()
    live.beat("key", 2000.9)
    live.beat("stranger", 2002.0)
    assert live.pulse(2001.8) == Pulse()
    lost = live.pulse(2002.0)
    assert lost.lost == "agent-0 was not heard for 1 s"
    live.beat("key", 2002.1)
    live.end()
    assert live.pulse(2002.2) == lost, "nobody comes back to life"


def test_slots_have_to_go_on_once_the_first_was_played() -> None:
    live = Liveness({}, 1.0, 60.0)
    live.begin(0.0)
    assert live.pulse(1000.0) == Pulse(), "kernels may be compiled in the first slot"
    live.move(1000.0)
    assert live.pulse(1059.0) == Pulse()
    lost = live.pulse(1061.0)
    assert "no slot was played" in lost.lost
    ended = Liveness({}, 1.0, 60.0)
    ended.begin(0.0)
    ended.end()
    ended.give_up("the broker is lost")
    assert ended.pulse(5.0) == Pulse(over=True)


def test_timers_cannot_be_set_to_more_than_a_second_allows() -> None:
    for field in ("lease_s", "supervisor_s"):
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({field: 0.9}, SafetyEntry)
    with pytest.raises(msgspec.ValidationError, match="role"):
        msgspec.convert({"key": [{"name": "a", "public": "x" * 40, "role": "root"}]}, SafetyEntry)
