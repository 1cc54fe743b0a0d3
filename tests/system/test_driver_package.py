"""The example of a driver package: installed by pip, found by entry point, tested."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "driver_package"


def run(*words: str, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=target,
        env=os.environ | {"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_is_installed_found_and_passes_its_own_tests(tmp_path: Path) -> None:
    before = {path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts}
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "-q")
    done = run(
        "-m", "pip", "install", *options, "--target", str(tmp_path), str(PACKAGE), target=tmp_path
    )
    assert done.returncode == 0, done.stderr
    # Nothing is left behind in the sources.
    assert {path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts} == before
    found = run(
        "-c",
        "from importlib.metadata import entry_points as e;"
        "print(*(e(group='dpem.' + g)['flip'].value for g in ('drivers', 'stubs')))",
        target=tmp_path,
    )
    assert found.stdout.split() == ["dpem_flip.driver:Flip", "dpem_flip.stub:serve"], found.stderr
    tests = run(
        "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c", os.devnull,
        str(PACKAGE / "tests"), target=tmp_path,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "9 passed" in tests.stdout
