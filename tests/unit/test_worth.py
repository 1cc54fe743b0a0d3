"""What forecasts are worth in pairs delivered: on the same draws, by the same rule."""

import msgspec
import numpy as np
import pytest

from controller.forecasting.foresight import Foresight
from controller.forecasting.process import TrueArrivals, process_of
from controller.forecasting.worth import NOTHING, RECENT, TOLD, TRUE, built, worth
from controller.game import prepare
from quantum.errors import InputError
from quantum.presets import Cell, build

CELL = Cell(
    preset="fast",
    topology="geometric-14",
    demand="scheduled",
    deadline_s=0.2,
    cutoff_s=0.5,
    qubits=6,
    load_hz=12.0,
)


class Mute:
    """Hears and says nothing."""

    def __init__(self, classes):
        self.size = len(classes.source)

    def record(self, slot, cls, pairs):
        """See Arrivals."""

    def expected(self, slot, horizon_slots):
        """See Arrivals."""
        return np.zeros(self.size)


class Certain(Mute):
    """Expects a batch of everybody, always: worse than nothing."""

    def expected(self, slot, horizon_slots):
        """See Arrivals."""
        return np.full(self.size, 4.0)


def gru(classes):
    return Foresight(classes.source, classes.destination, classes.fidelity, slot_s=0.02)


@pytest.fixture(scope="module")
def rows():
    makers = {"mute": Mute, "certain": Certain, "gru": gru}
    found = worth(CELL, makers, range(2), seconds=20.0, warmup_s=21.0)
    return {row.forecaster: row for row in found}


def test_all_are_there_and_measured_against_nothing(rows):
    assert list(rows) == [NOTHING, RECENT, "mute", "certain", "gru", TRUE, TOLD]
    for name, row in rows.items():
        assert 0.0 < row.delivery_rate < 1.0
        assert row.gain == pytest.approx(row.delivery_rate - rows[NOTHING].delivery_rate)
        if name != NOTHING:
            assert row.low <= row.gain <= row.high
    assert rows[NOTHING].gain == 0.0
    assert rows[NOTHING].low is None


def test_who_expects_nothing_is_as_good_as_nobody(rows):
    assert rows["mute"].delivery_rate == rows[NOTHING].delivery_rate
    assert rows["mute"].closed == 0.0


def test_what_is_true_is_worth_more_than_what_is_not(rows):
    assert rows[TOLD].closed == 1.0
    assert rows["certain"].delivery_rate < rows["gru"].delivery_rate
    assert rows["certain"].delivery_rate < rows[TOLD].delivery_rate
    # Nobody knows more than the true process, but for who is told what is still to be drawn.
    assert rows["gru"].delivery_rate <= rows[TRUE].delivery_rate + 0.01
    assert rows[NOTHING].delivery_rate < rows[TRUE].delivery_rate


@pytest.mark.parametrize("demand", ["scheduled", "hotspot", "poisson", "abilene"])
def test_the_true_process_expects_what_comes_on_average(demand):
    """Over a minute, horizon after horizon, the pairs that are expected sum to those that came."""
    cell = msgspec.structs.replace(CELL, demand=demand, load_hz=40.0)
    scenario = build(cell, 0, seconds=80.0, warmup_s=0.0)
    truth, asked = process_of(cell, scenario), scenario.trace.commodities
    world = prepare(scenario).world
    arrivals = TrueArrivals(truth, world.cls, asked, batch=4.0, slot_s=world.slot_s)
    request, place, horizon, hoped = world.request, 0, 15, 0.0
    for slot in range(500, 3500, horizon):
        while place < len(request) and request[place].arrival <= slot:
            one = request[place]
            arrivals.record(int(one.arrival), int(one.cls), int(one.pairs))
            place += 1
        expected = arrivals.expected(slot, horizon)
        assert np.isfinite(expected).all() and (expected >= 0.0).all()
        hoped += expected.sum()
    within = (request["arrival"] > 500) & (request["arrival"] <= 3500)
    came = float(request["pairs"][within].sum())
    assert hoped == pytest.approx(came, rel=0.1)


def test_demand_from_a_file_has_no_known_process(tmp_path):
    path = tmp_path / "demand.csv"
    path.write_text("time_s,source,destination,pairs,fidelity\n1.0,g0,g1,4,0.75\n")
    cell = msgspec.structs.replace(CELL, demand=str(path))
    scenario = build(CELL, 0, seconds=2.0, warmup_s=0.0)
    assert process_of(cell, scenario) is None


def test_a_load_that_is_a_share_of_the_knee_is_found():
    cell = msgspec.structs.replace(CELL, load_hz=None, knee_fraction=0.5)
    half = built(cell, 0, seconds=2.0, warmup_s=0.0).trace.load_hz
    whole = built(msgspec.structs.replace(cell, knee_fraction=1.0), 0, seconds=2.0, warmup_s=0.0)
    assert 0.0 < half == pytest.approx(whole.trace.load_hz / 2.0)


def test_one_seed_has_no_interval_and_none_is_refused():
    (row, *_) = worth(CELL, {}, range(3, 4), seconds=2.0, warmup_s=0.0)
    assert (row.low, row.high) == (None, None)
    with pytest.raises(InputError, match="at least one seed"):
        worth(CELL, {}, range(0), seconds=2.0, warmup_s=0.0)
