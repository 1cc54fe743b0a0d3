"""The forecaster of requests: what it knows, what it must not know, and what it learns."""

import numpy as np
import pytest
import torch

from controller.forecasting.foresight import Foresight, shipped
from controller.forecasting.kernels import blocks_after
from controller.forecasting.lessons import lessons_of
from controller.forecasting.looks import flat_rate, look_ahead, note
from controller.forecasting.pretraining import fit, loss_of
from controller.forecasting.recurrence import (
    OUTPUTS,
    Weights,
    log_rates,
    new_weights,
    recur,
    size_of,
)
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    FEATURES,
    INPUTS,
    LENGTH,
    new_streams,
    newest,
)
from quantum.demand import Trace
from quantum.errors import InputError

SLOT_S = 0.02


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def disturbed(nodes: int = 1, hidden: int = 4, units: int = 5, seed: int = 0) -> Weights:
    """Return weights none of which is zero."""
    fresh = new_weights(nodes, INPUTS, FEATURES, hidden=hidden, units=units, seed=seed)
    rng = np.random.default_rng(seed)
    noise = (rng.normal(0.0, 0.2, part.shape) for part in fresh)
    return Weights(*(part + more for part, more in zip(fresh, noise, strict=True)))


def tensors(weights: Weights) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(part) for part in weights)


def requests(
    classes: int, seconds: float, seed: int, rate_hz: float = 0.5
) -> list[tuple[int, int, int]]:
    """Draw slots, classes and pairs of Poisson requests."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(classes * rate_hz * seconds)
    slot = np.sort(rng.integers(0, int(seconds / SLOT_S), count)).tolist()
    return list(zip(slot, rng.integers(0, classes, count).tolist(), [4] * count, strict=True))


def a_network(**options: object) -> Foresight:
    """Open a forecaster of six classes of three sources."""
    source, destination = np.array([0, 0, 0, 1, 1, 4]), np.array([1, 1, 2, 3, 4, 5])
    fidelity = np.array([0.75, 0.85, 0.75, 0.75, 0.85, 0.75])
    return Foresight(source, destination, fidelity, slot_s=SLOT_S, **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------- the network


def test_stacked_networks_equal_a_loop_of_library_grus() -> None:
    nodes, windows, hidden = 3, 4, 6
    weights = disturbed(nodes, hidden)
    rng = np.random.default_rng(1)
    events = torch.from_numpy(rng.normal(size=(nodes, windows, LENGTH, INPUTS)))
    length = torch.from_numpy(rng.integers(0, LENGTH + 1, (nodes, windows)))
    got = recur(tensors(weights)[:4], events, length).numpy()
    for n in range(nodes):
        gru = torch.nn.GRU(INPUTS, hidden, batch_first=True, dtype=torch.float64)
        with torch.no_grad():
            gru.weight_ih_l0.copy_(torch.from_numpy(weights.wi[n].T))
            gru.weight_hh_l0.copy_(torch.from_numpy(weights.wh[n].T))
            gru.bias_ih_l0.copy_(torch.from_numpy(weights.bi[n, 0]))
            gru.bias_hh_l0.copy_(torch.from_numpy(weights.bh[n, 0]))
            for w in range(windows):
                real = int(length[n, w])
                want = np.zeros(hidden)
                if real:
                    want = gru(events[n, w, LENGTH - real :].unsqueeze(0))[1][0, 0].numpy()
                np.testing.assert_allclose(got[n, w], want, atol=1e-12)


def test_kernels_and_training_network_agree() -> None:
    weights = disturbed()
    ours = a_network(weights=weights, learn=False)
    for slot, cls, pairs in requests(6, 30.0, 3):
        ours.record(slot, cls, pairs)
    slot = 1600
    got = ours.log_rates(slot)
    nodes = np.arange(len(ours.nodes))
    events, length = newest(ours.streams, nodes)
    hidden = recur(
        tensors(weights)[:4], torch.from_numpy(events)[None], torch.from_numpy(length)[None]
    )
    size = len(ours.commodities)
    bins, flat = np.empty((size, BINS, FEATURES)), np.empty(size)
    for k in range(size):
        flat[k] = flat_rate(ours.streams, k, slot * SLOT_S)
        look_ahead(ours.streams, k, slot * SLOT_S, flat[k], bins[k])
    want = log_rates(
        tensors(weights)[4:],
        hidden,
        torch.from_numpy(ours.owner)[None],
        torch.from_numpy(bins)[None],
        torch.from_numpy(np.log(flat * BIN_S))[None, :, None, None],
    )[0].numpy()
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_an_untrained_network_forecasts_the_flat_rate() -> None:
    fresh = new_weights(1, INPUTS, FEATURES, hidden=3, units=3, seed=0)
    ours = a_network(weights=fresh, learn=False)
    for slot, cls, pairs in requests(6, 20.0, 1):
        ours.record(slot, cls, pairs)
    want = [np.log(flat_rate(ours.streams, k, 20.0) * BIN_S) for k in range(5)]
    got = ours.log_rates(1000)
    np.testing.assert_allclose(got, np.array(want)[:, None, None] + np.zeros((5, BINS, OUTPUTS)))


# ------------------------------------------------------------------------------- what it may know


def play(one: Foresight, asked: list[tuple[int, int, int]], stop: int, every: int = 25) -> list:
    """Return all that is said on the way until a slot."""
    said, at = [], 0
    for slot in range(0, stop + 1, every):
        while at < len(asked) and asked[at][0] <= slot:
            one.record(*asked[at])
            at += 1
        said.append((one.expected(slot, 25).tobytes(), one.time_to_next(slot).tobytes()))
    return said


def test_forking_the_future_changes_nothing_before_the_fork() -> None:
    common = [r for r in requests(6, 40.0, 5) if r[0] <= 1000]
    one = common + [r for r in requests(6, 40.0, 6) if r[0] > 1000]
    other = common + [r for r in requests(6, 40.0, 7, rate_hz=2.0) if r[0] > 1000]
    a, b = play(a_network(), one, 2000), play(a_network(), other, 2000)
    assert a[:41] == b[:41]
    assert a[41:] != b[41:]


def test_the_same_requests_give_the_same_bytes_however_often_it_is_asked() -> None:
    asked = requests(6, 60.0, 8)
    often, seldom = play(a_network(), asked, 3000, 5), play(a_network(), asked, 3000, 50)
    assert often[::10] == seldom
    assert play(a_network(), asked, 3000, 50) == seldom


def test_a_node_forecasts_the_same_in_any_company() -> None:
    asked = requests(6, 80.0, 9)
    all_, alone = (
        a_network(),
        Foresight(np.array([1, 1]), np.array([3, 4]), np.array([0.75, 0.85]), slot_s=SLOT_S),
    )
    for slot, cls, pairs in asked:
        all_.record(slot, cls, pairs)
        if cls in (3, 4):
            alone.record(slot, cls - 3, pairs)
    assert np.array_equal(all_.expected(4000, 25)[3:5], alone.expected(4000, 25))
    assert np.array_equal(all_.time_to_next(4000)[3:5], alone.time_to_next(4000))


def test_nothing_heard_is_a_small_finite_forecast() -> None:
    fresh = a_network()
    assert fresh.expected(0, 25).shape == (6,)
    for slot in (0, 1, 5000, 10**9):
        said = fresh.expected(slot, 50)
        assert np.all(np.isfinite(said)) and np.all(said >= 0.0) and np.all(said < 1.0)
    none = Foresight(np.zeros(0, int), np.zeros(0, int), np.zeros(0), slot_s=SLOT_S)
    assert none.expected(100, 10).shape == (0,)
    assert none.time_to_next(100).shape == (0, BINS)


def test_a_single_class_and_a_flood_of_requests_stay_finite() -> None:
    one = Foresight(np.array([0]), np.array([1]), np.array([0.8]), slot_s=SLOT_S)
    for slot in range(3000):
        for _ in range(3):
            one.record(slot, 0, 1000)
    said = one.expected(3000, 50)
    # Ten blocks a second are far beyond what it was trained on: the right size, no more.
    assert 30_000 < said[0] < 300_000


def test_a_long_silence_is_quick_and_then_it_goes_on() -> None:
    one = a_network()
    one.record(10, 0, 4)
    one.record(10**9, 1, 4)
    said = one.expected(10**9 + 1, 25)
    assert np.all(np.isfinite(said)) and np.all(said >= 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((5, 9, 4), "class must be 0 to 5"),
        ((5, 0, 0), "pairs must be >= 1"),
        ((5, 0, float("nan")), "pairs must be >= 1"),
        ((1, 0, 4), "never fall"),
    ],
)
def test_impossible_requests_are_refused(call: tuple, message: str) -> None:
    one = a_network()
    one.record(5, 0, 4)
    with pytest.raises(InputError, match=message):
        one.record(*call)


def test_impossible_forecasters_are_refused() -> None:
    ends = np.array([0]), np.array([1])
    with pytest.raises(InputError, match="fidelity must be finite"):
        Foresight(*ends, np.array([np.nan]), slot_s=SLOT_S)
    with pytest.raises(InputError, match="slot_s"):
        Foresight(*ends, np.array([0.8]), slot_s=0.0)
    with pytest.raises(InputError, match="each"):
        Foresight(*ends, np.zeros(2), slot_s=SLOT_S)
    with pytest.raises(InputError, match="horizon"):
        a_network().expected(0, 0)
    with pytest.raises(InputError, match="hidden"):
        new_weights(1, INPUTS, FEATURES, hidden=0, units=1, seed=0)
    head = a_network().head()
    with pytest.raises(InputError, match="finite"):
        a_network().load_head(np.full_like(head, np.nan))


# --------------------------------------------------------------------------------- what it learns


def test_blocks_are_counted_in_the_bins_that_end_with_their_slots() -> None:
    streams = new_streams(np.array([0]), 1)
    for slot in (50, 51, 55, 56, 75, 100, 101):
        note(streams, 0, slot * SLOT_S, 4.0, 0.8)
    came = np.empty(BINS)
    # 51 joins the block of 50, 56 that of 55; 75 ends bin 4, 100 the last bin, and 101 joins it.
    blocks_after(streams, 0, 1.0, came)
    assert came.tolist() == [1.0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]
    assert streams.sizes[0, :4].tolist() == [8.0, 8.0, 4.0, 8.0]


def test_a_schedule_is_foretold_after_two_rounds() -> None:
    """A block each 20 s, with the presets' scatter: it is due within half a second or it is not."""
    rng, one = np.random.default_rng(4), a_network()
    due = 5.0 + 20.0 * np.arange(8)
    slots = np.floor((due + rng.normal(0.0, 0.2, 8)) / SLOT_S).astype(int)
    soon, far = [], []
    for number, slot in enumerate(slots):
        if number >= 3:
            before = int((due[number] - 0.5) / SLOT_S)
            far.append(one.expected(before - 500, 50)[5])
            soon.append(one.expected(before, 50)[5])
        one.record(int(slot), 5, 4)
    assert np.mean(soon) > 2.0  # of the four pairs that come
    assert np.mean(far) < 0.15


def test_a_season_of_its_own_is_found() -> None:
    one = Foresight(np.array([0]), np.array([1]), np.array([0.8]), slot_s=SLOT_S)
    for number in range(20):
        one.record(350 * number + 17, 0, 4)
    one.expected(7200, 25)
    assert one.streams.cells[0] * one.streams.cell_s[0] == pytest.approx(7.0, abs=0.11)


def test_hazards_of_poisson_requests_are_calibrated() -> None:
    """Of all chances that a request comes by the end of a bin, that share comes."""
    asked, one = requests(6, 300.0, 11, rate_hz=0.3), a_network()
    said, came, at = [], [], 0
    slots = np.array([r[0] for r in asked])
    cls = np.array([r[1] for r in asked])
    for slot in range(1000, 14_900, 50):
        while at < len(asked) and asked[at][0] <= slot:
            one.record(*asked[at])
            at += 1
        said.append(one.time_to_next(slot)[:, 4])
        inside = (slots > slot) & (slots <= slot + 25)
        came.append(np.isin(np.arange(6), cls[inside]))
    chance, hit = np.array(said), np.array(came)
    spread = np.sqrt((chance * (1.0 - chance)).sum())
    assert abs(chance.sum() - hit.sum()) < 3.5 * spread
    assert np.mean(one.hazards(14_900).sum(axis=1)) < 1.0


def test_outputs_learn_as_requests_come_and_can_be_exchanged() -> None:
    """From random weights, on requests that come twice as often as the flat rate says."""
    fresh = new_weights(1, INPUTS, FEATURES, hidden=4, units=6, seed=1)
    learns, stays = a_network(weights=fresh), a_network(weights=fresh, learn=False)
    for slot, cls, pairs in [r for r in requests(6, 200.0, 2) if r[0] > 5000]:
        learns.record(slot, cls, pairs)
        stays.record(slot, cls, pairs)
    assert not np.array_equal(learns.head(), stays.head())
    assert learns.expected(10_000, 25).sum() > 1.15 * stays.expected(10_000, 25).sum()
    learns.load_head(stays.head())
    assert np.array_equal(learns.expected(10_000, 25), stays.expected(10_000, 25))


def test_training_lowers_the_loss_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    size = 400
    trace = Trace(
        name="short",
        commodities=np.array([[0, 1], [0, 2], [1, 2]]),
        weights=np.full(3, 1 / 3),
        load_hz=40.0,
        time_s=np.sort(rng.uniform(0.0, 40.0, size)),
        commodity=rng.choice(3, size, p=[0.8, 0.15, 0.05]),
        pairs=np.full(size, 4),
        minimum_fidelity=np.full(size, 0.75),
        deadline_s=np.ones(size),
        told_s=np.zeros(size),
    )
    lessons = lessons_of(trace, 40.0, 0)
    assert lessons.came.sum() > 50
    start = new_weights(1, INPUTS, FEATURES, hidden=3, units=4, seed=0)
    before = loss_of(tuple(t.float() for t in tensors(start)), lessons)
    found, after = fit(lessons, lessons, hidden=3, units=4, epochs=60)
    again, _ = fit(lessons, lessons, hidden=3, units=4, epochs=60)
    assert after < before
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_the_shipped_networks_are_those_that_their_notes_describe() -> None:
    import tomllib
    from importlib.resources import files

    from controller.checkpoint import load

    for name in ("gru", "small", "quantum"):
        data = files("controller") / "data"
        note_ = tomllib.loads((data / f"forecast_{name}.toml").read_text())
        path = data / f"forecast_{name}.safetensors"
        assert load(path).digest == note_["digest"]  # type: ignore[arg-type]
        assert note_["trace_seeds"][0] >= 1_000_000 and note_["networks"][0] >= 4
        assert size_of(shipped(name), head_only=name == "quantum") == note_["parameters"]
    small, quantum = size_of(shipped("small")), size_of(shipped("quantum"), head_only=True)
    assert 0 <= quantum - small <= 4
