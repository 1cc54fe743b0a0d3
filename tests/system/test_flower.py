"""A real SuperLink and two SuperNodes on loopback, with TLS and keys: ten rounds, one kill.

Minutes, and Flower is no part of the usual installation: ``make test-beyond`` runs it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: make test-beyond")

from controller.checkpoint import load
from controller.flower.plan import Plan
from controller.flower.rounds import rounds_in_process

pytestmark = [
    pytest.mark.long,
    # A round starts two processes that load everything anew; a busy machine takes a minute.
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "flower"
PLAN = Plan(topology="mesh-12", seconds=2.0, rounds=10)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Deployment:
    """The commands of the example's README, in a folder of their own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.running = {}
        subprocess.run([EXAMPLE / "keys.sh", folder / "keys"], check=True)
        self.home("flwr").joinpath("config.toml").write_text(
            f'[superlink]\ndefault = "dpem"\n\n[superlink.dpem]\n'
            f'address = "127.0.0.1:{self.port}"\nroot-certificates = "{folder}/keys/ca.pem"\n'
        )

    def home(self, name):
        path = self.folder / f"home-{name}"
        path.mkdir(exist_ok=True)
        return path

    def environment(self, name):
        own = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        own |= {"FLWR_HOME": str(self.home(name)), "HOME": str(self.folder / "person")}
        # Kernels that are compiled already stay where they are.
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return os.environ | own | {"XDG_CACHE_HOME": cache}

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name, *line):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                list(map(str, line)),
                cwd=self.folder,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name):
        """Kill a process and all that it has started, as a power cut would."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def flwr(self, *line):
        done = subprocess.run(
            ["flwr", *map(str, line)],
            cwd=self.folder,
            env=self.environment("flwr"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def link(self):
        keys = self.folder / "keys"
        line = ["flower-superlink", "--host", "127.0.0.1", "--port", self.port]
        line += ["--ssl-certfile", keys / "server.pem", "--ssl-keyfile", keys / "server.key"]
        line += ["--ssl-ca-certfile", keys / "ca.pem", "--enable-supernode-auth"]
        self.start("link", *line, "--disable-runtime-dependency-installation")
        self.wait(lambda: "Uvicorn running" in self.log("link"), "link")

    def node(self, site, *, key=True, name=None, secret=None):
        keys = self.folder / "keys"
        line = ["flower-supernode", "--superlink", f"127.0.0.1:{self.port}"]
        line += ["--root-certificates", keys / "ca.pem", "--host", "127.0.0.1"]
        line += ["--port", free_port(), "--max-retries", 3]
        if key:
            line += ["--auth-supernode-private-key", secret or keys / f"site-{site}"]
        folder = self.folder / f"folder-{site}"
        self.start(name or f"site-{site}", *line, "--node-config", f'site={site} folder="{folder}"')

    def wait(self, happened, name):
        """Wait for a state; the process that brings it about must live."""
        while not happened():
            assert self.running[name].poll() is None, self.log(name)
            time.sleep(0.2)

    def close(self):
        for name in list(self.running):
            self.kill(name)


@pytest.fixture
def deployment(tmp_path):
    made = Deployment(tmp_path)
    try:
        yield made
    finally:
        made.close()


def more_rounds(deployment, folder):
    """On the same sites: another aggregator, and noise that is accounted for."""
    robust = msgspec.structs.replace(PLAN, rounds=2, aggregator="krum", clipping="adaptive")
    found = rounds(deployment, folder / "robust.safetensors", robust)
    assert found.arrays["policy"].tobytes() == rounds_in_process(robust).tobytes()
    assert found.notes["flower"]["epsilon"] is None
    private = msgspec.structs.replace(PLAN, rounds=1, privacy="central", epsilon=4.0)
    found = rounds(deployment, folder / "private.safetensors", private)
    assert 3.9 < found.notes["flower"]["epsilon"] <= 4.0
    without = rounds_in_process(msgspec.structs.replace(private, privacy="none"))
    assert not np.array_equal(found.arrays["policy"], without)


def rounds(deployment, out, plan):
    given = msgspec.structs.asdict(plan)
    default = msgspec.structs.asdict(Plan())
    changed = {name: value for name, value in given.items() if value != default[name]}
    words = [
        f'{name}="{v}"' if isinstance(v, str) else f"{name}={v}" for name, v in changed.items()
    ]
    deployment.flwr("run", EXAMPLE, "dpem", "--run-config", " ".join([*words, f'out="{out}"']))
    deployment.wait(out.exists, "link")
    return load(out)


def test_ten_rounds_a_killed_site_and_strangers(deployment, tmp_path):
    wanted = rounds_in_process(PLAN)
    assert not np.array_equal(wanted, PLAN.start())
    deployment.link()
    for site in (0, 1):
        deployment.flwr("supernode", "register", tmp_path / "keys" / f"site-{site}.pub", "dpem")

    # Without a key, and with one that nobody registered.
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", tmp_path / "stranger"],
        check=True,
    )
    deployment.node(0, key=False, name="nobody")
    deployment.node(0, name="stranger", secret=tmp_path / "stranger")
    for name in ("nobody", "stranger"):
        deployment.running.pop(name).wait()
        assert "SuperNode ID" not in deployment.log(name), deployment.log(name)

    for site in (0, 1):
        deployment.node(site)
    out = tmp_path / "policy.safetensors"
    config = f'topology="{PLAN.topology}" seconds={PLAN.seconds} rounds={PLAN.rounds} out="{out}"'
    deployment.flwr("run", EXAMPLE, "dpem", "--run-config", config)

    # In the middle of the rounds.
    state = tmp_path / "folder-1"
    deployment.wait(lambda: list(state.glob("run-*/after-4-*")), "site-1")
    deployment.kill("site-1")
    deployment.node(1)
    while not out.exists():
        assert deployment.running["link"].poll() is None, deployment.log("link")
        # SuperLink lets it in again when the heartbeat of its predecessor has run out.
        if deployment.running["site-1"].poll() is not None:
            deployment.kill("site-1")
            time.sleep(5.0)
            deployment.node(1)
        time.sleep(0.2)

    found = load(out)
    assert (found.round, found.seed) == (PLAN.rounds, PLAN.seed)
    assert found.arrays["policy"].tobytes() == wanted.tobytes()
    more_rounds(deployment, tmp_path)
    # Nothing was reported, and nothing was written into the person's home.
    assert not (tmp_path / "person" / ".flwr").exists()
