"""Settings of all tests: on a busy machine an example may take long, and CI repeats itself."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

# Tests run in as many processes as there are cores, and start processes of their own: more threads
# than one would only wait for each other. Read when NumPy and torch are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# No deadline: the first example of a kernel compiles it. Derandomised: the same commit has the
# same examples; `--hypothesis-profile=default` searches with new ones.
settings.register_profile("dpem", deadline=None, derandomize=True)
settings.load_profile("dpem")

# Latches, tokens and logs of racks that tests play with are nobody else's.
os.environ["DPEM_STATE"] = tempfile.mkdtemp(prefix="dpem-state-")
atexit.register(shutil.rmtree, os.environ["DPEM_STATE"], ignore_errors=True)

# A shell that starts the suite in the background has it ignore the interrupt key, and what tests
# start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis also draws numbers that stand in the project's modules loaded so far. Examples would
# depend on which tests ran before in the same process, and what fails in the suite pass alone.
# There is no setting for this.
_NO_CONSTANTS = providers.Constants()
setattr(providers, "_get_local_constants", lambda: _NO_CONSTANTS)  # noqa: B010

# What several tests measure by: `import dense`.
sys.path.append(str(Path(__file__).parent / "reference"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the processes of `-n auto`: one for each core that may be used, to some limit."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, 8)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single test files."""
    parser.addoption(
        "--squidasm-examples",
        metavar="DIR",
        help="run the examples of a checkout of QuTech-Delft/squidasm too (with =, not a blank)",
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Any]:
    """The journal of a service, in a file of its own."""
    from controller.service.journal import Journal

    kept = Journal(tmp_path / "journal.db")
    yield kept
    kept.close()
