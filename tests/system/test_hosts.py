"""Broker, agents and workers on three hosts, with delay, loss and partitions between them.

Needs root, for network namespaces. What a run decides must not depend on the network: the digest is
that of the same run in one process.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import hosts
import pytest
from one_process import digest_in_one_process, nothing_is_lost_or_doubled

from controller.setting import Setting

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(hosts.why_not()), reason=hosts.why_not() or "there are hosts"),
]

ROOT = Path(__file__).parents[2]
SETTING = {
    "topology": "ring-6",
    "demand": "poisson",
    "load_hz": 20.0,
    "seconds": 3.0,
    "warmup_s": 0.0,
    "seed": 5,
    "learn": False,
    "backend": "analytic",
}
#: Slots after which links are cut: some pairs are stored, some requests are open.
IN_THE_MIDDLE = 40


class Played:
    """A run at the hub."""

    def __init__(self, made, folder, *, silence_s=300.0):
        self.folder, self._slots = folder / "run", folder / "slots"
        asked = {
            "spaces": {"agent": made.namespace("agents"), "worker": made.namespace("workers")},
            "address": made.address,
            "silence_s": silence_s,
            "silent_from": IN_THE_MIDDLE,
            "slots": str(self._slots),
            "folder": str(self.folder),
            "setting": SETTING,
        }
        script = ROOT / "tests" / "reference" / "hosts_run.py"
        self.process = subprocess.Popen(
            hosts.inside(made.hub, [sys.executable, str(script), json.dumps(asked)]),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def slot(self):
        """Return the last slot that was told."""
        lines = self._slots.read_text().splitlines(keepends=True) if self._slots.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        return int(whole[-1].split()[0]) if whole else 0

    def reach(self, slot):
        while self.slot() < slot:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def end(self):
        out, said = self.process.communicate(timeout=500)
        return self.process.returncode, out.strip(), said


@pytest.fixture
def played(tmp_path):
    runs = []

    def play(made, **more):
        runs.append(Played(made, tmp_path, **more))
        return runs[-1]

    yield play
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.communicate()


def test_delay_loss_and_partitions_change_no_decision(tmp_path, played, record_property):
    wanted = digest_in_one_process(Setting(**SETTING))
    with hosts.Hosts(["agents", "workers"], delay_s=0.005, loss=0.01) as made:
        run = played(made)
        run.reach(IN_THE_MIDDLE)
        for name in ("agents", "workers"):
            link = made.links[name]
            link.cut.set()
            # Until something that was sent is lost; then for a while, so that TCP backs off.
            before = link.lost
            while link.lost < before + 3:
                assert run.process.poll() is None, run.process.communicate()
                time.sleep(0.01)
            stuck = run.slot()
            link.cut.clear()
            healed = time.monotonic()
            run.reach(stuck + 10)
            recovery_s = time.monotonic() - healed
            record_property(f"recovery_s_{name}", round(recovery_s, 2))
            shown = f"{name}: {link.lost} packets lost, on {recovery_s:.2f} s after healing\n"
            sys.stdout.write(shown)
        code, digest, said = run.end()
        assert code == 0, said
        assert digest == wanted
    summary = nothing_is_lost_or_doubled(run.folder)
    assert summary["decision_digest"] == wanted
    assert not hosts.spaces_left()


def test_a_partition_that_does_not_end_is_told_in_one_line(tmp_path, played):
    with hosts.Hosts(["agents", "workers"]) as made:
        run = played(made, silence_s=4.0)
        run.reach(IN_THE_MIDDLE)
        made.links["agents"].cut.set()
        code, _, said = run.end()
        assert code == 1
        assert said == "dpem: no agent and no worker has spoken for 4 s\n"
        # Nobody is left on the hosts.
        for space in (made.hub, made.namespace("agents"), made.namespace("workers")):
            left = subprocess.run(
                ["ip", "netns", "pids", space], capture_output=True, text=True, check=True
            )
            assert left.stdout == ""
