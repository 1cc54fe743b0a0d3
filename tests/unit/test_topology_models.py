"""Links of a topology file whose states come from models of their hardware."""

import json

import numpy as np
import pytest

from quantum.errors import InputError
from quantum.links.model import read_model
from quantum.topology import load_topology, to_json

MODEL = {"model": "double_click", "visibility": 0.9, "dark_count_probability": 1e-5}


def write(folder, *links):
    path = folder / "network.json"
    names = [{"name": n, "x_km": 5.0 * i, "y_km": 0} for i, n in enumerate("abc")]
    path.write_text(json.dumps({"nodes": names, "links": list(links)}))
    return str(path)


def test_a_model_sees_the_length_of_its_link(tmp_path):
    near, far = {"a": "b", "b": "c", "model": MODEL}, {"a": "a", "b": "b", "length_km": 80}
    network = load_topology(write(tmp_path, near, far | {"model": MODEL}), seed=0)
    assert network.length_km.tolist() == [80.0, 5.0]
    for row, length in zip(network.populations, (80.0, 5.0), strict=True):
        right = read_model(MODEL | {"length_km": length}).heralded()
        assert np.allclose(row, right.populations, atol=1e-15)
    assert network.populations[0, 0] < network.populations[1, 0] < 0.95
    again = tmp_path / "again.json"
    again.write_bytes(to_json(network))
    assert load_topology(str(again), seed=0).populations.tolist() == network.populations.tolist()


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"model": MODEL, "fidelity": 0.9}, "give one of fidelity, bell_diagonal and model"),
        ({"model": MODEL | {"length_km": 3}}, "model.length_km is the length_km of the link"),
        ({"model": {"model": "x"}}, r"links\[0\] 'a' - 'b': link.model must be one of"),
        ({"model": MODEL | {"visibility": 2}}, "visibility"),
        (
            {"model": {"model": "plain", "rate_hz": 1, "fidelity": 0.9, "family": "photonic"}},
            "a photonic link cannot store pairs",
        ),
    ],
)
def test_bad_models_name_their_link(tmp_path, link, message):
    with pytest.raises(InputError, match=message):
        load_topology(write(tmp_path, {"a": "a", "b": "b"} | link, {"a": "b", "b": "c"}), seed=0)
