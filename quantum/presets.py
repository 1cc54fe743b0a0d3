"""The fixed arenas: presets, their cells, and the scenario of a cell.

The numbers are those of DESIGN section 3. They are fixed so that nobody can tune the arena to a
result; changing one needs a dated reason in DESIGN.md and a rerun of every allocator.
"""

import itertools
from collections.abc import Callable, Sequence

import msgspec

from quantum.changes import NO_CHANGES, make_changes
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.preset_names import PRESETS
from quantum.scenario import Scenario
from quantum.seeding import generator
from quantum.topology import load_topology
from quantum.traffic import make_trace
from quantum.words import near

__all__ = ["NETWORKS", "PRESETS", "Cell", "Knee", "build", "cells", "run_cell", "sample"]

#: Networks of each kind, from network seeds 0 to 3; a run plays number seed mod 4.
NETWORKS = 4
#: Load of a topology that no preset knows, in pairs per second and node: the paper's 60 for 100.
LOAD_PER_NODE_HZ = 0.6
#: Load of a run, as a share of the knee.
MEDIUM = 0.6

#: Gives the load in pairs/s at which the bound falls to 95 % of the demand of such a trace.
Knee = Callable[[Network, Trace], float]


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One setting of a preset; with a seed it is a scenario.

    Exactly one of ``load_hz`` (pairs/s) and ``knee_fraction`` (share of the knee) is given.
    ``link_fidelity`` is the range of the links, ``fidelities`` what requests ask for, in equal
    shares. ``distillation_rounds`` is the most that an allocator may use; it also decides which
    node pairs can meet the fidelity. ``drift`` says that link fidelities wander, see
    :func:`quantum.drift.drifted_populations`; with ``measured_belief`` controllers follow them by
    tests, see :mod:`quantum.ledger.belief`. ``service_s`` is that of a central controller, and
    ``changes`` are links and nodes that come and go, see :func:`quantum.changes.make_changes`.
    """

    preset: str
    topology: str
    demand: str
    deadline_s: float
    cutoff_s: float
    qubits: int
    load_hz: float | None = None
    knee_fraction: float | None = None
    link_fidelity: tuple[float, float] = (0.97, 0.99)
    fidelities: tuple[float, ...] = (0.75, 0.85)
    commodities: int = 150
    distillation_rounds: int = 0
    drift: bool = False
    measured_belief: bool = False
    service_s: float = 0.01
    changes: str | None = None

    def __post_init__(self) -> None:
        if (self.load_hz is None) == (self.knee_fraction is None):
            raise InputError("a cell needs load_hz or knee_fraction, and not both")


def cells(preset: str) -> list[Cell]:
    """Return the cells of a preset, in a fixed order.

    >>> [len(cells(preset)) for preset in PRESETS]
    [9, 288, 64, 4]
    """
    match preset:
        case "paper":
            return [
                _paper("mesh", demand, load)
                for demand, load in itertools.product(
                    ("poisson", "scheduled", "abilene"), (20.0, 60.0, 120.0)
                )
            ]
        case "metro":
            return _grid(
                preset,
                ("mesh", "geometric", "surfnet"),
                ("poisson", "scheduled", "hotspot", "abilene"),
                deadlines_s=(0.3, 1.0),
                cutoffs_s=(0.5, 1.5),
                qubits=(6, 12),
                knee_fractions=(0.3, 0.6, 0.9),
            )
        case "fast":
            return _grid(
                preset,
                ("mesh", "geometric"),
                ("poisson", "scheduled", "announced", "hotspot"),
                deadlines_s=(0.1,),
                cutoffs_s=(0.5, 1.5),
                qubits=(4, 6),
                knee_fractions=(0.6, 0.9),
            )
        case "fidelity":
            plain = _grid(
                preset,
                ("mesh",),
                ("poisson", "scheduled"),
                deadlines_s=(1.0,),
                cutoffs_s=(1.5,),
                qubits=(12,),
                knee_fractions=(0.3, 0.6),
            )
            return [
                msgspec.structs.replace(
                    cell,
                    link_fidelity=(0.85, 0.97),
                    fidelities=(0.80, 0.90),
                    distillation_rounds=1,
                    drift=True,
                )
                for cell in plain
            ]
        case _:
            raise InputError(
                f"preset {preset!r} is unknown{near(preset, PRESETS)}; it is {', '.join(PRESETS)}"
            )


def sample(of: Sequence[Cell], size: int, seed: int) -> list[Cell]:
    """Take ``size`` cells by key, each level of each factor as often as the others.

    One after the other, always a cell whose levels were taken least so far (ties by a keyed order),
    so a smaller sample is part of a larger one. The result keeps the order of ``of``.
    """
    if size < 1:
        raise InputError(f"sample must be at least 1 cell, got {size}")
    if size >= len(of):
        return list(of)
    levels = [tuple(enumerate(msgspec.structs.astuple(cell))) for cell in of]
    left = generator(seed, "sample").permutation(len(of)).tolist()
    taken: list[int] = []
    count: dict[tuple[int, object], int] = {}
    for _ in range(size):
        number = min(left, key=lambda i: sum(count.get(level, 0) for level in levels[i]))
        left.remove(number)
        taken.append(number)
        for level in levels[number]:
            count[level] = count.get(level, 0) + 1
    return [of[number] for number in sorted(taken)]


def run_cell(
    topology: str = "mesh",
    demand: str = "scheduled",
    *,
    load_hz: float | None = None,
    commodities: int = 150,
    preset: str = "paper",
) -> Cell:
    """Return the cell that ``dpem run`` plays: that of a preset on any topology and demand.

    The load is 60 pairs/s on the mesh, and 0.6 pairs/s for each node elsewhere, unless given; in
    presets with loads that are shares of the knee it is 60 % of it.
    """
    if preset != "paper":
        share = MEDIUM if load_hz is None else None
        return msgspec.structs.replace(
            cells(preset)[0],
            topology=topology,
            demand=demand,
            load_hz=load_hz,
            knee_fraction=share,
            commodities=commodities,
        )
    if load_hz is None:
        load_hz = LOAD_PER_NODE_HZ * len(load_topology(topology, seed=0).nodes)
    return msgspec.structs.replace(_paper(topology, demand, load_hz), commodities=commodities)


def build(
    cell: Cell,
    seed: int,
    *,
    seconds: float = 60.0,
    warmup_s: float = 10.0,
    knee: Knee | None = None,
    number: int | None = None,
) -> Scenario:
    """Make the scenario of a cell: network ``seed`` mod 4, draws of the run from ``seed``.

    ``number`` asks for another network of the kind; tuning and training use 4 and more.

    A cell whose load is a share of the knee needs ``knee``; it is asked with a trace of the same
    node pairs, shares and fidelities that does not depend on the run's seed.
    """
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    if number is None:
        number = seed % NETWORKS
    network = load_topology(
        cell.topology,
        seed=number,
        fidelity=cell.link_fidelity,
        qubits=cell.qubits,
        cutoff_s=cell.cutoff_s,
    )

    def trace(load_hz: float, draws: int) -> Trace:
        return make_trace(
            cell.demand,
            network,
            load_hz=load_hz,
            deadline_s=cell.deadline_s,
            seed=draws,
            network_seed=number,
            duration_s=warmup_s + seconds,
            fidelities=cell.fidelities,
            commodities=cell.commodities,
            distillation_rounds=cell.distillation_rounds,
        )

    load_hz = cell.load_hz
    if load_hz is None:
        assert cell.knee_fraction is not None
        if knee is None:
            raise InputError(f"the load of a {cell.preset} cell is a share of the knee: give knee")
        usual = LOAD_PER_NODE_HZ * len(network.nodes)
        load_hz = cell.knee_fraction * knee(network, trace(usual, number))
    asked = trace(load_hz, seed)
    end_s = warmup_s + seconds + float(asked.deadline_s.max(initial=0.0))
    return Scenario(
        network=network,
        trace=asked,
        seed=seed,
        seconds=seconds,
        warmup_s=warmup_s,
        service_s=cell.service_s,
        changes=NO_CHANGES
        if cell.changes is None
        else make_changes(cell.changes, network, seed=seed, duration_s=end_s),
    )


def _paper(topology: str, demand: str, load_hz: float) -> Cell:
    return Cell(
        preset="paper",
        topology=topology,
        demand=demand,
        deadline_s=1.0,
        cutoff_s=1.5,
        qubits=16,
        load_hz=load_hz,
    )


def _grid(
    preset: str,
    topologies: tuple[str, ...],
    demands: tuple[str, ...],
    *,
    deadlines_s: tuple[float, ...],
    cutoffs_s: tuple[float, ...],
    qubits: tuple[int, ...],
    knee_fractions: tuple[float, ...],
) -> list[Cell]:
    """Return every combination, the last factor running fastest."""
    return [
        Cell(
            preset=preset,
            topology=topology,
            demand=demand,
            deadline_s=deadline_s,
            cutoff_s=cutoff_s,
            qubits=held,
            knee_fraction=fraction,
        )
        for topology, demand, deadline_s, cutoff_s, held, fraction in itertools.product(
            topologies, demands, deadlines_s, cutoffs_s, qubits, knee_fractions
        )
    ]
