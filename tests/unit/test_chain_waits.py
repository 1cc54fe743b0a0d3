"""Waits, attempts and states of single trajectories."""

import math

import numpy as np
import pytest

from backends.analytic import exact
from quantum import bell, werner
from quantum.chain import Setting, as_batch, deliver, play
from quantum.chain.setting import plan_of
from quantum.errors import InputError
from quantum.links.heralded import Heralded
from quantum.program import Gates, Memory
from quantum.seeding import generator

ORDERS = ["asap", "balanced", "sequential"]
UNEVEN = {
    "success_probability": [0.3, 0.6, 0.2, 0.5, 0.4],
    "attempt_s": [1e-3, 2e-3, 7e-4, 1e-3, 3e-3],
}
SIGNAL = [1e-4, 5e-4, 2e-3, 1e-4, 9e-4]
LOSSY = {"swap_success": 0.8, "cutoff_s": 9e-3}
FIELDS = ("time_s", "waits_s", "attempts", "attempts_total")


def same(left, right, fields=FIELDS):
    return all(getattr(left, f).tobytes() == getattr(right, f).tobytes() for f in fields)


# ------------------------------------------------------------------------------------- randomness


@pytest.mark.parametrize("how", [{}, LOSSY], ids=["sure", "lossy"])
def test_any_split_gives_the_same_bytes(how):
    setting, memory = Setting(**UNEVEN, **how), Memory(t1_s=0.1, t2_s=0.05, attempts_1e=30.0)
    whole = play(setting, 200, seed=3)
    parts = [play(setting, 70, seed=3), play(setting, 130, seed=3, first=70)]
    states = deliver(setting, 200, 3, [0.9] * 3, memory)
    later = deliver(setting, 130, 3, [0.9] * 3, memory, first=70)
    for field in FIELDS:
        joined = np.concatenate([getattr(part, field) for part in parts])
        assert joined.tobytes() == getattr(whole, field).tobytes()
    assert states.time_s.tobytes() == whole.time_s.tobytes()
    assert states.attempts_total.tobytes() == whole.attempts_total.tobytes()
    assert states.correlators[70:].tobytes() == later.correlators.tobytes()
    assert not same(whole, play(setting, 200, seed=4))
    assert len(np.unique(whole.time_s)) > 20


# ------------------------------------------------------------------- waits of chains that lose none


def heard(place, swaps, node):
    return max((when + abs(place[at] - place[node]) for at, when in swaps), default=0.0)


def swap_times(order, born, place):
    """When each inner node swaps, and when both ends have heard of all: from the definition."""
    links = len(born)
    when = {}
    if order == "asap":
        when = {node: max(born[node - 1], born[node]) for node in range(1, links)}
    else:
        tree = {m: (0, m + 1) for m in range(1, links)}
        if order == "balanced":
            tree = {m: (m - (m & -m), min(links, m + (m & -m))) for m in range(1, links)}
        for node in sorted(tree, key=lambda m: tree[m][1] - tree[m][0]):
            low, high = tree[node]
            below = [(m, t) for m, t in when.items() if low < m < high]
            when[node] = max(born[node - 1], born[node], heard(place, below, node))
    swaps = list(when.items())
    return when, max(born[0], born[-1], heard(place, swaps, 0), heard(place, swaps, links))


@pytest.mark.parametrize("ends", ["keep", "measure"])
@pytest.mark.parametrize("order", ORDERS)
def test_waits_follow_from_the_definition(order, ends):
    setting = Setting(**UNEVEN, signal_s=SIGNAL, order=order, ends=ends)
    kept = play(Setting(**UNEVEN, signal_s=SIGNAL, order=order), 300, seed=5)
    got = play(setting, 300, seed=5)
    born = kept.time_s[:, None] - np.stack([kept.waits_s[:, 0, 0]] * 5, axis=1)
    # Births of the other links: each swap is one instant for both of its qubits.
    for link in range(1, 5):
        swapped = born[:, link - 1] + kept.waits_s[:, link - 1, 1]
        born[:, link] = swapped - kept.waits_s[:, link, 0]
    attempts = born / setting.attempt_s
    assert attempts == pytest.approx(np.round(attempts), abs=1e-9)
    assert got.attempts_total == pytest.approx(attempts.sum(axis=1), abs=1e-9)
    place = np.concatenate([[0.0], np.cumsum(SIGNAL)])
    for j in range(300):
        when, end = swap_times(order, born[j], place)
        assert got.time_s[j] == pytest.approx(end, rel=1e-12)
        for link in range(5):
            left, right = when.get(link, end), when.get(link + 1, end)
            want = np.array([left, right]) - born[j, link]
            if ends == "measure":
                want *= [link > 0, link < 4]
            assert got.waits_s[j, link] == pytest.approx(want, abs=1e-12)
            for side, other in ((0, link - 1), (1, link + 1)):
                tried = 0.0
                if 0 <= other < 5:
                    period = setting.attempt_s[other]
                    ends_at = np.arange(1, round(born[j, other] / period) + 1) * period
                    tried = np.sum(ends_at > born[j, link] + 1e-12)
                assert got.attempts[j, link, side] == tried


@pytest.mark.parametrize("order", ORDERS)
def test_the_two_engines_agree_where_nothing_is_lost(order, monkeypatch):
    setting = Setting(**UNEVEN, signal_s=SIGNAL, order=order)
    sure = play(setting, 300, seed=6)
    monkeypatch.setitem(play.__globals__, "plan_of", lambda s: plan_of(s)._replace(sure=False))
    events = play(setting, 300, seed=6)
    assert same(sure, events, ("attempts", "attempts_total"))
    assert sure.time_s == pytest.approx(events.time_s, rel=1e-14)
    assert sure.waits_s == pytest.approx(events.waits_s, abs=1e-15)


# ----------------------------------------------------------------------- chains that lose, by steps


class Steps:
    """The same chains attempt by attempt, in plain Python, for links in step."""

    def __init__(self, chances, order, q, cutoff, measured, rng):
        self.chances, self.order, self.q, self.cutoff = chances, order, q, cutoff
        self.links, self.measured, self.rng = len(chances), measured, rng

    def play(self):
        links, now, total = self.links, 0, 0
        segments, age, tried = {}, {}, {}
        used, used_tried = {}, {}
        while True:
            now += 1
            free = [x for x in range(links) if not any(a <= x < b for a, b in segments)]
            hits = [x for x in free if self.rng.random() < self.chances[x]]
            total += len(free)
            for qubit in age:
                age[qubit] += 1
                link, side = qubit
                tried[qubit] += (link + 2 * side - 1) in free
            for link in hits:
                segments[link, link + 1] = True
                for side in (0, 1):
                    age[link, side] = tried[link, side] = 0
            while nodes := self.able(segments):
                for node in nodes:
                    (low,) = [a for a, b in segments if b == node]
                    (high,) = [b for a, b in segments if a == node]
                    good = segments.pop((low, node)) & segments.pop((node, high))
                    segments[low, high] = good & (self.rng.random() < self.q)
                    for qubit in ((node - 1, 1), (node, 0)):
                        used[qubit], used_tried[qubit] = age.pop(qubit), tried.pop(qubit)
                self.drop(segments, age, tried, lambda low, high: not segments[low, high])
            if (0, links) in segments:
                break
            self.drop(segments, age, tried, lambda low, high: self.old(age, low, high))
        for qubit in ((0, 0), (links - 1, 1)):
            used[qubit] = 0 if self.measured else age[qubit]
            used_tried[qubit] = 0
        order = [(link, side) for link in range(links) for side in (0, 1)]
        return now, total, [used[x] for x in order], [used_tried[x] for x in order]

    def able(self, segments):
        nodes = []
        for node in range(1, self.links):
            low = [a for a, b in segments if b == node]
            high = [b for a, b in segments if a == node]
            reach = node & -node
            if (
                low
                and high
                and {
                    "asap": True,
                    "sequential": low[0] == 0,
                    "balanced": (low[0], high[0]) == (node - reach, min(self.links, node + reach)),
                }[self.order]
            ):
                nodes.append(node)
        return nodes

    def old(self, age, low, high):
        ages = []
        if low > 0 or not self.measured:
            ages.append(age[low, 0])
        if high < self.links or not self.measured:
            ages.append(age[high - 1, 1])
        return max(ages) >= self.cutoff

    def drop(self, segments, age, tried, bad):
        for low, high in [s for s in segments if bad(*s)]:
            del segments[low, high]
            for qubit in ((low, 0), (high - 1, 1)):
                del age[qubit], tried[qubit]


@pytest.mark.parametrize("ends", ["keep", "measure"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chances", [(0.5, 0.35, 0.4), (0.6, 0.5, 0.45, 0.7)])
def test_lossy_chains_step_by_step(order, ends, chances):
    q, cutoff, size = 0.8, 4, 2500
    rng = generator(1, "steps")
    rows = [Steps(chances, order, q, cutoff, ends == "measure", rng).play() for _ in range(size)]
    want = np.array([[now, total, *used, *tried] for now, total, used, tried in rows], dtype=float)
    setting = Setting(
        success_probability=chances,
        attempt_s=0.0011,
        swap_success=q,
        cutoff_s=cutoff * 0.0011,
        order=order,
        ends=ends,
    )
    got = play(setting, 40_000, seed=7)
    values = np.column_stack(
        [
            got.time_s / 0.0011,
            got.attempts_total,
            got.waits_s.reshape(len(got), -1) / 0.0011,
            got.attempts.reshape(len(got), -1),
        ]
    )
    error = np.sqrt(want.var(axis=0) / len(want) + values.var(axis=0) / len(values))
    assert np.all(np.abs(want.mean(axis=0) - values.mean(axis=0)) <= 5.0 * error + 1e-12)
    assert values[:, 2 : -2 * len(chances)].max() < 4 * cutoff


def test_messages_delay_what_follows_a_failure():
    # Sure links: a failed swap of node 1 costs 2 s (the farther node of each link) and an attempt.
    how = {"success_probability": [1.0, 1.0], "attempt_s": 1.0, "signal_s": 2.0}
    got = play(Setting(**how, order="balanced", swap_success=0.5), 20_000, seed=8)
    tries = (got.time_s - 2.0) / 3.0 + 2.0 / 3.0
    assert tries == pytest.approx(np.round(tries), abs=1e-9)
    assert np.array_equal(got.attempts_total, 2.0 * np.round(tries))
    assert tries.mean() == pytest.approx(2.0, abs=5 * math.sqrt(2.0 / 20_000))
    assert got.waits_s[:, 0, 0] == pytest.approx(2.0)


# ----------------------------------------------------------------------------------------- states


@pytest.mark.parametrize(
    "memory",
    [
        Memory(t1_s=0.05, t2_s=0.03),
        Memory(t1_s=0.04, t2_s=0.08),
        Memory(t2_s=0.02),
        Memory(t1_s=0.05, t2_s=0.03, attempts_1e=25.0),
        Memory(),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", [{}, LOSSY, {"order": "balanced", "ends": "measure"}], ids=str)
def test_a_backend_finds_the_states_of_the_kernel(how, memory):
    setting, gates = Setting(**UNEVEN, **how), Gates(gate_depolarizing=0.02, readout_error=0.01)
    populations = generator(2, "fresh").dirichlet([9.0, 1.0, 1.0, 1.0], 5)
    got = deliver(setting, 150, 9, bell.correlators(populations), memory, gates)
    history = play(setting, 150, seed=9)
    truth = exact(as_batch(history, populations=populations, memory=memory, gates=gates))
    assert bell.populations(got.correlators) == pytest.approx(truth.populations, abs=1e-12)
    assert np.all(truth.success == 1.0)
    tables = np.array(
        [np.diag([1.0, *(row * [1, -1, 1])]) for row in bell.correlators(populations)]
    )
    loaded = exact(as_batch(history, expectations=tables, memory=memory, gates=gates))
    assert loaded.populations == pytest.approx(truth.populations, abs=1e-12)
    if memory != Memory():
        assert werner.fidelity(got.correlators).std() > 1e-3


def test_swaps_of_a_batch_have_succeeded():
    history = play(Setting(success_probability=[0.5, 0.5], attempt_s=1.0, swap_success=0.5), 3, 1)
    batch = as_batch(history, populations=bell.werner(0.9), gates=Gates(success=0.5))
    assert batch.gates.success == 1.0
    assert batch.populations.shape == (3, 2, 4)


# -------------------------------------------------------------------------------------- bad input


def test_links_of_a_setting_come_from_their_models():
    table = np.diag([1.0, 0.9, -0.9, 0.9])
    link = Heralded(0.25, 2.0, table, "memory", "test")
    setting = Setting.of_links([link, link], order="balanced")
    assert setting.links == 2
    assert setting.success_probability.tolist() == [0.25, 0.25]
    assert setting.attempt_s.tolist() == [2.0, 2.0]
    flying = Heralded(0.25, 2.0, table, "photonic", "test")
    with pytest.raises(InputError, match=r"links\[1\]"):
        Setting.of_links([link, flying])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("success_probability", [0.5, 0.0]),
        ("success_probability", [0.5, 1.1]),
        ("success_probability", [0.5, math.nan]),
        ("success_probability", []),
        ("success_probability", [0.5, 1e-160]),
        ("success_probability", [0.5, 9e-16]),
        ("success_probability", 0.5),
        ("success_probability", ["a", "b"]),
        ("attempt_s", 0.0),
        ("attempt_s", [1.0, math.inf]),
        ("attempt_s", [1.0, 1e308]),
        ("attempt_s", 1e-300),
        ("attempt_s", [1.0, 9e-13]),
        ("attempt_s", [1.0, 1.0, 1.0]),
        ("swap_success", 0.0),
        ("swap_success", math.nan),
        ("swap_success", [0.5, 0.5]),
        ("signal_s", -1.0),
        ("signal_s", math.inf),
        ("signal_s", 1e308),
        ("cutoff_s", -1.0),
        ("cutoff_s", 1e308),
        ("cutoff_s", "x"),
        ("cutoff_s", [1.0, 2.0]),
        ("cutoff_s", None),
        ("one_at_a_time", "no"),
        ("cutoff_s", math.nan),
        ("order", "random"),
        ("ends", "lose"),
    ],
)
def test_a_wrong_setting_is_named(field, value):
    right = {"success_probability": [0.5, 0.5], "attempt_s": 1.0}
    Setting(**right)
    with pytest.raises(InputError, match=field):
        Setting(**{**right, field: value})


def test_settings_at_their_bounds_have_finite_times():
    with pytest.raises(InputError, match="success_probability must be >= 1e-15 and <= 1, got 1e-1"):
        Setting(success_probability=[1e-16], attempt_s=1.0)
    for attempt_s in ([1e-12, 1e12], [1e12, 1e12], [1e-12, 1e-12]):
        for cutoff_s, signal_s in ((math.inf, 1e12), (1e12, 0.0)):
            setting = Setting(
                success_probability=[1e-15, 1.0],
                attempt_s=attempt_s,
                cutoff_s=cutoff_s,
                signal_s=signal_s,
                order="balanced",
            )
            if cutoff_s == math.inf or attempt_s[0] == 1e-12:
                played = play(setting, 20, seed=1)
                assert np.isfinite(played.time_s).all() and (played.time_s > 0.0).all()
                assert np.isfinite(played.waits_s).all() and (played.attempts_total > 1.0).all()


@pytest.mark.parametrize("loss", [{"swap_success": 0.5}, {"cutoff_s": 5.0}])
def test_asap_with_losses_has_no_messages(loss):
    how = {"success_probability": [0.5, 0.5], "attempt_s": 1.0, "signal_s": 1.0}
    Setting(**how)
    Setting(**how, **loss, order="balanced")
    with pytest.raises(InputError, match="signal_s"):
        Setting(**how, **loss)


def test_a_delivery_that_never_comes_is_an_error():
    setting = Setting(
        success_probability=[1.0, 1.0], attempt_s=1.0, cutoff_s=0.5, one_at_a_time=True
    )
    with pytest.raises(InputError, match="delivery 5 took more than 1000 events: cutoff_s"):
        play(setting, 2, seed=1, first=5, most_events=1000)
    with pytest.raises(InputError, match="cutoff_s"):
        deliver(setting, 2, 1, [1.0] * 3, most_events=1000)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s, t: play(s, -1, 1), "size"),
        (lambda s, t: play(s, 1, -1), "seed"),
        (lambda s, t: play(s, 1, 1, first=-1), "first"),
        (lambda s, t: play(s, 1.5, 0), "size"),
        (lambda s, t: play(s, 10, "a"), "seed"),
        (lambda s, t: play(s, 1, 1, first=None), "first"),
        (lambda s, t: play(s, True, 1), "size"),
        (lambda s, t: play(s, 1, 1, most_events=1.5), "most_events"),
        (lambda s, t: deliver(s, "a", 1, [1.0] * 3), "size"),
        (lambda s, t: deliver(s, 1, 1.0, [1.0] * 3), "seed"),
        (lambda s, t: deliver(s, 1, 1, "states"), "correlators"),
        (lambda s, t: deliver(s, 1, 1, [1.0, 1.0]), "correlators"),
        (lambda s, t: deliver(s, 1, 1, [1.0, 1.0, 1.5]), "correlators"),
        (lambda s, t: deliver(s, 1, 1, [1.0, 1.0, -1.0]), "correlators"),
        (lambda s, t: deliver(s, 1, 1, [1.0, 1.0, math.nan]), "correlators"),
        (lambda s, t: deliver(s, 1, 1, [1.0] * 3, Memory(t1_s=1.0, t2_s=3.0)), "t2_s"),
        (lambda s, t: deliver(s, 1, 1, [1.0] * 3, Memory(), Gates(readout_error=2.0)), "readout"),
        (lambda s, t: as_batch(t), "populations or expectations"),
        (lambda s, t: as_batch(t, populations=[1.0, 0.0, 0.0]), "populations"),
        (lambda s, t: as_batch(t, populations=[[1.0, 0.5, 0.0, 0.0]] * 2), "populations"),
        (lambda s, t: as_batch(t, expectations=np.eye(4)), "expectations"),
    ],
)
def test_bad_arguments_are_named(call, field):
    setting = Setting(success_probability=[0.5, 0.5], attempt_s=1.0)
    with pytest.raises(InputError, match=field):
        call(setting, play(setting, 2, seed=1))
