"""Bad input of ``dpem run``: exit code 2, one line on stderr, and no folder left behind."""

import json
import os
import signal
from pathlib import Path

import pytest

from quantum.cli import main

TWO = {"nodes": [{"name": "a"}, {"name": "b"}], "links": [{"a": "a", "b": "b"}]}


@pytest.fixture
def dpem(tmp_path, monkeypatch, capsys):
    """Call ``dpem run`` in an empty folder: (code, lines on stderr, names left in the folder)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        before = set(tmp_path.rglob("*"))
        monkeypatch.setattr("sys.argv", ["dpem", "run", *map(str, words)])
        before_signal = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, before_signal)
        out, err = capsys.readouterr()
        assert out == ""
        return ended.value.code, err, set(tmp_path.rglob("*")) - before

    return call


def refused(answer, *parts):
    code, err, left = answer
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    assert left == set()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--topology", "surfnett"), ("surfnett", "surfnet")),
        (("--backend", "aeer"), ("aeer", "aer, analytic, lab")),
        (("--allocator", "swap-asap"), ("way of its own", "dpem compare")),
        (("--allocator", "dpemm"), ("dpemm", "mean-rate", "on-demand", "uniform")),
        (("--demand", "hotspott"), ("hotspott", "poisson", "scheduled")),
        (("--rack", "rack.toml"), ("rack", "lab")),
        (("--rack", "rack.toml", "--backend", "aer"), ("rack", "aer")),
        (("--rack", "nowhere.toml", "--backend", "lab"), ("nowhere.toml",)),
        (("--topology", "nowhere.json"), ("nowhere.json",)),
        (("--topology", "nowhere.gml"), ("nowhere.gml",)),
        (("--demand", "nowhere.csv"), ("nowhere.csv",)),
        (("--config", "nowhere.toml"), ("nowhere.toml",)),
    ],
)
def test_unknown_names(dpem, words, parts):
    refused(dpem(*words), *parts)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seconds", "nan"),
        ("seconds", "inf"),
        ("seconds", "0"),
        ("seconds", "-1"),
        ("warmup", "nan"),
        ("warmup", "-0.5"),
        ("load", "nan"),
        ("load", "0"),
        ("load", "-3"),
        ("load", "1e9"),
        ("seed", "-1"),
        ("seed", str(2**62)),
        ("agents", "0"),
        ("agents", "65"),
        ("workers", "0"),
    ],
)
def test_numbers_out_of_range(dpem, option, value):
    refused(dpem(f"--{option}", value), option, value.partition("e")[0])


def test_a_number_that_is_none(dpem):
    code, err, left = dpem("--seconds", "soon")
    assert code == 2
    assert "--seconds" in err and "Traceback" not in err
    assert left == set()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("secnds = 3", ("secnds",)),
        ("seconds = 'three'", ("seconds",)),
        ("seconds = nan", ("seconds",)),
        ("seconds = ", ("TOML",)),
        ("backend = 'aeer'", ("aeer",)),
        ("rivals = ['nobody']", ("nobody", "mean-rate")),
        ("round_s = 0", ("round_s",)),
        ("epsilon = -1", ("epsilon",)),
    ],
)
def test_broken_configurations(dpem, tmp_path, text, parts):
    (tmp_path / "config.toml").write_text(text)
    refused(dpem("--config", "config.toml"), *parts)


def test_a_configuration_that_is_no_text(dpem, tmp_path):
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    refused(dpem("--config", "config.toml"), "config.toml")


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("net.json", "{", ("net.json",)),
        ("net.json", "[]", ("net.json",)),
        ("net.json", json.dumps({**TWO, "color": "red"}), ("net.json", "color")),
        ("net.json", json.dumps({"nodes": [], "links": []}), ("net.json",)),
        ("net.json", json.dumps({**TWO, "links": []}), ("cannot be reached", "connected")),
        (
            "net.json",
            json.dumps({**TWO, "links": [{"a": "a", "b": "b", "fidelity": 1.5}]}),
            ("fidelity",),
        ),
        ("net.gml", "graph [ node [ id", ("net.gml",)),
        ("net.graphml", "<graphml>", ("net.graphml",)),
    ],
)
def test_broken_topologies(dpem, tmp_path, name, text, parts):
    (tmp_path / name).write_text(text)
    refused(dpem("--topology", name), *parts)


def test_an_existing_folder_is_left_as_it_is(dpem, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "thesis.tex").write_text("years of work")
    refused(dpem("--topology", "line-3", "--seconds", "1", "--out", "old"), "old", "not empty")
    assert (tmp_path / "old" / "thesis.tex").read_text() == "years of work"


def test_a_file_in_the_way(dpem, tmp_path):
    (tmp_path / "old").write_text("years of work")
    refused(dpem("--topology", "line-3", "--seconds", "1", "--out", "old"), "old")
    refused(dpem("--topology", "line-3", "--seconds", "1", "--out", "old/run"), "old")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(dpem, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(dpem("--topology", "line-3", "--seconds", "1", "--out", "locked/run"), "locked")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_file_system_that_takes_no_folder(dpem):
    refused(dpem("--topology", "line-3", "--seconds", "1", "--out", "/proc/dpem"), "/proc/dpem")


def test_results_that_cannot_be_written(dpem):
    refused(dpem("--topology", "line-3", "--json", "nowhere/result.json"), "nowhere/result.json")
