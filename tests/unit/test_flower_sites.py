"""What sites and server do in a round, without Flower: rows that fit, answers that repeat."""

import tomllib
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from controller.averaging import Average
from controller.federated import clip
from controller.federation import Scheme
from controller.flower.plan import Plan, plan_from
from controller.flower.rounds import average_of, check_rows, privacy_of, rounds_in_process
from controller.flower.site import learn_round, train_site
from quantum.errors import InputError

PLAN = Plan(topology="geometric-5", demand="poisson", load_hz=15.0, seconds=2.0, rounds=2)


@cache
def first_round():
    return learn_round(PLAN, 0, PLAN.start(), {})


def test_two_sites_give_what_one_process_gives_whatever_is_killed_in_between(tmp_path):
    average = average_of(PLAN, 5)
    for number in range(PLAN.rounds):
        rows = []
        for site in range(PLAN.sites):
            folder = tmp_path / str(site)
            # Asked twice: its first answer was lost on the way.
            again = [train_site(PLAN, site, number, average.current, folder) for _ in range(2)]
            assert again[0].tobytes() == again[1].tobytes()
            rows.append(again[0])
        average.close(np.arange(5), np.concatenate(rows))
    wanted = rounds_in_process(PLAN)
    assert average.current.tobytes() == wanted.tobytes()
    assert not np.array_equal(wanted, PLAN.start())
    # Of the rounds that are over only what a repeated question needs is kept.
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == [
        "after-1-rounds.safetensors",
        "after-2-rounds.safetensors",
    ]


def test_changes_are_clipped_before_they_leave():
    rows, state = first_round()
    assert rows.shape == (5, PLAN.start().size)
    assert 0.0 < np.linalg.norm(rows, axis=1).max() <= PLAN.clip_norm * (1.0 + 1e-12)
    assert state  # critics and moments, which no row holds


def test_a_site_that_lost_its_folder_says_so(tmp_path):
    with pytest.raises(InputError, match="has not played round 0 of this run"):
        train_site(PLAN, 0, 1, PLAN.start(), tmp_path)
    with pytest.raises(InputError, match="round must be between 0 and 1, got 2"):
        train_site(PLAN, 0, 2, PLAN.start(), tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((5, 3)),
        np.zeros((4, PLAN.start().size)),
        np.zeros((5, PLAN.start().size), dtype=np.float32),
        np.zeros(5 * PLAN.start().size),
    ],
)
def test_changes_of_another_shape_are_refused(rows):
    with pytest.raises(InputError, match=r"changes must be \(5, \d+\) of float64"):
        check_rows(rows, 5, PLAN.start().size)


def plan(**given):
    return msgspec.structs.replace(PLAN, **given).check()


def test_a_site_that_lies_moves_the_mean_by_its_share_at_most():
    honest = np.zeros((5, PLAN.start().size))
    lying = honest.copy()
    lying[0, 0] = 9.0 * PLAN.clip_norm
    lying[1] = np.nan
    lying[2] = 1e200
    average = average_of(PLAN, 5)
    closed = average.close(np.arange(5), lying)
    assert closed.dropped == 2
    moved = np.linalg.norm(average.current - PLAN.start())
    assert moved == pytest.approx(PLAN.clip_norm / 5)
    assert np.array_equal(clip(lying, PLAN.clip_norm)[1], honest[1])


@pytest.mark.parametrize("aggregator", ["median", "trimmed-mean", "krum"])
def test_robust_aggregators_do_not_follow_a_liar(aggregator):
    rows = np.full((5, PLAN.start().size), 1e-3)
    rows[3] = -0.9 * PLAN.clip_norm / np.sqrt(rows.shape[1])
    average = average_of(plan(aggregator=aggregator), 5)
    average.close(np.arange(5), rows)
    np.testing.assert_allclose(average.current - PLAN.start(), 1e-3, rtol=1e-9)


@pytest.mark.parametrize("aggregator", ["mean", "median", "trimmed-mean", "krum"])
def test_every_aggregator_is_that_of_runs(aggregator):
    """The same bytes as the broker's, from the same rows and the same seed."""
    asked = plan(aggregator=aggregator, participation=0.7, clipping="adaptive")
    rows = np.random.default_rng(3).normal(0.0, 0.01, (3, 12, PLAN.start().size))
    scheme = Scheme(asked.federation, 12, clip_norm=asked.clip_norm)
    ours, runs = average_of(asked, 12), Average(scheme, asked.start(), seed=asked.seed)
    for some in rows:
        ours.close(np.arange(12), some)
        runs.close(np.arange(12), some)
    assert ours.current.tobytes() == runs.current.tobytes()
    assert not np.array_equal(ours.current, asked.start())


def test_noise_is_not_drawn_from_the_seed_and_costs_what_was_asked():
    noisy = plan(topology="mesh-12", privacy="central", rounds=3)
    found = []
    for _ in range(2):
        average = average_of(noisy, 12)
        for _ in range(noisy.rounds):
            average.close(np.arange(12), np.zeros((12, noisy.start().size)))
        found.append(average)
    assert not np.array_equal(found[0].current, found[1].current)
    said = privacy_of(found[0])
    assert (said["privacy"], said["rounds"], said["delta"]) == ("central", 3, 1e-3)
    assert 7.9 < said["epsilon"] <= 8.0
    assert privacy_of(average_of(PLAN, 5))["epsilon"] is None


def test_what_a_node_hides_itself_is_said_once(tmp_path):
    hidden = plan(privacy="local", rounds=1)
    first, again = (train_site(hidden, 0, 0, PLAN.start(), tmp_path) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    bare = train_site(PLAN, 0, 0, PLAN.start(), tmp_path / "bare")
    noise = (first - bare) / PLAN.clip_norm
    assert noise.std() == pytest.approx(hidden.scheme(5).message_noise, rel=0.3)
    elsewhere = train_site(hidden, 0, 0, PLAN.start(), tmp_path / "elsewhere")
    assert not np.array_equal(first, elsewhere)
    with pytest.raises(InputError, match="privacy local is for sites"):
        rounds_in_process(hidden)


def test_the_example_offers_every_field_of_a_plan():
    path = Path(__file__).parents[2] / "examples" / "flower" / "pyproject.toml"
    given = tomllib.loads(path.read_text())["tool"]["flwr"]["app"]["config"]
    given.pop("out")
    assert plan_from(given) == Plan()
    # What has no value by default cannot stand there.
    assert set(Plan.__struct_fields__) - set(given) == {"load_hz"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rounds": 0}, "rounds must be between 1 and 100000, got 0"),
        ({"sites": -1}, "sites must be between 1"),
        ({"clip_norm": 0.0}, "clip_norm must be between"),
        ({"seconds": float("nan")}, "seconds must be between"),
        ({"participation": 1.5}, "participation must be between"),
        ({"aggregator": "average"}, "aggregator must be mean, median, trimmed-mean or krum"),
        ({"aggregator": "none"}, "aggregator must be mean, median, trimmed-mean or krum"),
        ({"aggregator": "krum", "privacy": "central"}, "krum goes with privacy local or none"),
        ({"epsilon": 0.0}, "epsilon must be between"),
        ({"rouds": 3}, "rouds"),
        ({"rounds": "3"}, "rounds"),
        ({"seed": -1}, "seed must be between"),
    ],
)
def test_plans_that_make_no_rounds_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        plan_from(given)


def test_every_node_belongs_to_one_site():
    plan = Plan(sites=3)
    parts = [plan.nodes_of(site, 10) for site in range(3)]
    assert np.concatenate(parts).tolist() == list(range(10))
    with pytest.raises(InputError, match="site must be between 0 and 2, got 3"):
        plan.nodes_of(3, 10)
    with pytest.raises(InputError, match="2 nodes are too few for 3 sites"):
        plan.nodes_of(0, 2)
    with pytest.raises(InputError, match="9 nodes are too few for aggregator mean with privacy c"):
        Plan(privacy="central").scheme(9)
