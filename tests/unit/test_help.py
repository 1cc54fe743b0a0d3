"""``dpem --help`` answers at once: none of the commands it lists brings anything heavy along."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from backends.commands import open_backend as execute_backend
from backends.rack import driver_of
from backends.worker import open_backend
from controller.rivals.allocator import find
from quantum.cli import found
from quantum.commands.bench import load
from quantum.errors import InputError

#: What takes longer to import than the help may take to be shown.
HEAVY = {
    "aiohttp", "asyncio", "cryptography", "dp_accounting", "gymnasium", "llvmlite", "matplotlib",
    "networkx", "nicegui", "numba", "numpy", "pandas", "pettingzoo", "pyarrow", "qiskit",
    "qiskit_aer", "rich", "scipy", "statsmodels", "torch", "zmq",
}  # fmt: skip
_ASK = """
import sys
from quantum.cli import main
sys.argv = ["dpem", *sys.argv[1:]]
try:
    main()
finally:
    sys.stderr.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_help_lists_every_command_and_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, "--help"], capture_output=True, text=True, check=True
    )
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert set(found()) <= listed
    assert not HEAVY & set(done.stderr.split())
    assert {"click", "quantum"} <= set(done.stderr.split()), "the modules are told"


def dpem(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from quantum.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


def test_without_words_there_is_the_whole_help() -> None:
    done = dpem()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage:")
    assert set(found()) <= {line.split()[0] for line in done.stderr.splitlines() if line.strip()}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("rnu",), "no such command 'rnu'; did you mean run"),
        (("init", "--froce"), "--force"),
    ],
)
def test_a_slip_is_told_what_was_meant(words: tuple[str, ...], meant: str) -> None:
    done = dpem(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert meant in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("named", "slip", "meant"),
    [
        (open_backend, "analytc", "analytic"),
        (execute_backend, "analytc", "analytic"),
        (find, "meanrate", "mean-rate"),
        (load, "loup", "loop"),
        (driver_of, "id90", "id900"),
    ],
)
def test_names_that_are_nearly_right_are_told(
    named: Callable[[str], object], slip: str, meant: str
) -> None:
    with pytest.raises(InputError, match=f"is unknown; did you mean [^;]*{meant}.*; ") as wrong:
        named(slip)
    assert "\n" not in str(wrong.value)
