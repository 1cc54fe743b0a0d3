"""What a service keeps in stock: the rule of an allocator for the network as it stands.

A plan takes from a part of a second to many seconds, so a network that was changed is planned for
beside the service: ``python -m controller.service.planning`` reads an :class:`Order` and writes the
targets.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import IO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.plan import plan_of
from controller.rivals.allocator import find
from controller.service.carrying import NOTHING
from controller.setting import Setting, scenario_of
from quantum.demand import Trace
from quantum.errors import DpemError, InputError
from quantum.ledger import Rule
from quantum.ledger.state import Floats
from quantum.network import Network
from quantum.paths import best_fidelity
from quantum.presets import NETWORKS
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.traffic import make_trace
from quantum.traffic_files import is_file

__all__ = ["Order", "Planned", "Planner", "order_for", "rule_for", "rule_on"]


def rule_for(name: str, scenario: Scenario) -> Rule:
    """Return the rule of an allocator for a service that knows the mean demand of a scenario.

    A service asks an allocator's rule; one that plays slots in a way of its own is refused.
    """
    allocator = find(name)
    if allocator.play is not None and name != "dpem":
        raise InputError(
            f"allocator {name} plays slots in a way of its own; a service needs a rule: mean-rate, "
            "uniform, on-demand and others, or dpem for the rule that its policy starts from"
        )
    rule = allocator.rule(scenario, plan_of(scenario))
    # Requests that nobody announced have no planned path: the cheapest is claimed instead.
    return rule._replace(complete=max(1, rule.complete), rounds=0)


def rule_on(
    setting: Setting, base: Scenario | None, network: Network, up: np.ndarray, *, load_hz: float
) -> Rule:
    """Return the rule for a network that was changed; ``up`` (m,) tells which links work.

    Demand by name is that of the same name, and of ``load_hz``, on the changed network without the
    links that have failed; of demand from a file, which is that of ``base``, what still can be met.
    Where there is none, nothing is kept in stock.
    """
    working = replace(
        network,
        links=network.links[up],
        length_km=network.length_km[up],
        populations=network.populations[up],
    )
    try:
        if base is None:
            trace = _drawn(setting, working, load_hz)
        else:
            trace = _left(base, working)
    except InputError:
        trace = NOTHING
    scenario = Scenario(
        working, trace, seed=setting.seed, seconds=setting.seconds, warmup_s=setting.warmup_s
    )
    rule = rule_for(setting.allocator, scenario)
    # Links that have failed keep nothing.
    targets = np.zeros(len(up))
    targets[up] = rule.targets
    return rule._replace(targets=targets)


def _drawn(setting: Setting, network: Network, load_hz: float) -> Trace:
    cell = msgspec.structs.replace(setting, load_hz=load_hz).cell
    return make_trace(
        cell.demand,
        network,
        load_hz=load_hz,
        deadline_s=cell.deadline_s,
        seed=setting.seed,
        network_seed=setting.seed % NETWORKS,
        duration_s=setting.seconds + setting.warmup_s,
        fidelities=cell.fidelities,
        commodities=cell.commodities,
        distillation_rounds=cell.distillation_rounds,
    )


def _left(base: Scenario, network: Network) -> Trace:
    """Return what is asked of a trace that can still be met, all of it at the same load."""
    trace, number = base.trace, {name: k for k, name in enumerate(network.nodes)}
    place = np.array([number.get(name, -1) for name in base.network.nodes], dtype=np.int64)
    ends = place[trace.commodities]
    there: NDArray[np.bool_] = np.asarray((ends >= 0).all(axis=1))
    best = best_fidelity(network, np.arange(len(network.nodes)))
    asked = there[trace.commodity]
    a, b = ends[trace.commodity[asked]].T
    asked[asked] = best[a, b] >= trace.minimum_fidelity[asked] - 1e-9
    kept = np.zeros(len(ends), dtype=np.bool_)
    kept[trace.commodity[asked]] = True
    if not kept.any():
        return NOTHING
    weights, row = trace.weights[kept], np.cumsum(kept) - 1
    return replace(
        trace,
        commodities=np.sort(ends[kept], axis=1),
        weights=weights / weights.sum(),
        commodity=row[trace.commodity[asked]],
        **{
            name: getattr(trace, name)[asked]
            for name in ("time_s", "pairs", "minimum_fidelity", "deadline_s", "told_s")
        },
    )


class _Plain(msgspec.Struct, frozen=True):
    """A network as lists; a topology file may not be in pieces, and a network that changes may."""

    name: str
    nodes: list[str]
    position_km: list[tuple[float, float]]
    links: list[tuple[int, int]]
    length_km: list[float]
    populations: list[tuple[float, float, float, float]]
    generation_hz: list[float]
    swap_hz: list[float]
    qubits: list[int]
    memory: Memory
    cutoff_s: float
    gates: Gates


class Order(msgspec.Struct, frozen=True):
    """What is to be planned: the network of a setting after so many changes."""

    change: int
    setting: Setting
    load_hz: float
    network: _Plain
    up: list[bool]


class Planned(NamedTuple):
    """Pairs to keep in stock of each link, for the network after so many changes."""

    change: int
    targets: Floats


def order_for(
    change: int, setting: Setting, load_hz: float, network: Network, up: np.ndarray
) -> Order:
    """Return what another process needs to know."""
    plain = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(network).items()
        if name in _Plain.__struct_fields__
    }
    return Order(change, setting, load_hz, _Plain(**plain), up.tolist())


def _planned(order: Order) -> Floats:
    plain, setting = order.network, order.setting
    network = Network(
        name=plain.name,
        nodes=tuple(plain.nodes),
        position_km=np.array(plain.position_km, dtype=np.float64).reshape(-1, 2),
        links=np.array(plain.links, dtype=np.int64).reshape(-1, 2),
        length_km=np.array(plain.length_km, dtype=np.float64),
        populations=np.array(plain.populations, dtype=np.float64).reshape(-1, 4),
        generation_hz=np.array(plain.generation_hz, dtype=np.float64),
        swap_hz=np.array(plain.swap_hz, dtype=np.float64),
        qubits=np.array(plain.qubits, dtype=np.int64),
        memory=plain.memory,
        cutoff_s=plain.cutoff_s,
        gates=plain.gates,
    )
    base = scenario_of(setting) if is_file(setting.demand) else None
    up = np.array(order.up, dtype=np.bool_)
    return rule_on(setting, base, network, up, load_hz=order.load_hz).targets


class Planner:
    """Plans in a process of its own, one plan at a time; only the newest order counts."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._files: tuple[IO[bytes], ...] = ()
        self.change = 0
        """Of the last order."""
        self._trouble = ""

    def ask(self, order: Order) -> None:
        """Begin to plan; what was asked before is given up."""
        self.close()
        self.change, self._trouble = order.change, ""
        try:
            # Without names: nothing is left behind by whoever is killed.
            self._files = tuple(tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115
            asked, told, words = self._files
            asked.write(msgspec.json.encode(order))
            asked.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name], stdin=asked, stdout=told, stderr=words
            )
        except OSError as wrong:
            # A full disk, or no memory for one more process: nobody who is served may notice.
            self._trouble = wrong.strerror or str(wrong)

    def look(self) -> Planned | str | None:
        """Return a plan that has come, a line where there will be none, None where there is none.

        A process that has failed is told once.
        """
        if self._trouble:
            why, self._trouble = self._trouble, ""
            return self._unplanned(f"no process for it: {why}")
        if self._process is None or self._process.poll() is None:
            return None
        code, (_, told, words) = self._process.returncode, self._files
        told.seek(0)
        words.seek(0)
        text = words.read().decode(errors="replace").strip().splitlines() or ["without a word"]
        body = told.read()
        self.close()
        if code != 0:
            return self._unplanned(f"the process ended with code {code}: {text[-1]}")
        return Planned(self.change, np.array(msgspec.json.decode(body, type=list[float])))

    def _unplanned(self, why: str) -> str:
        return (
            f"the stock could not be planned for change {self.change} of the network, and stays "
            f"as it is: {why}"
        )

    def close(self) -> None:
        """Give up what is under way; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for file in self._files:
            file.close()
        self._files = ()


def main() -> None:
    """Plan what standard input says, and write the targets to standard output."""
    # The service goes first.
    os.nice(10)
    try:
        targets = _planned(msgspec.json.decode(sys.stdin.buffer.read(), type=Order))
    except DpemError as wrong:
        sys.stderr.write(f"{wrong}\n")
        sys.exit(wrong.exit_code)
    sys.stdout.buffer.write(msgspec.json.encode(targets.tolist()))


if __name__ == "__main__":
    main()
