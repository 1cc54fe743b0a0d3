"""Rack files: what is read, and what is refused by name."""

from pathlib import Path

import pytest

from backends.rack import FOUR_LINKS
from quantum.errors import InputError
from quantum.rack import load_rack

GOOD = """
name = "three"
t1_s = 10.0
t2_s = 1.0
[[node]]
name = "c"
[[node]]
name = "a"
position_km = [3.0, 4.0]
generation_hz = 7.0
[[node]]
name = "b"
[[link]]
between = ["b", "a"]
instrument = "t"
rate_hz = 10.0
fidelity = 0.9
[[link]]
between = ["a", "c"]
instrument = "t"
rate_hz = 20.0
bell_diagonal = [0.7, 0.1, 0.1, 0.1]
[[instrument]]
name = "t"
kind = "id900"
address = "tcp://10.0.0.5:5555"
"""


def read(folder: Path, text: str) -> object:
    path = folder / "rack.toml"
    path.write_text(text, encoding="utf-8")
    return load_rack(path)


def test_links_are_sorted_with_their_instruments(tmp_path: Path) -> None:
    path = tmp_path / "rack.toml"
    path.write_text(GOOD, encoding="utf-8")
    rack = load_rack(path)
    assert rack.network.links.tolist() == [[0, 1], [1, 2]]
    assert [link.rate_hz for link in rack.links] == [20.0, 10.0]
    assert rack.network.populations[:, 0].tolist() == pytest.approx([0.7, 0.9])
    assert rack.network.generation_hz.tolist() == [20.0, 7.0, 10.0]
    assert rack.network.signal_s(0, 1) == pytest.approx(25e-6)
    assert rack.network.memory.t2_s == 1.0
    assert rack.instruments["t"].integration_s == 0.1


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("rate_hz = 10.0", "rate_hz = nan", "rate_hz"),
        ("rate_hz = 10.0", "rate_hz = -1.0", "rate_hz"),
        ("rate_hz = 10.0", "rate = 1.0", "rate"),
        ("fidelity = 0.9", "fidelity = 1.9", "fidelity"),
        ("fidelity = 0.9", "", "either fidelity or bell_diagonal"),
        ("[0.7, 0.1, 0.1, 0.1]", "[0.7, 0.7, 0.1, 0.1]", "must sum to 1"),
        ('["b", "a"]', '["b", "z"]', "'z', which is no node"),
        ('["b", "a"]', '["b", "b"]', "two different nodes"),
        ('["b", "a"]', '["c", "a"]', "two links join"),
        ('instrument = "t"', 'instrument = "u"', "'u', which is none"),
        ('name = "b"', 'name = "a"', "node names must differ"),
        ("t2_s = 1.0", "t2_s = 99.0", "t2_s"),
        ("[3.0, 4.0]", "[inf, 4.0]", "position_km"),
        ('name = "three"', "name = 3", "name"),
        ('name = "three"', "name =", "rack.toml"),
    ],
)
def test_errors_name_the_field(tmp_path: Path, old: str, new: str, match: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=match) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read rack"):
        load_rack(tmp_path / "none.toml")


OPTICS = """
[link.optics]
plates = ["p1", "p2", "p3", "p4"]
switch = "s"
inputs = [1, 2]
outputs = [17, 18]
polarisation = "e"
bias = "d"
bias_ua = 20.0
"""
PLATED = (
    """
name = "plated"
[calibration]
reached = 0.95
[[node]]
name = "a"
[[node]]
name = "b"
[[link]]
between = ["a", "b"]
instrument = "t"
rate_hz = 10.0
fidelity = 0.9
"""
    + OPTICS
    + "".join(
        f'[[instrument]]\nname = "{name}"\nkind = "apt"\naddress = "stub"\n'
        for name in ("t", "p1", "p2", "p3", "p4", "s", "e", "d")
    )
)


def test_a_rack_with_plates(tmp_path: Path) -> None:
    path = tmp_path / "rack.toml"
    path.write_text(PLATED, encoding="utf-8")
    rack = load_rack(path)
    optics = rack.links[0].optics
    assert optics is not None
    assert (optics.inputs, optics.channels) == ((1, 2), (1, 2, 3, 4))
    assert (rack.calibration.reached, rack.calibration.calibrate) == (0.95, "auto")
    assert (rack.stubs.seed, rack.stubs.speed, rack.stubs.scenario) == (1, 1.0, None)
    assert load_rack(FOUR_LINKS).network.nodes == ("hub", "north", "east", "south", "west")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"p1", "p2"', '"p1", "x"', r"link\[0\].optics.plates\[1\] names 'x', which is no instr"),
        ('"p1", "p2"', '"p1", "p1"', "four different rotators"),
        ("inputs = [1, 2]", "", "inputs is needed with a switch"),
        ("inputs = [1, 2]", "inputs = [2, 2]", "inputs must be two different ports"),
        ('switch = "s"', "", "inputs and outputs are for a link with a switch"),
        ('bias = "d"', "", "bias_ua needs bias"),
        ("outputs = [17, 18]", "outputs = [0, 18]", "outputs"),
        ("reached = 0.95", "reached = 0.5", "reached must be >= alarm_below"),
        ("reached = 0.95", 'calibrate = "now"', "calibrate"),
        ("reached = 0.95", "attempts = 0", "attempts"),
        ("bias_ua = 20.0", "bias_ua = nan", "bias_ua"),
        ("bias_ua = 20.0", "bias_ua = 20.0\nlens = 3", "lens"),
    ],
)
def test_errors_of_plated_racks_name_the_field(
    tmp_path: Path, old: str, new: str, match: str
) -> None:
    assert old in PLATED
    with pytest.raises(InputError, match=match) as caught:
        read(tmp_path, PLATED.replace(old, new))
    assert "\n" not in str(caught.value)
