"""How fast the twin is, next to the same kernels in plain Python, measured in the same run.

Rates are per second of CPU time of one process, compiled and warmed up, on the ``paper`` preset
with its load in proportion to the nodes. Mean-rate targets come from shortest paths here: the
linear program that spreads them is solved once per network and is no part of the twin. Chains and
closed forms stand beside the same physics in numpy.
"""

import time
from collections.abc import Callable
from statistics import median
from types import FunctionType
from typing import Any

import numpy as np

from controller.plan import RESERVE, STOCK_S
from quantum import closed, werner
from quantum.bell import correlators
from quantum.bell import werner as werner_populations
from quantum.chain import Setting, deliver
from quantum.demand import Trace
from quantum.flows import shortest_paths
from quantum.ledger import Rule, World, new_ledger, new_world
from quantum.ledger.state import MAX_HOPS, Floats
from quantum.network import Network
from quantum.presets import LOAD_PER_NODE_HZ, build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.seeding import generator
from quantum.twin import advance

__all__ = ["plain_rate", "twin"]

#: Nodes, slots before measuring, so that requests and stock are there, and slots of a stretch.
_SIZES = ((100, 200, 400), (1000, 60, 40), (10000, 30, 3))
_RUNS = 3
_PLAIN_SLOTS = 40
#: Chains of 2 and 99 links that deliver one pair after another, and the pairs of a run.
_MEMORY = Memory(t1_s=10.0, t2_s=1.0)
_FRESH = correlators(werner_populations(0.99))
_CHAIN_3 = Setting(success_probability=np.full(2, 0.1), attempt_s=1e-3)
_CHAIN_100 = Setting(success_probability=np.linspace(0.1, 0.5, 99), attempt_s=1e-3)
_PAIRS_3, _PAIRS_100, _CLOSED = 300_000, 20_000, 100_000
_CHAIN_RUNS = 7
#: Lines: tokens and swaps per second and node, pairs per second asked of every stretch, stock.
_LINE_HZ = 250.0
_LINE_LOAD_HZ = 200.0
_LINE_STOCK = 20.0
_LINE_S = 6.0


def twin() -> dict[str, Any]:
    """Measure node-slots and delivered pairs per CPU second."""
    results: dict[str, Any] = {
        f"node_slots_per_cpu_s_{nodes}": nodes * _mesh_slots(nodes, warm, slots)
        for nodes, warm, slots in _SIZES
    }
    # The figures above are of mean-rate targets with claims that are kept for a while; this one is
    # of the allocator mean-rate, which searches and shares out all claims in every slot.
    shared = 100 * _mesh_slots(*_SIZES[0], complete=2)
    results["shared_claims_node_slots_per_cpu_s_100"] = shared
    results["chain3_pairs_per_cpu_s"] = _rate(_played(_CHAIN_3, _PAIRS_3), _PAIRS_3)
    results["chain100_pairs_per_cpu_s"] = _rate(_played(_CHAIN_100, _PAIRS_100), _PAIRS_100)
    results["closed_form_pairs_per_cpu_s"] = _rate(_decayed(closed.decayed_fidelity), _CLOSED)
    results["line3_pairs_per_cpu_s"] = _line_pairs(3)
    results["line100_pairs_per_cpu_s"] = _line_pairs(100)
    results["chains"] = "one delivery after another: attempts, T1 and T2 of all waits, end states"
    results["lines"] = f"allocated slot by slot; the long one in stretches of {MAX_HOPS} links"
    plain = plain_rate()
    numpy = {
        "numpy_chain3_pairs_per_cpu_s": _rate(_drawn(_CHAIN_3, _PAIRS_3), _PAIRS_3),
        "numpy_chain100_pairs_per_cpu_s": _rate(_drawn(_CHAIN_100, _PAIRS_100), _PAIRS_100),
        "numpy_closed_form_pairs_per_cpu_s": _rate(_decayed(_by_oracle), _CLOSED),
    }
    return {
        "name": "twin",
        "results": results,
        "reference": {
            "plain_node_slots_per_cpu_s_100": plain,
            "plain": f"the same kernels uncompiled, slots 0 to {_PLAIN_SLOTS - 1} of 100 nodes",
            **numpy,
        },
        "ratio": {
            "node_slots_vs_plain": 100 * _mesh_slots(100, 0, _PLAIN_SLOTS) / plain,
            **{
                f"node_slot_cost_{nodes}_vs_100": results["node_slots_per_cpu_s_100"]
                / results[f"node_slots_per_cpu_s_{nodes}"]
                for nodes, _, _ in _SIZES[1:]
            },
            **{
                f"{key}_vs_numpy": results[f"{key}_pairs_per_cpu_s"]
                / numpy[f"numpy_{key}_pairs_per_cpu_s"]
                for key in ("chain3", "chain100", "closed_form")
            },
        },
    }


def _rate(work: Callable[[], object], size: int) -> float:
    """Return ``size`` over the CPU seconds of some work, the median of several after the first."""
    work()
    seconds = []
    for _ in range(_CHAIN_RUNS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return size / median(seconds)


def _played(setting: Setting, size: int) -> Callable[[], object]:
    return lambda: deliver(setting, size, 0, _FRESH, _MEMORY)


def _drawn(setting: Setting, size: int) -> Callable[[], object]:
    """Return the same chain in numpy: draw, wait for the later neighbour, decay, swap."""
    rng = generator(0, "bench", "chain")

    def work() -> object:
        number = rng.geometric(setting.success_probability, (size, setting.links))
        born = number * setting.attempt_s
        end = born.max(axis=1, keepdims=True)
        swaps = np.concatenate([end, np.maximum(born[:, 1:], born[:, :-1]), end], axis=1)
        pairs = werner.wait(_FRESH, swaps[:, :-1] - born, swaps[:, 1:] - born, _MEMORY)
        return pairs.prod(axis=1)

    return work


def _decayed(formula: Callable[[Floats, Floats, Memory], object]) -> Callable[[], object]:
    rng = generator(0, "bench", "closed")
    fresh = correlators(rng.dirichlet([20.0, 1.0, 1.0, 1.0], _CLOSED))
    waits_s = rng.exponential(0.1, (_CLOSED, 2))
    return lambda: formula(fresh, waits_s, _MEMORY)


def _by_oracle(fresh: Floats, waits_s: Floats, memory: Memory) -> Floats:
    return werner.fidelity(werner.wait(fresh, waits_s[:, 0], waits_s[:, 1], memory))


def plain_rate() -> float:
    """Return node-slots per CPU second on 100 nodes with the kernels as plain Python."""
    world, rule = _mesh(100, _PLAIN_SLOTS)
    ledger = new_ledger(world)
    play = _uncompiled(advance, {})
    # Hashes overflow on purpose; compiled code says nothing about it.
    with np.errstate(over="ignore"):
        start = time.process_time()
        play(world, ledger, rule, _PLAIN_SLOTS)
        return 100 * _PLAIN_SLOTS / (time.process_time() - start)


def _uncompiled(kernel: Any, done: dict[int, FunctionType]) -> FunctionType:
    """Return the Python function of a kernel that calls the Python functions of other kernels."""
    source = kernel.py_func
    names = dict(source.__globals__)
    copy = FunctionType(source.__code__, names, source.__name__, source.__defaults__)
    done[id(kernel)] = copy
    for name in source.__code__.co_names:
        value = names.get(name)
        if hasattr(value, "py_func"):
            names[name] = done.get(id(value)) or _uncompiled(value, done)
    return copy


def _mesh_slots(nodes: int, warm: int, slots: int, *, complete: int = 1) -> float:
    """Return slots per CPU second in a mesh, the median of some stretches after ``warm`` slots.

    With ``complete`` 2 claims are shared out in every slot, as the allocator mean-rate does.
    """
    world, rule = _mesh(nodes, warm + _RUNS * slots)
    rule = rule._replace(complete=complete)
    advance(world, new_ledger(world), rule, 2)
    ledger = new_ledger(world)
    advance(world, ledger, rule, warm)
    seconds = []
    for run in range(_RUNS):
        start = time.process_time()
        advance(world, ledger, rule, warm + (run + 1) * slots)
        seconds.append(time.process_time() - start)
    return slots / median(seconds)


def _mesh(nodes: int, slots: int) -> tuple[World, Rule]:
    cell = run_cell(
        f"mesh-{nodes}" if nodes != 100 else "mesh",
        "scheduled",
        load_hz=LOAD_PER_NODE_HZ * nodes,
        commodities=150 * nodes // 100,
    )
    scenario = build(cell, 0, seconds=slots * 0.02, warmup_s=0.0)
    world = new_world(scenario, paths=shortest_paths)
    return world, Rule(fill=2, complete=1, targets=_targets(scenario, world))


def _targets(scenario: Scenario, world: World) -> Floats:
    """Return what a second of mean demand uses of each link along shortest paths, plus 0.3."""
    trace = scenario.trace
    commodity_of = {
        (int(a), int(b)): number for number, (a, b) in enumerate(trace.commodities.tolist())
    }
    weight = np.array(
        [
            trace.weights[commodity_of[int(a), int(b)]]
            for a, b in zip(world.cls.a, world.cls.b, strict=True)
        ]
    )
    targets = np.full(world.m, RESERVE)
    row, hop = np.nonzero(world.path_links >= 0)
    share = STOCK_S * trace.load_hz * weight[row] / max(1, len(np.unique(world.cls.fidelity)))
    np.add.at(targets, world.path_links[row, hop], share)
    return targets


def _line_pairs(nodes: int) -> float:
    """Return pairs delivered per CPU second from end to end of a line, or of its stretches."""
    scenario = _line(nodes)
    world = new_world(scenario, paths=shortest_paths)
    rule = Rule(fill=2, complete=1, targets=np.full(world.m, _LINE_STOCK))

    def run() -> float:
        ledger = new_ledger(world, events=0)
        start = time.process_time()
        advance(world, ledger, rule, world.horizon)
        return int(ledger.request.good.sum()) / (time.process_time() - start)

    run()
    return median(run() for _ in range(_RUNS))


def _line(nodes: int) -> Scenario:
    """Make a line with fast nodes and a demand of 80 % of what its swaps can do."""
    reach = min(nodes - 1, MAX_HOPS)
    links = np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1)
    ends = np.array([[i, i + reach] for i in range(0, nodes - reach, reach)], dtype=np.int64)
    each = int(_LINE_S * _LINE_LOAD_HZ / 4)
    when = np.repeat(np.arange(each) * 4 / _LINE_LOAD_HZ, len(ends))
    size = len(when)
    network = Network(
        name=f"line-{nodes}",
        nodes=tuple(f"n{number}" for number in range(nodes)),
        position_km=np.stack([np.arange(nodes) * 10.0, np.zeros(nodes)], axis=1),
        links=links,
        length_km=np.full(nodes - 1, 10.0),
        populations=werner_populations(np.full(nodes - 1, 0.995)),
        generation_hz=np.full(nodes, _LINE_HZ),
        swap_hz=np.full(nodes, _LINE_HZ),
        qubits=np.full(nodes, 64),
        memory=Memory(t1_s=3600.0, t2_s=60.0),
        cutoff_s=1.5,
        gates=Gates(),
    )
    trace = Trace(
        name="steady",
        commodities=ends,
        weights=np.full(len(ends), 1.0 / len(ends)),
        load_hz=_LINE_LOAD_HZ * len(ends),
        time_s=when,
        commodity=np.tile(np.arange(len(ends)), each),
        pairs=np.full(size, 4),
        minimum_fidelity=np.full(size, 0.7),
        deadline_s=np.ones(size),
        told_s=when,
    )
    return Scenario(network=network, trace=trace, seed=0, seconds=_LINE_S, warmup_s=0.0)
