"""The network that a service keeps pairs in: requests go in, delivered pairs come out. No sockets.

A thin cover over :mod:`quantum.ledger.intake`. Tests of pairs are counted by the number of their
links, and tell what the fidelity of a kind of path has been measured to be.
"""

import struct
from collections import deque

import numpy as np

from controller.service.carrying import (
    carry_over,
    links_before,
    targets_before,
    turns_over,
    wishes_of,
)
from quantum.direct import direct
from quantum.estimate import estimate_passes
from quantum.held import Held
from quantum.kernels import Table
from quantum.ledger import Rule, World
from quantum.ledger.carry import carry_pairs
from quantum.ledger.intake import HOPELESS
from quantum.ledger.intake_held import play_slots, take_in, unpack
from quantum.ledger.places import is_sound
from quantum.ledger.state import Floats, Ints
from quantum.live_world import for_requests, fresh_ledger, intake_of
from quantum.network import Network
from quantum.requests import Measured

__all__ = ["Delivered", "Stock", "Wish"]

#: Assembled pairs and link tests of one step that can be remembered.
EVENTS = 4096
#: Tests leave the window in so many parts.
_BLOCKS = 10
#: A measured fidelity is counted anew after so many slots.
_FRESH_SLOTS = 100


# Plain tuples, because a named one takes longer to make than a request takes to be looked up.
#: A request as the kernels take it: its row, its two nodes, fidelity, pairs, the last slot in which
#: it may be served, and whose it is.
Wish = tuple[int, int, int, float, int, int, int]
#: A row of ``Intake.ask``, written so because assigning to the array takes twice as long.
_WISH = struct.Struct("=qqqdqqq")
#: A pair for a request: its row, its number of links, and its predicted fidelity.
Delivered = tuple[int, int, float]


class Stock:
    """Plays the network of a service; at most ``rows`` requests wait at a time.

    ``world`` gives the network's side of things, its requests are not used.
    """

    def __init__(
        self,
        network: Network,
        world: World,
        rule: Rule,
        *,
        rows: int,
        batch: int,
        seed: int,
        window_s: float = 30.0,
    ) -> None:
        self.network = network
        # Its own, because they are planned anew while it runs.
        self.rule = rule._replace(targets=rule.targets.copy(), refined=np.zeros(0))
        self.world = for_requests(world, rows, seed)
        self.ledger = fresh_ledger(self.world, events=EVENTS)
        self.intake = intake_of(self.world, network, events=EVENTS, batch=batch)
        self.batch, self.slot_s = batch, world.slot_s
        self._free = list(range(rows - 1, -1, -1))
        self._made, self._told = self.intake.made.view(np.ndarray), self.intake.told
        self._ask = memoryview(self.intake.ask.view(np.uint8).reshape(-1))
        self._block = max(1, round(window_s / world.slot_s / _BLOCKS))
        self.tally = self.intake.tally
        """Tests by the number of links, passed and failed (H + 1, 2)."""
        self._before = deque([self.tally.copy()], maxlen=_BLOCKS)
        self._next_block = self._block
        self._known: dict[int, tuple[int, Measured]] = {}
        self._now: dict[int, Measured] = {}
        self._look_at_tables()
        # What a change needs is compiled now, too.
        nothing = np.zeros(0, np.int64)
        carry_pairs(self.ledger.pair, nothing, nothing, nothing, self.ledger)

    def _look_at_tables(self) -> None:
        # Views that are made once: a field of a record array costs a microsecond each time.
        self._clock, self._left = self.ledger.now["clock"], self.ledger.request["left"]
        # Kernels that are not compiled yet would keep the first application waiting.
        self._held = Held((self.world, self.ledger, self.rule, self.intake), unpack)
        self._play_slots = direct(play_slots, self._held, 0)
        self._take_in = direct(take_in, self._held, 0)

    def change(self, network: Network, world: World, *, before: Ints, up: np.ndarray) -> list[Wish]:
        """Go on with another network; returns the requests that wait, to be taken in once more.

        ``before`` (n,) gives the number that each node had, -1 where it is new; ``up`` (m,) tells
        which links work. Pairs of nodes that are gone are lost, and requests of theirs are not
        among those that are returned. The stock is that of before until :meth:`plan`.
        """
        old_world, old, rows = self.world, self.ledger, len(self.world.request)
        world = for_requests(world, rows, old_world.seed)
        links = links_before(old_world, world, before)
        ledger = fresh_ledger(world, events=EVENTS)
        carry_over(old, ledger, before=before, links=links, up=up)
        fresh = intake_of(world, network, events=1, batch=1)
        turns = turns_over(self.intake.turns, fresh.turns, before, links)
        again = wishes_of(old_world, old, before, turns.client)
        self.network, self.world, self.ledger = network, world, ledger
        self.intake = self.intake._replace(
            known=fresh.known,
            queue=fresh.queue,
            best=fresh.best,
            turns=turns,
        )
        # Nothing is distilled, so there are no targets of that.
        self.rule = self.rule._replace(targets=targets_before(self.rule.targets, links))
        self._look_at_tables()
        return again

    def set_up(self, up: np.ndarray) -> None:
        """Say which links work, (m,), before anything is played."""
        self.ledger.behind["up"] = self.ledger.link["open"] = up

    def plan(self, targets: Floats) -> None:
        """Keep so many pairs of each link in stock from now on, (m,)."""
        self.rule.targets[:] = targets

    def follow(self, tally: Ints) -> None:
        """Measure by tests that are counted elsewhere: workers execute them, not the closed form.

        From now on :meth:`events` is to be called after every step.
        """
        self.tally = tally
        self._before.clear()
        self._before.append(tally.copy())
        self._known.clear()
        self._now.clear()
        self._counted = self._steps()

    def _steps(self) -> int:
        """Count pairs that were lost or tested since the beginning."""
        return int(self._told[3]) + int(self.intake.tally.sum())

    def events(self) -> Table:
        """Return what the last step assembled and tested; pairs for requests in their order."""
        steps = self._steps()
        count = int(self._told[2]) + steps - self._counted
        self._counted = steps
        return self.ledger.event[:count].copy()

    @property
    def clock(self) -> int:
        """The slot that comes next."""
        return int(self._clock[0])

    @property
    def room(self) -> int:
        """How many more requests may wait."""
        return len(self._free)

    def take_row(self) -> int:
        """Return a free row; there must be :attr:`room`."""
        return self._free.pop()

    def give_row(self, row: int) -> None:
        """Give the row of a request back that was answered, or that has ended."""
        self._free.append(row)

    def drop(self, row: int) -> None:
        """Take a request that waits out of the queue; its row is to be given back."""
        queue, live = self.ledger.queue["live"], int(self.ledger.now["live"][0])
        kept = queue[:live][queue[:live] != row]
        queue[: len(kept)] = kept
        self.ledger.now["live"] = len(kept)
        self._left[row] = 0

    @property
    def clients(self) -> int:
        """How many clients are told apart, by numbers from 0 on."""
        return len(self.intake.turns.tag)

    def forget(self, client: int) -> None:
        """Let a number belong to somebody who has had nothing yet."""
        self.intake.turns.tag[client] = 0.0

    def take_in(self, wishes: list[Wish]) -> list[Delivered]:
        """Serve new requests, at most ``batch`` at a time, from what is in stock."""
        write, buffer, at = _WISH.pack_into, self._ask, 0
        for wish in wishes:
            write(buffer, at, *wish)
            at += _WISH.size
        self._take_in(self._held, len(wishes))
        return self._made[: self._told[2]].tolist()  # type: ignore[no-any-return]

    def hopeless(self, row: int) -> bool:
        """Tell whether no chain of pairs could ever meet the request that was just taken in."""
        return bool(self._left[row] == HOPELESS)

    def play(self, slots: int) -> tuple[list[Delivered], list[int], int]:
        """Play up to ``slots`` slots; stop after one in which something happened to a request.

        Returns the pairs that were delivered, the rows whose deadline passed, and how many slots
        were played.
        """
        self._play_slots(self._held, slots)
        self._now.clear()
        ended, played, made, _ = self._told.tolist()
        if self._clock[0] >= self._next_block:
            self._before.append(self.tally.copy())
            self._next_block = int(self._clock[0]) + self._block
        return self._made[:made].tolist(), self.intake.ended[:ended].tolist(), played

    @property
    def tested(self) -> int:
        """How many pairs were tested so far, on their links or assembled."""
        return int(self.tally.sum())

    def measured(self, hops: int) -> Measured:
        """Return the measured fidelity of paths of so many links, counted anew now and then.

        Tests of the last ``window_s`` count.
        """
        told = self._now.get(hops)
        if told is None:
            told = self._now[hops] = self._measured(hops, int(self._clock[0]))
        return told

    def _measured(self, hops: int, slot: int) -> Measured:
        known = self._known.get(hops)
        if known is None or slot - known[0] >= _FRESH_SLOTS:
            passed, failed = (self.tally[hops] - self._before[0][hops]).tolist()
            e = estimate_passes(passed, passed + failed)
            known = slot, Measured(e.low, e.best, e.high, e.shots, 0.0)
            self._known[hops] = known
        at, told = known
        if at == slot:
            return told
        age_s = (slot - at) * self.slot_s
        return Measured(told.low, told.best, told.high, told.shots, age_s)

    def told(self) -> dict[int, tuple[Measured, int, int]]:
        """Return what tests have shown by the number of links: fidelity, passed, failed so far."""
        return {
            hops: (self.measured(hops), passed, failed)
            for hops, (passed, failed) in enumerate(self.tally.tolist())
            if passed + failed
        }

    def is_sound(self) -> bool:
        """Check that no pair, qubit or swap token was made or lost unaccounted; for tests."""
        return bool(is_sound(self.world, self.ledger))
