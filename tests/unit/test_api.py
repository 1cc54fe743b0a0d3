"""The notebook's door: what it gives is what the rest of DPEM says, and slips are one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.analytic import AnalyticBackend
from backends.contract import plan_of
from controller import api
from controller.game import play
from controller.rivals.allocator import find
from quantum.batch import stack
from quantum.bell import fidelity
from quantum.errors import InputError
from quantum.network import Network
from quantum.program import Memory
from quantum.topology import load_topology

ARRAYS = ("position_km", "links", "length_km", "populations", "generation_hz", "swap_hz", "qubits")


@pytest.fixture(scope="module")
def game() -> Any:
    return api.game("ring-6", "poisson", load_hz=8.0, seconds=4.0, warmup_s=1.0, seed=2)


@pytest.fixture(scope="module")
def played(game: Any) -> api.Played:
    return api.play(game, "mean-rate")


def same(a: Network, b: Network) -> bool:
    own = ("name", "nodes", "memory", "cutoff_s", "gates")
    return all(getattr(a, name) == getattr(b, name) for name in own) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS
    )


def test_the_score_is_that_of_a_comparison(game: Any, played: api.Played) -> None:
    for name in ("mean-rate", "max-weight", "q-cast-cached"):
        mine = played if name == "mean-rate" else api.play(game, name)
        theirs = play(game, find(name), with_losses=False)
        assert mine.result == theirs and mine.allocator == name
        # Every chain that the ledger counted is in the table.
        chains = sum(kind != "link test" for kind in mine.pairs["kind"])
        assert chains == int(mine.ledger.request.attempts.sum()) > 0


def test_tables_agree_with_the_score_and_with_each_other(played: api.Played) -> None:
    asked, pairs = played.requests, played.pairs
    inside = [row for row in asked if row["counted"]]
    assert sum(row["pairs"] for row in inside) == played.summary["pairs_requested"]
    assert sum(row["good"] for row in inside) == played.summary["pairs_delivered"]
    got = np.zeros(len(asked), dtype=int)
    for row in pairs:
        if row["kind"] == "delivered":
            got[row["request"]] += 1
            ends = {row["path"].split(">")[0], row["path"].split(">")[-1]}
            wanted = {asked["source"][row["request"]], asked["destination"][row["request"]]}
            assert ends == wanted and row["hops"] == row["path"].count(">")
    assert got.tolist() == list(asked["delivered"])
    assert played.delivered() == np.flatnonzero(got).tolist()
    frame, arrow = asked.to_pandas(), asked.to_arrow()
    assert frame["good"].tolist() == list(asked["good"]) == arrow.column("good").to_pylist()
    assert frame["minimum_fidelity"].dtype == "float64" and len(frame) == len(asked)


def test_a_table_shows_itself_and_not_its_thousands_of_rows() -> None:
    table = api.Table({"node": ["<b>", *"abcdefghijklmno"], "share": [0.123456789, *[None] * 15]})
    assert repr(table) == "Table(16 rows: node, share)"
    shown = table._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown and "0.123457" in shown
    assert shown.count("<tr>") == 13 and "and 4 more rows" in shown
    assert "more rows" not in api.Table({"a": [1]})._repr_html_()


def test_programs_are_the_pairs_that_were_made(played: api.Played) -> None:
    checked = 0
    for number in played.delivered()[:6]:
        told = [f for r, f in zip(played.pairs["request"], played.pairs["fidelity"], strict=True)
                if r == number]  # fmt: skip
        for program, wanted in zip(played.programs(number), told, strict=True):
            [(_, batch)] = stack([program])
            truth = AnalyticBackend().run(batch, plan_of([program]), np.random.default_rng(0)).truth
            assert fidelity(truth.populations)[0] == pytest.approx(wanted, abs=1e-12)
            checked += 1
    assert checked > 3


def test_circuits_are_those_of_the_programs(played: api.Played) -> None:
    pytest.importorskip("qiskit")
    from backends.aer.circuit import circuit_of

    number = played.delivered()[0]
    circuit = played.circuit(number, basis="xx")
    assert circuit == circuit_of(played.programs(number)[0], "xx")
    assert circuit.metadata["basis"] == "xx"


def test_demand_comes_from_rows_as_from_a_file(tmp_path: Path) -> None:
    rows = [
        {"timestamp_s": 0.5, "source": "n0", "destination": "n2", "fidelity": 0.8, "pairs": 2},
        {"timestamp_s": 1.5, "source": "n3", "destination": "n1", "fidelity": 0.7, "pairs": 1},
    ]
    made = api.game("ring-5", rows, seconds=3.0, warmup_s=0.0)
    table = api.Table({name: [row[name] for row in rows] for name in rows[0]})
    path = tmp_path / "mine.csv"
    table.to_pandas().to_csv(path, index=False)
    for other in (table.to_pandas(), table.to_arrow(), iter(rows), str(path)):
        again = api.game("ring-5", other, seconds=3.0, warmup_s=0.0)
        for name in ("time_s", "commodity", "pairs", "minimum_fidelity", "deadline_s", "told_s"):
            assert np.array_equal(
                getattr(again.scenario.trace, name), getattr(made.scenario.trace, name)
            )
    assert api.play(made, "mean-rate").requests["pairs"] == [2, 1]


def test_presets_and_comparisons(game: Any) -> None:
    table = api.compare(game, ["on-demand", find("uniform")])
    assert table["allocator"] == ["on-demand", "uniform"]
    assert max(table["fraction_of_bound"]) <= 1.0 + 1e-9
    cell = api.preset_game("paper", 1, seed=1, seconds=0.5, warmup_s=0.2)
    assert cell.scenario.trace.load_hz == 60.0 and len(cell.scenario.network.nodes) == 100


def test_pictures_are_drawn_on_the_axes_given(played: api.Played) -> None:
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert api.plot(played, played, ax=axes) is axes
    requested, delivered = axes.lines[0].get_ydata(), axes.lines[1].get_ydata()
    assert requested[-1] == sum(played.requests["pairs"]) and delivered[-1] <= requested[-1]
    assert axes.get_xlabel() == "network time of the request (s)"
    plan = api.plot_network(played.game.scenario.network, ax=Figure().subplots())
    assert len(plan.collections[0].get_segments()) == 6
    assert {text.get_text() for text in plan.texts} == {f"n{i}" for i in range(6)}


# Graphs both ways


@st.composite
def drawn(draw: st.DrawFn) -> Network:
    base = load_topology(draw(st.sampled_from(["ring-4", "star-5", "grid-2x3", "line-1"])), seed=3)
    return api.network(base, seed=draw(st.integers(0, 3)))


@pytest.mark.parametrize("way", ["graph", "gml", "graphml"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=drawn(), seed=st.integers(0, 9))
def test_a_network_survives_the_trip(tmp_path: Path, way: str, network: Network, seed: int) -> None:
    graph = api.graph(network)
    if way == "graph":
        assert same(api.network(graph, seed=seed), network)
        return
    path = tmp_path / f"trip.{way}"
    (networkx.write_gml if way == "gml" else networkx.write_graphml)(graph, path)
    assert same(api.network(path, seed=seed), network)


def test_a_bare_graph_is_filled_in_like_a_file() -> None:
    graph = networkx.cycle_graph(5)
    graph.nodes[0]["qubits"] = 3
    graph.edges[0, 1]["fidelity"] = 0.9
    network = api.network(graph, seed=1, qubits=7)
    assert network.nodes == ("0", "1", "2", "3", "4")
    assert network.qubits.tolist() == [3, 7, 7, 7, 7]
    assert fidelity(network.populations)[0] == pytest.approx(0.9)
    assert np.all(fidelity(network.populations)[1:] >= 0.97)
    assert same(network, api.network(network))
    again = api.network(networkx.cycle_graph(5).to_directed(), seed=1, qubits=7)
    assert np.array_equal(again.links, network.links)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: api.network("surfnt"), "did you mean surfnet"),
        (lambda: api.network(3), "name, a path, a networkx graph or a Network, got int"),
        (lambda: api.network("ring-4", qbits=3), "no argument 'qbits'; there are seed, preset"),
        (lambda: api.network("ring-4", preset="papr"), "did you mean paper"),
        (lambda: api.network(networkx.Graph()), "graph: .*at least one"),
        (lambda: api.network(networkx.empty_graph(2)), "cannot be reached"),
        (lambda: api.game("ring-4", "poison"), "did you mean poisson"),
        (lambda: api.game("ring-4", {"a": 1}), "demand must be a kind, a path, or rows"),
        (lambda: api.game("ring-4", [{"timestamp_s": 1}]), "row 1: there is no column 'source'"),
        (lambda: api.game("ring-4", seconds=-1.0), "duration_s|seconds"),
        (lambda: api.play("ring-4", "dpem"), "game must come from api.game, got str"),  # type: ignore[arg-type]
        (lambda: api.preset_game("paper", 9), "cell must be 0 to 8 in preset paper, got 9"),
        (lambda: api.preset_game("paper", 1.5), "cell must be a whole number, got 1.5"),  # type: ignore[arg-type]
        (lambda: api.preset_game(3), "preset must be paper, .*got int"),  # type: ignore[arg-type]
        (lambda: api.network("ring-4", fidelity=0.9), r"fidelity must be 2 numbers .*got 0.9"),
        (lambda: api.network("ring-4", fidelity=(0.9, "x")), "fidelity must be a number, got 'x'"),
        (lambda: api.network("ring-4", seed=1.5), "seed must be a whole number, got 1.5"),  # type: ignore[arg-type]
        (lambda: api.network("ring-4", qubits="x"), "qubits must be a whole number, got 'x'"),
        (lambda: api.network("ring-4", qubits=10**30), "qubits must be .* of 64 bits"),
        (lambda: api.network("ring-4", memory=3), "memory must be a quantum.program.Memory"),
        (
            lambda: api.network("ring-4", memory=Memory(t1_s="x")),  # type: ignore[arg-type]
            "memory.t1_s must be a number, got 'x'",
        ),
        (lambda: api.game("ring-4", seconds="x"), "seconds must be a number, got 'x'"),  # type: ignore[arg-type]
        (lambda: api.game("ring-4", seed=True), "seed must be a whole number, got True"),
        (lambda: api.game("ring-4", fidelities=0.8), "fidelities must be numbers"),  # type: ignore[arg-type]
        (lambda: api.compare(None, "dpem"), "allocators must be a list"),  # type: ignore[arg-type]
        (lambda: api.graph(3), "must come from api.network"),  # type: ignore[arg-type]
        (lambda: api.compare(None, []), "at least one"),  # type: ignore[arg-type]
        (lambda: api.plot(), "at least one result of api.play"),
        (lambda: api.plot_network(None), "must come from api.network"),  # type: ignore[arg-type]
        (lambda: api.Table({"a": []})["b"], "there is no column 'b'; there are a"),
    ],
)
def test_slips_are_one_line(ask: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    graph = networkx.cycle_graph(4)
    graph.nodes[0]["qubits"] = np.int64(3)
    graph.edges[0, 1]["fidelity"] = np.float32(0.75)
    graph.graph["cutoff_s"] = np.float64(2.0)
    network = api.network(graph, seed=np.int64(1), qubits=np.int32(4))  # type: ignore[arg-type]
    assert network.qubits.tolist() == [3, 4, 4, 4] and network.cutoff_s == 2.0
    assert fidelity(network.populations)[0] == pytest.approx(0.75)


def test_games_and_what_was_played_show_themselves_in_a_line(game: Any, played: api.Played) -> None:
    assert repr(game).startswith("Game(ring-6, 6 nodes, 6 links: ") and len(repr(game)) < 120
    score = played.result.score
    wanted = f"(mean-rate on ring-6: {score.pairs_delivered} of {score.pairs_requested} pairs)"
    assert repr(played) == f"Played{wanted}"


def test_requests_that_are_not_there(played: api.Played, game: Any) -> None:
    with pytest.raises(InputError, match="request must be 0 to"):
        played.programs(10**6)
    with pytest.raises(InputError, match=r"pair must be below \d+: so many were assembled"):
        played.circuit(played.delivered()[0], pair=99)
    with pytest.raises(InputError, match="allocator 'mean-rat' is unknown"):
        api.play(game, "mean-rat")
    with pytest.raises(InputError, match="allocator must be a name or an Allocator, got int"):
        api.play(game, 3)  # type: ignore[arg-type]
    empty = api.play(api.game("ring-4", [], seconds=0.1, warmup_s=0.0), "mean-rate")
    with pytest.raises(InputError, match="there are no requests in this game"):
        empty.programs(0)


def test_pictures_without_matplotlib_say_how_to_get_it(
    played: api.Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.pyplot", "matplotlib.collections"):
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (lambda: api.plot(played), lambda: api.plot_network(played.game.scenario.network)):
        with pytest.raises(InputError, match="pictures need matplotlib: pip install"):
            ask()


def test_what_is_not_installed_is_named() -> None:
    """In an interpreter where the packages cannot be imported, as where nobody installed them."""
    ask = """
import sys
for name in ("pandas", "pyarrow"):
    sys.modules[name] = None
from controller.api.tables import Table
from quantum.errors import InputError
for call in (Table({"a": [1]}).to_pandas, Table({"a": [1]}).to_arrow):
    try:
        call()
    except InputError as wrong:
        print(wrong)
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "data frames need pandas: pip install pandas",
        "Arrow tables need pyarrow: pip install 'dpem[arena]'",
    ]
