"""The conformance kit passes right backends and catches each kind of wrong one."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend
from backends.commands import conformance as commands
from backends.conformance import check_backend
from backends.contract import KEEP, Plan
from backends.systems import SYSTEMS
from quantum.errors import Code, InputError, RequestError
from quantum.seeding import generator


def failed(backend):
    return {check.name for check in check_backend(backend) if not check.ok}


@pytest.mark.parametrize(
    "opened", [AnalyticBackend, lambda: AerBackend("direct"), lambda: AerBackend("public")]
)
def test_our_backends_keep_the_contract(opened):
    assert failed(opened()) == set()


def test_systems_have_distinct_names_and_proper_answers():
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)
    for system in SYSTEMS:
        assert system.populations.shape == (len(system.batch), 4)
        assert system.success.shape == (len(system.batch),)
        assert np.all(system.populations >= -1e-12), system.name


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


class Hardware(HidesTruth):
    """An instrument: whatever the program asks, it makes its own pairs, and holds none."""

    keeps = False

    def run(self, batch, plan, rng):
        if np.any(plan.basis == KEEP):
            raise RequestError(Code.UNSUPP, "this source holds no pairs")
        worse = replace(batch, populations=0.8 * batch.populations + 0.05)
        return replace(super().run(worse, plan, np.random.default_rng()), source="real")


@pytest.mark.parametrize("opened", [HidesTruth, Hardware])
def test_right_backends_without_truth_pass(opened):
    assert failed(opened()) == set()


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
        gates = replace_gates(batch.gates, gate_depolarizing=0.0)
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


def replace_gates(gates, **changes):
    return msgspec.structs.replace(gates, **changes)


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        (TooGood, "system fresh pair"),
        (QuietlyTooGood, "system fresh pair"),
        (IgnoresGenerator, "same generator, same counts"),
        (OwnGenerator, "same generator, same counts"),
        (IgnoresDraws, "draws decide single shots"),
        (ReturnsNan, "system fresh pair"),
        (WrongShape, "system fresh pair"),
        (FloatCounts, "system fresh pair"),
        (LosesShots, "system fresh pair"),
        (WrongBasis, "counts land in their basis"),
        (PlainYy, "bell states by basis"),
        (SkewedBases, "random bases are uniform"),
        (CountsKept, "keep counts nothing"),
        (WrongOrder, "order of the batch"),
        (NoSwapNoise, "system chain of 2"),
        (ForgetsHeralds, "system dejmps, noisy"),
        (OneT2, "system decay by both"),
        (Throws, "a batch of none"),
        (ClosesOnce, "close twice"),
        (KeepsNothing, "keep counts nothing"),
        (Nameless, "has a name"),
    ],
)
def test_each_wrong_backend_is_caught(wrong, caught):
    assert caught in failed(wrong())


def test_a_wrong_backend_is_caught_for_its_own_fault_only():
    assert failed(NoSwapNoise()) & {"system fresh pair", "system decay by both"} == set()
    assert failed(IgnoresDraws()) == {"draws decide single shots"}
    assert failed(KeepsNothing()) == {"keep counts nothing"}


# -- the command ---------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_json(tmp_path):
    done = CliRunner().invoke(commands.command, ["backend", "analytic"])
    assert done.exit_code == 0
    assert "chain of 5" in done.output
    path = tmp_path / "checks.json"
    done = CliRunner().invoke(commands.command, ["backend", "analytic", "--json", str(path)])
    assert done.exit_code == 0
    report = msgspec.json.decode(path.read_bytes())
    assert report["ok"] is True
    assert {"name", "ok", "detail"} == set(report["checks"][0])


def test_the_command_fails_where_a_check_fails(monkeypatch):
    monkeypatch.setattr("backends.commands.open_backend", lambda name: ReturnsNan())
    done = CliRunner().invoke(commands.command, ["backend", "any", "--json", "-"])
    assert done.exit_code == 1
    report = msgspec.json.decode(done.output)
    assert report["ok"] is False
    assert "finite" in report["checks"][1]["detail"]


def test_an_unknown_backend_is_named():
    done = CliRunner().invoke(commands.command, ["backend", "nope"])
    assert isinstance(done.exception, InputError)
    assert "known: aer, analytic" in str(done.exception)


def test_kits_of_drivers_appear_only_where_installed(monkeypatch):
    monkeypatch.setattr(commands, "_DRIVERS", "backends.no_such.conformance")
    assert commands.command.list_commands(None) == ["backend"]
    assert CliRunner().invoke(commands.command, ["driver", "x"]).exit_code == 2
