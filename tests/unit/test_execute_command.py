"""``dpem execute``: keys, physics of its blocks, one clear line for each kind of bad input."""

import math
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from backends.commands.execute import command
from backends.ensemble import run
from backends.program_file import read_program, read_programs
from quantum import bell, werner
from quantum.errors import InputError
from quantum.program import Distill, Gates, Memory, Swap, Wait


def invoke(program, *options):
    text = program if isinstance(program, str) else msgspec.json.encode(program).decode()
    return CliRunner().invoke(command, ["-", *options], input=text)


def result(program, *options):
    done = invoke(program, "--json", "-", *options)
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.output)


LINK = {"fidelity": 0.95}


@pytest.mark.parametrize("backend", ["analytic", "aer"])
def test_a_perfect_pair(backend):
    got = result({"links": [{"fidelity": 1.0}]}, "--backend", backend)
    assert {"backend", "exact", "counts", "estimate"} <= set(got)
    assert got["backend"] == backend
    assert set(got["exact"]) == {"fidelity", "success_probability", "bell_diagonal"}
    assert got["exact"]["fidelity"] == pytest.approx(1.0, abs=1e-12)
    assert set(got["exact"]["bell_diagonal"]) == set(bell.BELL_STATES)
    assert set(got["counts"]) == {"xx", "yy", "zz"}
    assert sum(t["pass"] + t["fail"] for t in got["counts"].values()) == 30_000
    assert all(t["fail"] == 0 for t in got["counts"].values())
    assert set(got["estimate"]) == {"low", "best", "high", "confidence", "shots"}
    assert got["estimate"]["high"] == 1.0


def test_all_blocks_follow_the_closed_forms():
    populations = {"phi_plus": 0.85, "phi_minus": 0.05, "psi_plus": 0.07, "psi_minus": 0.03}
    swap = {"success": 0.7, "gate_depolarizing": 0.02, "readout_error": 0.01}
    program = {
        "links": [LINK, {"bell_diagonal": populations}, LINK],
        "memory": {"t2_s": 2.0},
        "wait_s": 0.3,
        "swap": swap,
        "distill": {"protocol": "dejmps", "rounds": 2},
    }
    gates = Gates(**swap)

    def link(weights):
        first, chance = werner.dejmps(*[bell.correlators(weights)] * 2, gates)
        second, again = werner.dejmps(first, first, gates)
        return second, chance**2 * again

    plain, chance = link(bell.werner(0.95))
    other, other_chance = link(list(populations.values()))
    chain = werner.swap(werner.swap(plain, other, gates), plain, gates)
    final = werner.wait(chain, 0.3, 0.3, Memory(t2_s=2.0))
    for backend in ("analytic", "aer"):
        got = result(program, "--backend", backend)["exact"]
        assert got["fidelity"] == pytest.approx(werner.fidelity(final), abs=1e-9)
        assert got["success_probability"] == pytest.approx(
            chance**2 * other_chance * 0.7**2, abs=1e-9
        )


def test_the_estimate_agrees_with_the_truth():
    got = result({"links": [LINK] * 3, "memory": {"t1_s": 1.0}, "wait_s": 0.1}, "--seed", "3")
    # Five times the half width: far outside a 95 % interval by chance alone.
    guess, exact = got["estimate"], got["exact"]["fidelity"]
    assert abs(guess["best"] - exact) < 2.5 * (guess["high"] - guess["low"])


def test_seeds_change_counts_and_nothing_else():
    first, again, other = (result({"links": [LINK]}, "--seed", s) for s in ("1", "1", "2"))
    assert first == again
    assert first["counts"] != other["counts"]
    assert first["exact"] == other["exact"]


def test_the_program_has_the_steps_asked_for():
    program = read_program(
        b'{"links": [{"fidelity": 0.9}, {"fidelity": 0.8}], "wait_s": 0.5, "shots": 7,'
        b' "distill": {"protocol": "bbpssw", "rounds": 3}}'
    )
    kinds = [type(step) for step in program.steps]
    assert kinds.count(Distill) == 2 * 7
    assert kinds.count(Swap) == 1
    assert kinds.index(Wait) > kinds.index(Swap) > kinds.index(Distill)
    assert program.measure.shots == 7
    assert program.measure.basis == "random"


def test_missing_relaxation_times():
    read = read_program(b'{"links": [{"fidelity": 1}], "memory": {"t1_s": 3}}')
    assert read.memory == Memory(t1_s=3.0, t2_s=6.0)
    read = read_program(b'{"links": [{"fidelity": 1}], "memory": {"t2_s": 3}}')
    assert read.memory == Memory(t1_s=math.inf, t2_s=3.0)


def test_no_rounds_and_no_distillation_are_the_same():
    rounds = read_program(b'{"links": [{"fidelity": 0.9}], "distill": {"rounds": 0}}')
    assert rounds == read_program(b'{"links": [{"fidelity": 0.9}], "distill": null}')


def test_a_pair_that_never_exists_has_no_fidelity():
    got = result({"links": [LINK, LINK], "swap": {"success": 0.0}})
    assert got["exact"] == {"fidelity": None, "success_probability": 0.0, "bell_diagonal": None}
    assert got["estimate"]["shots"] == 0
    assert "never succeeds" in invoke({"links": [LINK, LINK], "swap": {"success": 0.0}}).output


def test_a_backend_without_truth_has_no_exact():
    from backends.analytic import AnalyticBackend
    from backends.contract import Outcome

    class Counting(AnalyticBackend):
        def run(self, batch, plan, rng):
            return Outcome(super().run(batch, plan, rng).counts, None, "real")

    assert run(read_programs(b'{"links": [{"fidelity": 1}]}'), Counting(), 0)["exact"] is None


def test_human_output_is_a_small_table():
    output = invoke({"links": [LINK]}).output
    assert "fidelity, estimated" in output
    assert "xx pass / fail" in output


def test_json_to_a_file_keeps_the_table(tmp_path):
    path = tmp_path / "out.json"
    done = invoke({"links": [LINK]}, "--json", str(path))
    assert "interval" in done.output
    assert msgspec.json.decode(path.read_bytes())["backend"] == "analytic"


BAD = [
    ({}, "links"),
    ({"links": []}, "program.links"),
    ({"links": {}}, "program.links"),
    ({"links": [1]}, r"program.links\[0\]"),
    ({"links": [{}]}, r"program.links\[0\]"),
    ({"links": [{"fidelity": 1.2}]}, r"links\[0\].fidelity must be between 0 and 1, got 1.2"),
    ({"links": [LINK, {"fidelity": -0.1}]}, r"links\[1\].fidelity"),
    ({"links": [{"fidelity": "0.9"}]}, r"links\[0\].fidelity"),
    ({"links": [{"fidelity": True}]}, r"links\[0\].fidelity"),
    ({"links": [{"fidelity": 0.9, "bell_diagonal": None, "x": 1}]}, r"links\[0\].*`x`"),
    ({"links": [{"bell_diagonal": {"phi_plus": 1.0}}]}, "bell_diagonal"),
    ({"links": [LINK], "memory": {"t1_s": 0}}, "program.memory.t1_s"),
    ({"links": [LINK], "memory": {"t2_s": -1}}, "program.memory.t2_s"),
    ({"links": [LINK], "memory": {"t1_s": 1, "t2_s": 2.1}}, "program.memory.t2_s must be <= 2"),
    ({"links": [LINK], "memory": {"t3_s": 1}}, "program.memory"),
    ({"links": [LINK], "wait_s": -0.5}, "program.wait_s"),
    ({"links": [LINK], "wait_s": None}, "program.wait_s"),
    ({"links": [LINK], "swap": {"success": 1.5}}, "program.swap.success"),
    ({"links": [LINK], "swap": {"readout_error": -1}}, "program.swap.readout_error"),
    ({"links": [LINK], "swap": {"gate_depolarizing": 2}}, "program.swap.gate_depolarizing"),
    ({"links": [LINK], "distill": {"rounds": 6}}, "program.distill.rounds"),
    ({"links": [LINK], "distill": {"rounds": -1}}, "program.distill.rounds"),
    ({"links": [LINK], "distill": {"rounds": 1.5}}, "program.distill.rounds"),
    ({"links": [LINK], "distill": {"protocol": "x"}}, "protocol must be dejmps, bbpssw or epl"),
    ({"links": [LINK], "distill": "dejmps"}, "program.distill"),
    ({"links": [LINK], "shots": 0}, "program.shots"),
    ({"links": [LINK], "shots": 1_000_000_001}, "program.shots"),
    ({"links": [LINK], "shots": 2.5}, "program.shots"),
    ({"links": [LINK], "wait": 1}, "`wait`"),
    ({"links": [LINK] * 400, "distill": {"rounds": 5}}, "program.links"),
    ("[]", "program"),
    ("null", "program"),
    ("", "not valid JSON"),
    ('{"links": [{"fidelity": NaN}]}', "not valid JSON"),
    ('{"links": [{"fidelity": 1e999}]}', "program"),
    ('{"links": [{"fidelity": 0.9}], "wait_s": 1e400}', "program"),
]


@pytest.mark.parametrize(("program", "message"), BAD)
def test_bad_input_is_one_line_that_names_the_field(program, message):
    done = invoke(program)
    assert isinstance(done.exception, InputError), done.output
    assert done.exception.exit_code == 2
    assert "\n" not in str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception


def test_populations_that_do_not_sum_to_one():
    link = {"phi_plus": 0.9, "phi_minus": 0.2, "psi_plus": 0.0, "psi_minus": 0.0}
    with pytest.raises(InputError, match=r"links\[0\].bell_diagonal must sum to 1"):
        raise invoke({"links": [{"bell_diagonal": link}]}).exception


@given(st.binary(max_size=60))
def test_garbage_never_crashes(data):
    with pytest.raises(InputError, match="program"):
        read_program(data)


def test_deep_nesting_never_crashes():
    with pytest.raises(InputError, match="program"):
        read_program(b'{"links": ' + b"[" * 100_000)


def test_the_installed_command_exits_with_2_and_one_line():
    done = subprocess.run(
        [sys.executable, "-c", "from quantum.cli import main; main()", "execute", "-"],
        input='{"links": [{"fidelity": 1.2}]}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "dpem: program.links[0].fidelity must be between 0 and 1, got 1.2"
    ]


def test_unknown_backend_and_missing_file():
    done = invoke({"links": [LINK]}, "--backend", "nope")
    assert "known: aer, analytic" in str(done.exception)
    done = CliRunner().invoke(command, ["no-such-file.json"])
    assert "no-such-file.json" in str(done.exception)
