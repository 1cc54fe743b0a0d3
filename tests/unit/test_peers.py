"""``dpem bench peers`` without peers: what is read, what is reported, and what goes wrong."""

import sys
from pathlib import Path

import msgspec
import pytest

from quantum.errors import DpemError
from quantum.peers import bench, environment
from quantum.peers.environment import PEERS, PeerError, ask, python_of, read_lines

SIMQN, SEQUENCE = PEERS
THIS_PYTHON = Path(sys.executable)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.key)
def test_a_missing_package_is_one_line(peer):
    with pytest.raises(PeerError) as caught:
        ask(peer, THIS_PYTHON, (1, 2))
    assert str(caught.value).startswith(f"{peer.name} failed: {peer.name} (package {peer.package})")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DpemError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no result"),
        ("Traceback\n", "no result"),
        ('{"nodes": 2, "pairs"', "no JSON"),
        ('{"nodes": 2, "cpu_s": 1.0}', "without"),
        ('{"nodes": 2, "pairs": 0, "cpu_s": 1.0}', "delivered nothing on 2 nodes"),
        ('{"nodes": 2, "pairs": 4, "cpu_s": 0.0}', "delivered nothing"),
    ],
)
def test_what_a_script_writes_is_checked(text, said):
    with pytest.raises(PeerError, match=said):
        read_lines(SIMQN, text)


def fake_script(tmp_path, monkeypatch, text):
    (tmp_path / "fake.py").write_text(text)
    monkeypatch.setattr(environment.Peer, "script_path", tmp_path / "fake.py")


def test_a_script_runs_alone_with_its_arguments(tmp_path, monkeypatch):
    # -I: neither our packages nor the folder of the script can be taken for a peer's modules.
    text = (
        "import sys, json\n"
        "assert sys.flags.isolated\n"
        "print('hello from a peer')\n"
        "for n in sys.argv[2:]:\n"
        "    print(json.dumps({'nodes': int(n), 'pairs': int(sys.argv[1]), 'cpu_s': 2.0}))\n"
    )
    fake_script(tmp_path, monkeypatch, text)
    got = ask(SIMQN, THIS_PYTHON, (7, 2, 3))
    assert got == [{"nodes": n, "pairs": 7, "cpu_s": 2.0} for n in (2, 3)]


def test_a_peer_that_hangs_or_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_RUN_S", 0.2)
    fake_script(tmp_path, monkeypatch, "import time\ntime.sleep(30)\n")
    with pytest.raises(PeerError, match=r"SimQN failed: no answer within 0\.2 s"):
        ask(SIMQN, THIS_PYTHON, ())
    with pytest.raises(PeerError, match="SimQN failed"):
        ask(SIMQN, tmp_path / "no-python", ())


def test_environments_are_made_once_and_again_if_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("DPEM_PEERS", str(tmp_path))
    calls = []

    def call(command, what, seconds):
        calls.append(command)
        folder.mkdir(exist_ok=True)
        if "pip" in command and len(calls) < 3:
            raise PeerError("SimQN could not be installed: no network")
        return ""

    folder = tmp_path / "qns-0.2.3"
    monkeypatch.setattr(environment, "_call", call)
    with pytest.raises(PeerError, match="no network"):
        python_of(SIMQN)
    assert python_of(SIMQN) == python_of(SIMQN)
    assert [("pip" in command, command[-1]) for command in calls] == [
        (False, str(folder)),
        (True, "qns==0.2.3"),
        (False, str(folder)),
        (True, "qns==0.2.3"),
    ]


def test_environments_lie_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("DPEM_PEERS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert environment.environments() == Path("/some/cache/dpem/peers")


def test_ours_is_the_work_of_the_peers():
    record = bench.ours_on(8, 2000, 1)
    assert (record["nodes"], record["pairs"]) == (8, 2000)
    assert record["cpu_s"] > 0.0
    # Seven swapped Werner pairs; decay takes little within some attempts of 20 us.
    w = ((4 * 0.95 - 1) / 3) ** 7
    assert record["fidelity"] == pytest.approx((1 + 3 * w) / 4, abs=1e-5)


def test_the_report_has_everybody_side_by_side():
    ours = [{"nodes": n, "pairs": 1000, "cpu_s": 1e-3 * n, "fidelity": 0.9} for n in (2, 3)]
    theirs = {
        SIMQN: [{"nodes": 2, "pairs": 50.0, "cpu_s": 0.5, "fidelity": 0.95}],
        SEQUENCE: PeerError("SeQUeNCe could not be installed: no network"),
    }
    report = bench.report(ours, theirs)
    assert report["results"]["chain2_pairs_per_cpu_s"] == 500_000.0
    assert report["reference"]["simqn_chain2_pairs_per_cpu_s"] == 100.0
    assert report["ratio"] == {"simqn_chain2": 5000.0}
    assert "no attempts" in report["reference"]["simqn"]
    assert report["reference"]["sequence"].startswith("not measured: SeQUeNCe could not")
    table = report["table"]
    assert table["columns"] == ["nodes", "DPEM", "SimQN 0.2.3", "ratio", "SeQUeNCe 0.8.5", "ratio"]
    assert table["rows"] == [
        ["2", "500,000", "100", "5,000", "-", "-"],
        ["3", "333,000", "-", "-", "-", "-"],
    ]
    assert msgspec.json.decode(msgspec.json.encode(report)) == report
