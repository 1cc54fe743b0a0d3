"""Settings of all tests: on a busy machine an example may take long, and CI repeats itself."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the first example of a kernel compiles it. Derandomised: the same commit has the
# same examples; `--hypothesis-profile=default` searches with new ones.
settings.register_profile("dpem", deadline=None, derandomize=True)
settings.load_profile("dpem")

# What several tests measure by: `import dense`.
sys.path.append(str(Path(__file__).parent / "reference"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single test files."""
    parser.addoption(
        "--squidasm-examples",
        metavar="DIR",
        help="run the examples of a checkout of QuTech-Delft/squidasm too (with =, not a blank)",
    )
