"""Rack files: what is read, and what is refused by name."""

from pathlib import Path

import pytest

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
