"""What ``dpem execute`` answers: an ensemble of one program, or deliveries played in time."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.contract import RANDOM, Backend, Plan, plan_of
from backends.program_file import Asked
from quantum import bell, ghz
from quantum.batch import Batch, stack
from quantum.chain import Deliveries, Setting, Trajectories, as_batch, play, summary
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate_passes
from quantum.estimation.chsh import largest_s
from quantum.estimation.qber import bb84, key_fractions, six_state
from quantum.seeding import generator

__all__ = ["Progress", "run"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Link pairs executed at once: with circuits each needs 30 kB.
_PAIRS_AT_ONCE = 10_000
#: Deliveries played at once, so that an interrupt is heard soon.
_PLAYED_AT_ONCE = 25
#: A delivery of more events than this is taken for one that never comes.
_MOST_EVENTS = 2_000_000

#: Is told how many shots were just executed.
Progress = Callable[[int], None]


def run(
    asked: Asked, backend: Backend, seed: int, progress: Progress = lambda shots: None
) -> dict[str, Any]:
    """Execute what a program file asks for; the keys are those of ``dpem execute --json``."""
    if asked.clock is None:
        return _ensemble(asked, backend, seed, progress)
    return _deliveries(asked, backend, seed, progress)


def _ensemble(asked: Asked, backend: Backend, seed: int, progress: Progress) -> dict[str, Any]:
    """Execute one program as often as it has shots."""
    ((_, batch),) = stack([asked.program])
    outcome = backend.run(batch, plan_of([asked.program]), generator(seed, "execute"))
    counts, truth = outcome.counts[0], outcome.truth
    progress(int(counts.sum()))
    exact = None if truth is None else (truth.populations[0], float(truth.success[0]))
    return _answer(backend.name, outcome.source, seed, counts, exact)


def _deliveries(asked: Asked, backend: Backend, seed: int, progress: Progress) -> dict[str, Any]:
    """Play a chain in time and execute every delivery once, with the waits that it had."""
    test = asked.program.measure
    assert test is not None
    setting = _setting(asked)
    counts = np.zeros((3, 2), dtype=np.int64)
    states: list[Floats] = []
    times: list[Floats] = []
    attempts: list[Floats] = []
    source = "sim"
    at_once = max(1, min(2000, _PAIRS_AT_ONCE // len(asked.links)))
    for first in range(0, test.shots, at_once):
        size = min(at_once, test.shots - first)
        played = _play(setting, size, seed, first)
        plan = Plan(np.full(size, RANDOM), np.ones(size, dtype=np.int64), np.full(size, np.nan))
        outcome = backend.run(_batch(asked, played), plan, generator(seed, "execute", first))
        counts += outcome.counts.sum(axis=0)
        source = outcome.source
        if outcome.truth is not None:
            states.append(outcome.truth.populations)
        times.append(played.time_s)
        attempts.append(played.attempts_total)
        progress(size)
    told = np.concatenate(states) if states else None
    exact = None if told is None else (told.mean(axis=0), 1.0)
    answer = _answer(backend.name, source, seed, counts, exact)
    return answer | {"timing": _timing(np.concatenate(times), np.concatenate(attempts), told)}


def _setting(asked: Asked) -> Setting:
    assert asked.clock is not None
    timings = [link.timing for link in asked.links if link.timing is not None]
    return Setting(
        success_probability=np.array([chance for chance, _ in timings]),
        attempt_s=np.array([seconds for _, seconds in timings]),
        order=asked.order,
        swap_success=asked.program.gates.success,
        cutoff_s=math.inf if asked.clock.cutoff_s is None else asked.clock.cutoff_s,
        one_at_a_time=asked.clock.one_at_a_time,
        signal_s=asked.clock.signal_s,
        ends="measure" if asked.clock.ends == "measure" else "keep",
    )


def _play(setting: Setting, size: int, seed: int, first: int) -> Trajectories:
    """Play deliveries in small pieces; how they are cut changes nothing."""
    parts = []
    for start in range(first, first + size, _PLAYED_AT_ONCE):
        count = min(_PLAYED_AT_ONCE, first + size - start)
        try:
            parts.append(play(setting, count, seed, first=start, most_events=_MOST_EVENTS))
        except InputError as wrong:
            raise InputError(f"program.clock: {wrong}") from wrong
    return Trajectories(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("time_s", "waits_s", "attempts", "attempts_total")
        )
    )


def _batch(asked: Asked, played: Trajectories) -> Batch:
    """Return the programs of deliveries: what was asked for, with the waits that came out.

    Pairs are as old as their links say when the clock begins to count, and the ends of the finished
    pair wait as the file says.
    """
    memory, gates = asked.program.memory, asked.program.gates
    ages = np.array([link.waits for link in asked.links]).reshape(-1, 2, 2)
    played = replace(
        played, waits_s=played.waits_s + ages[:, 0], attempts=played.attempts + ages[:, 1]
    )
    weights = [link.populations for link in asked.links]
    if None not in weights:
        batch = as_batch(played, populations=np.array(weights), memory=memory, gates=gates)
    else:
        tables = np.array([link.expectations for link in asked.links]).reshape(-1, 4, 4)
        batch = as_batch(played, expectations=tables, memory=memory, gates=gates)
    if asked.wait_s == 0.0:
        return batch
    last = np.full((len(batch), 1, 2), asked.wait_s)
    return replace(
        batch,
        skeleton=(*batch.skeleton, ("wait", batch.last_pair, -1)),
        waits_s=np.concatenate([batch.waits_s, last], axis=1),
        attempts=np.concatenate([batch.attempts, np.zeros_like(last)], axis=1),
    )


def _answer(
    name: str, source: str, seed: int, counts: Ints, exact: tuple[Floats, float] | None
) -> dict[str, Any]:
    """Return counts, their estimate, and beside them what a simulator knows."""
    qubits = ghz.qubits_of(len(counts) + 1)
    tallies = {
        label: Tally(int(passed), int(failed))
        for label, (passed, failed) in zip(ghz.labels(qubits), counts, strict=True)
    }
    answer: dict[str, Any] = {
        "backend": name,
        "exact": None if exact is None else _exact(*exact),
        "counts": tallies,
        "estimate": estimate_passes(int(counts[:, 0].sum()), int(counts.sum()), qubits=qubits),
        "source": source,
        "seed": seed,
    }
    if qubits == 2:
        known = exact is not None and exact[1] > 0.0
        answer["key"] = {
            "exact": _key(exact[0]) if known and exact is not None else None,
            "estimate": key_fractions(Counts.from_array(counts)),
        }
    return answer


def _exact(weights: Floats, success: float) -> dict[str, Any]:
    """Return what the simulator knows; a pair that never exists has no fidelity."""
    out: dict[str, Any] = {
        "fidelity": float(weights[0]) if success > 0.0 else None,
        "success_probability": success,
    }
    values = weights.tolist() if success > 0.0 else None
    if len(weights) == len(bell.BELL_STATES):
        named = None if values is None else dict(zip(bell.BELL_STATES, values, strict=True))
        return out | {"bell_diagonal": named}
    return out | {"ghz_diagonal": values}


def _key(weights: Floats) -> dict[str, Any]:
    """Return error rates and secret bits for each sifted bit, of a known pair."""
    errors = 1.0 - bell.pass_probability(weights)
    return {
        "qber": dict(zip(bell.BASES, errors.tolist(), strict=True)),
        "bb84_fraction": max(0.0, float(bb84(errors[0], errors[2]))),
        "six_state_fraction": max(0.0, float(six_state(weights))),
        "largest_chsh_s": float(largest_s(bell.correlators(weights))),
    }


def _timing(times: Floats, attempts: Floats, states: Floats | None) -> dict[str, Any]:
    """Return how long deliveries took, and how their fidelity varied."""
    signed = np.zeros((len(times), 3)) if states is None else bell.correlators(states)
    told = summary(Deliveries(times, signed, attempts))
    known = states is not None
    return {
        "deliveries": told.size,
        "mean_s": told.mean_time_s,
        "standard_error_s": _finite(told.mean_time_error_s),
        "quantiles_s": {f"{chance:g}": seconds for chance, seconds in told.time_quantiles_s},
        "rate_hz": told.rate_hz,
        "mean_attempts": told.mean_attempts,
        "fidelity_standard_error": _finite(told.mean_fidelity_error) if known else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
