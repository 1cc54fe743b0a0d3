"""What a run is asked to be, as one value that every process of it can read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from controller.federation import Federation
from quantum.bell import fidelity
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.ledger.state import ACTION_TOKENS
from quantum.network import Network
from quantum.presets import Cell, build, run_cell
from quantum.rack import load_rack
from quantum.scenario import Scenario
from quantum.traffic import make_trace
from quantum.traffic_files import is_file

__all__ = ["RANGES", "Setting", "scenario_of"]

#: Requests of the laboratory's application, as a share of what its link can make.
LAB_LOAD = 0.25
#: More would wait for the counting windows of the bases.
MOST_LAB_LOAD_HZ = 100.0
#: How long tests count: a real link drifts, and gives hundreds of tests in this time.
LAB_WINDOW_S, WINDOW_S = 3.0, 30.0
SLOT_S = 0.02

#: What numbers may be, as configurations are told and checked.
RANGES = {
    "seconds": (1e-3, 1e6),
    "warmup_s": (0.0, 1e5),
    "round_s": (0.02, 1e5),
    "epsilon": (1e-2, 1e3),
    "window_s": (0.02, 1e5),
    "patience_s": (0.02, 1e5),
    "agents": (1, 64),
    "workers": (1, 64),
}

# What dpem init says of keys that have no option of dpem run, and examples where nothing is set.
_Belief = Annotated[
    bool, msgspec.Meta(description="Controllers follow link fidelities by tests, not by name.")
]
_Round = Annotated[float, msgspec.Meta(description="Seconds between federated rounds.")]
_Rivals = Annotated[
    tuple[str, ...], msgspec.Meta(description="Allocators that play the same draws beside it.")
]
_Window = Annotated[
    float,
    msgspec.Meta(description="Seconds that tests count: 30, in a laboratory 3.", examples=[30.0]),
]
_Patience = Annotated[
    float, msgspec.Meta(description="Instruments that fail for so many seconds end a run.")
]
_Changes = Annotated[str, msgspec.Meta(examples=["outages:300:10"])]
_Delta = Annotated[float, msgspec.Meta(examples=[1e-3])]
_Load = Annotated[float, msgspec.Meta(examples=[60.0])]
_Rack = Annotated[str, msgspec.Meta(examples=["four-links"])]
_Policy = Annotated[str, msgspec.Meta(examples=["policy.safetensors"])]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides what a run does; the command line in a value.

    The ``preset`` gives fidelities, deadlines, memories, drift and distillation; ``load_hz``
    (pairs/s) is the preset's unless given; ``changes`` are links and nodes that come and go, see
    :func:`quantum.changes.make_changes`. With a ``rack`` the network is the rack's.
    From ``privacy`` to ``stale_rounds`` see :class:`controller.federation.Federation`.
    Tests count for ``window_s``, 30 s and in the laboratory 3 s unless given; instruments that have
    failed for ``patience_s`` end a run.
    """

    preset: str = "paper"
    topology: str = "mesh"
    demand: str = "scheduled"
    changes: _Changes | None = None
    load_hz: _Load | None = None
    measured_belief: _Belief = False
    backend: str = "aer"
    rack: _Rack | None = None
    allocator: str = "dpem"
    seconds: float = 60.0
    warmup_s: float = 10.0
    seed: int = 0
    learn: bool = True
    policy: _Policy | None = None
    agents: int = 2
    workers: int = 1
    round_s: _Round = 5.0
    privacy: str = "central"
    epsilon: float = 8.0
    delta: _Delta | None = None
    aggregator: str = "mean"
    participation: float = 1.0
    clipping: str = "fixed"
    tolerated: float = 0.2
    stale_rounds: int = 1
    rivals: _Rivals = ("on-demand", "uniform", "mean-rate")
    window_s: _Window | None = None
    patience_s: _Patience = 10.0

    def check(self) -> "Setting":
        """Refuse numbers that make no run; names are checked where they are looked up."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"{name} must be between {low:g} and {high:g}, got {value}")
        if self.load_hz is not None and not 0.0 < self.load_hz < 1e7:
            raise InputError(f"load_hz must be > 0 pairs per second, got {self.load_hz}")
        if self.backend == "lab" and self.workers != 1:
            raise InputError(f"workers must be 1 with backend lab, got {self.workers}")
        if self.backend == "lab" and self.changes is not None:
            raise InputError("changes are for simulated networks, not for backend lab")
        self.federation.check()
        if not 0 <= self.seed < 2**62:
            raise InputError(f"seed must be between 0 and 2^62, got {self.seed}")
        return self

    @property
    def federation(self) -> Federation:
        """How this run's federated rounds go."""
        names = (field.name for field in msgspec.structs.fields(Federation))
        return Federation(**{name: getattr(self, name) for name in names})

    @property
    def trust_window_s(self) -> float:
        """How long tests count in this run."""
        if self.window_s is not None:
            return self.window_s
        return WINDOW_S if self.rack is None else LAB_WINDOW_S

    @property
    def cell(self) -> Cell:
        """The preset cell that is played on a simulated network."""
        cell = run_cell(self.topology, self.demand, load_hz=self.load_hz, preset=self.preset)
        return msgspec.structs.replace(
            cell, measured_belief=self.measured_belief, changes=self.changes
        )

    @property
    def physics(self) -> dict[str, Any]:
        """What :func:`controller.game.world_of` is told of the world, by name."""
        if self.rack is not None:
            return {}
        return {
            "max_rounds": self.cell.distillation_rounds,
            "drift": self.cell.drift,
            "measured_belief": self.measured_belief,
        }


def scenario_of(
    setting: Setting,
    knee: Callable[..., float] | None = None,
    *,
    network: Network | None = None,
) -> Scenario:
    """Build the scenario; the same in every process of a run.

    ``network`` stands in for a rack's own, which may have changed since a run was recorded.
    """
    if setting.rack is None:
        return build(
            setting.cell,
            setting.seed,
            seconds=setting.seconds,
            warmup_s=setting.warmup_s,
            knee=knee,
        )
    if network is None:
        rack = load_rack(Path(setting.rack))
        network = rack.network
        if len(rack.links) > 1 and rack.links[0].optics is None:
            raise InputError(
                f"rack {network.name} has {len(rack.links)} links; a run plays racks of one link, "
                "or of several that share their detectors (link.optics)"
            )
    return _lab_scenario(setting, network)


def _lab_scenario(setting: Setting, network: Network) -> Scenario:
    """Ask a rack's links for pairs of a fidelity that they should be able to meet."""
    # Photons are measured as they come: nothing lives longer than a slot, and places are not
    # qubits but pairs that can be handled within one.
    places = np.full(len(network.nodes), ACTION_TOKENS)
    network = replace(network, cutoff_s=SLOT_S, qubits=places)
    best = float(fidelity(network.populations).min(initial=1.0))
    asked = (round(max(0.5, best - 0.08), 3),)
    load = setting.load_hz or min(MOST_LAB_LOAD_HZ, LAB_LOAD * float(network.generation_hz.min()))
    trace = make_trace(
        "poisson" if setting.demand == "scheduled" else setting.demand,
        network,
        load_hz=load,
        deadline_s=1.0,
        seed=setting.seed,
        network_seed=setting.seed % 4,
        duration_s=setting.seconds + setting.warmup_s,
        fidelities=asked,
    )
    return Scenario(
        network=network,
        trace=trace if is_file(setting.demand) else _between_neighbours(trace, network),
        seed=setting.seed,
        seconds=setting.seconds,
        warmup_s=setting.warmup_s,
    )


def _between_neighbours(trace: Trace, network: Network) -> Trace:
    """Leave out requests of nodes without a link: light cannot be swapped."""
    linked = {(a, b) for a, b in network.links.tolist()}
    kept = np.array(
        [(min(a, b), max(a, b)) in linked for a, b in trace.commodities.tolist()], dtype=bool
    )
    if kept.all():
        return trace
    number = np.cumsum(kept) - 1
    asked = kept[trace.commodity]
    weights = trace.weights[kept]
    return replace(
        trace,
        commodities=trace.commodities[kept],
        weights=weights / weights.sum(),
        commodity=number[trace.commodity[asked]],
        **{
            name: getattr(trace, name)[asked]
            for name in ("time_s", "pairs", "minimum_fidelity", "deadline_s", "told_s")
        },
    )
