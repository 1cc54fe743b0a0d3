"""A network in the twin, played slot by slot by whoever decides for its nodes. Arrays only.

The world, its draws, its heuristic and its rewards are those that ``dpem`` learns in: pairs are
paid for by what tests say of them, and contention costs. What is left out is the way through
messages, so results count at the end of their slot and not some slots later.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.arrivals import Arrivals
from controller.decide import FEATURES, IDLE, Memory, decide
from controller.environments import field_kernels as kernels
from controller.environments.foresight import Foresight
from controller.game import Game, ledger_of
from controller.policy import Actor
from controller.pools import Pools
from controller.rivals import dpem
from controller.rules import Rules
from quantum.errors import InputError
from quantum.kernels import Table
from quantum.ledger import close_slot, generate, open_slot, seed_at, serve
from quantum.ledger.events import (
    charge,
    closed_form_passes,
    draw_tests,
    kinds_of,
    pay,
    take_events,
)
from quantum.ledger.expected import expect
from quantum.ledger.generate import NEVER
from quantum.ledger.observe import gather
from quantum.ledger.state import (
    ACTION_TOKENS,
    DELIVERED,
    LINK_TESTED,
    Floats,
    Ints,
    Ledger,
)

__all__ = ["Field", "Sight"]


@dataclass(frozen=True, eq=False)
class Sight:
    """What all n nodes see before they spend a token.

    ``features`` (n, C, F), ``mask`` (n, C) true where a candidate may be taken, ``base`` (n, C) the
    heuristic's scores. The last candidate is to idle; a node without a token can do nothing else.
    """

    features: Floats
    mask: NDArray[np.bool_]
    base: Floats


class Field:
    """Plays one ledger of a game.

    A slot is :meth:`open`, then :meth:`sight` and :meth:`spend` as long as there are
    :attr:`tokens` to be decided on, then :meth:`close`, which returns the rewards. Or all of it by
    a policy: :meth:`play`.
    """

    def __init__(self, game: Game, arrivals: Arrivals | None = None) -> None:
        """``arrivals`` forecasts requests; without one it is the forecaster of ``dpem``."""
        everybody = (tuple(range(game.world.n)),)
        self.game = game
        self.rules: Rules = dpem.rules_of(game, everybody, allocator=dpem.allocator, learn=False)
        self.ledger: Ledger = ledger_of(game, dpem.allocator)
        world = self.rules.world
        self.candidates = world.inc_link.shape[1] + 1
        self._foresight = Foresight(world, self.rules.rule, arrivals)
        self._members = np.arange(world.n)
        self._yielding = bool(self.rules.rule.evict < NEVER)
        self._pools = Pools(
            world.m,
            world.cls.fidelity.copy(),
            window_slots=round(self.rules.window_s / world.slot_s),
        )
        self.tokens: Ints = np.zeros(world.n, dtype=np.int64)
        """Tokens that every node has yet to spend in the open slot."""
        self._spent = np.zeros(world.n, dtype=np.int64)
        self._credit = np.zeros(world.n)
        self._seen = (self._members[:0],) * 3
        self._views = np.zeros((0, world.inc_link.shape[1], 1))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return int(self.rules.world.n)

    @property
    def slot(self) -> int:
        """The slot that is being played."""
        return int(self.ledger.now[0].clock)

    @property
    def finished(self) -> bool:
        """Whether every slot has been played."""
        return self.slot >= self.rules.world.horizon

    def open(self) -> None:
        """Begin a slot: what is due happens, and nodes get tokens.

        What crowded memories would give up for a pair that is missed more, the heuristic says.
        """
        self._open()
        nodes, _, fill = self._seen
        kernels.give_up(self.rules.rule, self.rules.world, self.ledger, nodes, fill, self._views)

    def _open(self) -> None:
        world, ledger = self.rules.world, self.ledger
        open_slot(world, ledger, self.rules.rule)
        foresight = self._foresight
        expect(world, ledger, self.rules.rule, foresight.expected, foresight.batch)
        nodes, tokens, fill, views = gather(world, ledger, self._members, self._yielding)
        self._seen, self._views = (nodes, tokens, fill), views
        self.tokens[:] = 0
        self.tokens[nodes] = tokens
        self._spent[:] = 0
        ledger.choice[:] = -1
        ledger.node.yields = -1

    def sight(self) -> Sight:
        """Return what the nodes see before the next token of each; new arrays."""
        world, width = self.rules.world, self.candidates
        features = np.zeros((world.n, width, len(FEATURES)))
        mask = np.zeros((world.n, width), dtype=np.bool_)
        base = np.zeros((world.n, width))
        mask[:, -1], base[:, -1] = True, IDLE
        nodes, tokens, fill = self._seen
        kernels.look(
            self.rules.rule,
            world,
            seed_at(world, self.slot),
            self.slot,
            nodes,
            tokens,
            fill,
            self._spent,
            self._views,
            features,
            mask,
            base,
        )
        return Sight(features, mask, base)

    def spend(self, action: Ints) -> None:
        """Let every node with a token spend one on its candidate ``action`` (n,); the last is idle.

        Raises InputError for candidates that do not exist. One that cannot be had, a closed link or
        a full memory, is refused by the network: the token is lost.
        """
        if action.shape != (self.nodes,):
            raise InputError(f"action must have shape ({self.nodes},), got {action.shape}")
        if action.min() < 0 or action.max() >= self.candidates:
            raise InputError(f"action must be 0 to {self.candidates - 1}")
        nodes, tokens, _ = self._seen
        world = self.rules.world
        kernels.spend(
            self.rules.rule, world, self.ledger, nodes, tokens, action, self._spent, self._views
        )
        self.tokens[:] = np.maximum(self.tokens - 1, 0)

    def close(self) -> Floats:
        """End the slot and return the reward of every node, (n,)."""
        return self._close()

    def play(
        self,
        actor: Actor,
        memory: Memory,
        *,
        temperature: float,
        learn: bool = True,
        stop: int,
    ) -> int:
        """Play until slot ``stop`` by a policy of all nodes; returns the tokens decided on.

        With ``learn`` the policy explores and decisions with their rewards go to ``memory``.
        """
        world, ledger, decided = self.rules.world, self.ledger, 0
        while self.slot < min(stop, world.horizon):
            self._open()
            nodes, tokens, fill = self._seen
            size = len(nodes)
            choice = np.full((size, ACTION_TOKENS), -1, dtype=np.int64)
            urgency = np.zeros((size, ACTION_TOKENS))
            given, surplus = np.full(size, -1, dtype=np.int64), np.zeros(size)
            decide(
                self.rules.rule,
                world.node,
                world.inc_link,
                world.inc_node,
                world.slot_s,
                seed_at(world, self.slot),
                self.slot,
                nodes,
                nodes,
                tokens,
                fill,
                self._views,
                actor,
                temperature,
                learn,
                memory,
                choice,
                urgency,
                given,
                surplus,
            )
            kernels.carry_out(ledger, nodes, tokens, choice, urgency, given, surplus)
            decided += int(tokens.sum())
            credit = self._close()
            if learn:
                memory.pending[:] += credit
        return decided

    def _close(self) -> Floats:
        rules, ledger = self.rules, self.ledger
        world = rules.world
        self._foresight.hear(self.slot)
        generate(world, ledger, rules.rule)
        serve(world, ledger, rules.rule)
        events = take_events(ledger)
        self._credit[:] = 0.0
        charge(world, ledger, rules.contention_weight, self._credit)
        if len(events):
            self._count(events)
        close_slot(world, ledger)
        self._pools.forget(self.slot)
        return self._credit.copy()

    def _count(self, events: Table) -> None:
        """Add what tests say, and pay for pairs by what is known now."""
        world, slot = self.rules.world, self.slot
        basis, draw = draw_tests(seed_at(world, slot), events, False)
        tested = np.flatnonzero(basis >= 0)
        if len(tested):
            passed = closed_form_passes(events, basis, draw)[tested]
            kinds, some = kinds_of(events)[tested], events[tested]
            for kind, what, link, axis, good, true in zip(
                kinds.tolist(),
                some["kind"].tolist(),
                some["links"][:, 0].tolist(),
                basis[tested].tolist(),
                passed.tolist(),
                some["true"].tolist(),
                strict=True,
            ):
                self._pools.add(
                    slot,
                    kind=kind,
                    link=link if what == LINK_TESTED else -1,
                    basis=axis,
                    passed=good == 1,
                    predicted=true,
                )
        if np.any(events["kind"] == DELIVERED):
            valid = np.ones(len(events), dtype=np.int64)
            pay(world, events, valid, self._pools.trust(), self._credit)
