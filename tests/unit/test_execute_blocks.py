"""What a program file can ask for beside states: models, presets, clocks, GHZ states, lists."""

import math

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from backends.commands.execute import command
from backends.program_file import Asked, read_program, read_programs
from quantum import bell, werner
from quantum.errors import InputError
from quantum.links.model import read_model
from quantum.program import Load, Memory, Merge, Swap, Wait

TIMED = {"fidelity": 0.95, "success_probability": 0.1, "attempt_s": 1e-3}


def invoke(program, *options):
    text = msgspec.json.encode(program).decode()
    return CliRunner().invoke(command, ["-", *options], input=text)


def result(program, *options):
    done = invoke(program, "--json", "-", *options)
    assert done.exit_code == 0, (done.output, done.exception)
    return msgspec.json.decode(done.output)


def exact(program, *options):
    return result(program, *options)["exact"]


def max_of_geometrics(links, chance):
    """Mean of the largest of some geometric variables, by inclusion and exclusion."""
    return sum(
        (-1) ** (j + 1) * math.comb(links, j) / (1 - (1 - chance) ** j) for j in range(1, links + 1)
    )


@pytest.mark.parametrize("backend", ["analytic", "aer"])
def test_a_model_gives_its_own_state(backend):
    block = {"model": "single_click", "bright_state": 0.1, "length_km": 20}
    link = read_model(dict(block)).heralded()
    program = read_program(msgspec.json.encode({"links": [block]}))
    assert isinstance(program.steps[0], Load)
    assert exact({"links": [block]}, "--backend", backend)["fidelity"] == pytest.approx(
        link.fidelity, abs=1e-12
    )


def test_presets_give_links_and_memories():
    link = {"preset": "delft_nv_2021", "point": "link_ab"}
    assert exact({"links": [link]})["fidelity"] == pytest.approx(0.82, abs=1e-12)
    program = read_program(
        msgspec.json.encode(
            {"links": [link], "memory": {"preset": "delft_nv_2021", "t1_s": 9, "t2_s": 0.5}}
        )
    )
    assert program.memory.attempts_1e == 1800 and program.memory.t2_s == 0.5
    missing = invoke({"links": [{"preset": "ustc_reic_2025"}]})
    assert "links[0]" in str(missing.exception) and "rate_hz" in str(missing.exception)
    assert exact({"links": [{"preset": "ustc_reic_2025", "rate_hz": 2}]})["fidelity"] > 0.78


def test_waits_of_every_qubit():
    memory = {"t1_s": 2.0, "t2_s": 0.7, "attempts_1e": 500}
    links = [
        {"fidelity": 0.95, "waits_s": [0.1, 0.3]},
        {"fidelity": 0.9, "waits_s": [0.0, 0.2], "wait_attempts": [100, 50]},
    ]
    clock = Memory(t1_s=2.0, t2_s=0.7, attempts_1e=500)
    one = werner.wait(bell.correlators(bell.werner(0.95)), 0.1, 0.3, clock)
    two = werner.wait(bell.correlators(bell.werner(0.9)), 0.0, 0.2, clock, 150)
    right = werner.fidelity(werner.swap(one, two))
    for backend in ("analytic", "aer"):
        got = exact({"links": links, "memory": memory}, "--backend", backend)
        assert got["fidelity"] == pytest.approx(right, abs=1e-12)


def test_orders_of_swaps_join_the_same_chain():
    links = [{"fidelity": 0.9 + 0.01 * i} for i in range(7)]
    steps = {}
    values = []
    for order in ("asap", "sequential", "balanced"):
        file = {"links": links, "swap": {"order": order, "gate_depolarizing": 0.01}}
        steps[order] = [
            (s.left, s.right)
            for s in read_program(msgspec.json.encode(file)).steps
            if isinstance(s, Swap)
        ]
        values.append(exact(file)["fidelity"])
    assert steps["sequential"] == [(0, i) for i in range(1, 7)]
    assert steps["balanced"] == [(0, 1), (2, 3), (4, 5), (0, 2), (4, 6), (0, 4)]
    assert values == pytest.approx([values[0]] * 3, abs=1e-12)


@pytest.mark.parametrize("backend", ["analytic", "aer"])
def test_ghz_states_of_merged_links(backend):
    # Merging keeps Z errors and X errors of independent pairs apart: for dephased pairs
    # F = (1 + prod (1 - 2 p_i)) / 2.
    errors = (0.1, 0.05, 0.2)
    links = [
        {"bell_diagonal": {"phi_plus": 1 - p, "phi_minus": p, "psi_plus": 0, "psi_minus": 0}}
        for p in errors
    ]
    got = result({"links": links, "join": "ghz", "shots": 20000}, "--backend", backend)
    right = (1 + np.prod([1 - 2 * p for p in errors])) / 2
    assert got["exact"]["fidelity"] == pytest.approx(right, abs=1e-12)
    assert len(got["exact"]["ghz_diagonal"]) == 16
    assert len(got["counts"]) == 15 and "xxxx" in got["counts"] and "zzii" in got["counts"]
    guess = got["estimate"]
    assert abs(guess["best"] - right) < 2.5 * (guess["high"] - guess["low"])
    assert "key" not in got
    steps = read_program(msgspec.json.encode({"links": links, "join": "ghz"})).steps
    assert sum(isinstance(step, Merge) for step in steps) == 2


@pytest.mark.parametrize("links", [1, 2, 4])
def test_waiting_times_of_chains(links):
    got = result({"links": [TIMED] * links, "clock": {}, "shots": 20000}, "--seed", "5")
    timing = got["timing"]
    right = 1e-3 * max_of_geometrics(links, 0.1)
    assert abs(timing["mean_s"] - right) < 5 * timing["standard_error_s"]
    assert timing["deliveries"] == 20000
    assert timing["rate_hz"] == pytest.approx(1 / timing["mean_s"])
    assert list(timing["quantiles_s"]) == ["0.1", "0.5", "0.9", "0.99"]
    assert sum(t["pass"] + t["fail"] for t in got["counts"].values()) == 20000


def test_swaps_that_fail_cost_time_and_nothing_else():
    file = {"links": [TIMED] * 2, "clock": {}, "swap": {"success": 0.5}, "shots": 20000}
    timing = result(file)["timing"]
    assert abs(timing["mean_s"] - 2e-3 * max_of_geometrics(2, 0.1)) < 5 * timing["standard_error_s"]
    assert exact(file)["success_probability"] == 1.0
    assert exact(file)["fidelity"] == pytest.approx(float(werner.fidelity([0.93333333333**2] * 3)))


def test_a_clock_lets_memories_decay_and_backends_agree():
    file = {
        "links": [TIMED, {"model": "single_click", "bright_state": 0.2, "length_km": 50}, TIMED],
        "memory": {"t1_s": 1.0, "t2_s": 0.05},
        "clock": {"cutoff_s": 0.05, "ends": "measure"},
        "shots": 300,
    }
    one, other = (result(file, "--backend", name) for name in ("analytic", "aer"))
    assert one["timing"] | {"fidelity_standard_error": 0} == other["timing"] | {
        "fidelity_standard_error": 0
    }
    assert one["exact"]["fidelity"] == pytest.approx(other["exact"]["fidelity"], abs=1e-12)
    assert one["counts"] == other["counts"]
    still = result(file | {"memory": {}})
    assert still["exact"]["fidelity"] > one["exact"]["fidelity"] + 0.01


def test_processes_change_nothing():
    file = {"links": [TIMED] * 4, "clock": {}, "memory": {"t2_s": 0.1}, "shots": 4000}
    one = result(file, "--backend", "aer")
    assert result(file, "--backend", "aer", "--processes", "2") == one
    done = invoke(file, "--processes", "2")
    assert "processes are for backend aer only" in str(done.exception)


def test_key_fractions_stand_beside_the_fidelity():
    got = result({"links": [{"fidelity": 0.94}]})["key"]
    error = 2 * 0.06 / 3
    assert got["exact"]["qber"] == pytest.approx(dict.fromkeys(("xx", "yy", "zz"), error))
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    assert got["exact"]["bb84_fraction"] == pytest.approx(1 - 2 * entropy)
    assert got["exact"]["largest_chsh_s"] == pytest.approx(2 * math.sqrt(2) * (4 * 0.94 - 1) / 3)
    guess = got["estimate"]["bb84"]
    assert guess["low"] < got["exact"]["bb84_fraction"] < guess["high"]
    assert result({"links": [{"fidelity": 0.5}]})["key"]["exact"]["bb84_fraction"] == 0.0


def test_a_list_of_programs_survives_a_bad_one():
    programs = [
        {"links": [{"fidelity": 0.9}]},
        {"links": [{"fidelity": 9}]},
        {"links": [{"fidelity": 0.9}]},
        {"links": [{"fidelity": 0.9}], "distil": 1},
        {"links": [{"preset": "qunnect_gothamq_2024"}], "wait_s": 1.0},
    ]
    done = invoke({"programs": programs}, "--json", "-")
    assert done.exit_code == 1
    got = msgspec.json.decode(done.output)["programs"]
    assert [("error" in one) for one in got] == [False, True, False, True, True]
    assert got[0]["exact"] == got[2]["exact"]
    assert got[0]["counts"] != got[2]["counts"]  # each has draws of its own
    assert got[1]["error"].startswith("programs[1].links[0].fidelity must be between 0 and 1")
    assert got[3]["error"].startswith("programs[3]") and "distil" in got[3]["error"]
    assert "UNSUPP" in got[4]["error"] and "photonic" in got[4]["error"]
    table = invoke({"programs": programs}).output
    assert "0.900000000" in table and "programs[1]" in table


def test_a_photonic_pair_is_measured_at_once():
    spdc = {"preset": "qunnect_gothamq_2024"}
    assert result({"links": [spdc]})["exact"]["fidelity"] == pytest.approx(0.9)
    for more in ({"wait_s": 0.1}, {"links": [spdc, spdc]}, {"distill": {}}):
        done = invoke({"links": [spdc]} | more)
        assert isinstance(done.exception, InputError)
        assert "UNSUPP" in str(done.exception)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ({"links": [{"model": "teleporter"}]}, r"links\[0\].model must be one of plain"),
        (
            {"links": [{"model": "single_click", "length_km": 1}]},
            r"links\[0\].bright_state is required",
        ),
        (
            {"links": [{"model": "single_click", "length_km": -1, "bright_state": 0.1}]},
            r"links\[0\].length_km",
        ),
        ({"links": [{"preset": "delft"}]}, r"links\[0\]: .*delft"),
        ({"links": [{"preset": 1}]}, r"links\[0\].preset"),
        ({"links": [{"preset": "delft_nv_2021", "x": 1}]}, r"links\[0\].*`x`"),
        ({"links": [{"fidelity": 0.9, "attempt_s": 1}]}, r"links\[0\].success_probability"),
        ({"links": [TIMED | {"success_probability": 0}]}, r"success_probability must be >= 1e-15"),
        ({"links": [{"fidelity": 0.9, "waits_s": [1]}]}, r"links\[0\].waits_s must be two"),
        ({"links": [{"fidelity": 0.9, "waits_s": [1, -1]}]}, r"links\[0\].waits_s must be two"),
        ({"links": [{"fidelity": 0.9, "wait_attempts": "x"}]}, r"links\[0\].wait_attempts"),
        ({"links": [{"fidelity": 0.9, "family": "x"}]}, r"links\[0\].family must be memory or"),
        ({"links": [TIMED], "swap": {"order": "x"}}, "swap.order must be asap, balanced or"),
        ({"links": [TIMED], "join": "x"}, "program.join must be swap or ghz"),
        ({"links": [TIMED] * 8, "join": "ghz"}, "program.links must be at most 7"),
        ({"links": [{"fidelity": 0.9}], "clock": {}}, r"links\[0\] needs success_probability"),
        ({"links": [TIMED], "clock": {"cutoff_s": 0}}, "clock.cutoff_s"),
        ({"links": [TIMED], "clock": {"ends": "x"}}, "clock.ends must be keep or measure"),
        ({"links": [TIMED], "clock": {"signal_s": -1}}, "clock.signal_s"),
        ({"links": [TIMED], "clock": {}, "distill": {}}, "clock plays chains of swaps"),
        ({"links": [TIMED] * 2, "clock": {}, "swap": {"success": 0}}, "swap.success must be > 0"),
        ({"links": [TIMED | {"success_probability": 1e-160}]}, "success_probability must be >= 1e"),
        ({"links": [TIMED | {"attempt_s": 1e308}]}, "attempt_s must be between 1e-12 and 1e12"),
        (
            {"links": [{"fidelity": 0.9}, {"fidelity": 0.9, "family": "photonic"}]},
            r"UNSUPP: program.links\[1\] is photonic",
        ),
        ({"links": [TIMED], "clock": {}, "shots": 10**8}, "shots must be at most"),
        ({"links": [TIMED], "memory": {"preset": "nope"}}, "program.memory: .*nope"),
        ({"links": [TIMED], "memory": {"attempts_1e": 0}}, "program.memory.attempts_1e"),
        ({"programs": []}, "program.programs"),
        ({"programs": {}, "links": []}, "program.programs"),
    ],
)
def test_bad_blocks_are_one_line_that_names_the_field(program, message):
    done = invoke(program)
    assert isinstance(done.exception, InputError), (done.output, done.exception)
    assert "\n" not in str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception


def test_a_file_of_many_is_not_one_program():
    with pytest.raises(InputError, match="one program is needed"):
        read_program(b'{"programs": [{"links": [{"fidelity": 1}]}]}')
    asked = read_programs(b'{"links": [{"fidelity": 1, "waits_s": [0.5, 0]}]}')
    assert isinstance(asked, Asked)
    assert asked.program.steps[1] == Wait(0, 0.5, 0.0)


def test_the_finished_pair_of_a_clock_waits_too():
    perfect = {"fidelity": 1, "success_probability": 0.5, "attempt_s": 0.001}
    file = {"links": [perfect], "clock": {}, "memory": {"t2_s": 1}, "wait_s": 1, "shots": 100}
    # Both ends dephase for T2: F = (1 + exp(-2)) / 2.
    assert exact(file)["fidelity"] == pytest.approx((1 + math.exp(-2)) / 2, abs=1e-12)
    aged = {"links": [perfect | {"waits_s": [0.5, 0.25]}], "clock": {}, "memory": {"t2_s": 1}}
    assert exact(aged | {"shots": 50})["fidelity"] == pytest.approx((1 + math.exp(-0.75)) / 2)


@pytest.mark.parametrize("clock", [{}, None])
def test_qubits_age_while_the_herald_is_on_its_way(clock):
    block = {"model": "single_click", "bright_state": 0.05, "length_km": 100}
    link = read_model(dict(block)).heralded()
    assert sum(link.ages_s) == pytest.approx(2 * 100e3 * 1.468 / 299792458, rel=1e-6)
    coherence = math.exp(-sum(link.ages_s) / 5e-4)
    xx, yy, zz = bell.correlators(link.populations)
    right = (1 + coherence * (xx + yy) + zz) / 4
    file = {"links": [block], "memory": {"t2_s": 5e-4}, "shots": 100, "clock": clock}
    assert exact(file)["fidelity"] == pytest.approx(right, abs=1e-12)


def test_keys_that_are_there_twice():
    done = CliRunner().invoke(command, ["-"], input='{"links": [{"fidelity": 1, "fidelity": 0.5}]}')
    assert "'fidelity' is there twice" in str(done.exception)


def test_a_chain_that_never_delivers_is_told():
    hopeless = {"links": [TIMED | {"success_probability": 1e-4}] * 60, "swap": {"success": 0.1}}
    done = invoke(hopeless | {"clock": {}, "shots": 10})
    assert isinstance(done.exception, InputError) and "program.clock" in str(done.exception)
