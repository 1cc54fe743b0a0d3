"""A record that nobody can draw is called damaged, and a run whose record is can be stopped."""

import asyncio
import json
from pathlib import Path

import pytest

from controller.attended import Attended
from controller.dashboard.controls import Controls
from controller.dashboard.layout import read_layout
from controller.dashboard.watch import Watch
from quantum.errors import InputError, RecordError
from quantum.record import RecordWriter


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPEM_STATE", str(tmp_path / "state"))


def test_an_unsealed_record_without_its_network_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RecordWriter(folder, {"horizon": 9}) as writer:
        writer.close()
    (folder / "manifest.json").unlink()
    watch = Watch(folder)
    watch.step()
    assert watch.status.state == "damaged" and "network.json is missing" in watch.status.word
    # The same of a run that goes on is a run that has not come so far.
    with Attended(folder) as attended:
        attended.say("preparing the network")
        watch.step()
        assert watch.status.state == "preparing"


def test_events_without_a_line_are_damaged_and_none_are_awaited(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.step()
    assert watch.status.state == "waiting"
    (tmp_path / "events.jsonl").touch()
    watch.step()
    assert watch.status.state == "waiting"
    (tmp_path / "events.jsonl").write_bytes(b"x" * ((1 << 20) + 1))
    watch.step()
    assert watch.status.state == "damaged" and "no whole line" in watch.status.word
    assert "\n" not in watch.status.word


def test_a_run_whose_record_is_damaged_can_be_stopped_while_it_goes_on(tmp_path: Path) -> None:
    controls = Controls(tmp_path, lambda: None)
    with Attended(tmp_path) as attended:
        attended.say("playing")
        controls.look()
        seen = controls.version
        assert controls.offered("damaged") == ["run"]
        assert asyncio.run(controls.stop("run", "enough", "damaged")) == {"asked": True}
        with pytest.raises(KeyboardInterrupt):
            attended.check()
        assert attended.wish is not None and attended.wish.reason == "enough"
        # Once its record is sealed there is nothing left to stop.
        assert controls.offered("finished") == []
    controls.look()
    assert controls.version == seen + 1 and controls.offered("damaged") == []
    with pytest.raises(InputError, match="no run is going on"):
        asyncio.run(controls.stop("run", "enough", "damaged"))


def test_two_nodes_of_one_name_are_refused() -> None:
    nodes = [{"name": "a"}, {"name": "b"}, {"name": "a"}]
    data = json.dumps({"name": "x", "nodes": nodes, "links": [{"a": "a", "b": "b"}]}).encode()
    with pytest.raises(RecordError, match="two nodes have the same name"):
        read_layout(data)
