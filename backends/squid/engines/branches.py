"""Exact probabilities of small programs: a simulation is run once for each course it may take.

Randomness in this package is compared, never computed with: outcome 0 where ``draw < chance``. So
the source of draws can be exchanged for one whose draws decide comparisons, both ways in turn. The
simulation does not know; whatever it returns comes with the exact chance of its course.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from backends.squid.errors import LimitError, SquidError

__all__ = ["Branch", "Draws", "branches", "probabilities"]

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

#: Courses less likely than this at one decision are left out.
_NEVER = 1e-13
#: How much a chance may differ when the same course is run again.
_SAME = 1e-9


@dataclass(frozen=True)
class Branch(Generic[T]):
    """One course of a simulation: its chance, and what the simulation returned."""

    probability: float
    result: T


class Draws:
    """Stands in for a random generator in a simulation that is to take a given course.

    ``course`` says of each decision whether the draw is below what it is compared with; decisions
    after its end are taken as "below". ``decisions`` is what was decided, ``chances`` how likely
    each decision was, given those before.
    """

    def __init__(self, course: Sequence[bool] = ()) -> None:
        self._course = course
        self.decisions: list[bool] = []
        self.chances: list[float] = []

    def random(self) -> float:
        """Return a uniform draw from [0, 1) that can be compared, and nothing else."""
        return cast(float, _Draw(self))

    def integers(self, high: int) -> int:
        """Return one of 0 to ``high`` - 1, all equally likely."""
        draw = self.random()
        return next((number for number in range(high - 1) if draw < (number + 1) / high), high - 1)

    def geometric(self, p: float) -> int:
        """Return 1 where ``p`` is 1; the number of tries would have endless branches otherwise."""
        if p < 1.0:
            raise LimitError(f"no exact branches: a try succeeds with chance {p:g}, not surely")
        return 1

    def decide(self, chance: float) -> bool:
        """Take the next decision, whose chance to be true is neither 0 nor 1."""
        number = len(self.decisions)
        decision = self._course[number] if number < len(self._course) else True
        self.decisions.append(decision)
        self.chances.append(chance if decision else 1.0 - chance)
        return decision


class _Draw:
    """A number in [low, high), of which more is known after each comparison."""

    __slots__ = ("_draws", "_high", "_low")

    def __init__(self, draws: Draws) -> None:
        self._draws, self._low, self._high = draws, 0.0, 1.0

    def __lt__(self, other: float) -> bool:
        chance = (other - self._low) / (self._high - self._low)
        if chance >= 1.0 - _NEVER:
            return True
        if chance <= _NEVER:
            return False
        below = self._draws.decide(chance)
        if below:
            self._high = other
        else:
            self._low = other
        return below

    def __ge__(self, other: float) -> bool:
        return not self < other

    # A continuous draw equals nothing.
    __le__ = __lt__
    __gt__ = __ge__


def branches(simulate: Callable[[Draws], T], most: int = 4096) -> list[Branch[T]]:
    """Return all courses of a simulation with their chances, "outcome 0" first at each decision.

    ``simulate`` takes all its randomness from what it is given, and is otherwise the same each
    time. Raises LimitError for more than ``most`` courses.

    >>> def two_coins(draws: Draws) -> int:
    ...     return (draws.random() < 0.5) + (draws.random() < 0.25)
    >>> [(branch.result, branch.probability) for branch in branches(two_coins)]
    [(2, 0.125), (1, 0.375), (1, 0.125), (0, 0.375)]
    """
    found: list[Branch[T]] = []
    course: list[bool] = []
    before: list[float] = []
    while True:
        if len(found) == most:
            raise LimitError(f"more than {most} branches: too many outcomes for exact chances")
        draws = Draws(course)
        result = simulate(draws)
        _check_repeats(before, course, draws)
        probability = 1.0
        for chance in draws.chances:
            probability *= chance
        found.append(Branch(probability, result))
        # The last decision that was "below" is the next one to be taken otherwise.
        course, before = draws.decisions, draws.chances
        while course and not course[-1]:
            course.pop()
        if not course:
            return found
        course[-1] = False


def probabilities(found: Iterable[Branch[T]], of: Callable[[T], H]) -> dict[H, float]:
    """Return the chance of each value of something that can be read from results.

    >>> coins = branches(lambda draws: draws.random() < 0.25)
    >>> probabilities(coins, lambda result: result)
    {True: 0.25, False: 0.75}
    """
    total: dict[H, float] = {}
    for branch in found:
        value = of(branch.result)
        total[value] = total.get(value, 0.0) + branch.probability
    return total


def _check_repeats(before: list[float], course: list[bool], draws: Draws) -> None:
    """Refuse a simulation whose decisions on the same course are not the same again."""
    same = len(draws.chances) >= len(course)
    for number, (old, new) in enumerate(zip(before, draws.chances, strict=False)):
        if number >= len(course):
            break
        # The last decision of the course is the opposite of what it was.
        expected = 1.0 - old if number == len(course) - 1 else old
        same = same and abs(expected - new) < _SAME
    if not same:
        raise SquidError("no exact branches: the simulation is not the same when run again")
