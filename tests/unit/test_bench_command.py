"""``dpem bench`` and the Aer benchmark: keys and sanity, never times."""

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from backends import benchmarks
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
    return benchmarks.aer


def test_the_aer_benchmark_has_its_fixed_keys(quick):
    report = quick()
    assert report["name"] == "aer"
    fixed = {"pairs_per_cpu_s", "swaps_per_cpu_s", "dejmps_per_cpu_s", "batch10_ms"}
    assert fixed <= set(report["results"])
    assert report["ratio"].keys() == {"pairs_vs_naive"}
    # 3000 pairs of ours against 2 naive ones in equal (pretended) time; 600 chains of 4 swaps.
    assert report["ratio"]["pairs_vs_naive"] == 1500.0
    assert report["results"]["swaps_per_cpu_s"] == 1200.0


def test_the_naive_reference_measures_the_same_pairs():
    # 8 pairs of 3 x 100 shots: standard error of the mean about 0.02. A wrong sign in one basis
    # would change it by 0.4.
    naive = benchmarks.naive_pairs(8, generator(1, "test"))
    from backends.aer import AerBackend

    rng = generator(1, "test")
    ours, errors = benchmarks._estimated(AerBackend(), benchmarks._chains(2000, 1, rng), rng)
    assert naive.mean() == pytest.approx(ours.mean(), abs=0.08)
    assert np.all((errors > 0.0) & (errors < 0.05))


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
