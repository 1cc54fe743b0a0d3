from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.bell import fidelity
from quantum.demand import Trace
from quantum.drift import drifted_populations
from quantum.errors import InputError
from quantum.network import Network
from quantum.presets import PRESETS, Cell, build, cells, run_cell, sample
from quantum.program import Gates, Memory
from quantum.topology import load_topology

FACTORS = ("topology", "demand", "deadline_s", "cutoff_s", "qubits", "load_hz", "knee_fraction")


def levels(of: list[Cell], factor: str) -> set[object]:
    return {getattr(cell, factor) for cell in of}


def constant_knee(network: Network, trace: Trace) -> float:
    return 50.0


def test_the_presets_are_those_of_the_design() -> None:
    # The table of DESIGN section 3, word by word.
    paper, metro, fast, quality = (cells(preset) for preset in PRESETS)
    assert [len(set(c)) for c in (paper, metro, fast, quality)] == [9, 288, 64, 4]
    assert levels(paper, "load_hz") == {20, 60, 120} and levels(paper, "topology") == {"mesh"}
    assert levels(paper, "demand") == {"poisson", "scheduled", "abilene"}
    assert {(c.deadline_s, c.cutoff_s, c.qubits) for c in paper} == {(1.0, 1.5, 16)}
    assert levels(metro, "topology") == {"mesh", "geometric", "surfnet"}
    assert levels(metro, "demand") == {"poisson", "scheduled", "hotspot", "abilene"}
    assert levels(metro, "deadline_s") == {0.3, 1.0} and levels(metro, "cutoff_s") == {0.5, 1.5}
    assert levels(metro, "qubits") == {6, 12}
    assert levels(metro, "knee_fraction") == {0.3, 0.6, 0.9}
    assert levels(fast, "topology") == {"mesh", "geometric"}
    assert levels(fast, "demand") == {"poisson", "scheduled", "announced", "hotspot"}
    assert levels(fast, "deadline_s") == {0.1} and levels(fast, "cutoff_s") == {0.5, 1.5}
    assert levels(fast, "qubits") == {4, 6} and levels(fast, "knee_fraction") == {0.6, 0.9}
    assert levels(quality, "topology") == {"mesh"}
    assert levels(quality, "demand") == {"poisson", "scheduled"}
    assert levels(quality, "knee_fraction") == {0.3, 0.6}
    for cell in quality:
        assert cell.link_fidelity == (0.85, 0.97) and cell.fidelities == (0.80, 0.90)
        assert cell.drift and cell.distillation_rounds > 0
        assert (cell.deadline_s, cell.cutoff_s, cell.qubits) == (1.0, 1.5, 12)
    for cell in paper + metro + fast:
        assert cell.link_fidelity == (0.97, 0.99) and cell.fidelities == (0.75, 0.85)
        assert not cell.drift and cell.distillation_rounds == 0 and cell.commodities == 150


def test_run_plays_the_paper_preset_with_a_load_that_grows_with_the_network() -> None:
    assert run_cell() in cells("paper")
    assert run_cell().load_hz == 60.0 and run_cell().demand == "scheduled"
    assert run_cell("surfnet").load_hz == pytest.approx(0.6 * 50)
    assert run_cell("surfnet", "poisson", load_hz=7.0).load_hz == 7.0
    with pytest.raises(InputError, match="unknown"):
        run_cell("nowhere")


def test_an_unknown_preset_and_a_bad_cell_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean metro; it is paper, metro, fast, fidelity"):
        cells("metr")
    with pytest.raises(InputError, match="load_hz or knee_fraction"):
        msgspec.structs.replace(run_cell(), knee_fraction=0.5)


# Samples


@pytest.mark.parametrize("size", [12, 24, 48])
def test_a_sample_is_balanced(size: int) -> None:
    for seed in range(4):
        some = sample(cells("metro"), size, seed)
        assert len(set(some)) == size
        for factor in FACTORS[:5] + FACTORS[6:]:
            count = Counter(getattr(cell, factor) for cell in some)
            assert set(count) == levels(cells("metro"), factor)
            assert max(count.values()) - min(count.values()) <= 2


def test_samples_are_keyed_and_grow() -> None:
    every = cells("metro")
    assert sample(every, 10, 1) == sample(every, 10, 1) != sample(every, 10, 2)
    assert set(sample(every, 10, 1)) < set(sample(every, 11, 1))
    assert sample(every, 999, 0) == every
    with pytest.raises(InputError, match="at least 1"):
        sample(every, 0, 0)


# Scenarios


@pytest.mark.parametrize("preset", PRESETS)
def test_first_and_last_cell_of_every_preset_build(preset: str) -> None:
    for cell in (cells(preset)[0], cells(preset)[-1]):
        made = build(cell, 6, seconds=20.0, warmup_s=5.0, knee=constant_knee)
        assert made.seed == 6 and (made.slots, made.warmup_slots) == (1000, 250)
        assert made.network.cutoff_s == cell.cutoff_s
        assert set(made.network.qubits.tolist()) == {cell.qubits}
        assert set(made.trace.deadline_s.tolist()) == {cell.deadline_s}
        assert set(made.trace.minimum_fidelity.tolist()) == set(cell.fidelities)
        assert 20.0 < made.trace.time_s.max() < 25.0
        load = cell.load_hz if cell.load_hz is not None else 50.0 * (cell.knee_fraction or 0)
        assert made.trace.load_hz == pytest.approx(load)


def test_a_seed_plays_network_seed_mod_four() -> None:
    cell = run_cell()
    one, two, other = build(cell, 2), build(cell, 6), build(cell, 7)
    assert one.network.generation_hz.tobytes() == two.network.generation_hz.tobytes()
    assert one.trace.commodities.tobytes() == two.trace.commodities.tobytes()
    assert one.trace.time_s.tobytes() != two.trace.time_s.tobytes()
    assert one.network.generation_hz.tobytes() != other.network.generation_hz.tobytes()
    assert one.trace.time_s.tobytes() == build(cell, 2).trace.time_s.tobytes()


def test_the_knee_sees_the_arena_and_not_the_run() -> None:
    seen = []

    def knee(network: Network, trace: Trace) -> float:
        seen.append((network.links.tobytes(), trace.weights.tobytes(), trace.time_s.tobytes()))
        return 40.0

    cell = cells("metro")[0]
    first, second = build(cell, 1, knee=knee), build(cell, 5, knee=knee)
    assert seen[0] == seen[1]
    assert first.trace.weights.tobytes() == seen[0][1] == second.trace.weights.tobytes()
    with pytest.raises(InputError, match="give knee"):
        build(cell, 1)
    with pytest.raises(InputError, match="seed must be >= 0"):
        build(cell, -1, knee=knee)


def test_the_users_own_files_play(tmp_path: Path) -> None:
    network, asked = tmp_path / "lab.json", tmp_path / "asked.csv"
    network.write_text('{"nodes": [{"name": "a"}, {"name": "b"}], "links": [{"a": "a", "b": "b"}]}')
    asked.write_text("timestamp_s,source,destination,fidelity,pairs\n1.5,b,a,0.8,2\n")
    made = build(run_cell(str(network), str(asked)), 3, seconds=2.0, warmup_s=1.0)
    assert made.network.name == "lab" and made.trace.time_s.tolist() == [1.5]


def test_a_single_node_is_a_scenario_without_requests() -> None:
    assert len(build(run_cell("line-1"), 0, seconds=2.0, warmup_s=0.0).trace.time_s) == 0


# Drift


def test_drift_walks_at_the_speed_asked_and_stays_inside() -> None:
    network = load_topology("mesh-1000", seed=0, fidelity=(0.90, 0.92))
    made = drifted_populations(network, 3, 3000)
    assert made.shape == (60, 3000, 4)
    assert made[0].tobytes() == network.populations.tobytes()
    assert np.allclose(made.sum(axis=2), 1.0) and made.min() >= 0
    f = fidelity(made)
    assert f.min() >= 0.85 and f.max() <= 0.97
    # Ten blocks of a second are 10 s; from the middle few of 3000 walks meet a wall by then.
    assert (f[10] - f[0]).std() == pytest.approx(0.02, rel=0.06)
    assert (f[1] - f[0]).std() == pytest.approx(0.02 / np.sqrt(10), rel=0.06)


def test_drift_is_keyed_and_longer_runs_begin_alike() -> None:
    network = load_topology("mesh", seed=0, fidelity=(0.85, 0.97))
    long = drifted_populations(network, 1, 3000)
    assert long[:20].tobytes() == drifted_populations(network, 1, 1000).tobytes()
    assert long.tobytes() != drifted_populations(network, 2, 3000).tobytes()
    assert len(drifted_populations(network, 1, 0)) == 1
    assert len(drifted_populations(network, 1, 51)) == 2


@settings(max_examples=60)
@given(
    start=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda w: sum(w) > 0.1),
    low=st.floats(0.0, 1.0),
    width=st.floats(0.0, 1.0),
    walk=st.floats(0.0, 3.0),
)
def test_drift_gives_states_and_stays_within_its_walls(
    start: list[float], low: float, width: float, walk: float
) -> None:
    weights = np.array([start]) / sum(start)
    network = Network(
        name="two",
        nodes=("a", "b"),
        position_km=np.zeros((2, 2)),
        links=np.array([[0, 1]]),
        length_km=np.ones(1),
        populations=weights,
        generation_hz=np.ones(2),
        swap_hz=np.ones(2),
        qubits=np.ones(2, dtype=np.int64),
        memory=Memory(),
        cutoff_s=1.0,
        gates=Gates(),
    )
    span = (low, min(1.0, low + width))
    made = drifted_populations(network, 0, 500, span=span, walk=walk)
    assert np.allclose(made.sum(axis=2), 1.0) and made.min() >= -1e-12
    f = made[:, 0, 0]
    assert f.min() >= min(span[0], f[0]) - 1e-9 and f.max() <= max(span[1], f[0]) + 1e-9


def test_drift_refuses_what_is_no_walk() -> None:
    network = load_topology("line-2", seed=0)
    with pytest.raises(InputError, match="span"):
        drifted_populations(network, 0, 10, span=(0.9, 0.8))
    with pytest.raises(InputError, match="block_slots"):
        drifted_populations(network, 0, 10, block_slots=0)
    with pytest.raises(InputError, match="walk"):
        drifted_populations(network, 0, 10, walk=float("nan"))
