"""A policy that does not learn, played in one compiled loop.

Decision by decision the same as :class:`controller.rivals.dpem.Twin` with ``learn=False`` (tested),
without messages, records or rewards: over ten times faster, so that a policy can be tried on
thousands of games. Evolution, the gate of live updates and comparisons play it.
"""

import numpy as np

from controller.decide import Memory, decide, new_memory
from controller.foreseen import Foreseen, nothing_foreseen
from controller.policy import Actor
from controller.rivals.allocator import Player
from quantum.kernels import threaded
from quantum.ledger import Ledger, Rule, World, close_slot, generate, open_slot, serve
from quantum.ledger.expected import claim_expected, note_sure, slack_of
from quantum.ledger.generate import NEVER
from quantum.ledger.observe import gather
from quantum.ledger.places import drop_expired
from quantum.ledger.state import Ints, seed_at

__all__ = ["frozen_player"]


def frozen_player(
    world: World,
    rule: Rule,
    actor: Actor,
    temperature: float,
    soon: Foreseen | None = None,
    *,
    measured: bool = False,
) -> Player:
    """Return what plays ledgers of a world by the weights of ``actor``, one row for each node.

    ``soon`` are the forecasts of the game, nothing unless given. The player remembers nothing, so
    it may play several ledgers in turn. ``measured``: the links only measure pairs, so what nobody
    used in its slot is gone with it.
    """
    soon, slack = soon or nothing_foreseen(world.horizon), slack_of(world, rule)
    bare = world._replace(cutoff=0)
    nodes = np.arange(world.n)
    memory = new_memory(1, 1, world.inc_link.shape[1] + 1)

    def play(ledger: Ledger, stop: int) -> None:
        _advance(
            world,
            bare,
            measured,
            ledger,
            rule,
            nodes,
            actor,
            temperature,
            soon,
            slack,
            memory,
            stop,
        )

    return play


@threaded
def _advance(
    world: World,
    bare: World,
    measured: bool,
    ledger: Ledger,
    rule: Rule,
    nodes: Ints,
    actor: Actor,
    temperature: float,
    soon: Foreseen,
    slack: int,
    memory: Memory,
    stop: int,
) -> None:
    """Play slots until ``ledger.clock`` is ``stop``."""
    tokens_at_once = ledger.choice.shape[1]
    while ledger.now[0].clock < stop:
        slot = ledger.now[0].clock
        open_slot(world, ledger, rule)
        begin, end = soon.begin[slot], soon.begin[slot + 1]
        note_sure(ledger, soon.sure[begin:end], soon.most[begin:end])
        begin, end = soon.first[slot], soon.first[slot + 1]
        if begin < end:
            rows, whole = soon.rows[begin:end], soon.whole[begin:end]
            claim_expected(world, ledger, rule, rows, whole, soon.chances[begin:end], slack)
        else:
            for number in range(world.m):
                ledger.link[number].forecast = 0.0
        found, tokens, fill, views = gather(world, ledger, nodes, rule.evict < NEVER)
        choice = np.full((len(found), tokens_at_once), -1, dtype=np.int64)
        urgency = np.zeros((len(found), tokens_at_once))
        given, surplus = np.empty(len(found), dtype=np.int64), np.empty(len(found))
        decide(
            rule,
            world.node,
            world.inc_link,
            world.inc_node,
            world.slot_s,
            seed_at(world, slot),
            slot,
            found,
            found,
            tokens,
            fill,
            views,
            actor,
            temperature,
            0.0,
            memory,
            choice,
            urgency,
            given,
            surplus,
        )
        ledger.choice[:] = -1
        for node in nodes:
            ledger.node[node].yields = -1
        for row in range(len(found)):
            node, used = found[row], 0
            # A node asks for the pairs that it wants; tokens that idle are the last ones.
            for number in range(tokens[row]):
                if choice[row, number] >= 0:
                    ledger.choice[node, used] = choice[row, number]
                    ledger.urgency[node, used] = urgency[row, number]
                    used += 1
            if given[row] >= 0:
                ledger.node[node].yields, ledger.node[node].surplus = given[row], surplus[row]
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        ledger.now[0].events = 0
        close_slot(world, ledger)
        if measured:
            drop_expired(bare, ledger)
