"""The forecaster, its history and its rivals, against references and known answers."""

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from controller import baselines
from controller.forecast import Forecaster
from controller.history import History, HistoryConfig
from quantum.errors import InputError


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def disturb(forecaster: Forecaster, seed: int = 0) -> None:
    """Give every node weights of its own."""
    state = forecaster.state()
    noise = np.random.default_rng(seed).normal(0.0, 0.2, state["parameters"].shape)
    forecaster.load_state({**state, "parameters": state["parameters"] + noise})


def test_equals_a_loop_of_library_grus() -> None:
    nodes, inputs, hidden, horizon = 3, 5, 6, 4
    ours = Forecaster(nodes, inputs, hidden, horizon)
    disturb(ours)
    window = np.random.default_rng(1).normal(size=(nodes, 9, inputs))
    flat = ours.state()["parameters"]
    got = ours.predict(window)
    for n in range(nodes):
        gru = torch.nn.GRU(inputs, hidden, batch_first=True, dtype=torch.float64)
        sizes = [inputs * 18, 18, hidden * 18, 18, hidden * horizon, horizon, 1]
        wi, bi, wh, bh, wo, bo, _ = np.split(flat[n], np.cumsum(sizes)[:-1])
        with torch.no_grad():
            gru.weight_ih_l0.copy_(torch.tensor(wi.reshape(inputs, 18).T))
            gru.weight_hh_l0.copy_(torch.tensor(wh.reshape(hidden, 18).T))
            gru.bias_ih_l0.copy_(torch.tensor(bi))
            gru.bias_hh_l0.copy_(torch.tensor(bh))
            _, last = gru(torch.tensor(window[n : n + 1]))
        want = np.exp(last[0, 0].numpy() @ wo.reshape(hidden, horizon) + bo)
        np.testing.assert_allclose(got[n], want, rtol=1e-9)


def test_kernel_and_training_network_agree() -> None:
    """The likelihood that training reports is that of the kernel's forecasts."""
    ours = Forecaster(3, 4, 6, 5)
    disturb(ours)
    rng = np.random.default_rng(2)
    window, target = rng.normal(size=(3, 7, 4)), rng.poisson(2.0, (3, 5)).astype(float)
    offset = rng.normal(size=(3, 5))
    mean = ours.predict(window, offset)
    loss = ours.train(window[:, None], target[:, None], 1, offset=offset[:, None])
    assert loss == pytest.approx(-poisson.logpmf(target, mean).mean(), abs=1e-9)


def test_a_node_forecasts_the_same_alone_and_among_others() -> None:
    many, one = Forecaster(4, 5), Forecaster(1, 5)
    disturb(many)
    state = many.state()
    one.load_state({name: part[2:3] for name, part in state.items()})
    window = np.random.default_rng(3).normal(size=(4, 10, 5))
    assert np.array_equal(many.predict(window)[2], one.predict(window[2:3])[0])


def test_starts_as_the_rival() -> None:
    fresh = Forecaster(2, 3, horizon=4)
    rival = np.random.default_rng(0).uniform(0.1, 5.0, (2, 4))
    np.testing.assert_allclose(fresh.predict(np.ones((2, 6, 3)), np.log(rival)), rival)


def periodic(bins: int, seed: int) -> np.ndarray:
    """Return counts of two nodes whose rate swings from 0 to 6 with a period of 12 bins."""
    t = np.arange(bins)
    phase = np.array([[0.0], [2.0]])
    rate = 3.0 * (1.0 + np.sin(2.0 * np.pi * t / 12.0 + phase))
    return np.random.default_rng(seed).poisson(rate).astype(np.float64)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_learns_a_period_that_smoothing_cannot_see(likelihood: str) -> None:
    length, horizon, split = 12, 4, 500
    series = periodic(700, 5)
    cut = np.lib.stride_tricks.sliding_window_view(series, length + horizon, axis=1)
    x, y = np.log1p(cut[..., :length, None]), cut[..., length:]
    model = Forecaster(2, 1, hidden=8, horizon=horizon, likelihood=likelihood)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(60):
        pick = rng.integers(0, split - length - horizon, 32)
        losses.append(model.train(x[:, pick], y[:, pick], 4))
    assert losses[-1] < losses[0]
    ends = range(split, x.shape[1], 3)
    truth = np.stack([y[:, e] for e in ends])
    mine = np.stack([model.predict(x[:, e]) for e in ends])
    smooth = np.stack([baselines.ewma(cut[:, e, :length], horizon) for e in ends])
    assert baselines.wape(mine, truth) < 0.75 * baselines.wape(smooth, truth)
    assert baselines.crps_poisson(mine, truth) < 0.75 * baselines.crps_poisson(smooth, truth)
    # The 80 % interval of counts covers 80 % or, being made of whole numbers, somewhat more.
    band = np.stack([model.quantiles(x[:, e], np.array([0.1, 0.9])) for e in ends])
    assert 0.7 < baselines.coverage(band[..., 0], band[..., 1], truth) < 0.98


def test_negative_binomial_learns_that_demand_comes_in_batches() -> None:
    """Batches of 4 have four times the variance of single pairs; Poisson intervals miss it."""
    y = 4.0 * np.random.default_rng(1).poisson(1.0, (1, 400, 2))
    x = np.zeros((1, 400, 3, 1))
    wide = {}
    for likelihood in ("poisson", "negative_binomial"):
        model = Forecaster(1, 1, hidden=2, horizon=2, likelihood=likelihood, learning_rate=0.05)
        model.train(x, y, 150)
        assert model.predict(x[:, 0]) == pytest.approx(np.full((1, 2), y.mean()), rel=0.1)
        band = model.quantiles(x[:, 0], np.array([0.1, 0.9]))
        wide[likelihood] = int(band[0, 0, 1] - band[0, 0, 0])
    assert wide["negative_binomial"] > 1.3 * wide["poisson"]


def test_only_the_head_learns_if_asked_and_heads_can_be_exchanged() -> None:
    model = Forecaster(2, 3, hidden=4, horizon=2, train_body=False)
    before = model.state()["parameters"]
    model.train(np.ones((2, 3, 5, 3)), np.full((2, 3, 2), 7.0), 3)
    after, size = model.state()["parameters"], model.head().shape[1]
    assert np.array_equal(before[:, :-size], after[:, :-size])
    assert not np.array_equal(before[:, -size:], after[:, -size:])
    shared = np.tile(model.head().mean(axis=0), (2, 1))
    model.load_head(shared)
    assert np.array_equal(model.head(), shared)


def test_windows_that_do_not_count_have_no_effect() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 5, 3)), rng.poisson(1.0, (2, 4, 2)).astype(float)
    valid = np.array([[True, True, False, False], [False] * 4])
    a, b = Forecaster(2, 3, 4, 2), Forecaster(2, 3, 4, 2)
    start = a.state()["parameters"]
    a.train(x, y, 3, valid=valid)
    changed = x.copy()
    changed[~valid] = 9.0
    b.train(changed, y, 3, valid=valid)
    assert np.array_equal(a.state()["parameters"], b.state()["parameters"])
    assert np.array_equal(a.state()["parameters"][1], start[1])


def test_bad_windows_are_refused() -> None:
    model = Forecaster(2, 3, 4, 2)
    with pytest.raises(InputError, match="finite"):
        model.predict(np.full((2, 5, 3), np.nan))
    with pytest.raises(InputError, match="shape"):
        model.predict(np.zeros((3, 5, 3)))
    with pytest.raises(InputError, match="counts"):
        model.train(np.zeros((2, 1, 5, 3)), np.full((2, 1, 2), -1.0), 1)
    x, y = np.zeros((2, 1, 5, 3)), np.zeros((2, 1, 2))
    with pytest.raises(InputError, match="valid window"):
        model.train(x, y, 1, valid=np.zeros((2, 1), dtype=bool))
    with pytest.raises(InputError, match="levels"):
        model.quantiles(np.zeros((2, 5, 3)), np.array([np.nan]))


def stream(history: History, seconds: float, seed: int, period_s: float | None) -> None:
    """Play requests of 4 pairs between nodes 0 and 1: every period with jitter, or at random."""
    rng = np.random.default_rng(seed)
    if period_s is None:
        times = np.sort(rng.uniform(0.0, seconds, int(seconds / 5.0)))
    else:
        due = np.arange(1.0, seconds, period_s)
        times = due + rng.uniform(-0.1, 0.1, len(due))
    for time_s in times:
        history.record(time_s, source=0, destination=1, minimum_fidelity=0.75, pairs=4)
    history.advance(seconds)


def test_history_counts_requests_at_both_ends() -> None:
    config = HistoryConfig(length=4, rates_s=(1.0,), season_every=0)
    history = History(3, config)
    history.record(0.05, source=0, destination=2, minimum_fidelity=0.8, pairs=4)
    history.record(0.15, source=2, destination=0, minimum_fidelity=0.6, pairs=2)
    history.record(0.18, source=0, destination=2, minimum_fidelity=0.9, pairs=1)
    history.advance(0.2)
    x, names = history.inputs(), list(config.columns)
    assert x.shape == (3, 4, len(names))
    assert not x[:, :2].any()  # before the start
    newest = dict(zip(names, x[0, -1], strict=True))
    assert newest["requests"] == pytest.approx(np.log1p(2))
    assert newest["pairs"] == pytest.approx(np.log1p(3))
    assert newest["as_source"] == pytest.approx(1 / 3)
    assert newest["fidelity"] == pytest.approx(0.75)
    assert newest["since"] == pytest.approx(np.log1p(0.02))
    assert newest["rate_1s"] == pytest.approx(np.log1p(4 * np.exp(-0.1) + 3))
    assert history.series().tolist() == [[4.0, 3.0], [0.0, 0.0], [4.0, 3.0]]


def test_history_is_the_same_however_it_is_advanced() -> None:
    a, b = History(2), History(2)
    stream(a, 30.0, 1, None)
    stream(b, 7.0, 1, None)
    b = History(2)
    rng = np.random.default_rng(1)
    for time_s in np.sort(rng.uniform(0.0, 30.0, 6)):
        for part in np.linspace(0.0, time_s, 5):
            b.advance(float(part))  # going back in time closes nothing
        b.record(time_s, source=0, destination=1, minimum_fidelity=0.75, pairs=4)
    b.advance(30.0)
    assert np.array_equal(a.inputs(), b.inputs())


def test_a_season_is_found_in_a_schedule_and_not_in_noise() -> None:
    """A block every 20 s with a jitter of 0.1 s, as in the presets' scheduled demand."""
    scheduled = History(2)
    stream(scheduled, 102.0, 3, 20.0)
    assert np.all(np.abs(scheduled.lag - 200) <= 2)
    found = 0
    for seed in range(40):
        random = History(2)
        stream(random, 102.0, seed, None)
        found += int(random.lag[0] > 0)
    assert found <= 2


def test_a_slow_change_is_not_a_season() -> None:
    rate = np.where(np.arange(1000) < 500, 0.2, 4.0)
    series = np.random.default_rng(0).poisson(rate, (20, 1000)).astype(float)
    assert not baselines.seasonal_lag(series, 8).any()


def test_season_columns_show_what_came_a_season_ago() -> None:
    history = History(2)
    stream(history, 100.5, 3, 20.0)
    history.lag = np.array([200, 0])
    ahead = history.inputs()[..., -8:]
    want = np.log1p(history.series()[0, -200:-192])
    assert np.array_equal(ahead[0, -1], want)
    assert want.any()  # the block due at 101 s, half a second ahead
    assert not ahead[1].any()


def test_training_windows_hold_what_followed() -> None:
    config = HistoryConfig(length=3, horizon=2, capacity=16, season_every=0)
    history = History(2, config)
    for k in range(40):  # k + 1 pairs in bin k: each window tells its own future
        history.record(0.1 * k + 0.05, source=0, destination=1, minimum_fidelity=0.5, pairs=k + 1)
    history.advance(4.0)
    x, y = history.windows(64, np.random.default_rng(0))
    newest = np.rint(np.expm1(x[:, :, -1, 1]))
    assert np.array_equal(y, newest[..., None] + [1.0, 2.0])
    assert newest.min() >= 40 - 16 + 3 and newest.max() == 38
    assert np.all(x[:, :, 0, 1] > 0.0)


def test_a_long_silence_is_quick_and_forgets() -> None:
    history = History(2, HistoryConfig(capacity=32))
    history.record(1.0, source=0, destination=1, minimum_fidelity=0.5, pairs=4)
    history.advance(1e9)
    assert history.bins == 10_000_000_000
    assert not history.series().any()
    rates = history.inputs()[0, -1, 5:9]
    assert rates == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": 5}, "0 to 1"),
        ({"destination": 0}, "differ"),
        ({"minimum_fidelity": float("nan")}, "minimum_fidelity"),
        ({"pairs": 0}, "pairs"),
    ],
)
def test_impossible_requests_are_refused(change: dict[str, float], message: str) -> None:
    request = {"source": 0, "destination": 1, "minimum_fidelity": 0.5, "pairs": 1}
    with pytest.raises(InputError, match=message):
        History(2).record(0.0, **(request | change))
    with pytest.raises(InputError, match="time_s"):
        History(2).record(float("nan"), **request)


def test_rivals_by_hand() -> None:
    series = np.array([[1.0, 2.0, 3.0, 3.0, 6.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0, 5.0]])
    lag = np.array([3, 0])
    assert not baselines.zero(series, 2).any()
    assert baselines.last_value(series, 2).tolist() == [[9.0, 9.0], [5.0, 5.0]]
    assert baselines.seasonal_naive(series, 4, lag)[0].tolist() == [3.0, 6.0, 9.0, 3.0]
    assert baselines.seasonal_naive(series, 2, lag)[1].tolist() == [5.0, 5.0]
    # Profile (2, 4, 6); the last 3 bins brought 18 where it has 12.
    want = np.array([2.0, 4.0, 6.0, 2.0]) * 18.5 / 12.5
    got = baselines.profile_level(series, 4, lag, recent=3)
    np.testing.assert_allclose(got[0], want)
    np.testing.assert_allclose(got[1], 0.8 + 0.2 * 5.0)
    by_hand = 1.0
    for x in series[0]:
        by_hand = 0.7 * by_hand + 0.3 * x
    np.testing.assert_allclose(baselines.ewma(series, 1, 0.3)[0, 0], by_hand)


def test_profile_times_level_beats_its_parts_on_a_season_with_a_changing_level() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(480)
    level = np.exp(rng.normal(0.0, 0.5, (30, 10))).repeat(48, axis=1)
    rate = 3.0 * level * (1.0 + 0.8 * np.sin(2.0 * np.pi * t / 48.0))
    series = rng.poisson(rate).astype(float)
    past, truth, lag = series[:, :-20], series[:, -20:], np.full(30, 48)
    scores = [
        baselines.mase(forecast, truth, past, 48)
        for forecast in (
            baselines.profile_level(past, 20, lag),
            baselines.seasonal_naive(past, 20, lag),
            baselines.ewma(past, 20),
        )
    ]
    assert scores[0] < min(scores[1:])


def test_crps_is_the_sum_over_its_definition() -> None:
    rng = np.random.default_rng(0)
    mean, truth = rng.uniform(0.01, 8.0, 50), rng.integers(0, 12, 50).astype(float)
    k = np.arange(200)
    step = k[None, :] >= truth[:, None]
    explicit = np.square(poisson.cdf(k[None, :], mean[:, None]) - step).sum(axis=1).mean()
    assert baselines.crps_poisson(mean, truth) == pytest.approx(explicit, abs=1e-10)


def test_scores_need_something_to_score() -> None:
    flat = np.ones((2, 5))
    with pytest.raises(InputError, match="constant"):
        baselines.mase(flat, flat, flat)
    with pytest.raises(InputError, match="zero"):
        baselines.wape(flat, np.zeros((2, 5)))
    moving = np.array([[0.0, 2.0, 0.0], [1.0, 1.0, 1.0]])
    assert baselines.mase(np.zeros((2, 1)), np.array([[3.0], [9.0]]), moving) == 1.5
