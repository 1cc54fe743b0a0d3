"""A real Ray cluster of two nodes on this machine: same bytes, and nothing is lost with a worker.

Minutes, and Ray is no part of the usual installation: ``make test-beyond`` runs it.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from quantum.topology import load_topology, to_json

pytest.importorskip("ray", reason="Ray is not installed: make test-beyond")
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

ENVIRONMENT = os.environ | {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
CELLS = ["--demand", "poisson", "--seconds", "12", "--warmup", "1", "--sample", "2"]
CELLS += ["--seeds", "6", "--allocators", "mean-rate,uniform", "--quiet"]


def start(folder, *more, mark=""):
    line = ["compare", "--topology", "geometric-30", *CELLS, *more]
    line += ["--out", str(folder / "out"), "--json", str(folder / "found.json")]
    code = f"import sys; sys.argv[1:] = {line!r}\nfrom quantum.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__': exec({code!r})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"DPEM_TEST_MARK": mark},
        start_new_session=True,
    )


def wait_for_units(folder, count, run):
    path = folder / "out" / "units.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)


def marked(mark):
    """Return the processes that inherited a mark in their environment, zombies excepted."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What one process finds."""
    folder = tmp_path_factory.mktemp("wanted")
    run = start(folder, "--processes", "1")
    _, said = run.communicate(timeout=500)
    assert run.returncode == 0, said
    return (folder / "found.json").read_bytes()


def ray(*words, mark):
    """Run Ray's own command; processes that it leaves carry the mark."""
    done = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", *words],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"DPEM_TEST_MARK": mark},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def cluster():
    """Two nodes with one CPU each; yields the address, and the marks of the first and second."""
    marks = [uuid.uuid4().hex, uuid.uuid4().hex]
    port = 20_000 + os.getpid() % 10_000
    own = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"]
    try:
        head = ["--head", "--port", str(port), "--include-dashboard", "false"]
        ray("start", *head, *own, mark=marks[0])
        ray("start", "--address", f"127.0.0.1:{port}", *own, mark=marks[1])
        yield f"127.0.0.1:{port}", marks
    finally:
        for pid in marked(marks[0]) + marked(marks[1]):
            os.kill(pid, signal.SIGKILL)


def workers_at_work(mark):
    found = []
    for pid in marked(mark):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_play"):
                found.append(pid)
        except OSError:
            continue
    return found


def test_a_worker_and_then_a_whole_node_die_and_nothing_is_lost(tmp_path, cluster, wanted):
    address, marks = cluster
    run = start(tmp_path, "--engine", "ray", "--ray-address", address)
    wait_for_units(tmp_path, 2, run)
    while not (busy := workers_at_work(marks[0])):
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    os.kill(busy[0], signal.SIGKILL)
    wait_for_units(tmp_path, 4, run)
    for pid in marked(marks[1]):
        os.kill(pid, signal.SIGKILL)
    _, said = run.communicate(timeout=500)
    assert run.returncode == 0, said
    assert said == ""
    assert (tmp_path / "found.json").read_bytes() == wanted
    lines = (tmp_path / "out" / "units.jsonl").read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 12


def test_the_interrupt_key_leaves_no_process_and_the_rest_is_played_later(tmp_path, wanted):
    mark = uuid.uuid4().hex
    run = start(tmp_path, "--engine", "ray", "--processes", "2", mark=mark)
    wait_for_units(tmp_path, 1, run)
    # The whole group hears the key, as in a terminal.
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=500)
    assert run.returncode == 130, said
    until = time.monotonic() + 60.0
    while marked(mark):
        assert time.monotonic() < until, marked(mark)
        time.sleep(0.1)
    again = start(tmp_path, "--engine", "ray", "--processes", "2", mark=mark)
    _, said = again.communicate(timeout=500)
    assert again.returncode == 0, said
    assert (tmp_path / "found.json").read_bytes() == wanted
    assert not marked(mark)


TRAINING = ["train", "--method", "es", "--topology", "mesh-12.json", "--demand", "poisson"]
TRAINING += ["--load", "8", "--generations", "2", "--units", "4", "--seed", "3"]


def evolve(folder, *more):
    folder.mkdir()
    (folder / "mesh-12.json").write_bytes(to_json(load_topology("mesh-12", seed=0)))
    words = [*TRAINING, *more, "--out", "p.safetensors", "--json", "found.json"]
    code = f"import sys; sys.argv[1:] = {words!r}\nfrom quantum.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__': exec({code!r})"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def evolved(run, folder):
    _, said = run.communicate(timeout=900)
    assert run.returncode == 0, said
    assert said == ""
    return [(folder / name).read_bytes() for name in ("found.json", "p.safetensors")]


def test_evolution_on_ray_gives_the_policy_of_one_process_though_a_worker_dies(tmp_path, cluster):
    one, pool, far = (tmp_path / name for name in ("one", "pool", "ray"))
    wanted = evolved(evolve(one, "--engine", "processes"), one)
    assert evolved(evolve(pool, "--processes", "2"), pool) == wanted
    address, marks = cluster
    run = evolve(far, "--engine", "ray", "--ray-address", address)
    while not (busy := workers_at_work(marks[0]) + workers_at_work(marks[1])):
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    os.kill(busy[0], signal.SIGKILL)
    assert evolved(run, far) == wanted


def test_work_in_rounds_comes_back_in_order_and_errors_are_passed_on():
    code = """
import math
from controller.engines.on_ray import kept_on_ray
with kept_on_ray(processes=2) as play:
    print(play(math.sqrt, [float(n) ** 2 for n in range(50)], range(50)) == list(range(50)))
    print(play(math.factorial, [3, 3, 4], [0, 0, 0]))
    try:
        play(math.sqrt, [4.0, -1.0], [0, 1])
    except ValueError as wrong:
        print("ValueError", wrong)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout.splitlines() == ["True", "[6, 6, 24]", "ValueError math domain error"]


def test_where_no_cluster_is_one_line_says_so(tmp_path):
    run = start(tmp_path, "--engine", "ray", "--ray-address", "127.0.0.1:9")
    _, said = run.communicate(timeout=500)
    assert run.returncode == 2
    assert said == "dpem: no Ray cluster can be reached at 127.0.0.1:9: Connection refused\n"
