"""What forecasts are worth: pairs delivered without any, with a forecaster's, with the oracle's.

All play the same draws by the same rule, tuned mean-rate at the nodes with claims of what is
expected (the allocator ``dpem-forecast``), so that only the forecasts differ. The true process is
the best that could be said from the past. The oracle here is told every request beforehand: more
than that, and no bound, because the rule that follows it is no optimal plan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.arrivals import Arrivals, Recent, Told
from controller.forecasting.process import TrueArrivals, process_of
from controller.forecasting.walked import Classes
from controller.foreseen import foreseen, nothing_foreseen
from controller.frozen import frozen_player
from controller.game import Game, Plans, flows_of, play, prepare
from controller.mind import LearnConfig
from controller.policy_file import actor_of, heuristic_weights
from controller.rivals.allocator import Player
from controller.rivals.dpem import forecasting
from controller.statistics import paired
from quantum.demand import Trace
from quantum.errors import InputError, NoDemand
from quantum.network import Network
from quantum.presets import Cell, build
from quantum.scenario import Scenario
from quantum.seeding import generator
from quantum.traffic import BATCH

__all__ = ["NOTHING", "TOLD", "TRUE", "Worth", "built", "worth"]

#: Names of those that need no forecaster.
NOTHING, RECENT, TRUE, TOLD = "nothing", "recent rate", "true process", "every request"


@dataclass(frozen=True)
class Worth:
    """Pairs delivered over requested with a forecaster, as a mean over seeds.

    ``gain`` is the difference to none, with its 95 % interval over seeds, None where there is one
    seed only. ``closed`` is the share of the oracle's gain, None where that is not above zero.
    """

    forecaster: str
    delivery_rate: float
    gain: float
    low: float | None
    high: float | None
    closed: float | None


def worth(
    cell: Cell,
    makers: Mapping[str, Callable[[Classes], Arrivals]],
    seeds: range,
    *,
    seconds: float,
    warmup_s: float,
    progress: Callable[[float], None] | None = None,
) -> list[Worth]:
    """Play a cell with every forecaster that ``makers`` open, without any, and with the oracle.

    The true process forecasts too, where demand has one.
    Raises InputError where there are no seeds.
    """
    if len(seeds) < 1:
        raise InputError("value needs at least one seed")
    rates: dict[str, list[float]] = {}
    plans: Plans = {}
    for number, seed in enumerate(seeds):
        scenario = built(cell, seed, seconds=seconds, warmup_s=warmup_s, plans=plans)
        game = prepare(scenario, plans, max_rounds=cell.distillation_rounds, drift=cell.drift)
        for name, rate in _rates(cell, game, makers).items():
            rates.setdefault(name, []).append(rate)
        if progress is not None:
            progress((number + 1) / len(seeds))
    return [_row(name, rates, seeds) for name in rates]


def built(
    cell: Cell, seed: int, *, seconds: float, warmup_s: float, plans: Plans | None = None
) -> Scenario:
    """Build the scenario of a cell, whose load may be a share of the knee."""

    def knee(network: Network, trace: Trace) -> float:
        found = flows_of(network, trace, plans, max_rounds=cell.distillation_rounds).knee_hz
        if found <= 0.0:
            raise NoDemand(f"nothing is reachable in {network.name}")
        return found

    return build(cell, seed, seconds=seconds, warmup_s=warmup_s, knee=knee)


def _rates(
    cell: Cell, game: Game, makers: Mapping[str, Callable[[Classes], Arrivals]]
) -> dict[str, float]:
    """Return what is delivered on one game, by the name of who forecasts."""
    world = game.heard_by(forecasting).world
    rule = forecasting.rule(game.scenario, game.plan)
    bare, temperature = actor_of(heuristic_weights(0), world.n), LearnConfig().temperature
    cls = world.cls
    classes = Classes(
        cls["a"].astype(np.int64),
        cls["b"].astype(np.int64),
        cls["fidelity"].astype(np.float64),
        world.request["cls"].astype(np.int64),
    )
    soon = {NOTHING: nothing_foreseen(world.horizon)}
    arrivals: dict[str, Arrivals] = {
        RECENT: Recent(cls, world.slot_s),
        **{name: make(classes) for name, make in makers.items()},
    }
    truth, asked = process_of(cell, game.scenario), game.scenario.trace.commodities
    if truth is not None:
        arrivals[TRUE] = TrueArrivals(truth, cls, asked, batch=BATCH, slot_s=world.slot_s)
    arrivals[TOLD] = Told(world)
    soon |= {name: foreseen(world, rule, one) for name, one in arrivals.items()}
    out = {}
    for name, one in soon.items():
        player = frozen_player(world, rule, bare, temperature, one)
        out[name] = _delivered(game, player)
    return out


def _delivered(game: Game, player: Player) -> float:
    still = replace(forecasting, play=lambda _: player)
    return play(game, still, with_losses=False).score.delivery_rate


def _row(name: str, rates: Mapping[str, list[float]], seeds: range) -> Worth:
    mine, none, oracle = (np.array(rates[key]) for key in (name, NOTHING, TOLD))
    found = paired(mine, none, np.array(seeds), rng=generator(0, "worth", name))
    several = len(seeds) > 1 and name != NOTHING
    room = float((oracle - none).mean())
    return Worth(
        forecaster=name,
        delivery_rate=float(mine.mean()),
        gain=float((mine - none).mean()),
        low=float(found.t_low) if several else None,
        high=float(found.t_high) if several else None,
        closed=float((mine - none).mean()) / room if room > 0.0 and name != NOTHING else None,
    )
