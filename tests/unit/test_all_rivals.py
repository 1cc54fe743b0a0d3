"""All allocators together where everything goes wrong: outages, slow control, bursts."""

import json

import pytest
from click.testing import CliRunner

from controller.arena.roster import installed
from controller.commands.compare import command


@pytest.mark.long
def test_all_play_together_under_outages_and_slow_control(tmp_path):
    line = ["--preset", "metro", "--sample", "1", "--topology", "geometric-12"]
    line += ["--demand", "bursts", "--changes", "outages:8:2", "--service-ms", "0,1500"]
    line += ["--allocators", "dpem,all", "--seeds", "1", "--seconds", "8", "--warmup", "2"]
    line += ["--processes", "1", "--windowed", "2", "--out", str(tmp_path / "x")]
    run = CliRunner().invoke(command, line)
    assert run.exit_code == 0, run.output
    found = json.loads((tmp_path / "x" / "result.json").read_text())
    assert set(found["allocators"]) == set(installed()[0]) - {"dpem-alone", "dpem-federated"}
    assert [cell["service_s"] for cell in found["cells"]] == [0.0, 1.5]
    for cell in found["cells"]:
        assert cell["changes"] == "outages:8:2"
        assert cell["windowed"] <= cell["windowed_fluid"]
        for figures in cell["allocators"].values():
            assert figures["fraction_of_bound"] <= 1.0
            assert figures["fraction_of_windowed"] <= 1.0
            assert figures["least_share"] <= cell["fair_share"]
    quick, slow = (cell["allocators"] for cell in found["cells"])
    assert all(figures["pairs_delivered"] > 0 for figures in quick.values())
    # Requests wait 0.3 s: a controller that needs longer comes too late for every one.
    central = [name for name, one in installed()[0].items() if one.central]
    assert all(slow[name]["pairs_delivered"] == 0 for name in central)
    assert slow["dpem"]["pairs_delivered"] > 0
