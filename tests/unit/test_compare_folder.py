"""A comparison lives in a folder: killed, torn, finished, foreign or failing, it stays right."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from controller.arena.facts import facts_of, unit_key
from controller.arena.folder import Folder, default_folder
from controller.arena.keeping import play_again
from controller.commands.compare import command
from controller.commands.replay import command as replay
from controller.experiment import compare
from controller.rivals.allocator import Allocator, find
from quantum.errors import AllocatorError, InputError, RecordError
from quantum.presets import Cell

NAMES = ["mean-rate", "uniform"]
TIMES = {"seconds": 3.0, "warmup_s": 1.0}
#: 2 cells with 4 seeds.
LINE = ["--topology", "geometric-30", "--demand", "poisson", "--seconds", "12", "--warmup", "1"]
LINE += ["--sample", "2", "--seeds", "4", "--allocators", "mean-rate,uniform", "--processes", "2"]
#: Two of the 8 units have the windowed bound.
LINE += ["--windowed", "2"]


def cells(*loads):
    return [
        Cell(
            preset="paper",
            topology="geometric-10",
            demand="poisson",
            deadline_s=0.5,
            cutoff_s=1.0,
            qubits=8,
            load_hz=load,
        )
        for load in loads
    ]


def facts(loads=(4.0, 6.0), seeds=(0, 1), names=NAMES):
    return facts_of(cells(*loads), seeds, names, **TIMES)


def play(folder, loads=(4.0, 6.0), seeds=(0, 1), names=NAMES, **more):
    told = []
    with Folder(folder, facts(loads, seeds, names)) as at:
        before = at.count(keep=more.get("keep", False))
        found = compare(
            cells(*loads),
            names,
            seeds,
            **TIMES,
            folder=at,
            processes=1,
            progress=told.append,
            **more,
        )
    return msgspec.json.encode(found), len(told), before


#: So that nothing depends on who is faster: after some units it waits until it is disturbed.
HELD = """
import time
from controller.arena.folder import Folder
add = Folder.add
def held(folder, unit):
    add(folder, unit)
    while open({path!r}, "rb").read().count(b"\\n") >= {count}:
        time.sleep(0.05)
Folder.add = held
"""


def start(folder, *more, held_at=0):
    """Run the command as a user does; it gets no further than ``held_at`` units, if that is so."""
    line = ["compare", *LINE, "--out", str(folder), *more]
    code = f"import sys; from quantum.cli import main; sys.argv[1:] = {line!r}; main()"
    if held_at:
        code = HELD.format(path=str(folder / "units.jsonl"), count=held_at) + code
    return subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__': exec({code!r})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_units(folder, count, run):
    """Wait until some units are finished, and not all; kernels may have to be compiled first."""
    path = folder / "units.jsonl"
    for _ in range(20_000):
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.025)
    pytest.fail("no unit was finished")


def group_is_gone(run):
    """Wait until no process of the run is left."""
    for _ in range(400):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.025)
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_or_interrupted_it_goes_on_and_gives_the_same_bytes(tmp_path):
    """SIGKILL, then Ctrl-C, then the end; beside it one that nobody disturbs, in one process."""
    run = start(tmp_path / "a", held_at=2)
    wait_for_units(tmp_path / "a", 2, run)
    run.kill()
    run.communicate(timeout=240)
    assert run.returncode == -signal.SIGKILL
    assert group_is_gone(run), "processes outlived the one that started them"
    kept = (tmp_path / "a" / "units.jsonl").read_bytes()
    first = kept[: kept.rfind(b"\n") + 1]
    assert first.count(b"\n") == 2
    # Cut short in the middle of a line, as a failing disk or machine would.
    (tmp_path / "a" / "units.jsonl").write_bytes(first + first[: len(first) // 5].rstrip(b"\n"))

    run = start(tmp_path / "a", held_at=4)
    wait_for_units(tmp_path / "a", 4, run)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=240)
    assert run.returncode == 130
    assert b"Traceback" not in errors
    assert f"{first.count(chr(10).encode())} of 8 units were there".encode() in errors
    assert b"the same command goes on from there" in errors
    assert group_is_gone(run)
    second = (tmp_path / "a" / "units.jsonl").read_bytes()
    assert second.startswith(first)

    runs = [start(tmp_path / "a", "--json", "-"), start(tmp_path / "b", "--processes", "1")]
    said = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    whole = (tmp_path / "a" / "units.jsonl").read_bytes()
    assert whole.startswith(second)
    keys = [json.loads(line)["key"] for line in whole.splitlines()]
    assert len(keys) == len(set(keys)) == 8
    tight = [json.loads(line)["unit"]["windowed"] for line in whole.splitlines()]
    assert sum(bound is not None for bound in tight) == 2
    results = [(tmp_path / name / "result.json").read_bytes() for name in "ab"]
    assert results[0] == results[1] == said[0][0]
    for name in ("report.md", "units.csv", "units.parquet", "figures/delivery.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_finished_folder_is_shown_and_not_played(tmp_path, monkeypatch):
    first = play(tmp_path / "x")
    assert first[1:] == (4, 0)

    def nobody(*_, **__):
        pytest.fail("it was played again")

    monkeypatch.setattr("controller.experiment.play_unit", nobody)
    assert play(tmp_path / "x") == (first[0], 4, 4)


def test_anew_forgets_what_was_there(tmp_path):
    play(tmp_path / "x")
    with Folder(tmp_path / "x", facts(), anew=True) as folder:
        assert folder.count(keep=False) == 0
        assert sorted(p.name for p in folder.path.iterdir()) == [
            ".lock", "comparison.json", "units.jsonl"
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"seeds": (0, 1, 2)}, "seeds"),
        ({"loads": (4.0,)}, "cells"),
        ({"names": NAMES[::-1]}, "allocators"),
    ],
)
def test_the_folder_of_another_comparison_is_refused(tmp_path, other, field):
    with Folder(tmp_path / "x", facts()):
        pass
    with pytest.raises(InputError, match=f"holds another comparison .its {field} differ.; give"):
        play(tmp_path / "x", **other)


def test_strange_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds no comparison but other files .thesis\.tex"):
        play(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="cannot use"):
        play(tmp_path / "thesis.tex")


def test_damage_in_the_middle_is_named(tmp_path):
    play(tmp_path / "x")
    path = tmp_path / "x" / "units.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:40] + b"\n", *lines[2:]]))
    with pytest.raises(InputError, match=r"units\.jsonl, line 2 is damaged"):
        play(tmp_path / "x")


def test_one_at_a_time(tmp_path):
    with (
        Folder(tmp_path / "x", facts()),
        pytest.raises(InputError, match="another process compares in"),
        Folder(tmp_path / "x", facts()),
    ):
        pass


def test_keys_tell_apart_all_that_decides():
    one = facts()
    cell = one.cells[0]
    others = [
        facts(names=NAMES[::-1]),
        msgspec.structs.replace(one, seconds=4.0),
        msgspec.structs.replace(one, versions={**one.versions, "numba": "0.0"}),
        msgspec.structs.replace(one, sources="other"),
    ]
    keys = {unit_key(other, cell, 0) for other in (one, *others)}
    keys |= {unit_key(one, cell, 1), unit_key(one, one.cells[1], 0)}
    assert len(keys) == 7
    assert unit_key(facts(seeds=(0, 1, 2, 3)), cell, 0) == unit_key(one, cell, 0)
    assert default_folder("Mesh-50,x", one) != default_folder("Mesh-50,x", others[0])


def test_a_changed_file_is_another_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.json").write_text('{"nodes": [{"name": "a"}, {"name": "b"}], "links": []}')
    mine = [msgspec.structs.replace(cells(1.0)[0], topology="net.json")]
    before = facts_of(mine, [0], NAMES, **TIMES)
    Path("net.json").write_text('{"nodes": [{"name": "a"}, {"name": "c"}], "links": []}')
    after = facts_of(mine, [0], NAMES, **TIMES)
    assert before.difference(after) == "files"
    assert unit_key(before, mine[0], 0) != unit_key(after, mine[0], 0)


def test_one_failing_allocator_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    honest = find("mean-rate")

    def unlucky(scenario, plan):
        if scenario.seed == 1 and scenario.trace.load_hz == 6.0:
            raise ZeroDivisionError("nothing left")
        return honest.rule(scenario, plan)

    broken = Allocator("uniform", True, "It fails.", unlucky)
    chosen = {"mean-rate": honest, "uniform": broken}
    monkeypatch.setattr("controller.arena.unit.find", chosen.__getitem__)
    line = (
        r"allocator uniform failed on geometric-10, poisson, 6 pairs/s, deadline 0\.5 s, .*, "
        r"seed 1: ZeroDivisionError: nothing left .*; 3 of 4 units are kept, see .*failures\.txt"
    )
    with pytest.raises(AllocatorError, match=line) as caught:
        play(tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert "Traceback" in (tmp_path / "x" / "failures.txt").read_text()
    monkeypatch.undo()
    # Once it is mended, only what is missing is played.
    assert play(tmp_path / "x")[1:] == (4, 3)


def test_cells_without_demand_are_reported_and_left_out(tmp_path):
    """Two nodes that nothing joins: no load can be named for them, and nothing is divided by 0."""
    Path(tmp_path / "calls.csv").write_text(
        "timestamp_s,source,destination,fidelity,pairs\n1.5,n0,n1,0.8,2\n2.5,n0,n1,0.999,2\n"
    )
    loads = [
        msgspec.structs.replace(
            cells(0.0)[0], topology="line-2", demand=str(tmp_path / "calls.csv")
        ),
        cells(5.0)[0],
        cells(1e-6)[0],
    ]
    found = compare(loads, NAMES, [0, 1], **TIMES, processes=1)
    notes = [row["note"] for row in found.cells]
    assert notes[4:] == ["no request falls into the time that counts"] * 2
    assert [row["seed"] for row in found.left_out] == [
        row["seed"] for row in found.cells if row["note"]
    ]
    assert found.paired["mean-rate vs uniform"]["delivery"]["cells"] == notes.count(None)
    nothing = compare(loads[2:], NAMES, [0, 1], **TIMES, processes=1)
    assert nothing.paired == {} and nothing.anova is None and len(nothing.left_out) == 2


def test_a_kept_unit_is_played_again(tmp_path):
    found, _, _ = play(tmp_path / "x", loads=(6.0,), seeds=(0,), keep=True)
    assert found == play(tmp_path / "y", loads=(6.0,), seeds=(0,))[0]
    unit = next((tmp_path / "x" / "kept").iterdir())
    done = play_again(unit)
    assert done.allocators == NAMES and done.decisions > 100
    said = CliRunner().invoke(replay, [str(unit)])
    assert said.exit_code == 0 and "decisions came out again" in said.output

    text = (unit / "unit.json").read_text()
    digest = json.loads(text)["digests"]["uniform"]
    (unit / "unit.json").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(RecordError, match="uniform decides otherwise"):
        play_again(unit)
    (unit / "unit.json").write_text(
        text.replace('"seed": 0,\n  "demand"', '"seed": 1,\n  "demand"')
    )
    with pytest.raises(RecordError, match="tokens are drawn otherwise"):
        play_again(unit)
    with pytest.raises(InputError, match="no kept unit"):
        play_again(tmp_path)


def test_keeping_later_plays_only_what_is_not_kept(tmp_path):
    first = play(tmp_path / "x", loads=(6.0,))
    assert play(tmp_path / "x", loads=(6.0,), keep=True) == (first[0], 2, 0)
    assert play(tmp_path / "x", loads=(6.0,), keep=True) == (first[0], 2, 2)


def test_quiet_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    wish = ["--topology", "line-4", "--demand", "poisson", "--seconds", "2", "--seeds", "1"]
    wish += ["--allocators", "uniform,on-demand", "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(command, [*wish, "--quiet"])
    assert (done.exit_code, done.output) == (0, "")
    loud = CliRunner().invoke(command, wish)
    assert "units were there; --anew plays them again" in loud.output.replace("\n", " ")
