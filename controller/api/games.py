"""Games: a network with its demand, played by allocators in the twin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from controller.api.circuits import circuit_of
from controller.api.given import number, numbers, whole
from controller.api.networks import network as network_from
from controller.api.networks import preset_of
from controller.api.tables import Table
from controller.arena.unit import game_of
from controller.export_tables import KINDS, path_of
from controller.game import Game, Result, player_of, prepare, result_of
from controller.plan import delay_slots
from controller.rivals.allocator import Allocator, find
from quantum.errors import InputError
from quantum.kernels import Table as Rows
from quantum.ledger import Ledger, new_ledger
from quantum.ledger.events import making_of, programs_of, take_events
from quantum.ledger.state import DELIVERED, LINK_TESTED
from quantum.presets import NETWORKS, cells
from quantum.program import Program
from quantum.scenario import Scenario
from quantum.traffic import make_trace
from quantum.traffic_files import trace_of_rows
from quantum.twin import counted

__all__ = ["Played", "compare", "game", "play", "preset_game"]

#: Assembled pairs of one slot that are remembered.
_EVENTS = 8192


@dataclass(frozen=True, eq=False, repr=False)
class Played:
    """What an allocator did in a game; tables are made when they are asked for."""

    game: Game
    result: Result
    ledger: Ledger
    events: Rows
    """Assembled pairs of the whole game, as :mod:`quantum.ledger` keeps them."""

    def __repr__(self) -> str:
        score = self.result.score
        return (
            f"Played({self.allocator} on {self.game.scenario.network.name}: "
            f"{score.pairs_delivered} of {score.pairs_requested} pairs)"
        )

    @property
    def allocator(self) -> str:
        """Who played."""
        return self.result.allocator

    @cached_property
    def requests(self) -> Table:
        """One row a request, in the order of the demand.

        ``request`` its number, ``time_s`` from the start of the warm-up, ``counted`` whether it
        arrived in the evaluation, ``delivered`` pairs that arrived and ``good`` those that met
        ``minimum_fidelity``.
        """
        trace, ledger = self.game.scenario.trace, self.ledger
        names = self.game.scenario.network.nodes
        ends = trace.commodities[trace.commodity].reshape(-1, 2).tolist()
        inside = set(counted(self.game.world).tolist())
        return Table(
            {
                "request": list(range(len(ends))),
                "time_s": trace.time_s.tolist(),
                "source": [names[a] for a, _ in ends],
                "destination": [names[b] for _, b in ends],
                "pairs": trace.pairs.tolist(),
                "minimum_fidelity": trace.minimum_fidelity.tolist(),
                "deadline_s": trace.deadline_s.tolist(),
                "counted": [number in inside for number in range(len(ends))],
                "delivered": (trace.pairs - ledger.request.left).tolist(),
                "good": ledger.request.good.tolist(),
            }
        )

    @cached_property
    def pairs(self) -> Table:
        """One row an assembled pair: ``kind`` delivered, tested, lost or link test.

        ``request`` is None for link tests; ``path`` the nodes joined by ``>``; ``fidelity`` is the
        true one, which only a simulator knows.
        """
        network, slot_s = self.game.scenario.network, self.game.world.slot_s
        names = network.nodes
        ends = [(names[a], names[b]) for a, b in network.links.tolist()]
        rows, hops = self.events, self.events.hops.tolist()
        links, ages = rows.links.tolist(), rows.ages.tolist()
        return Table(
            {
                "time_s": [round(slot * slot_s, 9) for slot in rows.slot.tolist()],
                "kind": [KINDS[kind] for kind in rows.kind.tolist()],
                "request": [
                    None if kind == LINK_TESTED else number
                    for kind, number in zip(rows.kind.tolist(), rows.request.tolist(), strict=True)
                ],
                "hops": hops,
                "path": [
                    path_of([ends[link] for link in own[:size]])
                    for own, size in zip(links, hops, strict=True)
                ],
                "oldest_wait_s": [
                    round(max(own[:size]) * slot_s, 9) for own, size in zip(ages, hops, strict=True)
                ],
                "fidelity": rows.true.tolist(),
            }
        )

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The score, with the keys of ``dpem run --json`` that a twin knows."""
        score = self.result.score
        return {
            "allocator": self.allocator,
            "requests": score.requests,
            "pairs_requested": score.pairs_requested,
            "pairs_delivered": score.pairs_delivered,
            "delivery_rate": score.delivery_rate,
            "bound": self.result.bound,
            "fraction_of_bound": self.result.fraction_of_bound,
            "contention": score.contention,
            "fidelity_true": self.result.fidelity,
            "latency_p50_ms": score.latency_p50_ms,
            "latency_p99_ms": score.latency_p99_ms,
        }

    def delivered(self) -> list[int]:
        """Return the numbers of the requests that got a pair, in order, each once."""
        rows = self.events.request[self.events.kind == DELIVERED]
        return [int(number) for number in np.unique(rows)]

    def programs(self, request: int) -> list[Program]:
        """Return what was executed for a request: a program for each of its assembled pairs.

        A program makes the link pairs, lets each wait as it did, and swaps them.
        """
        size = len(self.game.scenario.trace.time_s)
        request = whole("request", request)
        if not size:
            raise InputError("there are no requests in this game")
        if not 0 <= request < size:
            raise InputError(f"request must be 0 to {size - 1}, got {request}")
        rows = self.events
        mine = rows[(rows.request == request) & (rows.kind != LINK_TESTED)]
        network = self.game.scenario.network
        making = making_of(self.game.world, network.populations)
        return programs_of(mine, making, self.game.world.slot_s, network.memory, network.gates)

    def circuit(self, request: int, pair: int = 0, basis: str | None = None) -> Any:
        """Return the Qiskit circuit of one assembled pair of a request, noise included.

        ``basis`` is the parity that is tested at the end: xx, yy or zz (zz). Run on a stock
        ``AerSimulator`` it gives what the network would have measured.
        """
        programs = self.programs(request)
        pair = whole("pair", pair)
        if not 0 <= pair < len(programs):
            raise InputError(
                f"pair must be below {len(programs)}: so many were assembled for request "
                f"{request}, got {pair}"
            )
        return circuit_of(programs[pair], basis)


def game(
    network: Any,
    demand: Any = "poisson",
    *,
    load_hz: float | None = None,
    seconds: float = 20.0,
    warmup_s: float = 5.0,
    seed: int = 0,
    deadline_s: float = 1.0,
    fidelities: tuple[float, ...] = (0.75, 0.85),
    distillation_rounds: int = 0,
) -> Game:
    """Make a game of a network and its demand, with its upper bound (pairs) as ``game.bound``.

    ``network`` is anything that :func:`controller.api.network` takes. ``demand`` is a kind
    (``poisson``, ``scheduled``, ``sensing``, ``computing`` ...), a CSV or Parquet file, or rows
    with the columns of such a file: a list of mappings, a pandas or Arrow table. ``load_hz`` is
    pairs per second of a kind, 0.6 for each node unless given. ``deadline_s`` and ``fidelities``
    are those of requests that bring none of their own. Raises :class:`InputError`.
    """
    seed = whole("seed", seed)
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    seconds, warmup_s = number("seconds", seconds), number("warmup_s", warmup_s)
    deadline_s = number("deadline_s", deadline_s)
    distillation_rounds = whole("distillation_rounds", distillation_rounds)
    if load_hz is not None:
        load_hz = number("load_hz", load_hz)
    net = network_from(network, seed=seed % NETWORKS)
    span_s = seconds + warmup_s
    if isinstance(demand, str):
        trace = make_trace(
            demand,
            net,
            load_hz=0.6 * len(net.nodes) if load_hz is None else load_hz,
            deadline_s=deadline_s,
            seed=seed,
            network_seed=seed % NETWORKS,
            duration_s=span_s,
            fidelities=numbers("fidelities", fidelities),
            distillation_rounds=distillation_rounds,
        )
    else:
        trace = trace_of_rows(_rows(demand), net, deadline_s=deadline_s, duration_s=span_s)
    scenario = Scenario(network=net, trace=trace, seed=seed, seconds=seconds, warmup_s=warmup_s)
    return prepare(scenario, max_rounds=distillation_rounds)


def preset_game(
    preset: str = "paper",
    cell: int = 0,
    *,
    seed: int = 0,
    seconds: float = 60.0,
    warmup_s: float = 10.0,
) -> Game:
    """Make the game of a cell of a preset arena, as ``dpem compare`` plays it.

    ``cell`` counts from 0; ``seed`` picks network seed mod 4 and all draws.
    """
    known = cells(preset_of(preset))
    cell, seed = whole("cell", cell), whole("seed", seed)
    seconds, warmup_s = number("seconds", seconds), number("warmup_s", warmup_s)
    if not 0 <= cell < len(known):
        raise InputError(f"cell must be 0 to {len(known) - 1} in preset {preset}, got {cell}")
    return game_of(known[cell], seed, seconds=seconds, warmup_s=warmup_s)


def play(game: Game, allocator: str | Allocator) -> Played:
    """Play an allocator, by name or as a value, and keep what it did.

    Decisions and score are those of ``dpem compare`` on the same game; what others took from a
    request (``contention_loss``) is not worked out.
    """
    if not isinstance(game, Game):
        raise InputError(f"game must come from api.game, got {type(game).__name__}")
    if not isinstance(allocator, str | Allocator):
        raise InputError(
            f"allocator must be a name or an Allocator, got {type(allocator).__name__}"
        )
    who = find(allocator) if isinstance(allocator, str) else allocator
    heard = game.heard_by(who)
    ledger = new_ledger(
        heard.world,
        delay_slots=delay_slots(game.scenario, central=who.central),
        events=_EVENTS,
        composites=game.swaps_ahead_of(who),
    )
    player = player_of(game, who)
    kept = []
    for slot in range(game.world.horizon):
        player(ledger, slot + 1)
        # Players of their own have taken the events already; the rows are still there.
        fresh = (ledger.event.slot == slot) & (ledger.event.hops > 0)
        if fresh.any():
            kept.append(ledger.event[fresh].copy())
        take_events(ledger)
    events = np.concatenate(kept) if kept else ledger.event[:0].copy()
    result = result_of(game, who, ledger, with_losses=False)
    return Played(game, result, ledger, events.view(np.recarray))


def compare(game: Game, allocators: Iterable[str | Allocator]) -> Table:
    """Play several allocators on the same draws; a row of the summary for each."""
    if isinstance(allocators, str) or not isinstance(allocators, Iterable):
        raise InputError(f"allocators must be a list of allocators, got {allocators!r:.60}")
    rows = [play(game, who).summary for who in allocators]
    if not rows:
        raise InputError("allocators must be at least one")
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def _rows(demand: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a pandas or Arrow table, or of a list of mappings."""
    if hasattr(demand, "to_pylist"):
        return list(demand.to_pylist())
    if hasattr(demand, "to_dict") and hasattr(demand, "columns"):
        return list(demand.to_dict("records"))
    if isinstance(demand, Iterable) and not isinstance(demand, bytes | Mapping):
        rows = list(demand)
        if all(isinstance(row, Mapping) for row in rows):
            return rows
    raise InputError(
        "demand must be a kind, a path, or rows with timestamp_s, source, destination and "
        f"fidelity, got {type(demand).__name__}"
    )
