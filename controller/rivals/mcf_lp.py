"""MCF-LP: a central controller solves a multicommodity flow again and again.

K. Chakraborty, D. Elkouss, B. Rijsman, S. Wehner, "Entanglement Distribution in a Quantum Network:
A Multicommodity Flow-Based Approach", IEEE Trans. Quantum Eng. 1 (2020), arXiv:2005.14304: a linear
program over paths that meet the fidelity asked gives the rates of prepared pairs, and pairs wait in
memory until they are swapped ("prepare and swap").

In this world the demand is not given, so it is estimated: every ``period_s`` the controller counts
what it was asked in the past ``window_s`` and solves the program of the bound for that (paths by
column generation, fidelity exact, generation and swap tokens as capacities). Each link keeps in
stock what the flows of that demand use in ``stock_s``. As the optimum of a low load is not unique
and often narrow, the load is raised to ``spread`` times the knee before solving, and the flows are
scaled back. Requests then take chains of stored pairs as with mean-rate.

It knows its own past only: neither the long-run mean demand nor the future.
"""

from collections.abc import Callable

import numpy as np

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.mean_rate import LEVERS as MEAN_RATE_LEVERS
from controller.rivals.mean_rate import rule_of, stock_of
from controller.rivals.tuned import tuned
from quantum.bound_program import Problem, prepare, solve
from quantum.bound_values import Bound, Classes, Column
from quantum.ledger import Ledger, Rule, World
from quantum.ledger.state import Floats
from quantum.network import Network
from quantum.scenario import Scenario
from quantum.twin import advance

__all__ = ["allocator", "asked_hz", "make", "problem_of", "use_hz"]

#: What tuning may try, beside the weights of mean-rate.
LEVERS = {
    "period_s": (2.0, 5.0, 10.0),
    "window_s": (5.0, 10.0, 20.0, 40.0),
    "spread": (0.0, 1.0, 1.5),
    **MEAN_RATE_LEVERS,
}
#: Pairs per pair asked on the first path of a class that gets no flow.
_UNSERVED = 0.3


def problem_of(network: Network, world: World, *, max_rounds: int = 0) -> Problem:
    """Prepare the program of a world's classes of requests, for any demand.

    Paths may have links distilled up to ``max_rounds`` times.
    """
    classes = Classes(
        commodities=np.stack([world.cls.a, world.cls.b], axis=1),
        commodity=np.arange(len(world.cls)),
        minimum_fidelity=np.ascontiguousarray(world.cls.fidelity),
        pairs=np.zeros(len(world.cls)),
    )
    generates, swaps = network.generation_hz > 0, network.swap_hz > 0
    return prepare(network, classes, generates=generates, swaps=swaps, max_rounds=max_rounds)


def asked_hz(world: World, ledger: Ledger, window_s: float) -> Floats:
    """Return the pairs/s of each class (C,) that became known in the past ``window_s``."""
    slot = int(ledger.now[0].clock)
    window = min(slot, max(1, round(window_s / world.slot_s)))
    visible = ledger.request.visible
    seen = np.flatnonzero((visible < slot) & (visible >= slot - window))
    pairs = np.zeros(len(world.cls))
    np.add.at(pairs, world.request.cls[seen], world.request.pairs[seen])
    rate: Floats = pairs / max(1, window) / world.slot_s
    return rate


def use_hz(
    problem: Problem, demand_hz: Floats, scale: float, columns: tuple[Column, ...] | None = None
) -> tuple[Floats, Floats, Bound]:
    """Return the pairs/s of each link (m,) that ``demand_hz`` (C,) uses, and the solution.

    First all pairs, of which a distilled one is two, then the distilled ones among them (m,). The
    program is solved for ``scale`` times the demand. ``columns`` of an earlier solution help.
    """
    network = problem.network
    bound = solve(
        problem,
        demand_hz * scale,
        generation=network.generation_hz,
        swaps=network.swap_hz,
        columns=columns,
    )
    use, refined = np.zeros(len(network.links)), np.zeros(len(network.links))
    served = bound.delivered > 1e-6 * demand_hz * scale
    share = demand_hz / np.maximum(bound.delivered, 1e-300)
    for flow in bound.paths:
        if served[flow.commodity]:
            pairs, links = flow.pairs * share[flow.commodity], list(flow.links)
            use[links] += pairs * np.exp2(flow.rounds)
            refined[links] += pairs * (np.array(flow.rounds) > 0)
    first = {column.number: column.arcs for column in reversed(problem.columns)}
    for number in np.flatnonzero(problem.reachable & ~served & (demand_hz > 0.0)).tolist():
        way = list(first[number])
        use[problem.graph.link[way]] += _UNSERVED * demand_hz[number]
        refined[problem.graph.link[way]] += (
            _UNSERVED * demand_hz[number] * (problem.graph.rounds[way] > 0)
        )
    return use, refined, bound


def _targets(
    game: Game, *, window_s: float, spread: float, stock_s: float, reserve: float
) -> Callable[[Ledger], tuple[Floats, Floats]]:
    """Return what gives the targets of the coming period; it remembers the paths it found.

    Pairs in stock (m,), and distilled ones (m,), one more where any are used, as in the plan of
    mean demand.
    """
    problem = problem_of(game.scenario.network, game.world, max_rounds=game.max_rounds)
    columns: list[tuple[Column, ...] | None] = [None]

    def targets(ledger: Ledger) -> tuple[Floats, Floats]:
        demand_hz = asked_hz(game.world, ledger, window_s)
        scale = spread * game.plan.knee_hz / max(1e-9, float(demand_hz.sum()))
        use, refined, bound = use_hz(problem, demand_hz, max(1.0, scale), columns[0])
        columns[0] = bound.columns
        return use * stock_s + reserve, np.where(refined > 0.0, refined * stock_s + 1.0, 0.0)

    return targets


def make(
    *,
    period_s: float = 5.0,
    window_s: float = 20.0,
    spread: float = 1.5,
    stock_s: float = 1.0,
    reserve: float = 0.3,
    **weights: float,
) -> Allocator:
    """Return the allocator with other settings; ``weights`` are fields of the rule."""

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        # For a request alone: what it would keep had it long seen the demand.
        return rule_of(stock_of(plan, stock_s=stock_s, reserve=reserve), **weights)._replace(
            rounds=plan.rounds, refined=plan.refined
        )

    def play(game: Game) -> Player:
        world, period = game.world, max(1, round(period_s / game.world.slot_s))
        targets = _targets(
            game,
            window_s=window_s,
            spread=spread,
            stock_s=stock_s,
            reserve=reserve,
        )
        kept, refined = np.full(world.m, reserve), np.zeros(world.m)
        settings = rule_of(kept, **weights)._replace(rounds=game.plan.rounds, refined=refined)

        def player(ledger: Ledger, stop: int) -> None:
            while ledger.now[0].clock < stop:
                slot = int(ledger.now[0].clock)
                if slot % period == 0 and slot > 0:
                    kept[:], refined[:] = targets(ledger)
                until = min(stop, (slot // period + 1) * period)
                advance(world, ledger, settings, until)
                ledger.now[0].events = 0

        return player

    return Allocator(
        name="mcf-lp",
        central=True,
        sentence="Central, stocks the multicommodity flows of what it was asked lately.",
        rule=rule,
        play=play,
        paper="K. Chakraborty et al., IEEE Trans. Quantum Eng. 1, 2020, arXiv:2005.14304",
        levers=LEVERS,
        make=make,
    )


allocator = make(**tuned("mcf-lp"))
