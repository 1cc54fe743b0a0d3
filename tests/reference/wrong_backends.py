"""Backends that keep the contract and backends that break it, each in one way.

The conformance kit must pass the first and catch the second. Some would take their process down, so
they can be imported by name from a process of their own.
"""

import ctypes
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from backends.analytic import AnalyticBackend, exact
from backends.contract import KEEP, Outcome, Plan
from backends.sampling import sample
from quantum.errors import Code, RequestError
from quantum.seeding import generator


class Broken(AnalyticBackend):
    """Right but for what a subclass breaks."""

    name = "broken"

    def run(self, batch, plan, rng):
        return self.spoil(super().run(batch, plan, rng), plan)

    def spoil(self, outcome, plan):
        return outcome


class HidesTruth(Broken):
    """A right simulator that tells only counts: judged by statistics."""

    def spoil(self, outcome, plan):
        return replace(outcome, truth=None)


class SwapsEnds(Broken):
    """Calls the left result the right one."""

    def analyse(self, batch, angles_rad, draw, rng):
        found = super().analyse(batch, angles_rad, draw, rng)
        return replace(found, both=np.array([0, 2, 1, 3])[found.both])


class IgnoresAngles(Broken):
    def analyse(self, batch, angles_rad, draw, rng):
        return super().analyse(batch, 0.0 * angles_rad, draw, rng)


class ExchangesAngles(Broken):
    """Right for Bell-diagonal pairs, whose ends are alike."""

    def analyse(self, batch, angles_rad, draw, rng):
        return super().analyse(batch, angles_rad[:, ::-1], draw, rng)


class ParitiesOnly(Broken):
    """A right backend that has no analysers."""

    analyse = None


class Hardware(HidesTruth):
    """An instrument: whatever the program asks, it makes its own pairs, and holds none."""

    keeps = False

    def run(self, batch, plan, rng):
        if np.any(plan.basis == KEEP):
            raise RequestError(Code.UNSUPP, "this source holds no pairs")
        worse = replace(batch, populations=0.8 * batch.populations + 0.05)
        return replace(super().run(worse, plan, np.random.default_rng()), source="real")


class TooGood(Broken):
    """Claims a fidelity that is higher than the truth."""

    def spoil(self, outcome, plan):
        weights = 0.99 * outcome.truth.populations
        weights[:, 0] += 0.01
        return replace(outcome, truth=replace(outcome.truth, populations=weights))


class QuietlyTooGood(HidesTruth):
    """Makes better pairs than asked for and tells only counts."""

    def run(self, batch, plan, rng):
        better = 0.8 * batch.populations
        better[..., 0] += 0.2
        return super().run(replace(batch, populations=better), plan, rng)


class IgnoresGenerator(Broken):
    def run(self, batch, plan, rng):
        return super().run(batch, plan, generator(42, "always the same"))


class OwnGenerator(Broken):
    def run(self, batch, plan, rng):
        return super().run(batch, plan, np.random.default_rng())


class IgnoresDraws(Broken):
    def run(self, batch, plan, rng):
        return super().run(batch, replace(plan, draw=np.full(len(batch), np.nan)), rng)


class ReturnsNan(Broken):
    def spoil(self, outcome, plan):
        nothing = np.full_like(outcome.truth.populations, np.nan)
        return replace(outcome, truth=replace(outcome.truth, populations=nothing))


class WrongShape(Broken):
    def spoil(self, outcome, plan):
        return replace(outcome, counts=outcome.counts[:, :, 0])


class FloatCounts(Broken):
    def spoil(self, outcome, plan):
        return replace(outcome, counts=outcome.counts / 1.0)


class LosesShots(Broken):
    def spoil(self, outcome, plan):
        counts = outcome.counts.copy()
        counts[counts > 3] -= 1
        return replace(outcome, counts=counts)


class WrongBasis(Broken):
    def spoil(self, outcome, plan):
        return replace(outcome, counts=outcome.counts[:, [1, 2, 0]])


class PlainYy(HidesTruth):
    """Takes parity +1 as a pass in YY too, where phi_plus has -1."""

    def spoil(self, outcome, plan):
        counts = outcome.counts.copy()
        counts[:, 1] = counts[:, 1, ::-1]
        return super().spoil(replace(outcome, counts=counts), plan)


class SkewedBases(Broken):
    """Draws half of the random bases as ZZ."""

    def run(self, batch, plan, rng):
        shots = plan.shots // 3
        total = super().run(batch, replace(plan, shots=plan.shots - shots), rng)
        rest = Plan(np.where(plan.basis == KEEP, KEEP, 2), shots, plan.draw)
        fixed = super().run(batch, rest, rng)
        return replace(total, counts=total.counts + fixed.counts)


class CountsKept(Broken):
    def spoil(self, outcome, plan):
        counts = outcome.counts.copy()
        counts[plan.basis == KEEP, 0, 0] = 1
        return replace(outcome, counts=counts)


class WrongOrder(HidesTruth):
    def spoil(self, outcome, plan):
        return super().spoil(replace(outcome, counts=outcome.counts[::-1]), plan)


class NoSwapNoise(Broken):
    def run(self, batch, plan, rng):
        gates = msgspec.structs.replace(batch.gates, gate_depolarizing=0.0)
        return super().run(replace(batch, gates=gates), plan, rng)


class ForgetsHeralds(Broken):
    def spoil(self, outcome, plan):
        sure = np.ones_like(outcome.truth.success)
        return replace(outcome, truth=replace(outcome.truth, success=sure))


class OneT2(Broken):
    """Reads T2 as a pure dephasing time that does not include T1."""

    def run(self, batch, plan, rng):
        t1_s, t2_s = batch.memory.t1_s, batch.memory.t2_s
        memory = msgspec.structs.replace(batch.memory, t2_s=1 / (0.5 / t1_s + 1 / t2_s))
        return super().run(replace(batch, memory=memory), plan, rng)


class Throws(Broken):
    def run(self, batch, plan, rng):
        raise ZeroDivisionError("division by zero")


class ClosesOnce(Broken):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class KeepsNothing(Broken):
    """Says that it cannot keep, but answers a keep."""

    keeps = False


class Nameless(Broken):
    name = ""


class WrongBellState(Broken):
    """Makes psi_plus where phi_plus is asked for: a bit flip that nobody corrects."""

    def run(self, batch, plan, rng):
        flipped = batch.populations[..., [2, 3, 0, 1]]
        return super().run(replace(batch, populations=flipped), plan, rng)


class IgnoresAttempts(Broken):
    def run(self, batch, plan, rng):
        return super().run(replace(batch, attempts=np.zeros_like(batch.attempts)), plan, rng)


class LoadsDiagonals(Broken):
    """Twirls whatever state is loaded to a Bell-diagonal one."""

    def run(self, batch, plan, rng):
        return super().run(replace(batch, states=batch.states * np.eye(4)), plan, rng)


class TakesBothHeralds(Broken):
    """Accepts 00 as well as 11 in EPL."""

    def run(self, batch, plan, rng):
        steps = tuple(("dejmps" if k == "epl" else k, a, b) for k, a, b in batch.skeleton)
        return super().run(replace(batch, skeleton=steps), plan, rng)


class MergesWithoutCorrection(Broken):
    def run(self, batch, plan, rng):
        if any(kind.startswith("merge") for kind, _, _ in batch.skeleton):
            gates = msgspec.structs.replace(batch.gates, readout_error=0.5)
            batch = replace(batch, gates=gates)
        return super().run(batch, plan, rng)


class MergesAtTheWrongEnd(Broken):
    def run(self, batch, plan, rng):
        other = {"merge_first": "merge_last", "merge_last": "merge_first"}
        steps = tuple((other.get(kind, kind), a, b) for kind, a, b in batch.skeleton)
        return super().run(replace(batch, skeleton=steps), plan, rng)


class TestsInEveryBasis(Broken):
    """Gets an outcome in all of xx, yy and zz from one pair."""

    def spoil(self, outcome, plan):
        counts = outcome.counts.copy()
        counts[plan.shots == 1] = [1, 0]
        return replace(outcome, counts=counts)


class RoundsSingleShots(HidesTruth):
    """Lets the likelier outcome happen where there is one shot only."""

    def spoil(self, outcome, plan):
        counts = outcome.counts.copy()
        single = plan.shots == 1
        counts[single, :, 0] += counts[single, :, 1]
        counts[single, :, 1] = 0
        return super().spoil(replace(outcome, counts=counts), plan)


class CachesNoise(Broken):
    """Takes the waits of the first program for those of the whole batch."""

    def run(self, batch, plan, rng):
        waits = np.tile(batch.waits_s[:1], (len(batch), 1, 1))
        return super().run(replace(batch, waits_s=waits), plan, rng)


class TrustsEverybody(Broken):
    """Executes whatever it is given."""

    def run(self, batch, plan, rng):
        with np.errstate(all="ignore"):
            truth = exact(batch)
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")


class PairsOnly(Broken):
    """A right backend for chains that can do nothing else."""

    def run(self, batch, plan, rng):
        if not {kind for kind, _, _ in batch.skeleton} <= {"generate", "wait", "swap"}:
            raise RequestError(Code.UNSUPP, "only chains")
        return super().run(batch, plan, rng)


class RefusesLate(PairsOnly):
    def run(self, batch, plan, rng):
        try:
            return super().run(batch, plan, rng)
        except RequestError:
            rng.random()
            raise


class RefusesInItsOwnWay(PairsOnly):
    def run(self, batch, plan, rng):
        try:
            return super().run(batch, plan, rng)
        except RequestError as refused:
            raise NotImplementedError("only chains") from refused


class RefusesAll(Broken):
    def run(self, batch, plan, rng):
        raise RequestError(Code.UNSUPP, "out of order")


# -- these must not run in the process of a test -------------------------------------------------


class HangsInPython(Broken):
    def run(self, batch, plan, rng):
        while True:
            pass


class HangsAsleep(Broken):
    def run(self, batch, plan, rng):
        time.sleep(1e6)


class HangsInC(Broken):
    """Waits in C and holds the interpreter's lock meanwhile: no thread of its process can run."""

    def run(self, batch, plan, rng):
        ctypes.PyDLL(None).sleep(1_000_000)


class HangsLater(Broken):
    """Is right until the first swap."""

    def run(self, batch, plan, rng):
        if any(kind == "swap" for kind, _, _ in batch.skeleton):
            time.sleep(1e6)
        return super().run(batch, plan, rng)


class HangsOpening(Broken):
    def __init__(self):
        time.sleep(1e6)


class HangsWithChild(Broken):
    """Leaves a process behind that has its number in a file."""

    def __init__(self, path):
        self.helper = subprocess.Popen(["sleep", "1000000"])
        Path(path).write_text(str(self.helper.pid))

    def run(self, batch, plan, rng):
        time.sleep(1e6)


class Crashes(Broken):
    def run(self, batch, plan, rng):
        os.abort()


class LeavesQuietly(Broken):
    """Ends its process as if all were well."""

    def run(self, batch, plan, rng):
        os._exit(0)


class CannotOpen(Broken):
    def __init__(self):
        raise OSError("no such instrument")


class Talks(Broken):
    def run(self, batch, plan, rng):
        os.write(1, b"noise")
        return super().run(batch, plan, rng)
