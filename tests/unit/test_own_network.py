"""`dpem compare` on an operator's own network and demand, whatever they look like."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from controller.arena.cells import chosen_cells, service_times
from controller.commands.compare import command
from controller.experiment import play_unit
from quantum.errors import InputError
from quantum.presets import cells, run_cell
from quantum.topologies.shipped import zoo_names
from quantum.topology import load_topology
from quantum.traffic import make_trace

GML = """graph [
  node [ id 0 label "Delft" ]
  node [ id 1 label "Gouda" ]
  node [ id 2 label "Leiden" ]
  edge [ source 0 target 1 ]
  edge [ source 1 target 2 ]
]"""
GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">
<node id="Delft"/><node id="Gouda"/><node id="Leiden"/>
<edge source="Delft" target="Gouda"/><edge source="Gouda" target="Leiden"/></graph></graphml>"""
JSON = """{"name": "mine", "nodes": [{"name": "Delft"}, {"name": "Gouda"}, {"name": "Leiden"}],
"links": [{"a": "Delft", "b": "Gouda"}, {"a": "Gouda", "b": "Leiden"}]}"""
HEAD = "timestamp_s,source,destination,fidelity\n"


@pytest.fixture
def compared(tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(topology: str, text: str, *more: str, demand: str | None = None) -> dict[str, Any]:
        path = tmp_path / topology
        path.write_text(text)
        options = ["--topology", str(path), "--allocators", "mean-rate,on-demand"]
        if demand is not None:
            (tmp_path / "trace.csv").write_text(HEAD + demand)
            options += ["--demand", str(tmp_path / "trace.csv")]
        options += [
            "--seeds",
            "1",
            "--seconds",
            "3",
            "--json",
            "-",
            "--out",
            str(tmp_path / path.stem),
        ]
        options += more
        done = CliRunner().invoke(command, options, catch_exceptions=False)
        assert done.exit_code == 0
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


ASKED = "0.5,Delft,Leiden,0.8\n1.5,Gouda,Delft,0.8\n"


@pytest.mark.parametrize(
    ("name", "text"), [("mine.gml", GML), ("mine.graphml", GRAPHML), ("mine.json", JSON)]
)
def test_files_without_places_are_compared(compared, name: str, text: str) -> None:  # type: ignore[no-untyped-def]
    found = compared(name, text, "--warmup", "0", demand=ASKED)
    (unit,) = found["cells"]
    assert unit["pairs_requested"] == 2 and unit["note"] is None
    # Nine cells of the preset differ in load and demand only, and the file brings both.
    assert unit["load_hz"] == pytest.approx(2 / 3) and unit["bound"] <= 2.0
    assert 0.0 < found["allocators"]["mean-rate"]["delivery_rate"] <= 1.0


@pytest.mark.parametrize(
    ("demand", "requested", "note"),
    [
        ("", 0, "no request falls into the time that counts"),
        ("0.5,Delft,Leiden,0.8\n", 0, "no request falls into the time that counts"),
        ("1.5,Delft,Leiden,0.9999\n", 1, "no request can be served by anybody"),
    ],
)
def test_nothing_to_deliver_is_said_and_not_played(  # type: ignore[no-untyped-def]
    compared, demand: str, requested: int, note: str
) -> None:
    found = compared("mine.gml", GML, "--warmup", "1", demand=demand)
    (unit,) = found["cells"]
    assert note in unit["note"] and unit["pairs_requested"] == requested and unit["bound"] == 0.0
    assert found["paired"] == {} and found["anova"] is None
    assert found["allocators"]["mean-rate"]["delivery_rate"] == 0.0


def test_networks_that_cannot_serve_anything_are_noted(compared) -> None:  # type: ignore[no-untyped-def]
    one = '{"name": "one", "nodes": [{"name": "a"}], "links": []}'
    for name, text, note in (
        ("one.json", one, "no request falls"),
        ("far.json", weak(), "no node pair of far can meet fidelity 0.85; the best is 0.6000"),
    ):
        found = compared(name, text, "--sample", "2")
        assert {unit["note"][: len(note)] for unit in found["cells"]} == {note}
        assert found["paired"] == {}


def weak() -> str:
    return """{"name": "far", "nodes": [{"name": "a"}, {"name": "b"}],
    "links": [{"a": "a", "b": "b", "fidelity": 0.6}]}"""


def test_what_is_played_stays_when_other_units_are_left_out() -> None:
    from controller.experiment import summarise

    good = play_unit(
        run_cell("ring-6", "poisson", load_hz=20.0), 0, ["mean-rate"], seconds=3.0, warmup_s=1.0
    )
    none = play_unit(
        run_cell("ring-6", "poisson", load_hz=0.0), 0, ["mean-rate"], seconds=3.0, warmup_s=1.0
    )
    assert good.note is None and none.note is not None
    both = summarise("paper", ["mean-rate"], [0], [good, none])
    assert both.allocators["mean-rate"] == good.allocators["mean-rate"]
    assert len(both.cells) == 2


def test_a_network_in_pieces_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "two.gml"
    path.write_text(GML.replace("edge [ source 1 target 2 ]", ""))
    with pytest.raises(InputError, match="node 'Leiden' cannot be reached from 'Delft'"):
        chosen_cells("paper", None, str(path), None, 0)


def test_the_service_time_multiplies_cells() -> None:
    found = chosen_cells("metro", 3, None, None, 0, service_s=service_times("0,10,500"))
    assert [cell.service_s for cell in found] == [0.0, 0.01, 0.5] * 3
    assert len({cell.knee_fraction for cell in found}) == len({c.knee_fraction for c in found[::3]})
    plain = chosen_cells("metro", 3, None, None, 0)
    assert found[1::3] == plain and all(cell.service_s == 0.01 for cell in cells("metro"))


def test_cells_are_picked_by_their_levels_before_a_sample_is_taken() -> None:
    tight = "deadline_s=0.3,qubits=6,demand=scheduled,demand=hotspot"
    found = chosen_cells("metro", None, None, None, 0, where=tight)
    # Three networks, two demands, two cutoffs, three loads; in the order of the preset.
    assert len(found) == 36 and found == [cell for cell in cells("metro") if cell in found]
    assert {(cell.deadline_s, cell.qubits) for cell in found} == {(0.3, 6)}
    assert {cell.demand for cell in found} == {"scheduled", "hotspot"}
    some = chosen_cells("metro", 5, "surfnet", None, 0, where="cutoff_s=0.50")
    assert len(some) == 5 and {(c.topology, c.cutoff_s) for c in some} == {("surfnet", 0.5)}


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("", "must be FACTOR=LEVEL"),
        ("qubits", "must be FACTOR=LEVEL"),
        ("qubit=6", "factor 'qubit' is unknown; did you mean qubits"),
        ("qubits=six", "qubits must be a number, got 'six'"),
        ("deadline_s=nan", "deadline_s must be a number"),
        ("qubits=6,qubits=7", "no cell has qubits 7.0; it is 6, 12"),
        ("load_hz=60", "no cell has load_hz 60.0; it is none"),
        ("demand=announced", "no cell has demand announced; it is abilene, hotspot, poisson"),
    ],
)
def test_levels_that_no_cell_has_are_refused_in_one_line(where: str, complaint: str) -> None:
    with pytest.raises(InputError, match="--where") as refused:
        chosen_cells("metro", None, None, None, 0, where=where)
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "x", "1,1", "-1", "nan", "1e9"])
def test_service_times_are_different_numbers(text: str) -> None:
    with pytest.raises(InputError, match="--service-ms must be different numbers"):
        service_times(text)


def test_changes_are_part_of_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "changes.csv"
    path.write_text("time_s,a,b,state\n2,n0,n1,down\n")
    found = chosen_cells("paper", None, "ring-6", None, 0, changes=str(path))
    assert {cell.changes for cell in found} == {str(path)} and len(found) == 9
    with pytest.raises(InputError, match="line 2, column a: there is no node 'n0'"):
        chosen_cells("paper", None, "surfnet", None, 0, changes=str(path))
    with pytest.raises(InputError, match="changes 'storms' are unknown"):
        chosen_cells("paper", None, None, None, 0, changes="storms")


def test_every_network_of_the_zoo_has_demand_that_it_can_carry() -> None:
    names = zoo_names()
    assert len(names) == 276
    for name in [*names, "chicago"]:
        network = load_topology(name, seed=0)
        trace = make_trace(
            "bursts",
            network,
            load_hz=60.0,
            deadline_s=1.0,
            seed=1,
            network_seed=0,
            duration_s=10.0,
        )
        assert len(trace.time_s) and len(trace.commodities), name
