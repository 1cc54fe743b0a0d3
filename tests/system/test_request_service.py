"""``dpem serve`` as a process: asked, killed, started again; who may not come is told why."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.client import Client
from controller.security.keys import new_keys
from controller.service.checking import check
from controller.service.config import load_config
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import encode_request

MAIN = "from quantum.cli import main; main()"
NODE = {"generation_hz": 40.0, "swap_hz": 60.0, "qubits": 16}
NETWORK = {
    "nodes": [{"name": name, **NODE} for name in "abcd"],
    "links": [{"a": a, "b": b, "fidelity": 0.97} for a, b in ("ab", "bc", "cd")],
}
#: Kills of the long test; a thousand are `make chaos`.
KILLS = int(os.environ.get("DPEM_CHAOS_KILLS", "20"))


class Served:
    """A service's process in a folder; started again it goes on from the same journal."""

    def __init__(self, folder: Path, terms: str = "") -> None:
        self.folder = folder
        (folder / "network.json").write_text(json.dumps(NETWORK))
        self.config = folder / "service.toml"
        self.config.write_text(
            'address = "tcp://127.0.0.1:0"\n'
            f'keys = "{folder / "keys"}"\njournal = "{folder / "journal.db"}"\n'
            f'[network]\ntopology = "{folder / "network.json"}"\nload_hz = 20.0\n[terms]\n{terms}\n'
        )
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "serve", "--config", str(self.config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("serving"):
            self.process.stdout.close()
            pytest.fail(f"the service ended with code {self.process.wait(60.0)}")
        self.address = line.split(" at ")[1].partition(",")[0]
        # The same port again, so that clients find it.
        text = self.config.read_text().splitlines()
        text[0] = f'address = "{self.address}"'
        self.config.write_text("\n".join(text) + "\n")

    def client(self, **given) -> Client:
        server, own = load_config(str(self.config)).client_pair()
        return Client(self.address, server, own, hello_s=60.0, **given)

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


@pytest.fixture
def served(tmp_path):
    service = Served(tmp_path)
    yield service
    if service.process.poll() is None:
        service.process.kill()
        service.process.wait()
    service.process.stdout.close()


def test_a_service_is_asked_killed_and_asked_again(served):
    rid = bytes(16)
    with served.client() as client:
        first = client.request("a", "d", pairs=2, minimum_fidelity=0.7, deadline_s=20.0, rid=rid)
        with pytest.raises(RequestError) as wrong:
            client.request("a", "nowhere")
        assert wrong.value.code is Code.CREATE
        served.end(signal.SIGKILL)
        served.start()
        # The same client, in a session that the new service does not know.
        again = client.request("a", "d", pairs=2, minimum_fidelity=0.7, deadline_s=20.0, rid=rid)
        assert again == first and client.terms.epoch == 2
        more = client.request("a", "b", deadline_s=20.0)
        assert more.pairs[0].sequence > max(pair.sequence for pair in first.pairs)
    shown = served.dpem("request", "a", "c", "--deadline", "20", "--json", "-")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["pairs"][0]["id"][:2] == ["a", "c"]
    refused = served.dpem("request", "a", "a")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    # A key that nobody knows, and a server that is somebody else.
    server, own = load_config(str(served.config)).client_pair()
    with pytest.raises(RequestError, match="does not know this key"):
        Client(served.address, server, new_keys(), hello_s=60.0)
    with pytest.raises((RequestError, DeviceTimeout)):
        Client(served.address, new_keys().public, own)
    assert served.end() == 0
    proof = check(served.folder / "journal.db", [encode_request(first), encode_request(more)])
    assert (proof.starts, proof.heard) == (2, 2)


def chaos(service: Served, kills: int, seed: int) -> None:
    """Ask on while the service is killed and stopped; then prove that nothing was lost."""
    rng, heard, asked = random.Random(seed), [], 0
    client = service.client()
    for _ in range(kills):
        for _ in range(rng.randint(1, 30)):
            asked += 1
            a, b = rng.sample("abcd", 2)
            rid = rng.randbytes(16)
            wish = {"pairs": rng.randint(1, 2), "minimum_fidelity": 0.6, "deadline_s": 30.0}
            first = client.request(a, b, rid=rid, **wish)
            heard.append(encode_request(first))
            if rng.random() < 0.3:
                assert client.request(a, b, rid=rid, **wish) == first
        if rng.random() < 0.5:
            service.process.send_signal(signal.SIGSTOP)
        service.process.kill()
        service.end(signal.SIGKILL)
        service.start()
        if rng.random() < 0.5:
            # The last answer may have been on its way: it is the same.
            assert encode_request(client.request(a, b, rid=rid, **wish)) == heard[-1]
    client.close()
    assert service.end() == 0
    proof = check(service.folder / "journal.db", heard)
    assert proof.granted >= asked == proof.heard and proof.starts == kills + 1


@pytest.mark.long  # a start takes seconds, and there are many
@pytest.mark.timeout(36000)
def test_chaos(served):
    chaos(served, KILLS, seed=1)
