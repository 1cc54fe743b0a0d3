"""``dpem serve`` as a process in a folder, for tests."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bad_line import BadLine

from controller.client import Client
from controller.security.keys import KeyPair, new_key
from controller.service.config import load_config

__all__ = ["Served", "Working", "serving"]

MAIN = "from quantum.cli import main; main()"
NODE = {"generation_hz": 40.0, "swap_hz": 60.0, "qubits": 16}
NETWORK = {
    "nodes": [{"name": name, **NODE} for name in "abcd"],
    "links": [{"a": a, "b": b, "fidelity": 0.97} for a, b in ("ab", "bc", "cd")],
}


class Served:
    """A service's process in a folder; started again it goes on from the same journal."""

    def __init__(
        self,
        folder: Path,
        terms: str = "",
        *,
        level: str = "debug",
        backend: str = "inline",
        host: str = "127.0.0.1",
    ) -> None:
        self.folder, self.log, self.level = folder, folder / "log.jsonl", level
        self._host = host
        (folder / "network.json").write_text(json.dumps(NETWORK))
        self.config = folder / "service.toml"
        self.config.write_text(
            f'address = "tcp://{host}:0"\n'
            f'keys = "{folder / "keys"}"\njournal = "{folder / "journal.db"}"\n'
            f'metrics = "{host}:0"\n'
            f'backend = "{backend}"\n[workers]\naddress = "tcp://{host}:0"\n'
            f'[network]\ntopology = "{folder / "network.json"}"\nload_hz = 20.0\n[terms]\n{terms}\n'
        )
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", MAIN, "serve", "--config", str(self.config)),
                *("--log", "json", "--log-level", self.level, "--log-file", str(self.log)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("serving"):
            self.process.stdout.close()
            pytest.fail(f"the service ended with code {self.process.wait(60.0)}")
        self.address, self.workers = line.split(" at ")[1].partition(",")[0], ""
        line = self.process.stdout.readline()
        if line.startswith("workers"):
            self.workers = line.split(" at ")[1].strip()
            line = self.process.stdout.readline()
        self.metrics = line.removeprefix("metrics at ").strip()
        # The same ports again, so that clients and workers find it.
        text = self.config.read_text()
        for name, address in (("address", self.address), ("workers]\naddress", self.workers)):
            text = text.replace(f'{name} = "tcp://{self._host}:0"', f'{name} = "{address}"', 1)
        self.config.write_text(text)

    def client(self, keys: KeyPair | None = None, address: str = "") -> Client:
        """Return a patient client, with the local key and at the service's address by default."""
        server, own = load_config(str(self.config)).client_pair()
        return Client(address or self.address, server, keys or own, hello_s=60.0)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait(60.0)

    def dpem(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MAIN, *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
        )


class Working:
    """``dpem worker`` as a process, for a service; it comes over a line that can be cut."""

    def __init__(self, service: Served, name: str) -> None:
        new_key(service.folder / "keys", name, "worker")
        self.line, self.name = BadLine(service.workers), name
        text = service.config.read_text().replace(service.workers, self.line.address)
        self.config = service.folder / f"{name}.toml"
        self.config.write_text(text)
        self._key = service.folder / "keys" / f"{name}.key"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", MAIN, "worker", "--config", str(self.config)),
                *("--key", str(self._key), "--wait", "600"),
            ],
            stdout=subprocess.DEVNULL,
        )

    def end(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(60.0)

    def close(self) -> None:
        self.line.go_on()
        if self.process.poll() is None:
            self.end()
        self.line.close()


@contextlib.contextmanager
def serving(folder: Path, terms: str = "", **given: str):
    """Start a service that is gone afterwards, whatever happens."""
    service = Served(folder, terms, **given)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        service.process.stdout.close()
