"""Changes of a network as values: drawn, read and written. What they do is in test_outages.py."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.changes import NO_CHANGES, Changes, make_changes, outages, read_changes, to_csv
from quantum.errors import InputError
from quantum.presence import presence
from quantum.presets import build, run_cell
from quantum.topology import load_topology

NET = load_topology("grid-3x4", seed=0)


def equal(one: Changes, two: Changes) -> bool:
    return all(
        getattr(one, name).tobytes() == getattr(two, name).tobytes()
        for name in ("time_s", "node", "index", "up")
    )


def states(changes: Changes, node: bool, index: int) -> list[tuple[float, bool]]:
    mine = (changes.node == node) & (changes.index == index)
    return list(zip(changes.time_s[mine].tolist(), changes.up[mine].tolist(), strict=True))


def test_outages_alternate_and_are_sorted() -> None:
    some = outages(NET, seed=3, duration_s=500.0, links=(20.0, 5.0), nodes=(50.0, 10.0))
    assert np.all(np.diff(some.time_s) >= 0) and some.time_s.max() < 500.0
    for node, size in ((False, len(NET.links)), (True, len(NET.nodes))):
        for index in range(size):
            ups = [up for _, up in states(some, node, index)]
            assert ups == [number % 2 == 1 for number in range(len(ups))] and ups


def test_each_thing_has_draws_of_its_own() -> None:
    both = make_changes("outages:20:5", NET, seed=3, duration_s=100.0)
    links = make_changes("links:20:5", NET, seed=3, duration_s=100.0)
    nodes = make_changes(" nodes:20:5", NET, seed=3, duration_s=100.0)
    apart = make_changes("nodes:20:5,links:20:5", NET, seed=3, duration_s=100.0)
    assert equal(both, apart) and not equal(links, nodes)
    assert not links.node.any() and nodes.node.all()
    for index in range(len(NET.links)):
        assert states(both, False, index) == states(links, False, index)
    longer = make_changes("links:20:5", NET, seed=3, duration_s=1000.0)
    assert states(links, False, 2) == [x for x in states(longer, False, 2) if x[0] < 100.0]
    assert not equal(links, make_changes("links:20:5", NET, seed=4, duration_s=100.0))


def test_mean_times_and_availability_are_those_asked() -> None:
    mtbf, mttr, span = 30.0, 6.0, 4000.0
    some = outages(NET, seed=1, duration_s=span, links=(mtbf, mttr))
    up, down = [], []
    for index in range(len(NET.links)):
        times = [0.0, *(time for time, _ in states(some, False, index))]
        spans = np.diff(times)
        up += spans[0::2].tolist()
        down += spans[1::2].tolist()
    # Exponential: the deviation is the mean; about 17 links x 111 cycles.
    assert len(up) > 1500
    assert np.mean(up) == pytest.approx(mtbf, rel=5 / math.sqrt(len(up)))
    assert np.mean(down) == pytest.approx(mttr, rel=5 / math.sqrt(len(down)))
    assert np.std(up) == pytest.approx(np.mean(up), rel=0.15)


@pytest.mark.parametrize(
    "wish",
    ["", "outages", "outages:5", "outages:5:1:2", "links:5:1,outages:3:1", "ships:5:1", "x.txt"],
)
def test_a_wish_of_another_form_says_the_forms(wish: str) -> None:
    with pytest.raises(InputError, match=r"they are FILE\.csv, or outages:MTBF_S:MTTR_S"):
        make_changes(wish, NET, seed=0, duration_s=10.0)


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "x", ""])
def test_mean_times_are_positive(number: str) -> None:
    for wish in (f"outages:{number}:1", f"nodes:1:{number}"):
        with pytest.raises(InputError, match="mean times must be > 0 seconds"):
            make_changes(wish, NET, seed=0, duration_s=10.0)
    with pytest.raises(InputError, match="make them rarer"):
        make_changes("links:1e-6:1e-6", NET, seed=0, duration_s=1e4)


HEAD = "time_s,a,b,state\n"


def read(folder: Path, text: str) -> Changes:
    path = folder / "changes.csv"
    path.write_text(text)
    return read_changes(str(path), NET)


def test_a_file_is_read_as_it_says(tmp_path: Path) -> None:
    some = read(tmp_path, "state,b,a,time_s\ndown,n0,n1,0.5\n\ndown,,n3,0.5\nup,n1,n0,2\n")
    link = NET.links.tolist().index([0, 1])
    assert some.time_s.tolist() == [0.5, 0.5, 2.0]
    assert some.node.tolist() == [False, True, False]
    assert some.index.tolist() == [link, 3, link]
    assert some.up.tolist() == [False, False, True]
    assert some.slots(0.02).tolist() == [25, 25, 100]
    assert equal(read(tmp_path, HEAD), NO_CHANGES)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), mean=st.floats(0.5, 50.0))
def test_what_is_written_is_read_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mean: float
) -> None:
    some = outages(NET, seed=seed, duration_s=40.0, links=(mean, 3.0), nodes=(mean, 1 / 3))
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(to_csv(some, NET))
    assert equal(make_changes(str(path), NET, seed=0, duration_s=1.0), some)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,a,state\n", "line 1: there is no column 'b'"),
        (f"{HEAD}1,n0,n1\n", "line 2: must have 4 fields"),
        (f"{HEAD}-1,n0,n1,up\n", "line 2, column time_s: must be >= 0"),
        (f"{HEAD}nan,n0,n1,up\n", "line 2, column time_s"),
        (f"{HEAD}2,n0,n1,up\n1,n0,n1,down\n", "line 3, column time_s: .*backwards, got 1 after 2"),
        (f"{HEAD}1,n99,,up\n", "line 2, column a: there is no node 'n99'"),
        (f"{HEAD}1,n0,n99,up\n", "line 2, column b: there is no node 'n99'"),
        (f"{HEAD}1,n0,n11,up\n", "line 2, column b: there is no link between 'n0' and 'n11'"),
        (f"{HEAD}1,n0,n0,up\n", "line 2, column b: there is no link"),
        (f"{HEAD}1,n0,n1,off\n", "line 2, column state: must be up or down, got 'off'"),
    ],
)
def test_an_unsound_file_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "changes.csv" in str(caught.value)


def test_a_scenario_refuses_changes_of_another_network() -> None:
    scenario = build(run_cell("line-3", "poisson"), 0, seconds=2.0)
    with pytest.raises(InputError, match=r"changes\.index"):
        replace(scenario, changes=outages(NET, seed=0, duration_s=9.0, links=(1.0, 1.0)))
    some = outages(NET, seed=0, duration_s=9.0, links=(1.0, 1.0))
    with pytest.raises(InputError, match="sorted"):
        replace(some, time_s=some.time_s[::-1])
    with pytest.raises(InputError, match=">= 0"):
        replace(some, time_s=some.time_s - 9.0)


@pytest.mark.parametrize("seed", range(12))
def test_presence_is_what_a_table_of_all_slots_says(seed: int) -> None:
    some = outages(NET, seed=seed, duration_s=6.0, links=(2.0, 1.0), nodes=(2.0, 1.0))
    first, stop = 20 * (seed % 5), 90 + 15 * seed
    here = presence(some, NET, slot_s=0.02, first=first, stop=stop)
    node_up = np.ones((stop, len(NET.nodes)), dtype=bool)
    link_up = np.ones((stop, len(NET.links)), dtype=bool)
    for slot, node, index, up in zip(some.slots(0.02), some.node, some.index, some.up, strict=True):
        (node_up if node else link_up)[slot:, index] = up
    is_open = link_up & node_up[:, NET.links[:, 0]] & node_up[:, NET.links[:, 1]]
    assert here.opened.tolist() == is_open[first:].any(axis=0).tolist()
    assert here.slots.tolist() == node_up[first:].sum(axis=0).tolist()
    joined = (~node_up[first:-1] & node_up[first + 1 :]).sum(axis=0) + node_up[first]
    # A node that leaves and joins within a slot is not seen in the table, but has a new bucket.
    assert np.all(here.buckets >= joined) and (here.buckets - joined).sum() <= 2
    away = np.zeros_like(node_up)
    for node, start, end in here.away.tolist():
        away[start:end, node] = True
    assert np.array_equal(away[first:], ~node_up[first:])
