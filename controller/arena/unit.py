"""A unit of a comparison: one cell with one seed, played by every allocator on the same draws."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

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
#: The fair share is found in networks of so many nodes at most.
_FAIR_NODES = 200
_NOTHING = dict.fromkeys(
    ("delivery_rate", "fraction_of_bound", "contention", "contention_loss", "pairs_delivered"), 0.0
)


class Figures(msgspec.Struct, frozen=True):
    """What an allocator reached, in one unit or as means over units.

    ``fidelity`` (true, mean) and latencies (network time; mean, median, 99 %) are of delivered
    pairs, None without any. ``jain`` is Jain's index of the node pairs' delivery rates and
    ``least_share`` the smallest of these, over node pairs that can be served at all.
    ``fraction_of_windowed`` is of the windowed bound, for its requests, where a unit has it.
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
    least_share: float | None = None
    fraction_of_windowed: float | None = None


class Unit(msgspec.Struct, frozen=True):
    """One cell with one seed: what was asked, the bound in pairs, and what each allocator did.

    ``note`` says why nobody could deliver anything, where that is so; such a unit is not played,
    and means and tests leave it out. ``nodes`` is the size of the network. ``fair_share`` is the
    largest share of its demand that every node pair can have at once, and ``fair_total`` the most
    pairs that leave all of them that share; None in networks where finding it takes long.
    Where it was asked for, ``windowed`` is the bound in time windows, in pairs, for the requests of
    the first ten seconds, which ask for ``windowed_requested`` pairs; ``windowed_fluid`` is the
    fluid bound of the same requests.
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
    fair_share: float | None = None
    fair_total: float | None = None
    windowed: float | None = None
    windowed_fluid: float | None = None
    windowed_requested: int | None = None


def play_unit(
    cell: Cell,
    seed: int,
    allocators: Sequence[str],
    *,
    seconds: float,
    warmup_s: float = 10.0,
    plans: Plans | None = None,
    keep: Path | None = None,
    windowed: bool = False,
) -> Unit:
    """Play a cell with a seed by every allocator; ``plans`` keeps flows for the next unit.

    Raises :class:`AllocatorError` that names allocator, cell and seed where one fails, delivers
    more than a bound or breaks conservation. ``windowed`` adds the windowed bound. ``keep`` is a
    folder for all that is needed to play the unit again.
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
            figures[name] = _figures_of(
                game, name, tokens, None if keep is None else kept, windowed=windowed
            )
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
        fair_share=game.fair.share if _is_small(game) else None,
        fair_total=min(game.bound, game.fair.total) if _is_small(game) else None,
        **(_windowed(game) if windowed else {}),
    )


def _windowed(game: Game) -> dict[str, Any]:
    found = game.windowed
    return {
        "windowed": found.total,
        "windowed_fluid": found.fluid,
        "windowed_requested": int(game.world.request.pairs[found.requests].sum()),
    }


def _is_small(game: Game) -> bool:
    """Tell whether the fair share is cheap beside playing the unit."""
    return game.world.n <= _FAIR_NODES


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


def _figures_of(
    game: Game, name: str, tokens: int, kept: dict[str, Decisions] | None, *, windowed: bool
) -> Figures:
    allocator = find(name)
    if kept is None:
        ledger = ledger_of(game, allocator)
        player_of(game, allocator)(ledger, game.world.horizon)
    else:
        ledger, kept[name] = record(game, allocator)
    delivered = int(ledger.request.good[counted(game.world)].sum())
    _check(delivered, game.bound_of(allocator), "")
    least = of_windowed = None
    if windowed:
        narrow = game.windowed_ahead if game.swaps_ahead_of(allocator) else game.windowed
        early = int(ledger.request.good[narrow.requests].sum())
        _check(early, narrow.total, " in time windows")
        of_windowed = early / narrow.total if narrow.total > 0.0 else None
    if _is_small(game):
        least = _least_share(game, ledger)
        # Swaps ahead may use tokens that the fair share does not count.
        if not game.swaps_ahead_of(allocator) and least > game.fair.share * (1.0 + _ABOVE) + _ABOVE:
            raise AllocatorError(
                f"every node pair gets {least:.4f} of its demand, but the fair share is "
                f"{game.fair.share:.4f}"
            )
    wrong = audit(game.world, ledger, tokens)
    if wrong:
        raise AllocatorError(f"conservation is broken: {wrong}")
    return msgspec.structs.replace(
        _figures(game, ledger, result_of(game, allocator, ledger)),
        least_share=least,
        fraction_of_windowed=of_windowed,
    )


def _check(delivered: int, bound: float, what: str) -> None:
    """Refuse what is above a bound by more than rounding."""
    if delivered > bound * (1.0 + _ABOVE) + _ABOVE:
        raise AllocatorError(f"{delivered} pairs delivered, but the bound{what} is {bound:.1f}")


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


def _least_share(game: Game, ledger: Ledger) -> float:
    """Return the smallest share delivered of the demand of a node pair that can be served."""
    which, demand = counted(game.world), game.fair.demand
    got = np.zeros(len(demand))
    np.add.at(got, game.scenario.trace.commodity[which], ledger.request.good[which])
    some = demand > 0.0
    return float((got[some] / demand[some]).min(initial=1.0))


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
