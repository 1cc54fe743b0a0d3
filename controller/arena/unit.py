"""A unit of a comparison: one cell with one seed, played by every allocator on the same draws."""

import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from controller.arena.cells import label
from controller.decisions import Decisions, record
from controller.fairness import all_tokens, audit
from controller.game import Game, Plans, Result, flows_of, ledger_of, player_of, prepare, result_of
from controller.rivals.allocator import find
from quantum.bound_fair import delivered_shares, jain_index
from quantum.demand import Trace
from quantum.errors import AllocatorError, NoDemand
from quantum.ledger import Ledger
from quantum.network import Network
from quantum.presets import NETWORKS, Cell, build
from quantum.scenario import Scenario
from quantum.twin import counted

__all__ = ["Figures", "Unit", "game_of", "play_unit"]

#: More than rounding above the bound, relative and in pairs.
_ABOVE = 1e-6
_NOTHING = dict.fromkeys(
    ("delivery_rate", "fraction_of_bound", "contention", "contention_loss", "pairs_delivered"), 0.0
)


class Figures(msgspec.Struct, frozen=True):
    """What an allocator reached, in one unit or as means over units.

    ``fidelity`` (true, mean) and latencies (network time; mean, median, 99 %) are of delivered
    pairs, None without any. ``jain`` is Jain's index of the node pairs' delivery rates.
    ``failed_claims`` and ``messages_per_pair`` are what the mechanism costs, over the whole run.
    """

    delivery_rate: float
    fraction_of_bound: float
    contention: float
    contention_loss: float
    pairs_delivered: float
    fidelity: float | None = None
    latency_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    jain: float | None = None
    failed_claims: float | None = None
    messages_per_pair: float | None = None


class Unit(msgspec.Struct, frozen=True):
    """One cell with one seed: what was asked, the bound in pairs, and what each allocator did.

    ``note`` says why nobody could deliver anything, where that is so; such a unit is not played,
    and means and tests leave it out. ``nodes`` is the size of the network.
    """

    cell: Cell
    seed: int
    network: int
    load_hz: float
    requests: int
    pairs_requested: int
    bound: float
    allocators: dict[str, Figures]
    nodes: int = 0
    note: str | None = None


def play_unit(
    cell: Cell,
    seed: int,
    allocators: Sequence[str],
    *,
    seconds: float,
    warmup_s: float = 10.0,
    plans: Plans | None = None,
    keep: Path | None = None,
) -> Unit:
    """Play a cell with a seed by every allocator; ``plans`` keeps flows for the next unit.

    Raises :class:`AllocatorError` that names allocator, cell and seed where one fails, delivers
    more than the bound or breaks conservation. ``keep`` is a folder for all that is needed to play
    the unit again.
    """
    try:
        game = game_of(cell, seed, seconds=seconds, warmup_s=warmup_s, plans=plans)
    except NoDemand as wrong:
        return _unplayed(cell, seed, allocators, str(wrong))
    which = counted(game.world)
    requests, pairs = len(which), int(game.world.request.pairs[which].sum())
    note = None
    if not requests:
        note = "no request falls into the time that counts"
    elif game.bound <= 0.0:
        note = "no request can be served by anybody"
    if note is not None:
        unit = _unplayed(cell, seed, allocators, note)
        return msgspec.structs.replace(unit, requests=requests, pairs_requested=pairs)
    tokens, kept = all_tokens(game.world), dict[str, Decisions]()
    figures = {}
    for name in allocators:
        try:
            figures[name] = _figures_of(game, name, tokens, None if keep is None else kept)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as wrong:
            raise _failure(wrong, name, cell, seed) from wrong
    if keep is not None:
        from controller.arena.keeping import keep_unit

        keep_unit(keep, cell, seed, game, kept)
    return Unit(
        cell=cell,
        seed=seed,
        network=seed % NETWORKS,
        load_hz=game.scenario.trace.load_hz,
        requests=requests,
        pairs_requested=pairs,
        bound=game.bound,
        allocators=figures,
        nodes=game.world.n,
    )


def game_of(
    cell: Cell, seed: int, *, seconds: float, warmup_s: float, plans: Plans | None = None
) -> Game:
    """Make the game of a cell with a seed; :class:`NoDemand` where nothing is reachable."""
    rounds = cell.distillation_rounds

    def knee(network: Network, trace: Trace) -> float:
        found = flows_of(network, trace, plans, max_rounds=rounds).knee_hz
        if found <= 0.0:
            raise NoDemand(f"nothing is reachable in {network.name}: its knee gives no load")
        return found

    scenario: Scenario = build(cell, seed, seconds=seconds, warmup_s=warmup_s, knee=knee)
    return prepare(
        scenario,
        plans,
        max_rounds=rounds,
        drift=cell.drift,
        measured_belief=cell.measured_belief,
    )


def _figures_of(game: Game, name: str, tokens: int, kept: dict[str, Decisions] | None) -> Figures:
    allocator = find(name)
    if kept is None:
        ledger = ledger_of(game, allocator)
        player_of(game, allocator)(ledger, game.world.horizon)
    else:
        ledger, kept[name] = record(game, allocator)
    delivered = int(ledger.request.good[counted(game.world)].sum())
    bound = game.bound_of(allocator)
    if delivered > bound * (1.0 + _ABOVE) + _ABOVE:
        raise AllocatorError(f"{delivered} pairs delivered, but the bound is {bound:.1f}")
    wrong = audit(game.world, ledger, tokens)
    if wrong:
        raise AllocatorError(f"conservation is broken: {wrong}")
    return _figures(game, ledger, result_of(game, allocator, ledger))


def _figures(game: Game, ledger: Ledger, result: Result) -> Figures:
    score, some = result.score, result.latency_ms is not None
    return Figures(
        delivery_rate=score.delivery_rate,
        fraction_of_bound=result.fraction_of_bound,
        contention=score.contention,
        contention_loss=result.contention_loss,
        pairs_delivered=float(score.pairs_delivered),
        fidelity=result.fidelity,
        latency_ms=result.latency_ms,
        latency_p50_ms=score.latency_p50_ms if some else None,
        latency_p99_ms=score.latency_p99_ms if some else None,
        jain=_jain(game, ledger),
        failed_claims=float(result.totals["failed_claims"]),
        messages_per_pair=result.messages_per_pair,
    )


def _jain(game: Game, ledger: Ledger) -> float | None:
    """Return Jain's index of the shares of the node pairs that asked in the window."""
    which, trace = counted(game.world), game.scenario.trace
    good = ledger.request.good[which]
    if not good.any():
        return None
    pairs = game.world.request.pairs[which]
    return jain_index(delivered_shares(trace.commodity[which], pairs, good))


def _failure(wrong: BaseException, name: str, cell: Cell, seed: int) -> AllocatorError:
    said = " ".join(str(wrong).split()) or "no message"
    if not isinstance(wrong, AllocatorError):
        place = traceback.extract_tb(wrong.__traceback__)[-1]
        said = f"{type(wrong).__name__}: {said} ({Path(place.filename).name}, line {place.lineno})"
    return AllocatorError(f"allocator {name} failed on {label(cell)}, seed {seed}: {said}")


def _unplayed(cell: Cell, seed: int, allocators: Sequence[str], note: str) -> Unit:
    nothing = Figures(**_NOTHING)
    return Unit(
        cell=cell,
        seed=seed,
        network=seed % NETWORKS,
        load_hz=cell.load_hz or 0.0,
        requests=0,
        pairs_requested=0,
        bound=0.0,
        allocators=dict.fromkeys(allocators, nothing),
        note=note,
    )
