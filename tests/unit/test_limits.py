"""Rates, and what peers may say, with a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.security import Client, Limits, RateLimit
from controller.sessions import Room
from quantum.egp import Job, Look

steps = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60)


@given(st.floats(0.5, 100.0), st.integers(1, 20), steps)
def test_no_more_than_the_burst_and_the_rate_pass(rate_hz, burst, waits):
    limit, now, passed = RateLimit(rate_hz, burst, now_s=0.0), 0.0, 0
    for wait in waits:
        now += wait
        passed += limit.take(now) == 0.0
    assert passed <= burst + rate_hz * now + 1e-6


@given(st.floats(0.5, 100.0), st.integers(1, 20), st.integers(0, 50))
def test_who_waits_as_long_as_he_was_told_passes(rate_hz, burst, flood):
    limit, now = RateLimit(rate_hz, burst, now_s=0.0), 0.0
    for _ in range(burst + flood):
        wait = limit.take(now)
    assert (wait > 0.0) == (flood > 0)
    if flood:
        assert limit.take(now + wait * (1.0 + 1e-9)) == 0.0


def test_a_clock_that_goes_back_gives_nothing():
    limit = RateLimit(1.0, 1.0, now_s=100.0)
    assert limit.take(100.0) == 0.0
    assert limit.take(0.0) == 1.0
    assert limit.take(100.5) == 0.5
    assert limit.take(101.0) == 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (float("nan"), 1.0), (1.0, 0.5)])
def test_limits_that_are_none(rate, burst):
    with pytest.raises(ValueError, match="must be"):
        RateLimit(rate, burst, now_s=0.0)


def peer():
    room = Room(Limits(max_bytes=1, queue=1, rate_hz=1.0, burst=2.0, credits=1))
    return room.peer(Client("a", "agent", "k" * 40), 0.0)


def test_answers_are_free_and_there_is_one_for_each():
    one = peer()
    for slot in range(100):
        one.show(Look(slot))
        assert one.busy(0.0) == 0.0
    assert [one.busy(0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert one.to_be_told(1.0, 0.0)
    assert not one.to_be_told(1.0, 0.5)
    assert one.to_be_told(1.0, 1.5)


def test_what_was_under_way_is_given_again_and_answered_once():
    one = peer()
    one.give(Job(7, ()))
    one.show(Look(3))
    assert one.under_way() == [], "an old version would do it twice"
    one.features = ("resume",)
    assert one.under_way() == [Job(7, (), again=True), Look(3)]
    assert [one.repeats(7), one.repeats(7), one.repeats(3), one.repeats(9)] == [
        True,
        False,
        True,
        False,
    ]


def test_each_copy_may_be_answered_once():
    """Who hears nothing from a busy broker greets again and again, and gets a copy each time."""
    one = peer()
    one.features = ("resume",)
    one.show(Look(3))
    for _ in range(3):
        assert one.under_way() == [Look(3)]
    assert one.is_shown(3) and not one.is_shown(2)
    one.show(Look(4))
    assert [one.repeats(3) for _ in range(4)] == [True, True, True, False]


def test_copies_that_are_never_answered_are_forgotten():
    one = peer()
    one.features = ("resume",)
    for slot in range(3000):
        one.show(Look(slot))
        one.under_way()
    assert len(one._again) == 1024
    assert one.repeats(2999) and not one.repeats(0)
