"""Times and fidelities of chains: published formulas, recursions and Markov chains."""

import math
from itertools import combinations, product

import numpy as np
import pytest

from quantum import bell, werner
from quantum.chain import Setting, deliver, play, summary
from quantum.program import Memory

#: Chance of a miss under 1e-6 each, with seeds fixed.
SIGMAS = 5.0
ATTEMPT_S = 1e-3


def chain(p, **how):
    return Setting(success_probability=np.atleast_1d(p), attempt_s=ATTEMPT_S, **how)


def agrees(values, want, sigmas=SIGMAS):
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert values.mean() == pytest.approx(want, abs=sigmas * error, rel=0)
    assert error < 0.03 * want, "this test would pass for too much"


def expected_max(chances):
    """Mean of the largest of independent geometric numbers, by inclusion and exclusion."""
    return sum(
        (-1) ** (size + 1) / (1.0 - math.prod(1.0 - p for p in some))
        for size in range(1, len(chances) + 1)
        for some in combinations(chances, size)
    )


@pytest.mark.parametrize("p", [1.0, 0.9, 0.3, 1e-3, 1e-8])
def test_one_link_takes_geometric_attempts(p):
    got = play(chain(p), 40_000, seed=1)
    attempts = np.round(got.time_s / ATTEMPT_S)
    assert np.array_equal(attempts, got.attempts_total)
    assert attempts.min() >= 1.0
    for number in (1, 2, 5, round(1 / p)):
        share = np.mean(attempts <= number)
        want = -math.expm1(number * math.log1p(-p)) if p < 1.0 else 1.0
        assert share == pytest.approx(want, abs=SIGMAS * math.sqrt(want * (1 - want) / 40_000))
    if p < 1.0:
        agrees(attempts, 1.0 / p)
    assert not got.waits_s.any()


@pytest.mark.parametrize("order", ["asap", "balanced", "sequential"])
@pytest.mark.parametrize("chances", [(0.3, 0.3), (0.9, 0.1), (0.2, 0.5, 0.35), (0.25,) * 7])
def test_sure_swaps_wait_for_the_slowest_link(order, chances):
    got = play(chain(chances, order=order), 40_000, seed=2)
    agrees(got.time_s / ATTEMPT_S, expected_max(chances))
    agrees(got.attempts_total, sum(1.0 / p for p in chances))


def test_a_hundred_links():
    # E[max] = sum over t of P(max > t): no inclusion-exclusion with 2^100 terms.
    p, links = np.linspace(0.1, 0.5, 100), 100
    steps = np.arange(2000)[:, None]
    want = float((1.0 - np.prod(-np.expm1(steps * np.log1p(-p)), axis=1)).sum())
    got = deliver(chain(p), 20_000, 3, [0.999] * 3)
    agrees(got.time_s / ATTEMPT_S, want)
    assert got.correlators == pytest.approx(0.999**links, rel=1e-12)


@pytest.mark.parametrize(("p", "q"), [(0.1, 1.0), (0.1, 0.5), (0.6, 0.3)])
def test_two_links_as_published(p, q):
    # Collins et al., PRL 98, 060502 (2007): (3 - 2p) / (p (2 - p)), and each try succeeds with q.
    got = play(chain([p, p], swap_success=q), 60_000, seed=4)
    agrees(got.time_s / ATTEMPT_S, (3 - 2 * p) / (p * (2 - p)) / q)


def nested_means(p, q, levels, most=6000):
    """Mean attempts of nested levels, from the distributions (Brand, Coopmans, Elkouss 2020).

    The time of a level is a geometric number of independent maxima of two times of the level below.
    """
    below = np.concatenate([[0.0], p * (1.0 - p) ** np.arange(most - 1)])
    means = []
    for _ in range(levels):
        cdf = np.cumsum(below)
        longer = np.diff(np.concatenate([[0.0], cdf**2]))
        # T = M with chance q, else M + T': in z-transforms q M / (1 - (1 - q) M).
        spectrum = np.fft.rfft(longer, 2 * most)
        time = np.fft.irfft(q * spectrum / (1.0 - (1.0 - q) * spectrum), 2 * most)
        below = np.clip(time[:most], 0.0, None)
        means.append(float((below * np.arange(most)).sum()))
        assert below.sum() == pytest.approx(1.0, abs=1e-9), "the tail is cut"
    return means


@pytest.mark.parametrize(("p", "q"), [(0.4, 1.0), (0.3, 0.5), (0.15, 0.7)])
def test_nested_levels_follow_the_recursion(p, q):
    for level, want in enumerate(nested_means(p, q, 3), start=1):
        how = {"order": "balanced", "swap_success": q}
        got = play(chain([p] * 2**level, **how), 4000, seed=5)
        agrees(got.time_s / ATTEMPT_S, want)


def test_nested_levels_come_near_the_published_approximation():
    # Sangouard et al., RMP 83, 33 (2011): (3/2)^n / (p q^n) for small p and q; 2 % at q = 0.1.
    p, q = 0.004, 0.1
    got = play(chain([p] * 4, order="balanced", swap_success=q), 4000, seed=6)
    assert got.time_s.mean() / ATTEMPT_S == pytest.approx(1.5**2 / (p * q * q), rel=0.1)


class Absorbing:
    """Mean of steps, and of a value at the end, of a Markov chain given by ``moves(state)``.

    A move is (chance, next state or None at the end, value then).
    """

    def __init__(self, start, moves):
        number, todo, rows = {start: 0}, [start], []
        for state in todo:
            for chance, after, value in moves(state):
                if after is not None and after not in number:
                    number[after] = len(todo)
                    todo.append(after)
                rows.append((number[state], after, chance, value))
        stay = np.zeros((len(todo), len(todo)))
        gain = np.zeros(len(todo))
        for here, after, chance, value in rows:
            if after is None:
                gain[here] += chance * value
            else:
                stay[here, number[after]] += chance
        system = np.eye(len(todo)) - stay
        self.steps = float(np.linalg.solve(system, np.ones(len(todo)))[0])
        self.value = float(np.linalg.solve(system, gain)[0])


def two_links(p, q, cutoff, memory):
    """Two links with a cutoff: the state is the age of the stored pair, in attempts, or None."""
    fresh = bell.correlators(bell.werner(0.95))

    def fidelity(age):
        old = werner.wait(fresh, age * ATTEMPT_S, age * ATTEMPT_S, memory)
        return float(werner.fidelity(werner.swap(old, fresh)))

    def moves(age):
        if age == "none":
            yield p * p * q, None, fidelity(0)
            yield p * p * (1 - q), "none", 0.0
            yield 2 * p * (1 - p), 0 if cutoff > 0 else "none", 0.0
            yield (1 - p) ** 2, "none", 0.0
        else:
            yield p * q, None, fidelity(age + 1)
            yield p * (1 - q), "none", 0.0
            yield 1 - p, age + 1 if age + 1 < cutoff else "none", 0.0

    return Absorbing("none", moves)


@pytest.mark.parametrize(("p", "q", "cutoff"), [(0.3, 1.0, 4), (0.2, 0.6, 7), (0.5, 0.9, 0)])
@pytest.mark.parametrize("memory", [Memory(t1_s=20e-3, t2_s=12e-3), Memory(t2_s=5e-3)])
def test_two_links_with_a_cutoff(p, q, cutoff, memory):
    want = two_links(p, q, cutoff, memory)
    setting = chain([p, p], swap_success=q, cutoff_s=cutoff * ATTEMPT_S)
    got = summary(deliver(setting, 60_000, 7, bell.correlators(bell.werner(0.95)), memory))
    assert got.mean_time_s == pytest.approx(
        want.steps * ATTEMPT_S, abs=SIGMAS * got.mean_time_error_s
    )
    error = SIGMAS * got.mean_fidelity_error + 1e-12
    assert got.mean_fidelity == pytest.approx(want.value, abs=error)
    assert got.mean_time_error_s < 0.01 * got.mean_time_s


def joins(order, links, segments):
    """Return the nodes that swap now, given the set of segments (low, high)."""
    ends = {high: low for low, high in segments}
    starts = dict(segments)
    able = [node for node in range(1, links) if node in ends and node in starts]
    if order == "asap":
        return able
    if order == "sequential":
        return [node for node in able if ends[node] == 0][:1]
    reach = {node: node & -node for node in able}
    return [
        node
        for node in able
        if ends[node] == node - reach[node] and starts[node] == min(links, node + reach[node])
    ][:1]


def settle(order, links, segments, q):
    """Swap until nothing can: yields (chance, segments)."""
    nodes = joins(order, links, segments)
    if not nodes:
        yield 1.0, segments
        return
    for works in product([True, False], repeat=len(nodes)):
        chance = math.prod(q if w else 1 - q for w in works)
        # The runs of segments which these swaps join live only if all their swaps work.
        low_of, left = {}, set(segments)
        for node, work in zip(nodes, works, strict=True):
            (a,) = [low for low, high in left if high == node]
            (b,) = [high for low, high in left if low == node]
            left -= {(a, node), (node, b)}
            left.add((a, b))
            low_of[a, b] = work and low_of.pop((a, node), True)
        after = frozenset(s for s in left if low_of.get(s, True))
        for more, final in settle(order, links, after, q) if order != "asap" else [(1.0, after)]:
            yield chance * more, final


def mean_steps(order, chances, q):
    links = len(chances)

    def moves(segments):
        covered = {link for low, high in segments for link in range(low, high)}
        free = [link for link in range(links) if link not in covered]
        for hits in product([True, False], repeat=len(free)):
            chance = math.prod(
                chances[link] if hit else 1 - chances[link]
                for link, hit in zip(free, hits, strict=True)
            )
            new = {(link, link + 1) for link, hit in zip(free, hits, strict=True) if hit}
            for more, after in settle(order, links, segments | new, q):
                yield chance * more, None if (0, links) in after else after, 0.0

    return Absorbing(frozenset(), moves).steps


@pytest.mark.parametrize("order", ["asap", "balanced", "sequential"])
@pytest.mark.parametrize(
    "chances", [(0.5, 0.2, 0.3), (0.3, 0.4, 0.5, 0.2), (0.6, 0.3, 0.5, 0.4, 0.7)]
)
def test_failing_swaps_as_a_markov_chain(order, chances):
    q = 0.7
    got = play(chain(chances, order=order, swap_success=q), 20_000, seed=8)
    agrees(got.time_s / ATTEMPT_S, mean_steps(order, chances, q))


@pytest.mark.parametrize("cutoff", [math.inf, 5])
def test_one_link_at_a_time(cutoff):
    # NV style: link 0 first. A pair is lost while the other link is busy, which then goes on;
    # so runs of one link follow another until one is no longer than the cutoff (Wald).
    p = 0.25
    short = 1.0 - (1.0 - p) ** cutoff if cutoff < math.inf else 1.0
    setting = chain([p, p], one_at_a_time=True, cutoff_s=cutoff * ATTEMPT_S)
    got = play(setting, 40_000, seed=9)
    agrees(got.time_s / ATTEMPT_S, 1 / p + 1 / (p * short))
    waits = np.sort(got.waits_s.reshape(-1, 4), axis=1)
    # One pair is fresh at the swap, the other has waited for exactly the last run.
    assert not waits[:, :2].any() and np.array_equal(waits[:, 2], waits[:, 3])
    assert waits.max() <= cutoff * ATTEMPT_S
    inner = got.attempts[:, 0, 1] + got.attempts[:, 1, 0]
    assert inner * ATTEMPT_S == pytest.approx(waits[:, 3], rel=1e-12)


def test_a_summary_is_of_its_deliveries():
    got = deliver(chain([0.2, 0.4]), 5000, 10, [1.0, 1.0, 1.0], Memory(t2_s=0.05))
    report = summary(got, quantiles=[0.25, 1.0])
    fidelity = werner.fidelity(got.correlators)
    assert report.mean_fidelity == pytest.approx(fidelity.mean(), abs=1e-15)
    assert report.rate_hz == pytest.approx(1 / got.time_s.mean())
    assert report.rate_error_hz / report.rate_hz == pytest.approx(
        report.mean_time_error_s / report.mean_time_s
    )
    assert report.time_quantiles_s[1] == (1.0, got.time_s.max())
    assert report.mean_attempts == pytest.approx(got.attempts_total.mean())
