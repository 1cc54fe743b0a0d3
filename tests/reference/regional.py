"""``dpem region`` as processes in a folder, on this host or on several, for tests."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from controller.client import Client
from controller.regions.building import journals_of
from controller.regions.checking import check_regions
from controller.regions.config import load_regions

__all__ = ["Regional"]

MAIN = "from quantum.cli import main; main()"
NODE = {"generation_hz": 40.0, "swap_hz": 60.0, "qubits": 16}
RING = [f"n{k}" for k in range(6)]
NETWORK = {
    "nodes": [{"name": name, **NODE} for name in RING],
    "links": [{"a": RING[k], "b": RING[(k + 1) % 6], "fidelity": 0.98} for k in range(6)],
}
NODES = {"east": RING[:3], "west": RING[3:]}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Regional:
    """Two regions; ``through`` are the words in front of a process of a region, by its name."""

    def __init__(self, folder, *, addresses=None, through=None, terms=""):
        self.folder, self._through = folder, through or {}
        (folder / "network.json").write_text(json.dumps(NETWORK))
        addresses = addresses or {name: f"tcp://127.0.0.1:{free_port()}" for name in NODES}
        text = f'keys = "{folder / "keys"}"\njournals = "{folder / "journals"}"\n'
        text += f'[network]\ntopology = "{folder / "network.json"}"\nload_hz = 20.0\n'
        text += f'[terms]\npace = "wall"\n{terms}\n'
        for name, nodes in NODES.items():
            text += f'[regions.{name}]\naddress = "{addresses[name]}"\nnodes = {nodes}\n'
        self.file = folder / "regions.toml"
        self.file.write_text(text)
        self.running = {}

    def line(self, region, *words):
        return [*self._through.get(region, ()), sys.executable, "-c", MAIN, *words]

    def start(self, *names):
        """Start brokers, and wait until they listen."""
        for name in names:
            self.running[name] = subprocess.Popen(
                self.line(name, "region", name, "--config", str(self.file)),
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        for name in names:
            said = self.running[name].stdout.readline()
            if not said.startswith(f"region {name}"):
                pytest.fail(f"region {name} ended with code {self.running[name].wait(60.0)}")

    def end(self, name, number=signal.SIGKILL):
        process = self.running.pop(name)
        process.send_signal(number)
        process.stdout.close()
        return process.wait(60.0)

    def client(self, name):
        """Return a patient application of a region."""
        config = load_regions(str(self.file))
        server, own = config.client_pair(name)
        return Client(config.region(name).address, server, own, hello_s=60.0)

    def request(self, region, *words):
        """Start ``dpem request`` on the host of a region."""
        return subprocess.Popen(
            self.line(region, "request", *words, "--regions", str(self.file), "--json", "-"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def proof(self):
        folder = self.folder / "journals"
        return check_regions({name: journals_of(folder, name) for name in NODES})

    def close(self):
        for name in list(self.running):
            self.end(name)
