"""Repetitions of a run, cut into blocks that forked processes play side by side.

A forked process has everything that the script made before: its programs need not be sent, and its
modules are there under the names under which it imported them. Each block starts at time 0 with
draws of its own, so results depend on the number of blocks, and on nothing else.
"""

import multiprocessing
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.squid.errors import SquidError
from backends.squid.standin.state import STATE, Play
from quantum.errors import DpemError
from quantum.seeding import generator

__all__ = ["play_blocks"]


@dataclass(frozen=True)
class _Failure:
    """An error of ours in a block: those with more than a message do not travel by themselves."""

    message: str
    notes: Sequence[str]


def play_blocks(
    play: Play, num_times: int, seed: int, processes: int
) -> tuple[list[list[Any]], float]:
    """Return the results of all blocks, one after the other, and the latest time of an end."""
    if "fork" not in multiprocessing.get_all_start_methods():
        raise SquidError("processes must be 1: this system cannot fork")
    count = min(processes, num_times)
    shares = [num_times // count + (block < num_times % count) for block in range(count)]
    seeds = [int(generator(seed, "block", block).integers(2**63 - 1)) for block in range(count)]
    STATE.play = play
    try:
        with ProcessPoolExecutor(count, multiprocessing.get_context("fork")) as pool:
            parts = list(pool.map(_play_block, shares, seeds))
    finally:
        STATE.play = None
    results: list[list[Any]] = []
    latest_ns = 0.0
    for part in parts:
        if isinstance(part, _Failure):
            error = SquidError(part.message)
            for note in part.notes:
                error.add_note(note)
            raise error
        found, now_ns = part
        latest_ns = max(latest_ns, now_ns)
        results = [
            [*old, *new] for old, new in zip(results or [[]] * len(found), found, strict=True)
        ]
    return results, latest_ns


def _play_block(num_times: int, seed: int) -> tuple[list[list[Any]], float] | _Failure:
    if STATE.play is None:
        raise SquidError("a block was started by nobody")
    # Forked processes would all draw the same from what programs draw from themselves.
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - programs draw from this one
    try:
        return STATE.play(num_times, seed)
    except DpemError as error:
        return _Failure(str(error), list(getattr(error, "__notes__", ())))
