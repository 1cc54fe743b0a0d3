"""Work on other machines: files go with it, code is compared, every task is done once."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.arena.facts import facts_of
from controller.arena.folder import Folder
from controller.arena.keeping import play_again
from controller.arena.sending import folder_from, into_bytes
from controller.engines.carried import pack, unpack
from controller.engines.chunks import Chunks
from controller.engines.engine import chosen_engine
from controller.experiment import compare
from quantum.errors import EngineError, InputError
from quantum.presets import Cell


@given(
    st.integers(1, 200),
    st.integers(1, 9),
    st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=5),
)
def test_chunks_hand_out_every_task_once_and_in_order(count, workers, seconds):
    chunks, got = Chunks(range(count)), []
    while chunks.left:
        before = chunks.left
        chunk = chunks.take(workers=workers)
        assert chunk
        # Nobody is left without work because somebody else has all of it.
        assert len(chunk) <= max(1, before // workers)
        got += chunk
        chunks.took(len(chunk), seconds[len(got) % len(seconds)])
    assert got == list(range(count))


def test_chunks_of_quick_tasks_take_a_second_or_more():
    chunks = Chunks(range(10_000))
    chunks.took(len(chunks.take(workers=2)), 0.01)
    assert 1.0 <= len(chunks.take(workers=2)) * 0.01 <= 2.0
    # Slow ones go one by one.
    chunks = Chunks(range(10_000))
    chunks.took(len(chunks.take(workers=2)), 30.0)
    assert len(chunks.take(workers=2)) == 1


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Be in a folder with files; return what it takes to be on another machine."""
    home = tmp_path / "home" / "plans"
    home.mkdir(parents=True)
    (home / "plan.json").write_text("a plan")
    (home.parent / "trace.csv").write_text("a trace")
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_files_named_by_a_relative_path_are_found_on_a_machine_that_has_none(elsewhere):
    carried = pack(["plan.json", "../trace.csv"], ["mean-rate"])
    (elsewhere / "home").rename(elsewhere / "gone")
    os.chdir(elsewhere)
    unpack(carried)
    assert Path("plan.json").read_text() == "a plan"
    assert Path("../trace.csv").read_text() == "a trace"
    assert str(elsewhere / "cache" / "dpem" / "carried") in os.getcwd()


def test_a_machine_that_has_the_same_files_uses_its_own(elsewhere):
    carried, there = pack(["plan.json"], []), os.getcwd()
    os.chdir(elsewhere)
    unpack(carried)
    assert os.getcwd() == there


def test_a_file_that_changed_on_the_other_machine_is_not_used(elsewhere):
    carried = pack(["plan.json"], [])
    Path("plan.json").write_text("another plan")
    unpack(carried)
    assert Path("plan.json").read_text() == "a plan"


def test_an_absolute_path_has_to_be_on_every_machine(elsewhere):
    path = elsewhere / "far.json"
    path.write_text("far")
    carried = pack([str(path)], [])
    path.write_text("another")
    with pytest.raises(EngineError, match=r"far\.json is not on .*relative path"):
        unpack(carried)


def test_no_file_is_written_outside_of_what_is_carried(elsewhere):
    carried = pack(["../trace.csv"], [])
    name = "../" * (len(Path.cwd().parts) + 3) + "trace.csv"
    far = msgspec.structs.replace(carried, folder="/gone/away", files={name: b"a trace"})
    with pytest.raises(EngineError, match=r"trace\.csv is outside of what is carried"):
        unpack(far)


def test_another_version_of_the_code_is_refused(elsewhere):
    carried = pack([], ["mean-rate"])
    with pytest.raises(EngineError, match="other code than this machine"):
        unpack(msgspec.structs.replace(carried, code="0" * 64))
    with pytest.raises(EngineError, match="other code for the allocator mean-rate"):
        unpack(msgspec.structs.replace(carried, allocators={"mean-rate": "0" * 16}))


def test_a_folder_comes_back_whole_or_not_at_all(tmp_path):
    def write(folder):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")
        return "done"

    out, files = into_bytes(write)
    assert out == "done"
    folder_from(files, tmp_path / "unit")
    folder_from(files, tmp_path / "unit")
    found = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("?")}
    assert found == {"unit/deep/a": b"1", "unit/b": b"2"}
    assert [p.name for p in tmp_path.iterdir()] == ["unit"]
    # Where an allocator failed nothing was written, and nothing is made of it.
    folder_from({}, tmp_path / "failed")
    assert not (tmp_path / "failed").exists()


def test_units_played_elsewhere_give_the_same_bytes_and_can_be_replayed(tmp_path, monkeypatch):
    cells = [
        Cell(
            preset="paper",
            topology="geometric-10",
            demand="poisson",
            deadline_s=0.5,
            cutoff_s=1.0,
            qubits=8,
            load_hz=4.0,
        )
    ]
    names, times = ["mean-rate", "uniform"], {"seconds": 2.0, "warmup_s": 0.5}

    def far(work, tasks, *, finished):
        """Play in another folder, in another order, and send everything as bytes."""
        for task in reversed(tasks):
            finished(task, work(task))

    wanted = compare(cells, names, (0, 1), **times, processes=1)
    with Folder(tmp_path / "out", facts_of(cells, (0, 1), names, **times)) as folder:
        found = compare(cells, names, (0, 1), **times, engine=far, folder=folder, keep=True)
    assert msgspec.json.encode(found) == msgspec.json.encode(wanted)
    kept = sorted((tmp_path / "out" / "kept").iterdir())
    assert len(kept) == 2
    assert play_again(kept[0]).allocators == names


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^--engine ray needs Ray.*pip install 'dpem\[ray\]'$"):
        chosen_engine("ray", processes=None, address=None)


def test_the_command_says_so_in_one_line_too():
    line = ["compare", "--topology", "line-4", "--engine", "ray", "--json", "-"]
    code = f"import sys; sys.modules['ray'] = None; sys.argv[1:] = {line!r}\n"
    code += "from quantum.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'dpem[ray]'" in done.stderr


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("threads", None, "--engine must be processes or ray"),
        ("processes", "10.0.0.1:6379", "--ray-address 10.0.0.1:6379 goes with --engine ray"),
    ],
)
def test_engines_that_are_none_are_refused(name, address, said):
    with pytest.raises(InputError, match=said):
        chosen_engine(name, processes=1, address=address)
