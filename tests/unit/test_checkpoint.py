"""Checkpoints come back exactly, or say in one line why not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.checkpoint import load, save
from controller.ppo import Learner
from quantum.errors import InputError

ARRAYS = {
    "actor/w1": np.random.default_rng(0).normal(size=(3, 4, 2)),
    "steps": np.arange(6, dtype=np.int64),
    "empty": np.zeros((0, 2)),
    "mask": np.array([True, False]),
    "strided": np.arange(12.0).reshape(3, 4).T,
    "part": np.arange(12.0).reshape(3, 4)[:, 1:3],
}


def test_comes_back_exactly(tmp_path: Path) -> None:
    digest = save(tmp_path / "a", ARRAYS, seed=7, round_index=3)
    back = load(tmp_path / "a")
    assert (back.seed, back.round, back.digest) == (7, 3, digest)
    assert back.arrays.keys() == ARRAYS.keys()
    for name, part in ARRAYS.items():
        assert back.arrays[name].dtype == part.dtype
        assert np.array_equal(back.arrays[name], part), name


def test_same_content_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a", ARRAYS, seed=7, round_index=3)
    save(tmp_path / "b", dict(reversed(ARRAYS.items())), seed=7, round_index=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    one = save(tmp_path / "c", ARRAYS, seed=7, round_index=4)
    assert one != load(tmp_path / "a").digest


def test_a_learner_survives_the_disk(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    learner, other = Learner(2, 3, seed=1), Learner(2, 3, seed=2)
    save(tmp_path / "a", learner.state(), seed=1, round_index=0)
    other.load_state(load(tmp_path / "a").arrays)
    for name, part in learner.state().items():
        assert np.array_equal(part, other.state()[name])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_is_always_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / "a"
    save(path, ARRAYS, seed=7, round_index=3)
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    path.write_bytes(raw)
    with pytest.raises(InputError) as wrong:
        load(path)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("raw", [b"", b"not a checkpoint", b"\x80\x04K\x01.", b"\xff" * 64])
def test_foreign_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(InputError, match="not a checkpoint"):
        load(tmp_path / "a")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot write"):
        save(tmp_path / "nowhere" / "a", ARRAYS, seed=0, round_index=0)


@pytest.mark.parametrize(
    ("part", "message"),
    [(np.array([np.nan]), "finite"), (np.array(["x"]), "numbers"), (np.array([None]), "numbers")],
)
def test_only_finite_numbers_are_saved(tmp_path: Path, part: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        save(tmp_path / "a", {"part": part}, seed=0, round_index=0)
    assert not list(tmp_path.iterdir())
