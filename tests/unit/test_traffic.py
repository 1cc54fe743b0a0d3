import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum import bell, traffic_abilene
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.paths import best_fidelity, distilled
from quantum.program import Gates, Memory
from quantum.topology import load_topology
from quantum.traffic import BATCH, KINDS, make_trace
from quantum.traffic_arena import arena

ARRAYS = ("commodities", "weights", "time_s", "commodity", "pairs", "minimum_fidelity", "told_s")


def trace(kind: str = "poisson", topology: str = "mesh", **change: object) -> Trace:
    wish: dict[str, object] = {
        "load_hz": 60.0,
        "deadline_s": 1.0,
        "seed": 5,
        "network_seed": 1,
        "duration_s": 70.0,
    }
    wish |= change
    network = load_topology(topology, seed=int(str(wish["network_seed"])))
    return make_trace(kind, network, **wish)  # type: ignore[arg-type]


def small(links: list[tuple[int, int]], populations: list[list[float]]) -> Network:
    n = 1 + max(itertools.chain.from_iterable(links), default=0)
    m = len(links)
    return Network(
        name="small",
        nodes=tuple("abcdefgh"[:n]),
        position_km=np.zeros((n, 2)),
        links=np.array(links, dtype=np.int64).reshape(-1, 2),
        length_km=np.ones(m),
        populations=np.array(populations).reshape(-1, 4),
        generation_hz=np.ones(n),
        swap_hz=np.ones(n),
        qubits=np.full(n, 4),
        memory=Memory(),
        cutoff_s=1.0,
        gates=Gates(),
    )


# Best paths


def brute_force(network: Network) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Try every simple path."""
    n = len(network.nodes)
    signed = {
        frozenset(ends): np.abs(bell.correlators(p))
        for ends, p in zip(network.links.tolist(), network.populations, strict=True)
    }
    best = np.eye(n)
    for size in range(2, n + 1):
        for path in itertools.permutations(range(n), size):
            hops = [frozenset(hop) for hop in itertools.pairwise(path)]
            if all(hop in signed for hop in hops):
                value = (1 + np.prod([signed[hop] for hop in hops], axis=0).sum()) / 4
                best[path[0], path[-1]] = max(best[path[0], path[-1]], value)
    return best


LINKS = list(itertools.combinations(range(5), 2))


@settings(max_examples=40)
@given(
    chosen=st.lists(st.sampled_from(LINKS), min_size=1, unique=True),
    draw=st.lists(st.floats(0.25, 1.0), min_size=10, max_size=10),
)
def test_best_path_of_werner_links_is_exact(
    chosen: list[tuple[int, int]], draw: list[float]
) -> None:
    network = small(sorted(chosen), [bell.werner(f).tolist() for f in draw[: len(chosen)]])
    got = best_fidelity(network, np.arange(len(network.nodes)))
    assert np.allclose(got, brute_force(network), atol=1e-9)


@settings(max_examples=40)
@given(
    chosen=st.lists(st.sampled_from(LINKS), min_size=1, unique=True),
    draw=st.lists(st.floats(0.01, 1.0), min_size=40, max_size=40),
)
def test_best_path_of_other_links_never_promises_too_much(
    chosen: list[tuple[int, int]], draw: list[float]
) -> None:
    weights = np.array(draw).reshape(10, 4)[: len(chosen)]
    weights = weights / weights.sum(axis=1, keepdims=True)
    network = small(sorted(chosen), weights.tolist())
    got = best_fidelity(network, np.arange(len(network.nodes)))
    exact = brute_force(network)
    assert np.all(got <= exact + 1e-9)
    direct = network.links
    assert np.all(got[direct[:, 0], direct[:, 1]] >= bell.fidelity(network.populations) - 1e-9)


def test_phase_flips_alone_keep_their_product() -> None:
    # Populations (1 - p, p, 0, 0) have correlators (1 - 2p, 1 - 2p, 1).
    network = small([(0, 1), (1, 2), (2, 3)], [[0.9, 0.1, 0, 0]] * 3)
    assert best_fidelity(network, np.array([0]))[0, 3] == pytest.approx((2 + 2 * 0.8**3) / 4)


def test_distilled_agrees_with_the_formula_of_dejmps() -> None:
    a, rest = 0.85, 0.05
    # Deutsch et al. 1996: F' = (a^2 + d^2) / ((a + d)^2 + (b + c)^2).
    kept = (a + rest) ** 2 + (2 * rest) ** 2
    one = distilled(bell.werner(a), 1)
    assert one[0] == pytest.approx((a**2 + rest**2) / kept)
    assert distilled(bell.werner(a), 2)[0] > one[0]
    assert np.allclose(distilled(bell.werner(a), 0), bell.werner(a))


# The arena


def test_the_arena_is_fixed_by_the_network_seed() -> None:
    one, two = trace(seed=1), trace("hotspot", seed=2, load_hz=10.0, duration_s=20.0)
    assert one.commodities.tobytes() == two.commodities.tobytes()
    assert one.weights.tobytes() == two.weights.tobytes()
    assert not np.array_equal(one.commodities, trace(network_seed=2).commodities)
    assert len(one.commodities) == 150 and one.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("topology", ["mesh", "geometric", "surfnet", "abilene", "mesh-1200"])
def test_every_commodity_can_meet_the_highest_fidelity(topology: str) -> None:
    network = load_topology(topology, seed=0)
    found = arena(network, 0, fidelity=0.85)
    n = len(network.nodes)
    assert len(found.pairs) == min(150, n * (n - 1) // 2)
    assert len(np.unique(found.pairs, axis=0)) == len(found.pairs)
    assert np.all(found.pairs[:, 0] < found.pairs[:, 1])
    best = best_fidelity(network, found.pairs[:, 0])
    assert best[np.arange(len(found.pairs)), found.pairs[:, 1]].min() >= 0.85 - 1e-9


def test_long_geometric_paths_are_left_out() -> None:
    network = load_topology("geometric-400", seed=0)
    every = best_fidelity(network, np.arange(400))
    assert (every < 0.85).mean() > 0.3, "the case is one where the rule bites"
    found = arena(network, 0, fidelity=0.85, commodities=10**6)
    assert len(found.pairs) == ((every >= 0.85).sum() - 400) // 2


def test_distillation_opens_pairs_that_fresh_links_cannot_serve() -> None:
    network = load_topology("mesh", seed=0, fidelity=(0.85, 0.97))
    count = [
        len(arena(network, 0, fidelity=0.9, commodities=10**6, distillation_rounds=r).pairs)
        for r in range(3)
    ]
    assert 150 <= count[0] < count[1] < count[2]


def test_gravity_prefers_heavy_nodes() -> None:
    network = load_topology("mesh-300", seed=0)
    share = np.zeros(300)
    for seed in range(40):
        found = arena(network, seed)
        share += np.bincount(found.pairs.ravel(), minlength=300) / 40
    # Masses are drawn anew for each network seed, so nodes are alike over many seeds...
    assert share.max() < 6 * share.mean()
    # ... and unlike in one: the busiest tenth of lognormal(1) masses has a third of the demand.
    found = arena(network, 0)
    busy = np.sort(np.bincount(found.pairs.ravel(), minlength=300))[::-1]
    assert busy[:30].sum() / busy.sum() > 0.25


def test_impossible_wishes_say_what_is_best() -> None:
    with pytest.raises(InputError, match=r"no node pair of line-3 can meet fidelity 0.995; the b"):
        trace(topology="line-3", fidelities=(0.5, 0.995))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_node_has_an_empty_trace(kind: str) -> None:
    empty = trace(kind, "line-1")
    assert len(empty.time_s) == 0 and len(empty.commodities) == 0
    assert len(trace(kind, "line-2").commodities) == 1
    assert len(trace(kind, "mesh", load_hz=0.0).time_s) == 0


# The kinds


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes(kind: str) -> None:
    one, two, other = trace(kind), trace(kind), trace(kind, seed=6)
    for name in ARRAYS:
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.time_s.tobytes() != other.time_s.tobytes()
    assert one.time_s.min() >= 0 and one.time_s.max() < 70
    assert set(one.pairs.tolist()) == {BATCH} and set(one.deadline_s.tolist()) == {1.0}


@pytest.mark.parametrize("topology", ["mesh", "abilene"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_load_is_the_one_asked(kind: str, topology: str) -> None:
    # 40 s are two whole rounds of the hot spot and of the refresh. 40 runs carry
    # 40 * 60 * 40 / 4 = 24000 batches; a Poisson sum errs by 1/sqrt(24000) = 0.65 %, scheduled
    # blocks by less. Jitter over the ends of a run cancels in the mean. Bursts scatter more, see
    # the test of their variance.
    made = [trace(kind, topology, seed=s, duration_s=40.0) for s in range(40)]
    got = np.mean([one.pairs.sum() for one in made])
    error = 0.0065
    if kind == "bursts":
        error = math.sqrt(burst_variance(made[0].weights, 60.0 / 4, 40.0) / 40) / (60 * 40 / 4)
    assert got / 40.0 == pytest.approx(60.0, rel=5 * error)


def burst_variance(
    weights: np.ndarray[tuple[int], np.dtype[np.float64]], hz: float, s: float
) -> float:
    """Variance of the batches in ``s`` seconds, by the autocovariance of a two-state chain."""
    busy, quiet = 1 / 2.0, 1 / 18.0  # rates of leaving the states
    part = quiet / (busy + quiet)
    high, low = 0.8 / part, 0.2 / (1 - part)
    rate = busy + quiet
    # Integral over the window of var exp(-rate |t - u|).
    spread = part * (1 - part) * (high - low) ** 2
    window = 2 * (s / rate - (1 - math.exp(-rate * s)) / rate**2)
    return float(hz * s + (weights**2).sum() * hz**2 * spread * window)


@pytest.mark.parametrize("kind", ["poisson", "scheduled", "hotspot"])
def test_commodities_get_their_weights(kind: str) -> None:
    total = np.zeros(150)
    for seed in range(60):
        made = trace(kind, seed=seed, duration_s=40.0)
        total += np.bincount(made.commodity, minlength=150)
    wanted = made.weights * 60 * 60 * 40 / 4
    # Chi-squared with 150 degrees of freedom: mean 150, deviation sqrt(300) = 17.3. Scheduled
    # demand scatters less than Poisson.
    assert ((total - wanted) ** 2 / wanted).sum() < 150 + 5 * 17.3


def test_half_of_the_requests_ask_for_each_fidelity() -> None:
    made = trace(load_hz=4000.0)
    high = (made.minimum_fidelity == 0.85).mean()
    assert set(made.minimum_fidelity.tolist()) == {0.75, 0.85}
    assert abs(high - 0.5) < 5 * 0.5 / math.sqrt(len(made.time_s))


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(trace(load_hz=2000.0).time_s)
    # 35000 gaps of mean 4/2000 s; the deviation of an exponential equals its mean.
    assert gaps.mean() == pytest.approx(0.002, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)


def test_scheduled_blocks_come_each_twenty_seconds() -> None:
    made = trace("scheduled", load_hz=600.0, duration_s=200.0)
    for commodity in np.argsort(made.weights)[-5:]:
        times = np.unique(made.time_s[made.commodity == commodity])
        assert len(times) in (10, 11)
        gaps = np.diff(times)
        # The difference of two jitters of 0.2 s has a deviation of 0.28 s.
        assert np.abs(gaps - 20.0).max() < 5 * 0.28
        assert np.abs(gaps - 20.0).max() > 1e-3
    phases = [made.time_s[made.commodity == k][0] % 20 for k in range(150)]
    assert np.histogram(phases, bins=4, range=(0, 20))[0].min() > 20


def test_announced_is_scheduled_told_two_seconds_ahead() -> None:
    late, early = trace("scheduled"), trace("announced")
    assert np.array_equal(late.time_s, early.time_s)
    assert np.array_equal(late.minimum_fidelity, early.minimum_fidelity)
    assert np.array_equal(late.told_s, late.time_s)
    assert np.allclose(early.told_s, np.maximum(early.time_s - 2.0, 0.0))


def test_the_hot_group_moves_on() -> None:
    made = trace("hotspot", load_hz=2000.0, duration_s=40.0)
    turn = (made.time_s // 2.5).astype(int)
    count = np.zeros((16, 150))
    np.add.at(count, (turn, made.commodity), 1)
    share = count / count.sum(axis=0)
    hot = share.argmax(axis=0) % 8
    # Hot 2.5 s out of 20 s at 6.6 times the mean rate: 6.6 / 8 of the demand.
    in_turn = share.reshape(2, 8, 150).sum(axis=0)[hot, np.arange(150)]
    assert in_turn.mean() == pytest.approx(6.6 / 8, abs=0.02)
    assert set(np.bincount(hot).tolist()) == {18, 19}, "150 commodities in 8 groups"


def test_bursts_scatter_as_their_chain_says() -> None:
    counts, wanted = [], []
    for seed in range(30):
        made = trace("bursts", "line-2", seed=seed, load_hz=40.0, duration_s=400.0)
        counts.append(np.bincount((made.time_s // 5).astype(int), minlength=80))
        assert made.time_s.max() < 400.0 and made.weights.tolist() == [1.0]
    wanted = burst_variance(np.ones(1), 10.0, 5.0)
    got = np.var(counts, ddof=0)
    # 2400 windows of 5 s, each second or so independent of the one before; heavy-tailed.
    assert wanted > 20 * 50, "much more than Poisson's 50"
    assert got == pytest.approx(wanted, rel=0.25)
    # Busy from the first second on as often as later.
    first = np.array(counts)[:, 0].mean()
    assert abs(first - 50.0) < 5 * math.sqrt(wanted / 30)


def test_abilene_weights_and_curves_are_the_real_ones() -> None:
    network = load_topology("abilene", seed=1)
    made = trace("abilene", "abilene", load_hz=6000.0, duration_s=288.0)
    shares = traffic_abilene.shares(network, made.commodities)
    assert np.allclose(made.weights, shares / shares.sum())
    busiest = int(np.argmax(made.weights))
    count = np.bincount(made.time_s[made.commodity == busiest].astype(int), minlength=288).astype(
        float
    )
    curve = traffic_abilene.curves(network, made.commodities)[:, busiest]
    assert curve.shape == (28 * 288,) and curve.mean() == pytest.approx(1.0)
    # Somewhere in the 28 days the arrivals follow the real curve; noise of ~40 a slot is small.
    fit = [
        np.corrcoef(count, curve[start : start + 288])[0, 1] for start in range(len(curve) - 288)
    ]
    assert max(fit) > 0.6


def test_abilene_on_other_networks_varies_more_than_poisson() -> None:
    def spread(kind: str) -> float:
        made = trace(kind, load_hz=6000.0, seed=2)
        table = np.zeros((7, 150))
        np.add.at(table, ((made.time_s // 10).astype(int), made.commodity), 1)
        return float((table.var(axis=0) / table.mean(axis=0)).mean())

    assert spread("poisson") < 1.5 < spread("abilene")


# Wishes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"load_hz": math.nan}, "load must be >= 0"),
        ({"load_hz": -1.0}, "load must be >= 0"),
        ({"load_hz": 1e12}, "load x duration"),
        ({"deadline_s": 0.0}, "deadline_s must be > 0"),
        ({"duration_s": math.inf}, "duration_s must be > 0"),
        ({"fidelities": (0.8, 1.1)}, "fidelities asked"),
        ({"fidelities": ()}, "fidelities asked"),
        ({"commodities": 0}, "commodities must be >= 1"),
        ({"seed": -1}, "seeds must be >= 0"),
    ],
)
def test_wishes_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(**change)  # type: ignore[arg-type]


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"did you mean scheduled.*\.csv"):
        trace("schedulled")
