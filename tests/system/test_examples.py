"""The examples run as they stand, and say what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
#: Last words of each script, as far as they do not depend on the machine.
SAYS = {
    "1_execute_a_chain.py": "exact, which only a simulator knows: 0.9044",
    "2_play_a_network.py": "% of the bound, contention 0.0",
    "3_own_allocator.py": "seed 3: even-stock 0.",
    "4_measure_a_lab_link.py": "pairs",
    "5_read_a_record.py": "401 events verified; 400 tests: fidelity 0.9",
}


def run(script: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=280,  # the first one compiles kernels
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_is_here() -> None:
    assert {script.name for script in SCRIPTS} == set(SAYS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    said = run(script, tmp_path)
    assert SAYS[script.name] in said.splitlines()[-1]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({"record.png"} if script.name.startswith("5") else set())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_example_is_short_and_says_how_to_run_it(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert f"{script.name}" in text.split('"""')[1]


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    """What the example shows of a sealed folder holds for any other."""
    from quantum.record import RecordWriter

    folder = tmp_path / "run"
    with RecordWriter(folder, {"made_by": "a test"}) as writer:
        writer.append({"event": "results", "slot": 0, "basis": [0], "passed": [1]})
        writer.close()
    script = EXAMPLES / "5_read_a_record.py"
    assert "2 events verified; 1 tests" in run(script, tmp_path, str(folder))
    events = folder / "events.jsonl"
    events.write_text(events.read_text().replace('"passed":[1]', '"passed":[0]'))
    with pytest.raises(AssertionError, match="RecordError"):
        run(script, tmp_path, str(folder))
