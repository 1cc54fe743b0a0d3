"""Scripts written for SquidASM run through ``dpem squidasm`` and give what theory says.

The examples of this repository run always; with ``--squidasm-examples=DIR`` those of a checkout of
QuTech-Delft/squidasm (its folder ``examples``) run too, unmodified.
"""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "squidasm"
MAIN = [sys.executable, "-c", "from quantum.cli import main; main()", "squidasm"]
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def dpem(
    folder: Path, *arguments: str, engine: str = "numpy", seed: int = 5
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, "--engine", engine, "--seed", str(seed), *arguments],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def numbers(folder: Path, script: str, *arguments: str, engine: str = "numpy") -> list[float]:
    done = dpem(folder, str(EXAMPLES / script), *arguments, engine=engine)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [float(number) for number in NUMBER.findall(done.stdout)]


def near(count: float, trials: int, chance: float) -> bool:
    """Say whether a count is within 5 sigma."""
    return abs(count - trials * chance) <= 5.0 * math.sqrt(trials * chance * (1.0 - chance)) + 1e-9


def test_all_examples_are_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'"{script.name}"' in text


def test_pairs_are_equal_in_both_bases(tmp_path: Path) -> None:
    z_equal, runs, z_ones, x_equal, _, x_ones, told, _ = numbers(tmp_path, "pairs.py", "40")
    assert z_equal == x_equal == told == runs == 40
    assert near(z_ones, 40, 0.5) and near(x_ones, 40, 0.5)


def test_error_rate_and_times_of_a_link(tmp_path: Path) -> None:
    pairs = 150
    found = numbers(tmp_path, "error_rate.py", str(pairs))
    errors, file_ns = found[:2]
    assert near(errors * pairs, pairs, 0.2 / 3.0)
    # A geometric number of cycles of 1000 ns, two messages of 250 ns, a gate and a measurement.
    assert abs(file_ns - 13_500.0) < 5.0 * 1000.0 * math.sqrt(2.0 / pairs)
    for place, (fidelity, chance) in enumerate(((1.0, 0.0), (0.85, 0.1), (0.7, 0.2))):
        said, errors, ns = found[2 + 3 * place : 5 + 3 * place]
        assert said == fidelity
        assert near(errors * pairs, pairs, chance)
        assert ns == 12_500.0
    log = (tmp_path / "error_rate.log").read_text().splitlines()
    assert sum(":Stack.sweep:150 pairs with alice" in line for line in log) == 4
    assert all(re.match(r"INFO:[\d.]+ ns:Stack\.", line) for line in log if "Stack." in line)


@pytest.mark.parametrize("engine", ["numpy", "aer"])
def test_teleported_state_is_the_depolarised_one(tmp_path: Path, engine: str) -> None:
    fidelity, spread = numbers(tmp_path, "teleport.py", "0.3", "20", engine=engine)
    # Angles are multiples of pi/2^d, off by at most 1e-4.
    assert fidelity == pytest.approx(1.0 - 0.3 / 2.0, abs=1e-7)
    assert spread < 1e-7


def test_distributed_gate_entangles(tmp_path: Path) -> None:
    fidelity, *alone = numbers(tmp_path, "distributed_gate.py")
    assert fidelity == pytest.approx(1.0, abs=1e-9)
    assert alone == pytest.approx([0.5, 0.0, 0.0, 0.5], abs=1e-9)


def test_ghz_states_are_stabilised(tmp_path: Path) -> None:
    z_equal, runs, _, _, x_equal, _, even, _ = numbers(tmp_path, "ghz.py", "4", "40", engine="aer")
    assert z_equal == even == runs == 40
    assert near(x_equal, 40, 2.0 / 8.0)


def test_chsh_game_is_won_as_often_as_can_be(tmp_path: Path) -> None:
    won, games, _ = numbers(tmp_path, "chsh.py", "0", "250")
    assert games == 1000
    assert near(won, 1000, math.cos(math.pi / 8.0) ** 2)


def test_keys_have_the_errors_of_the_link(tmp_path: Path) -> None:
    x_bits, x_errors, z_bits, z_errors = numbers(tmp_path, "key.py", "0.85", "400")
    assert near(x_bits + z_bits, 400, 0.5)
    assert near(x_errors, int(x_bits), 0.1) and near(z_errors, int(z_bits), 0.1)


def test_bases_of_a_request_are_honoured(tmp_path: Path) -> None:
    *_, tilted, pairs = found = numbers(tmp_path, "bases.py", "300")
    assert found[:6:2] == [300.0, 0.0, 300.0]
    assert near(tilted, int(pairs), math.cos(math.pi / 8.0) ** 2)


def test_blind_outcome_follows_the_hidden_angle(tmp_path: Path) -> None:
    zeros, runs, *_, seen = [
        number for number in numbers(tmp_path, "blind.py", "0.25", "300") if number != 0.0
    ]
    assert near(zeros, int(runs), math.cos(math.pi / 8.0) ** 2)
    assert seen == 16


def test_readout_errors_of_nv_centres(tmp_path: Path) -> None:
    errors, outcomes, ones, _ = numbers(tmp_path, "nv_sequential.py", "60")
    both_0, both_1 = 2.0 * 0.05 * 0.95, 2.0 * 0.01 * 0.99
    assert near(errors, int(outcomes), (both_0 + both_1) / 2.0)
    assert near(ones, int(outcomes), (0.05 + 0.99) / 2.0)


@pytest.mark.parametrize("steps", [5, 16])
def test_loops_of_text_subroutines(tmp_path: Path, steps: int) -> None:
    counted, ones, runs, _ = numbers(tmp_path, "counter.py", str(steps), "100")
    assert counted == steps
    assert near(ones, int(runs), math.sin(steps * math.pi / 32.0) ** 2)


# -------------------------------------------------------------------------------- the command


def test_same_seed_same_output_whatever_the_script_draws(tmp_path: Path) -> None:
    said = [dpem(tmp_path, str(EXAMPLES / "key.py"), "0.9", "50", seed=s).stdout for s in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_blocks_in_processes_draw_differently(tmp_path: Path) -> None:
    arguments = ("--processes", "2", str(EXAMPLES / "chsh.py"), "0.4", "120")
    first, again = dpem(tmp_path, *arguments), dpem(tmp_path, *arguments)
    assert first.stdout == again.stdout
    won, games, _ = (float(number) for number in NUMBER.findall(first.stdout))
    assert games == 480
    assert near(won, 480, 0.5 + 0.6 * math.sqrt(2.0) / 4.0)


ALONE = """
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramMeta
from squidasm.util import create_two_node_network

class Alone(Program):
    meta = ProgramMeta("lonely", csockets=[], epr_sockets=["Bob"], max_qubits=1)

    def run(self, context):
        half = context.epr_sockets["Bob"].create_keep()[0]
        half.measure()
        yield from context.connection.flush()

print("begins")
run(create_two_node_network(), {"Alice": Alone()}, PLACE)
"""


@pytest.mark.parametrize("options", [[], ["--processes", "2"]])
def test_what_would_hang_is_one_line(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "alone.py").write_text(ALONE.replace("PLACE", "4"))
    done = dpem(tmp_path, *options, "alone.py")
    assert (done.returncode, done.stdout) == (2, "begins\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("dpem: ")
    assert "lonely" in line and "Alice" in line and "Bob" in line and "alone.py:1" in line


def test_interrupted_scripts_exit_with_130(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        [*MAIN, "slow.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == "on\n"
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=240) == 130
        assert running.stderr.read() == ""


# ---------------------------------------------------------------------- scripts of a checkout

SKIPPED = "give --squidasm-examples=DIR, the examples of a checkout of QuTech-Delft/squidasm"
#: What some of them say whatever is drawn, noise or none.
SAYS = {
    "advanced/bqc/example_bqc_nv.py": "fail rate: 0.0",
    "advanced/fidelity_constraint/example_bqc_nv_constraint.py": r"dist \(0, 1\) = \(1.0, 0.0\)",
    "advanced/ghz/example_ghz.py": r"(?:Node_\d measures: 0\s*){6}|(?:Node_\d measures: 1\s*){6}",
    "advanced/single_node/example_single_node.py": r"\[\[\{'m': 1\}\]\]",
    "advanced/partial_bqc/example_bqc_5_4.py": r"\(1.0, 0.0\)\n.*\(0.0, 1.0\)",
    "applications/bqc/example_bqc.py": r"Final state .*:\n\[\[ *(1\.0|0\.999|9\.99)",
    "applications/distributed_gate/example_distributed_cnot.py": r"Final state target:\n\[\[ *1\.0",
    "tutorial/1_Basics/run_simulation.py": r"(?s)local EPR qubit: (\d).*local EPR qubit: \1",
    "tutorial/2.1_NetQASM-language/run_simulation.py": r"(?s)EPR qubit: (\d).*EPR qubit: \1",
    "tutorial/4.2_network-configuration/run_simulation.py": r"1_perfect.yaml\n.* 0.0% using 200",
    "tutorial/4.3_multi-node/run_simulation.py": (
        r"(?s)5000.0 ns: Bob receives.*10000.0 ns: Charlie receives"
        r".*his qubit: (\d).*his qubit \1"
    ),
}


def upstream(folder: str | None) -> list[object]:
    if folder is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason=SKIPPED))]
    root = Path(folder).resolve()
    found = sorted(
        path
        for pattern in ("example_*.py", "run_simulation.py")
        for path in root.rglob(pattern)
        if "raw_subroutines" not in path.parts
    )
    assert found, f"no examples in {root}"
    return [pytest.param((root, path), id=str(path.relative_to(root))) for path in found]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "upstream_script" in metafunc.fixturenames:
        folder = metafunc.config.getoption("--squidasm-examples")
        metafunc.parametrize("upstream_script", upstream(folder))


@pytest.mark.timeout(300)
def test_script_of_a_checkout(upstream_script: tuple[Path, Path], tmp_path: Path) -> None:
    root, script = upstream_script
    # It may write beside itself.
    folder = Path(shutil.copytree(script.parent, tmp_path / "copy"))
    done = dpem(folder, script.name, "--test_run", engine="aer", seed=1)
    assert done.returncode == 0, done.stderr
    says = SAYS.get(script.relative_to(root).as_posix())
    if says is not None:
        assert re.search(says, done.stdout), done.stdout
