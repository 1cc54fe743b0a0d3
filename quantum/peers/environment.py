"""Where peers live: a virtual environment for each, outside ours, made once.

Each peer pins its own versions of what we use too, so none shares an environment with another, or
with us. A script of ours runs there by its path, isolated from our packages.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import DpemError

__all__ = ["PEERS", "Peer", "PeerError", "ask", "environments", "python_of"]

_INSTALL_S = 900
_RUN_S = 900


class PeerError(DpemError):
    """A peer could not be installed or run; the message is one line."""


@dataclass(frozen=True)
class Peer:
    """A simulator: its package with the version that is compared, and our script for it."""

    name: str
    package: str
    version: str
    script: str
    nodes: tuple[int, ...]
    differs: str

    @property
    def key(self) -> str:
        """The name in keys of results."""
        return self.name.lower()

    @property
    def script_path(self) -> Path:
        """Where the script lies."""
        return Path(__file__).parent / self.script


PEERS = (
    Peer(
        name="SimQN",
        package="qns",
        version="0.2.3",
        script="simqn_chain.py",
        nodes=(2, 3, 8, 100),
        differs="no attempts: Werner pairs are made at once, hop by hop, and sent on by events; "
        "no decay while they wait",
    ),
    Peer(
        name="SeQUeNCe",
        package="sequence",
        version="0.8.5",
        script="sequence_chain.py",
        nodes=(2, 3, 8),
        differs="photons, detectors and messages of every attempt are events (success 1/2, no "
        "loss); a swap multiplies fidelities and a factor 0.95; no decay while pairs wait",
    ),
)


def environments() -> Path:
    """Return the folder of all environments: ``DPEM_PEERS``, or in the user's cache."""
    if chosen := os.environ.get("DPEM_PEERS"):
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dpem" / "peers"


def python_of(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, which is made if it is not there."""
    folder = environments() / f"{peer.package}-{peer.version}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Written last: an environment whose making was interrupted is made again.
    complete = folder / "complete"
    if complete.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    wanted = f"{peer.package}=={peer.version}"
    what = f"{peer.name} could not be installed into {folder}"
    _call([sys.executable, "-m", "venv", str(folder)], what, _INSTALL_S)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", wanted]
    _call(install, what, _INSTALL_S)
    complete.write_text(wanted + "\n", encoding="utf-8")
    return python


def ask(peer: Peer, python: Path, arguments: Sequence[int | str]) -> list[dict[str, Any]]:
    """Run a peer's script and return its lines of JSON, one for each chain."""
    command = [str(python), "-I", str(peer.script_path), *map(str, arguments)]
    return read_lines(peer, _call(command, f"{peer.name} failed", _RUN_S))


def read_lines(peer: Peer, text: str) -> list[dict[str, Any]]:
    """Read what a script wrote; peers write there too, so that only lines of ours count.

    >>> read_lines(PEERS[0], 'chatter\\n{"nodes": 2, "pairs": 10, "cpu_s": 0.5}\\n')
    [{'nodes': 2, 'pairs': 10, 'cpu_s': 0.5}]
    """
    lines = [line for line in text.splitlines() if line.startswith('{"')]
    try:
        found = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
    except msgspec.DecodeError as error:
        raise PeerError(f"{peer.name} wrote a line that is no JSON: {error}") from None
    for record in found:
        if not {"nodes", "pairs", "cpu_s"} <= record.keys():
            raise PeerError(f"{peer.name} wrote a line without nodes, pairs and cpu_s: {record}")
        if not (record["pairs"] > 0 and record["cpu_s"] > 0.0):
            raise PeerError(f"{peer.name} delivered nothing on {record['nodes']} nodes")
    if not found:
        raise PeerError(f"{peer.name} wrote no result")
    return found


def _call(command: list[str], what: str, seconds: float) -> str:
    try:
        # Peers may write logs where they run.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder
            )
    except subprocess.TimeoutExpired:
        raise PeerError(f"{what}: no answer within {seconds:g} s") from None
    except OSError as error:
        raise PeerError(f"{what}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise PeerError(f"{what}: {said[-1]}")
    return done.stdout
