"""``dpem --help`` answers at once: none of the commands it lists brings anything heavy along."""

import subprocess
import sys

from quantum.cli import found

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
