"""What forecasts are worth in pairs delivered: on the same draws, by the same rule."""

import numpy as np
import pytest

from controller.forecasting.foresight import Foresight
from controller.forecasting.worth import NOTHING, RECENT, TOLD, worth
from quantum.errors import InputError
from quantum.presets import Cell

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
    assert list(rows) == [NOTHING, RECENT, "mute", "certain", "gru", TOLD]
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


def test_one_seed_has_no_interval_and_none_is_refused():
    (row, *_) = worth(CELL, {}, range(3, 4), seconds=2.0, warmup_s=0.0)
    assert (row.low, row.high) == (None, None)
    with pytest.raises(InputError, match="at least one seed"):
        worth(CELL, {}, range(0), seconds=2.0, warmup_s=0.0)
