"""What an allocator is: a name, where it decides, and a rule for the ledger."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from quantum.errors import InputError
from quantum.ledger import Ledger, Rule
from quantum.scenario import Scenario
from quantum.words import near

if TYPE_CHECKING:
    from controller.game import Game
    from controller.plan import Plan

__all__ = ["GROUP", "NEVER", "Allocator", "Player", "find", "find_live", "known"]

#: Entry points of this group are allocators.
GROUP = "dpem.allocators"
#: ``Rule.evict`` of a rule that never drops a stored pair.
NEVER = 1e18

#: Plays a ledger up to (not including) a slot.
Player = Callable[[Ledger, int], None]


@dataclass(frozen=True)
class Allocator:
    """One way of deciding who gets which pairs.

    ``central`` ones decide at a controller and pay the way there; the others decide at the nodes.
    ``rule`` is the heuristic. An allocator that is more than its rule brings ``play``, which opens
    a game and returns what plays one ledger of it. Called, an allocator returns its rule for a
    scenario. ``paper`` says where it was published.

    ``plays_alone``: a request that missed pairs is played again, alone in the world, by ``play``
    (which then must need no more than ``history_s`` of a quiet network to be as if it had always
    played; 0 says that it remembers nothing but what is in the ledger, which is faster); otherwise
    by ``rule``. ``swaps_ahead``: it joins pairs before a request gets them, so its ledger keeps
    composites, and the bound counts swap tokens from before the evaluation.

    ``levers`` are the values that tuning may give to the arguments of ``make``, which returns the
    same allocator with other settings.
    """

    name: str
    central: bool
    sentence: str
    rule: "Callable[[Scenario, Plan], Rule]"
    play: "Callable[[Game], Player] | None" = None
    paper: str = ""
    plays_alone: bool = False
    history_s: float = 2.0
    swaps_ahead: bool = False
    levers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    make: "Callable[..., Allocator] | None" = None

    def __call__(self, scenario: Scenario, plan: "Plan") -> Rule:
        """Return the rule for a scenario and what is planned for it."""
        return self.rule(scenario, plan)


def known() -> tuple[str, ...]:
    """Return the names of the installed allocators, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def find(name: str) -> Allocator:
    """Load an installed allocator.

    >>> find("on-demand").central
    True
    """
    for point in entry_points(group=GROUP):
        if point.name == name:
            loaded = point.load()
            if not isinstance(loaded, Allocator):
                raise InputError(f"{point.value} is no allocator, but a {type(loaded).__name__}")
            return loaded
    meant = near(name, known())
    raise InputError(f"allocator {name!r} is unknown{meant}; it is {', '.join(known())}")


def find_live(name: str) -> Allocator:
    """Load an allocator that a live run can play: ``dpem``, or one that is all in its rule.

    Others play slots in a way of their own, which agents and the broker do not know.
    """
    allocator = find(name)
    if allocator.play is not None and name != "dpem":
        raise InputError(
            f"allocator {name} plays slots in a way of its own, which a live run does not know; "
            "use dpem, mean-rate, uniform or on-demand here, and dpem compare for the others"
        )
    return allocator
