"""``dpem bench`` and the Aer benchmark: keys and sanity, never times."""

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from backends import benchmarks
from backends.aer import AerBackend, naive
from quantum.batch import check_batch
from quantum.commands import bench
from quantum.errors import InputError
from quantum.seeding import generator


@pytest.fixture
def quick(monkeypatch):
    """Replace the measurement by a single run of the work, so that keys come fast."""

    def once(work, size, *, runs):
        work()
        return size / 2.0

    monkeypatch.setattr(benchmarks, "_rate", once)
    monkeypatch.setattr(benchmarks, "_two_process_speedup", lambda rng: 1.9)
    monkeypatch.setattr(benchmarks, "_MANY", 8000)
    return benchmarks.aer


def test_the_aer_benchmark_has_its_fixed_keys(quick):
    report = quick()
    assert report["name"] == "aer"
    fixed = {"pairs_per_cpu_s", "swaps_per_cpu_s", "dejmps_per_cpu_s", "batch10_ms"}
    added = {"load_pairs_per_cpu_s", "epl_per_cpu_s", "ghz3_per_cpu_s"}
    assert fixed | added | {"two_process_speedup", "memory_growth_kb"} <= set(report["results"])
    assert report["ratio"].keys() == {"pairs_vs_naive", "pairs_vs_shared"}
    # 3000 pairs of ours against 2 naive ones in equal (pretended) time; 600 chains of 4 swaps.
    assert report["ratio"]["pairs_vs_naive"] == 1500.0
    assert report["results"]["swaps_per_cpu_s"] == 1200.0


@pytest.mark.parametrize("way", [naive.fresh_simulators, naive.shared_simulator])
def test_the_references_measure_the_same_pairs(way):
    # 20 pairs of 3 x 100 shots: standard error of the mean about 0.006. A wrong sign in one basis
    # would change it by 0.4.
    rng = generator(1, "test")
    batch = benchmarks._pairs(20, rng)
    theirs = way(batch.waits_s[:, 0], 0.96, benchmarks._MEMORY, 100, rng)
    low, ours, high = benchmarks._estimated(AerBackend(), batch, rng)
    assert theirs.mean() == pytest.approx(ours.mean(), abs=0.05)
    assert np.all((low < ours) & (ours < high) & (high - low < 0.2))


def test_the_workload_of_the_benchmark_is_physical():
    for make in (
        benchmarks._pairs,
        benchmarks._chains,
        benchmarks._dejmps,
        benchmarks._epl,
        benchmarks._ghz3,
        benchmarks._loaded,
    ):
        check_batch(make(3, generator(1, "test")))


def test_the_command_adds_the_machine(monkeypatch):
    report = {"name": "x", "results": {"rate": 1234.5}, "reference": {"r": 1.0}, "ratio": {"q": 2}}
    monkeypatch.setattr(bench, "load", lambda name: lambda: report)
    done = CliRunner().invoke(bench.command, ["x", "--json", "-"])
    got = msgspec.json.decode(done.output)
    assert set(got) == {"name", "results", "reference", "ratio", "machine"}
    assert got["machine"]["cores"] >= 1
    assert "1,23" in CliRunner().invoke(bench.command, ["x"]).output


def test_an_unknown_benchmark_is_named():
    done = CliRunner().invoke(bench.command, ["nope"])
    assert isinstance(done.exception, InputError)
    assert "aer" in str(done.exception)


def test_policies_reach_only_the_benchmark_that_judges_them(monkeypatch):
    told = []

    def judging(policies=()):
        told.append(tuple(policies))
        return {"name": "x", "results": {}, "reference": {}, "ratio": {}}

    monkeypatch.setattr(bench, "load", lambda name: judging)
    both = ["policy", "--policy", "a.safetensors", "--policy", "b.safetensors"]
    for words in (both, ["policy"]):
        done = CliRunner().invoke(bench.command, [*words, "--json", "-"], catch_exceptions=False)
        assert done.exit_code == 0
    assert told == [("a.safetensors", "b.safetensors"), ()]
    monkeypatch.undo()
    done = CliRunner().invoke(bench.command, ["twin", "--policy", "a.safetensors"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "--policy: benchmark twin does not use it"
