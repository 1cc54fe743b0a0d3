"""What agents may do: every create, yield and forecast is checked before the ledger sees it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from controller.rules import Answer, Rules
from quantum.egp import Create, Err, Ok, Speak
from quantum.errors import Code
from quantum.ledger import Ledger
from quantum.ledger.expected import MOST_EXPECTED
from quantum.ledger.state import Floats

__all__ = ["Admission"]


class _Hold(NamedTuple):
    """A create that was admitted: token ``number`` of ``node`` goes to the link at ``position``."""

    create: Create
    node: int
    number: int
    position: int


class Admission:
    """Turns what agents say into actions in the ledger; ``answer`` hears of what is refused."""

    def __init__(self, rules: Rules, ledger: Ledger, answer: Answer) -> None:
        world = rules.world
        self._rules, self._ledger, self._answer = rules, ledger, answer
        self._group = [0] * world.n
        for number, nodes in enumerate(rules.groups):
            for node in nodes:
                self._group[node] = number
        # Plain values: reading one field of one row of a table costs microseconds.
        self._position: list[dict[int, int]] = [
            {peer: k for k, peer in enumerate(row) if peer >= 0} for row in world.inc_node.tolist()
        ]
        columns = (world.request[name].tolist() for name in ("told", "deadline", "cls", "pairs"))
        self._requests: list[tuple[int, int, int, int]] = list(zip(*columns, strict=True))
        ends = (world.cls[name].tolist() for name in ("a", "b", "fidelity"))
        self._classes: list[tuple[int, int, float]] = list(zip(*ends, strict=True))
        self._asked = ledger.request["asked"]
        self._dues: dict[int, list[int]] = {}
        for number, deadline in enumerate(world.request.deadline.tolist()):
            self._dues.setdefault(deadline, []).append(number)
        self._holds: list[_Hold] = []
        group_of = np.array(self._group, dtype=np.int64)[world.cls.a]
        self._own = [np.flatnonzero(group_of == number) for number in range(len(rules.groups))]
        #: Classes of the same two nodes ask for batches of the same size.
        self._alike: dict[tuple[int, int], list[int]] = {}
        for row, (a, b, _) in enumerate(self._classes):
            self._alike.setdefault((a, b), []).append(row)
        #: Pairs of each class that are expected soon, and of the last request of its two nodes.
        self.expected: Floats = np.zeros(len(world.cls))
        self.batch: Floats = np.ones(len(world.cls))

    def admit(self, spoken: Mapping[int, Speak]) -> list[int]:
        """Carry over what every group said into the ledger; returns the requests newly asked."""
        ledger = self._ledger
        asked: list[int] = []
        self._holds.clear()
        tokens: list[int] = ledger.node["tokens"].tolist()
        yields, surplus = ledger.node["yields"], ledger.node["surplus"]
        for group in sorted(spoken):
            speak = spoken[group]
            used: dict[int, int] = {}
            for create in speak.creates:
                if create.hold:
                    self._hold(group, create, tokens, used)
                else:
                    self._ask(group, create, asked)
            for given in speak.yields:
                if (
                    0 <= given.node < len(tokens)
                    and self._group[given.node] == group
                    and 0 <= given.position < len(self._position[given.node])
                    and math.isfinite(given.surplus)
                ):
                    yields[given.node] = given.position
                    surplus[given.node] = given.surplus
            self._foresee(group, speak.forecast)
        if self._holds:
            creates, nodes, numbers, positions = zip(*self._holds, strict=True)
            at = np.array(nodes), np.array(numbers)
            ledger.choice[at] = positions
            ledger.urgency[at] = [create.urgency for create in creates]
        return asked

    def report(self) -> None:
        """Answer the creates that hold pairs, after generation."""
        made, group, answer = self._ledger.made.tolist(), self._group, self._answer
        for create, node, number, _ in self._holds:
            pair, name = made[node][number], create.create_id
            answer(
                group[node],
                Ok(name, node, create.destination, pair)
                if pair >= 0
                else Err(name, node, Code.NORES),
            )

    def _hold(
        self,
        group: int,
        create: Create,
        tokens: list[int],
        used: dict[int, int],
    ) -> None:
        """Take a create that holds a pair on a link of its source."""
        node = create.source
        number = used.get(node, 0)
        allowed = 0 <= node < len(tokens) and self._group[node] == group and number < tokens[node]
        position = self._position[node].get(create.destination) if allowed else None
        if position is None or not math.isfinite(create.urgency):
            self._answer(group, Err(create.create_id, node, Code.CREATE))
            return
        used[node] = number + 1
        self._holds.append(_Hold(create, node, number, position))

    def _ask(self, group: int, create: Create, asked: list[int]) -> None:
        """Admit an application's request, if it is the one that its node may make now."""
        world, number = self._rules.world, create.create_id
        if 0 <= number < len(world.request):
            told, deadline, row, pairs = self._requests[number]
            a, b, fidelity = self._classes[row]
            if (
                (create.source, create.destination) == (a, b)
                and self._group[a] == group
                and create.pairs == pairs
                and create.minimum_fidelity == fidelity
                and told <= self._ledger.now[0].clock <= deadline
            ):
                if not self._asked[number]:
                    self._asked[number] = 1
                    self.batch[self._alike[a, b]] = pairs
                    asked.append(number)
                return
        self._answer(group, Err(number, create.source, Code.CREATE, create.pairs))

    def _foresee(self, group: int, forecast: bytes) -> None:
        """Take what the nodes of a group expect of the classes whose sources they are."""
        own = self._own[group]
        if len(forecast) != 8 * len(own):
            return
        expected = np.frombuffer(forecast, dtype="<f8")
        if np.all((expected >= 0.0) & (expected <= MOST_EXPECTED)):
            self.expected[own] = expected

    def expire(self, slot: int) -> None:
        """Answer the requests whose deadline has passed."""
        for number in self._dues.pop(slot, []):
            left = int(self._ledger.request["left"][number])
            if left > 0 and self._asked[number]:
                source = self._classes[self._requests[number][2]][0]
                self._answer(self._group[source], Err(number, source, Code.TIMEOUT, left))
