"""Shares of one resource: max-min, nobody idle, bounded unfairness; whatever clients want."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.ledger.fair import ALLOWANCE, ahead, charge

PAIRS = 400


def served(wants):
    """Hand out a pair a step to whoever is least ahead of those who want one.

    ``wants(step, had)`` says how many pairs each client still waits for. Returns who got each pair
    (-1 nobody) and who waited at each step.
    """
    clients = len(wants(0, np.zeros(1, int)))
    tags, clock, had = np.zeros((clients, 1)), np.zeros(1), np.zeros(clients, int)
    got, waited = [], []
    for step in range(PAIRS):
        waits = wants(step, had) > 0
        waited.append(waits)
        if not waits.any():
            got.append(-1)
            continue
        first = min(np.flatnonzero(waits), key=lambda c: ahead(tags[c, 0], clock[0]))
        charge(tags[first], clock, 0, 1.0)
        had[first] += 1
        got.append(int(first))
    return np.array(got), np.array(waited)


def water(demand, capacity):
    """Max-min shares of a capacity, by filling up."""
    share, left = np.zeros(len(demand)), float(capacity)
    order = np.argsort(demand)
    for k, client in enumerate(order):
        share[client] = min(demand[client], left / (len(demand) - k))
        left -= share[client]
    return share


RATES = st.lists(st.floats(0.0, 1.5), min_size=1, max_size=6)


@given(rates=RATES)
@settings(max_examples=60, deadline=None)
def test_steady_demand_gets_its_max_min_share(rates):
    rates = np.array(rates)
    got, waited = served(lambda step, had: np.floor(rates * (step + 1) + 1e-9) - had)
    # Nobody idles while somebody waits.
    assert np.array_equal(got >= 0, waited.any(axis=1))
    had = np.bincount(got[got >= 0], minlength=len(rates))
    want = water(np.floor(rates * PAIRS + 1e-9), PAIRS)
    # What everybody may be ahead or behind, and the pairs that have not come together yet.
    assert np.all(np.abs(had - want) <= len(rates) * (ALLOWANCE + 2))
    # Who asks for less than an equal share of it waits for a few pairs of others, however many.
    modest = rates < 0.9 / len(rates)
    assert np.all(had[modest] >= want[modest] - 2)


@given(
    bursts=st.lists(
        st.lists(st.tuples(st.integers(0, PAIRS), st.integers(1, 200)), max_size=8),
        min_size=2,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_who_waits_all_the_time_is_never_far_behind_another(bursts):
    """Over any stretch in which a client waits, nobody gets much more than he."""

    def wants(step, had):
        came = [sum(n for at, n in burst if at <= step) for burst in bursts]
        return np.array(came) - had

    got, waited = served(wants)
    for client in range(len(bursts)):
        for other in range(len(bursts)):
            worst = lead = 0
            for winner, waits in zip(got, waited[:, client], strict=True):
                # The lead of the other since the worst moment from which this one waited on.
                lead = max(0, lead) + int(winner == other) - int(winner == client) if waits else 0
                worst = max(worst, lead)
            if other != client:
                assert worst <= ALLOWANCE + 2


def test_what_was_not_wanted_is_not_saved_up():
    def wants(step, had):
        return np.array([10 * PAIRS - had[0], (step >= PAIRS // 2) * PAIRS])

    got, _ = served(wants)
    late = got[PAIRS // 2 :]
    first = int(np.argmax(late == 0))
    assert ALLOWANCE <= first <= ALLOWANCE + 2
    # Then they take turns.
    assert abs(np.count_nonzero(late[first:] == 0) - np.count_nonzero(late[first:] == 1)) <= 1
