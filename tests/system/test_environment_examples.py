"""Examples for learners of other libraries run, and an allocator of one's own is a plugin."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "environments"
PACKAGE = ROOT / "examples" / "allocator_package"


def run(*words: str, folder: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    found = {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | found,
        capture_output=True,
        text=True,
        timeout=550,  # the first one compiles kernels
        check=False,
    )


def test_maskable_ppo_of_sb3_contrib_trains_a_node(tmp_path: Path) -> None:
    done = run("-W", "error", str(EXAMPLES / "maskable_ppo.py"), "128", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("trained: reward ")
    assert second.startswith("heuristic: reward ")
    assert "delivered 0." in second


def test_a_single_file_in_the_manner_of_cleanrl_trains_all_nodes(tmp_path: Path) -> None:
    done = run("-W", "error", str(EXAMPLES / "cleanrl_style.py"), "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["update 0"]
    assert "decisions, reward" in done.stdout


def test_a_rival_in_thirty_lines_is_installed_found_and_played(tmp_path: Path) -> None:
    """A real installation by pip, found by its entry point, in a comparison with ours."""
    assert len((PACKAGE / "dpem_even.py").read_text(encoding="utf-8").splitlines()) <= 30
    before = {path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts}
    target = tmp_path / "site"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "-q")
    words = ("-m", "pip", "install", *options, "--target", str(target), str(PACKAGE))
    done = run(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (target / "dpem_even-0.1.0.dist-info" / "entry_points.txt").is_file()
    assert {path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts} == before

    compare = (
        *("-c", "from quantum.cli import main; main()", "compare", "--topology", "grid-3x3"),
        *("--demand", "poisson", "--allocators", "even-share,on-demand", "--seeds", "1"),
        *(
            "--seconds",
            "3",
            "--warmup",
            "1",
            "--processes",
            "1",
            "--out",
            str(tmp_path / "compare"),
            "--quiet",
        ),
    )
    played = run(*compare, "--json", str(tmp_path / "x.json"), folder=tmp_path, path=target)
    assert played.returncode == 0, played.stderr
    result = json.loads((tmp_path / "x.json").read_bytes())["allocators"]
    assert set(result) == {"even-share", "on-demand"}
    assert result["even-share"]["delivery_rate"] > result["on-demand"]["delivery_rate"]
    # Without the package nobody knows it.
    unknown = run(*compare, folder=tmp_path)
    assert unknown.returncode != 0
    assert "even-share" in unknown.stderr
