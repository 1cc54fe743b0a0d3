"""How forecasters are judged: exact laws of counts, a true process, an honest walk, the command."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from controller.commands.forecast import command
from controller.forecasting.comparing import compare
from controller.forecasting.counts import LEVELS, score_counts
from controller.forecasting.foresight import Foresight
from controller.forecasting.judging import BAR, ORACLE, closed, judge
from controller.forecasting.rivals import mean_rate, smooth_profile
from controller.forecasting.walked import SLOT_S, Classes, Walked
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.topology import load_topology
from quantum.traffic import make_trace
from quantum.traffic_truth import true_process

Floats = np.ndarray


def scored(owner: Any, rate: Any, sizes: Any, weight: Any, truth: Any) -> tuple[Floats, Floats]:
    owner, truth = np.array(owner), np.array(truth, dtype=float)
    out = np.empty((*truth.shape, 3))
    quantile = np.empty((*truth.shape, len(LEVELS)))
    score_counts(
        owner,
        len(truth),
        np.array(rate, dtype=float),
        np.array(sizes, dtype=float),
        np.array(weight, dtype=float),
        truth,
        np.array(LEVELS),
        out,
        quantile,
    )
    return out, quantile


def test_one_block_or_none_has_closed_forms() -> None:
    """Four pairs with chance p: CRPS is 4 p^2 if none comes and 4 (1 - p)^2 if they come."""
    p = 0.3
    rate = [[-np.log1p(-p)] * 2]
    out, quantile = scored([0], rate, [[4]], [[1.0]], [[0.0, 4.0]])
    np.testing.assert_allclose(out[0, :, 0], [4 * p**2, 4 * (1 - p) ** 2])
    np.testing.assert_allclose(out[0, :, 1], 4 * p)
    # Levels .1, .25, .5 lie below 1 - p = .7, the others above.
    assert quantile[0, 0].tolist() == [0, 0, 0, 4, 4]
    want = [np.mean([0, 0, 0, (1 - 0.75) * 4, (1 - 0.9) * 4]), np.mean([0.4, 1.0, 2.0, 0, 0])]
    np.testing.assert_allclose(out[0, :, 2], want)


def test_a_sum_of_commodities_is_their_convolution() -> None:
    rng = np.random.default_rng(0)
    owner = [0, 1, 0, 0, 1]
    chance = rng.uniform(0.05, 0.9, (5, 2))
    sizes, weight = rng.integers(1, 9, (5, 3)), rng.dirichlet(np.ones(3), 5)
    truth = np.array([[0, 9], [4, 12]])
    out, quantile = scored(owner, -np.log1p(-chance), sizes, weight, truth)
    for n, j in itertools.product(range(2), range(2)):
        law = np.zeros(64)
        mine = [k for k in range(5) if owner[k] == n]
        options = [
            [(0, 1 - chance[k, j]), *((s, chance[k, j] * w) for s, w in zip(*part, strict=True))]
            for k in mine
            for part in [(sizes[k], weight[k])]
        ]
        for combined in itertools.product(*options):
            law[sum(int(x) for x, _ in combined)] += np.prod([p for _, p in combined])
        below = np.cumsum(law)
        step = np.arange(64) >= truth[n, j]
        assert out[n, j, 0] == pytest.approx(np.square(below - step).sum(), abs=1e-9)
        assert out[n, j, 1] == pytest.approx((law * np.arange(64)).sum())
        want = [int(np.argmax(below >= level - 1e-12)) for level in LEVELS]
        assert quantile[n, j].tolist() == want


def test_rivals_by_hand() -> None:
    series = np.array([[1.0, 0, 0, 0, 1, 0, 0, 0], [0.0] * 8])
    flat = mean_rate(series, 2)
    usual = 2.5 / (2 * 108.0)
    np.testing.assert_allclose(flat, [[3 / (8 + 1 / usual)] * 2, [1 / (8 + 1 / usual)] * 2])
    got = smooth_profile(series, 4, 4, half=0, drawn=0.0, recent=4)
    # Twice in two seasons at the first bin, and what came in the last season was expected.
    np.testing.assert_allclose(got[0], [1.0, 0.0, 0.0, 0.0])
    wide = smooth_profile(series, 4, 4, half=1, drawn=0.0, recent=4)
    np.testing.assert_allclose(wide[0], np.array([1, 1, 0, 1]) / 3)
    none = smooth_profile(series, 2, 0, half=1, drawn=0.5, recent=4)
    expected = flat[:, :1] * 4
    np.testing.assert_allclose(none, flat * (np.array([[1.0], [0.0]]) + 1) / (expected + 1))


SMALL: dict[str, Any] = {"load_hz": 12.0, "network_seed": 0, "duration_s": 140.0}


@pytest.mark.parametrize("kind", ["poisson", "scheduled", "hotspot", "bursts", "abilene"])
def test_the_true_process_foretells_as_many_blocks_as_come(kind: str) -> None:
    """Chances of blocks sum to the blocks that come, in quiet and in busy bins alike."""
    network = load_topology("abilene", seed=0)
    chances, hits = [], []
    for seed in range(2):
        trace = make_trace(kind, network, deadline_s=1.0, seed=seed, **SMALL)
        truth = true_process(kind, network, seed=seed, slot_s=SLOT_S, **SMALL)
        classes = Classes.of_trace(trace)
        walk = Foresight(classes.source, classes.destination, classes.fidelity, slot_s=SLOT_S)
        table = Walked.of(trace, classes, walk.commodity, walk.owner, 140.0)
        last, at = np.full(len(table.blocks), -1.0), 0
        for bin_ in range(50, 1380, 10):
            while at < len(table.slot) and table.slot[at] <= bin_ * 5:
                last[walk.commodity[table.cls[at]]] = table.slot[at] * SLOT_S
                at += 1
            chances.append(-np.expm1(-truth.blocks(bin_ * 0.1, last, 10, 0.1)))
            hits.append(table.blocks[:, bin_ : bin_ + 10])
    p, y = np.array(chances), np.array(hits)
    assert y.sum() > 100
    for inside in (p < np.quantile(p, 0.95), p >= np.quantile(p, 0.95)):
        spread = np.sqrt((p * (1 - p))[inside].sum())
        assert abs(p[inside].sum() - y[inside].sum()) < 4.0 * spread + 1.0


def test_demand_from_a_file_has_no_known_process() -> None:
    network = load_topology("abilene", seed=0)
    with pytest.raises(InputError, match="no known process"):
        true_process("mine.csv", network, seed=0, slot_s=SLOT_S, **SMALL)


def walked(seed: int, learn: bool = True, kind: str = "scheduled") -> Any:
    network = load_topology("abilene", seed=0)
    asked: dict[str, Any] = {"load_hz": 12.0, "network_seed": 0, "duration_s": 81.0, "seed": seed}
    trace = make_trace(kind, network, deadline_s=1.0, **asked)
    truth = true_process(kind, network, slot_s=SLOT_S, **asked)

    def opened(c: Classes) -> Foresight:
        return Foresight(c.source, c.destination, c.fidelity, slot_s=SLOT_S, learn=learn)

    return judge(trace, truth, {"gru": opened}, warmup_s=40.0, seconds=40.0, season=200)


def test_the_truth_closes_its_own_gap_and_the_bar_none_of_it() -> None:
    judged = walked(0)
    share = closed(judged, ORACLE)
    assert share is not None and share[0] == pytest.approx(1.0)
    none = closed(judged, BAR)
    assert none is not None and none[0] == pytest.approx(0.0)
    best = judged.scores[ORACLE]
    for name, scores in judged.scores.items():
        assert scores.log.sum() >= best.log.sum(), name
        assert scores.brier.sum() >= 0.95 * best.brier.sum(), name
        assert 0.0 <= scores.covered.sum() <= judged.counts[:, 0].sum()
    # Counts are whole numbers, so an 80 % interval holds 80 % or more.
    assert judged.scores["gru"].covered.sum() > 0.8 * judged.counts[:, 0].sum()


def test_a_walk_is_the_same_again() -> None:
    a, b = walked(1), walked(1)
    for name in a.scores:
        assert np.array_equal(a.scores[name].crps, b.scores[name].crps)
        assert np.array_equal(a.scores[name].log, b.scores[name].log)


def test_nothing_asked_cannot_be_judged() -> None:
    none: Any = np.zeros(0)
    trace = Trace(
        name="none",
        commodities=np.array([[0, 1]]),
        weights=np.ones(1),
        load_hz=0.0,
        time_s=none,
        commodity=none.astype(int),
        pairs=none.astype(int),
        minimum_fidelity=none,
        deadline_s=none,
        told_s=none,
    )
    with pytest.raises(InputError, match="nothing is asked"):
        judge(trace, None, {}, warmup_s=10.0, seconds=30.0, season=0)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(command, list(words))


def test_the_command_shows_a_table_and_writes_json_and_a_picture(tmp_path: Path) -> None:
    target, figure = tmp_path / "f.json", tmp_path / "f.svg"
    words = [
        "--topology",
        "abilene",
        "--load",
        "12",
        "--seconds",
        "20",
        "--warmup",
        "41",
        "--seed",
        "2",
        "--value",
        "1",
    ]
    done = invoke(*words, "--json", str(target), "--figure", str(figure))
    assert done.exit_code == 0, done.output
    for name in ("gru", "profile x level", "oracle", "closes", "us for each of"):
        assert name in done.output
    found = json.loads(target.read_text())
    rows = {row["forecaster"]: row for row in found["rows"]}
    assert set(rows) >= {"gru", "zero", "last", "ewma", "seasonal naive", BAR, ORACLE}
    assert rows["gru"]["cost_ms"] > 0.0 and rows["gru"]["trained_parameters"] > 100
    assert rows[ORACLE]["closed"] == pytest.approx(1.0)
    valued = [row["forecaster"] for row in found["worth"]]
    assert valued == ["nothing", "recent rate", "gru", "true process", "every request"]
    assert "every request" in done.output
    assert figure.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seed -1", "--seed must be 0 to 999999"),
        ("--seconds 1", "--seconds must be 12"),
        ("--warmup nan", "--warmup 0"),
        ("--value -1", "--value must be 0 to 1000"),
        ("--deadline 0.1", "needs --value"),
        ("--value 1 --deadline nan", "above 0 and below 1000 s"),
        ("--figure x.pdf", "must end in .png or .svg"),
        ("--demand posson --topology abilene", "is unknown"),
        ("--load nan --topology abilene", "load must be"),
        ("--load 0 --topology abilene", "nothing is asked"),
    ],
)
def test_the_command_refuses_in_one_line(words: str, message: str) -> None:
    done = invoke(*words.split())
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_demand_from_a_file_is_compared_without_an_oracle(tmp_path: Path) -> None:
    lines = ["timestamp_s,source,destination,fidelity,pairs"]
    times = np.arange(1.0, 75.0, 3.7)
    lines += [f"{t:.2f},Denver,Chicago,0.7,2" for t in times]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    found = compare(
        "abilene", str(path), "untrained", load_hz=None, warmup_s=30.0, seconds=40.0, seed=0
    )
    names = [row.forecaster for row in found.rows]
    assert ORACLE not in names and "untrained" in names and "gru" in names
    assert all(row.closed is None for row in found.rows)


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12])
def test_the_recurrent_forecaster_earns_its_place(seed: int) -> None:
    """What the project promises, on seeds that nothing was chosen by."""
    for demand in ("scheduled", "hotspot", "abilene", "poisson"):
        found = compare(
            "mesh", demand, "gru", load_hz=None, warmup_s=40.0, seconds=120.0, seed=seed
        )
        rows = {row.forecaster: row for row in found.rows}
        own, bar = rows["gru"], rows[BAR]
        if demand == "poisson":
            assert own.crps < 1.01 * bar.crps
            assert own.crps < 1.01 * rows["mean"].crps
        else:
            assert own.closed is not None and own.closed_low is not None
            assert own.crps < bar.crps and own.closed_low > 0.25
