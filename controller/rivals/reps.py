"""REPS: redundant entanglement provisioning and selection.

Y. Zhao, C. Qiao, "Redundant Entanglement Provisioning and Selection for Throughput Maximization in
Quantum Networks", IEEE INFOCOM 2021. Time goes in rounds. Before links are made, a linear program
provisions more of them than the requests need, because not all come; when their heralds are known,
a second one selects the links that join most pairs, rounded progressively, and what is left is
joined path by path. Published: up to 68 % more throughput than the best before it.

In this world a round lasts ``round_s``, or half the deadline that requests have, if that is less,
since they are served at the end of a round only. Attempts are generation tokens, whose number is
what is random, so the first program shares out the tokens that can be expected, and then once more
``redundancy`` times the demand and the tokens. Each token goes where most is missing of the first
share, then of the second, which rounds as they come. Both programs are in path form, over the paths
that column generation finds for the network (:mod:`quantum.bound_program`); memory counts in the
first, swap tokens in both. Links that were not used are dropped at the end of the round; the cached
twin keeps them until the cutoff, counts on them, and lets spare tokens work.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.mcf_lp import problem_of, use_hz
from controller.rivals.on_demand import plain
from controller.rivals.reps_program import Paths, provision, select
from controller.rivals.reps_round import begin, deliver, drop_all, end, make_links
from controller.rivals.tuned import tuned
from quantum.bound_columns import cheapest
from quantum.bound_values import Column
from quantum.ledger import Ledger, Rule, World, open_slot, serve
from quantum.ledger.prices import price_stock
from quantum.ledger.refine import refine
from quantum.ledger.serve import serve_best
from quantum.ledger.state import Floats, Ints, seed_at
from quantum.scenario import Scenario
from quantum.seeding import generator

__all__ = ["allocator", "cached", "make", "make_cached"]

#: What tuning may try.
LEVERS = {
    "round_s": (0.1, 0.2, 0.3, 0.5, 1.0),
    "redundancy": (1.0, 1.5, 2.0, 3.0),
    "inverse": (0.0, 1.0, 3.0),
}
#: The network's paths are those of flows at these multiples of the knee.
_SPREADS = (0.5, 1.0, 1.5, 3.0)
#: Prices of links and swaps that are drawn for more paths.
_DRAWS = 12


@lru_cache(maxsize=1)
def _paths(game: Game) -> Paths:
    """Collect the paths that a network offers, whatever is asked.

    Those of the flows of equal demand at several loads, and the cheapest ones at drawn prices.
    """
    world, network = game.world, game.scenario.network
    problem = problem_of(network, world)
    columns, size = problem.columns, len(world.cls)
    if size == 0 or game.plan.knee_hz <= 0.0:
        return Paths.of(world, problem, columns)
    for spread in _SPREADS:
        demand = np.full(size, spread * game.plan.knee_hz / size)
        columns = use_hz(problem, demand, 1.0, columns)[2].columns
    found = dict.fromkeys(columns)
    rng = generator(seed_at(world, 0), "reps paths")
    for _ in range(_DRAWS):
        priced = cheapest(
            problem.graph,
            source=world.cls.a,
            target=world.cls.b,
            minimum_fidelity=np.ascontiguousarray(world.cls.fidelity),
            link_cost=rng.uniform(0.5, 1.5, world.m),
            node_cost=np.where(problem.relay, rng.uniform(0.5, 1.5, world.n), np.inf),
            budget=np.full(size, np.inf),
        )
        for number in np.flatnonzero(np.isfinite(priced.cost)).tolist():
            found[Column(number, tuple(priced.path(number).tolist()))] = None
    return Paths.of(world, problem, tuple(found))


class _Rounds:
    """Plays ledgers of one game in rounds."""

    def __init__(
        self, game: Game, rule: Rule, *, round_s: float, redundancy: float, keep: bool
    ) -> None:
        self.world, self.network = game.world, game.scenario.network
        self.rule, self.better = rule._replace(rounds=0), rule._replace(complete=1)
        self.paths, self.redundancy, self.keep = _paths(game), redundancy, keep
        self.length = _round_slots(game.world, round_s)
        self.quota, self.extra = np.zeros(game.world.m), np.zeros(game.world.m)
        self.ledger: Ledger | None = None

    def __call__(self, ledger: Ledger, stop: int) -> None:
        world, rule, better = self.world, self.rule, self.better
        quotas = self.quota, self.extra, self.keep
        if self.ledger is not ledger:
            # A ledger that comes in the middle of a round has nothing provisioned until the next.
            self.ledger = ledger
            self.quota[:] = self.extra[:] = 0.0
        while ledger.now[0].clock < stop:
            place = int(ledger.now[0].clock) % self.length
            if place == 0:
                open_slot(world, ledger, rule)
                self._provision(ledger)
                make_links(world, ledger, rule, better, *quotas)
                end(world, ledger)
            elif place < self.length - 1:
                rest = self.length - 1 - place
                until = min(stop, int(ledger.now[0].clock) + rest)
                begin(world, ledger, rule, better, *quotas, until)
            else:
                open_slot(world, ledger, rule)
                make_links(world, ledger, rule, better, *quotas)
                self._select(ledger)
                serve(world, ledger, rule)
                if better.rounds > 0:
                    # Not eagerly: the selection has the first choice of the links that came.
                    refine(world, ledger, better)
                    serve_best(world, ledger, better, True)
                if not self.keep:
                    drop_all(ledger)
                end(world, ledger)

    def _provision(self, ledger: Ledger) -> None:
        """Share out the tokens of the round among the links that live requests could use."""
        wants = _wants(self.world, ledger)
        self.quota[:] = self.extra[:] = 0.0
        if wants.any():
            self.quota[:] = self._share(ledger, wants, 1.0)
            if self.redundancy > 1.0:
                self.extra[:] = self._share(ledger, wants, self.redundancy)

    def _share(self, ledger: Ledger, wants: Ints, times: float) -> Floats:
        """Return the pairs of each link (m,) for ``times`` the demand, tokens and swaps."""
        fixed = self.world.node
        swaps = ledger.node.swap_tokens + fixed.swap_rate * self.length
        return provision(
            self.paths,
            np.asarray(times * wants, dtype=np.float64),
            stock=ledger.link.stock.astype(np.float64),
            tokens=times * self.length * np.asarray(fixed.generation),
            swaps=times * np.minimum(swaps, np.asarray(fixed.bucket)),
            room=(fixed.qubits - ledger.node.used).astype(np.float64),
        )

    def _select(self, ledger: Ledger) -> None:
        """Join the links that came, as the second program says."""
        world, wants = self.world, _wants(self.world, ledger)
        stock = ledger.link.stock.copy()
        if not wants.any() or not stock.any():
            return
        counts = select(self.paths, wants, stock, np.floor(ledger.node.swap_tokens + 1e-9))
        price_stock(world, ledger, self.rule)
        for path in np.flatnonzero(counts).tolist():
            deliver(
                world,
                ledger,
                self.rule,
                int(self.paths.row[path]),
                self.paths.chain[path],
                int(counts[path]),
            )


def _round_slots(world: World, round_s: float) -> int:
    """Return the slots of a round, at least 2: no more than half of the usual deadline."""
    allowed = world.request.deadline - world.request.arrival
    half = int(np.median(allowed)) // 2 if len(allowed) else 2
    return max(2, min(round(round_s / world.slot_s), half))


def _wants(world: World, ledger: Ledger) -> Ints:
    """Return the pairs that live requests of each class still want, shape (C,)."""
    live = ledger.queue.live[: int(ledger.now[0].live)]
    out = np.zeros(len(world.cls), dtype=np.int64)
    here = live[world.request.arrival[live] <= ledger.now[0].clock]
    np.add.at(out, world.request.cls[here], ledger.request.left[here])
    return out


def _rule_of(scenario: Scenario, plan: Plan, inverse: float) -> Rule:
    return plain(scenario, plan, fill=0)._replace(inverse=inverse)


def _make(
    name: str, sentence: str, keep: bool, round_s: float, redundancy: float, inverse: float
) -> Allocator:
    def rule(scenario: Scenario, plan: Plan) -> Rule:
        return _rule_of(scenario, plan, inverse)

    def play(game: Game) -> Player:
        settings = _rule_of(game.scenario, game.plan, inverse)
        return _Rounds(game, settings, round_s=round_s, redundancy=redundancy, keep=keep)

    return Allocator(
        name=name,
        central=True,
        sentence=sentence,
        rule=rule,
        play=play,
        paper="Y. Zhao, C. Qiao, IEEE INFOCOM 2021",
        plays_alone=True,
        history_s=0.0,
        levers=LEVERS,
    )


def make(*, round_s: float = 0.3, redundancy: float = 2.0, inverse: float = 1.0) -> Allocator:
    """Return the allocator with other settings: length of a round, how redundant."""
    sentence = "Central, in rounds: a program makes more links than needed, another selects."
    found = _make("reps", sentence, False, round_s, redundancy, inverse)
    return replace(found, make=make)


def make_cached(
    *, round_s: float = 0.1, redundancy: float = 2.0, inverse: float = 1.0
) -> Allocator:
    """Return the cached twin with other settings."""
    sentence = "As reps, but left-over links are kept and spare tokens make more."
    found = _make("reps-cached", sentence, True, round_s, redundancy, inverse)
    return replace(found, make=make_cached)


allocator = make(**tuned("reps"))
cached = make_cached(**tuned("reps-cached"))
