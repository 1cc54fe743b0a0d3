"""What sites and server do in a round, without Flower: rows that fit, answers that repeat."""

from functools import cache

import numpy as np
import pytest

from controller.federated import clip
from controller.flower.plan import Plan, plan_from
from controller.flower.rounds import Average, rounds_in_process
from controller.flower.site import learn_round, train_site
from quantum.errors import InputError

PLAN = Plan(topology="geometric-5", demand="poisson", load_hz=15.0, seconds=2.0, rounds=2)


@cache
def first_round():
    return learn_round(PLAN, 0, PLAN.start(), {})


def test_two_sites_give_what_one_process_gives_whatever_is_killed_in_between(tmp_path):
    average = Average(PLAN)
    for number in range(PLAN.rounds):
        rows = []
        for site in range(PLAN.sites):
            folder = tmp_path / str(site)
            # Asked twice: its first answer was lost on the way.
            again = [train_site(PLAN, site, number, average.current, folder) for _ in range(2)]
            assert again[0].tobytes() == again[1].tobytes()
            rows.append(again[0])
        average.close(np.concatenate(rows))
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
        Average(PLAN).check(rows, 5)


def test_a_site_that_lies_moves_the_average_by_its_share_at_most():
    honest = np.zeros((5, PLAN.start().size))
    lying = honest.copy()
    lying[0] = 1e200
    lying[1] = np.nan
    average = Average(PLAN)
    average.close(lying)
    moved = np.linalg.norm(average.current - PLAN.start())
    assert moved == pytest.approx(PLAN.clip_norm / 5)
    assert np.array_equal(clip(lying, PLAN.clip_norm)[1], honest[1])


def test_noise_is_not_drawn_from_the_seed():
    noisy = Plan(topology="geometric-5", noise_multiplier=1.0)
    found = []
    for _ in range(2):
        average = Average(noisy)
        average.close(np.zeros((5, noisy.start().size)))
        found.append(average.current)
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rounds": 0}, "rounds must be between 1 and 100000, got 0"),
        ({"sites": -1}, "sites must be between 1"),
        ({"clip_norm": 0.0}, "clip_norm must be between"),
        ({"seconds": float("nan")}, "seconds must be between"),
        ({"participation": 1.5}, "participation must be between"),
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
