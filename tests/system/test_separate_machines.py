"""``dpem serve``, ``run``, ``worker`` and ``agent`` on separate machines, from one file.

The machines are network namespaces where there can be some (root, on Linux), with delay and loss
between them; else folders of one machine. Each has its own key folder, with its own secret keys and
the public halves that it needs, a state folder of its own, and the same ``site.toml``.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import hosts
import pytest
from one_process import digest_in_one_process, nothing_is_lost_or_doubled

from controller.configuration import setting_of_values
from controller.meeting import read_run
from controller.security.keys import new_key
from controller.service.checking import check

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

MAIN = "from quantum.cli import main; main()"
NAMES = ("agents", "workers")
SITE = """
[serve]
address = "tcp://{host}:7411"
keys = "keys"
journal = "journal.db"
backend = "analytic"
[serve.workers]
address = "tcp://{host}:7412"
[serve.network]
topology = "line-4"
demand = "poisson"
load_hz = 20.0
[serve.terms]
most_s = 3600.0

[run]
topology = "ring-6"
demand = "poisson"
load_hz = 20.0
seconds = {seconds}
warmup_s = 0.0
seed = 5
learn = false
backend = "analytic"
rivals = []
[run.broker]
agents = "tcp://{host}:7421"
workers = "tcp://{host}:7422"
telemetry = "tcp://{host}:7423"
keys = "keys"
"""
#: Whose secret key is where, and which public keys the hub needs of it.
KEYS = {
    "hub": (("service", "broker"), ("broker", "broker")),
    "agents": (("local", "request"), ("a0", "agent"), ("a1", "agent")),
    "workers": (("w", "worker"),),
}


class Machine:
    """A machine: a folder with site file and keys, and perhaps a namespace."""

    def __init__(self, folder, space):
        self.folder, self._space, self._running = folder, space, []

    def start(self, *words):
        line = [sys.executable, "-c", MAIN, *words]
        process = subprocess.Popen(
            hosts.inside(self._space, line) if self._space else line,
            cwd=self.folder,
            env=os.environ | {"DPEM_STATE": str(self.folder / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(process)
        return process

    def run(self, *words):
        process = self.start(*words)
        out, _ = process.communicate(timeout=600)
        return process.returncode, out

    def close(self):
        for process in self._running:
            if process.poll() is None:
                process.kill()
            if not process.stdout.closed:
                process.communicate()


@contextlib.contextmanager
def site(folder, *, seconds=3.0):
    """Machines by name, each with its keys and the file."""
    with contextlib.ExitStack() as stack:
        spaces, host = dict.fromkeys(KEYS, ""), "127.0.0.1"
        if not hosts.why_not():
            made = stack.enter_context(hosts.Hosts(NAMES, delay_s=0.005, loss=0.01))
            spaces = {"hub": made.hub} | {name: made.namespace(name) for name in NAMES}
            host = made.address
        out = {}
        for name, keys in KEYS.items():
            place = folder / name
            out[name] = Machine(place, spaces[name])
            for key, role in keys:
                new_key(place / "keys", key, role)
            (place / "site.toml").write_text(SITE.format(host=host, seconds=seconds))
        for name, keys in KEYS.items():
            for key, _ in keys:
                for other in out.values():
                    if other is not out[name] and "hub" in (name, other.folder.name):
                        shutil.copy(folder / name / "keys" / f"{key}.pub", other.folder / "keys")
        for machine in out.values():
            stack.callback(machine.close)
        yield out


def read_until(process, word):
    while word not in (line := process.stdout.readline()):
        assert line, f"{word} was never said"
    return line


def request(machine, *more):
    code, out = machine.run(
        *("request", "n0", "n2", "--deadline", "60", "--json", "-", "--config", "site.toml"), *more
    )
    assert code == 0, out
    return json.loads(out)


def test_a_service_its_worker_and_an_application_each_on_a_machine(tmp_path):
    with site(tmp_path) as at:
        hub = at["hub"].start("serve", "--config", "site.toml")
        read_until(hub, "workers with backend analytic")
        worker = at["workers"].start("worker", "--config", "site.toml", "--of", "serve")
        first = request(at["agents"], "--watch", "1")
        assert first["expired"] == []
        code, found = at["workers"].run("doctor", "--config", "site.toml", "--json", "-")
        checks = {c["name"]: c for c in json.loads(found)["checks"]}
        [well] = [c for name, c in checks.items() if name.endswith(":7412") and "broker" in name]
        assert well["status"] == "ok" and "admits w as worker" in well["detail"]
        assert [c["status"] for name, c in checks.items() if name.startswith("clock")] == ["ok"]
        # No run is there: that is told, and is why the doctor is not content.
        assert code == 1 and sum(c["status"] == "fail" for c in checks.values()) == 2
        # Killed, and started again: the worker comes back by itself.
        hub.send_signal(signal.SIGKILL)
        hub.communicate()
        hub = at["hub"].start("serve", "--config", "site.toml")
        read_until(hub, "workers with backend analytic")
        assert request(at["agents"], "--rid", first["rid"])["pairs"] == first["pairs"]
        request(at["agents"])
        assert worker.poll() is None
        hub.send_signal(signal.SIGTERM)
        hub.communicate(timeout=60)
        assert hub.returncode == 0
        proof = check(at["hub"].folder / "journal.db")
        assert (proof.starts, proof.granted, proof.open) == (2, 2, 0)
        assert proof.executed >= 1
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=60)
        assert worker.returncode == 130


def test_a_service_starts_its_own_workers_again(tmp_path):
    with site(tmp_path) as at:
        file = at["hub"].folder / "site.toml"
        file.write_text(file.read_text().replace("[serve.workers]", "[serve.workers]\nstart = 1"))
        hub = at["hub"].start("serve", "--config", "site.toml")
        read_until(hub, "workers with backend analytic")
        for _ in range(2):
            request(at["agents"])
            found = subprocess.run(
                ["pgrep", "-P", str(hub.pid), "-f", "backends.worker"],
                capture_output=True,
                text=True,
                check=True,
            )
            [worker] = map(int, found.stdout.split())
            os.kill(worker, signal.SIGKILL)
            said = read_until(hub, "is started again")
            assert "worker own-worker-0 ended with code -9" in said
        request(at["agents"])
        hub.send_signal(signal.SIGTERM)
        hub.communicate(timeout=60)
        assert hub.returncode == 0
        assert check(at["hub"].folder / "journal.db").granted == 3


def start_part(at, which):
    """Start agent 0, agent 1 or the worker (2) of a run on its machine."""
    if which == 2:
        return at["workers"].start("worker", "--config", "site.toml", "--of", "run")
    node, key = (("0", "a0"), ("5", "a1"))[which]
    return at["agents"].start(
        *("agent", "--config", "site.toml", "--node", node, "--key", f"keys/{key}.key")
    )


def test_a_run_whose_parts_are_elsewhere_decides_as_one_process_does(tmp_path):
    with site(tmp_path) as at:
        parts = [start_part(at, which) for which in range(3)]
        code, out = at["hub"].run("run", "--config", "site.toml", "--out", "run", "--json", "-")
        assert code == 0, out
        for part in parts:
            part.communicate(timeout=120)
            assert part.returncode == 0
        values, _ = read_run(str(at["hub"].folder / "site.toml"))
        summary = nothing_is_lost_or_doubled(at["hub"].folder / "run")
        assert summary["decision_digest"] == digest_in_one_process(setting_of_values(values))


def test_agents_and_workers_are_killed_and_stopped_in_the_middle_of_a_run(tmp_path):
    """A part that was killed is started again, as an operator would, and takes its seat."""
    rng = random.Random(4)
    with site(tmp_path, seconds=40.0) as at:
        parts = [start_part(at, which) for which in range(3)]
        hub = at["hub"].start(
            *("run", "--config", "site.toml", "--out", "run", "--quiet", "--pace", "2")
        )
        events = at["hub"].folder / "run" / "events.jsonl"
        faults = 0
        for kind in ("stop", "kill agent", "stop", "kill worker", "kill agent", "stop"):
            size = events.stat().st_size if events.exists() else 0
            while not events.exists() or events.stat().st_size < size + 4096:
                assert hub.poll() is None, hub.communicate()
                time.sleep(0.05)
            which = 2 if kind == "kill worker" else rng.randrange(2)
            if kind == "stop":
                parts[which].send_signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0.0, 1.0))
                parts[which].send_signal(signal.SIGCONT)
            else:
                parts[which].kill()
                parts[which].communicate()
                parts[which] = start_part(at, which)
            faults += 1
        out, _ = hub.communicate(timeout=600)
        assert hub.returncode == 0, out
        assert faults == 6
        nothing_is_lost_or_doubled(at["hub"].folder / "run")
