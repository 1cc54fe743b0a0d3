"""Allocators that cheat, each in one way; the arena must catch every one."""

import numpy as np

from controller.rivals.allocator import Allocator, find
from quantum.ledger import state as codes
from quantum.ledger.places import put
from quantum.ledger.state import tokens_of
from quantum.twin import advance


def _by_slot(name, what):
    """Play mean-rate, and let ``what(game, ledger, rule)`` act before every slot."""
    honest = find("mean-rate")

    def open_player(game):
        rule = honest.rule(game.scenario, game.plan)

        def player(ledger, stop):
            while ledger.now[0].clock < stop:
                ledger.now[0].events = 0
                advance(game.world, ledger, what(game, ledger, rule), int(ledger.now[0].clock) + 1)

        return player

    return Allocator(name, True, "It cheats.", honest.rule, open_player)


def _forge(game, ledger, rule):
    """Say that everything was delivered that anybody asks for."""
    for live in ledger.queue.live[: ledger.now[0].live]:
        ledger.request.good[live] = game.world.request.pairs[live]
        ledger.request.left[live] = 0
    return rule


def _counterfeit(game, ledger, rule):
    """Put pairs into memory that no token made."""
    for link in range(game.world.m):
        ends = (int(game.world.link.a[link]), int(game.world.link.b[link]))
        if all(ledger.node.used[end] < game.world.node.qubits[end] for end in ends):
            put(game.world, ledger, link, ends[0])
    return rule


def _respend(game, ledger, rule):
    """Take every swap token back that was spent."""
    ledger.node.swap_tokens[:] = game.world.node.bucket
    return rule


def _two_for_one(game, ledger, rule):
    """Deliver a pair twice."""
    chains = np.flatnonzero((ledger.request.attempts > 0) & (ledger.request.left > 0))
    ledger.request.good[chains] += 1
    ledger.request.left[chains] -= 1
    return rule


def _next_tokens(game, ledger, rule):
    """Keep more where a node will soon have many tokens; that is nobody's to know."""
    world, clock = game.world, int(ledger.now[0].clock)
    soon = [
        sum(tokens_of(world.seed, node, clock + k, world.node.generation[node]) for k in range(50))
        for node in range(world.n)
    ]
    return rule._replace(targets=rule.targets * np.array(soon)[world.link.a])


def _next_requests(game, ledger, rule):
    """Keep pairs for requests that nobody has made yet."""
    world, clock = game.world, int(ledger.now[0].clock)
    soon = np.flatnonzero((world.request.told > clock) & (world.request.told < clock + 50))
    targets = np.zeros(world.m)
    for row in world.request.cls[soon]:
        links = world.path_links[row]
        targets[links[links >= 0]] += 4.0
    return rule._replace(targets=targets)


def _bound(game, ledger, rule):
    """Scale its stock by the bound, which is of the realised draws."""
    return rule._replace(targets=rule.targets * game.bound / 100.0)


def _heralds(game, ledger, rule):
    """Write the counters too, but make more pairs than there are tokens."""
    before = int((ledger.pair.u >= 0).sum())
    _counterfeit(game, ledger, rule)
    ledger.totals[codes.GENERATED] += int((ledger.pair.u >= 0).sum()) - before
    return rule


FORGERS = {
    "forger": _by_slot("forger", _forge),
    "counterfeiter": _by_slot("counterfeiter", _counterfeit),
    "two-for-one": _by_slot("two-for-one", _two_for_one),
    "careful-counterfeiter": _by_slot("careful-counterfeiter", _heralds),
}
RESPENDERS = {"respender": _by_slot("respender", _respend)}
PROPHETS = {
    "tokens": _by_slot("tokens", _next_tokens),
    "requests": _by_slot("requests", _next_requests),
    "bound": _by_slot("bound", _bound),
}
