"""Settings of all tests: on a busy machine an example may take long, and CI repeats itself."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: the first example of a kernel compiles it. Derandomised: the same commit has the
# same examples; `--hypothesis-profile=default` searches with new ones.
settings.register_profile("dpem", deadline=None, derandomize=True)
settings.load_profile("dpem")

# Latches, tokens and logs of racks that tests play with are nobody else's.
os.environ["DPEM_STATE"] = tempfile.mkdtemp(prefix="dpem-state-")

# What several tests measure by: `import dense`.
sys.path.append(str(Path(__file__).parent / "reference"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single test files."""
    parser.addoption(
        "--squidasm-examples",
        metavar="DIR",
        help="run the examples of a checkout of QuTech-Delft/squidasm too (with =, not a blank)",
    )
